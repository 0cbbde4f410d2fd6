package io.millrace.kernels.cuda;

import io.millrace.kernels.Program;
import java.util.List;

/**
 * A recorded program.
 *
 * @param opNames  as recorded; the launches may be fewer
 * @param launches in order, for steps of any shape
 * @param graphs   the same for steps of decode
 * @param sampling what rows that are sampled need; null where none are
 */
record CudaProgram(CudaBackend owner, List<String> opNames, CudaLaunch[] launches, DecodeGraphs graphs, SamplingLists sampling) implements Program {
    @Override
    public int numOps() {
        return opNames.size();
    }
}

package io.millrace.kernels.cpu;

import io.millrace.kernels.Program;
import java.lang.foreign.MemorySegment;
import java.util.List;

/** @param ops array of {@code mr_op}, owned by {@code owner} */
record NativeProgram(NativeCpuBackend owner, List<String> opNames, MemorySegment ops) implements Program {
    @Override
    public int numOps() {
        return opNames.size();
    }
}

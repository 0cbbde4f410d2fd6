package io.millrace.kernels.cpu;

import io.millrace.bindings.cpu.generated.mr_weight;
import io.millrace.kernels.Weight;
import io.millrace.kernels.WeightFormat;
import java.lang.foreign.Arena;
import java.lang.foreign.MemorySegment;
import java.util.List;

/**
 * A weight packed into column tiles; see {@code mr_pack_weight}. Neighbouring parts of one format are one piece of memory.
 *
 * @param owner    the backend whose memory holds it
 * @param chain    the {@code mr_weight} of the first piece, which leads to the others
 * @param byteSize of all pieces
 */
record NativeWeight(NativeCpuBackend owner, String name, List<WeightFormat> formats, long outFeatures, long inFeatures, MemorySegment chain,
        long byteSize) implements Weight {
    /** Columns of one native format, packed. */
    record Piece(int nativeFormat, long outFeatures, MemorySegment packed) {}

    /** Describes the pieces as a chain of {@code mr_weight} in memory of {@code arena}. */
    static MemorySegment chain(List<Piece> pieces, long inFeatures, Arena arena) {
        MemorySegment chain = mr_weight.allocateArray(pieces.size(), arena);
        for (int i = 0; i < pieces.size(); i++) {
            MemorySegment at = mr_weight.asSlice(chain, i);
            mr_weight.data(at, pieces.get(i).packed());
            mr_weight.next(at, i + 1 < pieces.size() ? mr_weight.asSlice(chain, i + 1) : MemorySegment.NULL);
            mr_weight.out_features(at, pieces.get(i).outFeatures());
            mr_weight.in_features(at, inFeatures);
            mr_weight.format(at, pieces.get(i).nativeFormat());
        }
        return chain;
    }
}

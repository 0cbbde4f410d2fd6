package io.millrace.kernels.cpu;

import io.millrace.bindings.cpu.generated.MillraceCpu;
import io.millrace.bindings.cpu.generated.mr_weight;
import io.millrace.kernels.DotProduct;
import io.millrace.kernels.Weight;
import io.millrace.kernels.WeightFormat;
import java.lang.foreign.Arena;
import java.lang.foreign.MemorySegment;
import java.util.Collections;
import java.util.EnumMap;
import java.util.List;
import java.util.Map;

/**
 * A weight packed into column tiles; see {@code mr_pack_weight}. Neighbouring parts of one format are one piece of memory.
 *
 * @param owner    the backend whose memory holds it
 * @param chain    the {@code mr_weight} of the first piece, which leads to the others
 * @param products multiply-adds of a row, by kind
 * @param byteSize of all pieces
 */
record NativeWeight(NativeCpuBackend owner, String name, List<WeightFormat> formats, long outFeatures, long inFeatures, MemorySegment chain,
        Map<DotProduct, Long> products, long byteSize) implements Weight {
    /** Columns of one native format, packed, or numbered by {@code mr_defer_weight} where that is done later; else 0. */
    record Piece(int nativeFormat, long outFeatures, MemorySegment packed, int deferred) {
        DotProduct product() {
            if (nativeFormat == MillraceCpu.MR_FORMAT_BF16_PAIRS()) {
                return DotProduct.BF16;
            }
            return nativeFormat >= MillraceCpu.MR_FORMAT_Q8_0() ? DotProduct.INT8 : DotProduct.F32;
        }
    }

    /** Multiply-adds that one row of activations takes in these pieces. */
    static Map<DotProduct, Long> products(List<Piece> pieces, long inFeatures) {
        Map<DotProduct, Long> counts = new EnumMap<>(DotProduct.class);
        pieces.forEach(piece -> counts.merge(piece.product(), piece.outFeatures() * inFeatures, Long::sum));
        return Collections.unmodifiableMap(counts);
    }

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
            mr_weight.deferred(at, pieces.get(i).deferred());
        }
        return chain;
    }
}

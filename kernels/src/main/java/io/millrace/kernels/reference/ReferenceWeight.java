package io.millrace.kernels.reference;

import io.millrace.kernels.DType;
import io.millrace.kernels.Weight;
import io.millrace.kernels.WeightPart;
import java.lang.foreign.Arena;
import java.lang.foreign.MemorySegment;

/** A row-major copy of the parts, one below the other, in their own element type. */
record ReferenceWeight(String name, long outFeatures, long inFeatures, DType dtype, MemorySegment data) implements Weight {
    static ReferenceWeight copyOf(String name, Arena arena, WeightPart... parts) {
        DType dtype = parts[0].dtype();
        long cols = parts[0].cols();
        long rows = 0;
        for (WeightPart part : parts) {
            rows += part.rows();
        }
        MemorySegment data = arena.allocate(rows * cols * dtype.bytes(), 64);
        long offset = 0;
        for (WeightPart part : parts) {
            long bytes = part.rows() * cols * dtype.bytes();
            MemorySegment.copy(part.data(), 0, data, offset, bytes);
            offset += bytes;
        }
        return new ReferenceWeight(name, rows, cols, dtype, data);
    }

    /** Element {@code [row, col]}. */
    float at(long row, long col) {
        return dtype.load(data, row * inFeatures + col);
    }

    @Override
    public long byteSize() {
        return data.byteSize();
    }
}

package io.millrace.kernels.reference;

import io.millrace.kernels.DType;
import io.millrace.kernels.Weight;
import io.millrace.kernels.WeightFormat;
import io.millrace.kernels.WeightPart;
import java.lang.foreign.Arena;
import java.lang.foreign.MemorySegment;
import java.lang.foreign.ValueLayout;
import java.util.Arrays;
import java.util.List;

/** A row-major copy of the parts, one below the other: in their own element type, or decoded to F32 if they are quantised or differ. */
record ReferenceWeight(String name, long outFeatures, long inFeatures, List<WeightFormat> formats, DType stored, MemorySegment data)
        implements Weight {
    static ReferenceWeight copyOf(String name, Arena arena, WeightPart... parts) {
        List<WeightFormat> formats = Arrays.stream(parts).map(WeightPart::format).distinct().toList();
        DType stored = formats.size() == 1 && formats.getFirst() instanceof DType plain ? plain : DType.F32;
        long cols = parts[0].cols();
        long rows = 0;
        for (WeightPart part : parts) {
            rows += part.rows();
        }
        MemorySegment data = arena.allocate(rows * cols * stored.bytes(), 64);
        long offset = 0;
        for (WeightPart part : parts) {
            MemorySegment out = data.asSlice(offset, part.rows() * cols * stored.bytes());
            long rowBytes = cols * stored.bytes();
            for (long row = 0; row < part.rows(); row++) {
                if (part.format() == stored) {
                    MemorySegment.copy(part.data(), part.rowAt(row) * rowBytes, out, row * rowBytes, rowBytes);
                } else {
                    decode(part, part.rowAt(row), out.asSlice(row * rowBytes, rowBytes));
                }
            }
            offset += out.byteSize();
        }
        return new ReferenceWeight(name, rows, cols, formats, stored, data);
    }

    /** @param row of the part's data */
    private static void decode(WeightPart part, long row, MemorySegment out) {
        WeightFormat format = part.format();
        float[] values = new float[format.blockElements()];
        long blocks = part.cols() / values.length;
        for (long block = 0; block < blocks; block++) {
            format.decode(part.data(), (row * blocks + block) * format.blockBytes(), values, 0);
            MemorySegment.copy(values, 0, out, ValueLayout.JAVA_FLOAT, block * values.length * 4, values.length);
        }
    }

    /** Element {@code [row, col]}. */
    float at(long row, long col) {
        return stored.load(data, row * inFeatures + col);
    }

    @Override
    public long byteSize() {
        return data.byteSize();
    }
}

package io.millrace.kernels.cuda;

import io.millrace.kernels.DType;
import io.millrace.kernels.DotProduct;
import io.millrace.kernels.QuantFormat;
import io.millrace.kernels.Weight;
import io.millrace.kernels.WeightFormat;
import io.millrace.kernels.WeightPart;
import java.lang.foreign.MemorySegment;
import java.lang.foreign.ValueLayout;
import java.util.List;
import java.util.Map;

/**
 * A weight in device memory: BF16, row-major, rows and columns filled up with zeros to multiples of 8.
 *
 * @param formats what its parts were made of; all are BF16 here
 */
record CudaWeight(CudaBackend owner, String name, List<WeightFormat> formats, long outFeatures, long inFeatures, long address) implements Weight {
    /** Columns as they lie in memory. */
    int stride() {
        return Widths.padded(inFeatures);
    }

    int paddedRows() {
        return Widths.padded(outFeatures);
    }

    @Override
    public DType dtype() {
        return DType.BF16;
    }

    @Override
    public Map<DotProduct, Long> products() {
        return Map.of(DotProduct.BF16, outFeatures * inFeatures);
    }

    @Override
    public long byteSize() {
        return 2L * paddedRows() * stride();
    }

    /** Writes rows of {@code part} as BF16, filled up with zeros. */
    static Uploader.RowWriter rows(WeightPart part) {
        long cols = part.cols();
        long rowBytes = part.format().byteSize(1, cols);
        MemorySegment data = part.data();
        return (row, to) -> {
            long from = part.rowAt(row) * rowBytes;
            to.asSlice(2 * cols).fill((byte) 0);
            if (part.format() == DType.BF16) {
                MemorySegment.copy(data, from, to, 0, rowBytes);
                return;
            }
            int block = part.format().blockElements();
            float[] values = new float[block];
            for (long col = 0, at = from; col < cols; col += block, at += part.format().blockBytes()) {
                if (part.format() instanceof QuantFormat) {
                    part.format().decode(data, at, values, 0);
                } else {
                    values[0] = part.format() == DType.F32 ? data.get(ValueLayout.JAVA_FLOAT_UNALIGNED, at)
                            : Float.float16ToFloat(data.get(ValueLayout.JAVA_SHORT_UNALIGNED, at));
                }
                for (int i = 0; i < block; i++) {
                    to.set(ValueLayout.JAVA_SHORT_UNALIGNED, 2 * (col + i), DType.toBf16(values[i]));
                }
            }
        };
    }
}

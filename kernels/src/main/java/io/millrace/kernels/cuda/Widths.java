package io.millrace.kernels.cuda;

import io.millrace.kernels.AttentionShape;
import io.millrace.kernels.DType;
import io.millrace.kernels.OpChecks;
import io.millrace.kernels.Tensor;
import java.util.Arrays;

/** Widths as they lie in device memory: rows of BF16 are filled up to 16 bytes, heads to what the attention kernels are made for. */
final class Widths {
    /** Of the heads in the cache. Those of 256 take no narrower ones. */
    private static final int[] HEADS = {16, 32, 64, 96, 128, 256};
    private static final int WIDEST_FILLED_UP = 128;

    private Widths() {}

    /** {@code cols}, filled up to a multiple of 8. */
    static int padded(long cols) {
        return Math.toIntExact((cols + 7) / 8 * 8);
    }

    /** Elements from one row of {@code tensor} to the next. */
    static int stride(Tensor tensor) {
        return tensor.dtype() == DType.BF16 ? padded(tensor.cols()) : Math.toIntExact(tensor.cols());
    }

    /** Elements of a head of {@code headDim} in the cache; 0 where there is no kernel for it. */
    static int head(int headDim) {
        int width = Arrays.stream(HEADS).filter(head -> head >= headDim).findFirst().orElse(0);
        return width > WIDEST_FILLED_UP && width != headDim ? 0 : width;
    }

    /** @throws IllegalArgumentException {@code OP-008} */
    static int requireHead(String op, int headDim) {
        int width = head(headDim);
        if (width == 0) {
            throw OpChecks.noKernel("cuda", op, "heads of " + headDim, "heads of up to 128, and of 256, are there");
        }
        return width;
    }

    /** @throws IllegalArgumentException {@code OP-008} */
    static void requireRotation(AttentionShape shape, int rotaryDim, boolean interleaved) {
        if (!interleaved && rotaryDim % 4 != 0) {
            throw OpChecks.noKernel("cuda", "ropeAndCache", "a rotation of " + rotaryDim + " elements of heads of " + shape.headDim() + " in halves",
                    "their number must be a multiple of 4");
        }
    }
}

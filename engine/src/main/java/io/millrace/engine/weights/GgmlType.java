package io.millrace.engine.weights;

import io.millrace.kernels.DType;
import io.millrace.kernels.QuantFormat;
import io.millrace.kernels.WeightFormat;
import java.util.Optional;

/**
 * Element types a GGUF tensor may have. Quantised types store blocks of {@link #blockElements} elements in {@link #blockBytes} bytes
 * (layouts: ggml's {@code ggml-common.h}); a row is a whole number of blocks.
 */
public enum GgmlType {
    F32(0, 1, 4), F16(1, 1, 2), Q4_0(2, 32, 18), Q4_1(3, 32, 20), Q5_0(6, 32, 22), Q5_1(7, 32, 24), Q8_0(8, 32, 34), Q8_1(9, 32, 36),
    Q2_K(10, 256, 84), Q3_K(11, 256, 110), Q4_K(12, 256, 144), Q5_K(13, 256, 176), Q6_K(14, 256, 210), Q8_K(15, 256, 292),
    IQ2_XXS(16, 256, 66), IQ2_XS(17, 256, 74), IQ3_XXS(18, 256, 98), IQ1_S(19, 256, 50), IQ4_NL(20, 32, 18), IQ3_S(21, 256, 110),
    IQ2_S(22, 256, 82), IQ4_XS(23, 256, 136), I8(24, 1, 1), I16(25, 1, 2), I32(26, 1, 4), I64(27, 1, 8), F64(28, 1, 8),
    IQ1_M(29, 256, 56), BF16(30, 1, 2), TQ1_0(34, 256, 54), TQ2_0(35, 256, 66), MXFP4(39, 32, 17);

    private final int code;
    private final int blockElements;
    private final int blockBytes;

    GgmlType(int code, int blockElements, int blockBytes) {
        this.code = code;
        this.blockElements = blockElements;
        this.blockBytes = blockBytes;
    }

    public int blockElements() {
        return blockElements;
    }

    public int blockBytes() {
        return blockBytes;
    }

    /** The unquantised type in which kernels take such a tensor as it is; empty for quantised and integer types. */
    public Optional<DType> plain() {
        return switch (this) {
            case F32 -> Optional.of(DType.F32);
            case F16 -> Optional.of(DType.F16);
            case BF16 -> Optional.of(DType.BF16);
            default -> Optional.empty();
        };
    }

    /** How kernels take such a tensor as a weight; empty if they do not. */
    public Optional<WeightFormat> format() {
        return switch (this) {
            case F32, F16, BF16 -> plain().map(dtype -> dtype);
            case Q8_0 -> Optional.of(QuantFormat.Q8_0);
            case Q4_0 -> Optional.of(QuantFormat.Q4_0);
            case Q4_1 -> Optional.of(QuantFormat.Q4_1);
            case Q5_0 -> Optional.of(QuantFormat.Q5_0);
            case Q4_K -> Optional.of(QuantFormat.Q4_K);
            case Q5_K -> Optional.of(QuantFormat.Q5_K);
            case Q6_K -> Optional.of(QuantFormat.Q6_K);
            default -> Optional.empty();
        };
    }

    static Optional<GgmlType> of(int code) {
        for (GgmlType type : values()) {
            if (type.code == code) {
                return Optional.of(type);
            }
        }
        return Optional.empty();
    }
}

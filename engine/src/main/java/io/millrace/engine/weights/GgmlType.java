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
    F32(0, DType.F32), F16(1, DType.F16), Q4_0(2, QuantFormat.Q4_0), Q4_1(3, QuantFormat.Q4_1), Q5_0(6, QuantFormat.Q5_0), Q5_1(7, QuantFormat.Q5_1),
    Q8_0(8, QuantFormat.Q8_0), Q8_1(9, 32, 36), Q2_K(10, 256, 84), Q3_K(11, 256, 110), Q4_K(12, QuantFormat.Q4_K), Q5_K(13, QuantFormat.Q5_K),
    Q6_K(14, QuantFormat.Q6_K), Q8_K(15, 256, 292), IQ2_XXS(16, 256, 66), IQ2_XS(17, 256, 74), IQ3_XXS(18, 256, 98), IQ1_S(19, 256, 50),
    IQ4_NL(20, 32, 18), IQ3_S(21, 256, 110), IQ2_S(22, 256, 82), IQ4_XS(23, 256, 136), I8(24, 1, 1), I16(25, 1, 2), I32(26, 1, 4),
    I64(27, 1, 8), F64(28, 1, 8), IQ1_M(29, 256, 56), BF16(30, DType.BF16), TQ1_0(34, 256, 54), TQ2_0(35, 256, 66), MXFP4(39, 32, 17);

    private final int code;
    private final int blockElements;
    private final int blockBytes;
    private final WeightFormat format;

    GgmlType(int code, int blockElements, int blockBytes) {
        this.code = code;
        this.blockElements = blockElements;
        this.blockBytes = blockBytes;
        this.format = null;
    }

    GgmlType(int code, WeightFormat format) {
        this.code = code;
        this.blockElements = format.blockElements();
        this.blockBytes = format.blockBytes();
        this.format = format;
    }

    /** The number of this type in files. */
    int code() {
        return code;
    }

    public int blockElements() {
        return blockElements;
    }

    public int blockBytes() {
        return blockBytes;
    }

    /** The unquantised type in which kernels take such a tensor as it is; empty for quantised and integer types. */
    public Optional<DType> plain() {
        return format instanceof DType dtype ? Optional.of(dtype) : Optional.empty();
    }

    /** How kernels take such a tensor as a weight; empty if they do not. */
    public Optional<WeightFormat> format() {
        return Optional.ofNullable(format);
    }

    static GgmlType of(WeightFormat format) {
        for (GgmlType type : values()) {
            if (type.format == format) {
                return type;
            }
        }
        throw new IllegalArgumentException("GGUF files have no type for " + format);
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

package io.millrace.engine.weights;

import io.millrace.kernels.DType;
import java.util.Optional;

/** Element types a safetensors header may name. All are parsed, so that a file can be checked; {@link #loadable} says which can be used. */
public enum StorageType {
    BOOL(8), F4(4), F6_E2M3(6), F6_E3M2(6), U8(8), I8(8), F8_E5M2(8), F8_E4M3(8), F8_E8M0(8), I16(16), U16(16), F16(16), BF16(16),
    I32(32), U32(32), F32(32), C64(64), F64(64), I64(64), U64(64);

    private final int bits;

    StorageType(int bits) {
        this.bits = bits;
    }

    /** Size of one element in bits; types under a byte are packed without gaps. */
    public int bits() {
        return bits;
    }

    /** The type in which kernels take such a tensor as a weight; empty if they do not. */
    public Optional<DType> loadable() {
        return switch (this) {
            case F32 -> Optional.of(DType.F32);
            case F16 -> Optional.of(DType.F16);
            case BF16 -> Optional.of(DType.BF16);
            default -> Optional.empty();
        };
    }

    /** The type written as {@code text} in a header; empty if there is none. */
    static Optional<StorageType> of(String text) {
        for (StorageType type : values()) {
            if (type.name().equals(text)) {
                return Optional.of(type);
            }
        }
        return Optional.empty();
    }
}

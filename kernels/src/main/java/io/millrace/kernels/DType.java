package io.millrace.kernels;

import java.lang.foreign.MemorySegment;
import java.lang.foreign.ValueLayout;

/** Element types of tensors. The ordinal values are part of the native ABI ({@code mr_dtype}). */
public enum DType implements WeightFormat {
    F32(4), F16(2), BF16(2), I32(4);

    private final int bytes;

    DType(int bytes) {
        this.bytes = bytes;
    }

    /** Size of one element in bytes. */
    public int bytes() {
        return bytes;
    }

    @Override
    public int blockElements() {
        return 1;
    }

    @Override
    public int blockBytes() {
        return bytes;
    }

    @Override
    public int nativeCode() {
        return ordinal();
    }

    @Override
    public void decode(MemorySegment data, long offset, float[] out, int at) {
        out[at] = load(data.asSlice(offset, bytes), 0);
    }

    /** The value of element {@code index} of {@code data}, widened to float. F32, F16 and BF16 only. */
    public float load(MemorySegment data, long index) {
        return switch (this) {
            case F32 -> data.get(ValueLayout.JAVA_FLOAT_UNALIGNED, index * 4);
            case F16 -> Float.float16ToFloat(data.get(ValueLayout.JAVA_SHORT_UNALIGNED, index * 2));
            case BF16 -> Float.intBitsToFloat(data.get(ValueLayout.JAVA_SHORT_UNALIGNED, index * 2) << 16);
            case I32 -> throw new IllegalArgumentException("I32 tensors hold no floating-point values");
        };
    }

    /** Stores {@code value} as element {@code index}, rounding to nearest even. F32, F16 and BF16 only. */
    public void store(MemorySegment data, long index, float value) {
        switch (this) {
            case F32 -> data.set(ValueLayout.JAVA_FLOAT_UNALIGNED, index * 4, value);
            case F16 -> data.set(ValueLayout.JAVA_SHORT_UNALIGNED, index * 2, Float.floatToFloat16(value));
            case BF16 -> data.set(ValueLayout.JAVA_SHORT_UNALIGNED, index * 2, toBf16(value));
            case I32 -> throw new IllegalArgumentException("I32 tensors hold no floating-point values");
        }
    }

    /** The bits of {@code value} as BF16, rounded to nearest even. */
    public static short toBf16(float value) {
        int bits = Float.floatToRawIntBits(value);
        if (Float.isNaN(value)) {
            return (short) ((bits >>> 16) | 0x40);
        }
        return (short) ((bits + 0x7fff + ((bits >>> 16) & 1)) >>> 16);
    }
}

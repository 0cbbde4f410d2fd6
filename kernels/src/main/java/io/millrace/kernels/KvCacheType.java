package io.millrace.kernels;

import java.util.Arrays;
import java.util.List;

/**
 * How stored keys and values are represented: element by element, or, as {@link #Q8_0}, in blocks of up to 32 elements of a head's vector
 * with a scale each: {@code x = scale * code}, a signed byte times an F16 number. The scale is the block's largest magnitude / 127, rounded
 * up, so an element is off by half a scale at most: by 1/254 of the block's largest magnitude, give or take the scale's own rounding (2^-10
 * of it, or 2^-25 where the scale is below the normal F16 numbers).
 */
public enum KvCacheType {
    F32("float32", DType.F32, 0), F16("float16", DType.F16, 1), BF16("bfloat16", DType.BF16, 2), Q8_0("q8_0", null, 8);

    /** Elements of a head's vector that share a scale in {@link #Q8_0}. */
    public static final int SCALE_BLOCK = 32;

    private final String label;
    private final DType elements;
    private final int nativeCode;

    KvCacheType(String label, DType elements, int nativeCode) {
        this.label = label;
        this.elements = elements;
        this.nativeCode = nativeCode;
    }

    /** @throws IllegalArgumentException {@code OP-003} for a type without fractions */
    public static KvCacheType of(DType dtype) {
        return Arrays.stream(values()).filter(type -> type.elements == dtype).findFirst().orElseThrow(() -> new IllegalArgumentException(
                "OP-003: kvCache: keys and values are F32, F16, BF16 or Q8_0, got " + dtype));
    }

    /** What users call it: {@code float32}, {@code float16}, {@code bfloat16}, {@code q8_0}. */
    public String label() {
        return label;
    }

    /** All labels, in order. */
    public static List<String> labels() {
        return Arrays.stream(values()).map(KvCacheType::label).toList();
    }

    /** The type of its elements; null for {@link #Q8_0}. */
    public DType elements() {
        return elements;
    }

    /** The number in the native ABI ({@code mr_kv_cache.dtype}). */
    public int nativeCode() {
        return nativeCode;
    }

    /** Scales of a head's vector of {@code headDim} elements. */
    public static int scales(int headDim) {
        return Math.ceilDiv(headDim, SCALE_BLOCK);
    }

    /** Bytes of a head's vector of {@code headDim} elements. */
    public long vectorBytes(int headDim) {
        return elements == null ? headDim + 2L * scales(headDim) : (long) headDim * elements.bytes();
    }
}

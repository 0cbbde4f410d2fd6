package io.millrace.kernels;

/** How activations meet weights of type BF16 in {@link Ops#linear}. Quantised weights always meet activations rounded to 8 bits. */
public enum ActivationPrecision {
    /** As they are; every product and sum in F32. */
    F32,
    /**
     * Rounded to BF16 once per linear, sums in F32, where the processor multiplies BF16 (AVX512_BF16): up to twice as fast for many rows.
     * Elsewhere the same as {@link #F32}; {@link Backend#description()} says which it is.
     */
    BF16
}

package io.millrace.kernels;

/**
 * How {@link Ops#linear} multiplies weights that are not quantised. Sums are always F32. Quantised weights always meet activations rounded
 * to 8 bits, whatever is chosen here.
 */
public enum Arithmetic {
    /** Weights and activations as they are, products in F32. */
    EXACT,
    /**
     * BF16 and F16 weights by BF16 products where the processor has them (AVX512_BF16), else {@link #EXACT}. F16 weights are rounded to BF16
     * when they are taken over, activations once per linear: up to three times as fast for many rows. F32 weights stay exact.
     */
    AUTO,
    /** BF16 products for every weight that is not quantised; a backend that has none refuses to be made. */
    BF16
}

package io.millrace.kernels;

/** What the products of {@link Ops#linear} are made of: it sets the peak that a processor can reach. */
public enum DotProduct {
    /** Floats: weights F32 or F16, and BF16 that meets activations as they are. */
    F32,
    /** BF16 by BF16, summed as floats. */
    BF16,
    /** Bytes by bytes, summed as integers: quantised weights. */
    INT8
}

package io.millrace.kernels;

/** What the suite needs to know of the backend that it tests. */
public interface BackendUnderTest {
    /** A fresh backend; the suite closes it. */
    Backend create(BatchLimits limits, int threads);

    /** Whether activations are rounded to 8 bits in runs of 64 where they meet a quantised weight. */
    default boolean roundsActivations() {
        return false;
    }

    /** Error of a weight's values, relative to each, by the way they are stored. A backend that rounds plain weights says so by overriding this. */
    default double weightTolerance(WeightFormat format) {
        return 0;
    }

    /**
     * Error that attention may have, relative to the weighed magnitudes of the values.
     *
     * @param size largest {@code sum_i |q_i * k_i| * scale} of the row: an error of e in a score is an error of e relative to its weight
     */
    default double attentionTolerance(AttentionShape shape, KvCacheType type, int blockSize, double size) {
        return 1e-5 + 1e-6 * size;
    }

    /**
     * Error that a linear layer may have, relative to {@code sum_k |x_k * w_k|}. A backend that rounds activations to the weight's
     * type for the sake of an instruction says so by overriding this.
     */
    default double linearTolerance(DType weightType) {
        return 2e-6;
    }
}

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

    /** Error of what a run leaves in an activation buffer, relative to it: none where buffers are F32. */
    default double storedTolerance() {
        return 0;
    }

    /** Whether the kernels run on an emulator, which takes some thousand times as long: shapes and repetitions are fewer then. */
    default boolean emulated() {
        return false;
    }

    /** {@code full}, or the fewer of an emulated backend. */
    default int repeated(int full, int emulated) {
        return emulated() ? emulated : full;
    }

    /** The cache's type in place of one that the backend does not have. */
    default KvCacheType kvType(KvCacheType asked) {
        return asked;
    }

    /** The cache's block size in place of one that the backend does not have. */
    default int blockSize(int asked) {
        return asked;
    }

    /** Whether the backend has kernels for heads like that; where it has none it refuses them. */
    default boolean serves(int headDim, int rotaryDim, boolean interleaved) {
        return true;
    }

    /** Whether a token that comes alone gets the bits that it gets in a chunk of its sequence. */
    default boolean decodesLikeItPrefills() {
        return true;
    }

    /** Whether {@code ropeAndCache} leaves turned queries and keys in its argument. */
    default boolean rotatesInPlace() {
        return true;
    }
}

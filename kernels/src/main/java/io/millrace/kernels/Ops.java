package io.millrace.kernels;

/**
 * The operations a decoder model is written in. A model calls them once, under {@link Backend#record}; the calls become a
 * {@link Program} that is replayed every step. All activations are {@code [rows, cols]} of the backend's type, F32 or BF16, logits are F32
 * ({@link Backend#activations}, {@link Backend#logits}); the number of rows of a step comes from the {@link Batch} (see {@link Extent}). Arguments are checked while recording, with names and shapes in the message;
 * nothing is checked at replay.
 *
 * <p>Results are batch-invariant: what is computed for a row depends on that row's sequence alone, bit for bit, not on the other
 * rows, the number of threads, or how a prompt was cut into chunks. On a GPU a token that comes alone (in decode, or as a chunk of one) may
 * round differently from one that comes with others of its sequence.
 */
public interface Ops {
    /** {@code out[t] = table[tokenIds[t]] * scale}; table {@code [vocab, hidden]} in any format. */
    void embed(Weight table, float scale, Tensor out);

    /** Root mean square norm (arXiv 1910.07467): {@code out = x / sqrt(mean(x^2) + eps) * weight}; weight F32 {@code [1, cols]}. */
    void rmsNorm(Tensor x, Tensor weight, float eps, Tensor out);

    /** {@code residual += delta; out = rmsNorm(residual)}, in one pass. */
    void addRmsNorm(Tensor residual, Tensor delta, Tensor weight, float eps, Tensor out);

    /** {@code residual += delta}. */
    void add(Tensor residual, Tensor delta);

    /**
     * {@code out[t, n] = sum_k x[t, k] * weight[n, k] (+ bias[n])}; bias F32 {@code [1, outFeatures]} or null. Where the weight is
     * quantised a backend may round activations to 8 bits, in runs of 64 with a scale each.
     */
    void linear(Tensor x, Weight weight, Tensor bias, Tensor out);

    /** {@link #ropeAndCache(Tensor, QkNorm, Rope, AttentionShape, KvCache, int)} without norms. */
    default void ropeAndCache(Tensor qkv, Rope rope, AttentionShape shape, KvCache cache, int layer) {
        ropeAndCache(qkv, null, rope, shape, cache, layer);
    }

    /**
     * Normalizes the query and key heads of {@code qkv} {@code [T, qkvCols]} if {@code norm} is not null, then rotates the query and key
     * parts at each token's position, then writes keys and values of the tokens into {@code cache} at
     * {@code (layer, blockTable[seq][position / blockSize], position % blockSize)}. The queries are left where {@link #attention} of the same
     * {@code qkv} finds them, which comes next: in {@code qkv} itself, or elsewhere. On the CPU the keys are turned in {@code qkv} too.
     */
    void ropeAndCache(Tensor qkv, QkNorm norm, Rope rope, AttentionShape shape, KvCache cache, int layer);

    /** {@link #attention(Tensor, AttentionShape, Tensor, KvCache, int, Tensor)} without sinks. */
    default void attention(Tensor qkv, AttentionShape shape, KvCache cache, int layer, Tensor out) {
        attention(qkv, shape, null, cache, layer, out);
    }

    /**
     * Causal grouped-query attention of every token's query against the cached keys and values of its own sequence, positions
     * {@code [0, position]} or those of the sliding window, with an online softmax (arXiv 1805.02867); {@code out} is {@code [T, queryCols]}. Prefill chunks and
     * decodes of different sequences are mixed freely in one call. Blocks that lie before the windows of all tokens are not read.
     *
     * @param sinks F32 {@code [1, numHeads]} or null: the softmax of a head has one more term {@code e^sink} in its denominator (arXiv
     *              2309.17453)
     */
    void attention(Tensor qkv, AttentionShape shape, Tensor sinks, KvCache cache, int layer, Tensor out);

    /** {@code out = silu(gate) * up}; {@code gateUp} is {@code [T, 2 * cols]} with the gate half first (arXiv 2002.05202). */
    void swiglu(Tensor gateUp, Tensor out);

    /** {@link #swiglu} with the tanh approximation of GELU (arXiv 1606.08415) in place of silu. */
    void geglu(Tensor gateUp, Tensor out);

    /** {@code x = cap * tanh(x / cap)}, in place, for logits (arXiv 2408.00118). */
    void softCap(Tensor x, float cap);

    /** {@code out[r] = x[logitRows[r]]}: picks the tokens whose logits are wanted. out has extent {@link Extent#LOGIT_ROWS}. */
    void gatherLogitRows(Tensor x, Tensor out);

    /**
     * For every logit row: log-softmax statistics of the raw logits, then bias, suppression, penalties, temperature, min-p,
     * top-k, top-p and a seeded draw, as {@link SamplingRows} says. May overwrite {@code logits} {@code [L, vocab]}.
     */
    void sample(Tensor logits);
}

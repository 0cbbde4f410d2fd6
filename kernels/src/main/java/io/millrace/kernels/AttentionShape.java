package io.millrace.kernels;

/**
 * Grouped-query attention (arXiv 2305.13245): {@code numHeads} query heads share {@code numKvHeads} key/value heads.
 *
 * @param scale         multiplied into the scores before the softmax, usually {@code 1 / sqrt(headDim)}
 * @param softCap       scaled scores {@code s} become {@code softCap * tanh(s / softCap)} (Gemma 2); 0: they stay
 * @param slidingWindow a token at position {@code p} sees positions {@code (p - slidingWindow, p]} (arXiv 2004.05150); 0: all up to {@code p}
 */
public record AttentionShape(int numHeads, int numKvHeads, int headDim, float scale, float softCap, int slidingWindow) {
    /** Widest fused q|k|v row: byte offsets within a row, and twice its width, stay inside an int. */
    private static final long MAX_QKV_COLS = 1L << 24;
    /** Work items are tokens times key/value heads, and are counted in 32 bits. */
    private static final int MAX_KV_HEADS = 1 << 10;

    /** Every token sees all before it, scores are not capped. */
    public AttentionShape(int numHeads, int numKvHeads, int headDim, float scale) {
        this(numHeads, numKvHeads, headDim, scale, 0, 0);
    }

    /** @throws IllegalArgumentException {@code OP-006} */
    public AttentionShape {
        long cols = (numHeads + 2L * numKvHeads) * headDim;
        if (numHeads <= 0 || numKvHeads <= 0 || numHeads % numKvHeads != 0 || headDim <= 0 || headDim % 2 != 0 || numKvHeads > MAX_KV_HEADS
                || cols > MAX_QKV_COLS) {
            throw new IllegalArgumentException("OP-006: attention needs numHeads divisible by at most " + MAX_KV_HEADS + " numKvHeads, an even"
                    + " headDim, and at most " + MAX_QKV_COLS + " columns of q|k|v; got heads=" + numHeads + " kvHeads=" + numKvHeads
                    + " headDim=" + headDim + ". Check the model's configuration");
        }
        if (!(softCap >= 0) || Float.isInfinite(softCap) || slidingWindow < 0) {
            throw new IllegalArgumentException("OP-006: attention's softCap must be finite and >= 0, its slidingWindow >= 0, where 0 means none;"
                    + " got softCap=" + softCap + " slidingWindow=" + slidingWindow + ". Check the model's configuration");
        }
    }

    /** Columns of the fused q|k|v activation: {@code (numHeads + 2 * numKvHeads) * headDim}. */
    public int qkvCols() {
        return (numHeads + 2 * numKvHeads) * headDim;
    }

    public int queryCols() {
        return numHeads * headDim;
    }

    public int kvCols() {
        return numKvHeads * headDim;
    }
}

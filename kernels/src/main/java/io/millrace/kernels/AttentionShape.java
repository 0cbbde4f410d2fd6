package io.millrace.kernels;

/**
 * Grouped-query attention (arXiv 2305.13245): {@code numHeads} query heads share {@code numKvHeads} key/value heads.
 *
 * @param scale multiplied into the scores before the softmax, usually {@code 1 / sqrt(headDim)}
 */
public record AttentionShape(int numHeads, int numKvHeads, int headDim, float scale) {
    /** Widest fused q|k|v row: byte offsets within a row, and twice its width, stay inside an int. */
    private static final long MAX_QKV_COLS = 1L << 24;
    /** Work items are tokens times key/value heads, and are counted in 32 bits. */
    private static final int MAX_KV_HEADS = 1 << 10;

    /** @throws IllegalArgumentException {@code OP-006} */
    public AttentionShape {
        long cols = (numHeads + 2L * numKvHeads) * headDim;
        if (numHeads <= 0 || numKvHeads <= 0 || numHeads % numKvHeads != 0 || headDim <= 0 || headDim % 2 != 0 || numKvHeads > MAX_KV_HEADS
                || cols > MAX_QKV_COLS) {
            throw new IllegalArgumentException("OP-006: attention needs numHeads divisible by at most " + MAX_KV_HEADS + " numKvHeads, an even"
                    + " headDim, and at most " + MAX_QKV_COLS + " columns of q|k|v; got heads=" + numHeads + " kvHeads=" + numKvHeads
                    + " headDim=" + headDim + ". Check the model's configuration");
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

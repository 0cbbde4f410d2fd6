package io.millrace.kernels;

/**
 * Grouped-query attention (arXiv 2305.13245): {@code numHeads} query heads share {@code numKvHeads} key/value heads.
 *
 * @param scale multiplied into the scores before the softmax, usually {@code 1 / sqrt(headDim)}
 */
public record AttentionShape(int numHeads, int numKvHeads, int headDim, float scale) {
    public AttentionShape {
        if (numKvHeads <= 0 || numHeads % numKvHeads != 0 || headDim <= 0 || headDim % 2 != 0) {
            throw new IllegalArgumentException("attention needs numHeads divisible by numKvHeads and an even headDim; got heads="
                    + numHeads + " kvHeads=" + numKvHeads + " headDim=" + headDim);
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

package io.millrace.kernels;

/**
 * The paged KV cache: {@code numBlocks} blocks of {@code blockSize} tokens; in every layer each token has one key and one value
 * vector of {@code numKvHeads * headDim} elements. How they lie in memory is the backend's business.
 */
public record KvCacheShape(int numLayers, int numBlocks, int blockSize, int numKvHeads, int headDim, KvCacheType dtype) {
    /** Stored element by element. */
    public KvCacheShape(int numLayers, int numBlocks, int blockSize, int numKvHeads, int headDim, DType dtype) {
        this(numLayers, numBlocks, blockSize, numKvHeads, headDim, KvCacheType.of(dtype));
    }

    /** Bytes that one block takes over all layers, keys and values together. */
    public long blockBytes() {
        return 2L * numLayers * blockSize * numKvHeads * dtype.vectorBytes(headDim);
    }

    public long byteSize() {
        return blockBytes() * numBlocks;
    }
}

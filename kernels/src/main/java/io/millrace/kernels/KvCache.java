package io.millrace.kernels;

/** KV storage of one rank, owned by its backend. Paged as in PagedAttention (arXiv 2309.06180): blocks are named by int ids. */
public interface KvCache {
    KvCacheShape shape();

    /** Reads one key vector back as floats, {@code [numKvHeads * headDim]}: for tests and diagnostics. */
    float[] readKey(int layer, int blockId, int offset);

    /** Reads one value vector back as floats, {@code [numKvHeads * headDim]}: for tests and diagnostics. */
    float[] readValue(int layer, int blockId, int offset);
}

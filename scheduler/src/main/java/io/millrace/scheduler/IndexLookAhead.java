package io.millrace.scheduler;

import io.millrace.engine.Sequence;

/**
 * Fetches what indexing the blocks that a step has filled will look at, for many requests together: in a step that only decodes one
 * sequence in so many fills a block, and its place in the index, far from all others, is the better part of what settling it costs.
 * Changes nothing. Owned by the engine thread; allocates nothing after construction.
 */
final class IndexLookAhead {
    private final PrefixIndex index;
    private final int blockSize;
    private final RequestState[] filling = new RequestState[PrefixIndex.FETCHED_TOGETHER];
    private final int[] blockIds = new int[PrefixIndex.FETCHED_TOGETHER];
    private final int[] parentIds = new int[PrefixIndex.FETCHED_TOGETHER];
    private final long[] hashes = new long[PrefixIndex.FETCHED_TOGETHER];
    private int size;

    IndexLookAhead(PrefixIndex index, int blockSize) {
        this.index = index;
        this.blockSize = blockSize;
    }

    /** {@code request} will have {@code numTokens} computed tokens, all known. {@link #finish} must follow the last. */
    void expect(RequestState request, int numTokens) {
        if (numTokens / blockSize == request.numIndexedBlocks + 1) {
            filling[size++] = request;
            if (size == PrefixIndex.FETCHED_TOGETHER) {
                finish();
            }
        }
    }

    void finish() {
        for (int i = 0; i < size; i++) {
            Sequence sequence = filling[i].sequence;
            int k = filling[i].numIndexedBlocks;
            parentIds[i] = k == 0 ? PrefixIndex.ROOT : sequence.blockIds()[k - 1];
            blockIds[i] = sequence.blockIds()[k];
        }
        index.touch(blockIds, parentIds, size);
        for (int i = 0; i < size; i++) {
            RequestState request = filling[i];
            hashes[i] = index.next(index.hashOf(parentIds[i], request.salt), request.sequence.tokenIds(), request.numIndexedBlocks * blockSize);
            filling[i] = null;
        }
        index.fetch(hashes, size);
        size = 0;
    }
}

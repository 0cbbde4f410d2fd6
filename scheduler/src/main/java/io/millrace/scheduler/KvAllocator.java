package io.millrace.scheduler;

import io.millrace.engine.EngineLimits;
import io.millrace.engine.Sequence;

/**
 * Gives sequences the KV blocks they need and takes them back: the only one who writes block tables. Owned by the engine thread.
 */
final class KvAllocator {
    private final BlockPool pool;

    KvAllocator(EngineLimits limits) {
        this.pool = new BlockPool(limits.numBlocks(), limits.blockSize());
    }

    int numBlocks() {
        return pool.numBlocks();
    }

    /** Blocks that can be had without preempting anybody. */
    int numFree() {
        return pool.numFree();
    }

    /** Blocks that {@code request} lacks to hold its first {@code numTokens} tokens. */
    int numMissing(RequestState request, int numTokens) {
        return Math.max(0, pool.blocksFor(numTokens) - request.sequence.numBlocks());
    }

    /**
     * Extends the block table of {@code request} to {@code numTokens} tokens.
     *
     * @return false, and nothing has changed, if there are too few free blocks
     */
    boolean grow(RequestState request, int numTokens) {
        int count = numMissing(request, numTokens);
        if (count > pool.numFree()) {
            return false;
        }
        for (int i = 0; i < count; i++) {
            request.sequence.appendBlock(pool.allocate());
        }
        return true;
    }

    /** Gives back every block of {@code request}. */
    void release(RequestState request) {
        Sequence sequence = request.sequence;
        int[] blockIds = sequence.blockIds();
        // Backwards, so that the stack hands them out again in table order.
        for (int i = sequence.numBlocks() - 1; i >= 0; i--) {
            pool.free(blockIds[i]);
        }
        sequence.clearBlocks();
    }

    /**
     * Proves that every block is free or held by exactly the running requests. Allocates; for tests and diagnosis.
     *
     * @throws IllegalStateException with the numbers
     */
    void checkIntegrity(RequestList running) {
        long held = 0;
        for (RequestState r = running.head(); r != null; r = r.next) {
            held += r.sequence.numBlocks();
        }
        pool.checkIntegrity(held);
    }
}

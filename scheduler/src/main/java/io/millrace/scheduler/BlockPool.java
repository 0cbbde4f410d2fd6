package io.millrace.scheduler;

import java.util.Arrays;

/**
 * The KV blocks by number: which are free and who holds the others. It knows ids only, never memory. Owned by the engine thread.
 *
 * <pre>
 *   freeStack | free ids [0, numFree) | room |          allocate pops, the last free pushes: the block most lately used
 *   refCount  | one count per block; 0 = free |         is handed out first, while its memory is still warm
 * </pre>
 *
 * A block is free (count 0, on the stack) or used (count above 0, not on the stack); {@link #checkIntegrity} proves that every block
 * is exactly one of the two. Sequences that share a prefix share its blocks by {@link #addReference}.
 *
 * <p>After PagedAttention, "Efficient Memory Management for Large Language Model Serving with PagedAttention", SOSP 2023.
 */
final class BlockPool {
    private final int blockSize;
    private final int[] refCount;
    private final int[] freeStack;
    private int numFree;

    BlockPool(int numBlocks, int blockSize) {
        if (numBlocks < 1 || blockSize < 1) {
            throw new IllegalArgumentException("KV-010: a pool needs at least one block of at least one token, not " + numBlocks
                    + " blocks of " + blockSize + " tokens; give the KV cache more memory");
        }
        this.blockSize = blockSize;
        this.refCount = new int[numBlocks];
        this.freeStack = new int[numBlocks];
        // Lowest id on top: small loads touch the low end of the cache only.
        for (int i = 0; i < numBlocks; i++) {
            freeStack[i] = numBlocks - 1 - i;
        }
        this.numFree = numBlocks;
    }

    int numBlocks() {
        return refCount.length;
    }

    int numFree() {
        return numFree;
    }

    int numUsed() {
        return refCount.length - numFree;
    }

    int refCount(int blockId) {
        return refCount[blockId];
    }

    /** Blocks that hold {@code numTokens} tokens. */
    int blocksFor(int numTokens) {
        // Not (n + size - 1) / size: that overflows near the largest int.
        return numTokens == 0 ? 0 : (numTokens - 1) / blockSize + 1;
    }

    /** A block with one reference. Callers look at {@link #numFree} first. */
    int allocate() {
        if (numFree == 0) {
            throw new IllegalStateException("KV-011: no free block among " + refCount.length + "; the caller must preempt first");
        }
        int blockId = freeStack[--numFree];
        refCount[blockId] = 1;
        return blockId;
    }

    /** One more holder of a used block. */
    void addReference(int blockId) {
        if (refCount[blockId] == 0) {
            throw new IllegalStateException("KV-012: block " + blockId + " is free and cannot be shared");
        }
        refCount[blockId]++;
    }

    /** Gives one reference back; the last one frees the block. */
    void free(int blockId) {
        if (refCount[blockId] == 0) {
            throw new IllegalStateException("KV-013: block " + blockId + " is freed twice");
        }
        if (--refCount[blockId] == 0) {
            freeStack[numFree++] = blockId;
        }
    }

    /**
     * Proves that every block is either free or used. Allocates; for tests and diagnosis.
     *
     * @param numReferences references that the sequences hold together
     * @throws IllegalStateException with the numbers
     */
    void checkIntegrity(long numReferences) {
        boolean[] onStack = new boolean[refCount.length];
        for (int i = 0; i < numFree; i++) {
            int blockId = freeStack[i];
            if (onStack[blockId] || refCount[blockId] != 0) {
                throw new IllegalStateException("KV-014: block " + blockId + " lies on the free stack "
                        + (onStack[blockId] ? "twice" : "with " + refCount[blockId] + " references"));
            }
            onStack[blockId] = true;
        }
        int numUsed = 0;
        for (int count : refCount) {
            numUsed += count > 0 ? 1 : 0;
        }
        long held = Arrays.stream(refCount).asLongStream().sum();
        if (numFree + numUsed != refCount.length || held != numReferences) {
            throw new IllegalStateException("KV-015: free " + numFree + " + used " + numUsed + " of " + refCount.length
                    + " blocks; references counted " + held + ", held by sequences " + numReferences);
        }
    }
}

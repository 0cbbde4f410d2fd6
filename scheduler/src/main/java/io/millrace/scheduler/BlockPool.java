package io.millrace.scheduler;

/**
 * The KV blocks by number: which are free, which are kept for reuse, and how many hold each of the others. It knows ids only, never
 * memory. Owned by the engine thread; allocates nothing after construction.
 *
 * <pre>
 *            allocate                    free, last holder             addReference (a hit)
 *   free  ─────────────► used (count>0) ─────────────────► cached (0) ─────────────────────► used
 *    ▲                        │  not in the prefix index                  │
 *    ├────────────────────────┘                                           │ when none is free: the oldest are forgotten
 *    └────────────────────────────────────────────────────────────────────┘
 *
 *   freeStack | free ids [0, numFree) | room |        the block most lately used is handed out first, while its memory is warm
 *   cached    | oldest ◄──► ... ◄──► youngest |       doubly linked through the arrays older and younger
 * </pre>
 *
 * Every block is in exactly one of the three states; {@link #checkIntegrity} proves it.
 *
 * <p><b>Children leave first.</b> Holders of a block hold all blocks in front of it, and give them back from behind. So a block becomes
 * cached before its parent does, stands before it in the list, and is forgotten before it.
 *
 * <p>After PagedAttention, "Efficient Memory Management for Large Language Model Serving with PagedAttention", SOSP 2023.
 */
final class BlockPool {
    private static final int END = -1;
    /** Cached blocks are forgotten so many at a time, or a smaller share of all where there are few: that many too early at most. */
    private static final int MAX_EVICTION_BATCH = 64;
    private static final int EVICTION_SHARE = 512;

    private final int blockSize;
    private final PrefixIndex index;
    private final boolean retain;
    private final int[] refCount;
    private final int[] freeStack;
    private int numFree;
    private final int[] older;
    private final int[] younger;
    private final int evictionBatch;
    private int oldest = END;
    private int youngest = END;
    private int numCached;
    private long numEvicted;

    /**
     * @param index  knows which blocks are worth keeping; blocks are taken out of it when they are forgotten
     * @param retain whether indexed blocks are kept when nobody holds them any more
     */
    BlockPool(int numBlocks, int blockSize, PrefixIndex index, boolean retain) {
        if (numBlocks < 1 || blockSize < 1) {
            throw new IllegalArgumentException("KV-010: a pool needs at least one block of at least one token, not " + numBlocks
                    + " blocks of " + blockSize + " tokens; give the KV cache more memory");
        }
        this.blockSize = blockSize;
        this.index = index;
        this.retain = retain;
        this.refCount = new int[numBlocks];
        this.freeStack = new int[numBlocks];
        // Lowest id on top: small loads touch the low end of the cache only.
        for (int i = 0; i < numBlocks; i++) {
            freeStack[i] = numBlocks - 1 - i;
        }
        this.numFree = numBlocks;
        this.older = new int[numBlocks];
        this.younger = new int[numBlocks];
        this.evictionBatch = Math.clamp(numBlocks / EVICTION_SHARE, 1, MAX_EVICTION_BATCH);
    }

    int numBlocks() {
        return refCount.length;
    }

    /** Blocks that {@link #allocate} can give: free ones and cached ones. */
    int numAvailable() {
        return numFree + numCached;
    }

    int numCached() {
        return numCached;
    }

    int numUsed() {
        return refCount.length - numFree - numCached;
    }

    /** Cached blocks forgotten to make room. */
    long numEvicted() {
        return numEvicted;
    }

    int refCount(int blockId) {
        return refCount[blockId];
    }

    /** Blocks that hold {@code numTokens} tokens. */
    int blocksFor(int numTokens) {
        // Not (n + size - 1) / size: that overflows near the largest int.
        return numTokens == 0 ? 0 : (numTokens - 1) / blockSize + 1;
    }

    /** A block with one reference and in no index. Callers look at {@link #numAvailable} first. */
    int allocate() {
        prepare(1);
        if (numFree == 0) {
            throw new IllegalStateException("KV-011: no free block among " + refCount.length + "; the caller must preempt first");
        }
        int blockId = freeStack[--numFree];
        refCount[blockId] = 1;
        return blockId;
    }

    /**
     * Sees that {@code count} blocks are free, if there are so many to be had: forgets the oldest cached ones, some more than needed and all at
     * once, which costs a fraction of doing so one by one.
     */
    void prepare(int count) {
        if (numFree >= count || numCached == 0) {
            return;
        }
        int numForgotten = Math.min(numCached, Math.max(count - numFree, evictionBatch));
        // The oldest on top: it is the first to be given away.
        for (int i = numFree + numForgotten - 1; i >= numFree; i--) {
            freeStack[i] = oldest;
            oldest = younger[oldest];
        }
        if (oldest == END) {
            youngest = END;
        } else {
            older[oldest] = END;
        }
        index.removeAll(freeStack, numFree, numFree + numForgotten);
        numFree += numForgotten;
        numCached -= numForgotten;
        numEvicted += numForgotten;
    }

    /** One more holder of a used or cached block. */
    void addReference(int blockId) {
        if (refCount[blockId] == 0) {
            if (!index.contains(blockId)) {
                throw new IllegalStateException("KV-012: block " + blockId + " is free and cannot be shared");
            }
            unlink(blockId);
        }
        refCount[blockId]++;
    }

    /** Gives one reference back; the last one frees the block, or caches it. */
    void free(int blockId) {
        if (refCount[blockId] == 0) {
            throw new IllegalStateException("KV-013: block " + blockId + " is freed twice");
        }
        if (--refCount[blockId] > 0) {
            return;
        }
        if (index.contains(blockId)) {
            if (retain) {
                link(blockId);
                return;
            }
            index.remove(blockId);
        }
        freeStack[numFree++] = blockId;
    }

    private void link(int blockId) {
        older[blockId] = youngest;
        younger[blockId] = END;
        if (youngest == END) {
            oldest = blockId;
        } else {
            younger[youngest] = blockId;
        }
        youngest = blockId;
        numCached++;
    }

    private void unlink(int blockId) {
        int before = older[blockId];
        int after = younger[blockId];
        if (before == END) {
            oldest = after;
        } else {
            younger[before] = after;
        }
        if (after == END) {
            youngest = before;
        } else {
            older[after] = before;
        }
        numCached--;
    }

    /**
     * Proves that every block is free, cached or used, and used exactly as often as somebody holds it. For tests and diagnosis.
     *
     * @param numHolders how often each block stands in block tables; all zero afterwards
     * @throws IllegalStateException with the numbers
     */
    void checkIntegrity(int[] numHolders) {
        int numUsed = 0;
        for (int id = 0; id < refCount.length; id++) {
            if (refCount[id] != numHolders[id]) {
                throw new IllegalStateException("KV-015: block " + id + " counts " + refCount[id] + " references, " + numHolders[id]
                        + " block tables hold it");
            }
            numUsed += refCount[id] > 0 ? 1 : 0;
        }
        // From here on numHolders marks what has been seen.
        for (int i = 0; i < numFree; i++) {
            see(numHolders, freeStack[i], index.contains(freeStack[i]), "lies on the free stack");
        }
        int last = END;
        int length = 0;
        for (int id = oldest; id != END; id = younger[id]) {
            see(numHolders, id, !index.contains(id) || older[id] != last, "is in the list of cached blocks");
            last = id;
            length++;
        }
        if (length != numCached || last != youngest || numFree + numCached + numUsed != refCount.length) {
            throw new IllegalStateException("KV-014: free " + numFree + " + cached " + numCached + " (" + length + " in the list) + used "
                    + numUsed + " of " + refCount.length + " blocks");
        }
        java.util.Arrays.fill(numHolders, 0);
    }

    private void see(int[] seen, int blockId, boolean misplaced, String where) {
        if (seen[blockId] != 0 || misplaced) {
            throw new IllegalStateException("KV-014: block " + blockId + " " + where + (misplaced ? " and does not belong there"
                    : " twice or is used: " + refCount[blockId] + " references"));
        }
        seen[blockId] = 1;
    }
}

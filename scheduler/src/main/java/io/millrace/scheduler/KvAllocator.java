package io.millrace.scheduler;

import io.millrace.engine.EngineLimits;
import io.millrace.engine.Sequence;

/**
 * Gives sequences the KV blocks they need and takes them back: the only one who writes block tables. Owned by the engine thread;
 * allocates nothing but what a block table needs to grow.
 *
 * <pre>
 *   block table | indexed [0, numIndexedBlocks): full, found by others, each once in the whole cache | private: the rest |
 * </pre>
 *
 * <b>Sharing.</b> Full blocks are indexed by their tokens and everything in front of them. A sequence whose next tokens are those of an
 * indexed block takes it over instead of computing it ({@link #adopt}); nothing is copied. Blocks of generated tokens are indexed too,
 * so a conversation's next turn finds them, and a preempted sequence finds what is left of its own.
 *
 * <p><b>A partial block is never shared.</b> Sequences that part within a block compute its tokens again, each in a block of its own:
 * fewer tokens than a block holds, in a step that runs anyway. Copying it instead would need a copy operation in every backend, ordered
 * against running steps, to save less than one step's smallest chunk.
 *
 * <p><b>Within a step.</b> Blocks that a prompt's chunk fills are indexed when the chunk is planned: those planned after it in the same step
 * share them already, since a step writes the keys and values of all its tokens before any of them attends, layer by layer. Not so a step of
 * one token a sequence ({@code kernels.Batch}), so what a single token fills is indexed when it is computed. Should the
 * chunk be taken out of the plan again, {@link #retract} takes its blocks out of the index; {@link #isLending} says when it is too late.
 *
 * <p><b>Twins.</b> Two sequences may fill equal blocks at the same time. When the second one is computed its block is exchanged for the
 * indexed one and freed: what stands in {@code [0, numIndexedBlocks)} is always the indexed block, so whoever holds a block holds its
 * parent too.
 */
final class KvAllocator {
    /** Between two looks at who holds what of a waiting prompt; a look costs as much as hits. */
    static final int STEPS_PER_LOOK = 16;

    private final int blockSize;
    private final PrefixIndex index;
    private final BlockPool pool;
    private final IndexLookAhead lookAhead;
    private int[] holders;

    /**
     * @param retain whether blocks are kept for later requests; without it only requests that run at the same time share
     */
    KvAllocator(EngineLimits limits, boolean retain, IndexKey key) {
        this.blockSize = limits.blockSize();
        this.index = new PrefixIndex(limits.numBlocks(), blockSize, key);
        this.pool = new BlockPool(limits.numBlocks(), blockSize, index, retain);
        this.lookAhead = new IndexLookAhead(index, blockSize);
    }

    int numBlocks() {
        return pool.numBlocks();
    }

    /** Blocks that can be had without preempting anybody, those kept for reuse included. */
    int numFree() {
        return pool.numAvailable();
    }

    int numCached() {
        return pool.numCached();
    }

    long numEvicted() {
        return pool.numEvicted();
    }

    /** Blocks that {@code request} lacks to hold its first {@code numTokens} tokens. */
    int numMissing(RequestState request, int numTokens) {
        return Math.max(0, pool.blocksFor(numTokens) - request.sequence.numBlocks());
    }

    /**
     * Whether all known tokens of a waiting request would fit if {@code numReserved} blocks stay free. What running requests hold of its
     * prefix costs nothing; cached blocks that nobody holds cost as much as free ones.
     */
    boolean fits(RequestState request, int numReserved) {
        int needed = numNeeded(request);
        int spare = pool.numAvailable() - numReserved;
        if (needed <= spare) {
            return true;
        }
        if (request.stepsToNextLook > 0 && needed - request.numSharedBlocks > spare) {
            request.stepsToNextLook--;
            return false;
        }
        request.stepsToNextLook = STEPS_PER_LOOK;
        request.numSharedBlocks = countShared(request, null);
        return needed - request.numSharedBlocks <= spare;
    }

    /** Blocks that must be had or shared for a waiting request to enter. */
    int numNeeded(RequestState request) {
        int needed = pool.blocksFor(request.numTokensToCompute());
        // With nothing to grow into it would only be preempted again.
        return request.numPreemptions > 0 ? Math.min(needed + 1, pool.numBlocks()) : needed;
    }

    /** Blocks at its front that it need not compute if others have. */
    int numReusable(RequestState request) {
        return request.numReusableTokens() / blockSize;
    }

    /**
     * Blocks of its prefix that others hold.
     *
     * @param numGiven by the first block of a run (see {@link #runStart}), how many of its holders do not count; null = all count
     */
    int countShared(RequestState request, int[] numGiven) {
        int limit = numReusable(request);
        int parent = PrefixIndex.ROOT;
        int numHolders = -1;
        int given = 0;
        for (int k = 0; k < limit; k++) {
            parent = index.find(parent, request.salt, request.sequence.tokenIds(), k * blockSize);
            if (parent == PrefixIndex.NONE) {
                return k;
            }
            if (pool.refCount(parent) != numHolders) {
                numHolders = pool.refCount(parent);
                given = numGiven == null ? 0 : numGiven[parent];
            }
            if (numHolders == given) {
                return k;
            }
        }
        return limit;
    }

    /** Requests that hold the {@code k}-th block of {@code request}. */
    int numHolders(RequestState request, int k) {
        return pool.refCount(request.sequence.blockIds()[k]);
    }

    /**
     * Where the run that the {@code k}-th of its indexed blocks belongs to begins: the blocks with the same holders. Who holds a block holds
     * those in front of it, so along a table holders only become fewer, and as many are the same ones.
     */
    int runStart(RequestState request, int k) {
        int count = numHolders(request, k);
        if (numHolders(request, 0) == count) {
            return 0;
        }
        // From behind in doubling strides: what a request has for itself is mostly short.
        int stride = 1;
        int before = k - 1;
        while (before > 0 && numHolders(request, before) == count) {
            k = before;
            stride *= 2;
            before = Math.max(0, k - stride);
        }
        while (k - before > 1) {
            int middle = before + k >>> 1;
            if (numHolders(request, middle) == count) {
                k = middle;
            } else {
                before = middle;
            }
        }
        return k;
    }

    /** Room for {@code numRunning} requests to grow, or a newcomer is preempted at the next block boundary. */
    int headroom(int numRunning) {
        return numRunning == 0 ? 0 : Math.max(1, numBlocks() / 100);
    }

    /**
     * Takes over the indexed blocks that continue what {@code request} has computed; the tokens in them count as computed from now on. The
     * last known token is never among them: it must be run to predict the next one.
     *
     * @return tokens found
     */
    int adopt(RequestState request) {
        Sequence sequence = request.sequence;
        int computed = sequence.numComputedTokens();
        int limit = request.numReusableTokens() / blockSize;
        int k = request.numIndexedBlocks;
        if (k >= limit || k != computed / blockSize) {
            return 0;
        }
        int[] tokenIds = sequence.tokenIds();
        int parent = k == 0 ? PrefixIndex.ROOT : sequence.blockIds()[k - 1];
        long hash = index.next(index.hashOf(parent, request.salt), tokenIds, k * blockSize);
        int found = index.find(hash, parent, request.salt, tokenIds, k * blockSize);
        if (found == PrefixIndex.NONE) {
            return 0;
        }
        if (k < sequence.numBlocks()) {
            // Begun by itself, and meanwhile filled by another.
            pool.free(sequence.blockIds()[k]);
            sequence.truncateBlocks(k);
        }
        while (found != PrefixIndex.NONE) {
            pool.addReference(found);
            sequence.appendBlock(found);
            if (++k == limit) {
                break;
            }
            hash = index.next(hash, tokenIds, k * blockSize);
            found = index.find(hash, found, request.salt, tokenIds, k * blockSize);
        }
        request.numIndexedBlocks = k;
        sequence.setNumComputedTokens(k * blockSize);
        return k * blockSize - computed;
    }

    /**
     * Extends the block table of {@code request} to {@code numTokens} tokens.
     *
     * @return false, and nothing has changed, if there are too few free blocks
     */
    boolean grow(RequestState request, int numTokens) {
        int count = numMissing(request, numTokens);
        if (count > pool.numAvailable()) {
            return false;
        }
        pool.prepare(count);
        for (int i = 0; i < count; i++) {
            request.sequence.appendBlock(pool.allocate());
        }
        return true;
    }

    /** Indexes the blocks that the chunk just planned for {@code request} will have filled, up to {@code numTokens} known tokens. */
    void indexPlanned(RequestState request, int numTokens) {
        request.numIndexedBeforePlan = request.numIndexedBlocks;
        int end = numTokens / blockSize;
        if (end > request.numIndexedBlocks) {
            request.numIndexedBlocks = index.addAll(request.sequence.blockIds(), request.numIndexedBlocks, end, request.salt,
                    request.sequence.tokenIds());
        }
    }

    /** Indexes the full blocks among the first {@code numTokens} tokens of {@code request}, all known and computed. */
    void indexComputed(RequestState request, int numTokens) {
        int k = request.numIndexedBlocks;
        for (; (k + 1) * blockSize <= numTokens; k++) {
            int[] blockIds = request.sequence.blockIds();
            int blockId = indexBlock(request, k);
            if (blockId != blockIds[k]) {
                pool.addReference(blockId);
                pool.free(blockIds[k]);
                blockIds[k] = blockId;
            }
        }
        request.numIndexedBlocks = k;
    }

    /** Who will be asked for {@link #indexComputed} soon: what that looks up can be fetched together. */
    IndexLookAhead lookAhead() {
        return lookAhead;
    }

    private int indexBlock(RequestState request, int k) {
        int[] blockIds = request.sequence.blockIds();
        int parent = k == 0 ? PrefixIndex.ROOT : blockIds[k - 1];
        return index.addIfAbsent(blockIds[k], parent, request.salt, request.sequence.tokenIds(), k * blockSize);
    }

    /** Whether a request planned later in this step counts on what {@code request} computes in it. */
    boolean isLending(RequestState request) {
        return request.numScheduled > 0 && request.numIndexedBlocks > request.numIndexedBeforePlan
                && pool.refCount(request.sequence.blockIds()[request.numIndexedBeforePlan]) > 1;
    }

    /** Undoes {@link #indexPlanned}: the chunk is taken out of the plan. */
    void retract(RequestState request) {
        for (int k = request.numIndexedBlocks - 1; k >= request.numIndexedBeforePlan; k--) {
            index.remove(request.sequence.blockIds()[k]);
        }
        request.numIndexedBlocks = request.numIndexedBeforePlan;
    }

    /** Gives back every block of {@code request}. */
    void release(RequestState request) {
        Sequence sequence = request.sequence;
        int[] blockIds = sequence.blockIds();
        // Backwards: children leave before their parents, and the stack hands blocks out again in table order.
        for (int i = sequence.numBlocks() - 1; i >= 0; i--) {
            pool.free(blockIds[i]);
        }
        sequence.truncateBlocks(0);
        request.numIndexedBlocks = 0;
    }

    /**
     * Proves that free + cached + used blocks are all blocks, that each counts as many references as running and leaving requests hold it, and that
     * what is indexed is about the tokens of those who hold it. Slow; for tests and diagnosis.
     *
     * @throws IllegalStateException with the numbers
     */
    void checkIntegrity(RunningList running, RequestList leaving) {
        holders = holders == null ? new int[pool.numBlocks()] : holders;
        for (int i = 0; i < running.size(); i++) {
            countHolders(running.get(i));
        }
        for (RequestState r = leaving.head(); r != null; r = r.next) {
            countHolders(r);
        }
        pool.checkIntegrity(holders);
        index.checkIntegrity();
    }

    private void countHolders(RequestState r) {
        Sequence sequence = r.sequence;
        int[] blockIds = sequence.blockIds();
        for (int k = 0; k < sequence.numBlocks(); k++) {
            holders[blockIds[k]]++;
            boolean isIndexed = index.contains(blockIds[k]);
            Lifecycle.check(isIndexed == k < r.numIndexedBlocks, r, "counts wrongly how many of its blocks are indexed");
            Lifecycle.check(!isIndexed || index.isAbout(blockIds[k], k == 0 ? PrefixIndex.ROOT : blockIds[k - 1], r.salt,
                    sequence.tokenIds(), k * blockSize), r, "holds an indexed block that is about other tokens");
        }
        Lifecycle.check(r.numIndexedBlocks <= sequence.numBlocks(), r, "has more indexed blocks than blocks");
    }
}

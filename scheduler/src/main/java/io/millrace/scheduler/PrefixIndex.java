package io.millrace.scheduler;

import java.util.Arrays;
import java.util.SplittableRandom;

/**
 * Finds the block that holds the keys and values of given tokens after a given prefix. Knows full blocks only, by number; who holds them
 * is the {@link BlockPool}'s business. Owned by the engine thread; allocates nothing after construction.
 *
 * <pre>
 *   slots    | open addressing, linear probing: low half of the hash, block id + 1; 0 = empty | at most half full
 *   hash     | per block: hash(hash of parent or salt, its token ids)
 *   parent   | per block: the indexed block in front of it, or ROOT
 *   tokens   | per block: its token ids, blockSize each
 *   salt     | per block without a parent: 128 bits
 * </pre>
 *
 * <b>A hit is exact.</b> The hash only says where to look. A block is found if its token ids are the wanted ones and its parent is the
 * very block that was found for the prefix (or, without a parent, its salt is the wanted one): by induction, the whole prefix is equal,
 * token by token. A parent never leaves before its children, see {@link BlockPool}, so the number of a parent stays valid.
 *
 * <p>The hash is keyed ({@link IndexKey}), so that nobody can make prompts whose blocks crowd one place of the table.
 */
final class PrefixIndex {
    static final int ROOT = -1;
    static final int NONE = -1;
    /** How many requests or blocks are looked at side by side; more are under way than a core can wait for. */
    static final int FETCHED_TOGETHER = 32;
    private static final long K1 = 0x9E3779B97F4A7C15L;
    private static final long K2 = 0xD6E8FEB86659FD93L;

    private final int blockSize;
    private final long key;
    private final long hashMask;
    /** One secret word per token of a block. */
    private final int[] tokenKeys;
    private final long[] slots;
    private final int mask;
    private final long[] hash;
    private final int[] parent;
    private final int[] tokens;
    private final long[] saltHigh;
    private final long[] saltLow;
    private final boolean[] indexed;
    private int size;
    /** Of the blocks that are being added or removed together. */
    private final long[] hashes = new long[FETCHED_TOGETHER];
    private long fetched;

    PrefixIndex(int numBlocks, int blockSize, IndexKey key) {
        long numTokens = (long) numBlocks * blockSize;
        if (numTokens > Integer.MAX_VALUE - 8) {
            throw new IllegalArgumentException("KV-016: a prefix index over " + numBlocks + " blocks of " + blockSize + " tokens needs "
                    + numTokens + " places, at most " + (Integer.MAX_VALUE - 8) + " are possible; use larger blocks or a smaller cache");
        }
        this.blockSize = blockSize;
        this.key = fold(key.secret() ^ K2, K1);
        this.hashMask = key.hashMask();
        this.tokenKeys = new SplittableRandom(key.secret()).ints(blockSize + 1).toArray();
        int capacity = Math.max(2, Integer.highestOneBit(Math.max(1, 2 * numBlocks - 1)) << 1);
        this.slots = new long[capacity];
        this.mask = capacity - 1;
        this.hash = new long[numBlocks];
        this.parent = new int[numBlocks];
        this.tokens = new int[(int) numTokens];
        this.saltHigh = new long[numBlocks];
        this.saltLow = new long[numBlocks];
        this.indexed = new boolean[numBlocks];
    }

    int size() {
        return size;
    }

    boolean contains(int blockId) {
        return indexed[blockId];
    }

    /**
     * The block that holds {@code blockSize} tokens of {@code tokenIds} from {@code first} on, after the prefix that ends in
     * {@code parentId}; {@link #NONE} if there is none.
     */
    int find(int parentId, CacheSalt salt, int[] tokenIds, int first) {
        return find(next(hashOf(parentId, salt), tokenIds, first), parentId, salt, tokenIds, first);
    }

    /** @param h the block's hash: who follows a chain need not wait for each block's own to come from memory */
    int find(long h, int parentId, CacheSalt salt, int[] tokenIds, int first) {
        for (int slot = (int) h & mask; slots[slot] != 0; slot = slot + 1 & mask) {
            int blockId = (int) slots[slot] - 1;
            if ((int) (slots[slot] >>> 32) == (int) h && matches(blockId, parentId, salt, tokenIds, first)) {
                return blockId;
            }
        }
        return NONE;
    }

    private boolean matches(int blockId, int parentId, CacheSalt salt, int[] tokenIds, int first) {
        int own = blockId * blockSize;
        return parent[blockId] == parentId
                && (parentId != ROOT || saltHigh[blockId] == salt.high() && saltLow[blockId] == salt.low())
                && Arrays.mismatch(tokens, own, own + blockSize, tokenIds, first, first + blockSize) < 0;
    }

    /** @return the block that {@link #find} finds from now on for these tokens: {@code blockId}, unless it found another already */
    int addIfAbsent(int blockId, int parentId, CacheSalt salt, int[] tokenIds, int first) {
        return addIfAbsent(next(hashOf(parentId, salt), tokenIds, first), blockId, parentId, salt, tokenIds, first);
    }

    private int addIfAbsent(long h, int blockId, int parentId, CacheSalt salt, int[] tokenIds, int first) {
        if (indexed[blockId]) {
            throw new IllegalStateException("KV-017: block " + blockId + " is in the prefix index already");
        }
        int slot = (int) h & mask;
        for (; slots[slot] != 0; slot = slot + 1 & mask) {
            int other = (int) slots[slot] - 1;
            if ((int) (slots[slot] >>> 32) == (int) h && matches(other, parentId, salt, tokenIds, first)) {
                return other;
            }
        }
        hash[blockId] = h;
        parent[blockId] = parentId;
        if (parentId == ROOT) {
            saltHigh[blockId] = salt.high();
            saltLow[blockId] = salt.low();
        }
        System.arraycopy(tokenIds, first, tokens, blockId * blockSize, blockSize);
        slots[slot] = h << 32 | blockId + 1;
        indexed[blockId] = true;
        size++;
        return blockId;
    }

    /**
     * Adds the blocks {@code [from, to)} of a block table whose blocks before are indexed, up to the first of which there is an equal.
     *
     * @return where it stopped
     */
    int addAll(int[] blockIds, int from, int to, CacheSalt salt, int[] tokenIds) {
        int parentId = from == 0 ? ROOT : blockIds[from - 1];
        long h = hashOf(parentId, salt);
        for (int begin = from; begin < to; begin += FETCHED_TOGETHER) {
            int end = Math.min(begin + FETCHED_TOGETHER, to);
            for (int k = begin; k < end; k++) {
                h = next(h, tokenIds, k * blockSize);
                hashes[k - begin] = h;
            }
            fetch(hashes, end - begin);
            for (int k = begin; k < end; k++) {
                if (addIfAbsent(hashes[k - begin], blockIds[k], parentId, salt, tokenIds, k * blockSize) != blockIds[k]) {
                    return k;
                }
                parentId = blockIds[k];
            }
        }
        return to;
    }

    /** Forgets the blocks {@code blockIds[from, to)}, with all that are behind them. */
    void removeAll(int[] blockIds, int from, int to) {
        for (int begin = from; begin < to; begin += FETCHED_TOGETHER) {
            int end = Math.min(begin + FETCHED_TOGETHER, to);
            for (int i = begin; i < end; i++) {
                hashes[i - begin] = hash[blockIds[i]];
            }
            fetch(hashes, end - begin);
            for (int i = begin; i < end; i++) {
                remove(blockIds[i]);
            }
        }
    }

    /** Looks at the places of {@code count} hashes at once: what is not in the processor's caches comes side by side, not one after the other. */
    void fetch(long[] hashes, int count) {
        long sum = 0;
        for (int i = 0; i < count; i++) {
            sum += slots[(int) hashes[i] & mask];
        }
        fetched = sum;
    }

    /** Looks at what is kept of blocks that are about to be added and of their parents, in the same way. */
    void touch(int[] blockIds, int[] parentIds, int count) {
        long sum = 0;
        for (int i = 0; i < count; i++) {
            int id = blockIds[i];
            sum += hash[id] + parent[id] + tokens[id * blockSize] + (parentIds[i] == ROOT ? 0 : hash[parentIds[i]]);
        }
        fetched = sum;
    }

    /** Forgets a block; those behind it must be forgotten before. */
    void remove(int blockId) {
        if (!indexed[blockId]) {
            throw new IllegalStateException("KV-017: block " + blockId + " is not in the prefix index");
        }
        int hole = (int) hash[blockId] & mask;
        while ((int) slots[hole] != blockId + 1) {
            hole = hole + 1 & mask;
        }
        // Entries behind the hole that were pushed past it move up, so that no probe ends too early (Knuth 6.4, algorithm R).
        for (int slot = hole + 1 & mask; slots[slot] != 0; slot = slot + 1 & mask) {
            int home = (int) (slots[slot] >>> 32) & mask;
            if ((slot - home & mask) >= (slot - hole & mask)) {
                slots[hole] = slots[slot];
                hole = slot;
            }
        }
        slots[hole] = 0;
        indexed[blockId] = false;
        size--;
    }

    /** What the hash of a block behind {@code parentId} begins with. */
    long hashOf(int parentId, CacheSalt salt) {
        return parentId == ROOT ? fold(salt.high() ^ key, salt.low() ^ K2) & hashMask : hash[parentId];
    }

    /**
     * The hash of a block behind one with the hash {@code h}: NH of its tokens (Black et al., "UMAC: Fast and Secure Message Authentication",
     * CRYPTO 1999), whose products do not wait for each other, then chained. Two blocks of one parent agree with a probability of 2^-32
     * for who does not know the keys.
     */
    long next(long h, int[] tokenIds, int first) {
        int half = blockSize / 2;
        long nh = blockSize % 2 == 0 ? 0 : unsigned(tokenIds[first + blockSize - 1] + tokenKeys[blockSize - 1]) * unsigned(tokenKeys[blockSize]);
        for (int i = 0; i < half; i++) {
            nh += unsigned(tokenIds[first + i] + tokenKeys[i]) * unsigned(tokenIds[first + half + i] + tokenKeys[half + i]);
        }
        return fold(h ^ nh, K1) + key & hashMask;
    }

    private static long unsigned(int word) {
        return word & 0xFFFFFFFFL;
    }

    /** Both halves of the 128-bit product, as wyhash mixes. */
    private static long fold(long a, long b) {
        return Math.multiplyHigh(a, b) ^ a * b;
    }

    /**
     * Proves that exactly the indexed blocks are in the table, each is found by its own tokens, and each has an indexed parent. For tests and diagnosis.
     */
    void checkIntegrity() {
        int numInTable = 0;
        for (long entry : slots) {
            if (entry != 0) {
                int id = (int) entry - 1;
                numInTable++;
                check(indexed[id] && (int) (entry >>> 32) == (int) hash[id], id, "is in the table but not marked so");
            }
        }
        int numMarked = 0;
        for (int id = 0; id < indexed.length; id++) {
            if (!indexed[id]) {
                continue;
            }
            numMarked++;
            int above = parent[id];
            check(above == ROOT || indexed[above], id, "has a parent that is gone");
            int slot = (int) hash[id] & mask;
            while ((int) slots[slot] != id + 1) {
                check(slots[slot] != 0, id, "cannot be found");
                slot = slot + 1 & mask;
            }
        }
        if (numInTable != size || numMarked != size) {
            throw new IllegalStateException("KV-018: the prefix index counts " + size + " blocks, has " + numInTable + " in its table and "
                    + numMarked + " marked");
        }
    }

    /** Whether the indexed block {@code blockId} is about these tokens and this parent. For {@link KvAllocator#checkIntegrity}. */
    boolean isAbout(int blockId, int parentId, CacheSalt salt, int[] tokenIds, int first) {
        return indexed[blockId] && matches(blockId, parentId, salt, tokenIds, first);
    }

    private static void check(boolean holds, int blockId, String complaint) {
        if (!holds) {
            throw new IllegalStateException("KV-018: block " + blockId + " of the prefix index " + complaint);
        }
    }
}

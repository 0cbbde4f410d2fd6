package io.millrace.scheduler;

import static org.assertj.core.api.Assertions.assertThat;
import static org.assertj.core.api.Assertions.assertThatThrownBy;

import java.util.ArrayList;
import java.util.HashSet;
import java.util.List;
import java.util.Random;
import java.util.Set;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.ValueSource;

/** Property: every block is free, cached or used, exactly as often as somebody holds it, and mistakes are noticed at once. */
class BlockPoolTest {
    private PrefixIndex index;

    private BlockPool pool(int numBlocks) {
        index = new PrefixIndex(numBlocks, 2, new IndexKey(7));
        return new BlockPool(numBlocks, 16, index, true);
    }

    /** Checks that exactly {@code held} is held. */
    private static void check(BlockPool pool, Integer... held) {
        int[] holders = new int[pool.numBlocks()];
        for (int id : held) {
            holders[id]++;
        }
        pool.checkIntegrity(holders);
    }

    private void cache(BlockPool pool, int... blockIds) {
        for (int id : blockIds) {
            index.addIfAbsent(id, PrefixIndex.ROOT, CacheSalt.NONE, new int[] {id, id}, 0);
            pool.free(id);
        }
    }

    @Test
    void handsOutEveryBlockOnce() {
        BlockPool pool = pool(100);
        Set<Integer> ids = new HashSet<>();
        while (pool.numAvailable() > 0) {
            ids.add(pool.allocate());
        }
        assertThat(ids).hasSize(100).allMatch(id -> id >= 0 && id < 100);
        check(pool, ids.toArray(Integer[]::new));
        assertThatThrownBy(pool::allocate).isInstanceOf(IllegalStateException.class).hasMessageStartingWith("KV-011");
    }

    @Test
    void aSharedBlockIsFreeAfterItsLastHolder() {
        BlockPool pool = pool(4);
        int block = pool.allocate();
        pool.addReference(block);
        pool.free(block);
        assertThat(pool.numUsed()).isEqualTo(1);
        pool.free(block);
        assertThat(pool.numUsed()).isZero();
        check(pool);
    }

    @Test
    void freeBlocksGoFirstThenTheCachedOnesFromTheOldestOn() {
        BlockPool pool = pool(5);
        int a = pool.allocate();
        int b = pool.allocate();
        int c = pool.allocate();
        int d = pool.allocate();
        cache(pool, b, a, d, c);
        assertThat(pool.numCached()).isEqualTo(4);
        assertThat(pool.numAvailable()).isEqualTo(5);
        // Used once more, so that it is the youngest when it comes back.
        pool.addReference(a);
        check(pool, a);
        pool.free(a);
        check(pool);
        int neverUsed = pool.allocate();
        assertThat(neverUsed).isNotIn(a, b, c, d);
        assertThat(pool.numEvicted()).isZero();
        assertThat(List.of(pool.allocate(), pool.allocate(), pool.allocate(), pool.allocate())).containsExactly(b, d, c, a);
        assertThat(pool.numEvicted()).isEqualTo(4);
        assertThat(index.size()).as("forgotten blocks are in no index").isZero();
        check(pool, a, b, c, d, neverUsed);
    }

    @Test
    void withoutRetentionAnIndexedBlockIsFreedAndForgotten() {
        index = new PrefixIndex(4, 2, new IndexKey(7));
        BlockPool pool = new BlockPool(4, 16, index, false);
        int block = pool.allocate();
        cache(pool, block);
        assertThat(index.size()).isZero();
        assertThat(pool.numCached()).isZero();
        check(pool);
    }

    @Test
    void noticesDoubleFreeAndSharingOfAFreeBlock() {
        BlockPool pool = pool(4);
        int block = pool.allocate();
        pool.free(block);
        assertThatThrownBy(() -> pool.free(block)).hasMessageStartingWith("KV-013");
        assertThatThrownBy(() -> pool.addReference(block)).hasMessageStartingWith("KV-012");
        int cached = pool.allocate();
        cache(pool, cached);
        assertThatThrownBy(() -> pool.free(cached)).hasMessageStartingWith("KV-013");
    }

    @Test
    void integrityNamesTheBlockAndTheNumbers() {
        BlockPool pool = pool(4);
        int block = pool.allocate();
        assertThatThrownBy(() -> check(pool, block, block)).hasMessage(
                "KV-015: block " + block + " counts 1 references, 2 block tables hold it");
        // A cached block that its index has lost.
        cache(pool, block);
        index.remove(block);
        assertThatThrownBy(() -> check(pool)).hasMessageStartingWith("KV-014: block " + block);
    }

    @Test
    void countsBlocksUpToTheLargestInt() {
        BlockPool pool = pool(1);
        assertThat(pool.blocksFor(0)).isZero();
        assertThat(pool.blocksFor(1)).isEqualTo(1);
        assertThat(pool.blocksFor(16)).isEqualTo(1);
        assertThat(pool.blocksFor(17)).isEqualTo(2);
        assertThat(pool.blocksFor(Integer.MAX_VALUE)).isEqualTo(1 << 27);
    }

    @ParameterizedTest
    @ValueSource(longs = {1, 2, 3, 4})
    void randomOperationsLeakNothing(long seed) {
        Random random = new Random(seed);
        BlockPool pool = pool(1 + random.nextInt(60));
        List<Integer> held = new ArrayList<>();
        for (int i = 0; i < 25_000; i++) {
            int op = random.nextInt(4);
            if (op == 0 && pool.numAvailable() > 0) {
                held.add(pool.allocate());
            } else if (op == 1 && !held.isEmpty() && held.size() < 500) {
                int block = held.get(random.nextInt(held.size()));
                pool.addReference(block);
                held.add(block);
            } else if (op == 2) {
                int block = random.nextInt(pool.numBlocks());
                if (index.contains(block) && held.size() < 500) {
                    pool.addReference(block);
                    held.add(block);
                }
            } else if (!held.isEmpty()) {
                int block = held.remove(random.nextInt(held.size()));
                if (random.nextBoolean() && !index.contains(block)) {
                    index.addIfAbsent(block, PrefixIndex.ROOT, CacheSalt.NONE, new int[] {block, block}, 0);
                }
                pool.free(block);
            }
            check(pool, held.toArray(Integer[]::new));
            assertThat(pool.numUsed()).isEqualTo(new HashSet<>(held).size());
        }
        assertThat(pool.numEvicted()).isPositive();
    }
}

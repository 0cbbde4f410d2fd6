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

/** Property: every block is free or used, exactly as often as somebody holds it, and mistakes are noticed at once. */
class BlockPoolTest {
    @Test
    void handsOutEveryBlockOnce() {
        BlockPool pool = new BlockPool(100, 16);
        Set<Integer> ids = new HashSet<>();
        while (pool.numFree() > 0) {
            ids.add(pool.allocate());
        }
        assertThat(ids).hasSize(100).allMatch(id -> id >= 0 && id < 100);
        pool.checkIntegrity(100);
        assertThatThrownBy(pool::allocate).isInstanceOf(IllegalStateException.class).hasMessageStartingWith("KV-011");
    }

    @Test
    void aSharedBlockIsFreeAfterItsLastHolder() {
        BlockPool pool = new BlockPool(4, 16);
        int block = pool.allocate();
        pool.addReference(block);
        pool.free(block);
        assertThat(pool.numUsed()).isEqualTo(1);
        pool.free(block);
        assertThat(pool.numUsed()).isZero();
        pool.checkIntegrity(0);
    }

    @Test
    void noticesDoubleFreeAndSharingOfAFreeBlock() {
        BlockPool pool = new BlockPool(4, 16);
        int block = pool.allocate();
        pool.free(block);
        assertThatThrownBy(() -> pool.free(block)).hasMessageStartingWith("KV-013");
        assertThatThrownBy(() -> pool.addReference(block)).hasMessageStartingWith("KV-012");
    }

    @Test
    void integrityNamesTheNumbers() {
        BlockPool pool = new BlockPool(4, 16);
        pool.allocate();
        assertThatThrownBy(() -> pool.checkIntegrity(2)).hasMessage(
                "KV-015: free 3 + used 1 of 4 blocks; references counted 1, held by sequences 2");
    }

    @Test
    void countsBlocksUpToTheLargestInt() {
        BlockPool pool = new BlockPool(1, 16);
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
        BlockPool pool = new BlockPool(1 + random.nextInt(60), 16);
        List<Integer> held = new ArrayList<>();
        for (int i = 0; i < 25_000; i++) {
            int op = random.nextInt(3);
            if (op == 0 && pool.numFree() > 0) {
                held.add(pool.allocate());
            } else if (op == 1 && !held.isEmpty() && held.size() < 500) {
                int block = held.get(random.nextInt(held.size()));
                pool.addReference(block);
                held.add(block);
            } else if (!held.isEmpty()) {
                pool.free(held.remove(random.nextInt(held.size())));
            }
            if (i % 16 == 0) {
                pool.checkIntegrity(held.size());
                assertThat(pool.numUsed()).isEqualTo(new HashSet<>(held).size());
            }
        }
    }
}

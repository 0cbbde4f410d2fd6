package io.millrace.scheduler;

import static org.assertj.core.api.Assertions.assertThat;
import static org.assertj.core.api.Assertions.assertThatThrownBy;

import java.util.ArrayList;
import java.util.HashMap;
import java.util.List;
import java.util.Map;
import java.util.Random;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.CsvSource;
import org.junit.jupiter.params.provider.ValueSource;

/** Property: a block is found for exactly the tokens, the prefix and the salt that it was added for, whatever was added or removed meanwhile. */
class PrefixIndexTest {
    private static final CacheSalt A = CacheSalt.of("a");
    private static final CacheSalt B = CacheSalt.of("b");

    /** Under a key that keeps no bit of a hash, all hashes are equal: what is compared is all that tells blocks apart. */
    @ParameterizedTest
    @ValueSource(longs = {-1, 0})
    void tokensPrefixAndSaltAllCount(long hashMask) {
        PrefixIndex index = new PrefixIndex(8, 2, new IndexKey(1, hashMask));
        int[] tokens = {1, 2, 3, 4};
        assertThat(index.addIfAbsent(5, PrefixIndex.ROOT, A, tokens, 0)).isEqualTo(5);
        assertThat(index.addIfAbsent(6, 5, A, tokens, 2)).isEqualTo(6);
        assertThat(index.find(PrefixIndex.ROOT, A, new int[] {9, 1, 2}, 1)).isEqualTo(5);
        assertThat(index.find(5, A, tokens, 2)).isEqualTo(6);
        assertThat(index.find(PrefixIndex.ROOT, B, tokens, 0)).as("another salt").isEqualTo(PrefixIndex.NONE);
        assertThat(index.find(PrefixIndex.ROOT, A, tokens, 2)).as("the same tokens at the start").isEqualTo(PrefixIndex.NONE);
        assertThat(index.find(5, A, tokens, 0)).as("other tokens").isEqualTo(PrefixIndex.NONE);
        assertThat(index.find(5, A, new int[] {3, 5}, 0)).as("another last token").isEqualTo(PrefixIndex.NONE);
        assertThat(index.find(6, A, tokens, 2)).as("the same tokens behind another block").isEqualTo(PrefixIndex.NONE);
        assertThat(index.addIfAbsent(7, 5, A, tokens, 2)).as("a twin").isEqualTo(6);
        assertThat(index.contains(7)).isFalse();
        index.checkIntegrity();
    }

    @Test
    void misuseIsNoticed() {
        PrefixIndex index = new PrefixIndex(4, 1, new IndexKey(1));
        index.addIfAbsent(0, PrefixIndex.ROOT, A, new int[] {1}, 0);
        index.addIfAbsent(1, 0, A, new int[] {1}, 0);
        assertThatThrownBy(() -> index.addIfAbsent(0, PrefixIndex.ROOT, A, new int[] {2}, 0)).hasMessageStartingWith("KV-017");
        assertThatThrownBy(() -> index.remove(3)).hasMessageStartingWith("KV-017");
        index.remove(0);
        assertThatThrownBy(index::checkIntegrity).hasMessage("KV-018: block 1 of the prefix index has a parent that is gone");
        assertThatThrownBy(() -> new PrefixIndex(1 << 28, 16, new IndexKey(1))).hasMessageStartingWith("KV-016");
    }

    /**
     * Against a map of whole prefixes. Two token ids and blocks of one or two make equal tokens under different parents the rule. A key
     * that is the same as what it is mixed with makes a poor hash, and one that keeps a bit of it or none makes almost all or all blocks
     * collide: more probing, the same answers.
     */
    @ParameterizedTest
    @CsvSource({"1,1,0,-1", "1,2,99,-1", "2,3,1,-1", "2,4,-7046029254386353131,-1", "1,5,-1,-1", "2,6,7,1", "1,7,8,0", "2,8,9,0"})
    void randomTreesAgainstAMapOfPrefixes(int blockSize, long seed, long secret, long hashMask) {
        Random random = new Random(seed);
        int numBlocks = 64;
        PrefixIndex index = new PrefixIndex(numBlocks, blockSize, new IndexKey(secret, hashMask));
        Map<String, Integer> model = new HashMap<>();
        String[] prefixOf = new String[numBlocks];
        List<Integer> free = new ArrayList<>();
        for (int i = 0; i < numBlocks; i++) {
            free.add(i);
        }
        for (int op = 0; op < 30_000; op++) {
            CacheSalt salt = random.nextBoolean() ? A : B;
            int[] text = random.ints(8L * blockSize, 0, 2).toArray();
            int depth = 0;
            int parent = PrefixIndex.ROOT;
            String prefix = salt == A ? "a" : "b";
            // Down the tree as far as it goes, every step as the model says.
            while (depth < 8) {
                String longer = prefix + piece(text, depth, blockSize);
                int found = index.find(parent, salt, text, depth * blockSize);
                assertThat(found).as(longer).isEqualTo(model.getOrDefault(longer, PrefixIndex.NONE));
                if (found == PrefixIndex.NONE) {
                    break;
                }
                prefix = longer;
                parent = found;
                depth++;
            }
            if (depth < 8 && !free.isEmpty() && random.nextInt(3) > 0) {
                int block = free.remove(random.nextInt(free.size()));
                assertThat(index.addIfAbsent(block, parent, salt, text, depth * blockSize)).isEqualTo(block);
                prefixOf[block] = prefix + piece(text, depth, blockSize);
                model.put(prefixOf[block], block);
            } else if (parent != PrefixIndex.ROOT && isLeaf(model, prefixOf[parent])) {
                index.remove(parent);
                model.remove(prefixOf[parent]);
                free.add(parent);
            }
            if (op % 16 == 0) {
                index.checkIntegrity();
                assertThat(index.size()).isEqualTo(model.size());
            }
        }
    }

    private static String piece(int[] text, int k, int blockSize) {
        StringBuilder piece = new StringBuilder(".");
        for (int i = 0; i < blockSize; i++) {
            piece.append(text[k * blockSize + i]);
        }
        return piece.toString();
    }

    private static boolean isLeaf(Map<String, Integer> model, String prefix) {
        return model.keySet().stream().noneMatch(other -> other.length() > prefix.length() && other.startsWith(prefix));
    }
}

package io.millrace.engine.text;

import io.millrace.engine.EngineException;
import io.millrace.engine.weights.GgufArray;
import java.util.Arrays;
import java.util.concurrent.ThreadLocalRandom;

/**
 * Merges of byte-pair encoding (Sennrich, Haddow, Birch: Neural machine translation of rare words with subword units, 2016): which pair of
 * tokens becomes which token, the first of the list first. An open-addressing table over pairs of ids. Immutable.
 */
final class BpeMerges {
    static final long NONE = -1;
    /** Odd, of this process alone, so that nobody can make a file whose pairs collide. */
    private static final long FACTOR = ThreadLocalRandom.current().nextLong() | 1;

    /** (left, right) + 1, so that 0 is free. */
    private final long[] pairs;
    /** (rank, id of the union), each 32 bits. */
    private final long[] values;
    private final int shift;

    private BpeMerges(int count) {
        int capacity = Integer.highestOneBit(Math.max(1, count + count / 2)) * 2;
        pairs = new long[capacity];
        values = new long[capacity];
        shift = Long.SIZE - Integer.numberOfTrailingZeros(capacity);
    }

    /** @throws EngineException {@code TOK-010} for a merge that is not two entries of the vocabulary whose union is a third */
    static BpeMerges of(GgufVocabulary vocabulary) {
        GgufArray.Slices merges = vocabulary.merges().slices();
        GgufPieces pieces = vocabulary.pieces();
        byte[] bytes = merges.bytes();
        byte[] union = new byte[256];
        BpeMerges table = new BpeMerges(merges.size());
        int id = 0;
        for (int rank = 0; rank < merges.size(); rank++) {
            int begin = merges.begin(rank);
            int end = merges.end(rank);
            int space = begin + 1;
            while (space < end && bytes[space] != ' ') {
                space++;
            }
            int left = space < end ? pieces.find(bytes, begin, space) : -1;
            int right = left < 0 ? -1 : pieces.find(bytes, space + 1, end);
            if (right < 0) {
                throw refused(vocabulary, rank, "' is not a pair of vocabulary entries");
            }
            int length = end - begin - 1;
            union = union.length < length ? new byte[length] : union;
            System.arraycopy(bytes, begin, union, 0, space - begin);
            System.arraycopy(bytes, space + 1, union, space - begin, end - space - 1);
            // Vocabularies list entries in the order in which merges make them.
            id = pieces.is(id, union, length) ? id : pieces.is(id + 1, union, length) ? id + 1 : pieces.find(union, 0, length);
            if (id < 0) {
                throw refused(vocabulary, rank, "' makes no vocabulary entry");
            }
            table.put(left, right, rank, id);
        }
        return table;
    }

    private static EngineException refused(GgufVocabulary vocabulary, int rank, String why) {
        return new EngineException("TOK-010", vocabulary.file() + ": the merge '" + vocabulary.merges().get(rank) + why + "; convert the file again");
    }

    /** Of a pair that stands twice the later rank counts, as in the Rust library. */
    private void put(int left, int right, int rank, int id) {
        long pair = pair(left, right);
        int slot = slot(pair);
        pairs[slot] = pair;
        values[slot] = (long) rank << 32 | id;
    }

    private static long pair(int left, int right) {
        return ((long) left << 32 | right) + 1;
    }

    private int slot(long pair) {
        int slot = (int) (pair * FACTOR >>> shift);
        while (pairs[slot] != 0 && pairs[slot] != pair) {
            slot = slot + 1 & pairs.length - 1;
        }
        return slot;
    }

    /** (rank, id) of the pair's merge, or {@link #NONE}. */
    private long find(int left, int right) {
        int slot = slot(pair(left, right));
        return pairs[slot] == 0 ? NONE : values[slot];
    }

    /**
     * Merges {@code symbols[0, count)} in place: always the pair of the lowest rank, the leftmost among equals, until none is left.
     *
     * @return how many symbols remain
     */
    int apply(int[] symbols, int count) {
        return count < 2 ? count : new Run(symbols, count).merge();
    }

    /** A doubly linked list of symbols and a heap of candidate merges: n log n for n symbols, whatever the text. */
    private final class Run {
        private final int[] symbols;
        private final int count;
        /** Neighbours by position; {@code next} is -1 for the last and -2 for one that was taken into another. */
        private final int[] previous;
        private final int[] next;
        /** (rank, position), smallest first. */
        private long[] heap;
        private int size;

        Run(int[] symbols, int count) {
            this.symbols = symbols;
            this.count = count;
            previous = new int[count];
            next = new int[count];
            heap = new long[count + count / 2 + 1];
            for (int i = 0; i < count; i++) {
                previous[i] = i - 1;
                next[i] = i + 1 < count ? i + 1 : -1;
            }
        }

        int merge() {
            for (int i = 0; i + 1 < count; i++) {
                offer(i);
            }
            while (size > 0) {
                long top = poll();
                int at = (int) top;
                int right = next[at];
                long merge = right < 0 ? NONE : find(symbols[at], symbols[right]);
                if (merge < 0 || merge >>> 32 != top >>> 32) {
                    continue; // One of the two has changed since.
                }
                symbols[at] = (int) merge;
                next[at] = next[right];
                next[right] = -2;
                if (next[at] >= 0) {
                    previous[next[at]] = at;
                    offer(at);
                }
                if (previous[at] >= 0) {
                    offer(previous[at]);
                }
            }
            int kept = 0;
            for (int i = 0; i >= 0; i = next[i]) {
                symbols[kept++] = symbols[i];
            }
            return kept;
        }

        /** The merge of the symbol at {@code at} with the one after it, if there is one. */
        private void offer(int at) {
            long merge = find(symbols[at], symbols[next[at]]);
            if (merge < 0) {
                return;
            }
            if (size == heap.length) {
                heap = Arrays.copyOf(heap, heap.length * 2);
            }
            long value = merge >>> 32 << 32 | at;
            int i = size++;
            while (i > 0 && heap[i - 1 >>> 1] > value) {
                heap[i] = heap[i - 1 >>> 1];
                i = i - 1 >>> 1;
            }
            heap[i] = value;
        }

        private long poll() {
            long top = heap[0];
            long last = heap[--size];
            int i = 0;
            for (int child = 1; child < size; child = 2 * i + 1) {
                if (child + 1 < size && heap[child + 1] < heap[child]) {
                    child++;
                }
                if (heap[child] >= last) {
                    break;
                }
                heap[i] = heap[child];
                i = child;
            }
            heap[i] = last;
            return top;
        }
    }
}

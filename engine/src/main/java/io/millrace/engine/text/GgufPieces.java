package io.millrace.engine.text;

import io.millrace.engine.weights.GgufArray;
import java.nio.charset.StandardCharsets;
import java.util.Arrays;
import java.util.BitSet;
import java.util.concurrent.ThreadLocalRandom;

/**
 * The entries of a GGUF vocabulary, kept as the file's bytes and made into strings when asked for: of a hundred thousand a start needs a few.
 * Found by an open-addressing table of ids. Immutable.
 */
final class GgufPieces {
    /** Odd, of this process alone, so that nobody can make a file whose entries collide. */
    private static final int FACTOR = ThreadLocalRandom.current().nextInt() | 1;

    private final GgufArray.Slices entries;
    /** Ids + 1 of first occurrences; its length is a power of two, at most half of it is used. */
    private final int[] table;
    private final BitSet repeated = new BitSet();

    GgufPieces(GgufArray.Slices entries) {
        this.entries = entries;
        table = new int[Integer.highestOneBit(Math.max(1, entries.size())) * 4];
        for (int id = 0; id < entries.size(); id++) {
            int slot = slot(entries.bytes(), entries.begin(id), entries.end(id));
            if (table[slot] == 0) {
                table[slot] = id + 1;
            } else {
                repeated.set(id);
            }
        }
    }

    int size() {
        return entries.size();
    }

    String get(int id) {
        return new String(entries.bytes(), entries.begin(id), entries.end(id) - entries.begin(id), StandardCharsets.UTF_8);
    }

    /** Whether an entry before {@code id} is the same. */
    boolean isRepeated(int id) {
        return repeated.get(id);
    }

    /** The first entry that is {@code piece}, or -1. */
    int find(String piece) {
        return find(piece.getBytes(StandardCharsets.UTF_8));
    }

    int find(byte[] utf8) {
        return find(utf8, 0, utf8.length);
    }

    /** The first entry that is {@code bytes[begin, end)}, or -1. */
    int find(byte[] bytes, int begin, int end) {
        return table[slot(bytes, begin, end)] - 1;
    }

    /** Whether {@code bytes[0, length)} is the entry {@code id}, the first of its kind; false for an id out of range. */
    boolean is(int id, byte[] bytes, int length) {
        return id < entries.size() && !repeated.get(id) && Arrays.equals(entries.bytes(), entries.begin(id), entries.end(id), bytes, 0, length);
    }

    /** Where {@code bytes[begin, end)} stands in the table or would stand. */
    private int slot(byte[] bytes, int begin, int end) {
        int hash = 0;
        for (int i = begin; i < end; i++) {
            hash = (hash ^ bytes[i]) * FACTOR;
            hash ^= hash >>> 15;
        }
        for (int slot = hash & table.length - 1; ; slot = slot + 1 & table.length - 1) {
            int id = table[slot] - 1;
            if (id < 0 || Arrays.equals(entries.bytes(), entries.begin(id), entries.end(id), bytes, begin, end)) {
                return slot;
            }
        }
    }
}

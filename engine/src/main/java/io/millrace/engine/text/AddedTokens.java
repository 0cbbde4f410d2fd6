package io.millrace.engine.text;

import java.util.Arrays;
import java.util.HashMap;
import java.util.Map;

/**
 * The added tokens of a vocabulary as they stand in text: at each place the longest, from left to right. A trie of UTF-16 units. Immutable once
 * filled; then thread-safe.
 */
final class AddedTokens {
    private static final int NONE = -1;

    /** Child by (node, unit); the root is node 0. */
    private final Map<Long, Integer> children = new HashMap<>();
    /** Token that ends at a node, or {@link #NONE}. */
    private int[] ids = {NONE};
    private int numNodes = 1;
    /** Whether a token begins with the unit, so that nearly all text is passed over without the trie. */
    private final boolean[] begins = new boolean[1 << 16];

    /** Of a token that is added twice, the last id counts. */
    void add(String token, int id) {
        int node = 0;
        for (int i = 0; i < token.length(); i++) {
            int parent = node;
            node = children.computeIfAbsent(key(parent, token.charAt(i)), any -> newNode());
        }
        if (node != 0) {
            begins[token.charAt(0)] = true;
            ids[node] = id;
        }
    }

    private int newNode() {
        if (numNodes == ids.length) {
            ids = Arrays.copyOf(ids, ids.length * 2);
        }
        ids[numNodes] = NONE;
        return numNodes++;
    }

    private static long key(int node, char unit) {
        return (long) node << 16 | unit;
    }

    /** A token in a text: {@code [begin, end)}. */
    record Found(int begin, int end, int id) {}

    /** The first at {@code from} or after, or null. */
    Found next(String text, int from) {
        for (int begin = from; begin < text.length(); begin++) {
            if (!begins[text.charAt(begin)]) {
                continue;
            }
            int end = begin;
            int id = NONE;
            int node = 0;
            for (int i = begin; i < text.length(); i++) {
                Integer child = children.get(key(node, text.charAt(i)));
                if (child == null) {
                    break;
                }
                node = child;
                if (ids[node] != NONE) {
                    end = i + 1;
                    id = ids[node];
                }
            }
            if (id != NONE) {
                return new Found(begin, end, id);
            }
        }
        return null;
    }
}

package io.millrace.engine.grammar.automaton;

import java.util.ArrayList;
import java.util.HashMap;
import java.util.List;
import java.util.Map;

/** Texts by their characters; nodes are numbers from 0, the root. Not to be changed once shared. */
public final class TextTrie {
    private final Map<Long, Integer> children = new HashMap<>();
    /** By node, the number of the text that ends there, or -1. */
    private final List<Integer> texts = new ArrayList<>(List.of(-1));

    /** @param number what {@link #text} says at the end of {@code text} */
    public void add(String text, int number) {
        int node = 0;
        for (int i = 0; i < text.length(); i = text.offsetByCodePoints(i, 1)) {
            Integer next = children.putIfAbsent(key(node, text.codePointAt(i)), texts.size());
            if (next == null) {
                next = texts.size();
                texts.add(-1);
            }
            node = next;
        }
        texts.set(node, number);
    }

    private static long key(int node, int c) {
        return (long) node << 21 | c;
    }

    /** -1 if there is none. */
    public int child(int node, int c) {
        return children.getOrDefault(key(node, c), -1);
    }

    /** The number of the text that ends at {@code node}, or -1. */
    public int text(int node) {
        return texts.get(node);
    }
}

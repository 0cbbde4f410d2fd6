package io.millrace.engine.grammar.automaton;

import io.millrace.engine.grammar.GrammarException;
import java.util.ArrayDeque;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.BitSet;
import java.util.HashMap;
import java.util.List;
import java.util.Map;

/**
 * A nondeterministic automaton over character sets, built with Thompson's construction (CACM 11(6), 1968): a node has one set edge or
 * up to two empty ones. An empty edge may demand to be at the start or at the end of the text. Confined to one thread.
 */
public final class CharNfa {
    /** Nodes of one automaton. */
    public static final int MAX_NODES = 50_000;

    /** Condition of an empty edge. */
    public enum Where { ANYWHERE, AT_START, AT_END }

    private static final int NONE = -1;

    private final List<CharSet> sets = new ArrayList<>();
    private int[] target = new int[64];
    private int[] target2 = new int[64];
    private Where[] condition = new Where[64];
    private int size;

    public int node() {
        if (size == MAX_NODES) {
            throw new GrammarException("is larger than " + MAX_NODES + " automaton nodes when its repetitions are written out");
        }
        if (size == target.length) {
            target = Arrays.copyOf(target, 2 * size);
            target2 = Arrays.copyOf(target2, 2 * size);
            condition = Arrays.copyOf(condition, 2 * size);
        }
        target[size] = NONE;
        target2[size] = NONE;
        condition[size] = Where.ANYWHERE;
        sets.add(null);
        return size++;
    }

    /** {@code from} is consumed: it has this edge alone. */
    public void edge(int from, CharSet set, int to) {
        sets.set(from, set);
        target[from] = to;
    }

    public void empty(int from, int to) {
        if (target[from] == NONE) {
            target[from] = to;
        } else if (target2[from] == NONE) {
            target2[from] = to;
        } else {
            throw new IllegalStateException("node " + from + " has two edges already");
        }
    }

    /** {@code from} has this edge alone. */
    public void anchor(int from, Where where, int to) {
        condition[from] = where;
        target[from] = to;
    }

    public int size() {
        return size;
    }

    /** The subset construction (Rabin and Scott, 1959), over the classes of the edges' sets. */
    public CharDfa determinize(int start, int end, CharSet alphabet) {
        List<CharSet> all = new ArrayList<>(sets.stream().filter(java.util.Objects::nonNull).distinct().toList());
        all.add(alphabet);
        Partition partition = Partition.of(all);
        Map<CharSet, boolean[]> classesOf = new HashMap<>();
        boolean[][] classes = new boolean[size][];
        for (int i = 0; i < size; i++) {
            if (sets.get(i) != null) {
                classes[i] = classesOf.computeIfAbsent(sets.get(i), partition::classesIn);
            }
        }
        return CharDfa.of(partition, new CharDfa.Source<BitSet>() {
            @Override
            public BitSet start() {
                BitSet first = new BitSet();
                first.set(start);
                return closure(first, true, false);
            }

            @Override
            public BitSet step(BitSet state, int c) {
                if (!alphabet.contains(c)) {
                    return null;
                }
                int id = partition.classOf(c);
                BitSet to = new BitSet();
                for (int i = state.nextSetBit(0); i >= 0; i = state.nextSetBit(i + 1)) {
                    if (classes[i] != null && classes[i][id]) {
                        to.set(target[i]);
                    }
                }
                Fuel.spend(1 + state.length() / 8 + to.cardinality() / 2);
                return to.isEmpty() ? null : closure(to, false, false);
            }

            @Override
            public boolean accepts(BitSet state) {
                return closure((BitSet) state.clone(), state.get(start), true).get(end);
            }
        });
    }

    private BitSet closure(BitSet nodes, boolean atStart, boolean atEnd) {
        ArrayDeque<Integer> work = new ArrayDeque<>();
        nodes.stream().forEach(work::add);
        while (!work.isEmpty()) {
            int node = work.poll();
            boolean passes = sets.get(node) == null && switch (condition[node]) {
                case ANYWHERE -> true;
                case AT_START -> atStart;
                case AT_END -> atEnd;
            };
            if (passes) {
                follow(target[node], nodes, work);
                follow(target2[node], nodes, work);
            }
        }
        return nodes;
    }

    private static void follow(int to, BitSet nodes, ArrayDeque<Integer> work) {
        if (to != NONE && !nodes.get(to)) {
            nodes.set(to);
            work.add(to);
        }
    }
}

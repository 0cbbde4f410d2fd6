package io.millrace.engine.grammar.ebnf;

import io.millrace.engine.grammar.GrammarException;
import io.millrace.engine.grammar.automaton.CharSet;
import io.millrace.engine.grammar.automaton.Fuel;
import java.util.Arrays;
import java.util.BitSet;
import java.util.Map;

/** All rules of a grammar as automata over characters and calls, in one set of nodes. Read only once it is trimmed. */
final class RuleNfa {
    private static final int MAX_NODES = 50_000;
    private static final int NONE = -1;

    private final CharSet alphabet;
    private CharSet[] set = new CharSet[256];
    private int[] call = new int[256];
    private int[] target = new int[256];
    private int[] target2 = new int[256];
    private int size;
    private final int[] starts;
    private final int[] ends;
    private final Map<String, Integer> numbers;

    RuleNfa(Map<String, Expression> rules, Map<String, Integer> numbers, CharSet alphabet) {
        this.alphabet = alphabet;
        this.numbers = numbers;
        starts = new int[rules.size()];
        ends = new int[rules.size()];
        int i = 0;
        for (Expression body : rules.values()) {
            starts[i] = node();
            ends[i] = add(body, starts[i]);
            i++;
        }
    }

    private int node() {
        if (size == MAX_NODES) {
            throw new GrammarException("the grammar is larger than " + MAX_NODES + " automaton nodes when its repetitions are written out");
        }
        Fuel.spend(20);
        if (size == set.length) {
            set = Arrays.copyOf(set, 2 * size);
            call = Arrays.copyOf(call, 2 * size);
            target = Arrays.copyOf(target, 2 * size);
            target2 = Arrays.copyOf(target2, 2 * size);
        }
        call[size] = NONE;
        target[size] = NONE;
        target2[size] = NONE;
        return size++;
    }

    private void empty(int from, int to) {
        if (target[from] == NONE) {
            target[from] = to;
        } else {
            target2[from] = to;
        }
    }

    /** @param from a node without edges; @return the node after, without edges */
    private int add(Expression expression, int from) {
        return switch (expression) {
            case Expression.Chars chars -> {
                int to = node();
                set[from] = chars.set().intersect(alphabet);
                target[from] = to;
                yield to;
            }
            case Expression.Reference reference -> {
                Integer rule = numbers.get(reference.rule());
                if (rule == null) {
                    throw new GrammarException("there is no rule `" + reference.rule() + "`");
                }
                int to = node();
                call[from] = rule;
                target[from] = to;
                yield to;
            }
            case Expression.Sequence sequence -> {
                int at = from;
                for (Expression part : sequence.parts()) {
                    at = add(part, at);
                }
                yield at;
            }
            case Expression.Either either -> {
                int after = node();
                int branch = from;
                for (int i = 0; i < either.options().size(); i++) {
                    int option = node();
                    empty(branch, option);
                    empty(add(either.options().get(i), option), after);
                    if (i + 1 < either.options().size()) {
                        int next = node();
                        empty(branch, next);
                        branch = next;
                    }
                }
                yield after;
            }
            case Expression.Repeat repeat -> {
                int at = from;
                for (int i = 0; i < repeat.min(); i++) {
                    at = add(repeat.body(), at);
                }
                int after = node();
                if (repeat.max() < 0) {
                    int head = node();
                    int inside = node();
                    empty(at, head);
                    empty(head, inside);
                    empty(head, after);
                    empty(add(repeat.body(), inside), head);
                    yield after;
                }
                for (int i = repeat.min(); i < repeat.max(); i++) {
                    int inside = node();
                    empty(at, inside);
                    empty(at, after);
                    at = add(repeat.body(), inside);
                }
                empty(at, after);
                yield after;
            }
        };
    }

    int start(int rule) {
        return starts[rule];
    }

    int end(int rule) {
        return ends[rule];
    }

    /** Null for a node without a character edge. */
    CharSet set(int node) {
        return set[node];
    }

    /** -1 for a node without a call. */
    int call(int node) {
        return call[node];
    }

    int target(int node) {
        return target[node];
    }

    /** Takes out what never leads to the end of its rule. @return whether the first rule derives a text */
    boolean trim(int root) {
        BitSet live = new BitSet(size);
        BitSet productive = new BitSet();
        for (boolean changed = true; changed;) {
            changed = false;
            Fuel.spend(size);
            for (int end : ends) {
                live.set(end);
            }
            for (int i = size - 1; i >= 0; i--) {
                if (!live.get(i) && leads(i, live, productive)) {
                    live.set(i);
                    changed = true;
                }
            }
            for (int r = 0; r < starts.length; r++) {
                if (live.get(starts[r]) && !productive.get(r)) {
                    productive.set(r);
                    changed = true;
                }
            }
        }
        for (int i = 0; i < size; i++) {
            if (target[i] != NONE && !live.get(target[i]) || set[i] != null && set[i].isEmpty() || call[i] != NONE && !productive.get(call[i])) {
                target[i] = NONE;
            }
            if (target2[i] != NONE && !live.get(target2[i])) {
                target2[i] = NONE;
            }
        }
        return productive.get(root);
    }

    private boolean leads(int i, BitSet live, BitSet productive) {
        if (set[i] != null && set[i].isEmpty() || call[i] != NONE && !productive.get(call[i])) {
            return false;
        }
        return target[i] != NONE && live.get(target[i]) || target2[i] != NONE && live.get(target2[i]);
    }

    /** {@link #close} as a part of compiling. */
    private void closeAtCost(BitSet nodes) {
        close(nodes);
        Fuel.spend(2L * nodes.cardinality() + nodes.length() / 64);
    }

    /** Adds what empty edges reach. */
    void close(BitSet nodes) {
        int[] work = new int[64];
        int n = 0;
        for (int i = nodes.nextSetBit(0); i >= 0; i = nodes.nextSetBit(i + 1)) {
            work = push(work, n++, i);
        }
        while (n > 0) {
            int node = work[--n];
            if (set[node] == null && call[node] == NONE) {
                for (int to : new int[] {target[node], target2[node]}) {
                    if (to != NONE && !nodes.get(to)) {
                        nodes.set(to);
                        work = push(work, n++, to);
                    }
                }
            }
        }
    }

    private static int[] push(int[] stack, int n, int value) {
        int[] grown = n == stack.length ? Arrays.copyOf(stack, 2 * n) : stack;
        grown[n] = value;
        return grown;
    }

    /** The first rule found that calls itself before reading anything, or -1. */
    int leftRecursive() {
        BitSet nullable = new BitSet();
        BitSet[] first = new BitSet[starts.length];
        for (boolean changed = true; changed;) {
            changed = false;
            for (int r = 0; r < starts.length; r++) {
                first[r] = new BitSet();
                BitSet nodes = new BitSet();
                nodes.set(starts[r]);
                Fuel.spend(20);
                closeAtCost(nodes);
                for (int before = -1; before != nodes.cardinality();) {
                    before = nodes.cardinality();
                    for (int i = nodes.nextSetBit(0); i >= 0; i = nodes.nextSetBit(i + 1)) {
                        if (call[i] != NONE && target[i] != NONE) {
                            first[r].set(call[i]);
                            if (nullable.get(call[i])) {
                                nodes.set(target[i]);
                            }
                        }
                    }
                    closeAtCost(nodes);
                }
                if (nodes.get(ends[r]) && !nullable.get(r)) {
                    nullable.set(r);
                    changed = true;
                }
            }
        }
        for (int r = 0; r < starts.length; r++) {
            BitSet reached = (BitSet) first[r].clone();
            for (int before = -1; before != reached.cardinality();) {
                before = reached.cardinality();
                Fuel.spend((before + 1) * (1L + starts.length / 64));
                for (int i = reached.nextSetBit(0); i >= 0; i = reached.nextSetBit(i + 1)) {
                    reached.or(first[i]);
                }
            }
            if (reached.get(r)) {
                return r;
            }
        }
        return -1;
    }
}

package io.millrace.engine.grammar.automaton;

import io.millrace.engine.grammar.GrammarException;
import java.util.ArrayDeque;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.BitSet;
import java.util.HashMap;
import java.util.List;
import java.util.Map;
import java.util.function.Predicate;

/**
 * A complete table over the classes of a {@link Partition}, trimmed: every state reaches an accepting one. An automaton that accepts nothing
 * {@link #isEmpty} and must not be walked. Immutable.
 *
 * @see #explore how one is made from any description of states
 */
public final class CharDfa implements CharMachine {
    /** States of one automaton; a table of them takes some megabytes at most. */
    public static final int MAX_STATES = 20_000;
    private static final int MAX_ENTRIES = 2_000_000;

    private final Partition partition;
    private final int[][] next;
    private final boolean[] accepts;
    private final int[] freeRun;
    private final boolean[] exact;

    private CharDfa(Partition partition, int[][] next, boolean[] accepts) {
        this.partition = partition;
        this.next = next;
        this.accepts = accepts;
        this.freeRun = new int[next.length];
        this.exact = new boolean[next.length];
        findFreeRuns();
    }

    /** What the automaton is made of: states with value equality, a step (null = none) by a character that stands for its class. */
    public interface Source<S> {
        S start();

        S step(S state, int c);

        boolean accepts(S state);
    }

    /** A DFA and what each of its states stands for. */
    public record Explored<S>(CharDfa dfa, List<S> states) {}

    public static <S> CharDfa of(Partition partition, Source<S> source) {
        return explore(partition, source).dfa();
    }

    /** @throws GrammarException beyond {@link #MAX_STATES} */
    public static <S> Explored<S> explore(Partition partition, Source<S> source) {
        Map<S, Integer> ids = new HashMap<>();
        List<S> states = new ArrayList<>();
        List<int[]> table = new ArrayList<>();
        S start = source.start();
        if (start != null) {
            ids.put(start, 0);
            states.add(start);
        }
        for (int id = 0; id < states.size(); id++) {
            int[] row = new int[partition.size()];
            Fuel.spend(16 + 4L * row.length);
            for (int k = 0; k < row.length; k++) {
                S to = source.step(states.get(id), partition.representative(k));
                if (to == null) {
                    row[k] = DEAD;
                    continue;
                }
                Integer known = ids.putIfAbsent(to, states.size());
                if (known == null) {
                    known = states.size();
                    states.add(to);
                    if (states.size() > MAX_STATES || (long) states.size() * row.length > MAX_ENTRIES) {
                        throw new GrammarException("needs an automaton of more than " + Math.min(MAX_STATES, MAX_ENTRIES / row.length)
                                + " states; make its repetitions or ranges smaller");
                    }
                }
                row[k] = known;
            }
            table.add(row);
        }
        return trim(partition, table, states, source::accepts);
    }

    private static <S> Explored<S> trim(Partition partition, List<int[]> table, List<S> states, Predicate<S> accepting) {
        int n = states.size();
        List<List<Integer>> before = new ArrayList<>();
        boolean[] live = new boolean[n];
        ArrayDeque<Integer> work = new ArrayDeque<>();
        for (int i = 0; i < n; i++) {
            before.add(new ArrayList<>());
        }
        for (int i = 0; i < n; i++) {
            int last = DEAD;
            for (int to : table.get(i)) {
                if (to != DEAD && to != last) {
                    before.get(to).add(i);
                    last = to;
                }
            }
            if (accepting.test(states.get(i))) {
                live[i] = true;
                work.add(i);
            }
        }
        while (!work.isEmpty()) {
            for (int from : before.get(work.poll())) {
                if (!live[from]) {
                    live[from] = true;
                    work.add(from);
                }
            }
        }
        int[] renamed = new int[n];
        List<S> kept = new ArrayList<>();
        for (int i = 0; i < n; i++) {
            renamed[i] = live[i] ? kept.size() : DEAD;
            if (live[i]) {
                kept.add(states.get(i));
            }
        }
        if (n == 0 || !live[0]) {
            return new Explored<>(new CharDfa(partition, new int[0][], new boolean[0]), List.of());
        }
        int[][] next = new int[kept.size()][];
        boolean[] accepts = new boolean[kept.size()];
        for (int i = 0; i < n; i++) {
            if (live[i]) {
                next[renamed[i]] = Arrays.stream(table.get(i)).map(to -> to == DEAD ? DEAD : renamed[to]).toArray();
                accepts[renamed[i]] = accepting.test(states.get(i));
            }
        }
        return new Explored<>(new CharDfa(partition, next, accepts), kept);
    }

    /** The texts that all of {@code parts} accept. */
    public static CharDfa intersection(List<? extends CharMachine> parts, Partition partition) {
        if (parts.size() == 1 && parts.getFirst() instanceof CharDfa dfa) {
            return dfa;
        }
        return of(partition, new Source<List<Integer>>() {
            @Override
            public List<Integer> start() {
                List<Integer> start = new ArrayList<>();
                for (CharMachine part : parts) {
                    if (part instanceof CharDfa dfa && dfa.isEmpty()) {
                        return null;
                    }
                    start.add(part.start());
                }
                return start;
            }

            @Override
            public List<Integer> step(List<Integer> state, int c) {
                Fuel.spend(parts.size());
                Integer[] to = new Integer[parts.size()];
                for (int i = 0; i < to.length; i++) {
                    to[i] = parts.get(i).step(state.get(i), c);
                    if (to[i] == DEAD) {
                        return null;
                    }
                }
                return Arrays.asList(to);
            }

            @Override
            public boolean accepts(List<Integer> state) {
                for (int i = 0; i < state.size(); i++) {
                    if (!parts.get(i).accepts(state.get(i))) {
                        return false;
                    }
                }
                return true;
            }
        });
    }

    /** The texts that any of {@code parts} accepts. */
    public static CharDfa union(List<CharDfa> parts, Partition partition) {
        if (parts.size() == 1) {
            return parts.getFirst();
        }
        return of(partition, new Source<List<Integer>>() {
            @Override
            public List<Integer> start() {
                return parts.stream().map(part -> part.isEmpty() ? DEAD : part.start()).toList();
            }

            @Override
            public List<Integer> step(List<Integer> state, int c) {
                Fuel.spend(parts.size());
                List<Integer> to = new ArrayList<>();
                boolean any = false;
                for (int i = 0; i < parts.size(); i++) {
                    to.add(state.get(i) == DEAD ? DEAD : parts.get(i).step(state.get(i), c));
                    any |= to.get(i) != DEAD;
                }
                return any ? to : null;
            }

            @Override
            public boolean accepts(List<Integer> state) {
                for (int i = 0; i < parts.size(); i++) {
                    if (state.get(i) != DEAD && parts.get(i).accepts(state.get(i))) {
                        return true;
                    }
                }
                return false;
            }
        });
    }

    /** The given texts, nothing else. */
    public static CharDfa ofTexts(Iterable<String> texts) {
        TextTrie trie = new TextTrie();
        List<CharSet> sets = new ArrayList<>();
        for (String text : texts) {
            text.codePoints().distinct().forEach(c -> sets.add(CharSet.of(c)));
            trie.add(text, 1);
        }
        return of(Partition.of(sets), new Source<Integer>() {
            @Override
            public Integer start() {
                return 0;
            }

            @Override
            public Integer step(Integer state, int c) {
                int to = trie.child(state, c);
                return to < 0 ? null : Integer.valueOf(to);
            }

            @Override
            public boolean accepts(Integer state) {
                return trie.text(state) >= 0;
            }
        });
    }

    public boolean isEmpty() {
        return next.length == 0;
    }

    public int numStates() {
        return next.length;
    }

    public Partition partition() {
        return partition;
    }

    /** The state that {@code text} leads to, or {@link #DEAD}. */
    public int walk(String text) {
        int state = isEmpty() ? DEAD : start();
        for (int i = 0; i < text.length() && state != DEAD; i = text.offsetByCodePoints(i, 1)) {
            state = step(state, text.codePointAt(i));
        }
        return state;
    }

    public boolean matches(String text) {
        int state = walk(text);
        return state != DEAD && accepts[state];
    }

    /** Targets by class, {@link #DEAD} for none. Not to be changed. */
    public int[] row(int state) {
        return next[state];
    }

    @Override
    public int start() {
        return 0;
    }

    @Override
    public int step(int state, int c) {
        int id = partition.classOf(c);
        return id < 0 ? DEAD : next[state][id];
    }

    @Override
    public boolean stepsWithin(int state, int from, int to) {
        return stepsWithin(state, from, to, null);
    }

    /** @param targets which states count; null = all */
    public boolean stepsWithin(int state, int from, int to, BitSet targets) {
        int[] row = next[state];
        for (int i = partition.indexOf(from); i < partition.numRanges() && partition.start(i) <= to; i++) {
            int id = partition.classAt(i);
            if (id >= 0 && row[id] != DEAD && (targets == null || targets.get(row[id]))) {
                return true;
            }
        }
        return false;
    }

    @Override
    public boolean accepts(int state) {
        return accepts[state];
    }

    @Override
    public boolean isUniform() {
        return partition.size() == 1;
    }

    @Override
    public int freeRun(int state) {
        return freeRun[state];
    }

    @Override
    public boolean isFreeRunExact(int state) {
        return exact[state];
    }

    /**
     * States that every safe character leaves and from which only such states follow run for ever. A chain in which all safe characters do
     * the same until none is possible has an exact length. Everything else counts as no run.
     */
    private void findFreeRuns() {
        boolean[] safe = new boolean[partition.size()];
        List<CharSet> sets = partition.sets();
        for (int k = 0; k < safe.length; k++) {
            safe[k] = !sets.get(k).intersect(SafeChars.SET).isEmpty();
        }
        boolean[] free = new boolean[next.length];
        Arrays.fill(free, true);
        for (boolean changed = true; changed;) {
            changed = false;
            for (int s = next.length - 1; s >= 0; s--) {
                for (int k = 0; k < safe.length && free[s]; k++) {
                    if (safe[k] && (next[s][k] == DEAD || !free[next[s][k]])) {
                        free[s] = false;
                        changed = true;
                    }
                }
            }
        }
        List<List<Integer>> before = new ArrayList<>();
        ArrayDeque<Integer> work = new ArrayDeque<>();
        for (int s = 0; s < next.length; s++) {
            before.add(new ArrayList<>());
        }
        for (int s = 0; s < next.length; s++) {
            int to = commonTarget(s, safe);
            if (free[s]) {
                freeRun[s] = UNLIMITED;
                exact[s] = true;
            } else if (to == DEAD) {
                exact[s] = true;
                work.add(s);
            } else if (to >= 0) {
                before.get(to).add(s);
            }
        }
        while (!work.isEmpty()) {
            int to = work.poll();
            for (int s : before.get(to)) {
                exact[s] = true;
                freeRun[s] = freeRun[to] + 1;
                work.add(s);
            }
        }
    }

    /** Where all safe characters lead; -2 if they differ. */
    private int commonTarget(int state, boolean[] safe) {
        int common = UNLIMITED;
        for (int k = 0; k < safe.length; k++) {
            if (safe[k]) {
                int to = next[state][k];
                if (common != UNLIMITED && to != common) {
                    return -2;
                }
                common = to;
            }
        }
        return common == UNLIMITED ? DEAD : common;
    }
}

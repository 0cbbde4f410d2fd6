package io.millrace.engine.grammar.ebnf;

import io.millrace.engine.grammar.automaton.CharMachine;
import io.millrace.engine.grammar.automaton.CharSet;
import io.millrace.engine.grammar.machine.Part;
import io.millrace.engine.grammar.machine.TableBudget;
import io.millrace.engine.grammar.machine.Utf8Steps;
import java.util.ArrayList;
import java.util.BitSet;
import java.util.HashMap;
import java.util.List;
import java.util.Map;

/**
 * One rule of a grammar. Its sets of nodes become states when they are first met; what is known of them is guarded by the lock of the
 * machine they belong to. A waiting state is the one that follows.
 */
final class RulePart extends Part {
    /** A set of nodes: all character edges, and where each called rule leads. */
    private static final class Nodes {
        final boolean accepts;
        final List<RulePart> callees = new ArrayList<>();
        /** What follows each call, and the state made of it once it was asked for, else -1. */
        final List<BitSet> followers = new ArrayList<>();
        final List<Integer> returns = new ArrayList<>();
        final int[] readers;

        Nodes(boolean accepts, int[] readers) {
            this.accepts = accepts;
            this.readers = readers;
        }
    }

    private final RuleNfa nfa;
    private final int rule;
    private final RulePart[] rules;
    private final Map<BitSet, Integer> ids = new HashMap<>();
    private final List<Nodes> states = new ArrayList<>();
    private final TableBudget budget;
    private final CharMachine characters = new Characters();

    RulePart(RuleNfa nfa, int rule, RulePart[] rules, TableBudget budget) {
        this.nfa = nfa;
        this.rule = rule;
        this.rules = rules;
        this.budget = budget;
    }

    /** {@link CharMachine#DEAD}, which is {@link Part#DEAD}, if there is no memory for it. */
    private int state(BitSet seeds) {
        nfa.close(seeds);
        Integer known = ids.get(seeds);
        if (known != null) {
            return known;
        }
        int id = states.size();
        int[] readers = seeds.stream().filter(i -> nfa.set(i) != null && nfa.target(i) >= 0).toArray();
        long numCalls = seeds.stream().filter(i -> nfa.call(i) >= 0 && nfa.target(i) >= 0).count();
        if (!budget.take(300 + seeds.size() / 8 + 4L * readers.length + numCalls * (120 + seeds.size() / 8))) {
            return CharMachine.DEAD;
        }
        Nodes nodes = new Nodes(seeds.get(nfa.end(rule)), readers);
        ids.put(seeds, id);
        states.add(nodes);
        Map<Integer, BitSet> calls = new HashMap<>();
        seeds.stream().filter(i -> nfa.call(i) >= 0 && nfa.target(i) >= 0).forEach(i ->
                calls.computeIfAbsent(nfa.call(i), r -> new BitSet()).set(nfa.target(i)));
        calls.forEach((callee, targets) -> {
            nodes.callees.add(rules[callee]);
            nodes.followers.add(targets);
            nodes.returns.add(-1);
        });
        return id;
    }

    @Override
    public long start() {
        BitSet first = new BitSet();
        first.set(nfa.start(rule));
        return state(first);
    }

    @Override
    public long step(long state, int b) {
        return Utf8Steps.step(characters, state, b);
    }

    private Nodes nodes(long state) {
        return states.get((int) state);
    }

    @Override
    public boolean accepts(long state) {
        return state >>> 32 == 0 && nodes(state).accepts;
    }

    @Override
    public boolean continues(long state) {
        return state >>> 32 != 0 || nodes(state).readers.length > 0;
    }

    @Override
    public int numCalls(long state) {
        return state >>> 32 != 0 ? 0 : nodes(state).callees.size();
    }

    @Override
    public Part callee(long state, int k) {
        return nodes(state).callees.get(k);
    }

    @Override
    public long waiting(long state, int k) {
        Nodes nodes = nodes(state);
        if (nodes.returns.get(k) < 0) {
            nodes.returns.set(k, state(nodes.followers.get(k)));
        }
        return nodes.returns.get(k);
    }

    @Override
    public long resume(long waiting, int result) {
        return waiting;
    }

    @Override
    public boolean endsWithCall(long waiting) {
        Nodes after = nodes(waiting);
        return after.accepts && after.readers.length == 0 && after.callees.isEmpty();
    }

    @Override
    public int cost(long state) {
        return 1 + nodes(state).readers.length / 2;
    }

    private final class Characters implements CharMachine {
        @Override
        public int start() {
            return (int) RulePart.this.start();
        }

        @Override
        public int step(int state, int c) {
            BitSet to = null;
            for (int reader : states.get(state).readers) {
                if (nfa.set(reader).contains(c)) {
                    to = to == null ? new BitSet() : to;
                    to.set(nfa.target(reader));
                }
            }
            return to == null ? DEAD : state(to);
        }

        @Override
        public boolean stepsWithin(int state, int from, int to) {
            for (int reader : states.get(state).readers) {
                if (nfa.set(reader).intersects(from, to)) {
                    return true;
                }
            }
            return false;
        }

        @Override
        public boolean accepts(int state) {
            return states.get(state).accepts;
        }

        @Override
        public int freeRun(int state) {
            return 0;
        }

        @Override
        public boolean isFreeRunExact(int state) {
            return false;
        }
    }
}

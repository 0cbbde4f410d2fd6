package io.millrace.engine.grammar.json;

import io.millrace.engine.grammar.automaton.CharDfa;
import io.millrace.engine.grammar.automaton.CharMachine;
import io.millrace.engine.grammar.machine.Part;
import io.millrace.engine.grammar.machine.StringPart;
import java.util.ArrayDeque;
import java.util.BitSet;

/** How far an object is: what it has, and so which keys may follow. Immutable but for its key part, which is made when first asked for. */
final class Stage {
    final int id;
    final StageKey key;
    /** By class of key. */
    final boolean[] allowed;
    final boolean canClose;
    final boolean canAdd;
    private final ObjectRules rules;
    private Part keyPart;

    Stage(int id, StageKey key, ObjectRules rules, boolean[] allowed, boolean canClose) {
        this.id = id;
        this.key = key;
        this.rules = rules;
        this.allowed = allowed;
        this.canClose = canClose;
        boolean any = false;
        for (boolean one : allowed) {
            any |= one;
        }
        this.canAdd = any;
    }

    Part key() {
        if (keyPart == null) {
            keyPart = new StringPart(new Keys(), rules.keys()::classOf);
        }
        return keyPart;
    }

    /** The key automaton cut down to the states from which an allowed key can be reached. */
    private final class Keys implements CharMachine {
        private final CharDfa dfa = rules.keys().dfa();
        private final BitSet live = new BitSet(dfa.numStates());
        private final boolean whole;

        Keys() {
            ArrayDeque<Integer> work = new ArrayDeque<>();
            for (int s = 0; s < dfa.numStates(); s++) {
                if (accepts(s)) {
                    live.set(s);
                    work.add(s);
                }
            }
            while (!work.isEmpty()) {
                for (int s : rules.keys().before()[work.poll()]) {
                    if (!live.get(s)) {
                        live.set(s);
                        work.add(s);
                    }
                }
            }
            whole = live.cardinality() == dfa.numStates();
        }

        @Override
        public int start() {
            return dfa.start();
        }

        @Override
        public int step(int state, int c) {
            int to = dfa.step(state, c);
            return to == DEAD || live.get(to) ? to : DEAD;
        }

        @Override
        public boolean stepsWithin(int state, int from, int to) {
            return whole ? dfa.stepsWithin(state, from, to) : dfa.stepsWithin(state, from, to, live);
        }

        @Override
        public boolean accepts(int state) {
            return dfa.accepts(state) && allowed[rules.keys().classOf(state)];
        }

        @Override
        public int freeRun(int state) {
            return whole ? dfa.freeRun(state) : 0;
        }

        @Override
        public boolean isFreeRunExact(int state) {
            return whole && dfa.isFreeRunExact(state);
        }
    }
}

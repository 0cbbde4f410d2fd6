package io.millrace.engine.grammar.automaton;

/** Any characters, between {@code min} and {@code max} of them ({@link #UNLIMITED} for no limit). Immutable. */
public record Counter(int min, int max) implements CharMachine {
    public static final Counter ANY = new Counter(0, UNLIMITED);

    @Override
    public int start() {
        return 0;
    }

    @Override
    public int step(int state, int c) {
        return state >= max ? DEAD : max == UNLIMITED ? Math.min(min, state + 1) : state + 1;
    }

    @Override
    public boolean stepsWithin(int state, int from, int to) {
        return state < max && CharSet.ALL.intersects(from, to);
    }

    @Override
    public boolean accepts(int state) {
        return state >= min;
    }

    @Override
    public boolean isUniform() {
        return true;
    }

    @Override
    public int freeRun(int state) {
        return max == UNLIMITED ? UNLIMITED : max - state;
    }

    @Override
    public boolean isFreeRunExact(int state) {
        return true;
    }
}

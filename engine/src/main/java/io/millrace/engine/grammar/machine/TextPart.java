package io.millrace.engine.grammar.machine;

import io.millrace.engine.grammar.automaton.CharMachine;

/** Plain text in UTF-8 that a {@link CharMachine} accepts. */
public final class TextPart extends Part {
    private final CharMachine machine;

    public TextPart(CharMachine machine) {
        this.machine = machine;
    }

    @Override
    public long start() {
        return machine.start();
    }

    @Override
    public long step(long state, int b) {
        return Utf8Steps.step(machine, state, b);
    }

    @Override
    public boolean accepts(long state) {
        return state >>> 32 == 0 && machine.accepts((int) state);
    }

    @Override
    public boolean continues(long state) {
        return state >>> 32 != 0 || machine.continues((int) state);
    }

    @Override
    public int freeRun(long state) {
        return state >>> 32 == 0 ? machine.freeRun((int) state) : 0;
    }

    @Override
    public boolean isFreeRunExact(long state) {
        return state >>> 32 == 0 && machine.isFreeRunExact((int) state);
    }
}

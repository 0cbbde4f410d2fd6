package io.millrace.engine.grammar.machine;

import io.millrace.engine.grammar.automaton.CharMachine;

/** A machine over characters read byte by byte. */
public final class Utf8Steps {
    private Utf8Steps() {}

    /**
     * @param state that of {@code machine} in the low 32 bits, the character begun, if any, above
     * @return likewise, or {@link Part#DEAD}
     */
    public static long step(CharMachine machine, long state, int b) {
        int q = (int) state;
        int pending = (int) (state >>> 32);
        if (pending == 0 && b < 0x80) {
            return machine.step(q, b);
        }
        pending = pending == 0 ? Utf8.begin(b) : Utf8.next(pending, b);
        if (pending == Utf8.INVALID) {
            return Part.DEAD;
        }
        if (Utf8.remaining(pending) == 0) {
            return machine.step(q, Utf8.first(pending));
        }
        return machine.stepsWithin(q, Utf8.first(pending), Utf8.last(pending)) ? (long) pending << 32 | q : Part.DEAD;
    }
}

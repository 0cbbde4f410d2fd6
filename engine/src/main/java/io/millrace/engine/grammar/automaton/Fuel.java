package io.millrace.engine.grammar.automaton;

import io.millrace.engine.grammar.GrammarException;

/**
 * What is left of the work one compilation may cost, whatever it consists of; each thread has its own. Bounds on single automata do not
 * bound a schema that has hundreds of them.
 */
public final class Fuel {
    /** Units of some tens of nanoseconds. */
    private static final long FULL = 15_000_000;
    private static final ThreadLocal<Fuel> OF_THREAD = ThreadLocal.withInitial(Fuel::new);

    private long left = FULL;

    private Fuel() {}

    /** A compilation begins. */
    public static void refill() {
        OF_THREAD.get().left = FULL;
    }

    /** What this thread's compilation has spent so far: also, from above, the bytes of the tables it has made. */
    public static long spent() {
        return FULL - OF_THREAD.get().left;
    }

    /** @throws GrammarException if there is not so much left */
    public static void spend(long units) {
        Fuel fuel = OF_THREAD.get();
        fuel.left -= units;
        if (fuel.left < 0) {
            throw new GrammarException("takes too much work to compile; make the schema, its patterns or their repetitions smaller");
        }
    }
}

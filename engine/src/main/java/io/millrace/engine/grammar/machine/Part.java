package io.millrace.engine.grammar.machine;

/**
 * One piece of a constraint: an automaton over bytes that may hand over to other pieces and wait for them, as the rules of a recursive
 * transition network do (Woods, CACM 13(10), 1970). Its states are numbers whose meaning is its own.
 *
 * <p>Contract: from every state that a step, a call or a resumption gives, the piece can be completed, unless its memory is full
 * ({@link TableBudget}): then more and more is {@link #DEAD}. Any of several walks at once can be given up without making the others wrong.
 *
 * <p>Parts are used under the lock of the {@link Machine} they belong to; one that is shared by machines has no mutable state.
 */
public abstract class Part {
    public static final long DEAD = -1;

    /** The state at the beginning, or {@link #DEAD} without memory for it. */
    public abstract long start();

    /** The state after byte {@code b} (0 to 255), or {@link #DEAD}. */
    public abstract long step(long state, int b);

    /** Whether the piece may be over here. */
    public abstract boolean accepts(long state);

    /** Whether {@link #step} survives any byte at all. */
    public abstract boolean continues(long state);

    /** The pieces that may begin here. */
    public int numCalls(long state) {
        return 0;
    }

    /** The {@code k}th of them. */
    public Part callee(long state, int k) {
        throw new IndexOutOfBoundsException(k);
    }

    /** The state in which this piece waits for it, or {@link #DEAD} without memory for it. */
    public long waiting(long state, int k) {
        throw new IndexOutOfBoundsException(k);
    }

    /** The state after the piece waited for ended with {@code result}. */
    public long resume(long waiting, int result) {
        throw new IllegalStateException("nothing is waited for in " + waiting);
    }

    /** Whether this piece ends together with the one waited for in {@code waiting}, so that nobody needs to remember it. */
    public boolean endsWithCall(long waiting) {
        return false;
    }

    /** What the waiting piece is told, of an accepting state. */
    public int result(long state) {
        return 0;
    }

    /** @see io.millrace.engine.grammar.automaton.CharMachine#freeRun */
    public int freeRun(long state) {
        return 0;
    }

    /** @see io.millrace.engine.grammar.automaton.CharMachine#isFreeRunExact */
    public boolean isFreeRunExact(long state) {
        return false;
    }

    /** What a look at {@code state} costs, in units of a table look-up. */
    public int cost(long state) {
        return 1;
    }
}

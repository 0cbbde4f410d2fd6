package io.millrace.engine.grammar.automaton;

/**
 * A deterministic automaton over characters whose states are numbers from 0 and from each of whose states an accepting one can be reached:
 * a step into any other is refused, so that nobody who walks it ever meets a dead end. Thread-safe or confined, as the implementation says.
 */
public interface CharMachine {
    int DEAD = -1;
    /** The free run that never ends. */
    int UNLIMITED = Integer.MAX_VALUE;

    int start();

    /** The state after character {@code c}, or {@link #DEAD}. */
    int step(int state, int c);

    /** Whether {@link #step} survives a character of {@code [from, to]}. */
    boolean stepsWithin(int state, int from, int to);

    boolean accepts(int state);

    /** Whether any character may follow. */
    default boolean continues(int state) {
        return stepsWithin(state, 0, CharSet.MAX_CHAR);
    }

    /** Whether all characters do the same wherever they come, so that nobody needs to know which one it is. */
    default boolean isUniform() {
        return false;
    }

    /** A number n such that every text of up to n {@link SafeChars} characters may follow. 0 is always true. */
    int freeRun(int state);

    /** Whether no text of safe characters longer than {@link #freeRun} may follow. */
    boolean isFreeRunExact(int state);
}

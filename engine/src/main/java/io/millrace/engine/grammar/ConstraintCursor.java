package io.millrace.engine.grammar;

import io.millrace.engine.grammar.machine.State;
import java.lang.foreign.MemorySegment;
import java.lang.foreign.ValueLayout;

/**
 * Where one text stands in its {@link Constraint}: a reference to an immutable state, so going on, forking and going back a few tokens cost
 * next to nothing. One thread at a time.
 */
public final class ConstraintCursor {
    /** Tokens that can be taken back. */
    public static final int MAX_ROLLBACK = 16;

    private final Constraint constraint;
    /** The states after the last tokens, at position modulo length. */
    private final State[] recent = new State[MAX_ROLLBACK + 1];
    private int numTokens;

    ConstraintCursor(Constraint constraint, State start) {
        this.constraint = constraint;
        recent[0] = start;
    }

    private State current() {
        return recent[numTokens % recent.length];
    }

    /** Tokens taken so far. */
    public int numTokens() {
        return numTokens;
    }

    /** Takes a token. @return false, with nothing changed, if it is not allowed here */
    public boolean advance(int tokenId) {
        byte[] bytes = tokenId >= 0 && tokenId < constraint.vocabulary().size() ? constraint.vocabulary().bytes(tokenId) : null;
        if (bytes == null || bytes.length == 0) {
            return false;
        }
        State state = current();
        for (byte b : bytes) {
            state = state.step(b & 0xFF);
        }
        if (state == State.DEAD) {
            return false;
        }
        numTokens++;
        recent[numTokens % recent.length] = state;
        return true;
    }

    /** Whether the text may end here. */
    public boolean accepts() {
        return current().accepts();
    }

    /** Whether nothing but the end can follow. */
    public boolean isComplete() {
        return !current().continues();
    }

    /** Takes the last {@code count} tokens back, at most {@link #MAX_ROLLBACK}. */
    public void rollback(int count) {
        if (count < 0 || count > Math.min(MAX_ROLLBACK, numTokens)) {
            throw new IllegalArgumentException(count + " tokens cannot be taken back of " + numTokens + ", at most " + MAX_ROLLBACK);
        }
        numTokens -= count;
    }

    /** Another text that begins like this one. */
    public ConstraintCursor fork() {
        ConstraintCursor other = new ConstraintCursor(constraint, recent[0]);
        System.arraycopy(recent, 0, other.recent, 0, recent.length);
        other.numTokens = numTokens;
        return other;
    }

    /** Whether token {@code id} may be next; end tokens may if {@link #accepts}. */
    public boolean allows(int id) {
        return (constraint.mask(current())[id >>> 6] >>> id & 1) != 0;
    }

    /**
     * Writes which tokens may be next, as {@link io.millrace.kernels.SamplingRows} reads it: bit id % 32 of int32 word id / 32.
     *
     * @param mask   at least {@link #maskBytes} of the vocabulary's size
     * @param endIds the tokens that end the text: allowed where it may end, and where they write what the text needs next
     * @return whether any token is allowed; if none is, the text cannot be finished and must not go on
     */
    public boolean fill(MemorySegment mask, int[] endIds) {
        return fill(mask, endIds, false);
    }

    /** @param mustEnd nothing but the end is allowed, as for a text that has left its constraint by a token nobody drew */
    public boolean fill(MemorySegment mask, int[] endIds, boolean mustEnd) {
        if (mustEnd) {
            mask.fill((byte) 0);
        } else {
            long[] words = constraint.mask(current());
            // Little-endian, as every machine this runs on: bit 32 of a long is bit 0 of the second int.
            MemorySegment.copy(words, 0, mask, ValueLayout.JAVA_LONG_UNALIGNED, 0, words.length);
        }
        if (mustEnd || accepts()) {
            for (int id : endIds) {
                mask.setAtIndex(ValueLayout.JAVA_INT, id >>> 5, mask.getAtIndex(ValueLayout.JAVA_INT, id >>> 5) | 1 << id);
            }
        }
        for (long i = 0; i < mask.byteSize() / 8; i++) {
            if (mask.getAtIndex(ValueLayout.JAVA_LONG_UNALIGNED, i) != 0) {
                return true;
            }
        }
        return false;
    }

    /** Bytes of a mask. */
    public static long maskBytes(int vocabSize) {
        return (vocabSize + 63L) / 64 * 8;
    }
}

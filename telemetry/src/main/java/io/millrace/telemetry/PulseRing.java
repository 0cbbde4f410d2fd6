package io.millrace.telemetry;

import java.lang.invoke.MethodHandles;
import java.lang.invoke.VarHandle;

/**
 * The last pulses of one rank: a ring of fixed-size records with one writer, which never waits and never allocates, and any number of
 * readers, which never disturb it. A reader that is too slow loses records and is told how many; it never sees a torn one.
 *
 * <p>Each slot carries a version (a seqlock: Boehm, "Can seqlocks get along with programming language memory models?", 2012):
 * {@code 2n + 1} while record {@code n} is being written, {@code 2n + 2} once it is whole. A reader copies a slot between two looks
 * at the version and keeps the copy only if both say {@code 2n + 2}.
 *
 * <p>Writing a pulse: {@code begin(stepId, startNanos)}, {@code set(field, value)} for what is known, {@code commit()}.
 */
public final class PulseRing {
    static final VarHandle LONGS = MethodHandles.arrayElementVarHandle(long[].class);
    static final int SLOT = 16;
    private static final VarHandle NEXT;

    static {
        try {
            NEXT = MethodHandles.lookup().findVarHandle(PulseRing.class, "next", long.class);
        } catch (ReflectiveOperationException e) {
            throw new ExceptionInInitializerError(e);
        }
        if (PulseField.COUNT + 1 > SLOT) {
            throw new ExceptionInInitializerError("a pulse has " + PulseField.COUNT + " fields; " + (SLOT - 1) + " fit");
        }
    }

    private final int rank;
    private final int mask;
    final long[] slots;
    /** Records committed so far; record {@code n} lies in slot {@code n & mask}. */
    private volatile long next;
    /** The writer's own: first field of the slot being written, or -1. */
    private int open = -1;

    /** @param capacity records kept; a power of two */
    public PulseRing(int rank, int capacity) {
        if (capacity < 2 || Integer.bitCount(capacity) != 1 || capacity > 1 << 24) {
            throw new IllegalArgumentException("TM-001 capacity of a pulse ring must be a power of two in [2, 2^24], got " + capacity);
        }
        this.rank = rank;
        this.mask = capacity - 1;
        this.slots = new long[capacity * SLOT];
    }

    public int rank() {
        return rank;
    }

    public int capacity() {
        return mask + 1;
    }

    /** Records committed since the start. */
    public long numCommitted() {
        return next;
    }

    /** Opens the next record, all fields 0 but these two. An open one is discarded. Writer only. */
    public void begin(long stepId, long startNanos) {
        long n = next;
        int slot = slotOf(n);
        LONGS.setOpaque(slots, slot, 2 * n + 1);
        VarHandle.storeStoreFence(); // No field changes before the version says so.
        for (int i = 0; i < PulseField.COUNT; i++) {
            LONGS.setOpaque(slots, slot + 1 + i, 0L);
        }
        open = slot + 1;
        set(PulseField.STEP_ID, stepId);
        set(PulseField.START_NANOS, startNanos);
    }

    /** Writer only, between {@link #begin} and {@link #commit}. */
    public void set(PulseField field, long value) {
        if (open < 0) {
            throw new IllegalStateException("TM-002 set(" + field + ") outside of begin() and commit()");
        }
        LONGS.setOpaque(slots, open + field.ordinal(), value);
    }

    /** Makes the record visible. Writer only. */
    public void commit() {
        if (open < 0) {
            throw new IllegalStateException("TM-002 commit() without begin()");
        }
        long n = next;
        LONGS.setRelease(slots, open - 1, 2 * n + 2);
        open = -1;
        NEXT.setRelease(this, n + 1);
    }

    /** A reader that starts with the oldest record still there. */
    public PulseReader reader() {
        return new PulseReader(this);
    }

    int slotOf(long n) {
        return (int) (n & mask) * SLOT;
    }
}

package io.millrace.telemetry;

import java.lang.invoke.VarHandle;

/** One reader's place in a {@link PulseRing}. Not thread-safe: one reader per thread. Allocates nothing. */
public final class PulseReader {
    private final PulseRing ring;
    private long position;
    private long lost;

    PulseReader(PulseRing ring) {
        this.ring = ring;
        this.position = oldest();
    }

    /**
     * Copies the next record into {@code into}.
     *
     * @return false if there is none yet
     */
    public boolean poll(ShardPulse into) {
        while (position < ring.numCommitted()) {
            if (copy(position, into)) {
                position++;
                return true;
            }
            // Overwritten, before or while it was read: go on with the oldest that is left.
            long from = Math.max(position + 1, oldest());
            lost += from - position;
            position = from;
        }
        return false;
    }

    /** Records that were overwritten before this reader got to them. */
    public long numLost() {
        return lost;
    }

    /** The slot after the newest record may be in the writer's hands, so one fewer than the capacity can be counted on. */
    private long oldest() {
        return Math.max(0, ring.numCommitted() - ring.capacity() + 1);
    }

    private boolean copy(long n, ShardPulse into) {
        int slot = ring.slotOf(n);
        long whole = 2 * n + 2;
        if ((long) PulseRing.LONGS.getAcquire(ring.slots, slot) != whole) {
            return false;
        }
        for (int i = 0; i < PulseField.COUNT; i++) {
            into.values[i] = (long) PulseRing.LONGS.getOpaque(ring.slots, slot + 1 + i);
        }
        VarHandle.loadLoadFence(); // The copy is complete before the version is looked at again.
        into.rank = ring.rank();
        return (long) PulseRing.LONGS.getOpaque(ring.slots, slot) == whole;
    }
}

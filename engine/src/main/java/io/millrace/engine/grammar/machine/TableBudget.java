package io.millrace.engine.grammar.machine;

/**
 * Memory that the parts of one machine may take for states they make as they go. States are numbers that others keep, so they are never
 * dropped: when all is taken, no new one is made. Taken under the machine's lock, read by any thread.
 */
public final class TableBudget {
    private static final long MAX_BYTES = 8L << 20;

    private volatile long taken;

    /** @return false, with nothing taken, if there is not so much left */
    public boolean take(long bytes) {
        if (taken + bytes > MAX_BYTES) {
            return false;
        }
        taken += bytes;
        return true;
    }

    public long taken() {
        return taken;
    }

    /** Whether there is room for no second text of the kind of those so far. */
    public boolean isHalfFull() {
        return taken > MAX_BYTES / 2;
    }
}

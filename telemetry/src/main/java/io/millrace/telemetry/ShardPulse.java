package io.millrace.telemetry;

/** A reader's copy of one pulse; reused from one {@link PulseReader#poll} to the next. Not thread-safe. */
public final class ShardPulse {
    final long[] values = new long[PulseField.COUNT];
    int rank;

    public int rank() {
        return rank;
    }

    public long get(PulseField field) {
        return values[field.ordinal()];
    }

    @Override
    public String toString() {
        StringBuilder text = new StringBuilder("pulse of rank ").append(rank);
        for (PulseField field : PulseField.values()) {
            text.append(' ').append(field).append('=').append(get(field));
        }
        return text.toString();
    }
}

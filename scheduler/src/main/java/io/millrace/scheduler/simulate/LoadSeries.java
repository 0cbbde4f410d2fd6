package io.millrace.scheduler.simulate;

import java.util.Arrays;

/**
 * How the load went, over a time whose length is not known before: so many equal spans of time with the most of each quantity in each.
 * When the spans are full, pairs of them become one. Quantities hold until the next record.
 */
public final class LoadSeries {
    /** What is kept of each moment. */
    public enum Quantity { WAITING, RUNNING, USED_BLOCKS }

    private static final int CAPACITY = 2048;
    private static final int QUANTITIES = Quantity.values().length;

    private final double[][] peaks = new double[QUANTITIES][CAPACITY];
    private final double[] now = new double[QUANTITIES];
    private long spanNanos;
    private int last;
    private long lastEndNanos;

    LoadSeries(long firstSpanNanos) {
        spanNanos = firstSpanNanos;
    }

    /** From {@code nanos} on it is so. */
    void record(long nanos, int numWaiting, int numRunning, int usedBlocks) {
        if (nanos >= lastEndNanos) {
            advance(nanos);
        }
        keep(Quantity.WAITING, numWaiting);
        keep(Quantity.RUNNING, numRunning);
        keep(Quantity.USED_BLOCKS, usedBlocks);
    }

    /** To the span of {@code nanos}, which is a later one. */
    private void advance(long nanos) {
        while (nanos / spanNanos >= CAPACITY) {
            halve();
        }
        int span = (int) (nanos / spanNanos);
        for (int q = 0; q < QUANTITIES; q++) {
            // What held until now held through the spans in between.
            Arrays.fill(peaks[q], last + 1, Math.max(last, span) + 1, now[q]);
        }
        last = span;
        lastEndNanos = (last + 1) * spanNanos;
    }

    private void keep(Quantity quantity, double value) {
        int q = quantity.ordinal();
        now[q] = value;
        peaks[q][last] = Math.max(peaks[q][last], value);
    }

    private void halve() {
        for (double[] values : peaks) {
            for (int i = 0; i < CAPACITY / 2; i++) {
                values[i] = Math.max(values[2 * i], values[2 * i + 1]);
            }
            Arrays.fill(values, CAPACITY / 2, CAPACITY, 0);
        }
        spanNanos *= 2;
        last /= 2;
    }

    public double seconds() {
        return (last + 1) * (spanNanos * 1e-9);
    }

    /** The most in each of {@code numSpans} equal parts of the time; fewer if less was recorded. */
    public double[] peaks(Quantity quantity, int numSpans) {
        int spans = Math.min(numSpans, last + 1);
        double[] result = new double[spans];
        for (int i = 0; i <= last; i++) {
            int at = (int) ((long) i * spans / (last + 1));
            result[at] = Math.max(result[at], peaks[quantity.ordinal()][i]);
        }
        return result;
    }
}

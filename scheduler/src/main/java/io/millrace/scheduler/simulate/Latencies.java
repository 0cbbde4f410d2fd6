package io.millrace.scheduler.simulate;

import java.util.Arrays;

/** Durations of many requests, in nanoseconds; exact percentiles. */
public final class Latencies {
    private long[] nanos = new long[256];
    private int count;
    private boolean sorted;

    void add(long value) {
        if (count == nanos.length) {
            nanos = Arrays.copyOf(nanos, 2 * count);
        }
        nanos[count++] = value;
        sorted = false;
    }

    public int count() {
        return count;
    }

    public double meanMillis() {
        double sum = 0;
        for (int i = 0; i < count; i++) {
            sum += nanos[i];
        }
        return count == 0 ? Double.NaN : sum / count * 1e-6;
    }

    /** @param percentile in [0, 100]: the smallest value that so many percent do not exceed; NaN if there is none */
    public double millis(double percentile) {
        if (count == 0) {
            return Double.NaN;
        }
        if (!sorted) {
            Arrays.sort(nanos, 0, count);
            sorted = true;
        }
        return nanos[Math.clamp((int) Math.ceil(percentile / 100 * count) - 1, 0, count - 1)] * 1e-6;
    }
}

package io.millrace.server.bench;

import java.util.LinkedHashMap;
import java.util.Map;
import org.HdrHistogram.ConcurrentHistogram;
import org.HdrHistogram.Histogram;

/** Durations from one microsecond to an hour with four significant digits, recorded from any thread. */
public final class Distribution {
    private static final long HIGHEST_MICROS = 3_600_000_000L;
    private final Histogram micros = new ConcurrentHistogram(1, HIGHEST_MICROS, 4);

    public void recordNanos(long nanos) {
        micros.recordValue(Math.clamp((nanos + 500) / 1000, 0, HIGHEST_MICROS));
    }

    public long count() {
        return micros.getTotalCount();
    }

    public double meanMillis() {
        return count() == 0 ? Double.NaN : micros.getMean() / 1000;
    }

    public double stdMillis() {
        return count() == 0 ? Double.NaN : micros.getStdDeviation() / 1000;
    }

    /** @param percentile in (0, 100]; 50 is the median */
    public double millis(double percentile) {
        return count() == 0 ? Double.NaN : micros.getValueAtPercentile(percentile) / 1000.0;
    }

    /** {@code mean_NAME_ms, median_NAME_ms, std_NAME_ms, p90_, p95_, p99_}; absent if nothing was recorded. */
    void putInto(Map<String, Object> result, String name) {
        if (count() == 0) {
            return;
        }
        Map<String, Double> values = new LinkedHashMap<>();
        values.put("mean", meanMillis());
        values.put("median", millis(50));
        values.put("std", stdMillis());
        values.put("p90", millis(90));
        values.put("p95", millis(95));
        values.put("p99", millis(99));
        values.forEach((key, value) -> result.put(key + "_" + name + "_ms", value));
    }
}

package io.millrace.server.bench;

import java.util.Arrays;
import java.util.Collection;
import java.util.LinkedHashMap;
import java.util.Map;
import java.util.function.ToDoubleFunction;

/** Median, lowest and highest of a figure; NaN if there is none. */
public record Spread(double median, double min, double max) {
    public static Spread of(double... values) {
        double[] sorted = Arrays.stream(values).filter(value -> !Double.isNaN(value)).sorted().toArray();
        int n = sorted.length;
        if (n == 0) {
            return new Spread(Double.NaN, Double.NaN, Double.NaN);
        }
        return new Spread(n % 2 == 1 ? sorted[n / 2] : (sorted[n / 2 - 1] + sorted[n / 2]) / 2, sorted[0], sorted[n - 1]);
    }

    public static <T> Spread of(Collection<T> items, ToDoubleFunction<T> figure) {
        return of(items.stream().mapToDouble(figure).toArray());
    }

    public boolean isKnown() {
        return Double.isFinite(median);
    }

    /** {@code median}, {@code min}, {@code max}. */
    public Map<String, Object> toMap() {
        Map<String, Object> map = new LinkedHashMap<>();
        map.put("median", median);
        map.put("min", min);
        map.put("max", max);
        return map;
    }

    /** {@code median_NAME}, {@code min_NAME}, {@code max_NAME}; nothing if it is not known. */
    void putInto(Map<String, Object> map, String name) {
        if (isKnown()) {
            toMap().forEach((key, value) -> map.put(key + "_" + name, value));
        }
    }
}

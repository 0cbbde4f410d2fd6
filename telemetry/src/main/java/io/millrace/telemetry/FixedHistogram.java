package io.millrace.telemetry;

import io.prometheus.metrics.model.registry.Collector;
import io.prometheus.metrics.model.registry.MetricType;
import io.prometheus.metrics.model.snapshots.ClassicHistogramBuckets;
import io.prometheus.metrics.model.snapshots.HistogramSnapshot;
import io.prometheus.metrics.model.snapshots.HistogramSnapshot.HistogramDataPointSnapshot;
import io.prometheus.metrics.model.snapshots.Labels;
import io.prometheus.metrics.model.snapshots.MetricMetadata;
import io.prometheus.metrics.model.snapshots.MetricSnapshot;
import java.util.Arrays;
import java.util.List;
import java.util.Map;
import java.util.Set;
import java.util.concurrent.ConcurrentHashMap;
import java.util.concurrent.atomic.AtomicLongArray;
import java.util.concurrent.atomic.DoubleAdder;

/**
 * A histogram with fixed bounds whose {@link Series#observe} allocates nothing and never waits. The client library's own (1.10.0)
 * makes an object per observation, 40 bytes, and takes a lock while a scrape is under way: the engine thread can afford neither.
 *
 * <p>The count of a scrape is the sum of its buckets, so the two always agree; the sum may be ahead or behind by observations that
 * are being made meanwhile.
 */
final class FixedHistogram implements Collector {
    private final MetricMetadata metadata;
    private final double[] bounds;
    private final Labels constant;
    private final String[] labelNames;
    private final Map<List<String>, Series> series = new ConcurrentHashMap<>();

    /** @param bounds ascending upper bounds, inclusive; +Inf is added */
    FixedHistogram(String name, String help, double[] bounds, Labels constant, String... labelNames) {
        this.metadata = new MetricMetadata(name, help);
        this.bounds = Arrays.copyOf(bounds, bounds.length + 1);
        this.bounds[bounds.length] = Double.POSITIVE_INFINITY;
        this.constant = constant;
        this.labelNames = labelNames;
        if (labelNames.length == 0) {
            labelValues(); // Without labels it is there from the start, at zero.
        }
    }

    /** One combination of label values. Resolve once, keep, observe often. */
    final class Series {
        private final Labels labels;
        private final AtomicLongArray counts = new AtomicLongArray(bounds.length);
        private final DoubleAdder sum = new DoubleAdder();

        private Series(Labels labels) {
            this.labels = labels;
        }

        /** Any thread. NaN is ignored. */
        void observe(double value) {
            if (Double.isNaN(value)) {
                return;
            }
            int i = 0;
            while (value > bounds[i]) {
                i++;
            }
            counts.getAndIncrement(i);
            sum.add(value);
        }

        private HistogramDataPointSnapshot snapshot() {
            long[] copy = new long[bounds.length];
            for (int i = 0; i < copy.length; i++) {
                copy[i] = counts.get(i);
            }
            return HistogramDataPointSnapshot.builder().labels(labels).classicHistogramBuckets(ClassicHistogramBuckets.of(bounds, copy))
                    .sum(sum.sum()).build();
        }
    }

    Series labelValues(String... values) {
        return series.computeIfAbsent(List.of(values), key -> new Series(constant.merge(labelNames, values)));
    }

    @Override
    public MetricSnapshot collect() {
        return new HistogramSnapshot(metadata, series.values().stream().map(Series::snapshot).toList());
    }

    @Override
    public String getPrometheusName() {
        return metadata.getPrometheusName();
    }

    @Override
    public MetricType getMetricType() {
        return MetricType.HISTOGRAM;
    }

    @Override
    public Set<String> getLabelNames() {
        return Set.of(labelNames);
    }

    @Override
    public MetricMetadata getMetadata() {
        return metadata;
    }
}

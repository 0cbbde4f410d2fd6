package io.millrace.telemetry;

import io.prometheus.metrics.config.EscapingScheme;
import io.prometheus.metrics.core.metrics.Counter;
import io.prometheus.metrics.core.metrics.CounterWithCallback;
import io.prometheus.metrics.core.metrics.Gauge;
import io.prometheus.metrics.core.metrics.GaugeWithCallback;
import io.prometheus.metrics.expositionformats.PrometheusTextFormatWriter;
import io.prometheus.metrics.model.registry.PrometheusRegistry;
import io.prometheus.metrics.model.snapshots.Labels;
import java.io.IOException;
import java.io.OutputStream;
import java.util.function.DoubleSupplier;

/**
 * The metrics of one server and their Prometheus text (format version 0.0.4). Thread-safe. Counters are named without
 * {@code _total}; the text adds it. Recording never allocates once the series of a metric are resolved: no exemplars, and
 * histograms of our own. A name used twice is refused.
 */
public final class MetricRegistry {
    /** Value of the {@code Content-Type} header. */
    public static final String CONTENT_TYPE = PrometheusTextFormatWriter.CONTENT_TYPE;

    private final PrometheusRegistry registry = new PrometheusRegistry();
    private final PrometheusTextFormatWriter writer = PrometheusTextFormatWriter.create();
    private final Labels labels;

    private MetricRegistry(Labels labels) {
        this.labels = labels;
    }

    /** A registry whose model metrics carry vLLM's labels {@code model_name} and {@code engine="0"}. */
    public static MetricRegistry forModel(String modelName) {
        return new MetricRegistry(Labels.of("engine", "0", "model_name", modelName));
    }

    /** All metrics as UTF-8 text. Values are read one after the other while other threads write them. */
    public void writeText(OutputStream out) throws IOException {
        writer.write(out, registry.scrape(), EscapingScheme.ALLOW_UTF8);
    }

    Counter modelCounter(String name, String help, String... labelNames) {
        return Counter.builder().name(name).help(help).constLabels(labels).labelNames(labelNames).withoutExemplars().register(registry);
    }

    Gauge modelGauge(String name, String help, String... labelNames) {
        return Gauge.builder().name(name).help(help).constLabels(labels).labelNames(labelNames).withoutExemplars().register(registry);
    }

    FixedHistogram modelHistogram(String name, String help, double[] buckets, String... labelNames) {
        return register(new FixedHistogram(name, help, buckets, labels, labelNames));
    }

    Counter counter(String name, String help, String... labelNames) {
        return Counter.builder().name(name).help(help).labelNames(labelNames).withoutExemplars().register(registry);
    }

    Gauge gauge(String name, String help) {
        return Gauge.builder().name(name).help(help).withoutExemplars().register(registry);
    }

    FixedHistogram histogram(String name, String help, double[] buckets, String... labelNames) {
        return register(new FixedHistogram(name, help, buckets, Labels.EMPTY, labelNames));
    }

    private FixedHistogram register(FixedHistogram histogram) {
        registry.register(histogram);
        return histogram;
    }

    /** A gauge that is read when scraped. */
    void gauge(String name, String help, DoubleSupplier value) {
        GaugeWithCallback.builder().name(name).help(help).callback(c -> c.call(value.getAsDouble())).register(registry);
    }

    /** A counter that is read when scraped. */
    void counter(String name, String help, DoubleSupplier value) {
        CounterWithCallback.builder().name(name).help(help).callback(c -> c.call(value.getAsDouble())).register(registry);
    }
}

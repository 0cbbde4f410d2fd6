package io.millrace.telemetry;

import io.prometheus.metrics.core.metrics.Counter;
import io.prometheus.metrics.core.metrics.Gauge;

/**
 * What each API key has in the house and has used. Keys go by their number in the configuration: a key itself is a secret and in no
 * metric. Any thread; not allocation-free, for use when metrics are read.
 */
public final class KeyMetrics {
    private final Gauge inside;
    private final Counter tokens;
    private final Counter refused;

    public KeyMetrics(MetricRegistry registry) {
        inside = registry.modelGauge("millrace_key_requests", "Requests of an API key running and waiting.", "key");
        tokens = registry.modelCounter("millrace_key_tokens", "Prompt tokens of an API key's requests let in, and output tokens of those that ended.", "key");
        refused = registry.modelCounter("millrace_key_requests_refused", "Requests refused for the API key's own limits.", "key");
    }

    /** @param numTokens  and {@code numRefused}: since start, never less than before */
    public synchronized void set(int key, int numInside, long numTokens, long numRefused) {
        String label = String.valueOf(key);
        inside.labelValues(label).set(numInside);
        tokens.labelValues(label).inc(Math.max(0, numTokens - tokens.labelValues(label).get()));
        refused.labelValues(label).inc(Math.max(0, numRefused - refused.labelValues(label).get()));
    }
}

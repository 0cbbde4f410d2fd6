package io.millrace.telemetry;

import io.prometheus.metrics.core.datapoints.CounterDataPoint;
import io.prometheus.metrics.core.datapoints.GaugeDataPoint;
import io.prometheus.metrics.core.metrics.Counter;

/** The HTTP front: connections, answers, streamed bytes. Any thread. */
public final class HttpMetrics {
    private final GaugeDataPoint connections;
    private final GaugeDataPoint streams;
    private final CounterDataPoint sseBytes;
    private final CounterDataPoint slowClients;
    private final Counter requests;
    private final FixedHistogram seconds;

    public HttpMetrics(MetricRegistry registry) {
        connections = registry.gauge("millrace_http_connections", "Open connections.").labelValues();
        streams = registry.gauge("millrace_sse_streams", "Answers being streamed.").labelValues();
        sseBytes = registry.counter("millrace_sse_bytes", "Bytes of event streams written.").labelValues();
        slowClients = registry.counter("millrace_sse_slow_clients", "Connections closed because the client did not read its answer.").labelValues();
        requests = registry.counter("http_requests", "Answers by handler, method and class of status.", "handler", "method", "status");
        seconds = registry.histogram("http_request_duration_seconds", "Time to the end of the answer.", Buckets.HTTP_SECONDS, "handler",
                "method");
    }

    public void connectionOpened() {
        connections.inc();
    }

    public void connectionClosed() {
        connections.dec();
    }

    public void streamOpened() {
        streams.inc();
    }

    public void streamClosed() {
        streams.dec();
    }

    public void recordSseBytes(int bytes) {
        sseBytes.inc(bytes);
    }

    public void recordSlowClient() {
        slowClients.inc();
    }

    /**
     * An answer is complete.
     *
     * @param handler the route's pattern, never the path as it was typed: each makes a time series
     * @param status  HTTP status code, exposed as {@code 2xx}, {@code 4xx}, ...
     */
    public void recordRequest(String handler, String method, int status, long nanos) {
        requests.labelValues(handler, method, statusClass(status)).inc();
        seconds.labelValues(handler, method).observe(nanos * 1e-9);
    }

    private static String statusClass(int status) {
        return switch (status / 100) {
            case 1 -> "1xx";
            case 2 -> "2xx";
            case 3 -> "3xx";
            case 4 -> "4xx";
            default -> "5xx";
        };
    }
}

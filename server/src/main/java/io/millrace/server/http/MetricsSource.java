package io.millrace.server.http;

import java.io.IOException;
import java.io.OutputStream;

/** What {@code /metrics} answers with. Called on connection threads, several at once. */
@FunctionalInterface
public interface MetricsSource {
    /** Writes all metrics in the Prometheus text format, version 0.0.4. */
    void writeText(OutputStream out) throws IOException;

    /** No metrics at all. */
    static MetricsSource none() {
        return out -> { };
    }
}

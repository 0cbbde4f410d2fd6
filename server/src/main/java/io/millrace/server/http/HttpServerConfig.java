package io.millrace.server.http;

import java.time.Duration;
import java.util.List;

/**
 * Settings of the HTTP front end.
 *
 * @param host                      address to bind
 * @param port                      0 = any free port
 * @param servedModelNames          names clients may use; the first is the one reported; empty = the model's own name
 * @param apiKeys                   accepted bearer keys; empty = no authentication
 * @param maxBodyBytes              larger request bodies are refused with 413
 * @param maxConnections            open connections at most
 * @param maxChoices                prompts x n of one request at most
 * @param generationConfigFromModel whether the model's own sampling defaults apply
 * @param version                   of this program
 * @param shutdownTimeout           how long {@link HttpServer#close} lets running requests finish
 * @param pingInterval              an SSE comment is sent to a stream that had nothing to say for so long
 * @param stallLimit                {@code /health} fails when work has made no progress for so long
 * @param idleTimeout               connections without a request for so long are closed
 */
public record HttpServerConfig(String host, int port, List<String> servedModelNames, List<String> apiKeys, long maxBodyBytes,
        int maxConnections, int maxChoices, boolean generationConfigFromModel, String version, Duration shutdownTimeout,
        Duration pingInterval, Duration stallLimit, Duration idleTimeout) {

    public HttpServerConfig {
        servedModelNames = List.copyOf(servedModelNames);
        apiKeys = List.copyOf(apiKeys);
    }

    /** All interfaces, port 8000, no keys, 32 MiB bodies. */
    public static Builder builder() {
        return new Builder();
    }

    public static HttpServerConfig defaults() {
        return builder().build();
    }

    /** Mutable; starts from the defaults. */
    public static final class Builder {
        private String host = "0.0.0.0";
        private int port = 8000;
        private List<String> servedModelNames = List.of();
        private List<String> apiKeys = List.of();
        private long maxBodyBytes = 32L << 20;
        private int maxConnections = 8192;
        private int maxChoices = 1024;
        private boolean generationConfigFromModel = true;
        private String version = "unknown";
        private Duration shutdownTimeout = Duration.ofSeconds(30);
        private Duration pingInterval = Duration.ofSeconds(15);
        private Duration stallLimit = Duration.ofSeconds(60);
        private Duration idleTimeout = Duration.ofMinutes(5);

        private Builder() {}

        public Builder host(String value) {
            host = value;
            return this;
        }

        public Builder port(int value) {
            port = value;
            return this;
        }

        public Builder servedModelNames(List<String> value) {
            servedModelNames = value;
            return this;
        }

        public Builder apiKeys(List<String> value) {
            apiKeys = value;
            return this;
        }

        public Builder maxBodyBytes(long value) {
            maxBodyBytes = value;
            return this;
        }

        public Builder maxConnections(int value) {
            maxConnections = value;
            return this;
        }

        public Builder maxChoices(int value) {
            maxChoices = value;
            return this;
        }

        public Builder generationConfigFromModel(boolean value) {
            generationConfigFromModel = value;
            return this;
        }

        public Builder version(String value) {
            version = value;
            return this;
        }

        public Builder shutdownTimeout(Duration value) {
            shutdownTimeout = value;
            return this;
        }

        public Builder pingInterval(Duration value) {
            pingInterval = value;
            return this;
        }

        public Builder stallLimit(Duration value) {
            stallLimit = value;
            return this;
        }

        public Builder idleTimeout(Duration value) {
            idleTimeout = value;
            return this;
        }

        public HttpServerConfig build() {
            return new HttpServerConfig(host, port, servedModelNames, apiKeys, maxBodyBytes, maxConnections, maxChoices,
                    generationConfigFromModel, version, shutdownTimeout, pingInterval, stallLimit, idleTimeout);
        }
    }
}

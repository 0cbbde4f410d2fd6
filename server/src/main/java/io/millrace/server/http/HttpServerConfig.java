package io.millrace.server.http;

import io.millrace.server.openai.AnswerMemory;
import java.time.Duration;
import java.util.List;
import java.util.OptionalLong;

/**
 * Settings of the HTTP front end.
 *
 * @param host                      address to bind
 * @param port                      0 = any free port
 * @param servedModelNames          names clients may use; the first is the one reported; empty = the model's own name
 * @param apiKeys                   accepted bearer keys; empty = no authentication
 * @param maxBodyBytes              larger request bodies are refused with 413; 0 = what the model's context may need
 * @param maxHeldBodyBytes          of request bodies held at once, beyond which further ones are refused with 503
 * @param answerMemoryBytes         that log-probabilities and echoed prompts of all answers may need together
 * @param maxConnections            open connections at most
 * @param maxChoices                prompts x n of one request at most
 * @param generationConfigFromModel whether the model's own sampling defaults apply
 * @param version                   of this program
 * @param shutdownTimeout           how long {@link HttpServer#close} lets running requests finish
 * @param pingInterval              an SSE comment is sent to a stream that had nothing to say for so long
 * @param readTimeout               a request, head and body, must have come so soon after its first byte
 * @param writeTimeout              a client must take what is written to it within so long
 * @param baseSeed                  what the seeds of requests that bring none are drawn from; empty = they are random
 * @param priorities                whether requests may have a priority
 * @param toolCallParser            how the model writes calls: {@code auto} or a name of {@code ToolFormat}
 * @param reasoningParser           how it marks thoughts: {@code auto}, {@code none} or a name of {@code ReasoningFormat}
 * @param idleTimeout               connections without a request for so long are closed
 */
public record HttpServerConfig(String host, int port, List<String> servedModelNames, List<String> apiKeys, long maxBodyBytes,
        long maxHeldBodyBytes, long answerMemoryBytes, int maxConnections, int maxChoices, boolean generationConfigFromModel, String version, Duration shutdownTimeout,
        Duration pingInterval, Duration readTimeout, Duration writeTimeout, Duration idleTimeout,
        OptionalLong baseSeed, boolean priorities, String toolCallParser, String reasoningParser) {

    public HttpServerConfig {
        servedModelNames = List.copyOf(servedModelNames);
        apiKeys = List.copyOf(apiKeys);
    }

    /** Room for the context as text or as ids in JSON, and for fields beside it. */
    long maxBodyBytesFor(int maxModelLen) {
        return maxBodyBytes > 0 ? maxBodyBytes : Math.min((1L << 20) + 64L * maxModelLen, 32L << 20);
    }

    /** This machine only, port 8000, no keys. */
    public static Builder builder() {
        return new Builder();
    }

    public static HttpServerConfig defaults() {
        return builder().build();
    }

    /** Mutable; starts from the defaults. */
    public static final class Builder {
        private String host = "127.0.0.1";
        private int port = 8000;
        private List<String> servedModelNames = List.of();
        private List<String> apiKeys = List.of();
        private long maxBodyBytes;
        private long maxHeldBodyBytes = Runtime.getRuntime().maxMemory() / 16;
        private long answerMemoryBytes = AnswerMemory.defaultLimitBytes();
        private int maxConnections = 8192;
        private int maxChoices = 1024;
        private boolean generationConfigFromModel = true;
        private String version = "unknown";
        private Duration shutdownTimeout = Duration.ofSeconds(30);
        private Duration pingInterval = Duration.ofSeconds(15);
        private Duration readTimeout = Duration.ofSeconds(60);
        private Duration writeTimeout = Duration.ofSeconds(120);
        private OptionalLong baseSeed = OptionalLong.empty();
        private Duration idleTimeout = Duration.ofMinutes(5);
        private boolean priorities;
        private String toolCallParser = "auto";
        private String reasoningParser = "auto";

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

        public Builder maxHeldBodyBytes(long value) {
            maxHeldBodyBytes = value;
            return this;
        }

        public Builder answerMemoryBytes(long value) {
            answerMemoryBytes = value;
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

        public Builder readTimeout(Duration value) {
            readTimeout = value;
            return this;
        }

        public Builder writeTimeout(Duration value) {
            writeTimeout = value;
            return this;
        }

        public Builder baseSeed(OptionalLong value) {
            baseSeed = value;
            return this;
        }

        public Builder idleTimeout(Duration value) {
            idleTimeout = value;
            return this;
        }

        public Builder priorities(boolean value) {
            priorities = value;
            return this;
        }

        public Builder toolCallParser(String value) {
            toolCallParser = value;
            return this;
        }

        public Builder reasoningParser(String value) {
            reasoningParser = value;
            return this;
        }

        public HttpServerConfig build() {
            return new HttpServerConfig(host, port, servedModelNames, apiKeys, maxBodyBytes, maxHeldBodyBytes, answerMemoryBytes,
                    maxConnections, maxChoices, generationConfigFromModel, version, shutdownTimeout, pingInterval, readTimeout,
                    writeTimeout, idleTimeout, baseSeed, priorities, toolCallParser, reasoningParser);
        }
    }
}

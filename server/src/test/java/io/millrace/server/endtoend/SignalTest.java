package io.millrace.server.endtoend;

import static org.assertj.core.api.Assertions.assertThat;
import static org.assertj.core.api.Assertions.assertThatThrownBy;

import com.fasterxml.jackson.databind.JsonNode;
import java.net.http.HttpResponse;
import java.util.List;
import java.util.concurrent.CompletableFuture;
import java.util.concurrent.ExecutionException;
import java.util.concurrent.TimeUnit;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.Timeout;
import org.junit.jupiter.api.condition.DisabledOnOs;
import org.junit.jupiter.api.condition.OS;

/** Property: SIGTERM to a real server under load cuts no stream: each ends with a final event and [DONE]. The second one cuts them all. */
@DisabledOnOs(OS.WINDOWS)
@Timeout(120)
class SignalTest {
    private static final int NUM_STREAMS = 50;
    private static final int SIGTERM_EXIT = 128 + 15;

    /** The events of a whole stream: [DONE] is there, and before it either a finish reason or an error. */
    private static List<JsonNode> events(CompletableFuture<HttpResponse<String>> stream) throws Exception {
        HttpResponse<String> answer = stream.get(60, TimeUnit.SECONDS);
        String body = answer.body();
        if (answer.statusCode() != 200) {
            // It had nothing to show yet: then the end is a plain HTTP error.
            assertThat(answer.statusCode()).as(body).isEqualTo(503);
            assertThat(answer.headers().firstValue("retry-after")).isPresent();
            return List.of(RealServer.JSON.readTree(body));
        }
        assertThat(body).endsWith("data: [DONE]\n\n");
        return body.substring(0, body.length() - "data: [DONE]\n\n".length()).lines().filter(line -> line.startsWith("data: ")).map(line -> {
            try {
                return RealServer.JSON.readTree(line.substring(6));
            } catch (java.io.IOException e) {
                throw new AssertionError(line, e);
            }
        }).toList();
    }

    private static boolean isWhole(List<JsonNode> events) {
        return events.stream().anyMatch(event -> event.at("/choices/0/finish_reason").asText().equals("length"));
    }

    @Test
    void withEnoughTimeEveryStreamEndsWhole() throws Exception {
        try (ServerProcess server = ServerProcess.start("--max-num-seqs", "32", "--shutdown-timeout", "60")) {
            List<CompletableFuture<HttpResponse<String>>> streams = server.streams(NUM_STREAMS, 400);
            ServerProcess.await("50 inside, 18 of them in the queue", () -> server.numInside() == NUM_STREAMS);
            server.terminate();
            ServerProcess.await("not ready", () -> server.get("/ready").statusCode() == 503);
            assertThat(server.get("/health").statusCode()).isEqualTo(200);
            HttpResponse<String> refused = server.post("/v1/completions", "{\"prompt\":\"Once\"}");
            assertThat(refused.statusCode()).isEqualTo(503);
            assertThat(refused.headers().firstValue("retry-after")).isPresent();
            assertThat(refused.body()).contains("shutting_down");
            for (CompletableFuture<HttpResponse<String>> stream : streams) {
                List<JsonNode> events = events(stream);
                assertThat(isWhole(events)).isTrue();
                assertThat(events.getLast().at("/usage/completion_tokens").intValue()).isEqualTo(400);
            }
            assertThat(server.awaitEnd()).isEqualTo(SIGTERM_EXIT);
            assertThat(server.log()).contains("50 sequences may finish within 60 s", "ended");
        }
    }

    @Test
    void withTooLittleTimeEveryStreamEndsWithAnEvent() throws Exception {
        try (ServerProcess server = ServerProcess.start("--max-num-seqs", "32", "--shutdown-timeout", "0.2")) {
            List<CompletableFuture<HttpResponse<String>>> streams = server.streams(NUM_STREAMS, 900);
            ServerProcess.await("50 inside", () -> server.numInside() == NUM_STREAMS);
            server.terminate();
            int numEnded = 0;
            for (CompletableFuture<HttpResponse<String>> stream : streams) {
                List<JsonNode> events = events(stream);
                if (!isWhole(events)) {
                    assertThat(events.getLast().at("/error/code").asText()).isEqualTo("aborted");
                    numEnded++;
                }
            }
            assertThat(numEnded).as("streams ended before their time").isPositive();
            assertThat(server.awaitEnd()).isEqualTo(SIGTERM_EXIT);
        }
    }

    @Test
    void theSecondSignalEndsAtOnce() throws Exception {
        try (ServerProcess server = ServerProcess.start("--max-num-seqs", "32", "--shutdown-timeout", "600")) {
            List<CompletableFuture<HttpResponse<String>>> streams = server.streams(NUM_STREAMS, 900);
            ServerProcess.await("50 inside", () -> server.numInside() == NUM_STREAMS);
            server.terminate();
            ServerProcess.await("draining", () -> server.get("/ready").statusCode() == 503);
            assertThat(server.process.isAlive()).isTrue();
            long before = System.nanoTime();
            server.terminate();
            assertThat(server.awaitEnd()).isEqualTo(SIGTERM_EXIT);
            assertThat(System.nanoTime() - before).isLessThan(5_000_000_000L);
            assertThatThrownBy(() -> streams.getLast().get(20, TimeUnit.SECONDS)).isInstanceOf(ExecutionException.class);
            assertThat(server.log()).contains("second signal");
        }
    }
}

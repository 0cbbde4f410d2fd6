package io.millrace.server.http;

import static org.assertj.core.api.Assertions.assertThat;

import com.fasterxml.jackson.databind.JsonNode;
import java.net.http.HttpResponse;
import java.time.Duration;
import java.util.ArrayList;
import java.util.List;
import java.util.concurrent.CompletableFuture;
import java.util.concurrent.TimeUnit;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.Timeout;

/** Property: the end of the server is no end of its streams. What the signal's hook does, with twenty of them under way. */
class DrainTest {
    @Test
    @Timeout(60)
    void runningAndWaitingStreamsEndWhole() throws Exception {
        try (TestServer server = TestServer.stepped(config -> config.shutdownTimeout(Duration.ofSeconds(30)), 64)) {
            List<CompletableFuture<HttpResponse<String>>> streams = new ArrayList<>();
            for (int i = 0; i < 20; i++) {
                streams.add(server.client.sendAsync(server.postOf("/v1/completions", "{\"prompt\":\"a\",\"max_tokens\":60,\"stream\":true,"
                        + "\"ignore_eos\":true,\"stream_options\":{\"include_usage\":true}}"), HttpResponse.BodyHandlers.ofString()));
            }
            TestServer.await("twenty inside", () -> server.loop.status().numRunning() + server.loop.status().numWaiting() == 20);
            server.steps.release(3);
            TestServer.await("eight run, twelve wait", () -> server.loop.status().numSteps() >= 3 && server.loop.status().numWaiting() == 12);
            Thread closing = Thread.ofPlatform().start(() -> {
                server.server.close();
                server.loop.shutdown(Duration.ZERO);
            });
            TestServer.await("draining", () -> !server.loop.status().accepting());
            server.steps.release(100_000);
            for (CompletableFuture<HttpResponse<String>> stream : streams) {
                HttpResponse<String> answer = stream.get(30, TimeUnit.SECONDS);
                assertThat(answer.statusCode()).isEqualTo(200);
                // Checks the [DONE] at the end, too.
                List<JsonNode> events = TestServer.events(answer.body());
                assertThat(events).anySatisfy(event -> assertThat(event.at("/choices/0/finish_reason").asText()).isEqualTo("length"));
                assertThat(events.getLast().at("/usage/completion_tokens").intValue()).isEqualTo(60);
            }
            closing.join();
            assertThat(server.loop.status().alive()).isFalse();
            assertThat(server.engine.numLive()).isZero();
        }
    }
}

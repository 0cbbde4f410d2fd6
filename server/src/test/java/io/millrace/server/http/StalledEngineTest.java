package io.millrace.server.http;

import static org.assertj.core.api.Assertions.assertThat;

import com.fasterxml.jackson.databind.JsonNode;
import io.millrace.scheduler.LoopOptions;
import java.net.http.HttpResponse;
import java.time.Duration;
import java.util.concurrent.CompletableFuture;
import java.util.concurrent.Semaphore;
import java.util.concurrent.TimeUnit;
import java.util.logging.Level;
import java.util.logging.Logger;
import org.junit.jupiter.api.AfterAll;
import org.junit.jupiter.api.BeforeAll;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.Timeout;

/** Property: health means progress. An engine that hangs fails {@code /health} with the reason, and its clients get a proper end. */
class StalledEngineTest {
    // Held, or the setting would be collected with the logger: the reports below are meant.
    private static final Logger LOG = Logger.getLogger("io.millrace.scheduler");

    @BeforeAll
    static void silence() {
        LOG.setLevel(Level.OFF);
    }

    @AfterAll
    static void speak() {
        LOG.setLevel(null);
    }

    @Test
    @Timeout(60)
    void healthFailsAndClientsAreTold() throws Exception {
        Semaphore steps = new Semaphore(0);
        try (TestServer server = new TestServer(engine -> engine.hook(plan -> steps.acquireUninterruptibly()), config -> config, 64, steps,
                LoopOptions.defaults().withStepTimeout(Duration.ofMillis(100)))) {
            assertThat(server.get("/health").statusCode()).isEqualTo(200);
            CompletableFuture<HttpResponse<String>> stream = server.client.sendAsync(server.postOf("/v1/completions",
                    "{\"prompt\":\"a\",\"max_tokens\":60,\"stream\":true}"), HttpResponse.BodyHandlers.ofString());
            CompletableFuture<HttpResponse<String>> whole = server.client.sendAsync(server.postOf("/v1/completions",
                    "{\"prompt\":\"a\",\"max_tokens\":60}"), HttpResponse.BodyHandlers.ofString());
            TestServer.await("both run", () -> server.loop.status().numRunning() + server.loop.status().numWaiting() == 2);
            steps.release(3);
            TestServer.await("health fails", () -> server.get("/health").statusCode() == 503);
            JsonNode error = TestServer.json(server.get("/health").body()).get("error");
            assertThat(error.get("code").textValue()).isEqualTo("engine_stalled");
            assertThat(error.get("message").textValue()).contains("no step has finished for", "the limit is");
            assertThat(server.get("/ready").statusCode()).isEqualTo(503);

            String events = stream.get(30, TimeUnit.SECONDS).body();
            assertThat(events).contains("data: {\"error\":{\"message\":", "SCH-019").endsWith("data: [DONE]\n\n");
            assertThat(whole.get(30, TimeUnit.SECONDS).statusCode()).isEqualTo(500);
            HttpResponse<String> refused = server.post("/v1/completions", "{\"prompt\":\"a\"}");
            assertThat(refused.statusCode()).isEqualTo(503);
            assertThat(refused.headers().firstValue("retry-after")).isPresent();

            steps.release(1 << 20);
            TestServer.await("health is good again", () -> server.get("/health").statusCode() == 200 && server.isIdle());
            assertThat(server.get("/ready").statusCode()).isEqualTo(200);
            server.ok("/v1/completions", "{'prompt':'a','max_tokens':4}");
        }
    }
}

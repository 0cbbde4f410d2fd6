package io.millrace.server.http;

import static org.assertj.core.api.Assertions.assertThat;

import com.fasterxml.jackson.databind.JsonNode;
import io.millrace.scheduler.LoopOptions;
import io.millrace.scheduler.QueueConfig;
import io.millrace.scheduler.SchedulingPolicy;
import java.net.http.HttpRequest;
import java.net.http.HttpResponse;
import java.util.ArrayList;
import java.util.List;
import java.util.concurrent.CompletableFuture;
import java.util.concurrent.Semaphore;
import java.util.concurrent.locks.LockSupport;
import java.util.function.UnaryOperator;
import org.junit.jupiter.api.Test;

/** What clients see of deadlines, priorities and the limits of their keys. */
class QueueingTest {
    private static final String SECOND = "Bearer second";

    private static TestServer server(QueueConfig queue, UnaryOperator<HttpServerConfig.Builder> settings) {
        // Two milliseconds a step, so that an answer of 200 tokens takes at least 0.4 s.
        return new TestServer(engine -> engine.hook(plan -> LockSupport.parkNanos(2_000_000)), settings, 64, new Semaphore(0),
                LoopOptions.defaults(), queue);
    }

    private static HttpRequest keyed(TestServer server, String key, String body) {
        return server.request("/v1/completions").header("Content-Type", "application/json").header("Authorization", key)
                .POST(HttpRequest.BodyPublishers.ofString(body.replace('\'', '"'))).build();
    }

    /** Property: past its timeout a request ends with 504 and its code, or with an error event and [DONE] if it has begun to stream; nothing stays behind. */
    @Test
    void deadlinesEndRequestsWithAClearError() {
        try (TestServer server = server(QueueConfig.DEFAULT, c -> c)) {
            HttpResponse<String> late = server.post("/v1/completions", "{\"prompt\":\"a\",\"max_tokens\":200,\"timeout\":0.1}");
            assertThat(late.statusCode()).isEqualTo(504);
            JsonNode error = TestServer.json(late.body()).path("error");
            assertThat(error.path("code").textValue()).isEqualTo("deadline_exceeded");
            assertThat(error.path("param").textValue()).isEqualTo("timeout");
            assertThat(error.path("message").textValue()).contains("SCH-020", "0.100 s");
            List<JsonNode> events = server.stream("/v1/completions", "{'prompt':'a','max_tokens':200,'timeout':0.1,'stream':true}");
            assertThat(events.size()).isGreaterThan(1);
            assertThat(events.getLast().at("/error/code").textValue()).isEqualTo("deadline_exceeded");
            server.ok("/v1/completions", "{'prompt':'a','max_tokens':5,'timeout':15}");
            TestServer.await("all blocks are free", server::isIdle);
            for (String wrong : List.of("0", "-1", "1e9", "\"1\"")) {
                assertThat(server.post("/v1/completions", "{\"prompt\":\"a\",\"timeout\":" + wrong + "}").statusCode()).as(wrong).isEqualTo(400);
            }
        }
    }

    /** Property: a priority is taken where the server serves by priority, and refused with the remedy where it does not. */
    @Test
    void prioritiesAreTakenOnlyWhereTheyMatter() {
        QueueConfig byPriority = QueueConfig.of(SchedulingPolicy.PRIORITY, 1);
        try (TestServer server = server(byPriority, c -> c.priorities(true))) {
            server.ok("/v1/completions", "{'prompt':'a','max_tokens':2,'priority':-3}");
            server.ok("/v1/chat/completions", "{'messages':[{'role':'user','content':'a'}],'max_tokens':2,'priority':7}");
        }
        try (TestServer server = server(QueueConfig.DEFAULT, c -> c)) {
            server.ok("/v1/completions", "{'prompt':'a','max_tokens':2,'priority':0}");
            HttpResponse<String> refused = server.post("/v1/completions", "{\"prompt\":\"a\",\"priority\":1}");
            assertThat(refused.statusCode()).isEqualTo(400);
            assertThat(refused.body()).contains("--scheduling-policy priority");
        }
    }

    /** Property: a key at its limits gets 429 with its own code and Retry-After; the other key is served. */
    @Test
    void limitsOfAKeyConcernThatKey() {
        QueueConfig limits = new QueueConfig(SchedulingPolicy.FAIR, 60, 0, 2, 2, 0);
        try (TestServer server = server(limits, c -> c.apiKeys(List.of("first", "second")))) {
            List<CompletableFuture<HttpResponse<String>>> admitted = new ArrayList<>();
            for (int i = 0; i < 2; i++) {
                admitted.add(server.client.sendAsync(keyed(server, "Bearer first", "{'prompt':'a','max_tokens':200}"), HttpResponse.BodyHandlers.ofString()));
            }
            TestServer.await("both are inside", () -> server.loop.tenants().getFirst().numInside() == 2);
            HttpResponse<String> refused = server.send(keyed(server, "Bearer first", "{'prompt':'a'}"));
            assertThat(refused.statusCode()).isEqualTo(429);
            assertThat(TestServer.json(refused.body()).at("/error/code").textValue()).isEqualTo("key_concurrency_exceeded");
            assertThat(Integer.parseInt(refused.headers().firstValue("retry-after").orElseThrow())).isPositive();
            assertThat(server.send(keyed(server, SECOND, "{'prompt':'a','max_tokens':3}")).statusCode()).isEqualTo(200);
            admitted.forEach(answer -> assertThat(answer.join().statusCode()).isEqualTo(200));
            assertThat(server.send(keyed(server, "Bearer first", "{'prompt':'a','max_tokens':3}")).statusCode()).isEqualTo(200);
            assertThat(server.loop.tenants().getFirst().numRefused()).isEqualTo(1);
        }
        QueueConfig rate = new QueueConfig(SchedulingPolicy.FAIR, 60, 0, 2, 0, 60);
        try (TestServer server = server(rate, c -> c.apiKeys(List.of("first", "second")))) {
            assertThat(server.send(keyed(server, "Bearer first", "{'prompt':'a','max_tokens':150}")).statusCode()).isEqualTo(200);
            HttpResponse<String> refused = server.send(keyed(server, "Bearer first", "{'prompt':'a'}"));
            assertThat(refused.statusCode()).isEqualTo(429);
            assertThat(TestServer.json(refused.body()).at("/error/code").textValue()).isEqualTo("key_token_rate_exceeded");
            // 151 tokens of 60 a minute: 91 too many at one a second.
            assertThat(Integer.parseInt(refused.headers().firstValue("retry-after").orElseThrow())).isBetween(80, 92);
            assertThat(server.send(keyed(server, SECOND, "{'prompt':'a','max_tokens':3}")).statusCode()).isEqualTo(200);
        }
    }
}

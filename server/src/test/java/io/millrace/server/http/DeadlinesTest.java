package io.millrace.server.http;

import static org.assertj.core.api.Assertions.assertThat;

import com.fasterxml.jackson.databind.JsonNode;
import java.time.Duration;
import java.util.OptionalLong;
import java.util.concurrent.locks.LockSupport;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.ValueSource;

/** Guards how long a client may take to send and to read, and that patience with a long answer is not among it. */
class DeadlinesTest {
    private static final String POST = "POST /v1/completions HTTP/1.1\r\nHost: x\r\n";

    @ParameterizedTest
    @ValueSource(strings = {"G", "GET /health HTTP/1.1\r\nHo", POST + "Content-Length: 100\r\n\r\n{", POST + "Transfer-Encoding: chunked\r\n\r\n5\r\n{",
        "POST /nope HTTP/1.1\r\nHost: x\r\nContent-Length: 100\r\n\r\n{", "GET /health HTTP/1.1\r\nHost: x\r\n\r\nGET /hea"})
    void requestsThatDoNotBecomeCompleteAreClosed(String part) {
        try (TestServer server = new TestServer(engine -> { }, config -> config.readTimeout(Duration.ofMillis(100)));
                RawClient client = new RawClient(server).send(part)) {
            client.awaitEnd(); // the client's own limit is 20 s
            assertThat(server.get("/health").statusCode()).isEqualTo(200);
        }
    }

    /** Property: a request that is answered before its body was read leaves nothing behind when its client goes, long before its deadline. */
    @ParameterizedTest
    @ValueSource(strings = {"POST /nope HTTP/1.1\r\nHost: x\r\nContent-Length: 100\r\n\r\n{", "POST /health HTTP/1.1\r\nHost: x\r\nContent-Length: 2\r\n\r\n{}",
        POST + "Content-Type: text/plain\r\nContent-Length: 2\r\n\r\n{}", POST + "Content-Type: application/json\r\nContent-Length: 100\r\n\r\n{"})
    void clientsThatGoLeaveNothingBehind(String request) {
        try (TestServer server = new TestServer(engine -> { }, config -> config.readTimeout(Duration.ofMinutes(5)))) {
            for (int i = 0; i < 5; i++) {
                try (RawClient client = new RawClient(server)) {
                    client.send(request);
                    TestServer.await("it is watched", () -> server.server.numWatched() > 0);
                }
            }
            TestServer.await("nobody is watched", () -> server.server.numWatched() == 0);
        }
    }

    /** Property: whoever comes after a client that left is held to the same deadlines. (The watch once died of the address of a closed socket.) */
    @Test
    void theWatchOutlivesWhoLeaves() {
        try (TestServer server = new TestServer(engine -> { }, config -> config.readTimeout(Duration.ofMillis(200)))) {
            for (int i = 0; i < 20; i++) {
                new RawClient(server).send("POST /nope HTTP/1.1\r\nHost: x\r\nContent-Length: 100\r\n\r\n{").close();
            }
            LockSupport.parkNanos(600_000_000); // beyond the deadlines of those who left
            try (RawClient late = new RawClient(server).send("GET /hea")) {
                late.awaitEnd();
            }
        }
    }

    @Test
    void connectionsBetweenRequestsMayWait() {
        try (TestServer server = new TestServer(engine -> { }, config -> config.readTimeout(Duration.ofMillis(60)));
                RawClient client = new RawClient(server)) {
            for (int i = 0; i < 3; i++) {
                LockSupport.parkNanos(150_000_000);
                client.post("/v1/completions", "{'prompt':'a','max_tokens':2}");
                assertThat(client.readUntil("cached_tokens\":0}}}")).startsWith("HTTP/1.1 200");
            }
        }
    }

    @Test
    void clientsThatStopReadingAreClosedAndTheirRequestsEnd() {
        try (TestServer server = new TestServer(engine -> engine.maxModelLen(16_000).blocks(4096, 16),
                config -> config.writeTimeout(Duration.ofMillis(150)))) {
            RawClient client = new RawClient(server, 4096).post("/v1/completions",
                    "{'prompt':'a','max_tokens':15000,'logprobs':20,'stream':true}");
            client.readUntil("data: ");
            TestServer.await("the connection is given up", () -> server.metric("millrace_sse_slow_clients_total").equals("1.0"));
            TestServer.await("its stream has ended", () -> server.metric("millrace_sse_streams").equals("0.0"));
            TestServer.await("its request is gone", server::isIdle);
            client.close();
        }
    }

    /** Longer than the idle timeout and both deadlines, without a byte in between. */
    @ParameterizedTest
    @ValueSource(booleans = {true, false})
    void longAnswersAreNotCut(boolean stream) {
        try (TestServer server = TestServer.stepped(config -> config.idleTimeout(Duration.ofMillis(80)).readTimeout(Duration.ofMillis(80))
                .writeTimeout(Duration.ofMillis(80)), 64);
                RawClient client = new RawClient(server).post("/v1/completions", "{'prompt':'a','max_tokens':4,'stream':" + stream + "}")) {
            for (int i = 0; i < 4; i++) {
                LockSupport.parkNanos(120_000_000);
                server.steps.release();
            }
            server.steps.release(100);
            assertThat(client.readUntil(stream ? "data: [DONE]\n\n" : "cached_tokens\":0}}}")).startsWith("HTTP/1.1 200");
        }
    }

    @Test
    void answersAreCountedByRouteAndStatus() {
        try (TestServer server = new TestServer()) {
            server.ok("/v1/completions", "{'prompt':'a'}");
            server.stream("/v1/completions", "{'prompt':'a','stream':true}");
            server.post("/v1/completions", "{}");
            server.get("/no/such/path");
            TestServer.await("recorded", () -> server.metric("http_requests_total{handler=\"none\",method=\"GET\",status=\"4xx\"}").equals("1.0"));
            assertThat(server.metric("http_requests_total{handler=\"/v1/completions\",method=\"POST\",status=\"2xx\"}")).isEqualTo("2.0");
            assertThat(server.metric("http_requests_total{handler=\"/v1/completions\",method=\"POST\",status=\"4xx\"}")).isEqualTo("1.0");
            assertThat(Double.parseDouble(server.metric("millrace_sse_bytes_total"))).isPositive();
            assertThat(Double.parseDouble(server.metric("millrace_http_connections"))).isPositive();
        }
    }

    @Test
    void aServersBaseSeedMakesUnseededRequestsRepeatable() {
        String[] answers = new String[2];
        for (int i = 0; i < 2; i++) {
            try (TestServer server = new TestServer(engine -> { }, config -> config.baseSeed(OptionalLong.of(11)))) {
                JsonNode answer = server.ok("/v1/completions", "{'prompt':'a','n':3,'max_tokens':20}");
                answers[i] = answer.get("choices").toString();
            }
        }
        assertThat(answers[0]).isEqualTo(answers[1]);
    }
}

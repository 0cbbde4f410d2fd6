package io.millrace.server.http;

import static org.assertj.core.api.Assertions.assertThat;

import com.fasterxml.jackson.databind.JsonNode;
import io.millrace.server.openai.ByteTokenizer;
import java.net.http.HttpRequest;
import java.net.http.HttpResponse;
import java.util.List;
import org.junit.jupiter.api.AfterAll;
import org.junit.jupiter.api.BeforeAll;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.CsvSource;
import org.junit.jupiter.params.provider.ValueSource;

/** Guards the bytes: event framing, headers, connections that close and that stay, keys, and the answers to requests that fit no route. */
class WireTest {
    private static TestServer server;
    private static TestServer locked;

    @BeforeAll
    static void start() {
        server = new TestServer(engine -> engine.nextToken((s, hash) -> ByteTokenizer.id('"')), config -> config.maxBodyBytes(4096)
                .servedModelNames(List.of("org/tiny", "alias")));
        locked = new TestServer(engine -> { }, config -> config.apiKeys(List.of("one", "two")));
    }

    @AfterAll
    static void stop() {
        server.close();
        locked.close();
    }

    private static String dechunked(String response) {
        StringBuilder body = new StringBuilder();
        int at = response.indexOf("\r\n\r\n") + 4;
        while (true) {
            int line = response.indexOf("\r\n", at);
            int size = Integer.parseInt(response.substring(at, line), 16);
            if (size == 0) {
                return body.toString();
            }
            body.append(response, line + 2, line + 2 + size);
            at = line + 2 + size + 2;
        }
    }

    @Test
    void eventsAreFramedExactly() {
        try (RawClient client = new RawClient(server)) {
            String response = client.post("/v1/completions", "{'prompt':'a','max_tokens':2,'stream':true}").readUntil("0\r\n\r\n");
            assertThat(response).startsWith("HTTP/1.1 200 OK\r\n").containsIgnoringCase("content-type: text/event-stream")
                    .containsIgnoringCase("cache-control: no-cache");
            String body = dechunked(response);
            String id = body.substring(body.indexOf("cmpl-"), body.indexOf("\",\"object\""));
            String created = body.substring(body.indexOf("\"created\":"), body.indexOf(",\"model\""));
            String head = "data: {\"id\":\"" + id + "\",\"object\":\"text_completion\"," + created
                    + ",\"model\":\"org/tiny\",\"choices\":[{\"index\":0,\"text\":";
            assertThat(body).isEqualTo(
                    head + "\"\\\"\",\"logprobs\":null,\"finish_reason\":null}]}\n\n"
                    + head + "\"\\\"\",\"logprobs\":null,\"finish_reason\":null}]}\n\n"
                    + head + "\"\",\"logprobs\":null,\"finish_reason\":\"length\",\"stop_reason\":null}]}\n\n"
                    + "data: [DONE]\n\n");
        }
    }

    @Test
    void connectionStaysForTheNextRequest() {
        try (RawClient client = new RawClient(server)) {
            for (int i = 0; i < 3; i++) {
                client.post("/v1/completions", "{'prompt':'a','max_tokens':2}");
                assertThat(client.readUntil("cached_tokens\":0}}}")).startsWith("HTTP/1.1 200");
                client.post("/v1/completions", "{'prompt':'a','max_tokens':2,'stream':true}");
                assertThat(client.readUntil("0\r\n\r\n")).startsWith("HTTP/1.1 200");
                client.post("/v1/completions", "{'prompt':5}");
                assertThat(client.readUntil("}}")).startsWith("HTTP/1.1 400");
            }
        }
    }

    /** The second request arrives while the first is computed, and is answered after it. */
    @Test
    void requestsMayBePipelined() {
        try (RawClient client = new RawClient(server)) {
            client.post("/v1/completions", "{'prompt':'a','max_tokens':200}").post("/v1/completions", "{'prompt':'b','max_tokens':200}");
            assertThat(client.readUntil("cached_tokens\":0}}}")).startsWith("HTTP/1.1 200");
            assertThat(client.readUntil("cached_tokens\":0}}}")).startsWith("HTTP/1.1 200");
        }
    }

    @ParameterizedTest
    @ValueSource(strings = {"close", "Close"})
    void connectionIsClosedIfTheClientAsksForIt(String value) {
        for (String stream : List.of("", ",'stream':true")) {
            try (RawClient client = new RawClient(server)) {
                String response = client.post("/v1/completions", "{'prompt':'a','max_tokens':2" + stream + "}", "Connection: " + value).readToEnd();
                assertThat(response).startsWith("HTTP/1.1 200");
                assertThat(response).endsWith(stream.isEmpty() ? "}}}" : "data: [DONE]\n\n\r\n0\r\n\r\n");
            }
        }
    }

    @Test
    void olderHttpIsRefusedInWords() {
        try (RawClient client = new RawClient(server)) {
            assertThat(client.send("GET /health HTTP/1.0\r\n\r\n").readToEnd()).startsWith("HTTP/1.1 505").contains("\"error\"");
        }
    }

    @Test
    void brokenHttpGetsAnErrorBody() {
        try (RawClient client = new RawClient(server)) {
            assertThat(client.send("GET /hea lth HTTP/1.1\r\nHost: x\r\n\r\n").readToEnd()).startsWith("HTTP/1.1 400").contains("\"error\"");
        }
    }

    @ParameterizedTest
    @CsvSource({"GET,/nope,404", "POST,/v1/nope,404", "GET,/v1/chat/completions,405", "POST,/v1/models,405", "DELETE,/health,405",
        "GET,/v1/models/none,404", "GET,/v1/models/org%2Ftiny,200", "GET,/v1/models/org/tiny,200", "GET,/v1/models/alias,200",
        "GET,/v1/models/,200", "HEAD,/health,200", "GET,/,200", "GET,/version,200", "GET,/metrics,200", "GET,/ready,200"})
    void routes(String method, String path, int status) {
        HttpResponse<String> response = server.send(server.request(path).method(method, HttpRequest.BodyPublishers.noBody()).build());
        assertThat(response.statusCode()).as(response.body()).isEqualTo(status);
        if (status >= 400) {
            JsonNode error = TestServer.json(response.body()).get("error");
            assertThat(error.get("message").textValue()).isNotEmpty();
            assertThat(error.has("param") && error.has("code") && error.has("type")).isTrue();
        }
        if (status == 405) {
            assertThat(response.headers().firstValue("allow")).isPresent();
        }
    }

    @Test
    void modelsAreListedUnderAllTheirNames() {
        JsonNode list = TestServer.json(server.get("/v1/models").body());
        assertThat(list.get("object").textValue()).isEqualTo("list");
        assertThat(list.at("/data/0/id").textValue()).isEqualTo("org/tiny");
        assertThat(list.at("/data/1/id").textValue()).isEqualTo("alias");
        assertThat(list.at("/data/0/max_model_len").intValue()).isEqualTo(TestServer.MAX_MODEL_LEN);
        assertThat(server.ok("/v1/completions", "{'model':'alias','prompt':'a'}").get("model").textValue()).isEqualTo("alias");
        HttpResponse<String> unknown = server.post("/v1/completions", "{\"model\":\"x\",\"prompt\":\"a\"}");
        assertThat(unknown.statusCode()).isEqualTo(404);
        assertThat(unknown.body()).contains("model_not_found");
    }

    @Test
    void bodiesOverTheLimitAre413WithOrWithoutALength() {
        String body = "{\"prompt\":\"" + "x".repeat(5000) + "\"}";
        for (HttpRequest.BodyPublisher publisher : List.of(HttpRequest.BodyPublishers.ofString(body),
                HttpRequest.BodyPublishers.fromPublisher(HttpRequest.BodyPublishers.ofString(body)))) {
            HttpResponse<String> response = server.send(server.request("/v1/completions").header("Content-Type", "application/json")
                    .POST(publisher).build());
            assertThat(response.statusCode()).isEqualTo(413);
            assertThat(response.body()).contains("4096", "request_too_large");
        }
    }

    /** A client that goes away while it sends is no fault of the server: no error in the log. */
    @ParameterizedTest
    @ValueSource(booleans = {true, false})
    void clientThatDropsMidBodyIsNoError(boolean reset) {
        List<String> errors = new java.util.concurrent.CopyOnWriteArrayList<>();
        java.util.logging.Logger logger = java.util.logging.Logger.getLogger(Routes.class.getName());
        java.util.logging.Handler handler = new java.util.logging.Handler() {
            @Override
            public void publish(java.util.logging.LogRecord line) {
                errors.add(line.getMessage());
            }

            @Override
            public void flush() {}

            @Override
            public void close() {}
        };
        logger.addHandler(handler);
        try (TestServer own = new TestServer()) {
            for (String framing : List.of("Content-Length: 1000\r\n\r\n{", "Transfer-Encoding: chunked\r\n\r\n5\r\n{")) {
                RawClient client = new RawClient(own).send("POST /v1/completions HTTP/1.1\r\nHost: x\r\n" + framing);
                own.get("/health");
                client.vanish(reset);
            }
            assertThat(own.get("/health").statusCode()).isEqualTo(200);
        } finally {
            logger.removeHandler(handler);
        }
        assertThat(errors).isEmpty();
    }

    @Test
    void chunkedBodiesAreTaken() {
        HttpResponse<String> response = server.send(server.request("/v1/completions").header("Content-Type", "application/json; charset=utf-8")
                .POST(HttpRequest.BodyPublishers.fromPublisher(HttpRequest.BodyPublishers.ofString("{\"prompt\":\"a\"}"))).build());
        assertThat(response.statusCode()).isEqualTo(200);
    }

    @Test
    void otherContentTypesAre415() {
        HttpResponse<String> response = server.send(server.request("/v1/completions").header("Content-Type", "text/plain")
                .POST(HttpRequest.BodyPublishers.ofString("{\"prompt\":\"a\"}")).build());
        assertThat(response.statusCode()).isEqualTo(415);
        assertThat(response.body()).contains("application/json");
    }

    @Test
    void requestIdIsEchoedUnlessItCouldDoHarm() {
        for (String path : List.of("/health", "/nope")) {
            HttpResponse<String> response = server.send(server.request(path).header("X-Request-Id", "abc-1").GET().build());
            assertThat(response.headers().firstValue("x-request-id")).hasValue("abc-1");
        }
        HttpResponse<String> tooLong = server.send(server.request("/health").header("X-Request-Id", "a".repeat(129)).GET().build());
        assertThat(tooLong.headers().firstValue("x-request-id")).isEmpty();
    }

    @ParameterizedTest
    @ValueSource(strings = {"/v1/models", "/v1/models/tiny", "/metrics", "/version", "/", "/nope", "/v1/completions", "/tokenize"})
    void everyRouteButTheProbesNeedsAKey(String path) {
        HttpResponse<String> none = locked.get(path);
        assertThat(none.statusCode()).isEqualTo(401);
        assertThat(none.headers().firstValue("www-authenticate")).hasValue("Bearer");
        JsonNode error = TestServer.json(none.body()).get("error");
        assertThat(error.get("type").textValue()).isEqualTo("authentication_error");
        assertThat(error.get("code").textValue()).isEqualTo("invalid_api_key");
        for (String header : List.of("Bearer wrong", "Bearer ", "one", "Basic one", "Bearer One", "Bearer one two")) {
            assertThat(locked.send(locked.request(path).header("Authorization", header).GET().build()).statusCode()).isEqualTo(401);
        }
    }

    @Test
    void anyOfTheKeysOpens() {
        for (String header : List.of("Bearer one", "bearer two")) {
            assertThat(locked.send(locked.request("/v1/models").header("Authorization", header).GET().build()).statusCode()).isEqualTo(200);
        }
        assertThat(locked.get("/health").statusCode()).isEqualTo(200);
        assertThat(locked.get("/ready").statusCode()).isEqualTo(200);
    }
}

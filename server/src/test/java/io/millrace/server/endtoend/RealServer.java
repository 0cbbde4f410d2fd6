package io.millrace.server.endtoend;

import com.fasterxml.jackson.databind.JsonNode;
import com.fasterxml.jackson.databind.ObjectMapper;
import com.fasterxml.jackson.databind.node.ObjectNode;
import io.millrace.scheduler.SchedulerListener;
import io.millrace.server.bench.OpenAiClient;
import io.millrace.server.config.ConfigReader;
import io.millrace.server.config.ServerConfig;
import io.millrace.server.http.HttpServer;
import io.millrace.server.http.HttpServerConfig;
import io.millrace.server.serving.Generation;
import java.io.IOException;
import java.net.URI;
import java.nio.file.Files;
import java.nio.file.Path;
import java.time.Duration;
import java.util.ArrayList;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;
import org.junit.jupiter.api.Assumptions;

/** The program as {@code serve} wires it, with a real model, on a free port of this machine. */
final class RealServer implements AutoCloseable {
    static final ObjectMapper JSON = new ObjectMapper();

    final Generation generation;
    final HttpServer http;
    final OpenAiClient client;

    /** @param flags pairs of a setting's key and its value */
    RealServer(Path model, String... flags) {
        Map<String, List<String>> given = new LinkedHashMap<>(Map.of("model", List.of(model.toString())));
        for (int i = 0; i < flags.length; i += 2) {
            given.put(flags[i], List.of(flags[i + 1]));
        }
        ServerConfig config = ConfigReader.read(given, Map.of(), null);
        generation = Generation.open(config, loaded -> SchedulerListener.NONE);
        http = HttpServer.start(HttpServerConfig.builder().host("127.0.0.1").port(0).shutdownTimeout(Duration.ofSeconds(5)).build(),
                generation.model(), generation.service(), out -> { });
        client = new OpenAiClient(URI.create("http://127.0.0.1:" + http.port()), null, Duration.ofSeconds(120));
    }

    static Path data(String relative) {
        Path path = Path.of(System.getProperty("millrace.data", "data")).resolve(relative);
        Assumptions.assumeTrue(Files.exists(path), () -> "no test data at " + path + "; set -Dmillrace.data");
        return path;
    }

    static JsonNode json(String relative) throws IOException {
        return JSON.readTree(data(relative).toFile());
    }

    static List<JsonNode> jsonLines(String relative) throws IOException {
        List<JsonNode> lines = new ArrayList<>();
        for (String line : Files.readAllLines(data(relative))) {
            lines.add(JSON.readTree(line));
        }
        return lines;
    }

    ObjectNode greedy(JsonNode prompt, int maxTokens) {
        ObjectNode body = OpenAiClient.object().put("model", generation.model().name()).put("temperature", 0).put("max_tokens", maxTokens);
        body.set("prompt", prompt);
        return body;
    }

    /** The whole answer, not streamed. */
    JsonNode complete(ObjectNode body) {
        try {
            return client.post("/v1/completions", body);
        } catch (IOException e) {
            throw new AssertionError(e);
        }
    }

    /** The text of a streamed answer. */
    String stream(ObjectNode body) {
        OpenAiClient.Streamed answer = client.stream("/v1/completions", OpenAiClient.bytes(body.deepCopy().put("stream", true)));
        if (answer.error() != null) {
            throw new AssertionError(answer.error());
        }
        return answer.text();
    }

    @Override
    public void close() {
        client.close();
        http.close();
        generation.close();
    }
}

package io.millrace.server.http;

import static org.assertj.core.api.Assertions.assertThat;

import com.fasterxml.jackson.databind.JsonNode;
import io.millrace.engine.EngineConfig;
import io.millrace.engine.LoadedModel;
import io.millrace.engine.ModelLoader;
import io.millrace.scheduler.EngineLoop;
import io.millrace.scheduler.SchedulerConfig;
import io.millrace.scheduler.SchedulerListener;
import java.net.URI;
import java.net.http.HttpClient;
import java.net.http.HttpRequest;
import java.net.http.HttpResponse;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.List;
import java.util.concurrent.CompletableFuture;
import org.junit.jupiter.api.AfterAll;
import org.junit.jupiter.api.Assumptions;
import org.junit.jupiter.api.BeforeAll;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.ValueSource;

/** Guards the whole way from socket to kernels and back: a real model tells over HTTP, to the last character, what its author published. */
class RealModelTest {
    private static JsonNode known;
    private static LoadedModel model;
    private static EngineLoop loop;
    private static HttpServer server;
    private static HttpClient client;

    @BeforeAll
    static void start() throws Exception {
        Path folder = Path.of(System.getProperty("millrace.data", "data")).resolve("models/stories260K");
        Assumptions.assumeTrue(Files.exists(folder), () -> "no test data at " + folder + "; set -Dmillrace.data");
        known = TestServer.MAPPER.readTree(folder.resolve("expected/known_texts.json").toFile());
        model = ModelLoader.load(folder.resolve("hf-fp32"), EngineConfig.defaults().withThreads(1).withKvCache("auto", 640));
        loop = EngineLoop.start(model.engine(), SchedulerConfig.defaults(model.engine().limits()), SchedulerListener.NONE);
        server = HttpServer.start(HttpServerConfig.builder().host("127.0.0.1").port(0).build(), model, loop, MetricsSource.none());
        client = HttpClient.newBuilder().version(HttpClient.Version.HTTP_1_1).build();
    }

    @AfterAll
    static void stop() {
        if (server != null) {
            server.close();
            loop.close();
            model.close();
            client.close();
        }
    }

    private static CompletableFuture<String> post(String path, String body) {
        HttpRequest request = HttpRequest.newBuilder(URI.create("http://127.0.0.1:" + server.port() + path))
                .header("Content-Type", "application/json").POST(HttpRequest.BodyPublishers.ofString(body.replace('\'', '"'))).build();
        return client.sendAsync(request, HttpResponse.BodyHandlers.ofString()).thenApply(response -> {
            assertThat(response.statusCode()).as(response.body()).isEqualTo(200);
            return response.body();
        });
    }

    /** Half of the requests stream; all run at once. */
    @ParameterizedTest
    @ValueSource(ints = {1, 4, 16})
    void publishedTextToTheLastCharacter(int numRequests) {
        List<CompletableFuture<String>> answers = new ArrayList<>();
        for (int i = 0; i < numRequests; i++) {
            answers.add(post("/v1/completions", "{'prompt':'','max_tokens':500,'temperature':0,'stream':" + (i % 2 == 1) + "}"));
        }
        String full = known.get("greedy_full_text").textValue();
        for (int i = 0; i < numRequests; i++) {
            String body = answers.get(i).join();
            List<JsonNode> parts = i % 2 == 1 ? TestServer.events(body) : List.of(TestServer.json(body));
            StringBuilder text = new StringBuilder();
            parts.forEach(part -> text.append(part.at("/choices/0/text").textValue()));
            assertThat(text).hasToString(full);
            // The stories end on <s>, an end of sequence only by generation_config.json.
            assertThat(parts.getLast().at("/choices/0/finish_reason").textValue()).isEqualTo("stop");
        }
    }

    @Test
    void promptScoresAreThoseOfGeneratingTheSameTokens() {
        JsonNode generated = TestServer.json(post("/v1/completions",
                "{'prompt':'Once upon a time','max_tokens':20,'temperature':0,'logprobs':2}").join());
        String text = "Once upon a time" + generated.at("/choices/0/text").textValue();
        JsonNode scored = TestServer.json(post("/v1/completions",
                "{'prompt':" + TestServer.MAPPER.valueToTree(text).toString() + ",'max_tokens':0,'echo':true,'logprobs':2}").join());
        JsonNode outputScores = generated.at("/choices/0/logprobs/token_logprobs");
        JsonNode promptScores = scored.at("/choices/0/logprobs/token_logprobs");
        int first = generated.at("/usage/prompt_tokens").intValue();
        assertThat(promptScores).hasSize(first + outputScores.size());
        assertThat(promptScores.get(0).isNull()).isTrue();
        for (int i = 0; i < outputScores.size(); i++) {
            assertThat(promptScores.get(first + i).floatValue()).isCloseTo(outputScores.get(i).floatValue(),
                    org.assertj.core.data.Offset.offset(1e-3f));
        }
        assertThat(scored.at("/choices/0/text").textValue()).isEqualTo(text);
    }
}

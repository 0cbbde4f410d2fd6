package io.millrace.server.http;

import com.fasterxml.jackson.databind.JsonNode;
import com.fasterxml.jackson.databind.ObjectMapper;
import io.millrace.engine.FakeEngine;
import io.millrace.engine.LoadedModel;
import io.millrace.engine.text.ChatTemplate;
import io.millrace.engine.text.ChatTemplateException;
import io.millrace.scheduler.EngineLoop;
import io.millrace.scheduler.LoopOptions;
import io.millrace.scheduler.QueueConfig;
import io.millrace.scheduler.SchedulerConfig;
import io.millrace.scheduler.SchedulerListener;
import io.millrace.server.openai.ByteTokenizer;
import io.millrace.telemetry.HttpMetrics;
import io.millrace.telemetry.MetricRegistry;
import java.io.IOException;
import java.io.UncheckedIOException;
import java.net.URI;
import java.net.http.HttpClient;
import java.net.http.HttpRequest;
import java.net.http.HttpResponse;
import java.nio.charset.StandardCharsets;
import java.time.Duration;
import java.util.ArrayList;
import java.util.List;
import java.util.Map;
import java.util.Optional;
import java.util.concurrent.Semaphore;
import java.util.concurrent.TimeUnit;
import java.util.function.BooleanSupplier;
import java.util.function.Consumer;
import java.util.function.UnaryOperator;

/** The whole front end over the real scheduler and an engine double, on a free local port. Tokens are lower-case letters. */
final class TestServer implements AutoCloseable {
    static final ObjectMapper MAPPER = new ObjectMapper();
    static final int MAX_MODEL_LEN = 256;

    final MetricRegistry registry = MetricRegistry.forModel("tiny");

    /** Steps a {@link #stepped} engine may do. */
    final Semaphore steps;
    final EngineLoop loop;
    final HttpServer server;
    final FakeEngine engine;
    final HttpClient client = HttpClient.newBuilder().version(HttpClient.Version.HTTP_1_1).connectTimeout(Duration.ofSeconds(10)).build();

    TestServer() {
        this(engine -> { }, config -> config);
    }

    TestServer(Consumer<FakeEngine.Builder> engineSettings, UnaryOperator<HttpServerConfig.Builder> serverSettings) {
        this(engineSettings, serverSettings, 64, new Semaphore(0));
    }

    /** One whose engine does a step per permit of {@link #steps}. */
    static TestServer stepped(UnaryOperator<HttpServerConfig.Builder> serverSettings, int maxQueued) {
        Semaphore steps = new Semaphore(0);
        return new TestServer(engine -> engine.hook(plan -> steps.acquireUninterruptibly()), serverSettings, maxQueued, steps);
    }

    TestServer(Consumer<FakeEngine.Builder> engineSettings, UnaryOperator<HttpServerConfig.Builder> serverSettings, int maxQueued,
            Semaphore steps) {
        this(engineSettings, serverSettings, maxQueued, steps, LoopOptions.defaults());
    }

    TestServer(Consumer<FakeEngine.Builder> engineSettings, UnaryOperator<HttpServerConfig.Builder> serverSettings, int maxQueued,
            Semaphore steps, LoopOptions options) {
        this(engineSettings, serverSettings, maxQueued, steps, options, QueueConfig.DEFAULT);
    }

    TestServer(Consumer<FakeEngine.Builder> engineSettings, UnaryOperator<HttpServerConfig.Builder> serverSettings, int maxQueued,
            Semaphore steps, LoopOptions options, QueueConfig queue) {
        this.steps = steps;
        FakeEngine.Builder builder = FakeEngine.builder().vocabSize(ByteTokenizer.VOCAB).maxModelLen(MAX_MODEL_LEN).blocks(512, 16)
                .nextToken((sequence, hash) -> ByteTokenizer.id((char) ('a' + Math.floorMod(hash, 26L))));
        engineSettings.accept(builder);
        engine = builder.build();
        LoadedModel model = new LoadedModel("tiny", engine, new ByteTokenizer(), Optional.of(template()),
                LoadedModel.GenerationDefaults.none(), List.of(), List.of());
        loop = EngineLoop.start(engine, new SchedulerConfig(8, 256, 256, maxQueued).with(queue), SchedulerListener.NONE, options);
        server = HttpServer.start(serverSettings.apply(HttpServerConfig.builder().host("127.0.0.1").port(0).version("1.2.3")
                .shutdownTimeout(Duration.ofMillis(200))).build(), model, loop, registry::writeText, new HttpMetrics(registry));
    }

    private static ChatTemplate template() {
        return (messages, tools, open, extra) -> {
            StringBuilder text = new StringBuilder();
            for (var message : messages) {
                if (message.get("role").equals("function")) {
                    throw new ChatTemplateException("unknown role function");
                }
                for (Object call : message.get("tool_calls") instanceof List<?> calls ? calls : List.of()) {
                    if (call instanceof Map<?, ?> map && map.get("function") instanceof Map<?, ?> function && !(function.get("arguments") instanceof String)) {
                        throw new ChatTemplateException("arguments are joined to a text");
                    }
                }
                if (message.get("content") == null) {
                    throw new ChatTemplateException("contents are joined to a text");
                }
                text.append(message.get("role")).append(": ").append(message.get("content")).append('\n');
            }
            return text.append(open ? "assistant:" : "").toString();
        };
    }

    URI uri(String path) {
        return URI.create("http://127.0.0.1:" + server.port() + path);
    }

    HttpRequest.Builder request(String path) {
        return HttpRequest.newBuilder(uri(path)).timeout(Duration.ofSeconds(20));
    }

    HttpRequest postOf(String path, String body) {
        return request(path).header("Content-Type", "application/json").POST(HttpRequest.BodyPublishers.ofString(body)).build();
    }

    HttpResponse<String> send(HttpRequest request) {
        try {
            return client.send(request, HttpResponse.BodyHandlers.ofString());
        } catch (IOException e) {
            throw new UncheckedIOException(e);
        } catch (InterruptedException e) {
            throw new IllegalStateException(e);
        }
    }

    HttpResponse<String> get(String path) {
        return send(request(path).GET().build());
    }

    HttpResponse<String> post(String path, String body) {
        return send(postOf(path, body));
    }

    /** Posts single-quoted JSON and expects 200. */
    JsonNode ok(String path, String body) {
        HttpResponse<String> response = post(path, body.replace('\'', '"'));
        if (response.statusCode() != 200) {
            throw new AssertionError(response.statusCode() + " " + response.body());
        }
        return json(response.body());
    }

    /** Posts single-quoted JSON with {@code stream} set and returns the parsed events; checks the framing and the final [DONE]. */
    List<JsonNode> stream(String path, String body) {
        HttpResponse<String> response = post(path, body.replace('\'', '"'));
        if (response.statusCode() != 200) {
            throw new AssertionError(response.statusCode() + " " + response.body());
        }
        return events(response.body());
    }

    static List<JsonNode> events(String text) {
        List<JsonNode> events = new ArrayList<>();
        if (!text.endsWith("data: [DONE]\n\n")) {
            throw new AssertionError("no [DONE] at the end of " + text);
        }
        for (String event : text.substring(0, text.length() - "data: [DONE]\n\n".length()).split("\n\n")) {
            if (event.startsWith(":")) {
                continue;
            }
            if (!event.startsWith("data: {") || event.indexOf('\n') >= 0) {
                throw new AssertionError("bad event: " + event);
            }
            events.add(json(event.substring(6)));
        }
        return events;
    }

    static JsonNode json(String text) {
        try {
            return MAPPER.readTree(text);
        } catch (IOException e) {
            throw new UncheckedIOException(text, e);
        }
    }

    /** Waits for what happens on another thread; fails after ten seconds. */
    static void await(String what, BooleanSupplier condition) {
        long deadline = System.nanoTime() + TimeUnit.SECONDS.toNanos(10);
        while (!condition.getAsBoolean()) {
            if (System.nanoTime() > deadline) {
                throw new AssertionError("never happened: " + what);
            }
            java.util.concurrent.locks.LockSupport.parkNanos(1_000_000);
        }
    }

    /** The value of one series of {@code /metrics}, empty if there is none. */
    String metric(String series) {
        java.io.ByteArrayOutputStream out = new java.io.ByteArrayOutputStream();
        try {
            registry.writeText(out);
        } catch (IOException e) {
            throw new UncheckedIOException(e);
        }
        return out.toString(StandardCharsets.UTF_8).lines().filter(line -> line.startsWith(series + " "))
                .map(line -> line.substring(series.length() + 1)).findFirst().orElse("");
    }

    boolean isIdle() {
        var status = loop.status();
        return status.numRunning() == 0 && status.numWaiting() == 0 && status.numFreeBlocks() == status.numBlocks();
    }

    @Override
    public void close() {
        steps.release(1 << 20); // or a failed test would wait for its engine
        server.close();
        loop.close();
        client.close();
    }
}

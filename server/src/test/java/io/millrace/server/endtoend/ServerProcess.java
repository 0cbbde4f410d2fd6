package io.millrace.server.endtoend;

import com.fasterxml.jackson.databind.JsonNode;
import java.io.BufferedReader;
import java.io.IOException;
import java.io.InputStreamReader;
import java.net.URI;
import java.net.http.HttpClient;
import java.net.http.HttpRequest;
import java.net.http.HttpResponse;
import java.nio.charset.StandardCharsets;
import java.nio.file.Files;
import java.nio.file.Path;
import java.time.Duration;
import java.util.ArrayList;
import java.util.List;
import java.util.Map;
import java.util.concurrent.CompletableFuture;
import java.util.concurrent.TimeUnit;
import java.util.function.BooleanSupplier;
import java.util.regex.Matcher;
import java.util.regex.Pattern;
import org.junit.jupiter.api.Assumptions;

/** The program in a process of its own, with the bundled model, on a free port: for what only a whole process shows, such as signals. */
final class ServerProcess implements AutoCloseable {
    private static final Pattern ADDRESS = Pattern.compile("http://127\\.0\\.0\\.1:(\\d+)/v1");

    final Process process;
    final HttpClient client = HttpClient.newBuilder().version(HttpClient.Version.HTTP_1_1).connectTimeout(Duration.ofSeconds(20)).build();
    private final StringBuffer log = new StringBuffer();
    private final int port;
    private final Thread reader;

    private ServerProcess(Process process) throws IOException {
        this.process = process;
        BufferedReader lines = new BufferedReader(new InputStreamReader(process.getErrorStream(), StandardCharsets.UTF_8));
        int found = 0;
        for (String line; found == 0 && (line = lines.readLine()) != null;) {
            log.append(line).append('\n');
            Matcher address = ADDRESS.matcher(line);
            found = address.find() ? Integer.parseInt(address.group(1)) : 0;
        }
        if (found == 0) {
            process.destroyForcibly();
            throw new AssertionError("the server did not start:\n" + log);
        }
        port = found;
        reader = Thread.ofPlatform().daemon().start(() -> lines.lines().forEach(line -> log.append(line).append('\n')));
    }

    static ServerProcess start(String... flags) throws IOException {
        return new ServerProcess(builder(List.of(), Map.of(), flags).redirectOutput(ProcessBuilder.Redirect.DISCARD).start());
    }

    /** The same with flags of the JVM and variables of the environment. */
    static ServerProcess start(List<String> jvm, Map<String, String> environment, String... flags) throws IOException {
        return new ServerProcess(builder(jvm, environment, flags).redirectOutput(ProcessBuilder.Redirect.DISCARD).start());
    }

    /** A start that fails. */
    record Failure(int exitCode, String text) {}

    static Failure fails(List<String> jvm, Map<String, String> environment, String... flags) throws IOException, InterruptedException {
        Process process = builder(jvm, environment, flags).redirectErrorStream(true).start();
        try {
            String text = new String(process.getInputStream().readAllBytes(), StandardCharsets.UTF_8);
            return new Failure(process.waitFor(), text);
        } finally {
            process.destroyForcibly();
        }
    }

    private static ProcessBuilder builder(List<String> jvm, Map<String, String> environment, String... flags) {
        Path model = Path.of(System.getProperty("millrace.root", ".."), "server/demo-model").toAbsolutePath().normalize();
        Assumptions.assumeTrue(Files.isDirectory(model), () -> "no bundled model at " + model);
        List<String> line = new ArrayList<>(List.of(Path.of(System.getProperty("java.home"), "bin/java").toString(),
                "--enable-native-access=ALL-UNNAMED", "-Xmx512m", "-XX:+UseSerialGC", "-XX:TieredStopAtLevel=1", "-Dmillrace.demo-model=" + model));
        line.addAll(jvm);
        line.addAll(List.of("-cp", System.getProperty("java.class.path"), "io.millrace.server.Main", "serve", "--port", "0"));
        line.addAll(List.of(flags));
        ProcessBuilder builder = new ProcessBuilder(line);
        builder.environment().keySet().removeIf(name -> name.startsWith("MILLRACE_"));
        builder.environment().putAll(environment);
        return builder;
    }

    /** What it wrote to standard error; all of it if the process has ended. */
    String log() throws InterruptedException {
        if (!process.isAlive()) {
            reader.join();
        }
        return log.toString();
    }

    HttpRequest.Builder request(String path) {
        return HttpRequest.newBuilder(URI.create("http://127.0.0.1:" + port + path)).timeout(Duration.ofSeconds(60));
    }

    HttpResponse<String> get(String path) throws IOException, InterruptedException {
        return client.send(request(path).GET().build(), HttpResponse.BodyHandlers.ofString());
    }

    HttpResponse<String> post(String path, String body) throws IOException, InterruptedException {
        return client.send(request(path).POST(HttpRequest.BodyPublishers.ofString(body)).build(), HttpResponse.BodyHandlers.ofString());
    }

    /** Many streamed answers of {@code maxTokens} tokens. */
    List<CompletableFuture<HttpResponse<String>>> streams(int count, int maxTokens) {
        List<CompletableFuture<HttpResponse<String>>> streams = new ArrayList<>();
        for (int i = 0; i < count; i++) {
            String body = "{\"prompt\":\"Once upon a time there were " + i + " dogs\",\"max_tokens\":" + maxTokens
                    + ",\"stream\":true,\"ignore_eos\":true,\"seed\":" + i + ",\"stream_options\":{\"include_usage\":true}}";
            streams.add(client.sendAsync(request("/v1/completions").POST(HttpRequest.BodyPublishers.ofString(body)).build(),
                    HttpResponse.BodyHandlers.ofString()));
        }
        return streams;
    }

    /** Requests that run or wait. */
    int numInside() throws IOException, InterruptedException {
        JsonNode health = RealServer.JSON.readTree(get("/health").body());
        return health.path("running").intValue() + health.path("waiting").intValue();
    }

    interface Condition {
        boolean holds() throws IOException, InterruptedException;
    }

    static void await(String what, Condition condition) {
        BooleanSupplier safe = () -> {
            try {
                return condition.holds();
            } catch (IOException | InterruptedException e) {
                throw new AssertionError(what, e);
            }
        };
        long deadline = System.nanoTime() + TimeUnit.SECONDS.toNanos(30);
        while (!safe.getAsBoolean()) {
            if (System.nanoTime() - deadline > 0) {
                throw new AssertionError("never happened: " + what);
            }
            java.util.concurrent.locks.LockSupport.parkNanos(2_000_000);
        }
    }

    /** SIGTERM. */
    void terminate() {
        // Not process.destroy(): that closes our end of its output, too.
        process.toHandle().destroy();
    }

    int awaitEnd() throws InterruptedException {
        if (!process.waitFor(60, TimeUnit.SECONDS)) {
            throw new AssertionError("the process did not end:\n" + log);
        }
        return process.exitValue();
    }

    @Override
    public void close() {
        process.destroyForcibly();
        client.shutdownNow();
        client.close();
    }
}

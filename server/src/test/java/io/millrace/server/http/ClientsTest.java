package io.millrace.server.http;

import static org.assertj.core.api.Assertions.assertThat;

import java.io.IOException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.List;
import java.util.concurrent.Semaphore;
import java.util.concurrent.TimeUnit;
import java.util.stream.Stream;
import org.junit.jupiter.api.AfterAll;
import org.junit.jupiter.api.Assumptions;
import org.junit.jupiter.api.BeforeAll;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.ValueSource;

/**
 * Guards that the clients people use work against this server as they come: text, streams, tools, thoughts, errors. The sessions are those of
 * {@code src/test/clients}; skipped where there is no Node or the packages cannot be had.
 */
class ClientsTest {
    private static final Path SESSIONS = Path.of("src/test/clients").toAbsolutePath();
    /** Kept from run to run: what npm fetched is used again. */
    private static final Path FOLDER = Path.of("target/clients").toAbsolutePath();
    private static TestServer server;

    @BeforeAll
    static void start() throws IOException, InterruptedException {
        Assumptions.assumeTrue(runs(List.of("node", "--version")) && runs(List.of("npm", "--version")), "no node and npm on the path");
        Files.createDirectories(FOLDER);
        try (Stream<Path> files = Files.list(SESSIONS)) {
            for (Path file : files.filter(Files::isRegularFile).toList()) {
                Files.copy(file, FOLDER.resolve(file.getFileName()), java.nio.file.StandardCopyOption.REPLACE_EXISTING);
            }
        }
        boolean installed = Files.exists(FOLDER.resolve("node_modules/.package-lock.json"))
                || runs(List.of("npm", "ci", "--no-audit", "--no-fund", "--prefer-offline", "--ignore-scripts"));
        Assumptions.assumeTrue(installed, "npm could not install the clients, see " + FOLDER.resolve("npm.log"));
        server = new TestServer(engine -> engine.nextToken(new EchoModel()),
                config -> config.toolCallParser("hermes").reasoningParser("think").apiKeys(List.of("secret")), 64, new Semaphore(1 << 30));
    }

    @AfterAll
    static void stop() {
        if (server != null) {
            server.close();
        }
    }

    private static boolean runs(List<String> command) throws IOException, InterruptedException {
        try {
            Files.createDirectories(FOLDER);
            Process process = new ProcessBuilder(command).directory(FOLDER.toFile()).redirectErrorStream(true)
                    .redirectOutput(FOLDER.resolve("npm.log").toFile()).start();
            if (!process.waitFor(120, TimeUnit.SECONDS)) {
                process.destroyForcibly();
                return false;
            }
            return process.exitValue() == 0;
        } catch (IOException e) {
            return false; // there is no such program
        }
    }

    @ParameterizedTest
    @ValueSource(strings = {"openai", "anthropic", "ai-sdk", "langchain"})
    void session(String client) throws IOException, InterruptedException {
        Path output = FOLDER.resolve(client + ".log");
        ProcessBuilder builder = new ProcessBuilder("node", client + ".mjs").directory(FOLDER.toFile()).redirectErrorStream(true)
                .redirectOutput(output.toFile());
        builder.environment().put("BASE_URL", server.uri("").toString());
        builder.environment().put("API_KEY", "secret");
        Process process = builder.start();
        boolean ended = process.waitFor(60, TimeUnit.SECONDS);
        if (!ended) {
            process.destroyForcibly();
        }
        assertThat(ended && process.exitValue() == 0).as(() -> {
            try {
                return client + ": " + Files.readString(output);
            } catch (IOException e) {
                return client + ": " + e;
            }
        }).isTrue();
    }
}

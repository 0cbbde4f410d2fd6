package io.millrace.server;

import static org.assertj.core.api.Assertions.assertThat;

import java.io.IOException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.nio.file.StandardCopyOption;
import java.util.ArrayList;
import java.util.List;
import java.util.Map;
import java.util.concurrent.TimeUnit;
import java.util.stream.Stream;
import org.junit.jupiter.api.Assumptions;

/** Programs of JavaScript clients, run by Node with the packages that {@code src/test/clients} names. */
public final class NodeSessions {
    private static final Path SOURCES = Path.of("src/test/clients").toAbsolutePath();
    /** Kept from run to run: what npm fetched is used again. */
    private static final Path FOLDER = Path.of("target/clients").toAbsolutePath();

    private NodeSessions() {}

    /** Skips the test where there is no Node or the packages cannot be had. */
    public static void prepare() throws IOException, InterruptedException {
        Assumptions.assumeTrue(runs(List.of("node", "--version")) && runs(List.of("npm", "--version")), "no node and npm on the path");
        Files.createDirectories(FOLDER);
        try (Stream<Path> files = Files.list(SOURCES)) {
            for (Path file : files.filter(Files::isRegularFile).toList()) {
                Files.copy(file, FOLDER.resolve(file.getFileName()), StandardCopyOption.REPLACE_EXISTING);
            }
        }
        boolean installed = Files.exists(FOLDER.resolve("node_modules/.package-lock.json"))
                || runs(List.of("npm", "ci", "--no-audit", "--no-fund", "--prefer-offline", "--ignore-scripts"));
        Assumptions.assumeTrue(installed, "npm could not install the clients, see " + FOLDER.resolve("npm.log"));
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

    /** Expects the script to end well within {@code seconds}. */
    public static void run(Path script, Map<String, String> environment, int seconds, String... arguments) throws IOException, InterruptedException {
        Path copy = FOLDER.resolve(script.getFileName());
        if (!Files.exists(copy) || !Files.isSameFile(script.toAbsolutePath().getParent(), SOURCES)) {
            Files.copy(script, copy, StandardCopyOption.REPLACE_EXISTING); // modules are looked for beside it
        }
        List<String> command = new ArrayList<>(List.of("node", copy.getFileName().toString()));
        command.addAll(List.of(arguments));
        Path output = FOLDER.resolve(script.getFileName() + ".log");
        ProcessBuilder builder = new ProcessBuilder(command).directory(FOLDER.toFile()).redirectErrorStream(true).redirectOutput(output.toFile());
        builder.environment().putAll(environment);
        Process process = builder.start();
        boolean ended = process.waitFor(seconds, TimeUnit.SECONDS);
        if (!ended) {
            process.destroyForcibly().waitFor();
        }
        String printed = Files.readString(output);
        assertThat(ended && process.exitValue() == 0).as("%s: %s", script.getFileName(), printed).isTrue();
    }

    /** A session of this project. */
    public static Path session(String name) {
        return SOURCES.resolve(name);
    }
}

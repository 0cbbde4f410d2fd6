package io.millrace.kernels;

import java.io.IOException;
import java.io.UncheckedIOException;
import java.nio.charset.StandardCharsets;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.Arrays;
import java.util.List;
import java.util.concurrent.TimeUnit;

/** What a command-line tool printed, standard error included, and how it ended. It is stopped after five minutes. */
public record ToolRun(int status, List<String> lines) {
    /** The module's folder, where Maven runs its tests. */
    public static final Path MODULE = Path.of("").toAbsolutePath();

    public static ToolRun of(Path folder, String... command) {
        try {
            Path output = Files.createTempFile("millrace-tool", ".txt");
            try {
                Process process = new ProcessBuilder(command).directory(folder.toFile()).redirectErrorStream(true)
                        .redirectOutput(output.toFile()).start();
                if (!process.waitFor(5, TimeUnit.MINUTES)) {
                    process.destroyForcibly().waitFor();
                }
                return new ToolRun(process.exitValue(), Files.readAllLines(output, StandardCharsets.UTF_8));
            } finally {
                Files.delete(output);
            }
        } catch (IOException e) {
            throw new UncheckedIOException("cannot run " + Arrays.toString(command), e);
        } catch (InterruptedException e) {
            Thread.currentThread().interrupt();
            throw new IllegalStateException(e);
        }
    }

    /** Whether the PATH has an executable of this name. */
    public static boolean onPath(String name) {
        return Arrays.stream(System.getenv("PATH").split(":")).anyMatch(folder -> Files.isExecutable(Path.of(folder, name)));
    }

    /** All lines in one text. */
    public String text() {
        return String.join("\n", lines);
    }
}

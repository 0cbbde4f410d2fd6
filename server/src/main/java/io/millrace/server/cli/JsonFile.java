package io.millrace.server.cli;

import com.fasterxml.jackson.databind.ObjectMapper;
import com.fasterxml.jackson.databind.SerializationFeature;
import java.io.IOException;
import java.nio.file.Files;
import java.nio.file.NoSuchFileException;
import java.nio.file.Path;
import java.time.Instant;
import java.time.temporal.ChronoUnit;
import java.util.LinkedHashMap;
import java.util.Map;

/** Writes what {@code --json FILE} asks for: what was run, where, and the figures. */
final class JsonFile {
    private JsonFile() {}

    /** Does nothing if {@code file} is null. */
    static void write(Path file, String benchmark, Map<String, ?> settings, Map<String, ?> figures) {
        if (file == null) {
            return;
        }
        Map<String, Object> all = new LinkedHashMap<>();
        all.put("benchmark", benchmark);
        all.put("date", Instant.now().truncatedTo(ChronoUnit.SECONDS).toString());
        all.put("millrace_version", Version.text());
        all.putAll(settings);
        all.putAll(figures);
        all.put("machine", MachineFacts.collect());
        try {
            Files.writeString(file, new ObjectMapper().enable(SerializationFeature.INDENT_OUTPUT).writeValueAsString(all) + "\n");
        } catch (NoSuchFileException e) {
            throw new CommandFailure("CLI-010", "--json " + file + " cannot be written: the folder " + file.toAbsolutePath().getParent()
                    + " does not exist; make it, or give a file in a folder that exists", ExitCodes.USAGE, e);
        } catch (IOException e) {
            throw new CommandFailure("CLI-010", "--json " + file + " cannot be written: " + e.getMessage() + "; give a file in a folder that exists",
                    ExitCodes.USAGE, e);
        }
    }
}

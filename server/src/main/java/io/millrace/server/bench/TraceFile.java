package io.millrace.server.bench;

import com.fasterxml.jackson.databind.JsonNode;
import com.fasterxml.jackson.databind.ObjectMapper;
import io.millrace.scheduler.simulate.Trace;
import io.millrace.scheduler.simulate.Trace.Arrival;
import java.io.IOException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.time.LocalDateTime;
import java.time.format.DateTimeFormatter;
import java.time.temporal.ChronoUnit;
import java.util.ArrayList;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;

/**
 * Reads arrival traces, of two forms told apart by their first line:
 *
 * <pre>
 *   {"t_ms": 12, "in": 100, "out": 20}            and, if there are, "key": "a" and "priority": 1
 *   TIMESTAMP,ContextTokens,GeneratedTokens       the Azure LLM inference traces (2023-11-16 18:15:46.6805900,374,44)
 * </pre>
 */
public final class TraceFile {
    private static final String AZURE_HEADER = "TIMESTAMP,ContextTokens,GeneratedTokens";
    private static final DateTimeFormatter AZURE_TIME = DateTimeFormatter.ofPattern("yyyy-MM-dd HH:mm:ss[.SSSSSSSSS][.SSSSSSSS][.SSSSSSS][.SSSSSS][.SSS]");

    private TraceFile() {}

    /**
     * @param maxRequests lines to read at most
     * @throws IOException if the file cannot be read or a line is malformed, naming it
     */
    public static Trace read(Path file, int maxRequests) throws IOException {
        List<String> lines = Files.readAllLines(file);
        boolean azure = !lines.isEmpty() && lines.getFirst().strip().equals(AZURE_HEADER);
        LineReader reader = azure ? new Azure() : new JsonLines();
        List<Arrival> arrivals = new ArrayList<>();
        for (int i = azure ? 1 : 0; i < lines.size() && arrivals.size() < maxRequests; i++) {
            if (lines.get(i).isBlank()) {
                continue;
            }
            try {
                arrivals.add(reader.read(lines.get(i)));
            } catch (IOException | RuntimeException e) {
                throw new IOException("line " + (i + 1) + " of " + file + " is not " + reader.form(), e);
            }
        }
        if (arrivals.isEmpty()) {
            throw new IOException(file + " holds no request");
        }
        return new Trace(arrivals);
    }

    private interface LineReader {
        Arrival read(String line) throws IOException;

        String form();
    }

    private static final class Azure implements LineReader {
        private LocalDateTime first;

        @Override
        public Arrival read(String line) {
            String[] cells = line.strip().split(",");
            LocalDateTime time = LocalDateTime.parse(cells[0].strip(), AZURE_TIME);
            first = first == null ? time : first;
            // A request of no output still took a step.
            return new Arrival(first.until(time, ChronoUnit.NANOS), Math.max(1, Integer.parseInt(cells[1].strip())),
                    Math.max(1, Integer.parseInt(cells[2].strip())), 0, 0);
        }

        @Override
        public String form() {
            return "a line of " + AZURE_HEADER;
        }
    }

    private static final class JsonLines implements LineReader {
        private final ObjectMapper json = new ObjectMapper();
        private final Map<String, Integer> tenants = new LinkedHashMap<>();

        @Override
        public Arrival read(String text) throws IOException {
            JsonNode line = json.readTree(text);
            if (!line.path("t_ms").isNumber() || line.path("in").asInt() < 1) {
                throw new IOException("t_ms or in is missing");
            }
            String key = line.path("key").asText("");
            return new Arrival((long) (line.path("t_ms").asDouble() * 1e6), line.path("in").asInt(), Math.max(1, line.path("out").asInt(1)),
                    tenants.computeIfAbsent(key, name -> tenants.size()), line.path("priority").asInt(0));
        }

        @Override
        public String form() {
            return "JSON with the numbers t_ms, in (at least 1) and out";
        }
    }
}

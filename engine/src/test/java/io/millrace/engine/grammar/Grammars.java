package io.millrace.engine.grammar;

import static org.junit.jupiter.api.Assumptions.assumeTrue;

import com.fasterxml.jackson.databind.DeserializationFeature;
import com.fasterxml.jackson.databind.JsonNode;
import com.fasterxml.jackson.databind.ObjectMapper;
import io.millrace.engine.grammar.json.SchemaOptions;
import io.millrace.engine.grammar.mask.ByteVocabulary;
import java.io.IOException;
import java.io.UncheckedIOException;
import java.nio.charset.StandardCharsets;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.List;
import java.util.stream.Stream;

/** What the tests of constraints share: a vocabulary of single bytes, texts fed through masks, data files. */
final class Grammars {
    static final ObjectMapper JSON = new ObjectMapper().enable(DeserializationFeature.USE_BIG_DECIMAL_FOR_FLOATS);

    private Grammars() {}

    static ConstraintCompiler overBytes() {
        byte[][] tokens = new byte[256][];
        for (int b = 0; b < 256; b++) {
            tokens[b] = new byte[] {(byte) b};
        }
        return new ConstraintCompiler(() -> new ByteVocabulary(tokens));
    }

    static Constraint schema(ConstraintCompiler compiler, String schema, SchemaOptions options) {
        return compiler.compile(new ConstraintSpec.JsonSchema(schema, options));
    }

    /** Feeds {@code text} byte by byte; mask and step have to agree on each. */
    static boolean accepts(Constraint constraint, String text) {
        ConstraintCursor cursor = constraint.begin();
        for (byte b : text.getBytes(StandardCharsets.UTF_8)) {
            boolean allowed = cursor.allows(b & 0xFF);
            if (allowed != cursor.advance(b & 0xFF)) {
                throw new AssertionError("mask and step disagree in " + text);
            }
            if (!allowed) {
                return false;
            }
        }
        return cursor.accepts();
    }

    static Path data(String relative) {
        String root = System.getProperty("millrace.data", "");
        Path path = Path.of(root).resolve(relative);
        assumeTrue(!root.isEmpty() && Files.exists(path), "skipped: no test data at -Dmillrace.data=" + root + " (" + relative + ")");
        return path;
    }

    static List<JsonNode> lines(Path jsonl) {
        try {
            List<JsonNode> all = new ArrayList<>();
            for (String line : Files.readAllLines(jsonl)) {
                all.add(JSON.readTree(line));
            }
            return all;
        } catch (IOException e) {
            throw new UncheckedIOException(e);
        }
    }

    static List<Path> jsonFiles(Path folder) {
        try (Stream<Path> files = Files.walk(folder)) {
            return files.filter(file -> file.toString().endsWith(".json")).sorted().toList();
        } catch (IOException e) {
            throw new UncheckedIOException(e);
        }
    }

    static JsonNode tree(Path file) {
        try {
            return JSON.readTree(file.toFile());
        } catch (IOException e) {
            throw new UncheckedIOException(e);
        }
    }
}

package io.millrace.engine.model;

import com.fasterxml.jackson.core.JsonFactory;
import com.fasterxml.jackson.core.JsonProcessingException;
import com.fasterxml.jackson.core.StreamReadConstraints;
import com.fasterxml.jackson.databind.JsonNode;
import com.fasterxml.jackson.databind.ObjectMapper;
import io.millrace.engine.EngineException;
import java.io.IOException;
import java.nio.file.Files;
import java.nio.file.NoSuchFileException;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.List;
import java.util.Optional;

/**
 * Typed, checked access to one JSON object of a model's configuration. A key that is absent and one that is null are the same, as in
 * the files that people publish. Errors: {@code MODEL-001} unreadable file, {@code MODEL-002} wrong key.
 */
final class ConfigJson {
    private static final long MAX_BYTES = 16 << 20;
    private static final ObjectMapper JSON = new ObjectMapper(JsonFactory.builder()
            .streamReadConstraints(StreamReadConstraints.builder().maxNestingDepth(64).build()).build());

    private final Path file;
    private final String prefix;
    private final JsonNode node;

    private ConfigJson(Path file, String prefix, JsonNode node) {
        this.file = file;
        this.prefix = prefix;
        this.node = node;
    }

    static ConfigJson read(Path file) {
        try {
            if (Files.size(file) > MAX_BYTES) {
                throw new EngineException("MODEL-001", file + " has " + Files.size(file) + " bytes, more than the limit of " + MAX_BYTES);
            }
            JsonNode node = JSON.readTree(Files.readAllBytes(file));
            if (!node.isObject()) {
                throw new EngineException("MODEL-001", file + " is not a JSON object; download it again");
            }
            return new ConfigJson(file, "", node);
        } catch (JsonProcessingException e) {
            throw new EngineException("MODEL-001", file + " is not valid JSON (line "
                    + (e.getLocation() == null ? 0 : e.getLocation().getLineNr()) + "): " + e.getOriginalMessage(), e);
        } catch (NoSuchFileException e) {
            throw new EngineException("MODEL-001", file + " does not exist; a model is a folder with config.json, *.safetensors and tokenizer.json,"
                    + " or a .gguf file. Check the model path", e);
        } catch (IOException e) {
            throw new EngineException("MODEL-001", file + " cannot be read: " + e.getMessage() + ". Check the model path", e);
        }
    }

    Path file() {
        return file;
    }

    boolean has(String key) {
        return !node.path(key).isMissingNode() && !node.path(key).isNull();
    }

    /** Whether the key stands in the file, be it with null. */
    boolean names(String key) {
        return node.has(key);
    }

    Optional<ConfigJson> object(String key) {
        if (!has(key)) {
            return Optional.empty();
        }
        if (!node.get(key).isObject()) {
            throw wrong(key, "an object");
        }
        return Optional.of(new ConfigJson(file, prefix + key + ".", node.get(key)));
    }

    /** A whole number in {@code [1, 2^31)}. */
    int positive(String key) {
        if (!has(key)) {
            throw new EngineException("MODEL-002", file + " lacks the key '" + prefix + key + "', a whole number of at least 1");
        }
        JsonNode value = node.get(key);
        if (!value.canConvertToExactIntegral() || !value.canConvertToInt() || value.intValue() < 1) {
            throw wrong(key, "a whole number of at least 1");
        }
        return value.intValue();
    }

    int positive(String key, int absent) {
        return has(key) ? positive(key) : absent;
    }

    /** A finite number; {@code absent} if the key is. */
    double number(String key, double absent) {
        if (!has(key)) {
            return absent;
        }
        JsonNode value = node.get(key);
        if (!value.isNumber() || !Double.isFinite(value.doubleValue())) {
            throw wrong(key, "a number");
        }
        return value.doubleValue();
    }

    double positiveNumber(String key, double absent) {
        double value = number(key, absent);
        if (has(key) && value <= 0) {
            throw wrong(key, "a number above 0");
        }
        return value;
    }

    boolean bool(String key, boolean absent) {
        if (!has(key)) {
            return absent;
        }
        if (!node.get(key).isBoolean()) {
            throw wrong(key, "true or false");
        }
        return node.get(key).booleanValue();
    }

    Optional<String> text(String key) {
        if (!has(key)) {
            return Optional.empty();
        }
        if (!node.get(key).isTextual()) {
            throw wrong(key, "a string");
        }
        return Optional.of(node.get(key).textValue());
    }

    /** A list of strings; empty if absent. */
    List<String> texts(String key) {
        List<String> values = new ArrayList<>();
        for (JsonNode value : list(key)) {
            if (!value.isTextual()) {
                throw wrong(key, "a list of strings");
            }
            values.add(value.textValue());
        }
        return values;
    }

    /** A list of {@code count} numbers above 0. */
    double[] numbers(String key, int count) {
        double[] values = new double[count];
        int found = 0;
        for (JsonNode value : list(key)) {
            if (found < count && value.isNumber() && value.doubleValue() > 0 && Double.isFinite(value.doubleValue())) {
                values[found] = value.doubleValue();
            } else {
                throw wrong(key, "a list of " + count + " numbers above 0");
            }
            found++;
        }
        if (found != count) {
            throw wrong(key, "a list of " + count + " numbers above 0");
        }
        return values;
    }

    /** Token ids written as one number or a list; empty if absent. */
    List<Integer> ids(String key) {
        List<Integer> values = new ArrayList<>();
        Iterable<JsonNode> nodes = has(key) && node.get(key).isArray() ? node.get(key) : has(key) ? List.of(node.get(key)) : List.of();
        for (JsonNode value : nodes) {
            if (!value.canConvertToExactIntegral() || !value.canConvertToInt()) {
                throw wrong(key, "a token id or a list of them");
            }
            values.add(value.intValue());
        }
        return values;
    }

    private Iterable<JsonNode> list(String key) {
        if (!has(key)) {
            return List.of();
        }
        if (!node.get(key).isArray()) {
            throw wrong(key, "a list");
        }
        return node.get(key);
    }

    EngineException wrong(String key, String expected) {
        String found = node.path(key).toString();
        return new EngineException("MODEL-002", file + ": '" + prefix + key + "' should be " + expected + ", is "
                + (found.length() > 80 ? found.substring(0, 77) + "..." : found));
    }
}

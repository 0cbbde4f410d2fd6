package io.millrace.engine.weights;

import io.millrace.engine.EngineException;
import java.nio.file.Path;
import java.util.Collections;
import java.util.Map;
import java.util.Optional;

/** Typed access to a GGUF file's keys. A key of the wrong type is {@code GGUF-004}, naming key, value and what was expected. */
public final class GgufMetadata {
    private final Path file;
    private final Map<String, Object> values;

    GgufMetadata(Path file, Map<String, Object> values) {
        this.file = file;
        this.values = values;
    }

    /** Values as Long, Double, Boolean, String or {@link GgufArray}. */
    public Map<String, Object> values() {
        return Collections.unmodifiableMap(values);
    }

    public Optional<String> string(String key) {
        return find(key, String.class, "a string");
    }

    public Optional<Long> integer(String key) {
        return find(key, Long.class, "an integer");
    }

    public Optional<Boolean> bool(String key) {
        return find(key, Boolean.class, "a boolean");
    }

    /** A float; an integer is widened. */
    public Optional<Double> number(String key) {
        return values.get(key) instanceof Long integer ? Optional.of((double) integer) : find(key, Double.class, "a number");
    }

    /** A fresh array, made from the file's bytes. */
    public Optional<String[]> strings(String key) {
        return stringArray(key).map(GgufArray.Strings::toArray);
    }

    public Optional<GgufArray.Strings> stringArray(String key) {
        return find(key, GgufArray.Strings.class, "an array of strings");
    }

    public Optional<float[]> floats(String key) {
        return find(key, GgufArray.Floats.class, "an array of floats").map(GgufArray.Floats::values);
    }

    public Optional<long[]> integers(String key) {
        return find(key, GgufArray.Integers.class, "an array of integers").map(GgufArray.Integers::values);
    }

    /** @throws EngineException {@code GGUF-004} where the key is absent or no positive int */
    public int requirePositive(String key) {
        long value = integer(key).orElseThrow(() -> new EngineException("GGUF-004", file + " lacks the metadata key '" + key
                + "'; the file is incomplete, convert it again"));
        if (value < 1 || value > Integer.MAX_VALUE) {
            throw new EngineException("GGUF-004", file + ": '" + key + "' is " + value + "; a positive number is needed");
        }
        return (int) value;
    }

    private <T> Optional<T> find(String key, Class<T> type, String expected) {
        Object value = values.get(key);
        if (value == null) {
            return Optional.empty();
        }
        if (!type.isInstance(value)) {
            throw new EngineException("GGUF-004", file + ": metadata key '" + key + "' should be " + expected + ", is "
                    + value.getClass().getSimpleName() + " " + SafetensorsHeader.quote(String.valueOf(value)));
        }
        return Optional.of(type.cast(value));
    }
}

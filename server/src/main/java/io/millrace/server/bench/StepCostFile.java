package io.millrace.server.bench;

import com.fasterxml.jackson.databind.JsonNode;
import com.fasterxml.jackson.databind.ObjectMapper;
import com.fasterxml.jackson.databind.SerializationFeature;
import io.millrace.scheduler.simulate.StepCost;
import java.io.IOException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.LinkedHashMap;
import java.util.Map;

/**
 * A step's cost as JSON, in microseconds, and the KV cache that goes with it.
 *
 * @param kvTokens tokens that the cache holds; 0 if the file does not say
 */
public record StepCostFile(StepCost cost, long kvTokens) {
    /** 80 GiB times 0.92, less 15 GiB of weights and 4 GiB of workspace, at 128 KiB per token. */
    public static final StepCostFile H100_8B_BF16 = new StepCostFile(StepCost.H100_8B_BF16, 432_000);

    private static final String[] KEYS = {"fixed_us", "per_token_us", "per_sequence_us", "per_context_token_us", "per_attention_pair_us"};

    /** @throws IOException if the file cannot be read or lacks a number, naming it */
    public static StepCostFile read(Path file) throws IOException {
        JsonNode json = new ObjectMapper().readTree(Files.readString(file));
        double[] nanos = new double[KEYS.length];
        for (int i = 0; i < KEYS.length; i++) {
            JsonNode value = json == null ? null : json.get(KEYS[i]);
            if (value == null || !value.isNumber() || value.doubleValue() < 0) {
                throw new IOException(file + " needs a number of at least 0 under " + KEYS[i]);
            }
            nanos[i] = value.doubleValue() * 1e3;
        }
        return new StepCostFile(new StepCost(json.path("source").asText(file.getFileName().toString()), nanos[0], nanos[1], nanos[2], nanos[3],
                nanos[4]), json.path("kv_tokens").asLong(0));
    }

    public Map<String, Object> toMap() {
        Map<String, Object> map = new LinkedHashMap<>();
        double[] nanos = {cost.fixedNanos(), cost.perTokenNanos(), cost.perSequenceNanos(), cost.perContextTokenNanos(), cost.perPairNanos()};
        map.put("source", cost.source());
        for (int i = 0; i < KEYS.length; i++) {
            map.put(KEYS[i], nanos[i] * 1e-3);
        }
        map.put("kv_tokens", kvTokens);
        return map;
    }

    public void write(Path file) throws IOException {
        Files.writeString(file, new ObjectMapper().enable(SerializationFeature.INDENT_OUTPUT).writeValueAsString(toMap()) + "\n");
    }
}

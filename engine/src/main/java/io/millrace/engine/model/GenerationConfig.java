package io.millrace.engine.model;

import io.millrace.engine.LoadedModel.GenerationDefaults;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.Optional;
import java.util.TreeSet;

/**
 * {@code generation_config.json}: when the model stops and how its authors sample it. Optional in a model folder.
 *
 * @param eosTokenIds union of this file's and {@code config.json}'s ids, ascending, all inside the vocabulary: models end turns with ids
 *                    that only one of the two files lists
 */
public record GenerationConfig(int[] eosTokenIds, GenerationDefaults defaults) {
    private static final double MAX_TEMPERATURE = 1000;
    private static final double MAX_PENALTY = 1000;
    /** Above zero also as a float. */
    private static final double SMALLEST = 1e-6;

    /** Without a file of its own: the configuration's ids, no sampling defaults. */
    public static GenerationConfig of(ModelConfig config) {
        return new GenerationConfig(inVocabulary(new TreeSet<>(config.eosTokenIds()), config), GenerationDefaults.none());
    }

    /** @throws io.millrace.engine.EngineException {@code MODEL-001}, {@code MODEL-002} a key of a wrong type or out of range */
    public static GenerationConfig read(Path folder, ModelConfig config) {
        TreeSet<Integer> eos = new TreeSet<>(config.eosTokenIds());
        GenerationDefaults defaults = GenerationDefaults.none();
        Path file = folder.resolve("generation_config.json");
        if (Files.exists(file)) {
            ConfigJson json = ConfigJson.read(file);
            eos.addAll(json.ids("eos_token_id"));
            defaults = new GenerationDefaults(number(json, "temperature", 0, MAX_TEMPERATURE), number(json, "top_p", SMALLEST, 1),
                    topK(json), number(json, "min_p", 0, 1), number(json, "repetition_penalty", SMALLEST, MAX_PENALTY));
        }
        return new GenerationConfig(inVocabulary(eos, config), defaults);
    }

    private static int[] inVocabulary(TreeSet<Integer> ids, ModelConfig config) {
        return ids.stream().filter(id -> id >= 0 && id < config.vocabSize()).mapToInt(Integer::intValue).toArray();
    }

    private static Optional<Float> number(ConfigJson json, String key, double low, double high) {
        if (!json.has(key)) {
            return Optional.empty();
        }
        double value = json.number(key, 0);
        if (value < low || value > high) {
            throw json.wrong(key, "a number in [" + low + ", " + high + "]");
        }
        return Optional.of((float) value);
    }

    /** -1 and 0 both mean all tokens. */
    private static Optional<Integer> topK(ConfigJson json) {
        if (!json.has("top_k")) {
            return Optional.empty();
        }
        double value = json.number("top_k", 0);
        if (value != Math.rint(value) || value < -1 || value > Integer.MAX_VALUE) {
            throw json.wrong("top_k", "a whole number in [-1, " + Integer.MAX_VALUE + "]");
        }
        return Optional.of(Math.max(0, (int) value));
    }
}

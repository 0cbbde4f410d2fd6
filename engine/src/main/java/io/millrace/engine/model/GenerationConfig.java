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
    /** Without a file of its own: the configuration's ids, no sampling defaults. */
    public static GenerationConfig of(ModelConfig config) {
        return new GenerationConfig(inVocabulary(new TreeSet<>(config.eosTokenIds()), config), GenerationDefaults.none());
    }

    public static GenerationConfig read(Path folder, ModelConfig config) {
        TreeSet<Integer> eos = new TreeSet<>(config.eosTokenIds());
        GenerationDefaults defaults = GenerationDefaults.none();
        Path file = folder.resolve("generation_config.json");
        if (Files.exists(file)) {
            ConfigJson json = ConfigJson.read(file);
            eos.addAll(json.ids("eos_token_id"));
            defaults = new GenerationDefaults(number(json, "temperature"), number(json, "top_p"),
                    number(json, "top_k").map(Float::intValue), number(json, "min_p"), number(json, "repetition_penalty"));
        }
        return new GenerationConfig(inVocabulary(eos, config), defaults);
    }

    private static int[] inVocabulary(TreeSet<Integer> ids, ModelConfig config) {
        return ids.stream().filter(id -> id >= 0 && id < config.vocabSize()).mapToInt(Integer::intValue).toArray();
    }

    private static Optional<Float> number(ConfigJson json, String key) {
        return json.has(key) ? Optional.of((float) json.number(key, 0)) : Optional.empty();
    }
}

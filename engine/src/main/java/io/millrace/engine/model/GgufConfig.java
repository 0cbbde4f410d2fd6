package io.millrace.engine.model;

import io.millrace.engine.EngineException;
import io.millrace.engine.weights.GgufFile;
import io.millrace.engine.weights.GgufMetadata;
import io.millrace.engine.weights.GgufTensor;
import java.util.ArrayList;
import java.util.List;

/**
 * The configuration in a GGUF file's metadata (keys: ggml's {@code docs/gguf.md}) as the one that a {@code config.json} gives. What the
 * format leaves out is taken from the tensors: the head is tied if there is no {@code output.weight}, biases exist if they are there.
 */
public final class GgufConfig {
    /** Keys of ids that end a turn, in the names of {@code tokenizer.ggml}. */
    private static final List<String> END_KEYS = List.of("eos_token_id", "eot_token_id", "eom_token_id");

    private GgufConfig() {}

    /**
     * @throws EngineException {@code GGUF-004} a key missing or wrong, {@code MODEL-003} an architecture that is not supported,
     *     {@code MODEL-005} rope, {@code MODEL-007} sizes that do not fit together
     */
    public static ModelConfig read(GgufFile file) {
        GgufMetadata metadata = file.metadata();
        String name = metadata.string("general.architecture").orElseThrow(() -> new EngineException("GGUF-004", file.path()
                + " lacks the metadata key 'general.architecture'; convert the file again"));
        GgufArchitecture architecture = GgufArchitecture.require(name, file.path());
        GgufKeys keys = new GgufKeys(file, name + ".");
        if (keys.number("expert_count", 0) > 0) {
            throw new EngineException("MODEL-003", file.path() + ": mixture-of-experts models are not supported by this version");
        }
        int hidden = keys.positive("embedding_length");
        int heads = keys.positive("attention.head_count");
        int kvHeads = keys.positive("attention.head_count_kv", heads);
        int headDim = keys.positive("attention.key_length", Math.max(1, hidden / heads));
        int valueDim = keys.positive("attention.value_length", headDim);
        if (heads % kvHeads != 0 || headDim % 2 != 0 || valueDim != headDim) {
            throw new EngineException("MODEL-007", file.path() + ": embedding_length " + hidden + ", head_count " + heads + ", head_count_kv "
                    + kvHeads + ", key_length " + headDim + " and value_length " + valueDim + " do not fit together: heads must be a multiple of"
                    + " key/value heads, keys and values of one even length");
        }
        GgufTensor embedding = file.tensors().get("token_embd.weight");
        if (embedding == null || embedding.shape().size() != 2 || embedding.shape().getFirst() > Integer.MAX_VALUE) {
            throw new EngineException("MODEL-010", file.path() + " lacks the matrix 'token_embd.weight'; a file with a vocabulary alone cannot be"
                    + " served");
        }
        int layers = keys.positive("block_count");
        // Before a list of that length is made.
        ModelConfig.checkLayers(file.path(), layers);
        return new ModelConfig(file.path(), architecture.configName(), embedding.shape().getFirst().intValue(), hidden,
                keys.positive("feed_forward_length"), layers, heads, kvHeads, headDim, keys.positive("context_length"),
                (float) keys.above0("attention.layer_norm_rms_epsilon", 1e-5), !file.tensors().containsKey("output.weight"),
                architecture.design(keys, layers, hidden, heads, headDim), endIds(metadata));
    }

    private static List<Integer> endIds(GgufMetadata metadata) {
        List<Integer> ids = new ArrayList<>();
        for (String key : END_KEYS) {
            metadata.integer("tokenizer.ggml." + key).filter(id -> id >= 0 && id < Integer.MAX_VALUE).ifPresent(id -> ids.add(id.intValue()));
        }
        return ids;
    }
}

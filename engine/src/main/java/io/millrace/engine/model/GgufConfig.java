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
        String architecture = metadata.string("general.architecture").orElseThrow(() -> new EngineException("GGUF-004", file.path()
                + " lacks the metadata key 'general.architecture'; convert the file again"));
        if (!architecture.equals("llama")) {
            throw new EngineException("MODEL-003", file.path() + ": GGUF files of the architecture '" + architecture
                    + "' are not supported by this version; supported: llama");
        }
        if (metadata.integer(architecture + ".expert_count").orElse(0L) > 0) {
            throw new EngineException("MODEL-003", file.path() + ": mixture-of-experts models are not supported by this version");
        }
        String prefix = architecture + ".";
        int hidden = metadata.requirePositive(prefix + "embedding_length");
        int heads = metadata.requirePositive(prefix + "attention.head_count");
        int kvHeads = positive(metadata, prefix + "attention.head_count_kv", heads);
        int headDim = positive(metadata, prefix + "attention.key_length", Math.max(1, hidden / heads));
        int valueDim = positive(metadata, prefix + "attention.value_length", headDim);
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
        return new ModelConfig(file.path(), "LlamaForCausalLM", embedding.shape().getFirst().intValue(), hidden,
                metadata.requirePositive(prefix + "feed_forward_length"), metadata.requirePositive(prefix + "block_count"), heads, kvHeads, headDim,
                metadata.requirePositive(prefix + "context_length"), metadata.number(prefix + "attention.layer_norm_rms_epsilon").orElse(1e-5)
                        .floatValue(), "silu", rope(file, prefix, headDim), !file.tensors().containsKey("output.weight"),
                file.tensors().containsKey("blk.0.attn_q.bias"), file.tensors().containsKey("blk.0.ffn_gate.bias"), endIds(metadata));
    }

    private static int positive(GgufMetadata metadata, String key, int absent) {
        return metadata.values().containsKey(key) ? metadata.requirePositive(key) : absent;
    }

    private static List<Integer> endIds(GgufMetadata metadata) {
        List<Integer> ids = new ArrayList<>();
        for (String key : END_KEYS) {
            metadata.integer("tokenizer.ggml." + key).filter(id -> id >= 0 && id < Integer.MAX_VALUE).ifPresent(id -> ids.add(id.intValue()));
        }
        return ids;
    }

    private static RopeConfig rope(GgufFile file, String prefix, int headDim) {
        GgufMetadata metadata = file.metadata();
        int rotaryDim = positive(metadata, prefix + "rope.dimension_count", headDim);
        if (rotaryDim % 2 != 0 || rotaryDim > headDim) {
            throw new EngineException("MODEL-007", file.path() + ": rope.dimension_count " + rotaryDim + " must be even and at most key_length "
                    + headDim);
        }
        double theta = metadata.number(prefix + "rope.freq_base").orElse(10_000.0);
        String type = metadata.string(prefix + "rope.scaling.type").orElse("none");
        double factor = metadata.number(prefix + "rope.scaling.factor").orElse(1.0);
        GgufTensor factors = file.tensors().get("rope_freqs.weight");
        if (factors != null) {
            return new RopeConfig(theta, rotaryDim, frequencyFactors(file, factors, rotaryDim / 2));
        }
        return switch (type) {
            case "none" -> new RopeConfig(theta, rotaryDim, new RopeConfig.Unscaled());
            case "linear" -> new RopeConfig(theta, rotaryDim, new RopeConfig.Linear(factor));
            default -> throw new EngineException("MODEL-005", file.path() + ": rope scaling '" + type + "' is not supported by this version;"
                    + " supported: none, linear, and factors in rope_freqs.weight. Its positions would be wrong, so the model is not loaded");
        };
    }

    /** Llama 3's scaling, computed by the converter: every frequency is divided by its factor. */
    private static RopeConfig.Scaling frequencyFactors(GgufFile file, GgufTensor tensor, int count) {
        if (tensor.numElements() != count || tensor.type().plain().isEmpty()) {
            throw new EngineException("MODEL-011", file.path() + ": tensor 'rope_freqs.weight' should have " + count + " floats, has "
                    + tensor.shape() + " of " + tensor.type());
        }
        double[] factors = new double[count];
        for (int i = 0; i < count; i++) {
            factors[i] = tensor.type().plain().get().load(file.data(tensor), i);
            if (!(factors[i] > 0)) {
                throw new EngineException("MODEL-005", file.path() + ": factor " + i + " of 'rope_freqs.weight' is " + factors[i]
                        + "; numbers above 0 are needed");
            }
        }
        return new RopeConfig.Factors(factors);
    }
}

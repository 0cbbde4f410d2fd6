package io.millrace.engine.model;

import io.millrace.engine.EngineException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.List;

/**
 * A decoder's configuration, read from the {@code config.json} of a Hugging Face folder in either spelling (Transformers 4 or 5).
 *
 * @param architecture  the first of {@code architectures}, such as {@code LlamaForCausalLM}
 * @param contextLength {@code max_position_embeddings}
 * @param headDim       {@code head_dim}, or {@code hidden_size / num_attention_heads} where that is absent
 * @param eosTokenIds   of config.json alone; {@link GenerationConfig} has more
 */
public record ModelConfig(Path file, String architecture, int vocabSize, int hiddenSize, int intermediateSize, int numLayers, int numHeads,
        int numKvHeads, int headDim, int contextLength, float normEps, String hiddenAct, RopeConfig rope, boolean tiedEmbeddings,
        boolean attentionBias, boolean mlpBias, List<Integer> eosTokenIds) {

    /**
     * @throws EngineException {@code MODEL-001} unreadable, {@code MODEL-002} key missing or of a wrong type, {@code MODEL-003} no
     *     architecture, {@code MODEL-005} rope, {@code MODEL-006} quantised, {@code MODEL-007} sizes that do not fit together
     */
    public static ModelConfig read(Path folder) {
        if (!Files.isDirectory(folder)) {
            throw new EngineException("MODEL-001", folder + " is not a folder; a model is a folder with config.json, model.safetensors and"
                    + " tokenizer.json. Check the model path");
        }
        ConfigJson json = ConfigJson.read(folder.resolve("config.json"));
        List<String> architectures = json.texts("architectures");
        if (architectures.isEmpty()) {
            throw new EngineException("MODEL-003", json.file() + " names no architecture; 'architectures' should be a list such as"
                    + " [\"LlamaForCausalLM\"]");
        }
        ModelFamilies.require(architectures.getFirst(), json.file());
        refuseQuantization(json);
        int hidden = json.positive("hidden_size");
        int heads = json.positive("num_attention_heads");
        int kvHeads = json.positive("num_key_value_heads", heads);
        int headDim = json.positive("head_dim", Math.max(1, hidden / heads));
        if (heads % kvHeads != 0 || headDim % 2 != 0 || !json.has("head_dim") && hidden % heads != 0) {
            throw new EngineException("MODEL-007", json.file() + ": hidden_size " + hidden + ", num_attention_heads " + heads
                    + ", num_key_value_heads " + kvHeads + " and head_dim " + headDim + " do not fit together: heads must be a multiple of"
                    + " key/value heads, head_dim even");
        }
        return new ModelConfig(json.file(), architectures.getFirst(), json.positive("vocab_size"), hidden, json.positive("intermediate_size"),
                json.positive("num_hidden_layers"), heads, kvHeads, headDim, json.positive("max_position_embeddings", 2048),
                (float) json.positiveNumber("rms_norm_eps", 1e-6), json.text("hidden_act").orElse("silu"), RopeConfig.read(json, headDim),
                json.bool("tie_word_embeddings", false), json.bool("attention_bias", false), json.bool("mlp_bias", false),
                json.ids("eos_token_id"));
    }

    /** Elements of keys and values that one token adds over all layers. As a double: a hostile configuration may exceed a long. */
    public double kvElementsPerToken() {
        return 2.0 * numLayers * numKvHeads * headDim;
    }

    private static void refuseQuantization(ConfigJson json) {
        json.object("quantization_config").ifPresent(quantization -> {
            throw new EngineException("MODEL-006", json.file() + ": the checkpoint is quantised ("
                    + quantization.text("quant_method").orElse("unnamed method") + "), which this version does not read; use the"
                    + " original float32, float16 or bfloat16 checkpoint");
        });
    }
}

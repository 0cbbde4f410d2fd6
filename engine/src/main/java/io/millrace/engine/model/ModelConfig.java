package io.millrace.engine.model;

import io.millrace.engine.EngineException;
import java.io.IOException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.List;
import java.util.Objects;
import java.util.stream.Stream;

/**
 * A decoder's configuration, read from the {@code config.json} of a Hugging Face folder in either spelling (Transformers 4 or 5).
 *
 * @param architecture  the first of {@code architectures}, such as {@code LlamaForCausalLM}
 * @param contextLength {@code max_position_embeddings}
 * @param headDim       {@code head_dim}, or {@code hidden_size / num_attention_heads} where that is absent
 * @param design        what else the architecture and the file say of the layers
 * @param eosTokenIds   of config.json alone; {@link GenerationConfig} has more
 */
public record ModelConfig(Path file, String architecture, int vocabSize, int hiddenSize, int intermediateSize, int numLayers, int numHeads,
        int numKvHeads, int headDim, int contextLength, float normEps, boolean tiedEmbeddings, DecoderDesign design,
        List<Integer> eosTokenIds) {
    /** Widest activation row; the widest of any published model is 2^18. Sums and products of a few widths stay far inside an int. */
    private static final int MAX_WIDTH = 1 << 20;
    /** Ten times the largest vocabulary in use. */
    private static final int MAX_VOCABULARY = 1 << 22;
    /** Factors of scores, embeddings, residuals and logits: far beyond any model's, and their squares are still floats. */
    private static final double SMALLEST_FACTOR = 1e-6;
    private static final double LARGEST_FACTOR = 1e6;
    private static final int MAX_LAYERS = 4096;
    /** Work items are tokens of a step (at most 2^20) times key/value heads, and are counted in 32 bits. */
    private static final int MAX_KV_HEADS = 1 << 10;

    /** @throws EngineException {@code MODEL-007} for sizes whose products would leave the range that kernels count in */
    public ModelConfig {
        bounded(file, "hidden size", hiddenSize, MAX_WIDTH);
        bounded(file, "intermediate size", intermediateSize, MAX_WIDTH);
        bounded(file, "vocabulary", vocabSize, MAX_VOCABULARY);
        bounded(file, "number of layers", numLayers, MAX_LAYERS);
        bounded(file, "number of key/value heads", numKvHeads, MAX_KV_HEADS);
        between(file, "norm epsilon", normEps, 0, 1);
        between(file, "attention scale", design.attentionScale(), SMALLEST_FACTOR, LARGEST_FACTOR);
        between(file, "embedding scale", design.embeddingScale(), SMALLEST_FACTOR, LARGEST_FACTOR);
        between(file, "residual scale", design.residualScale(), SMALLEST_FACTOR, LARGEST_FACTOR);
        between(file, "logit scale", design.logitScale(), SMALLEST_FACTOR, LARGEST_FACTOR);
        between(file, "attention soft-cap", design.attentionSoftCap(), 0, LARGEST_FACTOR);
        between(file, "logit soft-cap", design.logitSoftCap(), 0, LARGEST_FACTOR);
        bounded(file, numHeads + " heads of " + headDim + " elements: width", (long) numHeads * headDim, MAX_WIDTH);
    }

    private static void between(Path file, String what, double value, double low, double high) {
        if (!(value >= low && value <= high)) {
            throw new EngineException("MODEL-007", file + ": " + what + " " + value + " is outside [" + low + ", " + high
                    + "]; no model of this architecture has that. Download the file again");
        }
    }

    static void checkLayers(Path file, int layers) {
        bounded(file, "number of layers", layers, MAX_LAYERS);
    }

    private static void bounded(Path file, String what, long value, long limit) {
        if (value < 1 || value > limit) {
            throw new EngineException("MODEL-007", file + ": " + what + " " + value + " is outside [1, " + limit
                    + "]; no model of this architecture has that. Download the file again");
        }
    }

    /**
     * @throws EngineException {@code MODEL-001} unreadable, {@code MODEL-002} key missing or of a wrong type, {@code MODEL-003} no
     *     architecture, {@code MODEL-004} activation, {@code MODEL-005} rope, {@code MODEL-006} quantised, {@code MODEL-007} sizes that do not
     *     fit together
     */
    public static ModelConfig read(Path folder) {
        if (!Files.isDirectory(folder)) {
            throw new EngineException("MODEL-001", folder + " is not a folder; a model is a folder with config.json, model.safetensors and"
                    + " tokenizer.json. Check the model path");
        }
        if (!Files.exists(folder.resolve("config.json"))) {
            List<String> files = ggufFiles(folder);
            if (!files.isEmpty()) {
                throw new EngineException("MODEL-001", folder + " has no config.json, but GGUF files; name one of them: " + String.join(", ", files));
            }
        }
        ConfigJson json = ConfigJson.read(folder.resolve("config.json"));
        List<String> architectures = json.texts("architectures");
        if (architectures.isEmpty()) {
            throw new EngineException("MODEL-003", json.file() + " names no architecture; 'architectures' should be a list such as"
                    + " [\"LlamaForCausalLM\"]");
        }
        HfArchitecture architecture = HfArchitecture.require(architectures.getFirst(), json.file());
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
        int layers = json.positive("num_hidden_layers");
        // Before a list of that length is made.
        checkLayers(json.file(), layers);
        return new ModelConfig(json.file(), architectures.getFirst(), json.positive("vocab_size"), hidden, json.positive("intermediate_size"),
                layers, heads, kvHeads, headDim, architecture.contextLength(json), (float) json.positiveNumber("rms_norm_eps", 1e-6),
                json.bool("tie_word_embeddings", architecture.tiedByDefault()), architecture.design(json, layers, hidden, headDim),
                json.ids("eos_token_id"));
    }

    /** Floats that the rope tables of all layers have for each position. */
    public double ropeElementsPerPosition() {
        return design.layers().stream().map(DecoderDesign.LayerAttention::rope).filter(Objects::nonNull).distinct()
                .mapToDouble(RopeConfig::rotaryDim).sum();
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

    private static List<String> ggufFiles(Path folder) {
        try (Stream<Path> files = Files.list(folder)) {
            return files.filter(file -> file.toString().endsWith(".gguf")).map(Path::toString).sorted().limit(10).toList();
        } catch (IOException e) {
            return List.of(); // what cannot be read is said by whoever reads it
        }
    }
}

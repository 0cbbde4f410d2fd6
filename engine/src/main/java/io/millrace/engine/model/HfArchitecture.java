package io.millrace.engine.model;

import io.millrace.engine.EngineException;
import io.millrace.engine.model.DecoderDesign.Activation;
import io.millrace.engine.model.DecoderDesign.Builder;
import io.millrace.engine.model.DecoderDesign.LayerAttention;
import io.millrace.kernels.DType;
import java.lang.foreign.MemorySegment;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.List;
import java.util.function.IntPredicate;
import java.util.stream.Collectors;
import java.util.stream.Stream;

/**
 * The architectures that a {@code config.json} may name, and what the keys of each mean. The source of every rule is the architecture's
 * definition in Transformers ({@code modeling_<family>.py} and {@code configuration_<family>.py}).
 */
enum HfArchitecture {
    LLAMA("LlamaForCausalLM") {
        @Override
        void describe(ConfigJson json, Builder design, Sizes sizes) {
            boolean bias = json.bool("attention_bias", false);
            design.biases(bias, bias, json.bool("mlp_bias", false));
        }
    },
    MISTRAL("MistralForCausalLM") {
        @Override
        void describe(ConfigJson json, Builder design, Sizes sizes) {
            // Absent is the length of the first model, null is none.
            int window = json.positive("sliding_window", json.names("sliding_window") ? 0 : 4096);
            design.layers(windows(json, sizes, window, layer -> true, sizes.rope(), sizes.rope()));
        }
    },
    QWEN2("Qwen2ForCausalLM") {
        @Override
        void describe(ConfigJson json, Builder design, Sizes sizes) {
            design.biases(true, false, false).layers(qwenWindows(json, sizes));
        }
    },
    QWEN3("Qwen3ForCausalLM") {
        @Override
        void describe(ConfigJson json, Builder design, Sizes sizes) {
            boolean bias = json.bool("attention_bias", false);
            design.biases(bias, bias, false).qkNorm().layers(qwenWindows(json, sizes));
        }
    },
    GEMMA("GemmaForCausalLM") {
        @Override
        boolean tiedByDefault() {
            return true;
        }

        @Override
        void describe(ConfigJson json, Builder design, Sizes sizes) {
            boolean bias = json.bool("attention_bias", false);
            gemma(json, design, sizes).biases(bias, bias, false);
        }
    },
    GEMMA2("Gemma2ForCausalLM") {
        @Override
        boolean tiedByDefault() {
            return true;
        }

        @Override
        void describe(ConfigJson json, Builder design, Sizes sizes) {
            boolean bias = json.bool("attention_bias", false);
            // The keys' absence means the value of the 9B model, null means no cap.
            gemma(json, design, sizes).biases(bias, bias, false).postNorms()
                    .attentionScale(1 / Math.sqrt(json.positiveNumber("query_pre_attn_scalar", 256)))
                    .softCaps(json.positiveNumber("attn_logit_softcapping", json.names("attn_logit_softcapping") ? 0 : 50),
                            json.positiveNumber("final_logit_softcapping", json.names("final_logit_softcapping") ? 0 : 30))
                    .layers(windows(json, sizes, json.positive("sliding_window", 4096), layer -> layer % 2 == 0, sizes.rope(), sizes.rope()));
        }
    },
    GEMMA3("Gemma3ForCausalLM") {
        @Override
        boolean tiedByDefault() {
            return true;
        }

        @Override
        RopeConfig rope(ConfigJson json, int headDim) {
            return RopeJson.read(json, "full_attention", json.positiveNumber("rope_theta", 1_000_000), headDim);
        }

        @Override
        void describe(ConfigJson json, Builder design, Sizes sizes) {
            boolean bias = json.bool("attention_bias", false);
            int period = json.positive("sliding_window_pattern", 6);
            gemma(json, design, sizes).biases(bias, bias, false).postNorms().qkNorm()
                    .attentionScale(1 / Math.sqrt(json.positiveNumber("query_pre_attn_scalar", 256)))
                    .softCaps(json.positiveNumber("attn_logit_softcapping", 0), json.positiveNumber("final_logit_softcapping", 0))
                    .layers(windows(json, sizes, json.positive("sliding_window", 4096), layer -> (layer + 1) % period != 0, sizes.rope(),
                            localRope(json, sizes)));
        }

        /** Sliding layers have a base of their own, and the scaling is that of the others alone. */
        private RopeConfig localRope(ConfigJson json, Sizes sizes) {
            ConfigJson own = json.object("rope_parameters").flatMap(parameters -> parameters.object("sliding_attention")).orElse(null);
            return RopeJson.of(json, own, json.positiveNumber("rope_local_base_freq", 10_000), sizes.headDim());
        }
    },
    PHI3("Phi3ForCausalLM") {
        @Override
        void describe(ConfigJson json, Builder design, Sizes sizes) {
            design.fusedProjections().layers(windows(json, sizes, json.positive("sliding_window", 0), layer -> true, sizes.rope(), sizes.rope()));
        }
    },
    GRANITE("GraniteForCausalLM") {
        @Override
        void describe(ConfigJson json, Builder design, Sizes sizes) {
            boolean bias = json.bool("attention_bias", false);
            design.biases(bias, bias, json.bool("mlp_bias", false)).attentionScale(json.positiveNumber("attention_multiplier", 1))
                    .scales(json.positiveNumber("embedding_multiplier", 1), json.positiveNumber("residual_multiplier", 1),
                            1 / json.positiveNumber("logits_scaling", 1));
        }
    },
    SMOLLM3("SmolLM3ForCausalLM") {
        @Override
        boolean tiedByDefault() {
            return true;
        }

        @Override
        void describe(ConfigJson json, Builder design, Sizes sizes) {
            boolean bias = json.bool("attention_bias", false);
            List<Integer> listed = json.ids("no_rope_layers");
            int interval = json.positive("no_rope_layer_interval", 4);
            if (!listed.isEmpty() && listed.size() != sizes.layers()) {
                throw json.wrong("no_rope_layers", "a list with an entry for each of the " + sizes.layers() + " layers");
            }
            int window = json.bool("use_sliding_window", false) ? json.positive("sliding_window", 0) : 0;
            List<LayerAttention> layers = new ArrayList<>();
            for (LayerAttention layer : windows(json, sizes, window, i -> false, sizes.rope(), sizes.rope())) {
                int i = layers.size();
                // In the list 1 means that rope is used.
                boolean turns = listed.isEmpty() ? (i + 1) % interval != 0 : listed.get(i) != 0;
                layers.add(turns ? layer : new LayerAttention(layer.slidingWindow(), null));
            }
            design.biases(bias, bias, json.bool("mlp_bias", false)).layers(layers);
        }
    };

    /** @param rope of the layers that see everything */
    record Sizes(int layers, int hidden, int headDim, RopeConfig rope) {}

    private final String name;

    HfArchitecture(String name) {
        this.name = name;
    }

    /** @throws EngineException {@code MODEL-003} for an architecture that is not served */
    static HfArchitecture require(String name, Path file) {
        for (HfArchitecture architecture : values()) {
            if (architecture.name.equals(name)) {
                return architecture;
            }
        }
        throw new EngineException("MODEL-003", file + ": architecture '" + name + "' is not supported by this version; supported: "
                + Stream.of(values()).map(architecture -> architecture.name).sorted().collect(Collectors.joining(", ")));
    }

    /** The name in a {@code config.json}. */
    String configName() {
        return name;
    }

    boolean tiedByDefault() {
        return false;
    }

    RopeConfig rope(ConfigJson json, int headDim) {
        return RopeJson.read(json, headDim);
    }

    /** Says what differs from Llama. */
    abstract void describe(ConfigJson json, Builder design, Sizes sizes);

    /** The longest context: YaRN's is often given by its factor alone, beside the length of pre-training. */
    int contextLength(ConfigJson json) {
        int length = json.positive("max_position_embeddings", 2048);
        ConfigJson scaling = json.object("rope_parameters").or(() -> json.object("rope_scaling")).orElse(null);
        if (scaling != null && scaling.text("rope_type").or(() -> scaling.text("type")).orElse("").equals("yarn")) {
            double stretched = scaling.positiveNumber("original_max_position_embeddings", length) * scaling.positiveNumber("factor", 1);
            return (int) Math.clamp(stretched, length, Integer.MAX_VALUE);
        }
        return length;
    }

    DecoderDesign design(ConfigJson json, int layers, int hidden, int headDim) {
        Sizes sizes = new Sizes(layers, hidden, headDim, rope(json, headDim));
        Builder design = new Builder(layers, headDim, sizes.rope()).activation(activation(json));
        describe(json, design, sizes);
        return design.build();
    }

    private Activation activation(ConfigJson json) {
        boolean gemma = this == GEMMA || this == GEMMA2 || this == GEMMA3;
        String key = gemma && json.has("hidden_activation") ? "hidden_activation" : "hidden_act";
        String found = json.text(key).orElse(gemma ? "gelu_pytorch_tanh" : "silu");
        // Gemma's first files say "gelu" and were always run with the tanh approximation, which is what their authors trained with.
        if (gemma ? found.equals("gelu_pytorch_tanh") || this == GEMMA && found.equals("gelu") : found.equals("silu")) {
            return gemma ? Activation.GELU_TANH : Activation.SILU;
        }
        throw new EngineException("MODEL-004", json.file() + ": " + key + " '" + found + "' is not supported for " + name + "; supported: "
                + (gemma ? "gelu_pytorch_tanh" : "silu"));
    }

    /** The factor of the embeddings is rounded to the type that the model computes in. */
    private static Builder gemma(ConfigJson json, Builder design, Sizes sizes) {
        String type = json.text("dtype").or(() -> json.text("torch_dtype")).orElse("float32");
        return design.normsFromOne().scales(embeddingScale(sizes.hidden(), switch (type) {
            case "bfloat16" -> DType.BF16;
            case "float16" -> DType.F16;
            default -> DType.F32;
        }), 1, 1);
    }

    static double embeddingScale(int hidden, DType type) {
        MemorySegment rounded = MemorySegment.ofArray(new byte[4]);
        type.store(rounded, 0, (float) Math.sqrt(hidden));
        return type.load(rounded, 0);
    }

    private static List<LayerAttention> qwenWindows(ConfigJson json, Sizes sizes) {
        int full = (int) Math.min(json.number("max_window_layers", 28), Integer.MAX_VALUE);
        int window = json.bool("use_sliding_window", false) ? json.positive("sliding_window", 4096) : 0;
        return windows(json, sizes, window, layer -> layer >= full, sizes.rope(), sizes.rope());
    }

    /**
     * Which layers slide: those that {@code layer_types} names, without it those of {@code slides}.
     *
     * @param window 0: none
     */
    private static List<LayerAttention> windows(ConfigJson json, Sizes sizes, int window, IntPredicate slides, RopeConfig full,
            RopeConfig sliding) {
        List<String> types = json.texts("layer_types");
        if (!types.isEmpty() && types.size() != sizes.layers()) {
            throw json.wrong("layer_types", "a list with an entry for each of the " + sizes.layers() + " layers");
        }
        List<LayerAttention> layers = new ArrayList<>();
        for (int i = 0; i < sizes.layers(); i++) {
            boolean slide = types.isEmpty() ? slides.test(i) : switch (types.get(i)) {
                case "sliding_attention" -> true;
                case "full_attention" -> false;
                default -> throw json.wrong("layer_types", "a list of full_attention and sliding_attention");
            };
            layers.add(slide ? new LayerAttention(window, sliding) : new LayerAttention(0, full));
        }
        return layers;
    }
}

package io.millrace.engine.model;

import io.millrace.engine.EngineException;
import io.millrace.engine.model.DecoderDesign.Activation;
import io.millrace.engine.model.DecoderDesign.Builder;
import io.millrace.engine.model.DecoderDesign.LayerAttention;
import io.millrace.engine.model.RopeConfig.LongRope;
import io.millrace.engine.model.RopeConfig.Yarn;
import io.millrace.kernels.DType;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.List;
import java.util.Locale;
import java.util.stream.Collectors;
import java.util.stream.Stream;

/**
 * The values of {@code general.architecture} that are served, and what their keys mean. Where the format has no key for something that a
 * {@code config.json} says, the rule is the one that the published models of the architecture follow.
 */
enum GgufArchitecture {
    LLAMA(HfArchitecture.LLAMA), QWEN2(HfArchitecture.QWEN2) {
        @Override
        void describe(GgufKeys keys, Builder design, int hidden, int heads, int headDim) {
            design.biases(true, false, false);
        }
    },
    QWEN3(HfArchitecture.QWEN3) {
        @Override
        void describe(GgufKeys keys, Builder design, int hidden, int heads, int headDim) {
            design.qkNorm();
        }
    },
    GEMMA(HfArchitecture.GEMMA) {
        @Override
        void describe(GgufKeys keys, Builder design, int hidden, int heads, int headDim) {
            gemma(design, hidden);
        }
    },
    GEMMA2(HfArchitecture.GEMMA2) {
        @Override
        void describe(GgufKeys keys, Builder design, int hidden, int heads, int headDim) {
            gemma(design, hidden).postNorms().attentionScale(gemmaScale(keys, hidden, heads, headDim, 46))
                    .softCaps(cap(keys, "attn_logit_softcapping", 50), cap(keys, "final_logit_softcapping", 30));
        }

        @Override
        List<LayerAttention> layers(GgufKeys keys, int layers, RopeConfig rope, int headDim) {
            return each(keys.count("attention.sliding_window", 4096), keys.slidingLayers(layers, 2), rope, rope);
        }
    },
    GEMMA3(HfArchitecture.GEMMA3) {
        @Override
        void describe(GgufKeys keys, Builder design, int hidden, int heads, int headDim) {
            gemma(design, hidden).postNorms().qkNorm().attentionScale(gemmaScale(keys, hidden, heads, headDim, 62))
                    .softCaps(cap(keys, "attn_logit_softcapping", 0), cap(keys, "final_logit_softcapping", 0));
        }

        /** Sliding layers have a base of their own and no scaling. */
        @Override
        List<LayerAttention> layers(GgufKeys keys, int layers, RopeConfig rope, int headDim) {
            RopeConfig local = new RopeConfig(keys.above0("rope.freq_base_swa", 10_000), rope.rotaryDim(), new RopeConfig.Unscaled());
            return each(keys.count("attention.sliding_window", 0), keys.slidingLayers(layers, 6), rope, local);
        }

        @Override
        double defaultTheta() {
            return 1_000_000;
        }
    },
    PHI3(HfArchitecture.PHI3) {
        @Override
        void describe(GgufKeys keys, Builder design, int hidden, int heads, int headDim) {
            design.fusedProjections();
        }
    },
    GRANITE(HfArchitecture.GRANITE) {
        @Override
        void describe(GgufKeys keys, Builder design, int hidden, int heads, int headDim) {
            design.attentionScale(keys.above0("attention.scale", 1 / Math.sqrt(headDim))).scales(keys.above0("embedding_scale", 1),
                    keys.above0("residual_scale", 1), 1 / keys.above0("logit_scale", 1));
        }
    },
    SMOLLM3(HfArchitecture.SMOLLM3) {
        /** The format has no key for the layers without positions; in the published models it is every fourth. */
        @Override
        List<LayerAttention> layers(GgufKeys keys, int layers, RopeConfig rope, int headDim) {
            List<LayerAttention> list = new ArrayList<>();
            for (int i = 0; i < layers; i++) {
                list.add(new LayerAttention(0, (i + 1) % 4 == 0 ? null : rope));
            }
            return list;
        }
    };

    private final HfArchitecture same;

    GgufArchitecture(HfArchitecture same) {
        this.same = same;
    }

    /** @throws EngineException {@code MODEL-003} for an architecture that is not served */
    static GgufArchitecture require(String name, Path file) {
        for (GgufArchitecture architecture : values()) {
            if (architecture.key().equals(name)) {
                return architecture;
            }
        }
        throw new EngineException("MODEL-003", file + ": GGUF files of the architecture '" + name + "' are not supported by this version;"
                + " supported: " + Stream.of(values()).map(GgufArchitecture::key).sorted().collect(Collectors.joining(", ")));
    }

    private String key() {
        return name().toLowerCase(Locale.ROOT);
    }

    /** The architecture's name in a {@code config.json}. */
    String configName() {
        return same.configName();
    }

    DecoderDesign design(GgufKeys keys, int layers, int hidden, int heads, int headDim) {
        RopeConfig rope = rope(keys, headDim);
        Builder design = new Builder(layers, headDim, rope).biases(keys.hasTensor("blk.0.attn_q.bias"), keys.hasTensor("blk.0.attn_output.bias"),
                keys.hasTensor("blk.0.ffn_gate.bias")).layers(layers(keys, layers, rope, headDim));
        describe(keys, design, hidden, heads, headDim);
        return design.build();
    }

    /** Says what differs from Llama. */
    void describe(GgufKeys keys, Builder design, int hidden, int heads, int headDim) {}

    /** A window holds for all layers unless a pattern says otherwise. */
    List<LayerAttention> layers(GgufKeys keys, int layers, RopeConfig rope, int headDim) {
        return each(keys.count("attention.sliding_window", 0), keys.slidingLayers(layers, 0), rope, rope);
    }

    double defaultTheta() {
        return 10_000;
    }

    static List<LayerAttention> each(int window, boolean[] slides, RopeConfig full, RopeConfig sliding) {
        List<LayerAttention> layers = new ArrayList<>();
        for (boolean slide : slides) {
            layers.add(slide && window > 0 ? new LayerAttention(window, sliding) : new LayerAttention(0, full));
        }
        return layers;
    }

    /** Norm weights in these files have their 1 added. All published models compute in BF16, to which the factor is rounded. */
    private static Builder gemma(Builder design, int hidden) {
        return design.activation(Activation.GELU_TANH).scales(HfArchitecture.embeddingScale(hidden, DType.BF16), 1, 1);
    }

    /** The largest model alone scales by the width of a query over all heads, not by the head's own. */
    private static double gemmaScale(GgufKeys keys, int hidden, int heads, int headDim, int largestLayers) {
        boolean largest = keys.positive("block_count") == largestLayers;
        return keys.above0("attention.scale", 1 / Math.sqrt(largest ? (double) (hidden / heads) : headDim));
    }

    private static double cap(GgufKeys keys, String key, double absent) {
        double cap = keys.number(key, absent);
        if (cap < 0) {
            throw keys.wrong(key, cap, "a number above 0, or 0 for none,");
        }
        return cap;
    }

    private RopeConfig rope(GgufKeys keys, int headDim) {
        int rotaryDim = keys.positive("rope.dimension_count", headDim);
        if (rotaryDim % 2 != 0 || rotaryDim > headDim) {
            throw new EngineException("MODEL-007", keys.file().path() + ": rope.dimension_count " + rotaryDim
                    + " must be even and at most key_length " + headDim);
        }
        double theta = keys.above0("rope.freq_base", defaultTheta());
        if (keys.hasTensor("rope_factors_long.weight") || keys.hasTensor("rope_factors_short.weight")) {
            return longRope(keys, theta, rotaryDim);
        }
        if (keys.hasTensor("rope_freqs.weight")) {
            // Llama 3's scaling, computed by the converter.
            return new RopeConfig(theta, rotaryDim, keys.factors("rope_freqs.weight", rotaryDim / 2));
        }
        String type = keys.text("rope.scaling.type").orElse("none");
        return switch (type) {
            case "none" -> new RopeConfig(theta, rotaryDim, new RopeConfig.Unscaled());
            case "linear" -> new RopeConfig(theta, rotaryDim, new RopeConfig.Linear(keys.above0("rope.scaling.factor", 1)));
            case "yarn" -> yarn(keys, theta, rotaryDim);
            default -> throw new EngineException("MODEL-005", keys.file().path() + ": rope scaling '" + type + "' is not supported by this"
                    + " version; supported: none, linear, yarn, and factors in rope_freqs.weight, or rope_factors_long.weight and"
                    + " rope_factors_short.weight. Its positions would be wrong, so the model is not loaded");
        };
    }

    private static RopeConfig longRope(GgufKeys keys, double theta, int rotaryDim) {
        double original = keys.positive("rope.scaling.original_context_length");
        double attention = keys.above0("rope.scaling.attn_factor",
                LongRope.attentionFactor(keys.positive("context_length") / original, original));
        return new RopeConfig(theta, rotaryDim, new LongRope(keys.factors("rope_factors_short.weight", rotaryDim / 2),
                keys.factors("rope_factors_long.weight", rotaryDim / 2), original), attention);
    }

    /** {@code yarn_attn_factor} is what a {@code config.json} calls {@code attention_factor}, the whole factor; absent, the paper's. */
    private static RopeConfig yarn(GgufKeys keys, double theta, int rotaryDim) {
        double factor = keys.above0("rope.scaling.factor", 1);
        Yarn scaling = Yarn.of(factor, theta, rotaryDim, keys.positive("rope.scaling.original_context_length"),
                keys.above0("rope.scaling.yarn_beta_fast", 32), keys.above0("rope.scaling.yarn_beta_slow", 1), true);
        return new RopeConfig(theta, rotaryDim, scaling, keys.above0("rope.scaling.yarn_attn_factor",
                Yarn.attentionFactor(factor, 1) * keys.above0("rope.scaling.attn_factor", 1)));
    }
}

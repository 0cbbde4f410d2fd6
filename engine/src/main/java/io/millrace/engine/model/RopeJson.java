package io.millrace.engine.model;

import io.millrace.engine.EngineException;
import io.millrace.engine.model.RopeConfig.Factors;
import io.millrace.engine.model.RopeConfig.Linear;
import io.millrace.engine.model.RopeConfig.Llama3;
import io.millrace.engine.model.RopeConfig.LongRope;
import io.millrace.engine.model.RopeConfig.Scaling;
import io.millrace.engine.model.RopeConfig.Unscaled;
import io.millrace.engine.model.RopeConfig.Yarn;

/** Rope settings in a {@code config.json}: {@code rope_theta} with {@code rope_scaling}, or {@code rope_parameters}, flat or for each layer type. */
final class RopeJson {
    private RopeJson() {}

    /** The settings that hold for all layers. */
    static RopeConfig read(ConfigJson config, int headDim) {
        return read(config, null, config.positiveNumber("rope_theta", 10_000), headDim);
    }

    /**
     * The settings of one kind of layer where they are written for each, else those for all.
     *
     * @param layerType such as {@code full_attention}; null: all
     * @param theta     used where the parameters have no {@code rope_theta}
     * @throws EngineException {@code MODEL-005} for a kind of rope that is not supported
     */
    static RopeConfig read(ConfigJson config, String layerType, double theta, int headDim) {
        ConfigJson parameters = config.object("rope_parameters").or(() -> config.object("rope_scaling")).orElse(null);
        if (parameters != null && layerType != null && parameters.object(layerType).isPresent()) {
            parameters = parameters.object(layerType).get();
        }
        return of(config, parameters, theta, headDim);
    }

    /** @param parameters null: none */
    static RopeConfig of(ConfigJson config, ConfigJson parameters, double defaultTheta, int headDim) {
        double theta = parameters == null ? defaultTheta : parameters.positiveNumber("rope_theta", defaultTheta);
        double partial = config.positiveNumber("partial_rotary_factor", 1);
        partial = parameters == null ? partial : parameters.positiveNumber("partial_rotary_factor", partial);
        int rotaryDim = (int) (headDim * partial);
        if (rotaryDim % 2 != 0 || rotaryDim < 2 || rotaryDim > headDim) {
            throw new EngineException("MODEL-007", config.file() + ": partial_rotary_factor " + partial + " of head_dim " + headDim + " gives "
                    + rotaryDim + " rotated elements; an even number in [2, " + headDim + "] is needed");
        }
        return parameters == null ? new RopeConfig(theta, rotaryDim, new Unscaled()) : scaled(config, parameters, theta, rotaryDim);
    }

    private static RopeConfig scaled(ConfigJson config, ConfigJson parameters, double theta, int rotaryDim) {
        String type = parameters.text("rope_type").or(() -> parameters.text("type")).orElse("default");
        return switch (type) {
            case "default" -> new RopeConfig(theta, rotaryDim, new Unscaled());
            case "linear" -> new RopeConfig(theta, rotaryDim, new Linear(required(parameters, "factor")));
            case "llama3" -> new RopeConfig(theta, rotaryDim, llama3(config, parameters));
            case "yarn" -> yarn(config, parameters, theta, rotaryDim);
            case "longrope", "su" -> longRope(config, parameters, theta, rotaryDim);
            default -> throw new EngineException("MODEL-005", config.file() + ": rope type '" + type + "' is not supported by this version;"
                    + " supported: default, linear, llama3, yarn, longrope. Its positions would be wrong, so the model is not loaded");
        };
    }

    private static Scaling llama3(ConfigJson config, ConfigJson parameters) {
        Llama3 scaling = new Llama3(required(parameters, "factor"), required(parameters, "low_freq_factor"),
                required(parameters, "high_freq_factor"), originalContext(config, parameters));
        if (scaling.highFreqFactor() <= scaling.lowFreqFactor()) {
            throw new EngineException("MODEL-005", config.file() + ": rope high_freq_factor " + scaling.highFreqFactor()
                    + " must be above low_freq_factor " + scaling.lowFreqFactor());
        }
        return scaling;
    }

    private static RopeConfig yarn(ConfigJson config, ConfigJson parameters, double theta, int rotaryDim) {
        double original = originalContext(config, parameters);
        double factor = stretch(config, parameters, original);
        double attention = Yarn.attentionFactor(factor, 1);
        if (parameters.has("mscale") && parameters.has("mscale_all_dim")) {
            attention = Yarn.attentionFactor(factor, parameters.positiveNumber("mscale", 1))
                    / Yarn.attentionFactor(factor, parameters.positiveNumber("mscale_all_dim", 1));
        }
        return new RopeConfig(theta, rotaryDim, Yarn.of(factor, theta, rotaryDim, original, parameters.positiveNumber("beta_fast", 32),
                parameters.positiveNumber("beta_slow", 1), parameters.bool("truncate", true)), parameters.positiveNumber("attention_factor", attention));
    }

    private static RopeConfig longRope(ConfigJson config, ConfigJson parameters, double theta, int rotaryDim) {
        double original = originalContext(config, parameters);
        double[] shortFactors = parameters.numbers("short_factor", rotaryDim / 2);
        double[] longFactors = parameters.numbers("long_factor", rotaryDim / 2);
        double attention = LongRope.attentionFactor(config.positiveNumber("max_position_embeddings", original) / original, original);
        return new RopeConfig(theta, rotaryDim, new LongRope(new Factors(shortFactors), new Factors(longFactors), original),
                parameters.positiveNumber("attention_factor", attention));
    }

    /** By how much the context is longer than the one of pre-training: written, or the ratio of the two lengths. */
    private static double stretch(ConfigJson config, ConfigJson parameters, double original) {
        return parameters.has("factor") ? required(parameters, "factor") : required(config, "max_position_embeddings") / original;
    }

    private static double originalContext(ConfigJson config, ConfigJson parameters) {
        String key = "original_max_position_embeddings";
        return parameters.has(key) ? required(parameters, key) : config.has(key) ? required(config, key)
                : required(config, "max_position_embeddings");
    }

    private static double required(ConfigJson json, String key) {
        if (!json.has(key)) {
            throw json.wrong(key, "a number above 0, required by this rope type");
        }
        return json.positiveNumber(key, 0);
    }
}

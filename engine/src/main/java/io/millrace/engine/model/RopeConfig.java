package io.millrace.engine.model;

import io.millrace.engine.EngineException;
import io.millrace.kernels.Backend;
import io.millrace.kernels.Rope;
import io.millrace.kernels.Tensor;
import java.util.function.DoubleUnaryOperator;

/**
 * Rotary position embedding (RoFormer, arXiv 2104.09864) as configured, and its tables.
 *
 * @param theta      the base of the frequencies
 * @param rotaryDim  leading elements of each head that are rotated, even
 * @param scaling    how the frequencies are stretched for contexts beyond the pre-training length
 */
public record RopeConfig(double theta, int rotaryDim, Scaling scaling) {
    /** Stretching of the frequencies. */
    public sealed interface Scaling {
        /** The frequency to use in place of {@code inverseFrequency}, in radians per position, for the rotated pair {@code index}. */
        double apply(double inverseFrequency, int index);
    }

    /** The frequencies as they are. */
    public record Unscaled() implements Scaling {
        @Override
        public double apply(double inverseFrequency, int index) {
            return inverseFrequency;
        }
    }

    /** Positional interpolation (arXiv 2306.15595): all positions divided by {@code factor}. */
    public record Linear(double factor) implements Scaling {
        @Override
        public double apply(double inverseFrequency, int index) {
            return inverseFrequency / factor;
        }
    }

    /**
     * The scaling of Llama 3.1 (arXiv 2407.21783): wavelengths well inside the original context stay, those beyond it are stretched by
     * {@code factor}, the band between {@code originalContext / highFreqFactor} and {@code originalContext / lowFreqFactor} is blended.
     */
    public record Llama3(double factor, double lowFreqFactor, double highFreqFactor, double originalContext) implements Scaling {
        @Override
        public double apply(double inverseFrequency, int index) {
            double wavelength = 2 * Math.PI / inverseFrequency;
            if (wavelength < originalContext / highFreqFactor) {
                return inverseFrequency;
            }
            if (wavelength > originalContext / lowFreqFactor) {
                return inverseFrequency / factor;
            }
            double keep = (originalContext / wavelength - lowFreqFactor) / (highFreqFactor - lowFreqFactor);
            return (1 - keep) * inverseFrequency / factor + keep * inverseFrequency;
        }
    }

    /** A factor for every pair: each frequency is divided by its own. */
    public record Factors(double[] factors) implements Scaling {
        @Override
        public double apply(double inverseFrequency, int index) {
            return inverseFrequency / factors[index];
        }
    }

    /**
     * Reads either spelling: {@code rope_theta} with {@code rope_scaling}, or a flat {@code rope_parameters}.
     *
     * @throws EngineException {@code MODEL-005} for a kind of rope that is not supported
     */
    static RopeConfig read(ConfigJson config, int headDim) {
        ConfigJson parameters = config.object("rope_parameters").or(() -> config.object("rope_scaling")).orElse(null);
        double theta = config.positiveNumber("rope_theta", 10_000);
        double partial = config.positiveNumber("partial_rotary_factor", 1);
        Scaling scaling = new Unscaled();
        if (parameters != null) {
            theta = parameters.positiveNumber("rope_theta", theta);
            partial = parameters.positiveNumber("partial_rotary_factor", partial);
            scaling = readScaling(parameters, config);
        }
        int rotaryDim = (int) (headDim * partial);
        if (rotaryDim % 2 != 0 || rotaryDim < 2 || rotaryDim > headDim) {
            throw new EngineException("MODEL-007", config.file() + ": partial_rotary_factor " + partial + " of head_dim " + headDim + " gives "
                    + rotaryDim + " rotated elements; an even number in [2, " + headDim + "] is needed");
        }
        return new RopeConfig(theta, rotaryDim, scaling);
    }

    private static Scaling readScaling(ConfigJson parameters, ConfigJson config) {
        String type = parameters.text("rope_type").or(() -> parameters.text("type")).orElse("default");
        return switch (type) {
            case "default" -> new Unscaled();
            case "linear" -> new Linear(required(parameters, "factor"));
            case "llama3" -> {
                Llama3 scaling = new Llama3(required(parameters, "factor"), required(parameters, "low_freq_factor"),
                        required(parameters, "high_freq_factor"),
                        parameters.has("original_max_position_embeddings") ? required(parameters, "original_max_position_embeddings")
                                : required(config, "max_position_embeddings"));
                if (scaling.highFreqFactor() <= scaling.lowFreqFactor()) {
                    throw new EngineException("MODEL-005", config.file() + ": rope high_freq_factor " + scaling.highFreqFactor()
                            + " must be above low_freq_factor " + scaling.lowFreqFactor());
                }
                yield scaling;
            }
            default -> throw new EngineException("MODEL-005", config.file() + ": rope type '" + type + "' is not supported by this version;"
                    + " supported: default, linear, llama3. Its positions would be wrong, so the model is not loaded");
        };
    }

    private static double required(ConfigJson json, String key) {
        if (!json.has(key)) {
            throw json.wrong(key, "a number above 0, required by this rope type");
        }
        return json.positiveNumber(key, 0);
    }

    /** Cosine and sine tables for positions {@code [0, numPositions)}, computed in double and rounded once. */
    public Rope tables(Backend backend, int numPositions) {
        double[] frequencies = new double[rotaryDim / 2];
        for (int i = 0; i < frequencies.length; i++) {
            frequencies[i] = scaling.apply(Math.pow(theta, -2.0 * i / rotaryDim), i);
        }
        // Straight into the backend's memory: at a million positions the tables are half a gigabyte.
        Angles angles = new Angles(frequencies, numPositions);
        Tensor cos = backend.constant("rope.cos", numPositions, frequencies.length, angles::cosines);
        Tensor sin = backend.constant("rope.sin", numPositions, frequencies.length, angles::sines);
        return new Rope(cos, sin, rotaryDim);
    }

    /**
     * Cosine and sine of {@code position * frequency} as that of a sum: of the first position of its {@link #STRIDE} and of the distance to
     * it. In double that is within 1e-15 of the functions themselves, which would take 0.2 s of two cores for 131,072 positions.
     */
    private static final class Angles {
        private static final int STRIDE = 512;
        private final int cols;
        /** {@code [row, cols]}: of distances 0 .. STRIDE - 1, and of multiples of STRIDE. */
        private final double[] nearCos;
        private final double[] nearSin;
        private final double[] farCos;
        private final double[] farSin;

        Angles(double[] frequencies, int numPositions) {
            cols = frequencies.length;
            int strides = Math.ceilDiv(numPositions, STRIDE);
            nearCos = table(frequencies, STRIDE, 1, Math::cos);
            nearSin = table(frequencies, STRIDE, 1, Math::sin);
            farCos = table(frequencies, strides, STRIDE, Math::cos);
            farSin = table(frequencies, strides, STRIDE, Math::sin);
        }

        private static double[] table(double[] frequencies, int rows, long step, DoubleUnaryOperator function) {
            double[] values = new double[Math.multiplyExact(rows, frequencies.length)];
            for (int i = 0; i < values.length; i++) {
                values[i] = function.applyAsDouble(i / frequencies.length * step * frequencies[i % frequencies.length]);
            }
            return values;
        }

        void cosines(long position, float[] out) {
            int near = (int) (position % STRIDE) * cols;
            int far = (int) (position / STRIDE) * cols;
            for (int i = 0; i < cols; i++) {
                out[i] = (float) (farCos[far + i] * nearCos[near + i] - farSin[far + i] * nearSin[near + i]);
            }
        }

        void sines(long position, float[] out) {
            int near = (int) (position % STRIDE) * cols;
            int far = (int) (position / STRIDE) * cols;
            for (int i = 0; i < cols; i++) {
                out[i] = (float) (farSin[far + i] * nearCos[near + i] + farCos[far + i] * nearSin[near + i]);
            }
        }
    }
}

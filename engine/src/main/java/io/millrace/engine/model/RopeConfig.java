package io.millrace.engine.model;

import io.millrace.engine.EngineException;
import io.millrace.kernels.Backend;
import io.millrace.kernels.Rope;
import io.millrace.kernels.Tensor;
import java.util.function.DoubleUnaryOperator;

/**
 * Rotary position embedding (RoFormer, arXiv 2104.09864) as configured, and its tables.
 *
 * @param theta           the base of the frequencies
 * @param rotaryDim       leading elements of each head that are rotated, even
 * @param scaling         how the frequencies are stretched for contexts beyond the pre-training length
 * @param attentionFactor multiplied into cosine and sine, so that scores of rotated elements change by its square
 */
public record RopeConfig(double theta, int rotaryDim, Scaling scaling, double attentionFactor) {
    private static final double MAX_THETA = 1e15;
    private static final double MAX_ATTENTION_FACTOR = 1e3;
    /** Leaves everything as it is, by angles of 0. */
    static final RopeConfig NONE = new RopeConfig(1, 2, new Linear(Double.POSITIVE_INFINITY));

    /** @throws EngineException {@code MODEL-005} for a base or a factor that gives no angles */
    public RopeConfig {
        if (!(theta >= 1 && theta <= MAX_THETA && attentionFactor > 0 && attentionFactor <= MAX_ATTENTION_FACTOR)) {
            throw new EngineException("MODEL-005", "rope with the base " + theta + " and the attention factor " + attentionFactor
                    + " gives no positions; a base in [1, " + MAX_THETA + "] and a factor in (0, " + MAX_ATTENTION_FACTOR + "] are needed. Download the"
                    + " model again");
        }
    }

    public RopeConfig(double theta, int rotaryDim, Scaling scaling) {
        this(theta, rotaryDim, scaling, 1);
    }

    /** Stretching of the frequencies. */
    public sealed interface Scaling {
        /** The frequency to use in place of {@code inverseFrequency}, in radians per position, for the rotated pair {@code index}. */
        double apply(double inverseFrequency, int index);

        /** The stretching that serves contexts of {@code numPositions}. */
        default Scaling forContext(int numPositions) {
            return this;
        }
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
     * YaRN (arXiv 2309.00071): pairs below {@code low} keep their frequency, those above {@code high} are interpolated by {@code factor}, the
     * ones between are blended.
     */
    public record Yarn(double factor, double low, double high) implements Scaling {
        /**
         * @param betaFast turns within the original context from which on a pair keeps its frequency, {@code betaSlow} those up to which it
         *                 is interpolated
         * @param truncate whether the edges are moved outwards to whole pairs
         */
        static Yarn of(double factor, double theta, int rotaryDim, double originalContext, double betaFast, double betaSlow, boolean truncate) {
            double low = pair(betaFast, theta, rotaryDim, originalContext);
            double high = pair(betaSlow, theta, rotaryDim, originalContext);
            low = Math.max(truncate ? Math.floor(low) : low, 0);
            high = Math.min(truncate ? Math.ceil(high) : high, rotaryDim - 1);
            return new Yarn(factor, low, high == low ? high + 0.001 : high);
        }

        private static double pair(double turns, double theta, int rotaryDim, double originalContext) {
            return rotaryDim * Math.log(originalContext / (turns * 2 * Math.PI)) / (2 * Math.log(theta));
        }

        /** The factor for cosine and sine of a context stretched by {@code factor}. */
        static double attentionFactor(double factor, double mscale) {
            return factor <= 1 ? 1 : 0.1 * mscale * Math.log(factor) + 1;
        }

        @Override
        public double apply(double inverseFrequency, int index) {
            double interpolated = Math.clamp((index - low) / (high - low), 0, 1);
            return inverseFrequency / factor * interpolated + inverseFrequency * (1 - interpolated);
        }
    }

    /**
     * LongRoPE (arXiv 2402.13753): factors for every pair, one set for contexts up to the original length, one for longer ones. Which set
     * serves is chosen once, by the longest context that the server allows ({@code --max-model-len}): keys in the cache turn by what they
     * were written with.
     */
    public record LongRope(Factors shortFactors, Factors longFactors, double originalContext) implements Scaling {
        @Override
        public double apply(double inverseFrequency, int index) {
            return shortFactors.apply(inverseFrequency, index);
        }

        @Override
        public Scaling forContext(int numPositions) {
            return numPositions > originalContext ? longFactors : shortFactors;
        }

        /** The factor for cosine and sine of a context stretched by {@code factor}. */
        static double attentionFactor(double factor, double originalContext) {
            return factor <= 1 ? 1 : Math.sqrt(1 + Math.log(factor) / Math.log(originalContext));
        }
    }

    /** {@link #tables(Backend, String, int)} of the name {@code rope}. */
    public Rope tables(Backend backend, int numPositions) {
        return tables(backend, "rope", numPositions);
    }

    /** Cosine and sine tables for positions {@code [0, numPositions)}, computed in double and rounded once. */
    public Rope tables(Backend backend, String name, int numPositions) {
        Scaling used = scaling.forContext(numPositions);
        double[] frequencies = new double[rotaryDim / 2];
        for (int i = 0; i < frequencies.length; i++) {
            frequencies[i] = used.apply(Math.pow(theta, -2.0 * i / rotaryDim), i);
        }
        // Straight into the backend's memory: at a million positions the tables are half a gigabyte.
        Angles angles = new Angles(frequencies, numPositions, attentionFactor);
        Tensor cos = backend.positionTable(name + ".cos", numPositions, frequencies.length, angles::cosines);
        Tensor sin = backend.positionTable(name + ".sin", numPositions, frequencies.length, angles::sines);
        return new Rope(cos, sin, rotaryDim);
    }

    /**
     * Cosine and sine of {@code position * frequency}, times a factor, as that of a sum: of the first position of its {@link #STRIDE} and of the distance to
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

        Angles(double[] frequencies, int numPositions, double factor) {
            cols = frequencies.length;
            int strides = Math.ceilDiv(numPositions, STRIDE);
            nearCos = table(frequencies, STRIDE, 1, angle -> factor * Math.cos(angle));
            nearSin = table(frequencies, STRIDE, 1, angle -> factor * Math.sin(angle));
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

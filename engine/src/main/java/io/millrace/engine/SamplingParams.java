package io.millrace.engine;

import io.millrace.engine.grammar.Constraint;

/**
 * How tokens of one sequence are chosen. Values are validated where they enter the system (the server); the meaning and order of the
 * steps is {@link io.millrace.kernels.SamplingRows}. Arrays are not copied and must not be changed.
 *
 * @param temperature       0 = greedy
 * @param topK              0 = off
 * @param topP              1 = off
 * @param minP              0 = off
 * @param repetitionPenalty 1 = off
 * @param seed              draws depend on it and on the output position only
 * @param maxTokens         output tokens at most (at least 0; 0 only scores the prompt)
 * @param minTokens         until so many were produced, end-of-sequence and stop tokens are suppressed
 * @param stopTokenIds      end the sequence and are not part of the text; the model's own eos ids are not repeated here
 * @param numLogprobs       alternatives to report per output token; -1 = no log-probabilities
 * @param numPromptLogprobs the same for prompt tokens; -1 = none
 * @param constraint        what the whole output must be, compiled for the engine's vocabulary; null = anything
 */
public record SamplingParams(float temperature, int topK, float topP, float minP, float repetitionPenalty, float frequencyPenalty,
        float presencePenalty, long seed, int maxTokens, int minTokens, boolean ignoreEos, int[] stopTokenIds, int[] biasIds,
        float[] biasValues, int numLogprobs, int numPromptLogprobs, Constraint constraint) {

    private static final int[] NO_IDS = {};
    private static final float[] NO_VALUES = {};

    /** Greedy decoding of {@code maxTokens} tokens, everything else off. */
    public static SamplingParams greedy(int maxTokens) {
        return builder().temperature(0f).maxTokens(maxTokens).build();
    }

    public static Builder builder() {
        return new Builder();
    }

    public boolean hasPenalties() {
        return repetitionPenalty != 1f || frequencyPenalty != 0f || presencePenalty != 0f;
    }

    /** Mutable; defaults are temperature 1 and no limits but 16 tokens. */
    public static final class Builder {
        private float temperature = 1f;
        private int topK;
        private float topP = 1f;
        private float minP;
        private float repetitionPenalty = 1f;
        private float frequencyPenalty;
        private float presencePenalty;
        private long seed;
        private int maxTokens = 16;
        private int minTokens;
        private boolean ignoreEos;
        private int[] stopTokenIds = NO_IDS;
        private int[] biasIds = NO_IDS;
        private float[] biasValues = NO_VALUES;
        private int numLogprobs = -1;
        private int numPromptLogprobs = -1;
        private Constraint constraint;

        private Builder() {}

        public Builder temperature(float value) {
            temperature = value;
            return this;
        }

        public Builder topK(int value) {
            topK = value;
            return this;
        }

        public Builder topP(float value) {
            topP = value;
            return this;
        }

        public Builder minP(float value) {
            minP = value;
            return this;
        }

        public Builder repetitionPenalty(float value) {
            repetitionPenalty = value;
            return this;
        }

        public Builder frequencyPenalty(float value) {
            frequencyPenalty = value;
            return this;
        }

        public Builder presencePenalty(float value) {
            presencePenalty = value;
            return this;
        }

        public Builder seed(long value) {
            seed = value;
            return this;
        }

        public Builder maxTokens(int value) {
            maxTokens = value;
            return this;
        }

        public Builder minTokens(int value) {
            minTokens = value;
            return this;
        }

        public Builder ignoreEos(boolean value) {
            ignoreEos = value;
            return this;
        }

        public Builder stopTokenIds(int... value) {
            stopTokenIds = value;
            return this;
        }

        public Builder bias(int[] ids, float[] values) {
            biasIds = ids;
            biasValues = values;
            return this;
        }

        public Builder numLogprobs(int value) {
            numLogprobs = value;
            return this;
        }

        public Builder numPromptLogprobs(int value) {
            numPromptLogprobs = value;
            return this;
        }

        public Builder constraint(Constraint value) {
            constraint = value;
            return this;
        }

        public SamplingParams build() {
            return new SamplingParams(temperature, topK, topP, minP, repetitionPenalty, frequencyPenalty, presencePenalty, seed,
                    maxTokens, minTokens, ignoreEos, stopTokenIds, biasIds, biasValues, numLogprobs, numPromptLogprobs, constraint);
        }
    }
}

package io.millrace.scheduler.simulate;

import io.millrace.engine.StepPlan;
import java.util.function.ToLongFunction;

/**
 * How long a step takes, as a sum of what it does:
 *
 * <pre>
 *   fixed            weights are read once, kernels are started          x 1
 *   per token        matrix products, computed tokens                    x tokens
 *   per sequence     sampling, one row of logits                         x sequences
 *   per context      keys and values read from the cache                 x sum over sequences of (computed + new) tokens
 *   per pair         attention of new tokens to those before             x sum over new tokens of the tokens they attend to
 * </pre>
 *
 * A decode has as many pairs as context, so it pays both; a long chunk is ruled by its pairs. All in nanoseconds, none negative.
 *
 * @param source where the numbers come from, for people
 */
public record StepCost(String source, double fixedNanos, double perTokenNanos, double perSequenceNanos, double perContextTokenNanos,
        double perPairNanos) implements ToLongFunction<StepPlan> {

    static final int NUM_TERMS = 5;

    /**
     * An 8-billion-parameter Llama in bfloat16 on one H100, put together from published figures, not measured by this project: between
     * tokens 6.44 ms and 43.7 ns per context token at concurrency 1 (vLLM's blog of 2026-04-22), prompts at 600 TFLOP/s (the same
     * blog's TTFT of 32K and 128K prompts), 1.5e10 FLOP per token and 5.2e5 per pair. Sampling is within the fixed part.
     */
    public static final StepCost H100_8B_BF16 = new StepCost("an 8B model in bfloat16 on one H100, from published figures",
            6_415_000, 25_000, 0, 42.8, 0.87);

    public StepCost {
        for (double value : new double[] {fixedNanos, perTokenNanos, perSequenceNanos, perContextTokenNanos, perPairNanos}) {
            if (!(value >= 0 && Double.isFinite(value))) {
                throw new IllegalArgumentException("SIM-001: a cost of " + value + " ns in (" + fixedNanos + ", " + perTokenNanos + ", "
                        + perSequenceNanos + ", " + perContextTokenNanos + ", " + perPairNanos + "): use numbers of at least 0");
            }
        }
    }

    /** Nanoseconds of a step that is planned or executed, not settled; at least 1. */
    @Override
    public long applyAsLong(StepPlan plan) {
        long context = 0;
        long pairs = 0;
        for (int i = 0; i < plan.size(); i++) {
            long first = plan.firstPosition(i);
            long count = plan.numTokens(i);
            context += first + count;
            pairs += pairs(first, count);
        }
        double nanos = fixedNanos + perTokenNanos * plan.totalTokens() + perSequenceNanos * plan.size() + perContextTokenNanos * context
                + perPairNanos * pairs;
        return Math.max(1, Math.round(nanos));
    }

    /** What {@link #applyAsLong} multiplies the five costs with, in the order of the record. */
    static double[] terms(StepPlan plan) {
        double[] terms = {1, plan.totalTokens(), plan.size(), 0, 0};
        for (int i = 0; i < plan.size(); i++) {
            terms[3] += plan.firstPosition(i) + plan.numTokens(i);
            terms[4] += pairs(plan.firstPosition(i), plan.numTokens(i));
        }
        return terms;
    }

    private static long pairs(long first, long count) {
        return count * first + count * (count + 1) / 2;
    }
}

package io.millrace.kernels.reference;

import io.millrace.kernels.SamplingRows;
import io.millrace.kernels.Tensor;
import java.lang.foreign.MemorySegment;
import java.lang.foreign.ValueLayout;
import java.util.Arrays;

/**
 * Sampling, one row at a time, in the order in which {@link SamplingRows} tells it. Logit arithmetic (bias, penalties) is in float
 * with one rounding per operation, so that ties are the same on every backend; probabilities are in double.
 */
final class ReferenceSampler {
    private static final ValueLayout.OfInt I32 = ValueLayout.JAVA_INT;
    private static final ValueLayout.OfFloat F32 = ValueLayout.JAVA_FLOAT;
    private static final ValueLayout.OfLong I64 = ValueLayout.JAVA_LONG;
    /** All of native memory: the row's lists are given by address. */
    private static final MemorySegment NATIVE = MemorySegment.NULL.reinterpret(Long.MAX_VALUE);

    private final StepSlots slots;
    private SamplingRows rows;
    private final int vocab;
    private final float[] logits;
    /** Unnormalised probability of each id; 0 for those that the filters dropped. */
    private final double[] weights;
    private final boolean[] seen;
    private final int[] outputCount;
    /** Ids in descending order of logit, ties to the lower id, packed as (order of logit, id). */
    private final long[] order;
    /** logsumexp of the raw row is {@code rawMax + logTotal}: kept apart, for the sum would lose the second where the first is huge. */
    private double rawMax;
    private double logTotal;

    ReferenceSampler(StepSlots slots, int vocab) {
        this.slots = slots;
        this.vocab = vocab;
        logits = new float[vocab];
        weights = new double[vocab];
        seen = new boolean[vocab];
        outputCount = new int[vocab];
        order = new long[vocab];
    }

    /** Row {@code r} of {@code logits} {@code [L, vocab]}; results go to the output arrays of the sampling rows. */
    void sample(Tensor logitsTensor, int r) {
        rows = slots.now.sampling;
        loadFinite(logitsTensor, r);
        setLogSumExp();
        sortByLogit();
        reportTop(r);

        int target = rows.target.getAtIndex(I32, r);
        int token;
        if (target >= 0) {
            token = target;
        } else {
            applyBiasMaskAndSuppression(r);
            applyPenalties(r);
            token = rows.temperature.getAtIndex(F32, r) == 0 ? largest() : draw(r);
        }
        rows.token.setAtIndex(I32, r, token);

        // Statistics are those of the raw logits: the working copy has been changed.
        loadFinite(logitsTensor, r);
        rows.logprob.setAtIndex(F32, r, logprob(token));
        rows.rank.setAtIndex(I32, r, rank(token));
    }

    private void loadFinite(Tensor tensor, int r) {
        for (int id = 0; id < vocab; id++) {
            float logit = tensor.data().getAtIndex(F32, (long) r * vocab + id);
            logits[id] = Float.isNaN(logit) ? Float.NEGATIVE_INFINITY : Math.min(logit, Float.MAX_VALUE);
        }
    }

    private void setLogSumExp() {
        rawMax = logits[largest()];
        double total = 0;
        for (float logit : logits) {
            total += Math.exp(logit - rawMax);
        }
        logTotal = Math.log(total);
    }

    /** {@code logit - logsumexp}; -inf for an impossible id, also where all are. */
    private float logprob(int id) {
        return logits[id] == Float.NEGATIVE_INFINITY ? Float.NEGATIVE_INFINITY : (float) (logits[id] - rawMax - logTotal);
    }

    private int rank(int id) {
        int rank = 1;
        for (float logit : logits) {
            if (logit > logits[id]) {
                rank++;
            }
        }
        return rank;
    }

    private void reportTop(int r) {
        int numTop = Math.min(Math.min(rows.numTop.getAtIndex(I32, r), rows.maxTop()), vocab);
        for (int i = 0; i < numTop; i++) {
            int id = (int) order[i];
            rows.topIds.setAtIndex(I32, (long) r * rows.maxTop() + i, id);
            rows.topLogprobs.setAtIndex(F32, (long) r * rows.maxTop() + i, logprob(id));
        }
    }

    private void applyBiasMaskAndSuppression(int r) {
        long ids = rows.biasIds.getAtIndex(I64, r);
        long values = rows.biasValues.getAtIndex(I64, r);
        for (int i = 0; i < rows.biasCount.getAtIndex(I32, r); i++) {
            int id = intAt(ids, i);
            if (inVocabulary(id)) {
                logits[id] += NATIVE.get(ValueLayout.JAVA_FLOAT_UNALIGNED, values + 4L * i);
            }
        }
        long mask = rows.allowedMask.getAtIndex(I64, r);
        if (mask != 0) {
            for (int id = 0; id < vocab; id++) {
                if ((intAt(mask, id / 32) >>> (id % 32) & 1) == 0) {
                    logits[id] = Float.NEGATIVE_INFINITY;
                }
            }
        }
        long suppressed = rows.suppressIds.getAtIndex(I64, r);
        for (int i = 0; i < rows.suppressCount.getAtIndex(I32, r); i++) {
            int id = intAt(suppressed, i);
            if (inVocabulary(id)) {
                logits[id] = Float.NEGATIVE_INFINITY;
            }
        }
    }

    private void applyPenalties(int r) {
        float repetition = rows.repetitionPenalty.getAtIndex(F32, r);
        float frequency = rows.frequencyPenalty.getAtIndex(F32, r);
        float presence = rows.presencePenalty.getAtIndex(F32, r);
        long history = rows.history.getAtIndex(I64, r);
        if (history == 0 || (repetition == 1 && frequency == 0 && presence == 0)) {
            return;
        }
        int source = rows.historySource.getAtIndex(I32, r);
        if (source >= 0) {
            NATIVE.set(ValueLayout.JAVA_INT_UNALIGNED, history + 4L * (rows.historyLen.getAtIndex(I32, r) - 1), slots.before.sampling.token(source));
        }
        Arrays.fill(seen, false);
        Arrays.fill(outputCount, 0);
        int promptLen = rows.promptLen.getAtIndex(I32, r);
        for (int i = 0; i < rows.historyLen.getAtIndex(I32, r); i++) {
            int id = intAt(history, i);
            if (inVocabulary(id)) {
                seen[id] = true;
                outputCount[id] += i >= promptLen ? 1 : 0;
            }
        }
        for (int id = 0; id < vocab; id++) {
            if (seen[id]) {
                logits[id] = logits[id] > 0 ? logits[id] / repetition : logits[id] * repetition;
            }
            if (outputCount[id] > 0) {
                logits[id] -= frequency * outputCount[id] + presence;
            }
        }
    }

    /** The id with the largest logit; of equals the lowest. */
    private int largest() {
        int best = 0;
        for (int id = 1; id < vocab; id++) {
            if (logits[id] > logits[best]) {
                best = id;
            }
        }
        return best;
    }

    private int draw(int r) {
        int best = largest();
        if (logits[best] == Float.NEGATIVE_INFINITY) {
            return 0; // Every id is impossible: the lowest, as greedy decoding has it.
        }
        double temperature = rows.temperature.getAtIndex(F32, r);
        for (int id = 0; id < vocab; id++) {
            // Relative to the largest: no temperature, however small, overflows.
            weights[id] = Math.exp(((double) logits[id] - logits[best]) / temperature);
        }
        sortByLogit();
        int kept = keepMinP(rows.minP.getAtIndex(F32, r));
        kept = keepTopK(kept, rows.topK.getAtIndex(I32, r));
        kept = keepTopP(kept, rows.topP.getAtIndex(F32, r));
        for (int i = kept; i < vocab; i++) {
            weights[(int) order[i]] = 0;
        }
        double total = 0;
        for (double weight : weights) {
            total += weight;
        }
        double threshold = uniform(rows.seed.getAtIndex(I64, r), rows.drawIndex.getAtIndex(I32, r)) * total;
        double sum = 0;
        int token = best;
        for (int id = 0; id < vocab; id++) {
            sum += weights[id];
            if (weights[id] > 0) {
                token = id;
                if (sum > threshold) {
                    break;
                }
            }
        }
        return token;
    }

    // The filters keep a prefix of `order`: each takes the length of the present one and returns that of the new one.

    private int keepMinP(float minP) {
        int kept = vocab;
        while (kept > 1 && weights[(int) order[kept - 1]] < minP) {
            kept--; // The largest weight is 1.
        }
        return kept;
    }

    private static int keepTopK(int kept, int topK) {
        return topK > 0 ? Math.min(kept, topK) : kept;
    }

    private int keepTopP(int kept, float topP) {
        if (topP >= 1) {
            return kept;
        }
        double total = 0;
        for (int i = 0; i < kept; i++) {
            total += weights[(int) order[i]];
        }
        double sum = 0;
        for (int i = 0; i < kept; i++) {
            sum += weights[(int) order[i]];
            if (sum >= topP * total) {
                return i + 1;
            }
        }
        return kept;
    }

    private void sortByLogit() {
        for (int id = 0; id < vocab; id++) {
            int bits = Float.floatToIntBits(logits[id] + 0f); // -0 becomes 0: they are equal.
            int ascending = bits ^ (bits >> 31 & Integer.MAX_VALUE);
            order[id] = (long) ~ascending << 32 | id;
        }
        Arrays.sort(order);
    }

    /** Uniform in [0, 1) with 53 bits, from seed and position alone (SplitMix64, Steele et al. 2014). */
    static double uniform(long seed, int drawIndex) {
        return (mix64(mix64(seed) + (drawIndex + 1L) * 0x9E3779B97F4A7C15L) >>> 11) * 0x1p-53;
    }

    private static long mix64(long z) {
        z = (z ^ z >>> 30) * 0xBF58476D1CE4E5B9L;
        z = (z ^ z >>> 27) * 0x94D049BB133111EBL;
        return z ^ z >>> 31;
    }

    private static int intAt(long address, long index) {
        return NATIVE.get(ValueLayout.JAVA_INT_UNALIGNED, address + 4 * index);
    }

    private boolean inVocabulary(int id) {
        return id >= 0 && id < vocab;
    }
}

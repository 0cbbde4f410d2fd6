package io.millrace.kernels;

import java.lang.foreign.MemorySegment;
import java.lang.foreign.SegmentAllocator;
import java.lang.foreign.ValueLayout;

/**
 * Sampling inputs and outputs of a step, one entry per logit row, as parallel arrays at fixed native addresses.
 *
 * <p>What {@link Ops#sample} does with row {@code r}, in this order:
 * <ol>
 * <li><b>Log-probabilities</b> are those of the raw logits: {@code logprob = logit - logsumexp(logits)}. If {@code target[r] >= 0}
 *     the row is only scored: {@code token = target}. The {@code numTop[r]} most likely ids (ties: lower id first) and their
 *     log-probabilities go to {@code topId / topLogprob}; {@code rank} is 1 + the number of ids with a larger logit.
 * <li><b>Bias</b>: {@code logit[biasIds[i]] += biasValues[i]}. <b>Mask</b>: if {@code allowedMask != 0}, ids whose bit (id % 32 of word
 *     id / 32) is clear get -inf. <b>Suppression</b>: the {@code suppressCount} ids of {@code suppressIds} get -inf.
 * <li><b>Penalties</b> over {@code history[0, historyLen)}, of which {@code [0, promptLen)} is the prompt: repetition (CTRL,
 *     arXiv 1909.05858: positive logits divided, others multiplied) for ids in prompt or output; {@code frequency * count +
 *     presence} subtracted for ids in the output.
 * <li>{@code temperature == 0}: the id with the largest logit, ties to the lower id. Otherwise logits / temperature, softmax, then
 *     <b>min-p</b> (keep {@code p >= minP * max p}), <b>top-k</b> (0 = off; exactly k ids, ties at the edge to lower ids), <b>top-p</b>
 *     over what is left, renormalised (the shortest prefix in descending order, ties to lower ids, whose sum reaches topP).
 * <li><b>Draw</b>: {@code u = (mix64(mix64(seed) + (drawIndex + 1) * 0x9E3779B97F4A7C15) >>> 11) * 2^-53}; the first kept id, in
 *     ascending id order, at which the running sum of kept probabilities exceeds {@code u * total}. mix64 is SplitMix64's finaliser
 *     (Steele et al. 2014). The draw depends on seed and position only, so a recomputed sequence draws the same tokens.
 * </ol>
 * Where doubt could arise:
 * <ul>
 * <li>A NaN logit counts as -inf and a +inf logit as the largest finite float. The log-probability of an id at -inf is -inf;
 *     the others' is {@code (logit - max) - log(sum(exp(logit - max)))}, which stays exact for logits of any size.
 * <li>If every id is at -inf after the mask, suppression and penalties, the token is 0, greedy or drawn: never a hang or a crash.
 * <li>Bias and penalties are float arithmetic, one rounding per operation, with {@code frequency * count + presence} summed before
 *     it is subtracted. Equal logits are ties; probabilities that only round to equal ones are not.
 * <li>The softmax is that of {@code (logit - largest logit) / temperature}, so that no temperature overflows. {@code topK < 0} is
 *     off like 0, {@code topP >= 1} and {@code minP <= 0} are off; the most likely id is always kept.
 * <li>{@code token}, {@code logprob} and {@code rank} of a drawn or greedy row are those of the chosen id under the raw logits.
 * <li>Ids outside the vocabulary in bias, suppression and history are ignored. {@code numTop} is cut to {@link #maxTop()} and the
 *     vocabulary. {@code target} must be inside the vocabulary.
 * <li>If rounding lets the running sum end at or under {@code u * total}, the last kept id is drawn.
 * </ul>
 * Addresses are raw native addresses owned by the caller, valid during {@link Backend#run}; 0 means absent.
 */
public final class SamplingRows {
    private static final ValueLayout.OfInt I32 = ValueLayout.JAVA_INT;
    private static final ValueLayout.OfFloat F32 = ValueLayout.JAVA_FLOAT;
    private static final ValueLayout.OfLong I64 = ValueLayout.JAVA_LONG;

    private final int capacity;
    private final int maxTop;
    public final MemorySegment temperature;
    public final MemorySegment topK;
    public final MemorySegment topP;
    public final MemorySegment minP;
    public final MemorySegment repetitionPenalty;
    public final MemorySegment frequencyPenalty;
    public final MemorySegment presencePenalty;
    public final MemorySegment seed;
    public final MemorySegment drawIndex;
    public final MemorySegment target;
    public final MemorySegment numTop;
    public final MemorySegment history;
    public final MemorySegment historyLen;
    /** The logit row of the run before that drew the last entry of the history, which is filled in by {@link Ops#sample}; -1 = it is there. */
    public final MemorySegment historySource;
    public final MemorySegment promptLen;
    public final MemorySegment biasIds;
    public final MemorySegment biasValues;
    public final MemorySegment biasCount;
    public final MemorySegment suppressIds;
    public final MemorySegment suppressCount;
    public final MemorySegment allowedMask;
    public final MemorySegment token;
    public final MemorySegment logprob;
    public final MemorySegment rank;
    public final MemorySegment topIds;
    public final MemorySegment topLogprobs;

    SamplingRows(SegmentAllocator arena, int capacity, int maxTop) {
        this.capacity = capacity;
        this.maxTop = maxTop;
        temperature = array(arena, capacity, 4);
        topK = array(arena, capacity, 4);
        topP = array(arena, capacity, 4);
        minP = array(arena, capacity, 4);
        repetitionPenalty = array(arena, capacity, 4);
        frequencyPenalty = array(arena, capacity, 4);
        presencePenalty = array(arena, capacity, 4);
        seed = array(arena, capacity, 8);
        drawIndex = array(arena, capacity, 4);
        target = array(arena, capacity, 4);
        numTop = array(arena, capacity, 4);
        history = array(arena, capacity, 8);
        historyLen = array(arena, capacity, 4);
        historySource = array(arena, capacity, 4);
        promptLen = array(arena, capacity, 4);
        biasIds = array(arena, capacity, 8);
        biasValues = array(arena, capacity, 8);
        biasCount = array(arena, capacity, 4);
        suppressIds = array(arena, capacity, 8);
        suppressCount = array(arena, capacity, 4);
        allowedMask = array(arena, capacity, 8);
        token = array(arena, capacity, 4);
        logprob = array(arena, capacity, 4);
        rank = array(arena, capacity, 4);
        topIds = array(arena, (long) capacity * Math.max(1, maxTop), 4);
        topLogprobs = array(arena, (long) capacity * Math.max(1, maxTop), 4);
    }

    private static MemorySegment array(SegmentAllocator arena, long count, int elementBytes) {
        return arena.allocate(count * elementBytes, 64);
    }

    /** Bytes of all arrays. */
    long byteSize() {
        return java.util.stream.Stream.of(temperature, topK, topP, minP, repetitionPenalty, frequencyPenalty, presencePenalty, seed, drawIndex,
                target, numTop, history, historyLen, historySource, promptLen, biasIds, biasValues, biasCount, suppressIds, suppressCount, allowedMask, token,
                logprob, rank, topIds, topLogprobs).mapToLong(MemorySegment::byteSize).sum();
    }

    /** Rows that fit. */
    public int capacity() {
        return capacity;
    }

    /** The most alternatives a row can report. */
    public int maxTop() {
        return maxTop;
    }

    /** Row {@code r} only scores {@code targetId}: no draw. */
    public void setScored(int r, int targetId, int top) {
        setGreedy(r, top);
        target.setAtIndex(I32, r, targetId);
    }

    /** Row {@code r} takes the most likely token: all modifiers off. */
    public void setGreedy(int r, int top) {
        setDraw(r, 0f, 0, 1f, 0f, 0L, 0);
        setPenalties(r, 1f, 0f, 0f, 0L, 0, 0);
        setBias(r, 0L, 0L, 0);
        setSuppressed(r, 0L, 0);
        allowedMask.setAtIndex(I64, r, 0L);
        target.setAtIndex(I32, r, -1);
        numTop.setAtIndex(I32, r, top);
    }

    public void setDraw(int r, float temperatureValue, int topKValue, float topPValue, float minPValue, long seedValue, int draw) {
        temperature.setAtIndex(F32, r, temperatureValue);
        topK.setAtIndex(I32, r, topKValue);
        topP.setAtIndex(F32, r, topPValue);
        minP.setAtIndex(F32, r, minPValue);
        seed.setAtIndex(I64, r, seedValue);
        drawIndex.setAtIndex(I32, r, draw);
    }

    /** {@code historyAddress}: int32 token ids, prompt first; 0 when all penalties are neutral (1, 0, 0). */
    public void setPenalties(int r, float repetition, float frequency, float presence, long historyAddress, int promptTokens, int tokens) {
        repetitionPenalty.setAtIndex(F32, r, repetition);
        frequencyPenalty.setAtIndex(F32, r, frequency);
        presencePenalty.setAtIndex(F32, r, presence);
        history.setAtIndex(I64, r, historyAddress);
        promptLen.setAtIndex(I32, r, promptTokens);
        historyLen.setAtIndex(I32, r, tokens);
        historySource.setAtIndex(I32, r, -1);
    }

    /** After {@link #setPenalties}: the last of its tokens is what the run before drew for its row {@code sourceRow}. */
    public void setHistorySource(int r, int sourceRow) {
        historySource.setAtIndex(I32, r, sourceRow);
    }

    /** {@code idsAddress}: int32 ids, {@code valuesAddress}: float values, {@code count} of each. */
    public void setBias(int r, long idsAddress, long valuesAddress, int count) {
        biasIds.setAtIndex(I64, r, idsAddress);
        biasValues.setAtIndex(I64, r, valuesAddress);
        biasCount.setAtIndex(I32, r, count);
    }

    public void setSuppressed(int r, long idsAddress, int count) {
        suppressIds.setAtIndex(I64, r, idsAddress);
        suppressCount.setAtIndex(I32, r, count);
    }

    public void setAllowedMask(int r, long maskAddress) {
        allowedMask.setAtIndex(I64, r, maskAddress);
    }

    public int token(int r) {
        return token.getAtIndex(I32, r);
    }

    public float logprob(int r) {
        return logprob.getAtIndex(F32, r);
    }

    public int rank(int r) {
        return rank.getAtIndex(I32, r);
    }

    public int topId(int r, int k) {
        return topIds.getAtIndex(I32, (long) r * maxTop + k);
    }

    public float topLogprob(int r, int k) {
        return topLogprobs.getAtIndex(F32, (long) r * maxTop + k);
    }
}

package io.millrace.engine;

import io.millrace.engine.grammar.ConstraintCursor;
import io.millrace.kernels.SamplingRows;
import java.lang.foreign.Arena;
import java.lang.foreign.MemorySegment;
import java.lang.foreign.ValueLayout;

/**
 * The native arrays that sampling of one sequence reads, kept from {@link Engine#begin} to {@link Engine#end}. Plain greedy or
 * temperature sampling needs none and takes no native memory. Engine thread only.
 */
final class SamplingState implements AutoCloseable {
    private static final ValueLayout.OfInt I32 = ValueLayout.JAVA_INT;

    private final SamplingParams sampling;
    private final Arena arena;
    private final long biasIds;
    private final long biasValues;
    private final long suppressed;
    private final int numSuppressed;
    /** int32 prompt and output ids so far; null without penalties. */
    private final MemorySegment history;
    private int historyLength;
    /** Null without a constraint, as are the others. It follows the sequence's output, which may be there already after a preemption. */
    private final ConstraintCursor cursor;
    private final MemorySegment mask;
    private final int[] endIds;

    SamplingState(Sequence sequence, EngineLimits limits) {
        sampling = sequence.sampling();
        boolean constrained = sampling.constraint() != null;
        endIds = constrained || sampling.minTokens() > 0 ? endingIds(limits) : new int[0];
        int[] ends = sampling.minTokens() > 0 ? endIds : new int[0];
        cursor = constrained ? sampling.constraint().begin() : null;
        boolean hasBias = sampling.biasIds().length > 0;
        boolean hasMinimum = sampling.minTokens() > 0;
        arena = hasBias || hasMinimum || constrained || sampling.hasPenalties() ? Arena.ofConfined() : null;
        try {
            biasIds = hasBias ? arena.allocateFrom(I32, sampling.biasIds()).address() : 0;
            biasValues = hasBias ? arena.allocateFrom(ValueLayout.JAVA_FLOAT, sampling.biasValues()).address() : 0;
            numSuppressed = ends.length;
            suppressed = ends.length > 0 ? arena.allocateFrom(I32, ends).address() : 0;
            mask = constrained ? arena.allocate(ConstraintCursor.maskBytes(limits.vocabSize()), 64) : null;
            long longest = Math.min((long) sequence.numPromptTokens() + sampling.maxTokens(), limits.maxModelLen() + 1L);
            history = sampling.hasPenalties() ? arena.allocate(I32, Math.max(longest, sequence.numTokens())) : null;
        } catch (RuntimeException | Error e) {
            close();
            throw e;
        }
    }

    /** Every id that could end the sequence: the model's own and the request's. */
    private int[] endingIds(EngineLimits limits) {
        int[] own = limits.eosTokenIds();
        int[] stop = sampling.stopTokenIds();
        int[] all = java.util.Arrays.copyOf(own, own.length + stop.length);
        System.arraycopy(stop, 0, all, own.length, stop.length);
        return java.util.Arrays.stream(all).filter(id -> id >= 0 && id < limits.vocabSize()).distinct().toArray();
    }

    /**
     * Writes everything that logit row {@code r} needs to draw the next token of {@code sequence}. Allocates nothing.
     *
     * @param sourceRow the row of the step before that draws the last token of {@code sequence}, which nobody knows yet; -1 = all are known
     */
    void fill(SamplingRows rows, int r, Sequence sequence, int sourceRow) {
        int numPending = sourceRow < 0 ? 0 : 1;
        int produced = sequence.numOutputTokens() + numPending;
        rows.setGreedy(r, Math.min(rows.maxTop(), Math.max(0, sampling.numLogprobs())));
        rows.setDraw(r, sampling.temperature(), sampling.topK(), sampling.topP(), sampling.minP(), sampling.seed(), produced);
        if (biasIds != 0) {
            rows.setBias(r, biasIds, biasValues, sampling.biasIds().length);
        }
        boolean onlyEnd = false;
        if (cursor != null) {
            if (numPending > 0) {
                throw new IllegalStateException("a constrained sequence draws a token before its last one is known");
            }
            onlyEnd = fillMask(sequence);
            rows.setAllowedMask(r, mask.address());
        }
        if (produced < sampling.minTokens() && !onlyEnd) {
            rows.setSuppressed(r, suppressed, numSuppressed);
        }
        if (history != null) {
            // Entries that a step under way fills in are counted here and never written: the sampler may be reading them.
            int newTokens = sequence.numTokens() - historyLength;
            MemorySegment.copy(sequence.tokenIds(), historyLength, history, I32, 4L * historyLength, newTokens);
            historyLength += newTokens + numPending;
            rows.setPenalties(r, sampling.repetitionPenalty(), sampling.frequencyPenalty(), sampling.presencePenalty(), history.address(),
                    sequence.numPromptTokens(), historyLength);
            rows.setHistorySource(r, sourceRow);
        }
    }

    /** @return whether nothing but the end may follow */
    private boolean fillMask(Sequence sequence) {
        boolean onTrack = true;
        while (onTrack && cursor.numTokens() < sequence.numOutputTokens()) {
            onTrack = cursor.advance(sequence.tokenId(sequence.numPromptTokens() + cursor.numTokens()));
        }
        if (!cursor.fill(mask, endIds, !onTrack)) {
            // Whatever is drawn is thrown away; the sampler wants something to draw from.
            mask.fill((byte) 0xFF);
            sequence.setFailure("the constraint was too large to be followed any further: after " + sequence.numOutputTokens()
                    + " tokens, nothing that could follow was found within the bounds on work and memory; make it smaller or less ambiguous");
        }
        return !onTrack || cursor.isComplete();
    }

    @Override
    public void close() {
        if (arena != null && arena.scope().isAlive()) {
            arena.close();
        }
    }
}

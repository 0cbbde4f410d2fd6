package io.millrace.scheduler.simulate;

import io.millrace.engine.Engine;
import io.millrace.engine.EngineLimits;
import io.millrace.engine.Sequence;
import io.millrace.engine.StepPlan;
import io.millrace.engine.StepResult;
import io.millrace.engine.UnscoredResult;
import java.util.Arrays;

/** Computes nothing: every sequence gets as many tokens as was said before, then the end-of-sequence token. Hashes the plans it sees. */
final class SimulatedEngine implements Engine {
    private static final int EOS = 2;
    private static final int WORD = 7;

    private final EngineLimits limits;
    private final Result[] results;
    private int[] numOutputById = new int[1024];
    private long scheduleHash;
    private long numEntries;
    private long numSubmitted;

    SimulatedEngine(EngineLimits limits) {
        this.limits = limits;
        this.results = new Result[] {new Result(limits.maxNumSeqs()), new Result(limits.maxNumSeqs())};
    }

    /** Limits of an engine of this size that has what the simulation does not look at. */
    static EngineLimits limits(int maxModelLen, int maxNumSeqs, int maxNumBatchedTokens, int numBlocks, int blockSize) {
        return new EngineLimits(Simulation.VOCABULARY, maxModelLen, maxNumSeqs, maxNumBatchedTokens, maxNumSeqs, 0, numBlocks, blockSize,
                new int[] {EOS});
    }

    /** Output tokens after which the sequence ends if nothing ends it before. */
    void setNumOutput(long id, int numOutput) {
        if (id >= numOutputById.length) {
            numOutputById = Arrays.copyOf(numOutputById, Math.max((int) id + 1, 2 * numOutputById.length));
        }
        numOutputById[(int) id] = numOutput;
    }

    /** Equal for equal schedules: of every plan, which tokens of which sequences. */
    long scheduleHash() {
        return scheduleHash;
    }

    /** Sequences of all steps together. */
    long numEntries() {
        return numEntries;
    }

    @Override
    public EngineLimits limits() {
        return limits;
    }

    @Override
    public void begin(Sequence sequence) {}

    @Override
    public void end(Sequence sequence) {}

    @Override
    public StepResult execute(StepPlan plan) {
        return compute(plan, results[0]);
    }

    @Override
    public int maxStepsInFlight() {
        return 2;
    }

    @Override
    public long submit(StepPlan plan) {
        compute(plan, results[(int) (numSubmitted & 1)]);
        return numSubmitted++;
    }

    @Override
    public StepResult await(long ticket) {
        return results[(int) (ticket & 1)];
    }

    private Result compute(StepPlan plan, Result result) {
        long hash = scheduleHash;
        for (int i = 0; i < plan.size(); i++) {
            Sequence sequence = plan.sequence(i);
            hash = 31 * (31 * (31 * hash + sequence.id()) + plan.firstPosition(i)) + plan.numTokens(i);
            // One that only the step before knows counts, too.
            int numOutput = sequence.numOutputTokens() + (plan.source(i) < 0 ? 0 : 1);
            boolean last = numOutput + 1 >= numOutputById[(int) sequence.id()];
            result.tokens[i] = !plan.samples(i) ? -1 : last ? EOS : WORD;
        }
        scheduleHash = hash;
        numEntries += plan.size();
        return result;
    }

    @Override
    public void close() {}

    private static final class Result extends UnscoredResult {
        private final int[] tokens;

        Result(int maxNumSeqs) {
            tokens = new int[maxNumSeqs];
        }

        @Override
        public int token(int i) {
            return tokens[i];
        }
    }
}

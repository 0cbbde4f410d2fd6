package io.millrace.engine;

import java.util.Arrays;
import java.util.HashSet;
import java.util.Set;

/**
 * An engine without a model, for tests of everything above the engine. The next token is a hash of all tokens before it, so a lost,
 * doubled or reordered token changes every token after it. Instead of keys and values each KV slot holds the hash of the prefix that
 * was computed into it, and every step checks that each sequence's block table leads to exactly its own prefix: a block given to two
 * sequences, freed too early, not recomputed after preemption or hit under a wrong prefix hash fails the step with an
 * {@link IllegalStateException} that names sequence, position and block.
 *
 * <p>Submitted steps are computed at once and told when they are awaited: the tokens that the next step takes from them are the engine's
 * own, never the caller's. A sequence that is ended while a step with it is under way fails the engine.
 *
 * <p>A step allocates nothing. Like the real engine it belongs to one thread, and checks it.
 */
public final class FakeEngine implements Engine {
    /** Chooses the token after {@code tokenIds[0, numTokens)}; {@code hash} is the hash of that prefix, mixed with the draw if sampling is on. */
    @FunctionalInterface
    public interface NextToken {
        int next(Sequence sequence, long hash);
    }

    /** Called with every plan before it is computed: advances virtual time, waits, counts, or throws to make the step fail. */
    @FunctionalInterface
    public interface StepHook {
        void beforeStep(StepPlan plan);
    }

    private static final long EMPTY_PREFIX = 0x6D696C6C72616365L;
    private static final long UNWRITTEN = 0L;

    private final EngineLimits limits;
    private final NextToken nextToken;
    private final int eosPermille;
    private final StepHook hook;
    private final long[] slots;
    private final Set<Sequence> live = new HashSet<>();
    private final FakeResult[] results;
    private final StepPlan[] plans = new StepPlan[2];
    private final long[] stepIds = new long[2];
    private long numSubmitted;
    private long numAwaited;
    private Thread owner;
    private long numSteps;
    private long numComputedTokens;
    private boolean closed;

    private FakeEngine(Builder builder) {
        limits = new EngineLimits(builder.vocabSize, builder.maxModelLen, builder.maxNumSeqs, builder.maxNumBatchedTokens,
                builder.maxLogitRows == 0 ? builder.maxNumSeqs + 128 : builder.maxLogitRows, builder.maxLogprobs, builder.numBlocks,
                builder.blockSize, builder.eosTokenIds);
        hook = builder.hook;
        nextToken = builder.nextToken;
        eosPermille = builder.eosPermille;
        slots = new long[limits.numBlocks() * limits.blockSize()];
        results = new FakeResult[] {new FakeResult(limits), new FakeResult(limits)};
    }

    /** 64 blocks of 16 tokens, 8 sequences, 256 tokens a step, vocabulary of 1000, end of sequence is id 2 and never drawn. */
    public static Builder builder() {
        return new Builder();
    }

    @Override
    public EngineLimits limits() {
        return limits;
    }

    @Override
    public void begin(Sequence sequence) {
        checkThread();
        check(live.add(sequence), "sequence %d begun twice", sequence.id());
        sequence.setEngineState(this);
    }

    @Override
    public void end(Sequence sequence) {
        checkThread();
        for (long ticket = numAwaited; ticket < numSubmitted; ticket++) {
            StepPlan plan = plans[(int) (ticket & 1)];
            for (int i = 0; i < plan.size(); i++) {
                check(plan.sequence(i) != sequence, "sequence %d is ended while a step with it is under way", sequence.id());
            }
        }
        live.remove(sequence);
        sequence.setEngineState(null);
    }

    @Override
    public StepResult execute(StepPlan plan) {
        check(numAwaited == numSubmitted, "execute while %d steps are under way", numSubmitted - numAwaited);
        compute(plan, 0);
        return results[0];
    }

    @Override
    public int maxStepsInFlight() {
        return 2;
    }

    @Override
    public long submit(StepPlan plan) {
        check(numSubmitted - numAwaited < 2, "%d steps are under way", numSubmitted - numAwaited);
        int slot = (int) (numSubmitted & 1);
        compute(plan, slot);
        plans[slot] = plan;
        stepIds[slot] = plan.stepId();
        return numSubmitted++;
    }

    @Override
    public StepResult await(long ticket) {
        checkThread();
        check(ticket == numAwaited && ticket < numSubmitted, "step %d is not the oldest of those not awaited", ticket);
        int slot = (int) (ticket & 1);
        check(plans[slot].stepId() == stepIds[slot], "step %d was planned anew while it was under way", ticket);
        numAwaited++;
        return results[slot];
    }

    private void compute(StepPlan plan, int slot) {
        checkThread();
        check(!closed, "a step after close");
        hook.beforeStep(plan);
        FakeResult result = results[slot];
        FakeResult before = results[1 - slot];
        checkPlan(plan, slot);
        for (int i = 0; i < plan.size(); i++) {
            write(plan, i, before);
        }
        // Only after all writes: a block shared for writing shows up as the other sequence's prefix.
        result.clear();
        for (int i = 0; i < plan.size(); i++) {
            long hash = verify(plan, i, before);
            result.add(plan, i, plan.samples(i) ? draw(plan.sequence(i), hash, plan.source(i) < 0 ? 0 : 1) : -1);
        }
        numSteps++;
        numComputedTokens += plan.totalTokens();
    }

    /** The last token may be one that only the step before knows. */
    private static int tokenId(StepPlan plan, int i, int position, FakeResult before) {
        Sequence sequence = plan.sequence(i);
        return plan.source(i) >= 0 && position == plan.firstPosition(i) ? before.token(plan.source(i)) : sequence.tokenId(position);
    }

    @Override
    public void close() {
        closed = true;
    }

    public boolean isClosed() {
        return closed;
    }

    public long numSteps() {
        return numSteps;
    }

    /** Tokens computed since the start, recomputed ones counted again. */
    public long numComputedTokens() {
        return numComputedTokens;
    }

    /** Sequences begun and not ended. */
    public int numLive() {
        return live.size();
    }

    /** What this engine will generate for a prompt, computed without blocks or steps: the expected output of any correct schedule. */
    public int[] expectedTokens(int[] prompt, SamplingParams sampling) {
        Sequence sequence = new Sequence(-1, prompt, sampling, limits.blockSize());
        while (sequence.numOutputTokens() < sampling.maxTokens() && sequence.numTokens() < limits.maxModelLen()) {
            int token = draw(sequence, prefixHash(sequence, sequence.numTokens()), 0);
            sequence.append(token);
            if (!sampling.ignoreEos() && limits.isEos(token) || contains(sampling.stopTokenIds(), token)) {
                break;
            }
        }
        return Arrays.copyOfRange(sequence.tokenIds(), prompt.length, sequence.numTokens());
    }

    private void checkPlan(StepPlan plan, int slot) {
        check(plan.size() > 0, "empty plan");
        check(plan.size() <= limits.maxNumSeqs(), "%d sequences in a step, limit %d", plan.size(), limits.maxNumSeqs());
        check(plan.totalTokens() <= limits.maxNumBatchedTokens(), "%d tokens in a step, limit %d", plan.totalTokens(),
                limits.maxNumBatchedTokens());
        int rows = 0;
        for (int i = 0; i < plan.size(); i++) {
            Sequence sequence = plan.sequence(i);
            long id = sequence.id();
            int end = plan.firstPosition(i) + plan.numTokens(i);
            check(live.contains(sequence), "sequence %d was not begun or has ended", id);
            check(plan.firstPosition(i) >= 0 && plan.numTokens(i) > 0, "sequence %d: empty or negative range", id);
            if (plan.source(i) >= 0) {
                int source = plan.source(i);
                check(numSubmitted > numAwaited && source < plans[1 - slot].size() && plans[1 - slot].sequence(source) == sequence
                        && results[1 - slot].token(source) >= 0, "sequence %d takes a token that the step before did not draw for it", id);
            }
            check(end <= sequence.numTokens() + (plan.source(i) < 0 ? 0 : 1), "sequence %d: plan reaches token %d of %d", id, end, sequence.numTokens());
            check(end <= limits.maxModelLen(), "sequence %d: position %d is past the model length %d", id, end, limits.maxModelLen());
            check((long) sequence.numBlocks() * limits.blockSize() >= end, "sequence %d: no block for token %d", id, end - 1);
            for (int j = 0; j < i; j++) {
                check(plan.sequence(j) != sequence, "sequence %d is twice in the plan", id);
            }
            rows += plan.numLogitRows(i);
        }
        checkApart(plan);
        check(rows <= limits.maxLogitRows(), "%d logit rows in a step, limit %d", rows, limits.maxLogitRows());
    }

    /** In a step of one token a sequence nobody reads what another writes; see {@link io.millrace.kernels.Batch}. */
    private void checkApart(StepPlan plan) {
        for (int i = 0; i < plan.size() && plan.totalTokens() == plan.size(); i++) {
            int k = plan.firstPosition(i) / limits.blockSize();
            int block = plan.sequence(i).blockIds()[k];
            for (int j = 0; j < plan.size(); j++) {
                check(j == i || plan.firstPosition(j) / limits.blockSize() < k || plan.sequence(j).blockIds()[k] != block,
                        "sequence %d reads block %d, which sequence %d fills in the same step", plan.sequence(j).id(), block, plan.sequence(i).id());
            }
        }
    }

    private void write(StepPlan plan, int i, FakeResult before) {
        Sequence sequence = plan.sequence(i);
        int first = plan.firstPosition(i);
        int end = first + plan.numTokens(i);
        long hash = prefixHash(sequence, first);
        for (int p = first; p < end; p++) {
            hash = mix(hash, tokenId(plan, i, p, before));
            slots[slot(sequence, p)] = hash;
        }
    }

    /** Every slot that token {@code end - 1} attends to must hold this sequence's own prefix. Returns the hash of the whole. */
    private long verify(StepPlan plan, int i, FakeResult before) {
        Sequence sequence = plan.sequence(i);
        int end = plan.firstPosition(i) + plan.numTokens(i);
        long hash = EMPTY_PREFIX;
        for (int p = 0; p < end; p++) {
            hash = mix(hash, tokenId(plan, i, p, before));
            long found = slots[slot(sequence, p)];
            if (found != hash) {
                check(false, found == UNWRITTEN ? "sequence %d: position %d in block %d was never computed"
                        : "sequence %d: position %d in block %d holds another prefix", sequence.id(), p,
                        sequence.blockIds()[p / limits.blockSize()]);
            }
        }
        return hash;
    }

    private int slot(Sequence sequence, int position) {
        int block = sequence.blockIds()[position / limits.blockSize()];
        if (block < 0 || block >= limits.numBlocks()) {
            check(false, "sequence %d: block id %d is outside [0, %d)", sequence.id(), block, limits.numBlocks());
        }
        return block * limits.blockSize() + position % limits.blockSize();
    }

    /** @param numPending output tokens that the sequence does not know of yet */
    private int draw(Sequence sequence, long hash, int numPending) {
        long h = sequence.sampling().temperature() == 0f ? hash
                : mix(hash, sequence.sampling().seed() * 31 + sequence.numOutputTokens() + numPending);
        return nextToken != null ? nextToken.next(sequence, h) : hashedToken(sequence, h, sequence.numOutputTokens() + numPending);
    }

    private int hashedToken(Sequence sequence, long hash, int drawIndex) {
        boolean mayEnd = drawIndex >= sequence.sampling().minTokens();
        if (mayEnd && limits.eosTokenIds().length > 0 && Math.floorMod(hash >>> 20, 1000L) < eosPermille) {
            return limits.eosTokenIds()[0];
        }
        int token = (int) Math.floorMod(hash, (long) limits.vocabSize());
        while (limits.isEos(token) || !mayEnd && contains(sequence.sampling().stopTokenIds(), token)) {
            token = (token + 1) % limits.vocabSize();
        }
        return token;
    }

    private static boolean contains(int[] ids, int id) {
        for (int candidate : ids) {
            if (candidate == id) {
                return true;
            }
        }
        return false;
    }

    private static long prefixHash(Sequence sequence, int end) {
        long hash = EMPTY_PREFIX;
        for (int p = 0; p < end; p++) {
            hash = mix(hash, sequence.tokenId(p));
        }
        return hash;
    }

    /** SplitMix64's finaliser over the running hash (Steele et al. 2014); never {@link #UNWRITTEN}. */
    private static long mix(long hash, long value) {
        long z = (hash ^ value * 0x9E3779B97F4A7C15L) + 0x9E3779B97F4A7C15L;
        z = (z ^ (z >>> 30)) * 0xBF58476D1CE4E5B9L;
        z = (z ^ (z >>> 27)) * 0x94D049BB133111EBL;
        z ^= z >>> 31;
        return z == UNWRITTEN ? 1 : z;
    }

    private void checkThread() {
        if (owner == null) {
            owner = Thread.currentThread();
        }
        if (owner != Thread.currentThread()) {
            throw new IllegalStateException("FakeEngine: owned by thread " + owner.getName() + ", called by "
                    + Thread.currentThread().getName());
        }
    }

    // Overloads instead of varargs: execute allocates nothing.
    private static void check(boolean condition, String message) {
        if (!condition) {
            throw new IllegalStateException("FakeEngine: " + message);
        }
    }

    private static void check(boolean condition, String message, long value) {
        if (!condition) {
            throw new IllegalStateException("FakeEngine: " + message.formatted(value));
        }
    }

    private static void check(boolean condition, String message, long a, long b) {
        if (!condition) {
            throw new IllegalStateException("FakeEngine: " + message.formatted(a, b));
        }
    }

    private static void check(boolean condition, String message, long a, long b, long c) {
        if (!condition) {
            throw new IllegalStateException("FakeEngine: " + message.formatted(a, b, c));
        }
    }

    /** Mutable; each setter returns this. */
    public static final class Builder {
        private int vocabSize = 1000;
        private int maxModelLen = 512;
        private int maxNumSeqs = 8;
        private int maxNumBatchedTokens = 256;
        private int maxLogitRows;
        private int maxLogprobs = 20;
        private int numBlocks = 64;
        private int blockSize = 16;
        private int[] eosTokenIds = {2};
        private int eosPermille;
        private NextToken nextToken;
        private StepHook hook = plan -> {};

        private Builder() {}

        public Builder vocabSize(int value) {
            vocabSize = value;
            return this;
        }

        public Builder maxModelLen(int value) {
            maxModelLen = value;
            return this;
        }

        public Builder maxNumSeqs(int value) {
            maxNumSeqs = value;
            return this;
        }

        public Builder maxNumBatchedTokens(int value) {
            maxNumBatchedTokens = value;
            return this;
        }

        /** 0 = maxNumSeqs + 128. */
        public Builder maxLogitRows(int value) {
            maxLogitRows = value;
            return this;
        }

        public Builder maxLogprobs(int value) {
            maxLogprobs = value;
            return this;
        }

        public Builder blocks(int count, int tokensPerBlock) {
            numBlocks = count;
            blockSize = tokensPerBlock;
            return this;
        }

        public Builder eosTokenIds(int... ids) {
            eosTokenIds = ids;
            return this;
        }

        /** How many of 1000 draws end the sequence with the first eos id. */
        public Builder eosPermille(int value) {
            eosPermille = value;
            return this;
        }

        /** Replaces the hashed choice, for scripted outputs; eos, min_tokens and the like are then the rule's business. */
        public Builder nextToken(NextToken rule) {
            nextToken = rule;
            return this;
        }

        public Builder hook(StepHook value) {
            hook = value;
            return this;
        }

        public FakeEngine build() {
            return new FakeEngine(this);
        }
    }
}

package io.millrace.scheduler;

import io.millrace.engine.EngineLimits;
import io.millrace.engine.Sequence;

/**
 * One request on its way through the scheduler. All but {@link #abortRequested} belongs to the engine thread.
 *
 * <pre>
 *   WAITING ──admit──► RUNNING ──finish──► FINISHED
 *      ▲                  │                   ▲
 *      └────preempt───────┘      abort ───────┘ (from anywhere)
 * </pre>
 */
final class RequestState implements RequestHandle, RequestTimeline {
    enum Phase { WAITING, RUNNING, FINISHED }

    static final long NEVER_ADMITTED = Long.MAX_VALUE;

    final Sequence sequence;
    final Terms terms;
    final TokenSink sink;
    private final EngineLoop owner;
    // Of the sampling parameters what every step asks: kept here, it costs no further look into memory.
    private final int maxTokens;
    private final int minTokens;
    private final boolean ignoresEos;
    private final int[] stopTokenIds;
    private final boolean wantsPromptScores;
    private final boolean constrained;

    // Links of the one RequestList that holds the request.
    RequestState previous;
    RequestState next;
    RequestList list;

    Phase phase = Phase.WAITING;
    /** Place in the order of arrival; smaller is older. */
    long arrivalOrder;

    // The QueueOrder's own: place by urgency, in a heap, and in the order in which requests were first let in.
    double rank;
    int queuePlace = RequestHeap.ABSENT;
    long admissionOrder = NEVER_ADMITTED;

    /** When its answer is of no more use, by the scheduler's clock; meaningless without {@link #hasDeadline}. */
    final long deadlineNanos;
    int deadlinePlace = RequestHeap.ABSENT;
    /** What admission counts as waiting until it first runs. */
    int numQueuedTokens;
    /** Whether the engine knows the sequence, so that it must be told of its end. */
    boolean begun;
    /** Prompt tokens scored and handed out, counted from position 0 (which has no score): never handed out again. */
    int numScoredTokens = 1;
    /** Tokens, logit rows and scoring in the step being planned; 0 tokens between plans. */
    int numScheduled;
    int numScheduledRows;
    boolean scheduledScoring;
    /** Planned steps with this request that are not settled yet, and how many of them draw a token: nobody knows those yet. */
    int numInFlight;
    int numPending;
    /** Its entry in the plan last scheduled with it. */
    int plannedEntry;
    /** Most tokens that are ever computed: the last one drawn is never fed back. */
    int maxComputedTokens = Integer.MAX_VALUE;
    int numPreemptions;
    /** Whether the sink was told of the end, which it is once. */
    boolean toldEnd;
    /** Tokens computed when it was last preempted: until it has more it is spared; -1 = never preempted. */
    private int numComputedAtPreemption = -1;

    // The KvAllocator's own.
    /** Whose cached blocks it may share. */
    CacheSalt salt;
    /** Blocks at the front of the block table that stand in the prefix index; before the chunk planned for this step, too. */
    int numIndexedBlocks;
    int numIndexedBeforePlan;
    /** While it waits: blocks of its prefix that running requests held when it was last looked at. */
    int numSharedBlocks;
    int stepsToNextLook;

    /** The first of several requests for the same prompt, which computes it for all; null for that one and for requests that are alone. */
    private RequestState leader;

    final long arrivalNanos;
    long firstScheduledNanos;
    long firstTokenNanos;
    long lastTokenNanos;
    long finishNanos;

    private volatile int numCachedTokens;
    private volatile boolean abortRequested;

    /** @param owner told of aborts; null where the caller drives the scheduler itself */
    RequestState(long id, GenerationRequest request, int blockSize, long arrivalNanos, EngineLoop owner) {
        this.sequence = new Sequence(id, request.promptTokenIds(), request.sampling(), blockSize);
        this.maxTokens = request.sampling().maxTokens();
        this.minTokens = request.sampling().minTokens();
        this.ignoresEos = request.sampling().ignoreEos();
        this.stopTokenIds = request.sampling().stopTokenIds();
        this.constrained = request.sampling().constraint() != null;
        this.wantsPromptScores = request.sampling().numPromptLogprobs() >= 0;
        this.sink = request.sink();
        this.salt = request.cacheSalt() == null ? CacheSalt.NONE : CacheSalt.of(request.cacheSalt());
        this.terms = request.terms();
        this.deadlineNanos = arrivalNanos + terms.timeoutNanos();
        this.arrivalNanos = arrivalNanos;
        this.owner = owner;
    }

    @Override
    public long id() {
        return sequence.id();
    }

    @Override
    public void abort() {
        if (abortRequested) {
            return;
        }
        abortRequested = true;
        if (owner != null) {
            owner.abort(this);
        }
    }

    /** True from the moment of {@link #abort}, before the scheduler has acted on it: no further token is handed out. */
    boolean abortRequested() {
        return abortRequested;
    }

    @Override
    public int numCachedTokens() {
        return numCachedTokens;
    }

    /** Counts tokens that need not be computed; those that it had computed itself before a preemption are no find. */
    void onFound(int numTokens) {
        if (numPreemptions == 0 && numTokens > 0) {
            numCachedTokens = numCachedTokens + numTokens;
        }
    }

    /** Called with what it had computed still in place. */
    void onPreempted() {
        numPreemptions++;
        numComputedAtPreemption = sequence.numComputedTokens();
        stepsToNextLook = 0;
    }

    /** Whether it was preempted and has since done nothing that it had not done before. */
    boolean hasYetToProgress() {
        return sequence.numComputedTokens() <= numComputedAtPreemption;
    }

    /** Whether {@code tokenId}, its latest output token, ends it by itself. */
    boolean stopsAt(int tokenId, EngineLimits limits) {
        // The engine suppresses stop tokens that come too early; one that was forced all the same (by a bias) must not end it either.
        if (numOutputTokens() <= minTokens) {
            return false;
        }
        if (!ignoresEos && limits.isEos(tokenId)) {
            return true;
        }
        for (int id : stopTokenIds) {
            if (id == tokenId) {
                return true;
            }
        }
        return false;
    }

    void follow(RequestState first) {
        leader = first;
    }

    RequestState leader() {
        return leader;
    }

    /** Whether another one is about to compute blocks that this one can share. */
    boolean awaitsLeader(int blockSize) {
        if (leader == null) {
            return false;
        }
        boolean computing = leader.phase == Phase.RUNNING && leader.numOutputTokens() == 0
                && leader.numRemaining() > leader.numScheduled && numIndexedBlocks < numReusableTokens() / blockSize;
        if (!computing) {
            leader = null;
        }
        return computing;
    }

    boolean hasDeadline() {
        return terms.timeoutNanos() > 0;
    }

    /** Whether there are prompt tokens still to be scored. */
    boolean scoresPrompt() {
        return wantsPromptScores && numScoredTokens < sequence.numPromptTokens();
    }

    /**
     * Positions whose keys and values must be computed before the request can go on. With {@code maxTokens} 0 nothing is sampled, so
     * the last prompt token, which would only predict the next one, is never run. A token that a step under way draws is not counted where
     * the mask of the one after it depends on it: a constrained request sits the overlapping step out.
     */
    int numTokensToCompute() {
        if (maxTokens > 0) {
            return Math.min(sequence.numTokens() + (constrained ? 0 : numPending), maxComputedTokens);
        }
        return wantsPromptScores ? sequence.numPromptTokens() - 1 : 0;
    }

    /**
     * Tokens at the front whose keys and values need not be computed by this request if somebody else has: not the last one, which
     * predicts the next, and none whose own prediction is to be reported.
     */
    int numReusableTokens() {
        return (scoresPrompt() ? numScoredTokens : numTokensToCompute()) - 1;
    }

    int numRemaining() {
        return numTokensToCompute() - sequence.numComputedTokens();
    }

    @Override
    public int numPromptTokens() {
        return sequence.numPromptTokens();
    }

    @Override
    public int numOutputTokens() {
        return sequence.numOutputTokens();
    }

    @Override
    public int maxTokens() {
        return maxTokens;
    }

    @Override
    public int numPreemptions() {
        return numPreemptions;
    }

    @Override
    public long arrivalNanos() {
        return arrivalNanos;
    }

    @Override
    public long firstScheduledNanos() {
        return firstScheduledNanos;
    }

    @Override
    public long firstTokenNanos() {
        return firstTokenNanos;
    }

    @Override
    public long lastTokenNanos() {
        return lastTokenNanos;
    }

    @Override
    public long finishNanos() {
        return finishNanos;
    }

    @Override
    public String toString() {
        return "request " + id() + " " + phase + " [" + sequence.numPromptTokens() + " prompt + " + sequence.numOutputTokens()
                + " output tokens, " + sequence.numComputedTokens() + " computed, " + sequence.numBlocks() + " blocks]";
    }
}

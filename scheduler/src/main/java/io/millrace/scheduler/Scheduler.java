package io.millrace.scheduler;

import io.millrace.engine.Engine;
import io.millrace.engine.EngineLimits;
import io.millrace.engine.SamplingParams;
import io.millrace.engine.Sequence;
import io.millrace.engine.StepPlan;
import io.millrace.engine.StepResult;
import java.util.function.LongSupplier;

/**
 * Continuous batching with one token budget per step: {@link #schedule} decides what the next step computes, {@link #settle} takes its
 * outputs in. There is no prefill phase and no decode phase; a request has tokens that are known and tokens that are computed, and
 * each step brings the second nearer to the first.
 *
 * <pre>
 *   budget | decodes: 1 token each | chunks of begun prompts | chunks of waiting prompts, first come first served |
 * </pre>
 *
 * <b>Memory.</b> Blocks are taken when a token needs them. When none is free, the youngest running request is preempted: its blocks are
 * freed and it returns to the front of the queue, to be recomputed. A request only ever loses its blocks to an older one, and a
 * request that cannot get a block because all others are older keeps what it has and sits the step out. Hence the oldest request
 * progresses in every step, whatever the load, and there is no livelock.
 *
 * <p><b>Order.</b> All running requests are older than all waiting ones (see {@link #checkIntegrity}), since admission is first come
 * first served and preemption takes from the young end.
 *
 * <p>Deterministic: the same calls under the same clock give the same plans. Not thread-safe, owned by the engine thread; allocates
 * nothing per step. After Orca (OSDI 2022), PagedAttention (SOSP 2023) and Sarathi-Serve (OSDI 2024).
 */
final class Scheduler {
    private final Engine engine;
    private final EngineLimits limits;
    private final LongSupplier nanoTime;
    private final RequestEvents events;
    private final Progress progress = new Progress();
    private final RetryAfterEstimate retryAfter = new RetryAfterEstimate(progress);

    private final int maxRunning;
    private final int maxBatchedTokens;
    private final int maxPrefillChunk;

    private final BlockPool pool;
    private final RequestList running = new RequestList();
    private final RequestList waiting = new RequestList();
    private final StepPlan plan;
    private final RequestState[] planned;

    private long nextArrivalOrder;
    private long stepId;
    private long numWaitingTokens;

    // Budgets of the step being planned.
    private int tokensLeft;
    private int rowsLeft;

    Scheduler(Engine engine, SchedulerConfig config, LongSupplier nanoTime, SchedulerListener listener) {
        this.engine = engine;
        this.limits = engine.limits();
        this.nanoTime = nanoTime;
        this.events = new RequestEvents(listener);
        this.maxBatchedTokens = Math.min(config.maxNumBatchedTokens(), limits.maxNumBatchedTokens());
        // A place per budgeted token at most: then decodes, which go first, always leave a token for the oldest unfinished prompt.
        this.maxRunning = Math.min(Math.min(config.maxNumSeqs(), limits.maxNumSeqs()), maxBatchedTokens);
        this.maxPrefillChunk = config.maxPrefillChunk();
        this.pool = new BlockPool(limits.numBlocks(), limits.blockSize());
        this.plan = new StepPlan(maxRunning);
        this.planned = new RequestState[maxRunning];
        publish();
    }

    Progress progress() {
        return progress;
    }

    RetryAfterEstimate retryAfter() {
        return retryAfter;
    }

    RequestEvents events() {
        return events;
    }

    int maxRunning() {
        return maxRunning;
    }

    boolean hasWork() {
        return !running.isEmpty() || !waiting.isEmpty();
    }

    /** Takes over a request that {@link Admission} let in. */
    void submit(RequestState request) {
        request.arrivalOrder = nextArrivalOrder++;
        waiting.addLast(request);
        numWaitingTokens += request.sequence.numTokens();
        publish();
    }

    /** Ends a request wherever it is; harmless if it has ended. Between steps only. */
    void abort(RequestState request) {
        finish(request, FinishReason.ABORT, -1, null);
    }

    /** Ends every request. A failing engine does not stop it. */
    void finishAll(FinishReason reason, String message) {
        while (hasWork()) {
            RequestState request = running.isEmpty() ? waiting.head() : running.head();
            try {
                finish(request, reason, -1, message);
            } catch (RuntimeException | Error e) {
                RequestEvents.log("the engine could not end " + request, e);
            }
        }
    }

    // ---- schedule ----------------------------------------------------------------------------------------------------------------

    /** The next step; the same object every time. Empty if there is nothing to compute. */
    StepPlan schedule() {
        tokensLeft = maxBatchedTokens;
        rowsLeft = limits.maxLogitRows();
        for (RequestState r = running.head(); r != null; r = r.next) {
            r.numScheduled = 0;
        }
        for (RequestState r = running.head(); r != null; r = r.next) {
            if (r.numRemaining() == 1) {
                scheduleRunning(r);
            }
        }
        for (RequestState r = running.head(); r != null; r = r.next) {
            if (r.numRemaining() > 1) {
                scheduleRunning(r);
            }
        }
        admitWaiting();
        fillPlan();
        publish();
        return plan;
    }

    private void scheduleRunning(RequestState request) {
        int count = chunk(request);
        if (count == 0) {
            return;
        }
        int numBlocks = pool.blocksFor(request.sequence.numComputedTokens() + count) - request.sequence.numBlocks();
        while (pool.numFree() < numBlocks) {
            RequestState youngest = running.tail();
            if (youngest == request) {
                return;
            }
            preempt(youngest);
        }
        place(request, count, numBlocks);
    }

    /**
     * Tokens of {@code request} that the budgets allow in this step; sets whether they are scored. A running request finds at least
     * one token and one logit row unless older prompts took them.
     */
    private int chunk(RequestState request) {
        Sequence sequence = request.sequence;
        int first = sequence.numComputedTokens();
        int remaining = request.numRemaining();
        int count = Math.min(remaining, Math.min(tokensLeft, maxPrefillChunk));
        boolean scoring = request.scoresPrompt();
        if (scoring && first < request.numScoredTokens - 1) {
            // Recomputed after a preemption: these rows were handed out already, and logit rows are dear.
            count = Math.min(count, request.numScoredTokens - 1 - first);
            scoring = false;
        }
        request.scheduledScoring = scoring;
        if (scoring) {
            // Row k scores the token after first + k; the last prompt token's row is the sampled one.
            int scorable = sequence.numPromptTokens() - 1 - first;
            if (Math.min(count, scorable) > rowsLeft) {
                count = rowsLeft;
            }
        }
        if (rows(request, count) > rowsLeft) {
            // No row left for the sample: stop one token short of it.
            count--;
        }
        request.numScheduledRows = rows(request, count);
        return count;
    }

    private static int rows(RequestState request, int count) {
        Sequence sequence = request.sequence;
        int end = sequence.numComputedTokens() + count;
        int rows = count > 0 && end == sequence.numTokens() ? 1 : 0;
        if (request.scheduledScoring) {
            rows += Math.max(0, Math.min(end, sequence.numPromptTokens() - 1) - sequence.numComputedTokens());
        }
        return rows;
    }

    private void place(RequestState request, int count, int numBlocks) {
        for (int i = 0; i < numBlocks; i++) {
            request.sequence.appendBlock(pool.allocate());
        }
        request.numScheduled = count;
        tokensLeft -= count;
        rowsLeft -= request.numScheduledRows;
    }

    private void preempt(RequestState request) {
        if (request.numScheduled > 0) {
            tokensLeft += request.numScheduled;
            rowsLeft += request.numScheduledRows;
            request.numScheduled = 0;
        }
        freeBlocks(request);
        request.sequence.setNumComputedTokens(0);
        running.remove(request);
        waiting.addFirst(request);
        numWaitingTokens += request.sequence.numTokens();
        request.phase = RequestState.Phase.WAITING;
        request.numPreemptions++;
        progress.numPreemptions = progress.numPreemptions + 1;
        events.preempted();
    }

    /**
     * First come first served; the head is never passed over. It enters when all tokens it has by now would fit beside what the
     * running ones still need for theirs: entering on its first chunk alone would only have it preempted a few steps later. By the
     * same rule nobody enters in a step that ran short of blocks: less is free then than the preempted one at the head gave up, or than
     * the one sitting out still needs.
     */
    private void admitWaiting() {
        if (waiting.isEmpty()) {
            return;
        }
        long now = nanoTime.getAsLong();
        int promised = 0;
        for (RequestState r = running.head(); r != null; r = r.next) {
            promised += Math.max(0, pool.blocksFor(r.numTokensToCompute()) - r.sequence.numBlocks());
        }
        while (!waiting.isEmpty()) {
            RequestState request = waiting.head();
            if (request.numTokensToCompute() == 0) {
                finish(request, FinishReason.LENGTH, -1, null);
                continue;
            }
            if (running.size() == maxRunning || tokensLeft == 0 || rowsLeft == 0) {
                return;
            }
            int needed = pool.blocksFor(request.numTokensToCompute());
            // Room for the running ones to grow, or the newcomer is preempted at the next block boundary.
            int headroom = running.isEmpty() ? 0 : Math.max(1, pool.numBlocks() / 100);
            if (needed + promised + headroom > pool.numFree()) {
                return;
            }
            int count = chunk(request);
            if (!begin(request, now)) {
                continue;
            }
            place(request, count, pool.blocksFor(count));
            promised += needed - request.sequence.numBlocks();
            removeWaiting(request);
            running.addLast(request);
            request.phase = RequestState.Phase.RUNNING;
        }
    }

    /** @return false if the engine refused the sequence: then the request has ended */
    private boolean begin(RequestState request, long now) {
        if (request.begun) {
            return true;
        }
        request.begun = true;
        request.firstScheduledNanos = now;
        try {
            engine.begin(request.sequence);
        } catch (RuntimeException e) {
            finish(request, FinishReason.ERROR, -1, e.getMessage());
            return false;
        }
        events.admitted(now - request.arrivalNanos);
        return true;
    }

    /** Decodes first, then chunks, each by age: kernels find the short rows together. */
    private void fillPlan() {
        plan.clear(++stepId);
        for (RequestState r = running.head(); r != null; r = r.next) {
            if (r.numScheduled == 1) {
                addToPlan(r);
            }
        }
        for (RequestState r = running.head(); r != null; r = r.next) {
            if (r.numScheduled > 1) {
                addToPlan(r);
            }
        }
    }

    private void addToPlan(RequestState request) {
        planned[plan.size()] = request;
        plan.add(request.sequence, request.sequence.numComputedTokens(), request.numScheduled, request.scheduledScoring);
    }

    // ---- settle ------------------------------------------------------------------------------------------------------------------

    /** Takes in the outputs of the plan last scheduled: hands out tokens, ends requests, frees their blocks. */
    void settle(StepPlan plan, StepResult result) {
        long now = nanoTime.getAsLong();
        for (int i = 0; i < plan.size(); i++) {
            RequestState request = planned[i];
            planned[i] = null;
            settleEntry(plan, result, i, request, now);
        }
        progress.numSteps = progress.numSteps + 1;
        progress.lastStepNanos = now;
        publish();
    }

    private void settleEntry(StepPlan plan, StepResult result, int i, RequestState request, long now) {
        Sequence sequence = request.sequence;
        boolean samples = plan.samples(i);
        int first = plan.firstPosition(i);
        sequence.setNumComputedTokens(first + plan.numTokens(i));
        // Recomputed prompts have an output already and are not told again.
        if (request.numRemaining() == 0 && request.numOutputTokens() == 0) {
            events.prefilled(request);
        }
        if (request.abortRequested()) {
            finish(request, FinishReason.ABORT, -1, null);
            return;
        }
        int numScored = plan.numLogitRows(i) - (samples ? 1 : 0);
        if (numScored > 0) {
            if (result.numScoredRows(i) != numScored) {
                throw new IllegalStateException("SCH-005: the engine scored " + result.numScoredRows(i) + " prompt tokens of " + request
                        + ", the plan asked for " + numScored);
            }
            request.numScoredTokens = first + 1 + numScored;
            if (!events.promptScored(request, first + 1, numScored, result, result.firstScoredRow(i))) {
                finish(request, FinishReason.ABORT, -1, null);
                return;
            }
        }
        if (samples) {
            takeToken(request, result.token(i), result, result.sampledRow(i), now);
        } else if (request.numRemaining() == 0) {
            finish(request, FinishReason.LENGTH, -1, null);
        }
    }

    private void takeToken(RequestState request, int tokenId, StepResult result, int row, long now) {
        if (tokenId < 0) {
            throw new IllegalStateException("SCH-006: the engine sampled no token for " + request + ", the plan asked for one");
        }
        request.sequence.append(tokenId);
        if (!events.token(request, tokenId, result, row, now)) {
            finish(request, FinishReason.ABORT, -1, null);
        } else if (stops(request, tokenId)) {
            finish(request, FinishReason.STOP, tokenId, null);
        } else if (request.numOutputTokens() >= request.maxTokens() || request.sequence.numTokens() >= limits.maxModelLen()) {
            finish(request, FinishReason.LENGTH, -1, null);
        }
    }

    private boolean stops(RequestState request, int tokenId) {
        SamplingParams sampling = request.sequence.sampling();
        // The engine suppresses stop tokens that come too early; one that was forced all the same (by a bias) must not end it either.
        if (request.numOutputTokens() <= sampling.minTokens()) {
            return false;
        }
        if (!sampling.ignoreEos() && limits.isEos(tokenId)) {
            return true;
        }
        for (int id : sampling.stopTokenIds()) {
            if (id == tokenId) {
                return true;
            }
        }
        return false;
    }

    // ---- the end of a request ----------------------------------------------------------------------------------------------------

    private void finish(RequestState request, FinishReason reason, int stopTokenId, String message) {
        if (request.phase == RequestState.Phase.FINISHED) {
            return;
        }
        if (request.list == waiting) {
            removeWaiting(request);
        } else {
            running.remove(request);
        }
        freeBlocks(request);
        request.phase = RequestState.Phase.FINISHED;
        request.finishNanos = nanoTime.getAsLong();
        // Told last: whoever waits for the end finds place and blocks free.
        progress.numFinished = progress.numFinished + 1;
        publish();
        if (request.begun) {
            retryAfter.onFinished(request.numOutputTokens());
        }
        try {
            if (request.begun) {
                engine.end(request.sequence);
            }
        } catch (RuntimeException e) {
            // It costs the engine what it keeps for one sequence; the other requests can do without that.
            RequestEvents.log("SCH-017: the engine could not end " + request, e);
        } finally {
            events.finished(request, reason, stopTokenId, message);
        }
    }

    private void removeWaiting(RequestState request) {
        waiting.remove(request);
        numWaitingTokens -= request.sequence.numTokens();
    }

    private void freeBlocks(RequestState request) {
        Sequence sequence = request.sequence;
        int[] blockIds = sequence.blockIds();
        // Backwards, so that the stack hands them out again in table order.
        for (int i = sequence.numBlocks() - 1; i >= 0; i--) {
            pool.free(blockIds[i]);
        }
        sequence.clearBlocks();
    }

    private void publish() {
        progress.numRunning = running.size();
        progress.numWaiting = waiting.size();
        progress.numFreeBlocks = pool.numFree();
        progress.numWaitingTokens = numWaitingTokens;
    }

    @Override
    public String toString() {
        return running.size() + " running, oldest " + running.head() + "; " + waiting.size() + " waiting, first " + waiting.head() + "; "
                + pool.numFree() + " of " + pool.numBlocks() + " blocks free";
    }

    /**
     * Proves the invariants between steps: every block is free or held by exactly the running requests, block tables cover what is
     * computed, requests stand in order of arrival. Allocates; for tests and diagnosis.
     *
     * @throws IllegalStateException with the numbers
     */
    void checkIntegrity() {
        long held = 0;
        long lastArrival = -1;
        for (RequestState r = running.head(); r != null; r = r.next) {
            held += r.sequence.numBlocks();
            check(pool.blocksFor(r.sequence.numComputedTokens()) <= r.sequence.numBlocks(), r, "has computed tokens without a block");
            check(r.phase == RequestState.Phase.RUNNING && r.begun, r, "is in the running list");
            check(r.arrivalOrder > lastArrival, r, "runs out of order");
            lastArrival = r.arrivalOrder;
        }
        long waitingTokens = 0;
        for (RequestState r = waiting.head(); r != null; r = r.next) {
            check(r.sequence.numBlocks() == 0 && r.sequence.numComputedTokens() == 0, r, "waits but holds blocks");
            check(r.phase == RequestState.Phase.WAITING, r, "is in the waiting queue");
            check(r.arrivalOrder > lastArrival, r, "waits out of order");
            lastArrival = r.arrivalOrder;
            waitingTokens += r.sequence.numTokens();
        }
        check(running.size() <= maxRunning && waitingTokens == numWaitingTokens, running.head(), "breaks the counts");
        pool.checkIntegrity(held);
    }

    private static void check(boolean holds, RequestState request, String complaint) {
        if (!holds) {
            throw new IllegalStateException("SCH-007: " + request + " " + complaint);
        }
    }
}

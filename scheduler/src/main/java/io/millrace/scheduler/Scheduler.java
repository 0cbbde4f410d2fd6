package io.millrace.scheduler;

import io.millrace.engine.Engine;
import io.millrace.engine.EngineLimits;
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
 * given back and it returns to the front of the queue; what nobody needs in the meantime it finds again, the rest is recomputed. A
 * request only ever loses its blocks to an older one, and not again before it has gone beyond where it was, unless the oldest needs
 * them; one that cannot get a block keeps what it has and sits the step out. Hence the oldest request progresses in every step,
 * whatever the load, and there is no livelock.
 *
 * <p><b>Sharing.</b> Equal prefixes are computed once, see {@link KvAllocator}: a prompt enters with the blocks that are there, and takes over
 * what others have computed meanwhile before each of its chunks.
 *
 * <p><b>Order.</b> Running and waiting requests each stand in order of arrival (see {@link #checkIntegrity}); a waiting one is older than a
 * running one only if it was preempted while the other was spared.
 *
 * <p>Deterministic: the same calls under the same clock give the same plans. Not thread-safe, owned by the engine thread; allocates
 * nothing per step. After Orca (OSDI 2022), PagedAttention (SOSP 2023) and Sarathi-Serve (OSDI 2024).
 */
final class Scheduler {
    private final LongSupplier nanoTime;
    private final Lifecycle requests;
    private final Planner planner;
    private final Settler settler;
    /** The step being planned and the one under way, by turns. */
    private final PlannedStep[] steps;
    private int numInFlight;
    private final int maxRunning;
    private long stepId;

    Scheduler(Engine engine, SchedulerConfig config, LongSupplier nanoTime, SchedulerListener listener) {
        this(engine, config, nanoTime, listener, IndexKey.random());
    }

    /** @param indexKey any gives the same plans */
    Scheduler(Engine engine, SchedulerConfig config, LongSupplier nanoTime, SchedulerListener listener, IndexKey indexKey) {
        EngineLimits limits = engine.limits();
        this.nanoTime = nanoTime;
        int maxTokens = Math.min(config.maxNumBatchedTokens(), limits.maxNumBatchedTokens());
        // A place per budgeted token at most: then decodes, which go first, always leave a token for the oldest unfinished prompt.
        this.maxRunning = Math.min(Math.min(config.maxNumSeqs(), limits.maxNumSeqs()), maxTokens);
        this.requests = new Lifecycle(engine, nanoTime, new RequestEvents(listener), config, maxRunning, indexKey);
        requests.progress.lastStepNanos = nanoTime.getAsLong();
        this.planner = new Planner(requests, new StepBudget(limits, maxTokens, config.maxPrefillChunk()), nanoTime, maxRunning,
                limits.blockSize());
        this.settler = new Settler(requests, limits);
        this.steps = new PlannedStep[] {new PlannedStep(maxRunning), new PlannedStep(maxRunning)};
    }

    Progress progress() {
        return requests.progress;
    }

    RetryAfterEstimate retryAfter() {
        return requests.retryAfter;
    }

    RequestEvents events() {
        return requests.events;
    }

    /** Cached blocks forgotten to make room. */
    long numEvictedBlocks() {
        return requests.kv.numEvicted();
    }

    TenantAccounts tenants() {
        return requests.tenants;
    }

    int maxRunning() {
        return maxRunning;
    }

    boolean hasWork() {
        return requests.hasWork();
    }

    /** Takes over a request that {@link Admission} let in. */
    void submit(RequestState request) {
        requests.submit(request);
    }

    /** Ends a request wherever it is; harmless if it has ended. Between steps only. */
    void abort(RequestState request) {
        requests.finish(request, FinishReason.ABORT, -1, null);
    }

    /** Ends every request. What was planned and not settled is dropped: the engine must be done with it. A failing engine does not stop this. */
    void finishAll(FinishReason reason, String message) {
        for (PlannedStep step : steps) {
            step.forget();
        }
        numInFlight = 0;
        requests.finishAll(reason, message);
    }

    /** Tells every request its end and frees nothing: {@link #finishAll} must follow when the step in progress has returned. */
    void tellAll(FinishReason reason, String message) {
        requests.tellAll(reason, message);
    }

    /**
     * The next step; one of two objects by turns. Empty if there is nothing to compute. With one planned step not settled yet, the next is
     * planned as if that were done: with a token that it draws as an input where a request goes on, and without knowing who ends in it.
     */
    StepPlan schedule() {
        if (numInFlight == 2) {
            throw new IllegalStateException("SCH-029: a third step was to be planned with two under way");
        }
        PlannedStep step = steps[(int) (++stepId & 1)];
        step.clear(stepId);
        planner.plan(step, numInFlight > 0);
        requests.publish();
        numInFlight += step.plan.isEmpty() ? 0 : 1;
        return step.plan;
    }

    /** Whether the next step should be planned only when all steps under way are settled. */
    boolean waitsForSteps() {
        return numInFlight > 0 && planner.waitsForSteps();
    }

    /** Takes in the outputs of the oldest plan not settled: hands out tokens, ends requests, frees their blocks. */
    void settle(StepPlan plan, StepResult result) {
        long now = nanoTime.getAsLong();
        settler.settle(steps[(int) (plan.stepId() & 1)], result, now);
        numInFlight--;
        Progress progress = requests.progress;
        progress.numSteps = progress.numSteps + 1;
        progress.lastStepNanos = now;
        requests.publish();
    }

    @Override
    public String toString() {
        return requests.toString();
    }

    /**
     * Proves the invariants between steps (see {@link Lifecycle#checkIntegrity}).
     *
     * @throws IllegalStateException with the numbers
     */
    void checkIntegrity() {
        requests.checkIntegrity();
        Lifecycle.check(requests.running.size() <= maxRunning, requests.running.head(), "runs with " + requests.running.size()
                + " of at most " + maxRunning);
    }
}

package io.millrace.scheduler;

import io.millrace.engine.Engine;
import io.millrace.engine.StepPlan;
import io.millrace.engine.StepResult;
import java.util.function.LongSupplier;

/**
 * Steps on their way through the engine: planned, handed over, awaited, settled; one at a time, or the next beside the one that runs. Every
 * call into the engine is between {@link StepGuard#enter} and {@link StepGuard#leave}. Owned by the engine thread, but for
 * {@link #abandon} and {@link #describe}, which belong to whoever has taken its place.
 *
 * <pre>
 *   depth 1   plan n, execute n, settle n          | plan n+1 ...
 *   depth 2   plan n, submit n | plan n+1, submit n+1 | await n, settle n | plan n+2, submit n+2 | await n+1 ...
 * </pre>
 */
final class StepPipeline {
    private static final System.Logger LOG = System.getLogger("io.millrace.scheduler");

    private final Engine engine;
    private final Scheduler scheduler;
    private final Progress progress;
    private final RetryAfterEstimate retryAfter;
    private final StepGuard guard;
    private final LongSupplier nanoTime;
    private final int numBlocks;
    /** Steps planned and not settled at most. */
    private final int depth;
    private final StepStats stats = new StepStats();
    /** Steps planned and not settled, the oldest first: what they are, their tickets, and when they were planned and handed over. */
    private final StepPlan[] plans = new StepPlan[2];
    private final long[] tickets = new long[2];
    private final long[] startNanos = new long[2];
    private final long[] submitNanos = new long[2];
    private int numInFlight;
    private long lastStepEndNanos;
    /** Why all requests were told their end in the engine thread's place; null usually. */
    private volatile String abandoned;

    StepPipeline(Engine engine, Scheduler scheduler, StepGuard guard, boolean overlapped, LongSupplier nanoTime) {
        this.engine = engine;
        this.scheduler = scheduler;
        this.progress = scheduler.progress();
        this.retryAfter = scheduler.retryAfter();
        this.guard = guard;
        this.nanoTime = nanoTime;
        this.numBlocks = engine.limits().numBlocks();
        this.depth = overlapped ? Math.min(2, engine.maxStepsInFlight()) : 1;
        this.lastStepEndNanos = nanoTime.getAsLong();
    }

    boolean isEmpty() {
        return numInFlight == 0;
    }

    /** Plans a step if one more may be under way, then waits for the oldest if there is nothing better to do. */
    void advance() {
        boolean planned = numInFlight < depth && !scheduler.waitsForSteps() && planNext();
        if (numInFlight == depth || !planned && numInFlight > 0) {
            settleOldest();
        }
    }

    void settleAll() {
        while (numInFlight > 0) {
            settleOldest();
        }
    }

    /** @return false if there is nothing to compute as far as can be known now */
    private boolean planNext() {
        long start = nanoTime.getAsLong();
        StepPlan plan = scheduler.schedule();
        if (plan.isEmpty()) {
            // Requests without anything to compute have just ended; anything else would spin for ever.
            if (numInFlight == 0 && scheduler.hasWork()) {
                throw new IllegalStateException("SCH-016: nothing could be scheduled with " + scheduler);
            }
            return false;
        }
        int at = numInFlight++;
        plans[at] = plan;
        startNanos[at] = start;
        submitNanos[at] = nanoTime.getAsLong();
        if (depth > 1) {
            guard.enter();
            try {
                tickets[at] = engine.submit(plan);
            } finally {
                guard.leave();
            }
        }
        return true;
    }

    private void settleOldest() {
        StepPlan plan = plans[0];
        StepResult result = await(plan, tickets[0]);
        if (abandoned != null) {
            removeOldest();
            forgetAbandoned();
            return;
        }
        long start = startNanos[0];
        long submitted = submitNanos[0];
        boolean beside = numInFlight > 1;
        removeOldest();
        long executed = nanoTime.getAsLong();
        stats.setPlan(plan);
        scheduler.settle(plan, result);
        // A sink may have been given up on in the middle of it.
        forgetAbandoned();
        long settled = nanoTime.getAsLong();
        // Of a step that was planned while another ran, only the time counts in which that was done.
        long began = Math.max(submitted, lastStepEndNanos);
        long took = settled - Math.max(start, lastStepEndNanos);
        lastStepEndNanos = executed;
        retryAfter.onStep(plan.totalTokens(), took);
        stats.setOutcome(progress, numBlocks, start, submitted - start, executed - began, settled - executed, beside,
                engine.runnerThreadId());
        progress.onStepTook(took);
        scheduler.events().step(stats);
    }

    private void removeOldest() {
        numInFlight--;
        plans[0] = plans[1];
        tickets[0] = tickets[1];
        startNanos[0] = startNanos[1];
        submitNanos[0] = submitNanos[1];
    }

    private StepResult await(StepPlan plan, long ticket) {
        guard.enter();
        try {
            return depth > 1 ? engine.await(ticket) : engine.execute(plan);
        } finally {
            guard.leave();
        }
    }

    /**
     * The engine is done with every step that was submitted; what they computed is dropped.
     *
     * @return what the first of them that failed ended with; null if none did
     */
    Throwable awaitAll() {
        Throwable failure = null;
        for (; numInFlight > 0; removeOldest()) {
            try {
                if (depth > 1) {
                    await(plans[0], tickets[0]);
                }
            } catch (RuntimeException | Error e) {
                LOG.log(System.Logger.Level.DEBUG, "a step under way has failed", e);
                failure = failure == null ? e : failure;
            }
        }
        return failure;
    }

    /** What loading has left to do, a slice at a time while there is nothing better. @return whether there is more */
    boolean packSome() {
        guard.enter();
        try {
            return engine.packSome();
        } finally {
            guard.leave();
            forgetAbandoned();
        }
    }

    /** Frees what requests hold that have been told their end in this thread's place; throws what a step under way has failed with: the engine runs no other. */
    void forgetAbandoned() {
        if (abandoned != null) {
            Throwable failure = awaitAll();
            scheduler.finishAll(FinishReason.ERROR, abandoned);
            abandoned = null;
            if (failure instanceof Error error) {
                throw error;
            } else if (failure instanceof RuntimeException exception) {
                throw exception;
            }
        }
    }

    /** Any thread. */
    String abandoned() {
        return abandoned;
    }

    /** Steps under way will not be settled, and requests be freed, when the engine thread is back. In its place. */
    void abandon(String why) {
        abandoned = why;
    }

    /** What the engine is about. In the engine thread's place. */
    String describe() {
        return (numInFlight == 0 ? "  the engine packs weights" : "  step " + plans[0].stepId() + " is in the engine: " + plans[0])
                + (numInFlight > 1 ? "\n  step " + plans[1].stepId() + " follows: " + plans[1] : "");
    }
}

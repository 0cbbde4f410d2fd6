package io.millrace.scheduler;

import io.millrace.engine.Engine;
import io.millrace.engine.EngineLimits;
import io.millrace.engine.StepPlan;
import io.millrace.engine.StepResult;
import java.util.List;
import java.util.function.ToLongFunction;

/**
 * Scheduler and admission as {@link EngineLoop} runs them, without threads and under a clock that moves only when it is told to: the
 * caller says when requests come and how long a step took. For simulation, planning and measuring; one thread.
 *
 * <p>Everything that decides is the real thing. What is left out is what only a real process has: the hand-over between threads and the
 * time that the scheduler itself takes.
 */
public final class VirtualLoop {
    private final Engine engine;
    private final EngineLimits limits;
    private final Scheduler scheduler;
    private final Progress progress;
    private final Admission admission;
    private final RetryAfterEstimate retryAfter;
    private final StepStats stats = new StepStats();
    private long nextRequestId = 1;
    /** A time of 0 means "never" in {@link RequestTimeline}. */
    private long nanos = 1;

    /** @param engine not closed here */
    public VirtualLoop(Engine engine, SchedulerConfig config, SchedulerListener listener) {
        this.engine = engine;
        this.limits = engine.limits();
        this.scheduler = new Scheduler(engine, config, this::nanoTime, listener);
        this.progress = scheduler.progress();
        this.retryAfter = scheduler.retryAfter();
        this.admission = new Admission(limits, scheduler, config, this::nanoTime);
    }

    /** Virtual now; 1 at the beginning. */
    public long nanoTime() {
        return nanos;
    }

    /** Lets time pass without a step; does nothing if {@code time} is past. */
    public void waitUntil(long time) {
        nanos = Math.max(nanos, time);
    }

    /** @throws RejectedException if the request is not admitted */
    public RequestHandle submit(GenerationRequest request) {
        try {
            admission.validate(request);
            admission.reserve(List.of(request));
        } catch (RejectedException e) {
            scheduler.events().rejected(e.kind());
            throw e;
        }
        RequestState state = new RequestState(nextRequestId++, request, limits.blockSize(), nanos, null);
        state.numQueuedTokens = request.promptTokenIds().length;
        scheduler.submit(state);
        return state;
    }

    /** The id that the next accepted request will have: 1, 2, 3 and so on. */
    public long nextRequestId() {
        return nextRequestId;
    }

    /** @param request one of this loop's */
    public void abort(RequestHandle request) {
        scheduler.abort((RequestState) request);
    }

    public boolean hasWork() {
        return scheduler.hasWork();
    }

    /**
     * Runs one step, after which the clock stands as much later as it took.
     *
     * @param duration of the step just executed, in nanoseconds; the plan is not settled yet
     * @return false if there was nothing to compute
     */
    public boolean step(ToLongFunction<StepPlan> duration) {
        StepPlan plan = scheduler.schedule();
        if (plan.isEmpty()) {
            if (scheduler.hasWork()) {
                throw new IllegalStateException("SCH-016: nothing could be scheduled with " + scheduler);
            }
            return false;
        }
        stats.setPlan(plan);
        StepResult result = engine.execute(plan);
        long start = nanos;
        nanos += duration.applyAsLong(plan);
        scheduler.settle(plan, result);
        retryAfter.onStep(plan.totalTokens(), nanos - start);
        stats.setOutcome(progress, limits.numBlocks(), start, 0, nanos - start, 0);
        scheduler.events().step(stats);
        return true;
    }

    public int numRunning() {
        return progress.numRunning;
    }

    public int numWaiting() {
        return progress.numWaiting;
    }

    public int numFreeBlocks() {
        return progress.numFreeBlocks;
    }

    public long numPreemptions() {
        return progress.numPreemptions;
    }

    /** @throws IllegalStateException with the numbers if an invariant is broken; slow */
    public void checkIntegrity() {
        scheduler.checkIntegrity();
    }
}

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
 * <p>Everything that decides is the real thing. What is left out is what only a real process has: the hand-over between threads, and the
 * time that the scheduler itself takes, unless it is given.
 *
 * <pre>
 *   one by one   | host | step n ........ | host | step n+1 ...... | host |
 *   overlapped   | host | step n ........ | step n+1 ............. | step n+2
 *                       | host: plan n+1  | settle n, plan n+2     |
 * </pre>
 */
public final class VirtualLoop {
    private final Engine engine;
    private final EngineLimits limits;
    private final Scheduler scheduler;
    private final Progress progress;
    private final Admission admission;
    private final RetryAfterEstimate retryAfter;
    private final StepStats stats = new StepStats();
    private final int depth;
    private final long hostNanos;
    private long nextRequestId = 1;
    /** A time of 0 means "never" in {@link RequestTimeline}. */
    private long nanos = 1;

    // Steps planned and not settled, the oldest first: begun and done when, by the engine.
    private final StepPlan[] plans = new StepPlan[2];
    private final long[] tickets = new long[2];
    private final long[] startNanos = new long[2];
    private final long[] endNanos = new long[2];
    private int numInFlight;
    private long engineFreeNanos;
    /** Of the one step, where there is one at a time. */
    private StepResult result;

    /** One step after the other, planned in no time. @param engine not closed here */
    public VirtualLoop(Engine engine, SchedulerConfig config, SchedulerListener listener) {
        this(engine, config, listener, false, 0);
    }

    /**
     * @param engine     not closed here
     * @param overlapped whether the next step is planned and submitted while one runs, where the engine can
     * @param hostNanos  what planning and settling a step takes
     */
    public VirtualLoop(Engine engine, SchedulerConfig config, SchedulerListener listener, boolean overlapped, long hostNanos) {
        this.engine = engine;
        this.limits = engine.limits();
        this.depth = overlapped ? Math.min(2, engine.maxStepsInFlight()) : 1;
        this.hostNanos = hostNanos;
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
        return submit(request, nanos);
    }

    /**
     * @param arrivalNanos when it came: now, or while a step was under way
     * @throws RejectedException if the request is not admitted
     */
    public RequestHandle submit(GenerationRequest request, long arrivalNanos) {
        try {
            admission.validate(request);
            admission.reserve(List.of(request));
        } catch (RejectedException e) {
            scheduler.events().rejected(e.kind());
            throw e;
        }
        RequestState state = new RequestState(nextRequestId++, request, limits.blockSize(), arrivalNanos, null);
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
        return scheduler.hasWork() || numInFlight > 0;
    }

    /**
     * Goes on by one step: plans the next if one more may be under way, then settles the oldest if there is nothing better to do, after
     * which it is as late as that step's end.
     *
     * @param duration of the step just executed, in nanoseconds; the plan is not settled yet
     * @return false if there was nothing to compute
     */
    public boolean step(ToLongFunction<StepPlan> duration) {
        boolean planned = numInFlight < depth && !scheduler.waitsForSteps() && planNext(duration);
        boolean settles = numInFlight == depth || !planned && numInFlight > 0;
        if (settles) {
            settleOldest();
        }
        return planned || settles;
    }

    private boolean planNext(ToLongFunction<StepPlan> duration) {
        StepPlan plan = scheduler.schedule();
        if (plan.isEmpty()) {
            if (numInFlight == 0 && scheduler.hasWork()) {
                throw new IllegalStateException("SCH-016: nothing could be scheduled with " + scheduler);
            }
            return false;
        }
        int at = numInFlight++;
        nanos += hostNanos;
        plans[at] = plan;
        if (depth > 1) {
            tickets[at] = engine.submit(plan);
        } else {
            result = engine.execute(plan);
        }
        startNanos[at] = Math.max(nanos, engineFreeNanos);
        endNanos[at] = startNanos[at] + duration.applyAsLong(plan);
        engineFreeNanos = endNanos[at];
        return true;
    }

    private void settleOldest() {
        StepPlan plan = plans[0];
        long start = startNanos[0];
        long end = endNanos[0];
        StepResult outputs = depth > 1 ? engine.await(tickets[0]) : result;
        boolean beside = numInFlight > 1;
        numInFlight--;
        plans[0] = plans[1];
        tickets[0] = tickets[1];
        startNanos[0] = startNanos[1];
        endNanos[0] = endNanos[1];
        nanos = Math.max(nanos, end);
        stats.setPlan(plan);
        scheduler.settle(plan, outputs);
        retryAfter.onStep(plan.totalTokens(), end - start);
        stats.setOutcome(progress, limits.numBlocks(), start, hostNanos, end - start, 0, beside, engine.runnerThreadId());
        scheduler.events().step(stats);
    }

    /** Steps settled. */
    public long numSteps() {
        return progress.numSteps;
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

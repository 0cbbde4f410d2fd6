package io.millrace.scheduler;

import io.millrace.engine.Engine;
import io.millrace.engine.EngineLimits;
import io.millrace.engine.StepPlan;
import io.millrace.engine.StepResult;
import java.time.Duration;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.List;
import java.util.Objects;
import java.util.concurrent.CompletableFuture;
import java.util.concurrent.CompletionException;
import java.util.concurrent.atomic.AtomicLong;
import java.util.concurrent.locks.LockSupport;
import java.util.function.LongSupplier;

/**
 * The engine thread: the one thread that owns scheduler and engine, and the way in from all others. It drains commands, runs steps
 * while there is work, and parks when there is none (no polling). Requests come and go between steps, so an abort takes effect within
 * one step.
 *
 * <p>Every request that was accepted gets {@link TokenSink#onFinish} exactly once, whatever happens: engine failure, shutdown, a sink
 * that throws, a step that never returns (see {@link Watchdog}). The engine is not closed here; close it after {@link #shutdown}.
 */
public final class EngineLoop implements GenerationService {
    private static final Duration LONGEST_GRACE = Duration.ofDays(1);
    private static final System.Logger LOG = System.getLogger("io.millrace.scheduler");

    private final Engine engine;
    private final EngineLimits limits;
    private final LongSupplier nanoTime;
    private final Duration lastStep;
    /** Steps planned and not settled at most. */
    private final int depth;
    private final StepGuard guard = new StepGuard();
    private final Watchdog watchdog;
    private final Thread watchdogThread;
    private final Scheduler scheduler;
    private final Progress progress;
    private final Admission admission;
    private final RetryAfterEstimate retryAfter;
    private final StepStats stats = new StepStats();
    private final CommandQueue commands = new CommandQueue();
    private final AtomicLong nextRequestId = new AtomicLong(1);
    private final Thread thread;

    private volatile boolean accepting = true;
    private volatile boolean packs;
    private volatile boolean alive = true;
    private volatile String failure;
    /** Why all requests were ended in the middle of a step that has not returned yet; null usually. */
    private volatile String abandoned;
    private volatile long shutdownDeadlineNanos = Long.MAX_VALUE;
    private boolean stuckReported;

    // The engine thread's own, or that of whoever took its place.
    /** The command being run and those taken with it, until they have run. */
    private CommandQueue.Command inHand;
    /** Steps planned and not settled, the oldest first: what they are, their tickets, and when they were planned and handed over. */
    private final StepPlan[] plans = new StepPlan[2];
    private final long[] tickets = new long[2];
    private final long[] startNanos = new long[2];
    private final long[] submitNanos = new long[2];
    private int numInFlight;
    private long lastStepEndNanos;

    private EngineLoop(Engine engine, SchedulerConfig config, LongSupplier nanoTime, SchedulerListener listener, LoopOptions options) {
        this.engine = engine;
        this.lastStep = options.lastStep();
        this.lastStepEndNanos = nanoTime.getAsLong();
        this.depth = options.asyncScheduling() ? Math.min(2, engine.maxStepsInFlight()) : 1;
        this.limits = engine.limits();
        this.nanoTime = nanoTime;
        this.scheduler = new Scheduler(engine, config, nanoTime, listener);
        this.progress = scheduler.progress();
        this.retryAfter = scheduler.retryAfter();
        this.admission = new Admission(limits, scheduler, config, nanoTime);
        // A daemon: the front end keeps the process alive, and a forgotten loop must not.
        this.thread = Thread.ofPlatform().name("millrace-engine").daemon().unstarted(this::run);
        commands.setConsumer(thread);
        this.watchdog = new Watchdog(new Watched(), options.stepTimeout(), thread, nanoTime.getAsLong());
        this.watchdogThread = Thread.ofPlatform().name("millrace-watchdog").daemon().unstarted(this::watch);
    }

    /** {@link #start(Engine, SchedulerConfig, SchedulerListener, LoopOptions)} with the usual options. */
    public static EngineLoop start(Engine engine, SchedulerConfig config, SchedulerListener listener) {
        return start(engine, config, listener, LoopOptions.defaults());
    }

    /** Starts the engine thread. From here on only it touches {@code engine}. */
    public static EngineLoop start(Engine engine, SchedulerConfig config, SchedulerListener listener, LoopOptions options) {
        EngineLoop loop = new EngineLoop(engine, config, System::nanoTime, listener, options);
        loop.thread.start();
        loop.watchdogThread.start();
        return loop;
    }

    // ---- any thread --------------------------------------------------------------------------------------------------------------

    @Override
    public RequestHandle submit(GenerationRequest request) {
        return submitAll(List.of(request)).getFirst();
    }

    @Override
    public List<RequestHandle> submitAll(List<GenerationRequest> requests) {
        try {
            checkOpen();
            for (GenerationRequest request : requests) {
                admission.validate(request);
            }
            admission.reserve(requests);
            return handOver(requests);
        } catch (RejectedException e) {
            scheduler.events().rejected(e.kind());
            throw e;
        }
    }

    private List<RequestHandle> handOver(List<GenerationRequest> requests) {
        List<RequestState> states = new ArrayList<>(requests.size());
        boolean taken = false;
        try {
            long now = nanoTime.getAsLong();
            for (int i = 0; i < requests.size(); i++) {
                GenerationRequest request = requests.get(i);
                RequestState state = new RequestState(nextRequestId.getAndIncrement(), request, limits.blockSize(), now, this);
                state.numQueuedTokens = Admission.queuedTokens(requests, i);
                if (i > 0 && samePrefix(request, requests.get(i - 1))) {
                    RequestState before = states.getLast();
                    state.follow(before.leader() == null ? before : before.leader());
                }
                states.add(state);
            }
            taken = commands.push(new Submit(states));
        } finally {
            if (!taken) {
                admission.release(requests);
            }
        }
        if (!taken) {
            throw closed();
        }
        return List.copyOf(states);
    }

    private static boolean samePrefix(GenerationRequest a, GenerationRequest b) {
        return Objects.equals(a.cacheSalt(), b.cacheSalt()) && Arrays.equals(a.promptTokenIds(), b.promptTokenIds());
    }

    /** Called once per request at most. */
    void abort(RequestState request) {
        // Refused only after the loop has ended, and then the request has too.
        commands.push(new Abort(request));
    }

    private void checkOpen() {
        if (!accepting || !alive) {
            throw closed();
        }
        String cause = abandoned;
        if (cause != null) {
            throw new RejectedException(RejectedException.Kind.STALLED, cause, (int) Math.max(1, watchdog.intervalNanos() / 1_000_000_000L));
        }
    }

    private RejectedException closed() {
        String cause = failure;
        if (cause != null) {
            return new RejectedException(RejectedException.Kind.ENGINE_DEAD, "SCH-014: the engine failed and takes no requests until the "
                    + "server is restarted: " + cause, 0);
        }
        return new RejectedException(RejectedException.Kind.SHUTTING_DOWN, "SCH-015: the server is shutting down", 0);
    }

    /** From now on, idle time is used for what loading has left to do ({@link Engine#packSome}); before, it would compete with the rest of a start. */
    public void packWhileIdle() {
        packs = true;
        commands.push(new Wake());
    }

    @Override
    public EngineLimits limits() {
        return limits;
    }

    @Override
    public List<TenantLoad> tenants() {
        return scheduler.tenants().loads();
    }

    @Override
    public Status status() {
        int inside = admission.numInside();
        int running = Math.min(progress.numRunning, inside);
        return new Status(alive, accepting && alive, running, inside - running, progress.numFreeBlocks, limits.numBlocks(),
                progress.numSteps, alive ? admission.stalledNanos(nanoTime.getAsLong()) : 0, progress.numPreemptions, failure,
                alive ? watchdog.stall() : null);
    }

    /**
     * Has the engine thread prove the scheduler's invariants between two steps and waits for the answer. For tests and diagnosis; slow.
     *
     * @throws IllegalStateException with the numbers if one is broken, or if the loop has ended
     */
    public void checkIntegrity() {
        Check check = new Check();
        if (!commands.push(check)) {
            throw new IllegalStateException("SCH-008: the engine loop has ended");
        }
        try {
            check.answer.join();
        } catch (CompletionException e) {
            throw new IllegalStateException(e.getCause().getMessage(), e.getCause());
        }
    }

    /**
     * Idempotent; a later call can only shorten the grace, and waits no longer than the first would have: a step that was given up on
     * once is not waited for again. From the engine thread (a sink) it only asks, without waiting.
     */
    @Override
    public void shutdown(Duration grace) {
        accepting = false;
        grace = grace.compareTo(LONGEST_GRACE) < 0 ? grace : LONGEST_GRACE;
        long giveUp = shorten(System.nanoTime() + grace.toNanos()) + lastStep.toNanos();
        commands.push(new Wake());
        if (Thread.currentThread() == thread) {
            return;
        }
        boolean interrupted = false;
        while (thread.isAlive() && giveUp - System.nanoTime() > 0) {
            try {
                thread.join(Duration.ofNanos(Math.max(1, giveUp - System.nanoTime())));
            } catch (InterruptedException e) {
                interrupted = true;
            }
        }
        if (thread.isAlive() && isFirstReport()) {
            // Nobody will come back for them: their readers are told now.
            abandon(FinishReason.ABORT, null, 0);
            LOG.log(System.Logger.Level.ERROR, "SCH-009: the engine thread is stuck in a step that has not ended " + lastStep.toSeconds()
                    + " s after the grace period; end the process without closing the engine");
        }
        if (interrupted) {
            Thread.currentThread().interrupt();
        }
    }

    /** @return the deadline that holds now */
    private synchronized long shorten(long deadline) {
        if (shutdownDeadlineNanos == Long.MAX_VALUE || deadline - shutdownDeadlineNanos < 0) {
            shutdownDeadlineNanos = deadline;
        }
        return shutdownDeadlineNanos;
    }

    private synchronized boolean isFirstReport() {
        boolean first = !stuckReported;
        stuckReported = true;
        return first;
    }

    // ---- engine thread -----------------------------------------------------------------------------------------------------------

    private void run() {
        FinishReason reason = FinishReason.ABORT;
        String message = null;
        try {
            serve();
        } catch (Throwable t) {
            reason = FinishReason.ERROR;
            message = t.getMessage() == null ? t.toString() : t.getMessage();
            failure = message;
            RequestEvents.log("the engine failed; every request ends with an error and new ones are refused", t);
        }
        awaitInFlight();
        alive = false;
        LockSupport.unpark(watchdogThread);
        // Closed before the last requests end, so that none can slip in behind them.
        CommandQueue.Command rest = commands.close();
        scheduler.finishAll(reason, message);
        refuseAll(inHand);
        refuseAll(rest);
        scheduler.finishAll(reason, message);
    }

    private static void refuseAll(CommandQueue.Command command) {
        for (; command != null; command = command.next()) {
            command.refuse();
        }
    }

    private void serve() {
        while (true) {
            drain();
            if (scheduler.hasWork() || numInFlight > 0) {
                if (!accepting && System.nanoTime() - shutdownDeadlineNanos >= 0) {
                    return;
                }
                step();
            } else if (!accepting) {
                return;
            } else if (!(packs && packSome())) {
                commands.await();
            }
        }
    }

    /** What loading has left to do, a slice at a time while there is nothing better. @return whether there is more */
    private boolean packSome() {
        guard.enter();
        try {
            return engine.packSome();
        } finally {
            guard.leave();
            forgetAbandoned();
        }
    }

    /** Everybody has been told already; what is left is to free what they held. */
    private void forgetAbandoned() {
        if (abandoned != null) {
            awaitInFlight();
            scheduler.finishAll(FinishReason.ERROR, abandoned);
            abandoned = null;
        }
    }

    private void drain() {
        inHand = commands.takeAll();
        while (inHand != null) {
            inHand.run();
            // Only now: should it throw, then it and all behind it are still there to be refused.
            inHand = inHand.next();
        }
    }

    /** Plans a step if one more may be under way, then waits for the oldest if there is nothing better to do. */
    private void step() {
        boolean planned = numInFlight < depth && !scheduler.waitsForSteps() && planNext();
        if (numInFlight == depth || !planned && numInFlight > 0) {
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
        removeOldest();
        long executed = nanoTime.getAsLong();
        stats.setPlan(plan);
        scheduler.settle(plan, result);
        long settled = nanoTime.getAsLong();
        // Of a step that was planned while another ran, only the time counts in which that was done.
        long began = Math.max(submitted, lastStepEndNanos);
        long took = settled - Math.max(start, lastStepEndNanos);
        lastStepEndNanos = executed;
        retryAfter.onStep(plan.totalTokens(), took);
        stats.setOutcome(progress, limits.numBlocks(), start, submitted - start, executed - began, settled - executed);
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

    /** The engine is done with every step that was submitted; what they computed is dropped. */
    private void awaitInFlight() {
        for (; numInFlight > 0; removeOldest()) {
            try {
                if (depth > 1) {
                    await(plans[0], tickets[0]);
                }
            } catch (RuntimeException | Error e) {
                // Told already, or soon: a failed step fails those behind it.
                LOG.log(System.Logger.Level.DEBUG, "a step under way has failed", e);
            }
        }
    }

    // ---- in the engine thread's place ----------------------------------------------------------------------------------------------

    private void watch() {
        while (alive) {
            LockSupport.parkNanos(this, watchdog.intervalNanos());
            try {
                watchdog.look(nanoTime.getAsLong());
            } catch (RuntimeException | Error e) {
                RequestEvents.log("the watchdog failed to look and will try again", e);
            }
        }
    }

    /** Tells every request its end while the engine keeps the engine thread; what they hold is freed when it comes back. */
    private boolean abandon(FinishReason reason, String message, long stalledNanos) {
        Boolean done = guard.inItsPlace(() -> {
            // The step that was seen to hang may have ended since, and this be another.
            if (admission.stalledNanos(nanoTime.getAsLong()) < stalledNanos) {
                return false;
            }
            // Before the engine thread can come back, or it would settle tokens for requests that have been told their end; and before
            // anybody is told, or who tries again at once would be taken in only to be ended at the watchdog's next look.
            abandoned = message == null ? "the server is shutting down" : message;
            for (CommandQueue.Command c = commands.takeAll(); c != null; c = c.next()) {
                c.runDuringStep();
            }
            scheduler.tellAll(reason, message);
            return true;
        });
        return done != null && done;
    }

    private final class Watched implements Watchdog.Patient {
        @Override
        public long stalledNanos(long now) {
            return alive ? admission.stalledNanos(now) : 0;
        }

        @Override
        public long numSteps() {
            return progress.numSteps;
        }

        @Override
        public long slowestStepNanos() {
            return progress.slowestStepNanos;
        }

        @Override
        public String describe() {
            String inside = guard.inItsPlace(() -> (numInFlight == 0 ? "  the engine packs weights"
                    : "  step " + plans[0].stepId() + " is in the engine: " + plans[0])
                    + (numInFlight > 1 ? "\n  step " + plans[1].stepId() + " follows: " + plans[1] : "") + "\n  scheduler: " + scheduler);
            String position = engine.position();
            return (inside != null ? inside : "  the engine thread is not inside the engine; scheduler as last published: " + progress)
                    + (position == null ? "" : "\n  engine: " + position) + "\n  accepting " + accepting + ", " + admission.numInside()
                    + " requests inside";
        }

        @Override
        public boolean abandon(long stalledNanos, String message) {
            return EngineLoop.this.abandon(FinishReason.ERROR, message, stalledNanos);
        }
    }

    private final class Submit extends CommandQueue.Command {
        private final List<RequestState> requests;
        private int numTaken;

        Submit(List<RequestState> requests) {
            this.requests = requests;
        }

        @Override
        void run() {
            while (numTaken < requests.size()) {
                scheduler.submit(requests.get(numTaken++));
            }
        }

        @Override
        void runDuringStep() {
            run();
        }

        @Override
        void refuse() {
            // Enters only to be ended like all others.
            run();
        }
    }

    private final class Abort extends CommandQueue.Command {
        private final RequestState request;

        Abort(RequestState request) {
            this.request = request;
        }

        @Override
        void run() {
            scheduler.abort(request);
        }

        @Override
        void refuse() {}
    }

    private final class Check extends CommandQueue.Command {
        final CompletableFuture<Void> answer = new CompletableFuture<>();

        @Override
        void run() {
            while (numInFlight > 0) {
                settleOldest();
            }
            try {
                scheduler.checkIntegrity();
                answer.complete(null);
            } catch (RuntimeException e) {
                answer.completeExceptionally(e);
            }
        }

        @Override
        void runDuringStep() {
            answer.completeExceptionally(new IllegalStateException("SCH-008: a step hangs in the engine"));
        }

        @Override
        void refuse() {
            run();
        }
    }

    /** Only its arrival counts: it wakes the loop, which then sees what changed. */
    private static final class Wake extends CommandQueue.Command {
        @Override
        void run() {}

        @Override
        void refuse() {}
    }
}

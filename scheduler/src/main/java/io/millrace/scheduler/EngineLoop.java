package io.millrace.scheduler;

import io.millrace.engine.Engine;
import io.millrace.engine.EngineLimits;
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
    private static final String SHUTTING_DOWN = "SCH-015: the server is shutting down";
    /** For telling requests in the place of an engine thread that is stuck at the end: between two calls it can be replaced in none of them. */
    private static final long STAND_IN_NANOS = 2_000_000_000L;
    private static final long STAND_IN_RETRY_NANOS = 1_000_000L;
    private static final System.Logger LOG = System.getLogger("io.millrace.scheduler");

    private final Engine engine;
    private final EngineLimits limits;
    private final LongSupplier nanoTime;
    private final Duration lastStep;
    private final StepPipeline steps;
    private final StandIn standIn;
    private final Watchdog watchdog;
    private final Thread watchdogThread;
    private final Scheduler scheduler;
    private final Progress progress;
    private final Admission admission;
    private final CommandQueue commands = new CommandQueue();
    private final AtomicLong nextRequestId = new AtomicLong(1);
    private final Thread thread;

    private volatile boolean accepting = true;
    private volatile boolean packs;
    private volatile boolean alive = true;
    private volatile String failure;
    private volatile long shutdownDeadlineNanos = Long.MAX_VALUE;
    private boolean stuckReported;

    /** The command being run and those taken with it, until they have run. The engine thread's own. */
    private CommandQueue.Command inHand;

    private EngineLoop(Engine engine, SchedulerConfig config, LongSupplier nanoTime, SchedulerListener listener, LoopOptions options) {
        this.engine = engine;
        this.lastStep = options.lastStep();
        this.limits = engine.limits();
        this.nanoTime = nanoTime;
        this.scheduler = new Scheduler(engine, config, nanoTime, listener);
        this.progress = scheduler.progress();
        this.admission = new Admission(limits, scheduler, config, nanoTime);
        // A daemon: the front end keeps the process alive, and a forgotten loop must not.
        this.thread = Thread.ofPlatform().name("millrace-engine").daemon().unstarted(this::run);
        commands.setConsumer(thread);
        StepGuard guard = new StepGuard();
        this.steps = new StepPipeline(engine, scheduler, guard, options.asyncScheduling(), nanoTime);
        this.standIn = new StandIn(engine, scheduler, admission, commands, () -> inHand, steps, guard, thread, nanoTime);
        this.watchdog = new Watchdog(standIn, options.stepTimeout(), thread, nanoTime.getAsLong());
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
        String cause = steps.abandoned();
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
        return new RejectedException(RejectedException.Kind.SHUTTING_DOWN, SHUTTING_DOWN, 0);
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
        grace = grace.compareTo(LONGEST_GRACE) < 0 ? grace : LONGEST_GRACE;
        long giveUp = shorten(System.nanoTime() + grace.toNanos()) + lastStep.toNanos();
        // After the deadline, which the engine thread looks at from here on.
        accepting = false;
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
            boolean told = tellInItsPlace();
            if (thread.isAlive()) {
                LOG.log(System.Logger.Level.ERROR, "SCH-009: the engine thread is stuck in a step that has not ended " + lastStep.toSeconds()
                        + " s after the grace period; " + (told ? "" : "its requests could not be told; ")
                        + "end the process without closing the engine");
            }
        }
        if (interrupted) {
            Thread.currentThread().interrupt();
        }
    }

    private boolean tellInItsPlace() {
        long giveUp = System.nanoTime() + STAND_IN_NANOS;
        boolean told = false;
        while (thread.isAlive() && !(told = standIn.abandon(FinishReason.ABORT, SHUTTING_DOWN, 0)) && giveUp - System.nanoTime() > 0) {
            LockSupport.parkNanos(this, STAND_IN_RETRY_NANOS);
        }
        return told;
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
        steps.awaitAll();
        alive = false;
        standIn.end();
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
            steps.forgetAbandoned();
            if (scheduler.hasWork() || !steps.isEmpty()) {
                if (!accepting && System.nanoTime() - shutdownDeadlineNanos >= 0) {
                    return;
                }
                steps.advance();
            } else if (!accepting) {
                return;
            } else if (!(packs && steps.packSome())) {
                commands.await();
            }
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

    // ---- watchdog thread -----------------------------------------------------------------------------------------------------------

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

    // ---- commands ----------------------------------------------------------------------------------------------------------------

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
            steps.settleAll();
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

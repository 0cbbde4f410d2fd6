package io.millrace.scheduler;

import io.millrace.engine.Engine;
import java.util.function.LongSupplier;
import java.util.function.Supplier;

/**
 * What is done in the engine thread's place while somebody keeps it: an engine whose step does not return, a sink that does not. The
 * thread's clients are told their end, so that nobody waits for ever; what they hold is freed when the thread comes back.
 *
 * <p>A sink is first interrupted: one that waits for something ends with that, and costs its own request only.
 */
final class StandIn implements Watchdog.Patient {
    private final Engine engine;
    private final Scheduler scheduler;
    private final Progress progress;
    private final Admission admission;
    private final CommandQueue commands;
    /** The command that the engine thread is running, and those behind it: they run again when it is back, which does no harm. */
    private final Supplier<CommandQueue.Command> inHand;
    private final StepPipeline steps;
    private final StepGuard guard;
    private final Thread engineThread;
    private final LongSupplier nanoTime;
    private volatile boolean over;

    StandIn(Engine engine, Scheduler scheduler, Admission admission, CommandQueue commands,
            Supplier<CommandQueue.Command> inHand, StepPipeline steps, StepGuard guard, Thread engineThread, LongSupplier nanoTime) {
        this.engine = engine;
        this.scheduler = scheduler;
        this.progress = scheduler.progress();
        this.admission = admission;
        this.commands = commands;
        this.inHand = inHand;
        this.steps = steps;
        this.guard = guard;
        this.engineThread = engineThread;
        this.nanoTime = nanoTime;
    }

    /** The engine thread takes no more work: there is nothing left to watch. */
    void end() {
        over = true;
    }

    /**
     * Tells every request its end, if the engine thread is inside the engine or a sink and still has not finished a step.
     */
    boolean abandon(FinishReason reason, String message, long stalledNanos) {
        Supplier<Boolean> act = () -> {
            // The step that was seen to hang may have ended since, and this be another.
            if (admission.stalledNanos(nanoTime.getAsLong()) < stalledNanos) {
                return false;
            }
            // Before the engine thread can come back, or it would settle tokens for requests that have been told their end; and before
            // anybody is told, or who tries again at once would be taken in only to be ended at the watchdog's next look.
            steps.abandon(message);
            runDuringStep(inHand.get());
            runDuringStep(commands.takeAll());
            scheduler.tellAll(reason, message);
            return true;
        };
        Boolean done = guard.inItsPlace(act);
        if (done == null) {
            done = scheduler.events().duringCall(engineThread, callee -> act.get());
        }
        return done != null && done;
    }

    private static void runDuringStep(CommandQueue.Command command) {
        for (; command != null; command = command.next()) {
            command.runDuringStep();
        }
    }

    @Override
    public long stalledNanos(long now) {
        return over ? 0 : admission.stalledNanos(now);
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
        String where = guard.inItsPlace(() -> steps.describe() + "\n  scheduler: " + scheduler);
        if (where == null) {
            where = scheduler.events().duringCall(engineThread, callee -> "  the engine thread is in " + callee + "\n  scheduler: " + scheduler);
        }
        String position = engine.position();
        return (where != null ? where : "  the engine thread is neither in the engine nor in a sink; scheduler as last published: " + progress)
                + (position == null ? "" : "\n  engine: " + position) + "\n  " + admission.numInside() + " requests inside";
    }

    @Override
    public String interruptCall() {
        return scheduler.events().duringCall(engineThread, callee -> {
            engineThread.interrupt();
            return callee;
        });
    }

    @Override
    public boolean abandon(long stalledNanos, String message) {
        return abandon(FinishReason.ERROR, message, stalledNanos);
    }
}

package io.millrace.server.serving;

import io.millrace.scheduler.FinishReason;
import io.millrace.scheduler.RejectedException;
import io.millrace.scheduler.RequestTimeline;
import io.millrace.scheduler.SchedulerListener;
import io.millrace.scheduler.StepStats;
import io.millrace.server.console.Texts;
import java.util.Locale;

/**
 * Counts what the engine thread does, for a line of statistics every few seconds. The engine thread is the only writer of the volatile
 * counters, a timer the only reader.
 */
public final class ServingStats implements SchedulerListener {
    private volatile long promptTokens;
    private volatile long outputTokens;
    private volatile long preemptions;
    private volatile long finished;
    private volatile long numSteps;
    private volatile int running;
    private volatile int waiting;
    private volatile int freeBlocks;
    private volatile int numBlocks = 1;

    /** The counters at a moment. */
    private record Reading(long nanos, long promptTokens, long outputTokens, long preemptions, long finished, long numSteps) {}

    private Reading last = new Reading(System.nanoTime(), 0, 0, 0, 0, 0);

    @Override
    @SuppressWarnings("NonAtomicOperationOnVolatileField")
    public void onStep(StepStats stats) {
        promptTokens += stats.numPrefillTokens();
        outputTokens += stats.numDecodeTokens();
        running = stats.numRunning();
        waiting = stats.numWaiting();
        freeBlocks = stats.numFreeBlocks();
        numBlocks = stats.numBlocks();
        numSteps++;
    }

    @Override
    public void onPreempted() {
        preemptions++;
    }

    @Override
    public void onFinished(RequestTimeline request, FinishReason reason) {
        finished++;
    }

    /** A line about the time since the last call; null if no step was run in it. Called by one thread. */
    public String line() {
        Reading now = new Reading(System.nanoTime(), promptTokens, outputTokens, preemptions, finished, numSteps);
        Reading before = last;
        last = now;
        if (now.numSteps() == before.numSteps()) {
            return null;
        }
        double seconds = (now.nanos() - before.nanos()) / 1e9;
        long preempted = now.preemptions() - before.preemptions();
        return String.format(Locale.ROOT, "%d running, %d waiting, %d finished; prompt %s tokens/s, generation %s tokens/s; KV cache %.1f %% used%s",
                running, waiting, now.finished() - before.finished(), Texts.rate((now.promptTokens() - before.promptTokens()) / seconds),
                Texts.rate((now.outputTokens() - before.outputTokens()) / seconds), 100.0 * (numBlocks - freeBlocks) / numBlocks,
                preempted == 0 ? "" : "; " + preempted + " preempted");
    }

    /** Passes every event to both. */
    public static SchedulerListener both(SchedulerListener first, SchedulerListener second) {
        return new SchedulerListener() {
            @Override
            public void onStep(StepStats stats) {
                first.onStep(stats);
                second.onStep(stats);
            }

            @Override
            public void onAdmitted(long queueNanos) {
                first.onAdmitted(queueNanos);
                second.onAdmitted(queueNanos);
            }

            @Override
            public void onPreempted() {
                first.onPreempted();
                second.onPreempted();
            }

            @Override
            public void onFirstToken(long nanos) {
                first.onFirstToken(nanos);
                second.onFirstToken(nanos);
            }

            @Override
            public void onNextToken(long nanos) {
                first.onNextToken(nanos);
                second.onNextToken(nanos);
            }

            @Override
            public void onFinished(RequestTimeline request, FinishReason reason) {
                first.onFinished(request, reason);
                second.onFinished(request, reason);
            }

            @Override
            public void onRejected(RejectedException.Kind kind) {
                first.onRejected(kind);
                second.onRejected(kind);
            }
        };
    }
}

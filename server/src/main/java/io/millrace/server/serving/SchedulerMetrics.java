package io.millrace.server.serving;

import io.millrace.engine.EngineLimits;
import io.millrace.scheduler.FinishReason;
import io.millrace.scheduler.RejectedException;
import io.millrace.scheduler.RequestTimeline;
import io.millrace.scheduler.SchedulerListener;
import io.millrace.scheduler.StepStats;
import io.millrace.telemetry.MetricRegistry;
import io.millrace.telemetry.ProcessMetrics;
import io.millrace.telemetry.RequestOutcome;
import io.millrace.telemetry.ServingMetrics;
import java.util.Locale;

/** Hands the scheduler's events to the metrics of {@code /metrics}. Allocates nothing on the engine thread. */
public final class SchedulerMetrics implements SchedulerListener {
    private final ServingMetrics metrics;

    private SchedulerMetrics(ServingMetrics metrics) {
        this.metrics = metrics;
    }

    /** Registers all metrics of a served model, and those of the process, in {@code registry}. */
    public static SchedulerMetrics register(MetricRegistry registry, EngineLimits limits, String kvDtype) {
        ServingMetrics metrics = new ServingMetrics(registry, limits.maxModelLen());
        metrics.setCacheConfig(limits.blockSize(), limits.numBlocks(), kvDtype, false);
        ProcessMetrics.register(registry);
        return new SchedulerMetrics(metrics);
    }

    @Override
    public void onStep(StepStats stats) {
        metrics.recordStep(stats.numPrefillTokens(), stats.numDecodeTokens(), stats.numRunning(), stats.numWaiting(),
                stats.numBlocks() - stats.numFreeBlocks(), stats.numBlocks(), stats.scheduleNanos(), stats.executeNanos(),
                stats.settleNanos());
    }

    @Override
    public void onPreempted() {
        metrics.recordPreemption();
    }

    @Override
    public void onFirstToken(long nanos) {
        metrics.recordFirstToken(nanos);
    }

    @Override
    public void onNextToken(long nanos) {
        metrics.recordNextToken(nanos);
    }

    @Override
    public void onFinished(RequestTimeline request, FinishReason reason) {
        RequestOutcome outcome = switch (reason) {
            case STOP -> RequestOutcome.STOP;
            case LENGTH -> RequestOutcome.LENGTH;
            case ABORT -> RequestOutcome.ABORT;
            case ERROR -> RequestOutcome.ERROR;
        };
        metrics.recordFinished(outcome, request.numPromptTokens(), request.numCachedTokens(), request.numOutputTokens(), request.maxTokens(),
                request.arrivalNanos(), request.firstScheduledNanos(), request.firstTokenNanos(), request.lastTokenNanos(),
                request.finishNanos());
    }

    @Override
    public void onRejected(RejectedException.Kind kind) {
        metrics.recordRejected(kind.name().toLowerCase(Locale.ROOT));
    }
}

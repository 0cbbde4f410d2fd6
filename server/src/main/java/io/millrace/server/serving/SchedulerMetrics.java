package io.millrace.server.serving;

import io.millrace.engine.EngineLimits;
import io.millrace.scheduler.FinishReason;
import io.millrace.scheduler.GenerationService;
import io.millrace.scheduler.RejectedException;
import io.millrace.scheduler.RequestTimeline;
import io.millrace.scheduler.SchedulerListener;
import io.millrace.scheduler.StepStats;
import io.millrace.telemetry.MetricRegistry;
import io.millrace.telemetry.ProcessMetrics;
import io.millrace.telemetry.RequestOutcome;
import io.millrace.telemetry.ServingMetrics;
import io.millrace.telemetry.StepWindow;
import java.io.IOException;
import java.io.OutputStream;
import java.util.Locale;

/** Hands the scheduler's events to the metrics of {@code /metrics} and to the rates of the log line. Allocates nothing on the engine thread. */
public final class SchedulerMetrics implements SchedulerListener {
    private final MetricRegistry registry;
    private final ServingMetrics metrics;
    private final StepWindow window = new StepWindow(System.nanoTime());

    private SchedulerMetrics(MetricRegistry registry, ServingMetrics metrics) {
        this.registry = registry;
        this.metrics = metrics;
    }

    /** Registers all metrics of a served model, and those of the process, in {@code registry}. */
    public static SchedulerMetrics register(MetricRegistry registry, EngineLimits limits, String kvDtype) {
        ServingMetrics metrics = new ServingMetrics(registry, limits.maxModelLen());
        metrics.setCacheConfig(limits.blockSize(), limits.numBlocks(), kvDtype, false);
        ProcessMetrics.register(registry);
        return new SchedulerMetrics(registry, metrics);
    }

    /** All metrics in Prometheus' text format, the gauges as {@code service} is now. Any thread. */
    public void writeText(GenerationService service, OutputStream out) throws IOException {
        GenerationService.Status now = service.status();
        // Requests also leave without a step, when a client goes away.
        metrics.setLoad(now.numRunning(), now.numWaiting(), now.numBlocks() - now.numFreeBlocks(), now.numBlocks());
        registry.writeText(out);
    }

    /** Rates of the last ten seconds; null if no step was run in them. Any thread. */
    public String line() {
        StepWindow.Snapshot snapshot = window.snapshot(System.nanoTime());
        return snapshot.isIdle() ? null : snapshot.line();
    }

    @Override
    public void onStep(StepStats stats) {
        int used = stats.numBlocks() - stats.numFreeBlocks();
        metrics.recordStep(stats.numPrefillTokens(), stats.numDecodeTokens(), stats.numRunning(), stats.numWaiting(), used, stats.numBlocks(),
                stats.scheduleNanos(), stats.executeNanos(), stats.settleNanos());
        window.record(System.nanoTime(), stats.numPrefillTokens(), stats.numDecodeTokens(), stats.numSequences(),
                stats.scheduleNanos() + stats.executeNanos() + stats.settleNanos(), stats.numRunning(), stats.numWaiting(),
                (double) used / stats.numBlocks());
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

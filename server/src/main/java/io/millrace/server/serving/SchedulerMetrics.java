package io.millrace.server.serving;

import io.millrace.engine.EngineLimits;
import io.millrace.scheduler.FinishReason;
import io.millrace.scheduler.GenerationService;
import io.millrace.scheduler.RejectedException;
import io.millrace.scheduler.RequestTimeline;
import io.millrace.scheduler.SchedulerListener;
import io.millrace.scheduler.StepStats;
import io.millrace.telemetry.KeyMetrics;
import io.millrace.telemetry.MetricRegistry;
import io.millrace.telemetry.ProcessMetrics;
import io.millrace.telemetry.PulseField;
import io.millrace.telemetry.PulseReader;
import io.millrace.telemetry.PulseRing;
import io.millrace.telemetry.PulseSummary;
import io.millrace.telemetry.RequestOutcome;
import io.millrace.telemetry.ServingMetrics;
import io.millrace.telemetry.StepWindow;
import io.millrace.telemetry.ThreadTimes;
import java.io.IOException;
import java.io.OutputStream;
import java.util.List;

/**
 * Hands the scheduler's events to the metrics of {@code /metrics}, to the rates of the log line, and one pulse per step to {@link #pulses}.
 * Allocates nothing on the engine thread after its first step.
 */
public final class SchedulerMetrics implements SchedulerListener {
    /** A minute of steps of 10 ms, a few seconds of the shortest. */
    private static final int PULSES = 8192;

    private final MetricRegistry registry;
    private final ServingMetrics metrics;
    private final KeyMetrics keys;
    private final StepWindow window = new StepWindow(System.nanoTime());
    private final PulseRing pulses = new PulseRing(0, PULSES);
    private final PulseSummary summary = new PulseSummary(pulses.reader());

    // The engine thread's own, from its first step on.
    private ThreadTimes times;
    private long cpuNanos;
    private long runQueueNanos;
    private volatile long runnerThreadId = -1;
    private long runnerCpuNanos;

    private SchedulerMetrics(MetricRegistry registry, ServingMetrics metrics) {
        this.registry = registry;
        this.metrics = metrics;
        this.keys = new KeyMetrics(registry);
    }

    /** Registers all metrics of a served model, and those of the process, in {@code registry}. */
    public static SchedulerMetrics register(MetricRegistry registry, EngineLimits limits, String kvDtype, boolean prefixCaching) {
        ServingMetrics metrics = new ServingMetrics(registry, limits.maxModelLen());
        metrics.setCacheConfig(limits.blockSize(), limits.numBlocks(), kvDtype, prefixCaching);
        ProcessMetrics.register(registry);
        return new SchedulerMetrics(registry, metrics);
    }

    /** All metrics in Prometheus' text format, the gauges as {@code service} is now. Any thread. */
    public void writeText(GenerationService service, OutputStream out) throws IOException {
        GenerationService.Status now = service.status();
        // Requests also leave without a step, when a client goes away.
        metrics.setLoad(now.numRunning(), now.numWaiting(), now.numBlocks() - now.numFreeBlocks(), now.numBlocks());
        recordRunner();
        List<GenerationService.TenantLoad> tenants = service.tenants();
        for (int i = 0; i < tenants.size(); i++) {
            keys.set(i, tenants.get(i).numInside(), tenants.get(i).numTokens(), tenants.get(i).numRefused());
        }
        registry.writeText(out);
    }

    /**
     * Rates of the last ten seconds with the load as {@code service} is now, and how the steps since the last call went; null if no step
     * was run in those seconds. Any thread.
     */
    public synchronized String line(GenerationService service) {
        GenerationService.Status now = service.status();
        window.setLoad(now.numRunning(), now.numWaiting(), share(now.numBlocks() - now.numFreeBlocks(), now.numBlocks()));
        StepWindow.Snapshot snapshot = window.snapshot(System.nanoTime());
        summary.update();
        if (snapshot.isIdle()) {
            return null;
        }
        return summary.numSteps() == 0 ? snapshot.line() : snapshot.line() + ", " + summary.line();
    }

    /** A new reader of the steps' pulses, from the oldest that is still there; each of one thread. */
    public PulseReader pulses() {
        return pulses.reader();
    }

    private static double share(int used, int all) {
        return all == 0 ? 0 : (double) used / all;
    }

    @Override
    public void onStep(StepStats stats) {
        int used = stats.numBlocks() - stats.numFreeBlocks();
        metrics.recordStep(stats.numPrefillTokens(), stats.numDecodeTokens(), stats.numRunning(), stats.numWaiting(), used, stats.numBlocks(),
                stats.scheduleNanos(), stats.executeNanos(), stats.settleNanos());
        window.record(System.nanoTime(), stats.numPrefillTokens(), stats.numDecodeTokens(), stats.numSequences(),
                stats.scheduleNanos() + stats.executeNanos() + stats.settleNanos(), stats.numRunning(), stats.numWaiting(),
                share(used, stats.numBlocks()));
        recordPulse(stats, used);
        if (stats.overlapped()) {
            metrics.recordOverlap();
        }
        runnerThreadId = stats.runnerThreadId();
    }

    /** When somebody looks, not in every step: the JVM allocates to answer. */
    private synchronized void recordRunner() {
        long cpu = runnerThreadId < 0 ? 0 : ThreadTimes.cpuNanosOf(runnerThreadId);
        if (cpu > runnerCpuNanos) {
            metrics.recordRunner(cpu - runnerCpuNanos);
            runnerCpuNanos = cpu;
        }
    }

    private void recordPulse(StepStats stats, int usedBlocks) {
        if (times == null) {
            // Here, since it belongs to the thread that asks for it. What the thread did before its first step is start-up.
            times = ThreadTimes.ofCurrentThread();
            cpuNanos = times.cpuNanos();
            runQueueNanos = times.runQueueNanos();
        }
        long cpu = times.cpuNanos();
        long runQueue = times.runQueueNanos();
        pulses.begin(stats.stepId(), stats.startNanos());
        pulses.set(PulseField.SCHEDULE_NANOS, stats.scheduleNanos());
        pulses.set(PulseField.EXECUTE_NANOS, stats.executeNanos());
        pulses.set(PulseField.SETTLE_NANOS, stats.settleNanos());
        pulses.set(PulseField.CPU_NANOS, cpu - cpuNanos);
        pulses.set(PulseField.RUN_QUEUE_NANOS, runQueue - runQueueNanos);
        pulses.set(PulseField.TOKENS, (long) stats.numPrefillTokens() + stats.numDecodeTokens());
        pulses.set(PulseField.SEQUENCES, stats.numSequences());
        pulses.set(PulseField.KV_BLOCKS_USED, usedBlocks);
        pulses.commit();
        metrics.recordThread(cpu - cpuNanos, runQueue - runQueueNanos);
        cpuNanos = cpu;
        runQueueNanos = runQueue;
    }

    @Override
    public void onPrefilled(RequestTimeline request) {
        metrics.recordPrefilled(request.numPromptTokens(), request.numCachedTokens());
    }

    @Override
    public void onPreempted(boolean fruitless) {
        metrics.recordPreemption(fruitless);
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
            case TIMEOUT -> RequestOutcome.TIMEOUT;
            case ERROR -> RequestOutcome.ERROR;
        };
        metrics.recordFinished(outcome, request.numPromptTokens(), request.numOutputTokens(), request.maxTokens(),
                request.arrivalNanos(), request.firstScheduledNanos(), request.firstTokenNanos(), request.lastTokenNanos(),
                request.finishNanos());
    }

    @Override
    public void onRejected(RejectedException.Kind kind) {
        metrics.recordRejected(kind.code());
    }
}

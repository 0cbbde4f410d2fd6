package io.millrace.telemetry;

import java.util.Locale;

/**
 * What a thread's pulses since the last look say of its steps. One reader's own, not thread-safe.
 *
 * <p>The question it answers is why a step was slow: {@code waited for a core} is time that the machine gave to others, the rest of a
 * step beside the thread's CPU time is waiting for helpers or a device.
 */
public final class PulseSummary {
    private final PulseReader reader;
    private final ShardPulse pulse = new ShardPulse();
    private long numSteps;
    private long busyNanos;
    private long cpuNanos;
    private long runQueueNanos;
    private long slowestNanos;
    private long slowestStep;
    private long slowestRunQueueNanos;

    public PulseSummary(PulseReader reader) {
        this.reader = reader;
    }

    /** Forgets the pulses of the last call and reads those that came since. */
    public void update() {
        numSteps = 0;
        busyNanos = 0;
        cpuNanos = 0;
        runQueueNanos = 0;
        slowestNanos = 0;
        slowestStep = 0;
        slowestRunQueueNanos = 0;
        while (reader.poll(pulse)) {
            long nanos = pulse.get(PulseField.SCHEDULE_NANOS) + pulse.get(PulseField.EXECUTE_NANOS) + pulse.get(PulseField.SETTLE_NANOS);
            numSteps++;
            busyNanos += nanos;
            cpuNanos += pulse.get(PulseField.CPU_NANOS);
            // The counter runs from step end to step end, so it may hold the wait of a wake-up too: that much was not in the step.
            long waited = Math.min(nanos, pulse.get(PulseField.RUN_QUEUE_NANOS));
            runQueueNanos += waited;
            if (nanos > slowestNanos) {
                slowestNanos = nanos;
                slowestStep = pulse.get(PulseField.STEP_ID);
                slowestRunQueueNanos = waited;
            }
        }
    }

    /** Pulses read by {@link #update}; 0 if no step ended since. */
    public long numSteps() {
        return numSteps;
    }

    public long slowestNanos() {
        return slowestNanos;
    }

    public long slowestStep() {
        return slowestStep;
    }

    /** CPU time of the thread over the time of its steps; 0 without steps. */
    public double cpuShare() {
        return busyNanos == 0 ? 0 : (double) cpuNanos / busyNanos;
    }

    /** Run-queue wait over the time of the steps, at most 1; 0 without steps. */
    public double runQueueShare() {
        return busyNanos == 0 ? 0 : (double) runQueueNanos / busyNanos;
    }

    /** Part of a log line. */
    public String line() {
        return String.format(Locale.ROOT, "slowest step %.1f ms (%.1f waiting for a core), engine thread CPU %.0f %%, waiting for a core %.0f %%",
                slowestNanos * 1e-6, slowestRunQueueNanos * 1e-6, 100 * cpuShare(), 100 * runQueueShare());
    }
}

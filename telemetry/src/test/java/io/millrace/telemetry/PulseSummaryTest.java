package io.millrace.telemetry;

import static org.assertj.core.api.Assertions.assertThat;
import static org.assertj.core.api.Assertions.within;

import org.junit.jupiter.api.Test;

class PulseSummaryTest {
    private static final long MS = 1_000_000;

    private static void step(PulseRing ring, long id, long executeNanos, long cpuNanos, long runQueueNanos) {
        ring.begin(id, id);
        ring.set(PulseField.SCHEDULE_NANOS, MS);
        ring.set(PulseField.EXECUTE_NANOS, executeNanos);
        ring.set(PulseField.SETTLE_NANOS, MS);
        ring.set(PulseField.CPU_NANOS, cpuNanos);
        ring.set(PulseField.RUN_QUEUE_NANOS, runQueueNanos);
        ring.commit();
    }

    /** Shares are of the steps' own time, the slowest step is named with its wait, and each look starts afresh. */
    @Test
    void aLookCoversTheStepsSinceTheLastOne() {
        PulseRing ring = new PulseRing(0, 16);
        PulseSummary summary = new PulseSummary(ring.reader());
        summary.update();
        assertThat(summary.numSteps()).isZero();
        assertThat(summary.cpuShare()).isZero();
        step(ring, 1, 8 * MS, 9 * MS, 0);
        step(ring, 2, 28 * MS, 11 * MS, 20 * MS);
        summary.update();
        assertThat(summary.numSteps()).isEqualTo(2);
        assertThat(summary.slowestStep()).isEqualTo(2);
        assertThat(summary.slowestNanos()).isEqualTo(30 * MS);
        assertThat(summary.cpuShare()).isCloseTo(0.5, within(1e-9));
        assertThat(summary.runQueueShare()).isCloseTo(0.5, within(1e-9));
        assertThat(summary.line()).isEqualTo("slowest step 30.0 ms (20.0 waiting for a core), engine thread CPU 50 %, waiting for a core 50 %");
        summary.update();
        assertThat(summary.numSteps()).isZero();
    }
}

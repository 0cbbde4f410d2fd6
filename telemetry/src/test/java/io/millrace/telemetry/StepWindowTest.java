package io.millrace.telemetry;

import static org.assertj.core.api.Assertions.assertThat;
import static org.assertj.core.api.Assertions.within;

import org.junit.jupiter.api.Test;

class StepWindowTest {
    private static final long SECOND = 1_000_000_000L;
    private static final long START = -7 * SECOND; // nanoTime has no particular origin

    @Test
    void aSteadyLoadShowsItsRates() {
        StepWindow window = new StepWindow(START);
        for (int i = 1; i <= 3000; i++) {
            window.record(START + i * SECOND / 100, 10, 4, 5, SECOND / 200, 6, 7, 0.5);
        }
        StepWindow.Snapshot s = window.snapshot(START + 30 * SECOND);
        assertThat(s.prefillTokensPerSecond()).isCloseTo(1000, within(20.0));
        assertThat(s.decodeTokensPerSecond()).isCloseTo(400, within(10.0));
        assertThat(s.stepsPerSecond()).isCloseTo(100, within(2.0));
        assertThat(s.meanBatch()).isEqualTo(5);
        assertThat(s.busy()).isCloseTo(0.5, within(0.02));
        assertThat(s.numRunning()).isEqualTo(6);
        assertThat(s.numWaiting()).isEqualTo(7);
        assertThat(s.kvUsage()).isEqualTo(0.5);
        assertThat(s.line()).startsWith("last 10 s: ").contains("now 6 sequences running, 7 waiting, KV 50.0 %");
    }

    @Test
    void aFreshWindowDividesByItsAgeAndAnOldLoadFades() {
        StepWindow window = new StepWindow(START);
        assertThat(window.snapshot(START).isIdle()).isTrue();
        window.record(START + SECOND, 0, 100, 1, SECOND / 2, 1, 0, 0.1);
        assertThat(window.snapshot(START + 2 * SECOND).decodeTokensPerSecond()).as("100 tokens in 2 s").isCloseTo(50, within(0.1));
        assertThat(window.snapshot(START + 8 * SECOND).isIdle()).isFalse();
        assertThat(window.snapshot(START + 12 * SECOND).isIdle()).isTrue();
        assertThat(window.snapshot(START + 12 * SECOND).decodeTokensPerSecond()).isZero();
        window.setLoad(0, 0, 0);
        assertThat(window.snapshot(START + 12 * SECOND).numRunning()).isZero();
    }

    @Test
    void recordingAllocatesNothing() {
        StepWindow window = new StepWindow(START);
        long[] now = {START};
        long bytes = Allocation.bytesOf(10_000, () -> window.record(now[0] += SECOND / 50, 1, 2, 3, 4, 5, 6, 0.5));
        assertThat(bytes).isLessThan(10_000);
    }
}

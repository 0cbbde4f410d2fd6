package io.millrace.scheduler;

import static org.assertj.core.api.Assertions.assertThat;

import org.junit.jupiter.api.Test;

/** Property: the estimate is the measured work over the measured rate, and never zero. */
class RetryAfterEstimateTest {
    private final Progress progress = new Progress();
    private final RetryAfterEstimate estimate = new RetryAfterEstimate(progress);

    @Test
    void withoutMeasurementItIsOneSecond() {
        progress.numWaiting = 1000;
        progress.numWaitingTokens = 1_000_000;
        assertThat(estimate.seconds()).isEqualTo(1);
    }

    @Test
    void itIsWorkOverRate() {
        for (int i = 0; i < 500; i++) {
            estimate.onStep(100, 50_000_000);
            estimate.onFinished(40);
        }
        assertThat(estimate.tokensPerSecond()).isBetween(1999.0, 2001.0);
        // 20,000 prompt tokens, and 40 outputs for each of 100 waiting and half of 50 running: 25,000 tokens.
        progress.numWaiting = 100;
        progress.numWaitingTokens = 20_000;
        progress.numRunning = 50;
        assertThat(estimate.seconds()).isEqualTo(13);
        progress.numWaiting = 0;
        progress.numWaitingTokens = 0;
        assertThat(estimate.seconds()).isEqualTo(1);
        progress.numWaitingTokens = 1L << 50;
        assertThat(estimate.seconds()).isEqualTo(RetryAfterEstimate.MAX_SECONDS);
    }

    @Test
    void itFollowsAChangeOfPace() {
        for (int i = 0; i < 500; i++) {
            estimate.onStep(100, 10_000_000);
        }
        for (int i = 0; i < 200; i++) {
            estimate.onStep(100, 100_000_000);
        }
        assertThat(estimate.tokensPerSecond()).isBetween(990.0, 1100.0);
    }
}

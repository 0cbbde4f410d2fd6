package io.millrace.scheduler;

import static org.assertj.core.api.Assertions.assertThat;

import org.junit.jupiter.api.Test;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.ValueSource;

/** Property: estimates are measured work over the measured rate, and never zero. */
class RetryAfterEstimateTest {
    private final RetryAfterEstimate estimate = new RetryAfterEstimate(3);

    @Test
    void withoutMeasurementItIsOneSecond() {
        for (int i = 0; i < 1000; i++) {
            assertThat(estimate.promiseRequests(0, 1, 5)).isEqualTo(1);
        }
        assertThat(estimate.secondsUntilOneOf(3)).isEqualTo(1);
        assertThat(estimate.bestNanosFor(1000)).isZero();
    }

    /** Property: those refused one after the other are told times as far apart as places become free, and who waited is forgotten. */
    @Test
    void promisesFollowTheRate() {
        tenPlacesASecond(estimate);
        // 2,000 tokens/s and 200 tokens a request: ten places a second.
        assertThat(estimate.tokensPerSecond()).isBetween(1999.0, 2001.0);
        for (int i = 1; i <= 100; i++) {
            assertThat(estimate.promiseRequests(0, 1, 7_000_000_000L)).as("refused as number %d", i).isBetween((i + 9) / 10, (i + 9) / 10 + 1);
        }
        assertThat(estimate.promiseRequests(0, 1, 12_000_000_000L)).as("five seconds later").isBetween(6, 7);
        assertThat(estimate.promiseRequests(0, 1, 60_000_000_000L)).as("all promises kept").isEqualTo(1);
        // 1,600 prompt tokens stand for 2,000 computed ones.
        assertThat(estimate.promiseTokens(0, 16_000, 100_000_000_000L)).isEqualTo(10);
        assertThat(estimate.promiseTokens(0, 1L << 40, 200_000_000_000L)).isEqualTo(RetryAfterEstimate.MAX_SECONDS);
        assertThat(estimate.secondsUntilOneOf(1)).isEqualTo(3);
        assertThat(estimate.secondsUntilOneOf(30)).isEqualTo(1);
        assertThat(estimate.bestNanosFor(10)).isEqualTo(5_000_000);
    }

    /** Property: who asks again and again is told later and later, up to the bound; others no more than five seconds beyond their turn. */
    @Test
    void whoHammersPutsOffItselfAndOthersByFiveSeconds() {
        tenPlacesASecond(estimate);
        long now = 1_000_000_000L;
        for (int i = 0; i < 100_000; i++) {
            estimate.promiseRequests(0, 1, now += 1_000);
        }
        assertThat(estimate.promiseRequests(0, 1, now)).isEqualTo(RetryAfterEstimate.MAX_SECONDS);
        // Ten places a second: by turns with one line its n-th is due after 2n of them, and with two its tenth after 30.
        for (int i = 1; i <= 20; i++) {
            assertThat(estimate.promiseRequests(1, 1, now)).as("refused as number %d", i).isBetween(5 + (i + 4) / 5, 5 + (i + 4) / 5 + 1);
        }
        assertThat(estimate.promiseRequests(2, 10, now)).isBetween(8, 9);
        assertThat(estimate.promiseRequests(1, 1, now + 700_000_000_000L)).as("all lines are gone").isEqualTo(1);
    }

    /** Property: however many keys are refused, and in whatever order, five seconds are not promised more often than there are places in them. */
    @ParameterizedTest
    @ValueSource(booleans = {false, true})
    void fiveSecondsAreNotPromisedTwice(boolean byTurns) {
        RetryAfterEstimate many = new RetryAfterEstimate(20);
        tenPlacesASecond(many);
        int[] promised = new int[RetryAfterEstimate.MAX_SECONDS + 1];
        for (int i = 0; i < 1000; i++) {
            promised[many.promiseRequests(byTurns ? i % 20 : i / 50, 1, 7_000_000_000L)]++;
        }
        int total = 0;
        for (int second = 1; second <= 5; second++) {
            total += promised[second];
            // The rate is measured: one place more or less at the end of a second.
            assertThat(total).as("within %d s", second).isBetween(10 * second - 1, 10 * second + 1);
        }
    }

    private static void tenPlacesASecond(RetryAfterEstimate estimate) {
        for (int i = 0; i < 500; i++) {
            estimate.onStep(100, 50_000_000);
            estimate.onFinished(160, 200, 3_000_000_000L);
        }
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

package io.millrace.scheduler;

import static org.assertj.core.api.Assertions.assertThat;

import io.millrace.engine.FakeEngine;
import io.millrace.engine.SamplingParams;
import org.junit.jupiter.api.Test;

class DeadlineTest {
    private static Terms within(long millis) {
        return new Terms(0, 0, millis * 1_000_000);
    }

    private static Harness harness() {
        Harness h = new Harness(FakeEngine.builder().maxNumSeqs(1).maxNumBatchedTokens(64), 64);
        h.nanosPerStep = 10_000_000;
        h.nanosPerToken = 0;
        return h;
    }

    /** Property: a running request ends at the first step after its deadline, with the reason, and its blocks are free. */
    @Test
    void aRunningRequestEndsAtItsDeadline() {
        Harness h = harness();
        RequestState late = h.submit(Harness.prompt(1, 10), SamplingParams.greedy(400), within(105));
        RequestState next = h.submit(Harness.prompt(2, 10), SamplingParams.greedy(5), Terms.DEFAULT);
        h.drain();
        assertThat(h.sink(late).reason).isEqualTo(FinishReason.TIMEOUT);
        assertThat(h.sink(late).message).startsWith("SCH-020").contains("0.105 s", "after 11 output tokens");
        assertThat(late.finishNanos() - late.arrivalNanos()).isBetween(105_000_000L, 115_000_000L);
        h.expectOutput(next);
    }

    /** Property: a waiting request ends at its deadline wherever it stands in the queue, and those before and behind it are served. */
    @Test
    void aWaitingRequestEndsAtItsDeadline() {
        Harness h = harness();
        h.submit(Harness.prompt(1, 10), SamplingParams.greedy(50), Terms.DEFAULT);
        h.submit(Harness.prompt(2, 10), SamplingParams.greedy(5), Terms.DEFAULT);
        RequestState waiting = h.submit(Harness.prompt(3, 10), SamplingParams.greedy(5), within(200));
        h.submit(Harness.prompt(4, 10), SamplingParams.greedy(5), Terms.DEFAULT);
        h.drain();
        assertThat(h.sink(waiting).reason).isEqualTo(FinishReason.TIMEOUT);
        assertThat(h.sink(waiting).message).startsWith("SCH-020").contains("while it waited");
        assertThat(waiting.finishNanos() - waiting.arrivalNanos()).isBetween(200_000_000L, 211_000_000L);
        for (int i : new int[] {0, 1, 3}) {
            h.expectOutput(h.requests.get(i));
        }
    }

    /** Property: one whose prompt alone would take until after its deadline, at the best rate measured, is not started; one that can be is. */
    @Test
    void whatCannotBeMetIsNotStarted() {
        Harness h = harness();
        // 64 tokens in 10 ms at best.
        h.submit(Harness.prompt(1, 64), SamplingParams.greedy(20), Terms.DEFAULT);
        RequestState hopeless = h.submit(Harness.prompt(2, 400), SamplingParams.greedy(5), within(250));
        RequestState possible = h.submit(Harness.prompt(3, 64), SamplingParams.greedy(1), within(250));
        h.drain();
        assertThat(h.sink(hopeless).reason).isEqualTo(FinishReason.TIMEOUT);
        assertThat(h.sink(hopeless).message).startsWith("SCH-021").contains("not started");
        assertThat(hopeless.firstScheduledNanos()).isZero();
        assertThat(h.sink(possible).reason).isEqualTo(FinishReason.LENGTH);
    }

    /** Property: a deadline that is kept changes nothing. */
    @Test
    void aKeptDeadlineChangesNothing() {
        Harness h = harness();
        RequestState request = h.submit(Harness.prompt(1, 100), SamplingParams.greedy(20), within(1000));
        h.drain();
        h.expectOutput(request);
    }
}

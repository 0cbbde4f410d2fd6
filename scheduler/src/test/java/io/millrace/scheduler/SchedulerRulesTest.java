package io.millrace.scheduler;

import static org.assertj.core.api.Assertions.assertThat;

import io.millrace.engine.FakeEngine;
import io.millrace.engine.SamplingParams;
import io.millrace.engine.StepPlan;
import java.util.concurrent.atomic.AtomicInteger;
import java.util.logging.Level;
import java.util.logging.Logger;
import org.junit.jupiter.api.AfterAll;
import org.junit.jupiter.api.BeforeAll;
import org.junit.jupiter.api.Test;

/** Properties of single steps and of endings: who goes first, who is cut, who stops when. */
class SchedulerRulesTest {
    // Held, or the setting would be collected with the logger: the failures below are meant.
    private static final Logger LOG = Logger.getLogger("io.millrace.scheduler");

    @BeforeAll
    static void silence() {
        LOG.setLevel(Level.OFF);
    }

    @AfterAll
    static void speak() {
        LOG.setLevel(null);
    }

    /** The position of the token itself, so that a test can say "the fifth output is the stop token". */
    private static FakeEngine.Builder counting() {
        return FakeEngine.builder().nextToken((sequence, hash) -> 100 + sequence.numOutputTokens()).eosTokenIds(104, 110);
    }

    @Test
    void decodesGoFirstThenBegunPromptsThenWaitingOnes() {
        Harness h = new Harness(FakeEngine.builder().maxNumBatchedTokens(40), 32);
        RequestState decoding = h.submit(Harness.prompt(1, 8), SamplingParams.greedy(20));
        h.step();
        RequestState first = h.submit(Harness.prompt(2, 60), SamplingParams.greedy(4));
        RequestState second = h.submit(Harness.prompt(3, 60), SamplingParams.greedy(4));
        expectPlan(h.step(), decoding, 1, first, 32, second, 7);
        expectPlan(h.step(), decoding, 1, first, 28, second, 11);
        expectPlan(h.step(), decoding, 1, first, 1, second, 32);
        h.drain();
    }

    private static void expectPlan(StepPlan plan, Object... requestsAndCounts) {
        assertThat(plan.size()).isEqualTo(requestsAndCounts.length / 2);
        for (int i = 0; i < plan.size(); i++) {
            // The plan still names the sequences after the step; only their tokens have grown.
            assertThat(plan.sequence(i)).isSameAs(((RequestState) requestsAndCounts[2 * i]).sequence);
            assertThat(plan.numTokens(i)).isEqualTo(requestsAndCounts[2 * i + 1]);
        }
    }

    @Test
    void aBudgetSmallerThanTheSeatsStillServesAnUnfinishedPromptFirst() {
        // Chunks of 1 let young requests decode while the oldest still reads its prompt; the harness checks that it moves in every step.
        Harness h = new Harness(FakeEngine.builder().maxNumSeqs(8).maxNumBatchedTokens(3), 1);
        h.submit(Harness.prompt(1, 100), SamplingParams.greedy(5));
        for (int i = 0; i < 20; i++) {
            h.submit(Harness.prompt(i, 1), SamplingParams.greedy(60));
        }
        h.drain();
        h.requests.forEach(h::expectOutput);
    }

    @Test
    void theHeadOfTheQueueIsNeverPassedOver() {
        Harness h = new Harness(FakeEngine.builder().blocks(10, 16), 256);
        h.submit(Harness.prompt(1, 80), SamplingParams.greedy(50));
        h.step();
        RequestState large = h.submit(Harness.prompt(2, 120), SamplingParams.greedy(2));
        RequestState small = h.submit(Harness.prompt(3, 2), SamplingParams.greedy(2));
        h.drain();
        assertThat(small.firstScheduledNanos).as("the small one behind it fitted at once").isGreaterThanOrEqualTo(large.firstScheduledNanos);
    }

    @Test
    void theYoungestIsPreemptedAndReturnsInFrontOfTheQueue() {
        Harness h = new Harness(FakeEngine.builder().blocks(8, 4).maxModelLen(64), 64);
        RequestState old = h.submit(Harness.prompt(1, 12), SamplingParams.greedy(20));
        RequestState young = h.submit(Harness.prompt(2, 12), SamplingParams.greedy(20));
        RequestState waiting = h.submit(Harness.prompt(3, 12), SamplingParams.greedy(20));
        while (young.numPreemptions == 0) {
            h.step();
        }
        assertThat(young.phase).isEqualTo(RequestState.Phase.WAITING);
        assertThat(old.phase).isEqualTo(RequestState.Phase.RUNNING);
        assertThat(young.next).as("first in the queue, before the one that never ran").isSameAs(waiting);
        h.drain();
        h.requests.forEach(h::expectOutput);
    }

    @Test
    void aModelEosEndsUnlessIgnored() {
        Harness h = new Harness(counting(), 256);
        RequestState stops = h.submit(Harness.prompt(1, 3), SamplingParams.greedy(50));
        RequestState ignores = h.submit(Harness.prompt(2, 3), SamplingParams.builder().maxTokens(50).ignoreEos(true).build());
        RequestState late = h.submit(Harness.prompt(3, 3), SamplingParams.builder().maxTokens(50).minTokens(5).build());
        h.drain();
        expectEnd(h, stops, FinishReason.STOP, 104, 5);
        expectEnd(h, ignores, FinishReason.LENGTH, -1, 50);
        expectEnd(h, late, FinishReason.STOP, 110, 11);
    }

    @Test
    void aStopTokenIsPassedOnAndNamed() {
        Harness h = new Harness(counting(), 256);
        RequestState stops = h.submit(Harness.prompt(1, 3), SamplingParams.builder().maxTokens(50).stopTokenIds(102).build());
        RequestState eosIgnored = h.submit(Harness.prompt(2, 3),
                SamplingParams.builder().maxTokens(50).stopTokenIds(7, 107).ignoreEos(true).build());
        RequestState onTheFirst = h.submit(Harness.prompt(3, 3), SamplingParams.builder().maxTokens(1).stopTokenIds(100).build());
        h.drain();
        expectEnd(h, stops, FinishReason.STOP, 102, 3);
        expectEnd(h, eosIgnored, FinishReason.STOP, 107, 8);
        expectEnd(h, onTheFirst, FinishReason.STOP, 100, 1);
    }

    @Test
    void theContextLengthEnds() {
        Harness h = new Harness(counting().maxModelLen(32).eosTokenIds(), 256);
        RequestState grows = h.submit(Harness.prompt(1, 20), SamplingParams.greedy(500));
        RequestState full = h.submit(Harness.prompt(2, 31), SamplingParams.greedy(5));
        h.drain();
        expectEnd(h, grows, FinishReason.LENGTH, -1, 12);
        expectEnd(h, full, FinishReason.LENGTH, -1, 1);
    }

    @Test
    void zeroTokensWithoutScoringEndsWithoutAStep() {
        Harness h = new Harness(counting(), 256);
        RequestState nothing = h.submit(Harness.prompt(1, 20), SamplingParams.greedy(0));
        assertThat(h.step().isEmpty()).isTrue();
        h.drain();
        expectEnd(h, nothing, FinishReason.LENGTH, -1, 0);
    }

    private static void expectEnd(Harness h, RequestState request, FinishReason reason, int stopToken, int numTokens) {
        RecordingSink sink = h.sink(request);
        assertThat(sink.reason).isEqualTo(reason);
        assertThat(sink.stopTokenId).isEqualTo(stopToken);
        assertThat(sink.tokens()).hasSize(numTokens);
    }

    @Test
    void abortFreesEverythingInAnyPhase() {
        Harness h = new Harness(FakeEngine.builder().blocks(8, 4).maxModelLen(64).maxNumSeqs(2), 64);
        RequestState running = h.submit(Harness.prompt(1, 12), SamplingParams.greedy(20));
        RequestState preempted = h.submit(Harness.prompt(2, 12), SamplingParams.greedy(20));
        RequestState neverRan = h.submit(Harness.prompt(3, 12), SamplingParams.greedy(20));
        while (preempted.numPreemptions == 0) {
            h.step();
        }
        for (RequestState r : new RequestState[] {preempted, running, neverRan}) {
            h.scheduler.abort(r);
            h.scheduler.abort(r);
            h.scheduler.checkIntegrity();
            assertThat(h.sink(r).reason).isEqualTo(FinishReason.ABORT);
        }
        h.drain();
        RequestState next = h.submit(Harness.prompt(4, 12), SamplingParams.greedy(3));
        h.drain();
        h.expectOutput(next);
    }

    @Test
    void noTokenIsHandedOutAfterAnAbort() {
        Harness h = new Harness(FakeEngine.builder(), 64);
        RequestState request = h.submit(Harness.prompt(1, 12), SamplingParams.greedy(20));
        h.step();
        request.abort();
        h.step();
        assertThat(h.sink(request).tokens()).hasSize(1);
        assertThat(h.sink(request).reason).isEqualTo(FinishReason.ABORT);
        h.drain();
    }

    @Test
    void theListenerHearsEveryEventOnce() {
        AtomicInteger admitted = new AtomicInteger();
        AtomicInteger preempted = new AtomicInteger();
        AtomicInteger first = new AtomicInteger();
        AtomicInteger next = new AtomicInteger();
        AtomicInteger finishedTokens = new AtomicInteger();
        Harness h = new Harness(FakeEngine.builder().blocks(10, 16).maxNumBatchedTokens(64), 32, new SchedulerListener() {
            @Override
            public void onAdmitted(long queueNanos) {
                assertThat(queueNanos).isNotNegative();
                admitted.incrementAndGet();
            }

            @Override
            public void onPreempted(boolean fruitless) {
                preempted.incrementAndGet();
            }

            @Override
            public void onFirstToken(long nanos) {
                assertThat(nanos).isPositive();
                first.incrementAndGet();
            }

            @Override
            public void onNextToken(long nanos) {
                assertThat(nanos).isPositive();
                next.incrementAndGet();
            }

            @Override
            public void onFinished(RequestTimeline request, FinishReason reason) {
                assertThat(request.firstScheduledNanos()).isBetween(request.arrivalNanos(), request.firstTokenNanos());
                assertThat(request.lastTokenNanos()).isBetween(request.firstTokenNanos(), request.finishNanos());
                finishedTokens.addAndGet(request.numOutputTokens());
            }
        });
        for (int i = 0; i < 6; i++) {
            h.submit(Harness.prompt(i, 5 + 5 * i), SamplingParams.greedy(70));
        }
        h.drain();
        assertThat(admitted).hasValue(6);
        assertThat(first).hasValue(6);
        assertThat(next).hasValue(6 * 69);
        assertThat(finishedTokens).hasValue(6 * 70);
        assertThat((long) preempted.get()).isPositive().isEqualTo(h.scheduler.progress().numPreemptions);
    }

    @Test
    void aThrowingListenerIsDroppedAndServingGoesOn() {
        AtomicInteger calls = new AtomicInteger();
        Harness h = new Harness(FakeEngine.builder(), 32, new SchedulerListener() {
            @Override
            public void onFirstToken(long nanos) {
                calls.incrementAndGet();
                throw new IllegalStateException("a test listener that fails");
            }
        });
        h.submit(Harness.prompt(1, 5), SamplingParams.greedy(7));
        h.submit(Harness.prompt(2, 5), SamplingParams.greedy(7));
        h.drain();
        h.requests.forEach(h::expectOutput);
        assertThat(calls).hasValue(1);
    }
}

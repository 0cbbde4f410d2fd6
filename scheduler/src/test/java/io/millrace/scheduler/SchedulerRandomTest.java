package io.millrace.scheduler;

import static org.assertj.core.api.Assertions.assertThat;

import io.millrace.engine.FakeEngine;
import io.millrace.engine.SamplingParams;
import java.util.Random;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.ValueSource;

/**
 * Property: whatever comes in whatever order, every invariant holds after every step (see {@link Harness#step}), every request ends
 * once, and those not aborted get exactly their own tokens. 5 seeds of 20,000 operations.
 */
class SchedulerRandomTest {
    private static final int NUM_OPERATIONS = 20_000;

    @ParameterizedTest
    @ValueSource(longs = {11, 12, 13, 14, 15})
    void randomOperationsKeepEveryPromise(long seed) {
        Random random = new Random(seed);
        int blockSize = 1 << random.nextInt(5);
        int numSeqs = 1 + random.nextInt(12);
        int numBlocks = (64 + blockSize - 1) / blockSize + random.nextInt(160 / blockSize);
        Harness h = new Harness(FakeEngine.builder().maxModelLen(64).eosPermille(15).blocks(numBlocks, blockSize).maxNumSeqs(numSeqs)
                .maxNumBatchedTokens(1 + random.nextInt(60)).maxLogitRows(numSeqs + random.nextInt(20)), 1 + random.nextInt(40));
        for (int i = 0; i < NUM_OPERATIONS; i++) {
            int op = random.nextInt(20);
            int numInside = h.requests.size() - (int) h.scheduler.progress().numFinished;
            if (op < 3 && numInside < 40) {
                h.submit(Harness.prompt(random.nextInt(), 1 + random.nextInt(40)), SamplingParams.builder()
                        .temperature(random.nextInt(2)).seed(random.nextLong()).maxTokens(random.nextInt(40))
                        .minTokens(random.nextInt(4)).stopTokenIds(random.nextInt(1000))
                        .numPromptLogprobs(random.nextInt(3) == 0 ? 0 : -1).build());
            } else if (op == 3 && numInside > 0) {
                RequestState victim = h.requests.get(h.requests.size() - 1 - random.nextInt(Math.min(40, h.requests.size())));
                if (random.nextBoolean()) {
                    h.scheduler.abort(victim);
                } else {
                    // Noticed by settle only, as if the command were still on its way.
                    victim.abort();
                }
            } else {
                h.step();
            }
        }
        h.drain();
        for (RequestState r : h.requests) {
            if (h.sink(r).reason != FinishReason.ABORT) {
                h.expectOutput(r);
                assertThat(h.sink(r).scoredPositions()).hasSize(r.sequence.sampling().numPromptLogprobs() < 0 ? 0 : r.numPromptTokens() - 1);
            }
        }
        System.out.printf("seed %d: %d requests, %d steps, %d preemptions%n", seed, h.requests.size(), h.numSteps,
                h.scheduler.progress().numPreemptions);
    }
}

package io.millrace.scheduler;

import static org.assertj.core.api.Assertions.assertThat;

import io.millrace.engine.FakeEngine;
import io.millrace.engine.SamplingParams;
import java.util.ArrayList;
import java.util.Collections;
import java.util.List;
import java.util.Random;
import java.util.stream.IntStream;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.CsvSource;
import org.junit.jupiter.params.provider.ValueSource;

/** Property: what a request gets depends on the request alone, never on how it was cut up, whom it met or how often it was preempted. */
class SchedulerTokensTest {
    private static SamplingParams params(int seed, int maxTokens) {
        // Half of them greedy, half drawn: draws depend on seed and output position.
        return SamplingParams.builder().temperature(seed % 2).seed(seed).maxTokens(maxTokens).build();
    }

    @ParameterizedTest
    @ValueSource(ints = {1, 2, 3, 7, 16, 1 << 30})
    void anyChunkSizeGivesTheSameTokens(int chunk) {
        Harness h = new Harness(FakeEngine.builder().eosPermille(20), chunk);
        for (int i = 0; i < 12; i++) {
            h.submit(Harness.prompt(i, 1 + 17 * i), params(i, 40));
        }
        h.drain();
        h.requests.forEach(h::expectOutput);
    }

    @ParameterizedTest
    @CsvSource({"1,1", "4,1", "4,2", "16,1", "16,2", "64,1", "64,2", "64,3"})
    void anyNumberOfCompanionsInAnyOrderGivesTheSameTokens(int count, int orderSeed) {
        Harness h = new Harness(FakeEngine.builder().maxNumSeqs(32).blocks(128, 16).eosPermille(10), 24);
        List<Integer> order = new ArrayList<>(IntStream.range(0, count).boxed().toList());
        Random random = new Random(orderSeed);
        Collections.shuffle(order, random);
        for (int i : order) {
            h.submit(Harness.prompt(i, 1 + i * 13 % 90), params(i, 1 + i % 50));
            // Some arrive together, some in the middle of others' work.
            for (int s = random.nextInt(4); s > 0; s--) {
                h.step();
            }
        }
        h.drain();
        h.requests.forEach(h::expectOutput);
    }

    @ParameterizedTest
    @ValueSource(ints = {9, 10, 12, 16})
    void preemptionGivesTheSameTokens(int numBlocks) {
        // 144 tokens fit at least, each request needs up to 120 of them: at most one is ever safe.
        Harness h = new Harness(FakeEngine.builder().blocks(numBlocks, 16).maxNumBatchedTokens(64), 32);
        for (int i = 0; i < 10; i++) {
            h.submit(Harness.prompt(i, 5 + 5 * i), params(i, 70));
        }
        h.drain();
        h.requests.forEach(h::expectOutput);
        assertThat(h.scheduler.progress().numPreemptions).as("preemptions").isPositive();
        assertThat(h.requests.getFirst().numPreemptions).as("preemptions of the oldest").isZero();
    }

    @Test
    void blocksOfOneTokenWork() {
        Harness h = new Harness(FakeEngine.builder().blocks(50, 1).maxNumBatchedTokens(9), 4);
        for (int i = 0; i < 8; i++) {
            h.submit(Harness.prompt(i, 3 + i), params(i, 20));
        }
        h.drain();
        h.requests.forEach(h::expectOutput);
        assertThat(h.scheduler.progress().numPreemptions).isPositive();
    }

    @ParameterizedTest
    @ValueSource(longs = {1, 2, 3, 4, 5, 6})
    void aLongPromptTakesBlocksBackFromYoungDecodesWithinTheBudget(long seed) {
        // Small chunks of the old prompts against decodes that were planned before them in the same step, with every token spent.
        Random random = new Random(seed);
        Harness h = new Harness(FakeEngine.builder().blocks(48, 2).maxModelLen(96).maxNumSeqs(6).maxNumBatchedTokens(6), 3);
        for (int i = 0; i < 60; i++) {
            h.submit(Harness.prompt(i, random.nextInt(4) == 0 ? 50 : 1 + random.nextInt(3)), params(i, 1 + random.nextInt(40)));
        }
        h.drain();
        h.requests.forEach(h::expectOutput);
        assertThat(h.scheduler.progress().numPreemptions).isPositive();
    }
}

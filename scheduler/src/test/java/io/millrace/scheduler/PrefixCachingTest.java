package io.millrace.scheduler;

import static org.assertj.core.api.Assertions.assertThat;

import io.millrace.engine.FakeEngine;
import io.millrace.engine.SamplingParams;
import java.util.Arrays;
import java.util.List;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.CsvSource;

/**
 * Property: what was computed is not computed again, and nobody is given keys and values of other tokens. The engine double keeps the
 * hash of the prefix in each KV slot and fails a step whose sequence finds another prefix in its blocks than its own.
 */
class PrefixCachingTest {
    private static final int BLOCK = 16;

    private static int[] concat(int[] a, int[] b) {
        int[] all = Arrays.copyOf(a, a.length + b.length);
        System.arraycopy(b, 0, all, a.length, b.length);
        return all;
    }

    private static Harness harness() {
        return new Harness(FakeEngine.builder(), 64);
    }

    private static long computedBy(Harness h, Runnable work) {
        long before = h.engine.numComputedTokens();
        work.run();
        h.drain();
        return h.engine.numComputedTokens() - before;
    }

    @ParameterizedTest
    @CsvSource({"100,96", "96,80", "97,96", "17,16", "16,0", "15,0", "1,0"})
    void aPromptSeenBeforeCostsItsLastTokensOnly(int numPrompt, int expectedHit) {
        Harness h = harness();
        int[] prompt = Harness.prompt(1, numPrompt);
        h.submit(prompt, SamplingParams.greedy(1));
        h.drain();
        long computed = computedBy(h, () -> h.submit(prompt, SamplingParams.greedy(1)));
        assertThat(computed).isEqualTo(numPrompt - expectedHit);
        assertThat(h.requests.getLast().numCachedTokens()).isEqualTo(expectedHit);
        assertThat(h.requests.getFirst().numCachedTokens()).isZero();
        h.requests.forEach(h::expectOutput);
    }

    @Test
    void theNextTurnOfAConversationFindsTheAnswerToo() {
        Harness h = harness();
        int[] prompt = Harness.prompt(1, 50);
        RequestState first = h.submit(prompt, SamplingParams.greedy(40));
        h.drain();
        int[] turn = concat(concat(prompt, h.sink(first).tokens()), Harness.prompt(2, 20));
        RequestState second = h.submit(turn, SamplingParams.greedy(5));
        h.drain();
        // 89 positions were computed: the last token drawn was never fed back.
        assertThat(second.numCachedTokens()).isEqualTo(89 / BLOCK * BLOCK);
        h.expectOutput(second);
    }

    @Test
    void tenantsWithOtherSaltsShareNothing() {
        Harness h = harness();
        int[] prompt = Harness.prompt(1, 100);
        for (String salt : new String[] {null, "red", "blue", "red", null}) {
            h.fork(prompt, SamplingParams.greedy(1), salt, 1);
            h.drain();
        }
        assertThat(h.requests.stream().map(RequestState::numCachedTokens)).containsExactly(0, 0, 0, 96, 96);
    }

    @Test
    void requestsOfOneStepShareWhatTheStepComputes() {
        Harness h = new Harness(FakeEngine.builder().maxNumBatchedTokens(512), 512);
        int[] shared = Harness.prompt(1, 160);
        long computed = computedBy(h, () -> {
            for (int i = 0; i < 4; i++) {
                h.submit(concat(shared, Harness.prompt(10 + i, 8)), SamplingParams.greedy(1));
            }
        });
        assertThat(h.numSteps).isEqualTo(1);
        assertThat(computed).isEqualTo(160 + 4 * 8);
        h.requests.forEach(h::expectOutput);
    }

    /** In steps of one token a sequence the engine writes keys as late as it reads others: the engine double fails where they are shared. */
    @Test
    void aBlockThatASingleTokenFillsIsSharedByLaterStepsOnly() {
        Harness h = new Harness(FakeEngine.builder().maxNumBatchedTokens(15), 64);
        int[] prompt = Harness.prompt(1, BLOCK);
        h.submit(prompt, SamplingParams.greedy(4));
        h.step();
        h.submit(concat(prompt, Harness.prompt(2, 1)), SamplingParams.greedy(4));
        h.drain();
        h.requests.forEach(h::expectOutput);
    }

    @ParameterizedTest
    @CsvSource({"16,335", "32,335", "64,335", "24,585", "40,585"})
    void promptsComputedSideBySideTakeOverEachOthersChunks(int chunk, int bound) {
        Harness h = new Harness(FakeEngine.builder().maxNumBatchedTokens(256), chunk);
        int[] shared = Harness.prompt(1, 320);
        long computed = computedBy(h, () -> {
            for (int i = 0; i < 3; i++) {
                h.submit(concat(shared, Harness.prompt(10 + i, 5)), SamplingParams.greedy(1));
            }
        });
        // Of 975 tokens. Chunks that end within a block leave one that two are in the middle of and both compute.
        assertThat(computed).isBetween(335L, (long) bound);
        h.requests.forEach(h::expectOutput);
    }

    @ParameterizedTest
    @CsvSource({"true,512,100", "false,512,100", "true,32,100", "false,32,100", "false,24,150", "true,512,96", "false,512,15"})
    void choicesComputeTheirPromptOnce(boolean prefixCaching, int chunk, int numPrompt) {
        Harness h = new Harness(FakeEngine.builder().maxNumBatchedTokens(512), chunk, SchedulerListener.NONE, prefixCaching, new IndexKey(1));
        int n = 5;
        long computed = computedBy(h, () -> h.fork(Harness.prompt(1, numPrompt),
                SamplingParams.builder().temperature(1).seed(3).maxTokens(1).build(), null, n));
        int shared = (numPrompt - 1) / BLOCK * BLOCK;
        assertThat(computed).isEqualTo(numPrompt + (long) (n - 1) * (numPrompt - shared));
        assertThat(h.requests.getFirst().numCachedTokens()).as("nothing was there before").isZero();
        assertThat(h.requests.stream().skip(1).map(RequestState::numCachedTokens)).containsOnly(shared);
        h.requests.forEach(h::expectOutput);
    }

    @Test
    void choicesGoOnWithoutTheirFirst() {
        Harness h = new Harness(FakeEngine.builder(), 32);
        List<RequestState> choices = h.fork(Harness.prompt(1, 200), SamplingParams.greedy(5), null, 3);
        h.step();
        h.step();
        h.scheduler.abort(choices.getFirst());
        h.drain();
        choices.stream().skip(1).forEach(h::expectOutput);
        assertThat(h.engine.numComputedTokens()).as("64 by the first, the rest of the prompt by the others together").isLessThan(200 + 3 * 16 + 10);
    }

    @Test
    void switchedOffLaterRequestsFindNothing() {
        Harness h = new Harness(FakeEngine.builder(), 64, SchedulerListener.NONE, false, new IndexKey(1));
        int[] prompt = Harness.prompt(1, 100);
        h.submit(prompt, SamplingParams.greedy(4));
        h.step();
        RequestState beside = h.submit(prompt, SamplingParams.greedy(4));
        h.drain();
        RequestState after = h.submit(prompt, SamplingParams.greedy(4));
        h.drain();
        assertThat(beside.numCachedTokens()).isZero();
        assertThat(after.numCachedTokens()).isZero();
    }

    @Test
    void scoredPromptsAreComputedWholeAndServeOthers() {
        Harness h = new Harness(FakeEngine.builder().maxLogitRows(200), 64);
        int[] prompt = Harness.prompt(1, 100);
        SamplingParams scoring = SamplingParams.builder().temperature(0).maxTokens(2).numPromptLogprobs(0).build();
        h.submit(prompt, SamplingParams.greedy(1));
        h.drain();
        RequestState scored = h.submit(prompt, scoring);
        h.drain();
        assertThat(h.sink(scored).scoredPositions()).hasSize(99);
        assertThat(scored.numCachedTokens()).isZero();
        RequestState after = h.submit(prompt, SamplingParams.greedy(1));
        h.drain();
        assertThat(after.numCachedTokens()).isEqualTo(96);
    }

    @Test
    void equalAnswersStandInTheCacheOnce() {
        Harness h = new Harness(FakeEngine.builder(), 64);
        h.fork(Harness.prompt(1, 32), SamplingParams.greedy(100), null, 4);
        for (int i = 0; i < 90; i++) {
            h.step();
        }
        // 32 + 90 tokens: 7 full blocks in common and a partial one each.
        assertThat(h.limits.numBlocks() - h.scheduler.progress().numFreeBlocks).isBetween(7 + 4, 8 + 4);
        h.drain();
        h.requests.forEach(h::expectOutput);
    }

    @Test
    void aPreemptedRequestFindsItsOwnBlocksAgain() {
        Harness h = new Harness(FakeEngine.builder().blocks(20, 4).maxModelLen(80), 64);
        RequestState old = h.submit(Harness.prompt(1, 24), SamplingParams.greedy(30));
        RequestState young = h.submit(Harness.prompt(2, 24), SamplingParams.greedy(30));
        while (young.numPreemptions == 0) {
            h.step();
        }
        int known = young.sequence.numTokens();
        long before = h.engine.numComputedTokens();
        int oldBefore = old.sequence.numTokens();
        while (young.sequence.numTokens() == known) {
            h.step();
        }
        long recomputed = h.engine.numComputedTokens() - before - (old.sequence.numTokens() - oldBefore);
        assertThat(recomputed).as("of the %d tokens it had", known).isLessThan(known);
        assertThat(young.numCachedTokens()).as("its own blocks are no find").isZero();
        h.drain();
        h.requests.forEach(h::expectOutput);
    }

    @Test
    void cachedBlocksGiveWayToNewOnesFromTheEndOfTheOldestPrefix() {
        Harness h = new Harness(FakeEngine.builder().blocks(16, 16).maxModelLen(256), 256);
        int[] oldest = Harness.prompt(1, 129);
        int[] younger = Harness.prompt(2, 113);
        h.submit(oldest, SamplingParams.greedy(1));
        h.drain();
        h.submit(younger, SamplingParams.greedy(1));
        h.drain();
        // 15 of 16 blocks are cached; this takes the free one and the last two of the oldest prompt.
        h.submit(Harness.prompt(3, 40), SamplingParams.greedy(1));
        h.drain();
        RequestState again = h.submit(younger, SamplingParams.greedy(1));
        h.drain();
        assertThat(again.numCachedTokens()).isEqualTo(112);
        RequestState cut = h.submit(oldest, SamplingParams.greedy(1));
        h.drain();
        assertThat(cut.numCachedTokens()).as("the front of the oldest prompt outlives its end").isBetween(80, 112);
        h.requests.forEach(h::expectOutput);
    }
}

package io.millrace.scheduler;

import static org.assertj.core.api.Assertions.assertThat;

import io.millrace.engine.FakeEngine;
import io.millrace.engine.SamplingParams;
import java.util.Arrays;
import java.util.stream.IntStream;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.CsvSource;
import org.junit.jupiter.params.provider.ValueSource;

/** Property: each prompt position but the first is scored exactly once, in order, however the prompt is cut or recomputed. */
class PromptScoringTest {
    private static SamplingParams scoring(int maxTokens) {
        return SamplingParams.builder().temperature(0).maxTokens(maxTokens).numPromptLogprobs(1).build();
    }

    private static void expectScores(Harness h, RequestState request) {
        int numPrompt = request.numPromptTokens();
        assertThat(h.sink(request).scoredPositions()).isEqualTo(IntStream.range(1, numPrompt).toArray());
        assertThat(h.sink(request).scoredTokens()).isEqualTo(Arrays.copyOfRange(request.sequence.tokenIds(), 1, numPrompt));
    }

    @ParameterizedTest
    @CsvSource({"1,8", "2,8", "3,9", "7,16", "16,13", "256,8", "256,40", "256,400"})
    void anyChunkSizeAndAnyNumberOfLogitRows(int chunk, int maxLogitRows) {
        Harness h = new Harness(FakeEngine.builder().maxLogitRows(maxLogitRows), chunk);
        for (int i = 0; i < 10; i++) {
            // The fake engine fails a step that takes more rows than it has.
            h.submit(Harness.prompt(i, 1 + 11 * i), i % 3 == 0 ? SamplingParams.greedy(9) : scoring(i % 4 * 5));
        }
        h.drain();
        for (RequestState r : h.requests) {
            h.expectOutput(r);
            if (r.sequence.sampling().numPromptLogprobs() >= 0) {
                expectScores(h, r);
            }
        }
    }

    @Test
    void preemptionScoresNothingTwice() {
        Harness h = new Harness(FakeEngine.builder().blocks(9, 16).maxLogitRows(12).maxNumBatchedTokens(48), 13);
        for (int i = 0; i < 8; i++) {
            h.submit(Harness.prompt(i, 20 + 9 * i), scoring(40));
        }
        h.drain();
        assertThat(h.scheduler.progress().numPreemptions).isPositive();
        h.requests.forEach(r -> {
            expectScores(h, r);
            h.expectOutput(r);
        });
    }

    @Test
    void preemptionInTheMiddleOfThePromptScoresNothingTwice() {
        // The first one's decode takes the blocks that the second, scored row by row, has begun to fill.
        Harness h = new Harness(FakeEngine.builder().blocks(12, 4).maxModelLen(48).maxNumSeqs(4).maxLogitRows(4), 2);
        h.submit(Harness.prompt(1, 4), SamplingParams.greedy(40));
        for (int i = 0; i < 12; i++) {
            h.step();
        }
        RequestState cut = h.submit(Harness.prompt(2, 26), scoring(3));
        boolean inPrompt = false;
        while (h.scheduler.hasWork()) {
            h.step();
            inPrompt |= cut.numPreemptions > 0 && cut.numScoredTokens > 1 && cut.numScoredTokens < 26;
        }
        h.drain();
        assertThat(inPrompt).as("preempted with a part of the prompt scored").isTrue();
        expectScores(h, cut);
        h.expectOutput(cut);
    }

    @ParameterizedTest
    @ValueSource(ints = {1, 2, 3, 17, 100})
    void zeroTokensScoresThePromptAndEmitsNone(int numPrompt) {
        Harness h = new Harness(FakeEngine.builder().maxLogitRows(10), 16);
        RequestState request = h.submit(Harness.prompt(3, numPrompt), scoring(0));
        h.drain();
        expectScores(h, request);
        assertThat(h.sink(request).tokens()).isEmpty();
        assertThat(h.sink(request).reason).isEqualTo(FinishReason.LENGTH);
        assertThat(h.engine.numComputedTokens()).as("the last prompt token need not be run").isEqualTo(numPrompt - 1);
    }
}

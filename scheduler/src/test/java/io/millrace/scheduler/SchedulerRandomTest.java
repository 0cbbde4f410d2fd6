package io.millrace.scheduler;

import static org.assertj.core.api.Assertions.assertThat;

import io.millrace.engine.FakeEngine;
import io.millrace.engine.SamplingParams;
import java.util.Arrays;
import java.util.Random;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.ValueSource;

/**
 * Property: whatever comes in whatever order (new prompts, prompts that continue others, several choices, aborts, steps with
 * preemptions, hits and evictions), every invariant holds after every step and every operation (see {@link Harness#step}): free + cached +
 * used blocks are all, references are recounted from the block tables, indexed blocks are about their tokens. Every request ends once, and
 * those not aborted get exactly their own tokens. A million operations in ten seeds.
 *
 * <p>The check is the full recount each time; pools are small, so that it is cheap and room is short.
 */
class SchedulerRandomTest {
    private static final int NUM_OPERATIONS = 100_000;

    @ParameterizedTest
    @ValueSource(longs = {11, 12, 13, 14, 15, 16, 17, 18, 19, 20})
    void randomOperationsKeepEveryPromise(long seed) {
        Run run = new Run(seed, seed % 5 != 0, new IndexKey(seed));
        Harness h = run.play(NUM_OPERATIONS);
        assertThat(run.numEnded).isEqualTo(run.numSubmitted);
        if (seed % 5 != 0) {
            assertThat(run.numHits).isPositive();
        }
        System.out.printf("seed %d: %d requests, %d steps, %d preemptions (%d fruitless), %d requests with hits, %d blocks evicted%n", seed,
                run.numSubmitted, h.numSteps, h.scheduler.progress().numPreemptions, h.scheduler.progress().numFruitlessPreemptions,
                run.numHits, h.scheduler.numEvictedBlocks());
    }

    /** Another key gives the same schedule; so does one under which many blocks have equal hashes, or all of them: a hit is exact. */
    @ParameterizedTest
    @ValueSource(longs = {-1, 3, 0})
    void theKeyOfTheIndexIsNotSeenInTheSchedule(long hashMask) {
        for (long seed = 31; seed < 36; seed++) {
            Run first = new Run(seed, true, new IndexKey(1));
            Run second = new Run(seed, true, new IndexKey(2, hashMask));
            first.play(10_000);
            second.play(10_000);
            assertThat(second.h.scheduleHash).as("seed %d", seed).isEqualTo(first.h.scheduleHash);
            assertThat(second.h.numSteps).isEqualTo(first.h.numSteps);
            assertThat(second.numHits).isEqualTo(first.numHits).isPositive();
        }
    }

    private static final class Run {
        private final Random random;
        private final Harness h;
        private final int[][] texts = new int[6][];
        private int numSubmitted;
        private int numEnded;
        private int numHits;

        Run(long seed, boolean prefixCaching, IndexKey indexKey) {
            random = new Random(seed);
            int blockSize = 1 << random.nextInt(5);
            int numSeqs = 1 + random.nextInt(12);
            int numBlocks = (64 + blockSize - 1) / blockSize + random.nextInt(160 / blockSize);
            h = new Harness(FakeEngine.builder().maxModelLen(64).eosPermille(15).blocks(numBlocks, blockSize).maxNumSeqs(numSeqs)
                    .maxNumBatchedTokens(1 + random.nextInt(60)).maxLogitRows(numSeqs + random.nextInt(20)), 1 + random.nextInt(40),
                    SchedulerListener.NONE, prefixCaching, indexKey);
            for (int i = 0; i < texts.length; i++) {
                texts[i] = Harness.prompt(random.nextInt(), 40);
            }
        }

        Harness play(int numOperations) {
            for (int i = 0; i < numOperations; i++) {
                int op = random.nextInt(20);
                if (op < 3 && h.requests.size() < 40) {
                    add();
                } else if (op == 3 && !h.requests.isEmpty()) {
                    RequestState victim = h.requests.get(random.nextInt(h.requests.size()));
                    if (random.nextBoolean()) {
                        h.scheduler.abort(victim);
                        h.scheduler.checkIntegrity();
                    } else {
                        // Noticed by settle only, as if the command were still on its way.
                        victim.abort();
                    }
                } else {
                    h.step();
                    forgetEnded();
                }
            }
            h.drain();
            forgetEnded();
            return h;
        }

        private void add() {
            int[] text = texts[random.nextInt(texts.length)];
            int[] prompt = Arrays.copyOf(text, 1 + random.nextInt(text.length));
            if (random.nextInt(4) == 0) {
                // Parts from the text somewhere.
                prompt[random.nextInt(prompt.length)] = 3 + random.nextInt(900);
            }
            SamplingParams sampling = SamplingParams.builder().temperature(random.nextInt(2)).seed(random.nextInt(3))
                    .maxTokens(random.nextInt(40)).minTokens(random.nextInt(4)).stopTokenIds(random.nextInt(1000))
                    .numPromptLogprobs(random.nextInt(4) == 0 ? 0 : -1).build();
            int n = random.nextInt(5) == 0 ? 1 + random.nextInt(5) : 1;
            h.fork(prompt, sampling, random.nextInt(5) == 0 ? "salt" : null, n);
            numSubmitted += n;
        }

        /** Checks the requests that have ended and lets go of them; one of them lives on as a text, like a conversation. */
        private void forgetEnded() {
            for (int i = h.requests.size() - 1; i >= 0; i--) {
                RequestState r = h.requests.get(i);
                if (r.phase != RequestState.Phase.FINISHED) {
                    continue;
                }
                RecordingSink sink = h.sink(r);
                assertThat(sink.fault()).isNull();
                assertThat(sink.numFinishes()).isEqualTo(1);
                if (sink.reason != FinishReason.ABORT) {
                    h.expectOutput(r);
                    assertThat(sink.scoredPositions()).hasSize(r.sequence.sampling().numPromptLogprobs() < 0 ? 0 : r.numPromptTokens() - 1);
                    if (random.nextInt(4) == 0) {
                        texts[random.nextInt(texts.length)] = Arrays.copyOf(r.sequence.tokenIds(), Math.min(60, r.sequence.numTokens()));
                    }
                }
                numHits += r.numCachedTokens() > 0 ? 1 : 0;
                numEnded++;
                h.forget(i);
            }
        }
    }
}

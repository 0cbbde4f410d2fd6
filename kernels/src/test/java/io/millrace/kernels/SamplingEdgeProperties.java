package io.millrace.kernels;

import static io.millrace.kernels.SamplingCase.ROWS;
import static io.millrace.kernels.TestValues.normal;
import static org.assertj.core.api.Assertions.assertThat;

import java.util.Arrays;
import java.util.SplittableRandom;
import org.junit.jupiter.api.Test;

/** Properties of sampling at its edges: what changes the logits, and logits that no model should give but some do. */
public interface SamplingEdgeProperties extends BackendUnderTest {
    float NO = Float.NEGATIVE_INFINITY;

    @Test
    default void biasMovesTheChoiceButNotTheReportedLogprob() {
        try (SamplingCase c = new SamplingCase(this, 6, 1)) {
            c.row(0, 1, 2, 3, 4, 5);
            c.rows.setBias(0, c.ints(1, 4, 1_000_000, -1), c.floats(100, -100, 5, 5), 4);
            assertThat(c.runOne()).as("ids outside the vocabulary do no harm").isEqualTo(1);
            double logSumExp = SamplingCase.logSumExp(new float[] {0, 1, 2, 3, 4, 5});
            assertThat((double) c.rows.logprob(0)).isCloseTo(1 - logSumExp, SamplingProperties.LOGPROB_TOLERANCE);
            assertThat(c.rows.rank(0)).isEqualTo(5);
            c.row(0, 1, 2, 3, 4, 5);
            c.rows.setBias(0, c.ints(5, 5), c.floats(-1, -1), 2);
            assertThat(c.runOne()).as("a bias given twice counts twice").isEqualTo(4);
        }
    }

    @Test
    default void maskedAndSuppressedIdsAreNeverChosen() {
        SplittableRandom random = new SplittableRandom(31);
        for (int vocab : new int[] {31, 32, 33, 100, 513}) {
            int[] allowed = {vocab / 2, vocab - 1, 1};
            try (SamplingCase c = new SamplingCase(this, vocab, 2)) {
                for (int round = 0; round < repeated(4, 1); round++) {
                    float[] values = normal(random, (long) ROWS * vocab, 3);
                    c.rows(ROWS, values);
                    long mask = c.mask(allowed);
                    long suppressed = c.ints(1, vocab + 7, -3);
                    for (int r = 0; r < ROWS; r++) {
                        if (r % 2 == 1) {
                            c.rows.setDraw(r, 1f, 0, 1f, 0f, 17, round * ROWS + r);
                        }
                        c.rows.setAllowedMask(r, mask);
                        c.rows.setSuppressed(r, suppressed, 3);
                    }
                    c.run();
                    for (int r = 0; r < ROWS; r++) {
                        assertThat(c.rows.token(r)).isIn(vocab / 2, vocab - 1);
                        if (r % 2 == 0) {
                            float a = values[r * vocab + vocab / 2];
                            float b = values[r * vocab + vocab - 1];
                            assertThat(c.rows.token(r)).isEqualTo(a >= b ? vocab / 2 : vocab - 1);
                        }
                    }
                }
            }
        }
    }

    @Test
    default void aMaskBeatsABias() {
        try (SamplingCase c = new SamplingCase(this, 4, 1)) {
            c.row(0, 1, 2, 3);
            c.rows.setBias(0, c.ints(3), c.floats(1000), 1);
            c.rows.setAllowedMask(0, c.mask(0, 1));
            assertThat(c.runOne()).isEqualTo(1);
        }
    }

    /** History: prompt 0 0 1, output 2 2 3. Each case is read off the formula by hand. */
    @Test
    default void penaltiesTouchWhatTheyShould() {
        try (SamplingCase c = new SamplingCase(this, 5, 1)) {
            long history = c.ints(0, 0, 1, 2, 2, 3);
            // Repetition 2 over prompt and output: 4 -> 2, 3 -> 1.5, 3.5 -> 1.75, 1 -> 0.5; id 4 stays.
            assertThat(penalised(c, history, 2f, 0f, 0f, 4f, 3f, 3.5f, 1f, 1.9f)).isEqualTo(0);
            assertThat(penalised(c, history, 2f, 0f, 0f, 4f, 3f, 3.5f, 1f, 2.1f)).isEqualTo(4);
            // Once per id, however often it occurs: 3.5 / 2 = 1.75 beats 1.7, 3.5 / 4 would not.
            assertThat(penalised(c, history, 2f, 0f, 0f, -9f, -9f, 3.5f, 1f, 1.7f)).isEqualTo(2);
            // Negative logits are multiplied: -1 -> -2, so that -1.5 wins.
            assertThat(penalised(c, history, 2f, 0f, 0f, -1f, -1f, -1f, -1f, -1.5f)).isEqualTo(4);
            // A penalty under 1 is a reward.
            assertThat(penalised(c, history, 0.5f, 0f, 0f, 1f, 0f, 0f, 0f, 1.9f)).isEqualTo(0);
            // Frequency counts the output alone: id 2 loses 2 * 0.6, id 3 loses 0.6, the prompt's loses nothing.
            assertThat(penalised(c, history, 1f, 0.6f, 0f, 2f, 0f, 3f, 2.5f, 0f)).isEqualTo(0);
            assertThat(penalised(c, history, 1f, 0.6f, 0f, 1.7f, 0f, 3f, 2.5f, 0f)).isEqualTo(3);
            assertThat(penalised(c, history, 1f, 0.6f, 0f, 1.7f, 0f, 3.2f, 2.5f, 0f)).isEqualTo(2);
            // Presence counts once.
            assertThat(penalised(c, history, 1f, 0f, 1f, 1.9f, 0f, 3f, 2.9f, 0f)).isEqualTo(2);
            assertThat(penalised(c, history, 1f, 0f, 1f, 2.1f, 0f, 3f, 2.9f, 0f)).isEqualTo(0);
            // All together on id 2: 6 / 2 - (0.5 * 2 + 0.25) = 1.75.
            assertThat(penalised(c, history, 2f, 0.5f, 0.25f, 0f, 0f, 6f, 0f, 1.74f)).isEqualTo(2);
            assertThat(penalised(c, history, 2f, 0.5f, 0.25f, 0f, 0f, 6f, 0f, 1.76f)).isEqualTo(4);
            // Negative penalties attract.
            assertThat(penalised(c, history, 1f, -1f, 0f, 0f, 0f, 0f, 0f, 1.9f)).isEqualTo(2);
            // No history, no penalty; ids outside the vocabulary are passed over.
            assertThat(penalised(c, c.ints(-1, 9, 1 << 30, 7, 5, -5), 5f, 1f, 1f, 1f, 2f, 3f, 0f, 0f)).isEqualTo(2);
        }
    }

    private static int penalised(SamplingCase c, long history, float repetition, float frequency, float presence, float... logits) {
        c.row(logits);
        c.rows.setPenalties(0, repetition, frequency, presence, history, 3, 6);
        return c.runOne();
    }

    @Test
    default void rowsDoNotInheritEachOthersPenalties() {
        int vocab = 65;
        float[] values = new float[ROWS * vocab];
        for (int r = 0; r < ROWS; r++) {
            values[r * vocab + r] = 5;
            values[r * vocab + 64] = 4;
        }
        try (SamplingCase c = new SamplingCase(this, vocab, 3)) {
            c.rows(ROWS, values);
            for (int r = 0; r < ROWS; r++) {
                // Row r has seen only the favourite of its neighbour, odd rows their own too.
                c.rows.setPenalties(r, 1f, 2f, 0f, r % 2 == 0 ? c.ints((r + 1) % ROWS) : c.ints((r + 1) % ROWS, r), 0, 1 + r % 2);
            }
            c.run();
            for (int r = 0; r < ROWS; r++) {
                assertThat(c.rows.token(r)).as("row %d", r).isEqualTo(r % 2 == 0 ? r : 64);
            }
        }
    }

    @Test
    default void hugeLogitsNeitherOverflowNorVanish() {
        try (SamplingCase c = new SamplingCase(this, 5, 1)) {
            for (float t : new float[] {0f, 1e-6f, 0.01f, 1f, 100f}) {
                c.row(-1e4f, 1e4f, 9000f, NO, -3e38f);
                c.rows.setGreedy(0, 5);
                c.rows.setDraw(0, t, 0, 1f, 0f, 3, 0);
                assertThat(c.runOne()).as("temperature %s", t).isEqualTo(1);
                assertThat(c.rows.logprob(0)).isEqualTo(0f);
                assertThat(c.rows.topId(0, 1)).isEqualTo(2);
                assertThat(c.rows.topLogprob(0, 1)).isEqualTo(-1000f);
                assertThat(c.rows.topId(0, 4)).isEqualTo(3);
                assertThat(c.rows.topLogprob(0, 4)).isEqualTo(NO);
            }
            c.row(3e38f, -3e38f, 0, 3e38f, 1);
            assertThat(c.runOne()).isEqualTo(0);
            assertThat((double) c.rows.logprob(0)).as("two equals share, at any size").isCloseTo(-Math.log(2),
                    SamplingProperties.LOGPROB_TOLERANCE);
        }
    }

    @Test
    default void nanCountsAsImpossibleAndInfinityAsLargest() {
        float nan = Float.NaN;
        try (SamplingCase c = new SamplingCase(this, 5, 1)) {
            for (float t : new float[] {0f, 1f}) {
                c.row(nan, -2, nan, -1e4f, nan);
                c.rows.setGreedy(0, 3);
                c.rows.setDraw(0, t, 0, 0.99f, 0.01f, 3, 0);
                assertThat(c.runOne()).as("temperature %s", t).isEqualTo(1);
                assertThat(c.rows.logprob(0)).isEqualTo(0f);
                assertThat(c.rows.rank(0)).isEqualTo(1);
                assertThat(c.rows.topId(0, 1)).isEqualTo(3);
                assertThat(c.rows.topId(0, 2)).as("the impossible tie").isEqualTo(0);
                assertThat(c.rows.topLogprob(0, 2)).isEqualTo(NO);

                c.row(1, 2, Float.POSITIVE_INFINITY, 3, nan);
                c.rows.setDraw(0, t, 0, 1f, 0f, 3, 0);
                assertThat(c.runOne()).as("temperature %s", t).isEqualTo(2);
                assertThat(c.rows.logprob(0)).isEqualTo(0f);
            }
        }
    }

    @Test
    default void aRowWithNothingPossibleGivesIdZero() {
        float nan = Float.NaN;
        try (SamplingCase c = new SamplingCase(this, 40, 1)) {
            float[] impossible = new float[40];
            for (float value : new float[] {NO, nan}) {
                for (float t : new float[] {0f, 1f}) {
                    Arrays.fill(impossible, value);
                    c.row(impossible);
                    c.rows.setGreedy(0, 2);
                    c.rows.setDraw(0, t, 5, 0.9f, 0.1f, 3, 0);
                    assertThat(c.runOne()).isEqualTo(0);
                    assertThat(c.rows.logprob(0)).isEqualTo(NO);
                    assertThat(c.rows.rank(0)).isEqualTo(1);
                    assertThat(c.rows.topId(0, 1)).isEqualTo(1);
                    assertThat(c.rows.topLogprob(0, 1)).isEqualTo(NO);

                    float[] ordinary = normal(new SplittableRandom(32), 40, 1);
                    c.row(ordinary);
                    c.rows.setDraw(0, t, 5, 0.9f, 0.1f, 3, 0);
                    c.rows.setAllowedMask(0, c.mask());
                    assertThat(c.runOne()).as("an empty mask").isEqualTo(0);
                    assertThat((double) c.rows.logprob(0)).isCloseTo(ordinary[0] - SamplingCase.logSumExp(ordinary),
                            SamplingProperties.LOGPROB_TOLERANCE);
                }
            }
        }
    }

    @Test
    default void aPeakTooSharpForFloatsIsDrawnForSure() {
        SplittableRandom random = new SplittableRandom(33);
        int vocab = 300;
        float[] values = normal(random, (long) ROWS * vocab, 1);
        int[] peak = random.ints(ROWS, 0, vocab).toArray();
        for (int r = 0; r < ROWS; r++) {
            values[r * vocab + peak[r]] = 900;
        }
        try (SamplingCase c = new SamplingCase(this, vocab, 2)) {
            c.rows(ROWS, values);
            for (int r = 0; r < ROWS; r++) {
                c.rows.setDraw(r, 1f, 0, r % 2 == 0 ? 1f : 0.95f, 0f, random.nextLong(), r);
            }
            c.run();
            for (int r = 0; r < ROWS; r++) {
                assertThat(c.rows.token(r)).isEqualTo(peak[r]);
            }
        }
    }

    @Test
    default void theSameSeedAndDrawGiveTheSameTokenAndOthersDiffer() {
        int vocab = 1000;
        float[] flat = new float[ROWS * vocab];
        try (SamplingCase c = new SamplingCase(this, vocab, 2)) {
            int[] first = draws(c, flat, 1, 0);
            assertThat(draws(c, flat, 1, 0)).isEqualTo(first);
            assertThat(draws(c, flat, 2, 0)).isNotEqualTo(first);
            assertThat(draws(c, flat, 1, ROWS)).isNotEqualTo(first);
            assertThat(Arrays.stream(first).distinct().count()).as("draws of one seed spread").isGreaterThan(55);
            for (int r = 0; r < ROWS; r++) {
                assertThat(first[r]).as("draw %d", r).isEqualTo((int) (SamplingCase.uniform(1, r) * vocab));
            }
        }
    }

    private static int[] draws(SamplingCase c, float[] values, long seed, int firstDraw) {
        c.rows(ROWS, values);
        for (int r = 0; r < ROWS; r++) {
            c.rows.setDraw(r, 1f, 0, 1f, 0f, seed, firstDraw + r);
        }
        c.run();
        int[] tokens = new int[ROWS];
        for (int r = 0; r < ROWS; r++) {
            tokens[r] = c.rows.token(r);
        }
        return tokens;
    }
}

package io.millrace.kernels;

import static io.millrace.kernels.SamplingCase.ROWS;
import static io.millrace.kernels.SamplingCase.at;
import static io.millrace.kernels.SamplingCase.descending;
import static io.millrace.kernels.SamplingCase.distribution;
import static io.millrace.kernels.SamplingCase.uniform;
import static io.millrace.kernels.TestValues.normal;
import static org.assertj.core.api.Assertions.assertThat;

import java.util.Arrays;
import java.util.SplittableRandom;
import java.util.stream.IntStream;
import org.assertj.core.data.Offset;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.CsvSource;
import org.junit.jupiter.params.provider.ValueSource;

/** Properties of sampling on ordinary rows: what is chosen, how often, and what is reported about it. */
public interface SamplingProperties extends BackendUnderTest {
    Offset<Double> LOGPROB_TOLERANCE = Offset.offset(2e-5);

    @ParameterizedTest
    @ValueSource(ints = {1, 2, 3, 17, 64, 100, 513, 4096, 32003})
    default void greedyTakesTheLargestAndReportsRawStatistics(int vocab) {
        SplittableRandom random = new SplittableRandom(21);
        int count = vocab > 5000 ? 5 : 33;
        int top = Math.min(SamplingCase.MAX_TOP, vocab);
        try (SamplingCase c = new SamplingCase(this, vocab, 2)) {
            float[] values = normal(random, (long) count * vocab, 3);
            c.rows(count, values);
            for (int r = 0; r < count; r++) {
                c.rows.setGreedy(r, r % (SamplingCase.MAX_TOP + 1));
            }
            c.run();
            for (int r = 0; r < count; r++) {
                float[] row = Arrays.copyOfRange(values, r * vocab, (r + 1) * vocab);
                Integer[] order = descending(row);
                double logSumExp = SamplingCase.logSumExp(row);
                assertThat(c.rows.token(r)).isEqualTo(order[0]);
                assertThat(c.rows.rank(r)).isEqualTo(1);
                assertThat((double) c.rows.logprob(r)).isCloseTo(row[order[0]] - logSumExp, LOGPROB_TOLERANCE);
                for (int i = 0; i < Math.min(r % (SamplingCase.MAX_TOP + 1), top); i++) {
                    assertThat(c.rows.topId(r, i)).as("row %d alternative %d", r, i).isEqualTo(order[i]);
                    assertThat((double) c.rows.topLogprob(r, i)).isCloseTo(row[order[i]] - logSumExp, LOGPROB_TOLERANCE);
                }
            }
        }
    }

    @Test
    default void tiesGoToTheLowerId() {
        try (SamplingCase c = new SamplingCase(this, 200, 1)) {
            float[] values = new float[200];
            for (int tied : new int[] {0, 1, 7, 63, 64, 150, 198}) {
                Arrays.fill(values, -1f);
                values[tied] = 2.5f;
                values[199] = 2.5f;
                c.row(values);
                c.rows.setGreedy(0, 3);
                assertThat(c.runOne()).isEqualTo(tied);
                assertThat(c.rows.rank(0)).isEqualTo(1);
                assertThat(c.rows.topId(0, 0)).isEqualTo(tied);
                assertThat(c.rows.topId(0, 1)).isEqualTo(199);
                assertThat(c.rows.topId(0, 2)).isEqualTo(tied == 0 ? 1 : 0);
            }
            Arrays.fill(values, 0f);
            values[3] = -0f;
            c.row(values);
            c.rows.setGreedy(0, 5);
            assertThat(c.runOne()).as("-0 equals 0").isEqualTo(0);
            assertThat(c.rows.topId(0, 3)).as("-0 equals 0").isEqualTo(3);
        }
    }

    @Test
    default void aScoredRowReportsItsTargetAndIgnoresEveryModifier() {
        SplittableRandom random = new SplittableRandom(22);
        int vocab = 130;
        try (SamplingCase c = new SamplingCase(this, vocab, 2)) {
            float[] values = normal(random, 17L * vocab, 3);
            c.rows(17, values);
            for (int r = 0; r < 17; r++) {
                c.rows.setScored(r, r * 7, 4);
                c.rows.setBias(r, c.ints(r * 7), c.floats(50f), 1);
                c.rows.setSuppressed(r, c.ints(r * 7), 1);
            }
            c.run();
            for (int r = 0; r < 17; r++) {
                float[] row = Arrays.copyOfRange(values, r * vocab, (r + 1) * vocab);
                Integer[] order = descending(row);
                assertThat(c.rows.token(r)).isEqualTo(r * 7);
                assertThat(c.rows.rank(r)).isEqualTo(Arrays.asList(order).indexOf(r * 7) + 1);
                assertThat((double) c.rows.logprob(r)).isCloseTo(row[r * 7] - SamplingCase.logSumExp(row), LOGPROB_TOLERANCE);
                assertThat(c.rows.topId(r, 3)).isEqualTo(order[3]);
            }
        }
    }

    /** Every draw equals the definition's, for random settings; where u lies within rounding of an edge, either side is right. */
    @ParameterizedTest
    @ValueSource(ints = {2, 17, 64, 513, 4096})
    default void drawsFollowTheDefinition(int vocab) {
        SplittableRandom random = new SplittableRandom(23 + vocab);
        int compared = 0;
        try (SamplingCase c = new SamplingCase(this, vocab, 2)) {
            for (int round = 0; round < (vocab > 1000 ? repeated(2, 1) : repeated(6, 2)); round++) {
                float[] values = normal(random, (long) ROWS * vocab, 2);
                for (int i = 0; i < values.length; i += 5) {
                    values[i] = Math.round(values[i]); // ties, also at the filters' edges
                }
                float[][] settings = new float[ROWS][];
                long[] seeds = random.longs(ROWS).toArray();
                c.rows(ROWS, values);
                for (int r = 0; r < ROWS; r++) {
                    settings[r] = new float[] {0.1f + 2 * (float) random.nextDouble(), random.nextInt(3) == 0 ? random.nextInt(vocab + 5) : 0,
                        random.nextBoolean() ? (float) random.nextDouble() : 1, random.nextInt(3) == 0 ? 0.3f * (float) random.nextDouble() : 0};
                    c.rows.setDraw(r, settings[r][0], (int) settings[r][1], settings[r][2], settings[r][3], seeds[r], r * 1000);
                }
                c.run();
                for (int r = 0; r < ROWS; r++) {
                    float[] row = Arrays.copyOfRange(values, r * vocab, (r + 1) * vocab);
                    double[] p = distribution(row, settings[r][0], settings[r][3], (int) settings[r][1], settings[r][2]);
                    if (p != null) {
                        double u = uniform(seeds[r], r * 1000);
                        assertThat(c.rows.token(r)).as("row %d, %s", r, Arrays.toString(settings[r]))
                                .isBetween(at(p, u - 2e-5), at(p, u + 2e-5));
                        assertThat(p[c.rows.token(r)]).as("row %d draws what the filters keep", r).isPositive();
                        assertThat((double) c.rows.logprob(r)).isCloseTo(row[c.rows.token(r)] - SamplingCase.logSumExp(row), LOGPROB_TOLERANCE);
                        compared++;
                    }
                }
            }
        }
        assertThat(compared).as("rows that were compared").isGreaterThan(repeated(100, 50));
    }

    /** Chi-square of 19,200 draws against the distribution: temperature, top-k, top-p, min-p. */
    @ParameterizedTest
    @CsvSource({"1, 0, 1, 0", "0.7, 0, 1, 0", "1.5, 12, 1, 0", "1, 0, 0.8, 0", "1, 0, 1, 0.1", "0.9, 20, 0.9, 0.02"})
    default void drawsAreDistributedAsTheSoftmaxSays(float temperature, int topK, float topP, float minP) {
        int vocab = 50;
        int rounds = repeated(300, 2);
        float[] row = normal(new SplittableRandom(24), vocab, 1.5);
        double[] p = distribution(row, temperature, minP, topK, topP);
        int[] counts = new int[vocab];
        float[] values = new float[ROWS * vocab];
        for (int r = 0; r < ROWS; r++) {
            System.arraycopy(row, 0, values, r * vocab, vocab);
        }
        try (SamplingCase c = new SamplingCase(this, vocab, 2)) {
            for (int round = 0; round < rounds; round++) {
                c.rows(ROWS, values);
                for (int r = 0; r < ROWS; r++) {
                    // Half the rows walk one seed's draws, half are the first draws of neighbouring seeds.
                    boolean walk = r % 2 == 0;
                    c.rows.setDraw(r, temperature, topK, topP, minP, walk ? 7 : (long) round * ROWS + r, walk ? round * ROWS + r : 0);
                }
                c.run();
                for (int r = 0; r < ROWS; r++) {
                    counts[c.rows.token(r)]++;
                }
            }
        }
        double chiSquare = 0;
        int cells = 0;
        double draws = (double) rounds * ROWS;
        for (int id = 0; id < vocab; id++) {
            if (p[id] == 0) {
                assertThat(counts[id]).as("dropped id %d", id).isZero();
            } else {
                chiSquare += Math.pow(counts[id] - draws * p[id], 2) / (draws * p[id]);
                cells++;
            }
        }
        assertThat(cells).isGreaterThan(4);
        assertThat(chiSquare).as("chi-square of %d cells", cells).isLessThan(cells - 1 + 4 * Math.sqrt(2.0 * (cells - 1)));
    }

    @Test
    default void topKKeepsExactlyKWithTiesToLowerIds() {
        try (SamplingCase c = new SamplingCase(this, 40, 1)) {
            float[] values = new float[40 * ROWS]; // all equal: 40 ways to tie
            for (int k : emulated() ? new int[] {3, 17} : new int[] {1, 2, 3, 8, 17, 39, 40, 41}) {
                boolean[] drawn = new boolean[40];
                for (int round = 0; round < repeated(16, 2); round++) {
                    c.rows(ROWS, values);
                    for (int r = 0; r < ROWS; r++) {
                        c.rows.setDraw(r, 1f, k, 1f, 0f, 5, round * ROWS + r);
                    }
                    c.run();
                    for (int r = 0; r < ROWS; r++) {
                        drawn[c.rows.token(r)] = true;
                    }
                }
                for (int id = 0; id < 40; id++) {
                    assertThat(drawn[id]).as("k = %d, id %d", k, id).isEqualTo(id < k);
                }
            }
        }
    }

    @Test
    default void topPKeepsTheShortestPrefixAndAlwaysOne() {
        float[] values = {(float) Math.log(0.1), (float) Math.log(0.4), (float) Math.log(0.2), (float) Math.log(0.3)};
        double[] tops = {0, 1e-9, 0.39, 0.41, 0.69, 0.71, 0.89, 0.91, 1};
        int[] kept = {1, 1, 1, 2, 2, 3, 3, 4, 4};
        int[] byProbability = {1, 3, 2, 0};
        try (SamplingCase c = new SamplingCase(this, 4, 1)) {
            for (int i = 0; i < tops.length; i++) {
                int[] ids = drawMany(c, values, (float) tops[i], repeated(8, 1));
                assertThat(ids).as("topP %s", tops[i]).containsExactly(IntStream.of(byProbability).limit(kept[i]).sorted().toArray());
            }
        }
    }

    private static int[] drawMany(SamplingCase c, float[] values, float topP, int rounds) {
        boolean[] drawn = new boolean[values.length];
        float[] all = new float[ROWS * values.length];
        for (int r = 0; r < ROWS; r++) {
            System.arraycopy(values, 0, all, r * values.length, values.length);
        }
        for (int round = 0; round < rounds; round++) {
            c.rows(ROWS, all);
            for (int r = 0; r < ROWS; r++) {
                c.rows.setDraw(r, 1f, 0, topP, 0f, 99, round * ROWS + r);
            }
            c.run();
            for (int r = 0; r < ROWS; r++) {
                drawn[c.rows.token(r)] = true;
            }
        }
        return IntStream.range(0, drawn.length).filter(id -> drawn[id]).toArray();
    }

    @Test
    default void aRowIsSampledTheSameInAnyCompany() {
        SplittableRandom random = new SplittableRandom(25);
        int vocab = 513;
        float[] values = normal(random, (long) ROWS * vocab, 3);
        int[] alone = new int[ROWS];
        int[] logprobs = new int[ROWS];
        for (int threads : new int[] {1, 2, 3}) {
            try (SamplingCase c = new SamplingCase(this, vocab, threads)) {
                if (threads == 1) {
                    for (int r = 0; r < ROWS; r++) {
                        c.row(Arrays.copyOfRange(values, r * vocab, (r + 1) * vocab));
                        c.rows.setDraw(0, 0.8f, r % 3 * 40, r % 2 == 0 ? 0.9f : 1f, 0f, r, 3);
                        alone[r] = c.runOne();
                        logprobs[r] = Float.floatToRawIntBits(c.rows.logprob(0));
                    }
                }
                for (int count : TestValues.ROWS) {
                    c.rows(count, Arrays.copyOf(values, count * vocab));
                    for (int r = 0; r < count; r++) {
                        c.rows.setDraw(r, 0.8f, r % 3 * 40, r % 2 == 0 ? 0.9f : 1f, 0f, r, 3);
                    }
                    c.run();
                    for (int r = 0; r < count; r++) {
                        assertThat(c.rows.token(r)).isEqualTo(alone[r]);
                        assertThat(Float.floatToRawIntBits(c.rows.logprob(r))).isEqualTo(logprobs[r]);
                    }
                    for (int r = count; r < ROWS; r++) {
                        assertThat(c.rows.token(r)).as("row beyond the step").isEqualTo(Integer.MIN_VALUE);
                    }
                }
            }
        }
    }
}

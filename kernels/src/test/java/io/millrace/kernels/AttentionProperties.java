package io.millrace.kernels;

import static io.millrace.kernels.TestValues.assertNear;
import static io.millrace.kernels.TestValues.assertSameBits;
import static io.millrace.kernels.TestValues.rounded;
import static org.assertj.core.api.Assertions.assertThat;
import static org.assertj.core.api.Assertions.assertThatThrownBy;
import static org.junit.jupiter.api.Assumptions.assumeTrue;

import io.millrace.kernels.RaggedAttention.Chunk;
import io.millrace.kernels.RaggedAttention.Options;
import io.millrace.kernels.RaggedAttention.Setup;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.List;
import java.util.SplittableRandom;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.CsvSource;
import org.junit.jupiter.params.provider.EnumSource;

/** Properties of rotary embedding, the paged cache and attention over ragged batches. */
public interface AttentionProperties extends BackendUnderTest {
    /** heads, kvHeads, headDim, rotaryDim, blockSize, KV type: all group sizes and head sizes, each with some of the rest. */
    @ParameterizedTest
    @CsvSource({"1, 1, 8, 8, 16, F32", "4, 2, 16, 16, 16, F32", "6, 2, 64, 64, 16, BF16", "4, 1, 96, 96, 16, F32", "8, 1, 64, 64, 32, F16",
        "4, 4, 128, 128, 16, BF16", "8, 4, 8, 8, 4, F32", "3, 1, 128, 64, 16, F32", "2, 2, 96, 48, 8, F16", "8, 2, 16, 8, 1, BF16",
        "2, 1, 18, 18, 3, F32", "5, 5, 10, 6, 7, F32", "6, 2, 64, 64, 16, Q8_0",
        "9, 3, 64, 64, 32, BF16", "7, 1, 80, 80, 16, Q8_0", "4, 2, 18, 18, 16, Q8_0", "2, 1, 34, 34, 5, Q8_0", "8, 1, 32, 32, 16, F16",
        "5, 1, 48, 48, 48, BF16"})
    default void attentionFollowsItsDefinitionOnRaggedBatches(int heads, int kvHeads, int headDim, int rotaryDim, int blockSize, KvCacheType kv) {
        assertFollowsDefinition(setup(heads, kvHeads, headDim, rotaryDim, blockSize, kv, new int[] {70, 1, 33, 17, 50}, 11), this);
    }

    /** The same with what some families add: softCap, slidingWindow, interleaved pairs, norms of queries and keys, sinks. */
    @ParameterizedTest
    @CsvSource({"4, 2, 16, 16, 16, F32, 0, 0, true, false, false", "8, 2, 64, 32, 16, BF16, 0, 0, true, true, false",
        "4, 1, 96, 96, 16, F32, 2.5, 0, false, false, false", "6, 3, 64, 64, 16, F16, 30, 20, false, true, false",
        "8, 1, 18, 10, 4, F32, 0, 1, true, true, true", "16, 2, 64, 64, 16, BF16, 0, 33, false, false, true",
        "2, 2, 128, 128, 32, F32, 0.5, 64, false, true, true", "5, 5, 10, 10, 7, F32, 0, 5, false, false, false",
        "12, 2, 64, 64, 16, Q8_0, 20, 17, false, true, true"})
    default void optionsOfFamiliesFollowTheirDefinitions(int heads, int kvHeads, int headDim, int rotaryDim, int blockSize, KvCacheType kv,
            float softCap, int window, boolean interleaved, boolean norms, boolean sinks) {
        AttentionShape shape = new AttentionShape(heads, kvHeads, headDim, (float) (1 / Math.sqrt(headDim)), softCap, window);
        assertFollowsDefinition(new Setup(shape, new Options(interleaved, norms, sinks), kv, blockSize, rotaryDim, new int[] {70, 1, 33, 17, 50},
                70, 11), this);
    }

    @ParameterizedTest
    @CsvSource({"2, 16", "16, 16", "100, 16", "513, 32", "40, 5"})
    default void aWindowSlidesOverLongContextsAndBlocksBeforeItAreNotRead(int window, int blockSize) {
        AttentionShape shape = new AttentionShape(4, 2, 32, 0.2f, 0, window);
        Setup setup = new Setup(shape, Options.NONE, KvCacheType.BF16, blockSize, 32, new int[] {700}, 64, 18);
        float[][] whole = outputsOf(setup, 1, run -> {
            run.prefill(0, 64);
            assertAttention(run, 0, this);
        });
        float[][] forgetting = outputsOf(setup, 2, run -> {
            for (int from = 0, chunk = 1, to; from < 700; from = to, chunk = chunk % 17 + 1) {
                Arrays.fill(run.blockTables[0], 0, Math.max(0, from + 1 - window) / run.setup.blockSize(), -1);
                to = run.end(0, from, chunk);
                run.step(0, new Chunk(0, from, to));
            }
        });
        assertSameBits("window of " + window, forgetting[0], whole[0]);
    }

    /** Whether there is no kernel for such heads; then the backend has refused them. */
    private static boolean refused(Setup setup, BackendUnderTest suite) {
        if (suite.serves(setup.shape().headDim(), setup.rotaryDim(), setup.options().interleaved())) {
            return false;
        }
        assertThatThrownBy(() -> new RaggedAttention(suite, setup, 1)).isInstanceOf(IllegalArgumentException.class).hasMessageStartingWith("OP-008:");
        return true;
    }

    private static void assertFollowsDefinition(Setup setup, BackendUnderTest suite) {
        if (refused(setup, suite)) {
            return;
        }
        try (RaggedAttention run = new RaggedAttention(suite, setup, 2)) {
            for (int layer = 0; layer < RaggedAttention.LAYERS; layer++) {
                // Sequence 0 prefills in chunks while the others prefill, decode, or wait.
                run.step(layer, new Chunk(0, 0, 5));
                run.step(layer, new Chunk(2, 0, 32), new Chunk(0, 5, 22), new Chunk(1, 0, 1));
                run.step(layer, new Chunk(0, 22, 55), new Chunk(2, 32, 33), new Chunk(3, 0, 17));
                run.step(layer, new Chunk(4, 0, 49), new Chunk(0, 55, 69));
                run.step(layer, new Chunk(0, 69, 70), new Chunk(4, 49, 50));
                assertRotatedAndCached(run, layer);
                assertAttention(run, layer, suite);
            }
        }
    }

    @ParameterizedTest
    @EnumSource(KvCacheType.class)
    default void attentionHoldsOverLongContexts(KvCacheType kv) {
        assumeTrue(kvType(kv) == kv, "this backend has no such cache");
        Setup setup = setup(2, 1, 32, 32, 16, kv, new int[] {1000, 517}, 12);
        try (RaggedAttention run = new RaggedAttention(this, setup, 3)) {
            for (int from = 0; from < 960; from += 64) {
                run.step(1, new Chunk(0, from, from + 64));
            }
            run.step(1, new Chunk(0, 960, 999));
            for (int from = 0; from < 512; from += 64) {
                run.step(1, new Chunk(1, from, from + 64));
            }
            run.step(1, new Chunk(1, 512, 517), new Chunk(0, 999, 1000));
            assertRotatedAndCached(run, 1);
            assertAttention(run, 1, this);
        }
    }

    @ParameterizedTest
    @EnumSource(KvCacheType.class)
    default void resultsAreTheSameBitsHoweverAPromptIsCut(KvCacheType kv) {
        assumeTrue(kvType(kv) == kv, "this backend has no such cache");
        Setup setup = setup(6, 2, 64, 64, 16, kv, new int[] {64, 45}, 13);
        float[][] whole = outputsOf(setup, 1, run -> run.prefill(0, 64));
        for (int chunk : emulated() ? new int[] {2, 7, 17} : new int[] {1, 2, 3, 7, 16, 17, 33}) {
            float[][] cut = outputsOf(setup, 2, run -> run.prefill(0, chunk));
            for (int s = 0; s < whole.length; s++) {
                assertSameBits("chunks of " + chunk + ", " + kv, cut[s], whole[s]);
            }
        }
    }

    @Test
    default void resultsAreTheSameBitsWhoeverSharesTheBatchAndWithAnyThreads() {
        int[] lengths = {40, 64, 3, 29, 17, 1};
        Setup setup = setup(8, 2, 96, 96, 16, KvCacheType.F32, lengths, 14);
        float[][] alone = outputsOf(setup, 1, run -> run.prefill(0, 64));
        SplittableRandom random = new SplittableRandom(15);
        for (int threads : emulated() ? new int[] {1} : new int[] {1, 2, 3, 4}) {
            float[][] shared = outputsOf(setup, threads, run -> randomSteps(run, lengths, random));
            for (int s = 0; s < lengths.length; s++) {
                assertSameBits("sequence " + s + " with " + threads + " threads", shared[s], alone[s]);
            }
        }
    }

    /** Few work items and long contexts are where a backend may share one context among threads. */
    @ParameterizedTest
    @CsvSource({"9, 3, 64, 0, BF16", "4, 1, 32, 300, Q8_0", "3, 1, 48, 0, F32", "2, 1, 18, 0, F16"})
    default void longContextsGiveTheSameBitsWithAnyThreads(int heads, int kvHeads, int headDim, int window, KvCacheType kv) {
        int first = repeated(1300, 400);
        int third = repeated(521, 150);
        AttentionShape shape = new AttentionShape(heads, kvHeads, headDim, 0.15f, 0, window);
        Setup setup = new Setup(shape, new Options(false, false, true), kv, 16, headDim, new int[] {first, 2, third}, 64, 19);
        if (refused(setup, this)) {
            return;
        }
        float[][] alone = outputsOf(setup, 1, run -> run.prefill(0, 64));
        for (int threads : emulated() ? new int[] {1} : new int[] {2, 3, 8}) {
            float[][] shared = outputsOf(setup, threads, run -> {
                run.prefill(0, 64);
                // Once more, in small steps whose sequences differ in length, over what the prefill left in the cache.
                for (int back = 40; back > 0; back -= 8) {
                    run.step(0, new Chunk(0, first - back, run.end(0, first - back, 1)), new Chunk(2, third - back, third - back + 5),
                            new Chunk(1, decodesLikeItPrefills() ? 1 : 0, 2));
                }
            });
            for (int s = 0; s < alone.length; s++) {
                assertSameBits("sequence " + s + " with " + threads + " threads", shared[s], alone[s]);
            }
        }
    }

    @Test
    default void ropeIsExactAtHighPositions() {
        int length = 8192;
        Setup setup = setup(2, 1, 16, 16, 16, KvCacheType.F32, new int[] {length}, 16);
        try (RaggedAttention run = new RaggedAttention(this, setup, 1)) {
            double rounding = run.cache.shape().dtype() == KvCacheType.F32 ? 0 : 0x1p-8;
            for (int position : new int[] {0, 1, 15, 16, 255, 256, 4095, 4097, 8190, 8191}) {
                // Attention reads positions that were not written: they are whatever a fresh block holds, and not looked at here.
                run.step(0, new Chunk(0, position, position + 1));
                float[] key = run.cache.readKey(0, run.blockTables[0][position / 16], position % 16);
                for (int head = 0; head < 4; head++) {
                    for (int i = 0; i < 16; i++) {
                        double expected = run.rotatedInput(0, position, head, i);
                        if (run.rotatesInPlace()) {
                            assertThat((double) run.rotated[0][position * 64 + head * 16 + i]).as("position " + position)
                                    .isCloseTo(expected, org.assertj.core.data.Offset.offset(1e-5));
                        }
                        if (head == 2) {
                            assertThat((double) key[i]).as("key of position " + position)
                                    .isCloseTo(expected, org.assertj.core.data.Offset.offset(1e-5 + rounding * Math.abs(expected)));
                        }
                    }
                }
            }
        }
    }

    @Test
    default void onlyTheSlotsOfTheStepAreWritten() {
        Setup setup = setup(2, 1, 8, 8, 4, KvCacheType.F32, new int[] {10, 10}, 17);
        try (RaggedAttention run = new RaggedAttention(this, setup, 2)) {
            run.prefill(0, 10);
            run.prefill(1, 10);
            List<float[]> before = snapshot(run);
            run.inputs[1][0] += 1; // A changed prompt for sequence 1, of which only positions [3, 6) are run again in layer 1.
            Arrays.fill(run.inputs[1], 2.5f);
            run.step(1, new Chunk(1, 3, 6));
            List<float[]> after = snapshot(run);
            int changed = 0;
            for (int i = 0; i < before.size(); i++) {
                changed += Arrays.equals(before.get(i), after.get(i)) ? 0 : 1;
            }
            assertThat(changed).as("3 keys and 3 values").isEqualTo(6);
        }
    }

    private static List<float[]> snapshot(RaggedAttention run) {
        List<float[]> slots = new ArrayList<>();
        KvCacheShape shape = run.cache.shape();
        for (int layer = 0; layer < shape.numLayers(); layer++) {
            for (int block = 0; block < shape.numBlocks(); block++) {
                for (int offset = 0; offset < shape.blockSize(); offset++) {
                    slots.add(run.cache.readKey(layer, block, offset));
                    slots.add(run.cache.readValue(layer, block, offset));
                }
            }
        }
        return slots;
    }

    private static Setup setup(int heads, int kvHeads, int headDim, int rotaryDim, int blockSize, KvCacheType kv, int[] lengths, long seed) {
        AttentionShape shape = new AttentionShape(heads, kvHeads, headDim, (float) (1 / Math.sqrt(headDim)));
        return new Setup(shape, Options.NONE, kv, blockSize, rotaryDim, lengths, 70, seed);
    }

    private float[][] outputsOf(Setup setup, int threads, java.util.function.Consumer<RaggedAttention> steps) {
        try (RaggedAttention run = new RaggedAttention(this, setup, threads)) {
            steps.accept(run);
            return run.outputs;
        }
    }

    /** All sequences to their ends, in random company and random chunks, at most 64 tokens a step. */
    private static void randomSteps(RaggedAttention run, int[] lengths, SplittableRandom random) {
        int[] done = new int[lengths.length];
        while (!Arrays.equals(done, lengths)) {
            List<Chunk> chunks = new ArrayList<>();
            int budget = 64;
            for (int s : RaggedAttention.shuffled(lengths.length, random)) {
                int wanted = 1 + random.nextInt(20);
                int count = done[s] == lengths[s] ? 0 : run.end(s, done[s], wanted) - done[s];
                if (count > 0 && count <= budget && random.nextInt(3) > 0) {
                    chunks.add(new Chunk(s, done[s], done[s] + count));
                    done[s] += count;
                    budget -= count;
                }
            }
            run.step(0, chunks.toArray(new Chunk[0]));
        }
    }

    /** Queries and keys are turned, values left alone, and keys and values are in the cache, rounded once to its type. */
    private static void assertRotatedAndCached(RaggedAttention run, int layer) {
        AttentionShape shape = run.setup.shape();
        for (int s = 0; s < run.inputs.length; s++) {
            float[][] keys = run.cached(layer, s, true);
            float[][] values = run.cached(layer, s, false);
            double[] expected = new double[run.inputs[s].length];
            double[] tolerance = new double[expected.length];
            double[] cacheTolerance = new double[expected.length];
            KvCacheType type = run.setup.kvType();
            float[] cached = new float[expected.length];
            for (int i = 0; i < expected.length; i++) {
                int position = i / shape.qkvCols();
                int col = i % shape.qkvCols();
                expected[i] = run.rotatedInput(s, position, col / shape.headDim(), col % shape.headDim());
                tolerance[i] = col < shape.queryCols() + shape.kvCols() ? 2e-5 : 0;
                // A turn that differs in its last bit may round to the other neighbour in a short type.
                cacheTolerance[i] = 2e-5 + switch (type) {
                    case F32 -> 0;
                    case F16 -> 0x1p-10 * Math.abs(expected[i]);
                    case BF16 -> 0x1p-7 * Math.abs(expected[i]);
                    case Q8_0 -> Math.abs(largestOfBlock(run, s, i)) / 254 * (1 + 0x1p-9);
                };
                int k = col - shape.queryCols();
                cached[i] = k < 0 ? (float) expected[i] : k < shape.kvCols() ? keys[position][k] : values[position][k - shape.kvCols()];
            }
            if (run.rotatesInPlace()) {
                assertNear("rotation, sequence " + s, run.rotated[s], expected, tolerance);
            }
            assertNear("cache, sequence " + s, cached, expected, cacheTolerance);
            for (int p = 0; p < values.length; p++) {
                int from = p * shape.qkvCols() + shape.queryCols() + shape.kvCols();
                float[] input = Arrays.copyOfRange(run.inputs[s], from, from + shape.kvCols());
                assertSameBits("cached value", values[p], rounded(type, shape.headDim(), input));
            }
        }
    }

    /** The largest magnitude among the elements, after rotation, that share a scale with element {@code i} of a sequence's inputs. */
    private static double largestOfBlock(RaggedAttention run, int s, int i) {
        AttentionShape shape = run.setup.shape();
        int position = i / shape.qkvCols();
        int head = i % shape.qkvCols() / shape.headDim();
        int from = i % shape.qkvCols() % shape.headDim() / KvCacheType.SCALE_BLOCK * KvCacheType.SCALE_BLOCK;
        double largest = 0;
        for (int d = from; d < Math.min(shape.headDim(), from + KvCacheType.SCALE_BLOCK); d++) {
            largest = Math.max(largest, Math.abs(run.rotatedInput(s, position, head, d)));
        }
        return largest;
    }

    /** Softmax of all scores at once over the keys and values that the cache gives back. */
    private static void assertAttention(RaggedAttention run, int layer, BackendUnderTest tolerances) {
        AttentionShape shape = run.setup.shape();
        int headDim = shape.headDim();
        int group = shape.numHeads() / shape.numKvHeads();
        for (int s = 0; s < run.inputs.length; s++) {
            float[][] keys = run.cached(layer, s, true);
            float[][] values = run.cached(layer, s, false);
            double[] expected = new double[run.outputs[s].length];
            double[] tolerance = new double[expected.length];
            double[] query = new double[headDim];
            double[] scores = new double[keys.length];
            for (int p = 0; p < keys.length; p++) {
                for (int head = 0; head < shape.numHeads(); head++) {
                    int kv = head / group * headDim;
                    for (int i = 0; i < headDim; i++) {
                        query[i] = run.rotatedInput(s, p, head, i);
                    }
                    double largest = run.sinks == null ? Double.NEGATIVE_INFINITY : run.sinks[head];
                    double size = 0;
                    int first = shape.slidingWindow() == 0 ? 0 : Math.max(0, p + 1 - shape.slidingWindow());
                    for (int j = first; j <= p; j++) {
                        double dot = 0;
                        double absolute = 0;
                        for (int i = 0; i < headDim; i++) {
                            dot += query[i] * keys[j][kv + i];
                            absolute += Math.abs(query[i] * keys[j][kv + i]);
                        }
                        double score = dot * shape.scale();
                        scores[j] = shape.softCap() == 0 ? score : shape.softCap() * Math.tanh(score / shape.softCap());
                        size = Math.max(size, absolute * shape.scale());
                        largest = Math.max(largest, scores[j]);
                    }
                    double total = run.sinks == null ? 0 : Math.exp(run.sinks[head] - largest);
                    for (int j = first; j <= p; j++) {
                        total += Math.exp(scores[j] - largest);
                    }
                    for (int i = 0; i < headDim; i++) {
                        double sum = 0;
                        double spread = 0;
                        for (int j = first; j <= p; j++) {
                            double weight = Math.exp(scores[j] - largest) / total;
                            sum += weight * values[j][kv + i];
                            spread += weight * Math.abs(values[j][kv + i]);
                        }
                        int at = p * shape.queryCols() + head * headDim + i;
                        expected[at] = sum;
                        // An error of e in a score is an error of e relative to its weight.
                        tolerance[at] = tolerances.attentionTolerance(shape, run.setup.kvType(), run.setup.blockSize(), size) * spread + 1e-7;
                    }
                }
            }
            assertNear("attention, sequence " + s + ", layer " + layer, run.outputs[s], expected, tolerance);
        }
    }
}

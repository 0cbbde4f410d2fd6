package io.millrace.kernels;

import static io.millrace.kernels.TestValues.assertPoisonedFrom;
import static io.millrace.kernels.TestValues.poison;
import static io.millrace.kernels.TestValues.tokens;
import static io.millrace.kernels.TestValues.weight;
import static org.assertj.core.api.Assertions.assertThat;
import static org.assertj.core.api.Assertions.assertThatThrownBy;

import java.lang.foreign.MemorySegment;
import java.lang.management.ManagementFactory;
import java.util.function.Consumer;
import org.junit.jupiter.api.Test;

/** Properties of a backend as such: what it refuses, what it holds, and that replay costs nothing but the work. */
public interface BackendProperties extends BackendUnderTest {
    BatchLimits SMALL = new BatchLimits(8, 4, 4, 4, 2);

    @Test
    default void wrongArgumentsAreRefusedWhileRecordingWithNamesAndShapes() {
        try (Backend b = create(SMALL, 1)) {
            Weight w = weight(b, "w", DType.F32, 16, new float[16 * 24], 24);
            Tensor x16 = b.activations("x16", Extent.TOKENS, 16);
            Tensor y16 = b.activations("y16", Extent.TOKENS, 16);
            Tensor x24 = b.activations("x24", Extent.TOKENS, 24);
            Tensor x8 = b.activations("x8", Extent.TOKENS, 8);
            Tensor rows16 = b.activations("rows16", Extent.LOGIT_ROWS, 16);
            Tensor rows24 = b.activations("rows24", Extent.LOGIT_ROWS, 24);
            Tensor logits = b.logits("logits", 24);
            Tensor gain = b.constant("gain", 1, 16, new float[16]);
            Tensor table = b.constant("table", 64, 4, new float[256]);
            KvCache cache = b.kvCache(new KvCacheShape(2, 4, 16, 1, 8, kvType(KvCacheType.F32)));
            AttentionShape shape = new AttentionShape(1, 1, 8, 1f);
            AttentionShape wide = new AttentionShape(2, 1, 8, 1f);
            Rope rope = new Rope(table, table, 8);

            refused(b, "OP-001", ops -> ops.embed(w, 1f, x24), "w [24, 16]", "x24");
            refused(b, "OP-002", ops -> ops.embed(w, 1f, rows16), "rows16", "TOKENS");
            refused(b, "OP-006", ops -> ops.embed(w, Float.NaN, x16), "scale");
            refused(b, "OP-001", ops -> ops.rmsNorm(x24, gain, 1e-5f, x24), "gain", "24");
            refused(b, "OP-001", ops -> ops.rmsNorm(x16, gain, 1e-5f, x24), "x16", "x24");
            refused(b, "OP-002", ops -> ops.rmsNorm(x16, gain, 1e-5f, rows16), "x16", "rows16");
            refused(b, "OP-002", ops -> ops.rmsNorm(x16, y16, 1e-5f, x16), "y16", "FIXED");
            refused(b, "OP-006", ops -> ops.rmsNorm(x16, gain, -1f, y16), "eps");
            refused(b, "OP-004", ops -> ops.addRmsNorm(x16, y16, gain, 1e-5f, x16), "x16", "overlap");
            refused(b, "OP-001", ops -> ops.addRmsNorm(x16, x24, gain, 1e-5f, y16), "x16", "x24");
            refused(b, "OP-001", ops -> ops.add(x16, x24), "x16", "x24");
            refused(b, "OP-004", ops -> ops.add(x16, x16), "x16", "overlap");
            refused(b, "OP-001", ops -> ops.linear(x24, w, null, x16), "w [24, 16]", "x24", "x16");
            refused(b, "OP-001", ops -> ops.linear(x16, w, gain, x24), "gain", "24");
            refused(b, "OP-002", ops -> ops.linear(x16, w, null, rows24), "x16", "rows24");
            refused(b, "OP-001", ops -> ops.ropeAndCache(x16, rope, shape, cache, 0), "x16", "24");
            refused(b, "OP-006", ops -> ops.ropeAndCache(x24, rope, shape, cache, 2), "layer 2", "[0, 2)");
            refused(b, "OP-006", ops -> ops.ropeAndCache(x24, new Rope(table, table, 10), shape, cache, 0), "rotaryDim", "10");
            refused(b, "OP-001", ops -> ops.ropeAndCache(x24, new Rope(table, table, 6), shape, cache, 0), "table");
            refused(b, "OP-001", ops -> ops.ropeAndCache(x24, new QkNorm(gain, gain, 1e-5f), rope, shape, cache, 0), "gain", "norm.query");
            refused(b, "OP-001", ops -> ops.attention(x24, shape, gain, cache, 0, x8), "sinks");
            refused(b, "OP-001", ops -> ops.attention(x16, wide, cache, 0, y16), "x16", "32");
            refused(b, "OP-001", ops -> ops.attention(x24, shape, cache, 0, x16), "x16", "8");
            refused(b, "OP-001", ops -> ops.swiglu(x24, x16), "x24", "x16");
            refused(b, "OP-001", ops -> ops.geglu(x24, x16), "geglu", "x24", "x16");
            refused(b, "OP-006", ops -> ops.softCap(logits, 0f), "cap", "0.0");
            refused(b, "OP-006", ops -> ops.softCap(logits, Float.NaN), "cap", "NaN");
            refused(b, "OP-001", ops -> ops.gatherLogitRows(x24, rows16), "x24", "rows16");
            refused(b, "OP-002", ops -> ops.gatherLogitRows(x16, y16), "y16", "LOGIT_ROWS");
            if (x16.dtype() == DType.F32) {
                refused(b, "OP-002", ops -> ops.sample(x16), "x16", "LOGIT_ROWS");
            } else {
                refused(b, "OP-003", ops -> ops.sample(rows16), "rows16", "F32");
                refused(b, "OP-003", ops -> ops.softCap(rows16, 1f), "rows16", "F32");
            }

            assertThatThrownBy(() -> b.constant("c", 2, 3, new float[5])).hasMessageContainingAll("OP-001", "c", "6", "5");
            assertThatThrownBy(() -> b.activations("a", Extent.FIXED, 3)).hasMessageContainingAll("OP-002", "a");
            assertThatThrownBy(() -> b.activations("a", Extent.TOKENS, 0)).hasMessageContainingAll("OP-001", "a");
            assertThatThrownBy(() -> b.weight("none")).hasMessageContainingAll("OP-001", "none");
            assertThatThrownBy(() -> b.kvCache(new KvCacheShape(1, 1, 16, 1, 8, DType.I32))).hasMessageContainingAll("OP-003", "I32");
        }
    }

    private static void refused(Backend backend, String code, Consumer<Ops> call, String... words) {
        assertThatThrownBy(() -> backend.record(call)).isInstanceOf(IllegalArgumentException.class).hasMessageStartingWith(code)
                .hasMessageContainingAll(words);
    }

    @Test
    default void objectsOfOtherMakersAreRefused() {
        try (Backend a = create(SMALL, 1); Backend b = create(SMALL, 1)) {
            Tensor out = b.activations("out", Extent.TOKENS, 4);
            Weight foreign = new Weight() {
                @Override
                public String name() {
                    return "foreign";
                }

                @Override
                public long outFeatures() {
                    return 4;
                }

                @Override
                public long inFeatures() {
                    return 4;
                }

                @Override
                public java.util.List<WeightFormat> formats() {
                return java.util.List.of(DType.F32);
                }

                @Override
                public long byteSize() {
                    return 64;
                }
            };
            refused(b, "OP-005", ops -> ops.embed(foreign, 1f, out), "foreign");
            Program ofA = a.record(ops -> {});
            assertThatThrownBy(() -> b.run(ofA)).hasMessageContaining("OP-005");
        }
    }

    /** Property: memory of another backend of the same kind is refused too, since that backend may close first; so is a closed one. */
    @Test
    default void memoryOfAnotherBackendIsRefused() {
        try (Backend a = create(SMALL, 1); Backend b = create(SMALL, 1)) {
            WeightPart part = new WeightPart("p", DType.F32, 4, 4, MemorySegment.ofArray(new float[16]));
            Weight weightA = a.weight("weightA", part);
            Tensor xA = a.activations("xA", Extent.TOKENS, 4);
            Tensor rowA = a.constant("rowA", 1, 4, new float[4]);
            Weight weightB = b.weight("weightB", part);
            Tensor xB = b.activations("xB", Extent.TOKENS, 4);
            Tensor yB = b.activations("yB", Extent.TOKENS, 4);
            Tensor rowB = b.constant("rowB", 1, 4, new float[4]);
            refused(b, "OP-005", ops -> ops.embed(weightA, 1f, xB), "weightA");
            refused(b, "OP-005", ops -> ops.embed(weightB, 1f, xA), "xA");
            refused(b, "OP-005", ops -> ops.rmsNorm(xB, rowA, 1e-5f, yB), "rowA");
            refused(b, "OP-005", ops -> ops.addRmsNorm(xB, xA, rowB, 1e-5f, yB), "xA");
            refused(b, "OP-005", ops -> ops.add(xB, xA), "xA");
            refused(b, "OP-005", ops -> ops.linear(xB, weightA, null, yB), "weightA");
            refused(b, "OP-005", ops -> ops.linear(xB, weightB, rowA, yB), "rowA");
            refused(b, "OP-005", ops -> ops.linear(xA, weightB, rowB, yB), "xA");
            Tensor wideA = a.activations("wideA", Extent.TOKENS, 8);
            Tensor wideB = b.activations("wideB", Extent.TOKENS, 8);
            AttentionShape shape = new AttentionShape(2, 1, 4, 1f);
            KvCacheShape kv = new KvCacheShape(1, 2, blockSize(4), 1, 4, kvType(KvCacheType.F32));
            KvCache cacheA = a.kvCache(kv);
            KvCache cacheB = b.kvCache(kv);
            Tensor qkv = b.activations("qkv", Extent.TOKENS, 16);
            Rope ropeA = new Rope(a.constant("cosA", 4, 2, new float[8]), a.constant("sinA", 4, 2, new float[8]), 4);
            Rope ropeB = new Rope(b.constant("cosB", 4, 2, new float[8]), b.constant("sinB", 4, 2, new float[8]), 4);
            refused(b, "OP-005", ops -> ops.ropeAndCache(qkv, ropeA, shape, cacheB, 0), "cosA");
            refused(b, "OP-005", ops -> ops.ropeAndCache(qkv, ropeB, shape, cacheA, 0), "cache");
            refused(b, "OP-005", ops -> ops.attention(qkv, shape, cacheA, 0, wideB), "cache");
            refused(b, "OP-005", ops -> ops.attention(qkv, shape, cacheB, 0, wideA), "wideA");
            assertThat(b.record(ops -> ops.linear(xB, weightB, rowB, yB)).numOps()).isEqualTo(1);
            a.close();
            refused(b, "OP-005", ops -> ops.add(xB, xA), "xA");
            assertThatThrownBy(() -> a.record(ops -> {})).isInstanceOf(IllegalStateException.class).hasMessageStartingWith("BE-002:");
            assertThatThrownBy(() -> a.activations("x", Extent.TOKENS, 4)).hasMessageStartingWith("BE-002:");
            assertThatThrownBy(() -> a.weight("w", part)).hasMessageStartingWith("BE-002:");
            assertThatThrownBy(a::memoryBytes).hasMessageStartingWith("BE-002:");
        }
    }

    /** Property: a constant computed row by row holds what the array would, whether made by one thread or by all. */
    @Test
    default void aConstantIsComputedRowByRow() {
        try (Backend b = create(SMALL, 1)) {
            for (int rows : new int[] {1, 1025, 90_001}) {
                Tensor table = b.constant("table", rows, 3, (row, values) -> {
                    for (int i = 0; i < values.length; i++) {
                        values[i] = row * 3 + i;
                    }
                });
                float[] all = b.read(table, rows);
                for (int i : new int[] {0, 2, 3 * rows / 2, 3 * rows - 1}) {
                    assertThat(all[i]).isEqualTo((float) i);
                }
            }
            assertThatThrownBy(() -> b.constant("c", 0, 3, (row, values) -> {})).hasMessageStartingWith("OP-001:");
            assertThatThrownBy(() -> b.constant("c", 1L << 62, 3, (row, values) -> {})).hasMessageStartingWith("OP-001:");
        }
    }

    /** Property: a table by position has, for every position of a step, the row that its filler gives, however far steps jump. */
    @Test
    default void aPositionTableIsThereAsFarAsStepsReach() {
        try (Backend b = create(new BatchLimits(8, 2, 400, 2, 1), 1)) {
            AttentionShape shape = new AttentionShape(1, 1, 4, 1f);
            Tensor qkv = b.activations("qkv", Extent.TOKENS, shape.qkvCols());
            RowFiller cosine = (row, values) -> java.util.Arrays.fill(values, row / 4f);
            Rope rope = new Rope(b.positionTable("cos", 6000, 2, cosine), b.positionTable("sin", 6000, 2, (row, values) -> values[0] = values[1] = 0), 4);
            KvCache cache = b.kvCache(new KvCacheShape(1, 400, 16, 1, 4, kvType(KvCacheType.F32)));
            Program program = b.record(ops -> ops.ropeAndCache(qkv, rope, shape, cache, 0));
            int[] blocks = java.util.stream.IntStream.range(0, 400).toArray();
            for (int position : new int[] {0, 3, 511, 512, 5999, 40}) {
                b.batch().clear();
                b.batch().addSequence(new int[6000], 7, 1, blocks, 400);
                b.batch().addSequence(new int[6000], position, 1, blocks, 400);
                float[] ones = new float[2 * shape.qkvCols()];
                java.util.Arrays.fill(ones, 1);
                TestValues.write(b, qkv, ones);
                b.run(program);
                for (int p : new int[] {7, position}) {
                    float expected = TestValues.rounded(cache.shape().dtype().elements(), new float[] {p / 4f})[0];
                    assertThat(cache.readKey(0, p / 16, p % 16)[0]).as("position %d", p).isEqualTo(expected);
                }
            }
        }
    }

    /** Property: head counts whose product leaves an int are refused, not wrapped into something that looks small. */
    @Test
    default void attentionShapesThatWrapAreRefused() {
        for (int[] s : new int[][] {{67_109_888, 1024, 64}, {1 << 20, 1 << 20, 2}, {1 << 16, 1, 1 << 16}, {0, 1, 2}, {-2, 1, 2}}) {
            assertThatThrownBy(() -> new AttentionShape(s[0], s[1], s[2], 1f)).isInstanceOf(IllegalArgumentException.class)
                    .hasMessageStartingWith("OP-006:").hasMessageContaining("heads=" + s[0]);
        }
        assertThat(new AttentionShape(128, 8, 128, 1f).qkvCols()).isEqualTo(144 * 128);
        for (float softCap : new float[] {-1, Float.NaN, Float.POSITIVE_INFINITY}) {
            assertThatThrownBy(() -> new AttentionShape(1, 1, 8, 1f, softCap, 0)).hasMessageStartingWith("OP-006:").hasMessageContaining("softCap");
        }
        assertThatThrownBy(() -> new AttentionShape(1, 1, 8, 1f, 0, -1)).hasMessageStartingWith("OP-006:").hasMessageContaining("slidingWindow");
    }

    @Test
    default void aProgramTellsItsOpsAndAnEmptyStepDoesNothing() {
        try (Backend b = create(SMALL, 2)) {
            Weight w = weight(b, "w", DType.BF16, 16, new float[16 * 24], 24);
            Tensor x = b.activations("x", Extent.TOKENS, 16);
            Tensor y = b.activations("y", Extent.LOGIT_ROWS, 16);
            Tensor logits = b.logits("logits", 24);
            Program program = b.record(ops -> {
                ops.embed(w, 1f, x);
                ops.gatherLogitRows(x, y);
                ops.linear(y, w, null, logits);
                ops.sample(logits);
            });
            assertThat(program.numOps()).isEqualTo(4);
            assertThat(program.opNames()).containsExactly("embed", "gatherLogitRows", "linear", "sample");
            poison(b, x);
            poison(b, y);
            poison(b, logits);
            b.batch().clear();
            b.run(program);
            assertPoisonedFrom(b, x, 0);
            assertPoisonedFrom(b, y, 0);
            assertPoisonedFrom(b, logits, 0);
            // No logits wanted: the rest of the step runs all the same.
            tokens(b.batch(), 3);
            b.run(program);
            assertPoisonedFrom(b, x, 3);
            assertPoisonedFrom(b, y, 0);
            assertThat(b.read(x, 1)[0]).isEqualTo(0f);
            assertPoisonedFrom(b, logits, 0);
        }
    }

    @Test
    default void memoryIsAccountedForByKindAndClosingTwiceIsFine() {
        Backend b = create(SMALL, 1);
        assertThat(b.memoryBytes()).containsOnlyKeys("weights", "constants", "activations", "kv_cache", "batch");
        // A device has one place for both batches, and pads its arrays.
        long batches = segmentBytes(b.batch()) + segmentBytes(b.batch().sampling);
        assertThat(b.memoryBytes().get("batch")).isBetween(emulated() ? batches : 2 * batches, emulated() ? 3 * batches : 2 * batches).isPositive();
        weight(b, "w", DType.BF16, 16, new float[16 * 24], 20, 4);
        b.constant("c", 2, 3, new float[6]);
        Tensor x = b.activations("x", Extent.TOKENS, 10);
        KvCacheShape shape = new KvCacheShape(2, 3, 16, 2, 8, kvType(KvCacheType.F16));
        b.kvCache(shape);
        assertThat(b.memoryBytes().get("weights")).isGreaterThanOrEqualTo(16 * 24 * 2);
        assertThat(b.memoryBytes().get("constants")).isGreaterThanOrEqualTo(24);
        assertThat(b.memoryBytes().get("activations")).isGreaterThanOrEqualTo(8 * 10 * x.dtype().bytes());
        assertThat(b.memoryBytes().get("kv_cache")).isGreaterThanOrEqualTo(shape.byteSize()).isEqualTo(b.kvCacheBytes(shape));
        assertThat(b.name()).matches("[a-z][a-z0-9-]*");
        assertThat(b.description()).isNotBlank().doesNotContain("\n");
        b.close();
        b.close();
    }

    /** Scratch memory that ops share must not carry anything over: penalties count from zero after a long attention. */
    @Test
    default void opsLeaveNothingBehindForTheNext() {
        int length = 300;
        int vocab = 16;
        AttentionShape shape = new AttentionShape(8, 1, 128, 0.1f);
        try (Backend b = create(new BatchLimits(length, 2, 19, 4, 2), 2)) {
            KvCache cache = b.kvCache(new KvCacheShape(1, 19, 16, 1, 128, kvType(KvCacheType.F32)));
            Tensor cos = b.constant("cos", 304, 64, TestValues.normal(new java.util.SplittableRandom(41), 304 * 64, 1));
            Tensor qkv = b.activations("qkv", Extent.TOKENS, shape.qkvCols());
            Tensor out = b.activations("out", Extent.TOKENS, shape.queryCols());
            Tensor logits = b.logits("logits", vocab);
            Program program = b.record(ops -> {
                ops.ropeAndCache(qkv, new Rope(cos, cos, 128), shape, cache, 0);
                ops.attention(qkv, shape, cache, 0, out);
                ops.sample(logits);
            });
            TestValues.write(b, qkv, TestValues.spiky(new java.util.SplittableRandom(42), (long) length * shape.qkvCols()));
            int[] blocks = java.util.stream.IntStream.range(0, 19).toArray();
            float[] values = new float[2 * vocab];
            values[7] = 4;
            values[9] = 3;
            values[vocab + 7] = 4;
            values[vocab + 9] = 3;
            try (var arena = java.lang.foreign.Arena.ofConfined()) {
                var history = arena.allocateFrom(java.lang.foreign.ValueLayout.JAVA_INT, 7, 7, 5);
                for (int i = 0; i < 3; i++) {
                    b.batch().clear();
                    b.batch().addSequence(new int[length], 0, length, blocks, 19);
                    TestValues.write(b, logits, values);
                    for (int r = 0; r < 2; r++) {
                        b.batch().sampling.setGreedy(b.batch().addLogitRow(length - 1), 0);
                    }
                    // Row 0: 4 - 0.25 * 2 beats 3. Row 1: 4 - 2 * 0.75 does not.
                    b.batch().sampling.setPenalties(0, 1f, 0.25f, 0f, history.address(), 0, 3);
                    b.batch().sampling.setPenalties(1, 1f, 0.75f, 0f, history.address(), 0, 3);
                    b.run(program);
                    assertThat(b.batch().sampling.token(0)).as("replay %d", i).isEqualTo(7);
                    assertThat(b.batch().sampling.token(1)).as("replay %d", i).isEqualTo(9);
                }
            }
        }
    }

    /** A whole small decoder layer, replayed: no object is made on the thread that runs it. */
    @Test
    default void replayAllocatesNothingOnTheHeap() {
        AttentionShape shape = new AttentionShape(2, 1, 8, 0.35f);
        try (Backend b = create(SMALL, 1)) {
            Weight w = weight(b, "w", DType.BF16, 16, new float[32 * 16], 32);
            Weight back = weight(b, "back", DType.F32, 32, new float[16 * 32], 16);
            KvCache cache = b.kvCache(new KvCacheShape(1, 4, 16, 1, 8, DType.BF16));
            Tensor table = b.constant("rope", 64, 4, new float[256]);
            Tensor gain = b.constant("gain", 1, 16, new float[16]);
            Tensor x = b.activations("x", Extent.TOKENS, 16);
            Tensor y = b.activations("y", Extent.TOKENS, 16);
            Tensor qkv = b.activations("qkv", Extent.TOKENS, 32);
            Tensor last = b.activations("last", Extent.LOGIT_ROWS, 16);
            Tensor logits = b.logits("logits", 32);
            Program program = b.record(ops -> {
                ops.embed(w, 1f, x);
                ops.rmsNorm(x, gain, 1e-5f, y);
                ops.linear(y, w, null, qkv);
                ops.ropeAndCache(qkv, new Rope(table, table, 8), shape, cache, 0);
                ops.attention(qkv, shape, cache, 0, y);
                ops.addRmsNorm(x, y, gain, 1e-5f, y);
                ops.linear(y, w, null, qkv);
                ops.swiglu(qkv, y);
                ops.linear(qkv, back, null, y);
                ops.add(x, y);
                ops.gatherLogitRows(x, last);
                ops.linear(last, w, null, logits);
                ops.sample(logits);
            });
            b.batch().clear();
            b.batch().addSequence(new int[] {1, 2, 3, 4}, 0, 4, new int[] {2}, 1);
            b.batch().addSequence(new int[] {1, 2}, 1, 1, new int[] {1}, 1);
            for (int r = 0; r < 2; r++) {
                b.batch().sampling.setGreedy(b.batch().addLogitRow(3 + r), 2);
                b.batch().sampling.setDraw(r, 1f, 5, 0.9f, 0.01f, 4, r);
            }
            var threads = (com.sun.management.ThreadMXBean) ManagementFactory.getThreadMXBean();
            for (int i = 0; i < repeated(2000, 120); i++) {
                b.run(program);
            }
            int replays = repeated(1000, 30);
            long before = threads.getCurrentThreadAllocatedBytes();
            for (int i = 0; i < replays; i++) {
                b.run(program);
            }
            long bytes = threads.getCurrentThreadAllocatedBytes() - before;
            assertThat(bytes).as("bytes allocated in %d replays of 13 ops", replays).isLessThan(16_000);
        }
    }

    /** Bytes of all public segments of {@code arrays}, by reflection: the batch's own sum must not be its own witness. */
    private static long segmentBytes(Object arrays) {
        return java.util.Arrays.stream(arrays.getClass().getFields()).filter(field -> field.getType() == MemorySegment.class).mapToLong(field -> {
            try {
                return ((MemorySegment) field.get(arrays)).byteSize();
            } catch (IllegalAccessException e) {
                throw new AssertionError(e);
            }
        }).sum();
    }
}

package io.millrace.kernels.cuda;

import static org.assertj.core.api.Assertions.assertThat;
import static org.assertj.core.api.Assertions.assertThatThrownBy;
import static org.junit.jupiter.api.Assumptions.assumeTrue;

import io.millrace.kernels.AttentionShape;
import io.millrace.kernels.Batch;
import io.millrace.kernels.BatchLimits;
import io.millrace.kernels.DType;
import io.millrace.kernels.DeviceException;
import io.millrace.kernels.Extent;
import io.millrace.kernels.KvCache;
import io.millrace.kernels.KvCacheShape;
import io.millrace.kernels.Program;
import io.millrace.kernels.Rope;
import io.millrace.kernels.Tensor;
import io.millrace.kernels.Weight;
import io.millrace.kernels.WeightPart;
import java.lang.foreign.Arena;
import java.lang.foreign.MemorySegment;
import java.lang.foreign.ValueLayout;
import java.util.Arrays;
import java.util.Random;
import org.junit.jupiter.api.AfterEach;
import org.junit.jupiter.api.BeforeEach;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.CsvSource;

/** What only the CUDA backend can get wrong: graphs, fusion, two batches on one device, lists of sampling, faults of kernels. */
class CudaStepTest {
    private static final BatchLimits LIMITS = new BatchLimits(40, 6, 8, 8, 2);
    private static final int HIDDEN = 40;
    private static final int VOCAB = 61;
    private static final AttentionShape SHAPE = new AttentionShape(4, 2, 12, 0.29f);

    @BeforeEach
    void stub() {
        assumeTrue(StubCuda.missing() == null, StubCuda.missing());
        StubCuda.reset();
        CudaImages.install();
    }

    @AfterEach
    void nothingIsLeft() {
        if (StubCuda.missing() == null && StubCuda.lastFault().isEmpty()) {
            CudaImages.assertNothingIsLeft();
        }
    }

    /** A layer of a decoder with a gated block, in which every fusion occurs. */
    static final class Decoder implements AutoCloseable {
        final CudaBackend backend;
        final Tensor residual;
        final Tensor logits;
        final Program program;

        Decoder() {
            this("ffm", SHAPE);
        }

        /** Heads of the shape are rotated whole. */
        Decoder(String driver, AttentionShape shape) {
            backend = (CudaBackend) CudaBackend.create(LIMITS, driver);
            try {
                residual = backend.activations("residual", Extent.TOKENS, HIDDEN);
                logits = backend.logits("logits", VOCAB);
                program = record(shape);
            } catch (RuntimeException | Error e) {
                backend.close();
                throw e;
            }
        }

        private Program record(AttentionShape shape) {
            int angles = shape.headDim() / 2;
            Random random = new Random(5);
            Tensor delta = backend.activations("delta", Extent.TOKENS, HIDDEN);
            Tensor normed = backend.activations("normed", Extent.TOKENS, HIDDEN);
            Tensor qkv = backend.activations("qkv", Extent.TOKENS, shape.qkvCols());
            Tensor attended = backend.activations("attended", Extent.TOKENS, shape.queryCols());
            Tensor gateUp = backend.activations("gate_up", Extent.TOKENS, 2 * 24);
            Tensor gated = backend.activations("gated", Extent.TOKENS, 24);
            Tensor picked = backend.activations("picked", Extent.LOGIT_ROWS, HIDDEN);
            Tensor norm = backend.constant("norm", 1, HIDDEN, floats(random, HIDDEN));
            Rope rope = new Rope(backend.constant("cos", 128, angles, floats(random, 128 * angles)),
                    backend.constant("sin", 128, angles, floats(random, 128 * angles)), shape.headDim());
            Weight table = weight(random, "table", VOCAB, HIDDEN);
            Weight in = weight(random, "in", shape.qkvCols(), HIDDEN);
            Weight out = weight(random, "out", HIDDEN, shape.queryCols());
            Weight gates = weight(random, "gates", 48, HIDDEN);
            Weight down = weight(random, "down", HIDDEN, 24);
            KvCache cache = backend.kvCache(new KvCacheShape(1, 50, 16, shape.numKvHeads(), shape.headDim(), DType.BF16));
            return backend.record(ops -> {
                ops.embed(table, 1f, residual);
                ops.rmsNorm(residual, norm, 1e-5f, normed);
                ops.linear(normed, in, null, qkv);
                ops.ropeAndCache(qkv, rope, shape, cache, 0);
                ops.attention(qkv, shape, cache, 0, attended);
                ops.linear(attended, out, null, delta);
                ops.addRmsNorm(residual, delta, norm, 1e-5f, normed);
                ops.linear(normed, gates, null, gateUp);
                ops.swiglu(gateUp, gated);
                ops.linear(gated, down, null, delta);
                ops.add(residual, delta);
                ops.gatherLogitRows(residual, picked);
                ops.linear(picked, table, null, logits);
                ops.softCap(logits, 5f);
                ops.sample(logits);
            });
        }

        private Weight weight(Random random, String name, int rows, int cols) {
            try (Arena arena = Arena.ofConfined()) {
                MemorySegment data = arena.allocate(2L * rows * cols);
                for (int i = 0; i < rows * cols; i++) {
                    DType.BF16.store(data, i, random.nextFloat() - 0.5f);
                }
                return backend.weight(name, new WeightPart(name, DType.BF16, rows, cols, data));
            }
        }

        private static float[] floats(Random random, int count) {
            float[] values = new float[count];
            for (int i = 0; i < count; i++) {
                values[i] = random.nextFloat() + 0.1f;
            }
            return values;
        }

        /** Adds the tokens {@code [from, to)} of sequence {@code s} and samples the last, greedily. @return the logit row */
        static int add(Batch batch, int s, int from, int to) {
            int[] ids = new int[128];
            for (int i = 0; i < ids.length; i++) {
                ids[i] = (i * 37 + s * 11) % VOCAB;
            }
            int t = batch.addSequence(ids, from, to - from, blocks(s), 8);
            int row = batch.addLogitRow(t + to - from - 1);
            batch.sampling.setGreedy(row, 2);
            return row;
        }

        static int[] blocks(int s) {
            int[] blocks = new int[8];
            Arrays.setAll(blocks, i -> s * 8 + i);
            return blocks;
        }

        @Override
        public void close() {
            backend.close();
        }
    }

    /** Property: a captured graph gives the bits of launches one by one, in every batch size, and runs in place of them. */
    @Test
    void graphsGiveTheBitsOfLaunches() {
        try (Decoder decoder = new Decoder()) {
            Batch batch = decoder.backend.batch();
            for (int s = 0; s < 6; s++) {
                batch.clear();
                Decoder.add(batch, s, 0, 20 + 3 * s);
                decoder.backend.run(decoder.program);
            }
            assertThat(StubCuda.get("graph_launches")).as("prompts are no decode").isZero();
            for (int count = 1; count <= 6; count++) {
                float[][] logits = new float[2][];
                int[][] tokens = new int[2][count];
                for (int way = 0; way < 2; way++) {
                    decoder.backend.useGraphs(way == 0);
                    long before = StubCuda.get("graph_launches");
                    batch.clear();
                    for (int s = 0; s < count; s++) {
                        Decoder.add(batch, s, 20 + 3 * s, 21 + 3 * s);
                    }
                    decoder.backend.run(decoder.program);
                    assertThat(StubCuda.get("graph_launches") - before).isEqualTo(1 - way);
                    logits[way] = decoder.backend.read(decoder.logits, count);
                    for (int r = 0; r < count; r++) {
                        tokens[way][r] = batch.sampling.token(r);
                    }
                }
                assertThat(logits[0]).as("%d sequences", count).isEqualTo(logits[1]);
                assertThat(tokens[0]).isEqualTo(tokens[1]);
            }
        }
    }

    /** Property: a product takes the next op along: 15 ops are 12 launches, the plan of attention included. */
    @Test
    void neighboursAreFused() {
        try (Decoder decoder = new Decoder()) {
            Batch batch = decoder.backend.batch();
            batch.clear();
            Decoder.add(batch, 0, 0, 5);
            long before = StubCuda.get("launches");
            decoder.backend.run(decoder.program);
            assertThat(decoder.program.numOps()).isEqualTo(15);
            // embed, norm, qkv, rope, plan, prefill, out + add, norm, gate, down + add, gather, logits + cap, sample
            assertThat(StubCuda.get("launches") - before).isEqualTo(13);
        }
    }

    /** Property: a step takes what the step before drew, which waits in the other batch: ids are gathered on the device, the end of a history
     * is filled in by the backend; whoever builds the step need not know them. */
    @Test
    void drawnTokensAreTakenOnTheDevice() {
        try (Decoder decoder = new Decoder(); Arena arena = Arena.ofConfined()) {
            Batch first = decoder.backend.batch(0);
            Batch second = decoder.backend.batch(1);
            first.clear();
            Decoder.add(first, 1, 0, 7);
            Decoder.add(first, 0, 0, 9);
            decoder.backend.run(decoder.program, 0);
            int drawn = first.sampling.token(1);
            int[] ids = new int[10];
            for (int i = 0; i < 9; i++) {
                ids[i] = i * 37 % VOCAB;
            }
            ids[9] = drawn;
            MemorySegment history = arena.allocateFrom(ValueLayout.JAVA_INT, ids);
            second.clear();
            second.sampling.setGreedy(second.addLogitRow(second.addSequence(ids, 9, 1, Decoder.blocks(0), 8)), 0);
            second.sampling.setPenalties(0, 1.3f, 0.5f, 0.1f, history.address(), 9, 10);
            decoder.backend.run(decoder.program, 1);
            float[] known = decoder.backend.read(decoder.logits, 1);
            int next = second.sampling.token(0);

            first.clear();
            Decoder.add(first, 1, 0, 7);
            Decoder.add(first, 0, 0, 9);
            decoder.backend.run(decoder.program, 0);
            history.setAtIndex(ValueLayout.JAVA_INT, 9, -1);
            second.clear();
            second.sampling.setGreedy(second.addLogitRow(second.addDrawn(1, 9, Decoder.blocks(0), 8)), 0);
            second.sampling.setPenalties(0, 1.3f, 0.5f, 0.1f, history.address(), 9, 10);
            second.sampling.setHistorySource(0, 1);
            decoder.backend.run(decoder.program, 1);
            assertThat(decoder.backend.read(decoder.logits, 1)).isEqualTo(known);
            assertThat(second.sampling.token(0)).isEqualTo(next);
            assertThat(history.getAtIndex(ValueLayout.JAVA_INT, 9)).as("the host's history is made good").isEqualTo(drawn);
        }
    }

    /** Property: lists longer than there is room for get more of it, and count as any others; steps without lists see none. */
    @Test
    void listsOfAnyLengthTravel() {
        try (Decoder decoder = new Decoder(); Arena arena = Arena.ofConfined()) {
            int entries = 40_000;
            MemorySegment ids = arena.allocate(4L * entries);
            MemorySegment values = arena.allocate(4L * entries);
            for (int i = 0; i < entries; i++) {
                ids.setAtIndex(ValueLayout.JAVA_INT, i, i == entries - 1 ? 17 : VOCAB + i);
                values.setAtIndex(ValueLayout.JAVA_FLOAT, i, 1000);
            }
            Batch batch = decoder.backend.batch();
            int[] tokens = new int[3];
            for (int i = 0; i < 3; i++) {
                batch.clear();
                Decoder.add(batch, 0, 0, 5);
                if (i == 1) {
                    batch.sampling.setBias(0, ids.address(), values.address(), entries);
                }
                decoder.backend.run(decoder.program);
                tokens[i] = batch.sampling.token(0);
            }
            assertThat(tokens[1]).isEqualTo(17);
            assertThat(tokens[2]).isEqualTo(tokens[0]).isNotEqualTo(17);
        }
    }

    /** Property: lists for which the device has no room fail their step alone; the room that there was is still there, and more is had once it can be. */
    @Test
    void listsThatDoNotFitFailTheirStepAlone() {
        try (Decoder decoder = new Decoder(); Arena arena = Arena.ofConfined()) {
            int entries = 40_000;
            MemorySegment ids = arena.allocate(4L * entries);
            MemorySegment values = arena.allocate(4L * entries);
            ids.setAtIndex(ValueLayout.JAVA_INT, 0, 17);
            values.setAtIndex(ValueLayout.JAVA_FLOAT, 0, 1000);
            for (int i = 1; i < entries; i++) {
                ids.setAtIndex(ValueLayout.JAVA_INT, i, VOCAB + i);
            }
            Batch batch = decoder.backend.batch();
            for (int count : new int[] {-entries, 1, entries, 1}) {
                batch.clear();
                Decoder.add(batch, 0, 0, 5);
                batch.sampling.setBias(0, ids.address(), values.address(), Math.abs(count));
                if (count < 0) {
                    StubCuda.set("fail_allocation", 1);
                    assertThatThrownBy(() -> decoder.backend.run(decoder.program)).isInstanceOfSatisfying(DeviceException.class, e -> {
                        assertThat(e.code()).isEqualTo("CUDA-005");
                        assertThat(e.lost()).isFalse();
                    });
                } else {
                    decoder.backend.run(decoder.program);
                    assertThat(batch.sampling.token(0)).isEqualTo(17);
                }
            }
        }
    }

    /** Property: what a kernel finds wrong with a step is an error of that step, with row, value and limit; the next step is sound. */
    @Test
    void faultsOfAStepAreItsOwn() {
        try (Decoder decoder = new Decoder()) {
            Batch batch = decoder.backend.batch();
            batch.clear();
            batch.addSequence(new int[] {1, VOCAB + 2, 3}, 0, 3, Decoder.blocks(0), 8);
            assertThatThrownBy(() -> decoder.backend.run(decoder.program)).isInstanceOf(IllegalStateException.class).hasMessageStartingWith("STEP-004:")
                    .hasMessageContainingAll("row 1", String.valueOf(VOCAB + 2), "[0, " + VOCAB + ")");
            batch.clear();
            Decoder.add(batch, 0, 0, 5);
            decoder.backend.run(decoder.program);
            assertThat(batch.sampling.token(0)).isBetween(0, VOCAB - 1);
        }
    }

    /** Property: so is a wrong place in the cache, of a prompt and of a step of decode; attention follows no table of such a step. */
    @ParameterizedTest
    @CsvSource({"block, -1, 50", "block, 50, 50", "position, 128, 128", "position, -1, 128"})
    void wrongPlacesAreFaultsOfTheirStep(String what, int value, int limit) {
        try (Decoder decoder = new Decoder()) {
            Batch batch = decoder.backend.batch();
            for (int from : new int[] {0, 6}) {
                int to = from == 0 ? 6 : 7;
                int token = 0;
                for (boolean wrong : new boolean[] {true, false}) {
                    batch.clear();
                    Decoder.add(batch, 0, from, to);
                    if (wrong && what.equals("block")) {
                        batch.blockTables.setAtIndex(ValueLayout.JAVA_INT, 0, value);
                    } else if (wrong) {
                        batch.positions.setAtIndex(ValueLayout.JAVA_INT, to - from - 1, value);
                    }
                    if (wrong) {
                        assertThatThrownBy(() -> decoder.backend.run(decoder.program)).isInstanceOf(IllegalStateException.class)
                                .hasMessageStartingWith("STEP-004:").hasMessageContainingAll("the " + what + " " + value, "[0, " + limit + ")");
                    } else {
                        decoder.backend.run(decoder.program);
                        token = batch.sampling.token(0);
                    }
                }
                assertThat(token).isBetween(0, VOCAB - 1);
            }
            assertThat(StubCuda.lastFault()).as("no kernel left its buffers").isEmpty();
        }
    }

    /** Property: a lost device is told as such, at once and from then on, and closing the backend is harmless. */
    @Test
    void aLostDeviceStaysLost() {
        Decoder decoder = new Decoder();
        Batch batch = decoder.backend.batch();
        batch.clear();
        Decoder.add(batch, 0, 0, 5);
        StubCuda.set("fail_launch", 3);
        for (int i = 0; i < 2; i++) {
            assertThatThrownBy(() -> decoder.backend.run(decoder.program)).isInstanceOfSatisfying(DeviceException.class, e -> {
                assertThat(e.code()).isEqualTo("CUDA-006");
                assertThat(e.lost()).isTrue();
            });
        }
        decoder.close();
        StubCuda.reset();
    }
}

package io.millrace.kernels.cpu;

import static org.assertj.core.api.Assertions.assertThat;
import static org.assertj.core.api.Assertions.assertThatThrownBy;
import static org.junit.jupiter.api.Assumptions.assumeTrue;

import io.millrace.kernels.AttentionShape;
import io.millrace.kernels.Backends;
import io.millrace.kernels.Batch;
import io.millrace.kernels.BatchLimits;
import io.millrace.kernels.DType;
import io.millrace.kernels.Extent;
import io.millrace.kernels.KvCache;
import io.millrace.kernels.KvCacheShape;
import io.millrace.kernels.Ops;
import io.millrace.kernels.Program;
import io.millrace.kernels.Rope;
import io.millrace.kernels.Tensor;
import io.millrace.kernels.Weight;
import io.millrace.kernels.WeightPart;
import java.io.IOException;
import java.lang.foreign.Arena;
import java.lang.foreign.MemorySegment;
import java.lang.foreign.ValueLayout;
import java.lang.reflect.Method;
import java.lang.reflect.Proxy;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.List;
import java.util.Random;
import java.util.concurrent.locks.LockSupport;
import java.util.function.Consumer;
import org.junit.jupiter.api.Test;

/** What only the native backend can get wrong: threads, failures inside a step, memory. */
class NativeCpuBackendTest {
    private static final BatchLimits LIMITS = new BatchLimits(300, 4, 40, 4, 2);
    private static final int HIDDEN = 72;
    private static final int VOCAB = 101;
    private static final AttentionShape SHAPE = new AttentionShape(6, 2, 12, 0.29f);

    /** A one-layer decoder over {@code LIMITS}. */
    private static final class Decoder implements AutoCloseable {
        final NativeCpuBackend backend;
        final Tensor logits;
        final Consumer<Ops> forward;
        final Program program;

        Decoder(CpuIsa isa, int threads) {
            backend = NativeCpuBackend.create(LIMITS, threads, isa);
            Random random = new Random(5);
            Tensor x = backend.activations("x", Extent.TOKENS, HIDDEN);
            Tensor normed = backend.activations("normed", Extent.TOKENS, HIDDEN);
            Tensor qkv = backend.activations("qkv", Extent.TOKENS, SHAPE.qkvCols());
            Tensor attended = backend.activations("attended", Extent.TOKENS, SHAPE.queryCols());
            Tensor picked = backend.activations("picked", Extent.LOGIT_ROWS, HIDDEN);
            logits = backend.activations("logits", Extent.LOGIT_ROWS, VOCAB);
            Tensor norm = backend.constant("norm", 1, HIDDEN, floats(random, HIDDEN));
            Rope rope = new Rope(backend.constant("cos", 400, 6, floats(random, 2400)), backend.constant("sin", 400, 6, floats(random, 2400)), 12);
            Weight table = weight(random, "table", VOCAB, HIDDEN);
            Weight in = weight(random, "in", SHAPE.qkvCols(), HIDDEN);
            Weight out = weight(random, "out", HIDDEN, SHAPE.queryCols());
            KvCache cache = backend.kvCache(new KvCacheShape(1, 80, 8, SHAPE.numKvHeads(), SHAPE.headDim(), DType.BF16));
            forward = ops -> {
                ops.embed(table, 1f, x);
                ops.rmsNorm(x, norm, 1e-5f, normed);
                ops.linear(normed, in, null, qkv);
                ops.ropeAndCache(qkv, rope, SHAPE, cache, 0);
                ops.attention(qkv, SHAPE, cache, 0, attended);
                ops.linear(attended, out, null, normed);
                ops.addRmsNorm(x, normed, norm, 1e-5f, normed); // in place, as allowed
                ops.gatherLogitRows(normed, picked);
                ops.linear(picked, table, null, logits);
                ops.sample(logits);
            };
            program = backend.record(forward);
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

        /** Puts one sequence of {@code length} tokens from {@code from} on into the batch. */
        void fill(int from, int length) {
            Batch batch = backend.batch();
            batch.clear();
            int[] ids = new int[400];
            int[] blocks = new int[40];
            for (int i = 0; i < 400; i++) {
                ids[i] = i * 37 % VOCAB;
            }
            for (int i = 0; i < 40; i++) {
                blocks[i] = 79 - i;
            }
            batch.addSequence(ids, from, length, blocks, 40);
            batch.sampling.setGreedy(batch.addLogitRow(length - 1), 2);
        }

        float[] logits() {
            return logits.data().asSlice(0, 4L * VOCAB).toArray(ValueLayout.JAVA_FLOAT);
        }

        @Override
        public void close() {
            backend.close();
        }
    }

    private static float[] floats(Random random, int count) {
        float[] values = new float[count];
        for (int i = 0; i < count; i++) {
            values[i] = random.nextFloat() - 0.3f;
        }
        return values;
    }

    /** Property: the number of threads does not change a bit, also with more threads than cores. */
    @Test
    void everyThreadCountGivesTheSameBits() {
        for (CpuIsa isa : CpuIsa.available()) {
            float[] expected = null;
            for (int threads : new int[] {1, 2, 3, 4, 9}) {
                try (Decoder decoder = new Decoder(isa, threads)) {
                    decoder.fill(0, 263);
                    decoder.backend.run(decoder.program);
                    decoder.fill(263, 1);
                    decoder.backend.run(decoder.program);
                    float[] actual = decoder.logits();
                    expected = expected == null ? actual : expected;
                    assertThat(actual).as("%s, %d threads", isa.label(), threads).isEqualTo(expected);
                }
            }
        }
    }

    /** Property: ops that do each other's work in a program leave the bits that they leave one by one. */
    @Test
    void aProgramGivesTheBitsOfItsOpsOneByOne() {
        for (CpuIsa isa : CpuIsa.available()) {
            try (Decoder decoder = new Decoder(isa, 2)) {
                List<Program> alone = new ArrayList<>();
                decoder.forward.accept((Ops) Proxy.newProxyInstance(Ops.class.getClassLoader(), new Class<?>[] {Ops.class}, (proxy, method, args) -> {
                    alone.add(decoder.backend.record(ops -> call(method, ops, args)));
                    return null;
                }));
                assertThat(alone).hasSize(decoder.program.numOps());
                decoder.fill(0, 263);
                decoder.backend.run(decoder.program);
                decoder.fill(263, 1);
                decoder.backend.run(decoder.program);
                float[] together = decoder.logits();
                decoder.fill(0, 263);
                alone.forEach(decoder.backend::run);
                decoder.fill(263, 1);
                alone.forEach(decoder.backend::run);
                assertThat(decoder.logits()).as(isa.label()).isEqualTo(together);
            }
        }
    }

    private static void call(Method method, Ops ops, Object[] args) {
        try {
            method.invoke(ops, args);
        } catch (ReflectiveOperationException e) {
            throw new AssertionError(e);
        }
    }

    /** Property: a bad batch is refused with its values, whichever thread meets it, and the next step works. */
    @Test
    void aBadBatchIsRefusedAndTheNextOneWorks() {
        try (Decoder decoder = new Decoder(CpuIsa.PORTABLE, 3)) {
            Batch batch = decoder.backend.batch();
            decoder.fill(0, 50);
            batch.tokenIds.setAtIndex(ValueLayout.JAVA_INT, 7, VOCAB + 3);
            assertThatThrownBy(() -> decoder.backend.run(decoder.program)).isInstanceOf(IllegalStateException.class)
                    .hasMessageContainingAll("NATIVE-007", "token id 104", "row 7", "101 rows");
            decoder.fill(0, 50);
            batch.blockTables.setAtIndex(ValueLayout.JAVA_INT, 1, 80);
            assertThatThrownBy(() -> decoder.backend.run(decoder.program)).hasMessageContainingAll("NATIVE-007", "block id 80", "80 blocks");
            decoder.fill(0, 50);
            batch.positions.setAtIndex(ValueLayout.JAVA_INT, 49, -1);
            assertThatThrownBy(() -> decoder.backend.run(decoder.program)).hasMessageContainingAll("NATIVE-007", "position -1");
            decoder.fill(0, 50);
            decoder.backend.run(decoder.program);
            assertThat(batch.sampling.token(0)).isBetween(0, VOCAB - 1);
        }
    }

    /** Property: a team that has nothing to do leaves the cores alone. */
    @Test
    void anIdleTeamUsesNoProcessorTime() {
        try (Decoder decoder = new Decoder(CpuIsa.PORTABLE, 4)) {
            decoder.fill(0, 10);
            decoder.backend.run(decoder.program);
            settle(50);
            long before = workerTicks();
            assumeTrue(before >= 0, "needs /proc to read the time of native threads");
            settle(300);
            // Three spinning workers would use some 60 ticks of 10 ms on two free cores.
            assertThat(workerTicks() - before).isLessThanOrEqualTo(1);
        }
    }

    private static void settle(long millis) {
        long end = System.nanoTime() + millis * 1_000_000;
        while (System.nanoTime() < end) {
            LockSupport.parkNanos(end - System.nanoTime());
        }
    }

    /** User and system time of the threads named {@code millrace-*} in clock ticks, -1 where the system does not tell. */
    private static long workerTicks() {
        long ticks = 0;
        boolean found = false;
        try (var tasks = Files.newDirectoryStream(Path.of("/proc/self/task"))) {
            for (Path task : tasks) {
                String stat = Files.readString(task.resolve("stat"));
                if (stat.contains("(millrace-")) {
                    String[] fields = stat.substring(stat.lastIndexOf(')') + 2).split(" ");
                    ticks += Long.parseLong(fields[11]) + Long.parseLong(fields[12]);
                    found = true;
                }
            }
        } catch (IOException e) {
            return -1;
        }
        return found ? ticks : -1;
    }

    /** Property: ten thousand steps leave the process as large as it was, and the Java heap untouched. */
    @Test
    void tenThousandStepsLeakNothing() throws IOException {
        try (Decoder decoder = new Decoder(CpuIsa.available().getLast(), 2)) {
            decoder.fill(0, 3);
            for (int i = 0; i < 2_000; i++) {
                decoder.backend.run(decoder.program);
            }
            long bytesBefore = allocatedBytes();
            long residentBefore = residentPages();
            for (int i = 0; i < 10_000; i++) {
                decoder.backend.run(decoder.program);
            }
            assertThat(allocatedBytes() - bytesBefore).as("bytes allocated in 10,000 steps").isLessThan(200_000);
            if (residentBefore > 0) {
                assertThat(residentPages() - residentBefore).as("pages gained").isLessThan(4_096);
            }
        }
    }

    private static long allocatedBytes() {
        var threads = (com.sun.management.ThreadMXBean) java.lang.management.ManagementFactory.getThreadMXBean();
        return threads.getCurrentThreadAllocatedBytes();
    }

    private static long residentPages() throws IOException {
        Path statm = Path.of("/proc/self/statm");
        return Files.exists(statm) ? Long.parseLong(Files.readString(statm).split(" ")[1]) : -1;
    }

    /** Property: teams come and go without leaving threads behind; closing twice is harmless; a closed backend says so. */
    @Test
    void closingEndsTheThreadsAndIsIdempotent() {
        Decoder decoder = new Decoder(CpuIsa.PORTABLE, 4);
        decoder.close();
        decoder.close();
        assertThatThrownBy(() -> decoder.backend.run(decoder.program)).hasMessageContaining("BE-002");
        for (int i = 0; i < 50; i++) {
            NativeCpuBackend.create(LIMITS, 4, CpuIsa.PORTABLE).close();
        }
    }

    @Test
    void theBackendIsChosenByNameAndDescribesItself() {
        try (var backend = Backends.create("cpu", LIMITS, 2)) {
            assertThat(backend.name()).isEqualTo("cpu");
            assertThat(backend.description()).contains(CpuInfo.query().isa().label()).contains("2 threads");
            assertThat(backend.memoryBytes()).containsOnlyKeys("weights", "constants", "activations", "kv_cache", "batch");
        }
        assertThatThrownBy(() -> NativeCpuBackend.create(LIMITS, 0, CpuIsa.PORTABLE)).hasMessageContaining("NATIVE-005");
    }

    /** Property: an instruction set that is not there is refused by name, with those that are. */
    @Test
    void anInstructionSetThatIsNotThereIsRefused() {
        List<CpuIsa> here = List.of(CpuIsa.PORTABLE, CpuIsa.AVX2);
        assertThat(CpuIsa.choose(null, here, CpuIsa.AVX2)).isEqualTo(CpuIsa.AVX2);
        assertThat(CpuIsa.choose(" Portable ", here, CpuIsa.AVX2)).isEqualTo(CpuIsa.PORTABLE);
        assertThatThrownBy(() -> CpuIsa.choose("avx512", here, CpuIsa.AVX2)).isInstanceOf(IllegalArgumentException.class)
                .hasMessageContainingAll("CPU-001", "MILLRACE_CPU_ISA=avx512", "portable, avx2");
    }

    @Test
    void theMachineIsDescribed() {
        CpuInfo info = CpuInfo.query();
        assertThat(CpuInfo.unavailableReason()).isNull();
        assertThat(info.logicalCores()).isPositive();
        assertThat(info.available()).contains(CpuIsa.PORTABLE).contains(info.isa());
        assertThat(info.library()).exists();
    }
}

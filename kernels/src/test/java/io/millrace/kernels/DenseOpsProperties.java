package io.millrace.kernels;

import static io.millrace.kernels.TestValues.ROWS;
import static io.millrace.kernels.TestValues.assertNear;
import static io.millrace.kernels.TestValues.assertPoisonedFrom;
import static io.millrace.kernels.TestValues.assertSameBits;
import static io.millrace.kernels.TestValues.poison;
import static io.millrace.kernels.TestValues.read;
import static io.millrace.kernels.TestValues.rounded;
import static io.millrace.kernels.TestValues.spiky;
import static io.millrace.kernels.TestValues.stored;
import static io.millrace.kernels.TestValues.tokens;
import static io.millrace.kernels.TestValues.weight;
import static io.millrace.kernels.TestValues.write;

import java.util.Arrays;
import java.util.SplittableRandom;
import java.util.function.DoubleUnaryOperator;
import java.util.stream.IntStream;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.EnumSource;
import org.junit.jupiter.params.provider.ValueSource;

/** Properties of the operations that work on each row by itself. */
public interface DenseOpsProperties extends BackendUnderTest {
    BatchLimits DENSE_LIMITS = new BatchLimits(64, 4, 4, 64, 4);
    /** Around the widths of vectors and tiles, and widths of real models' heads and vocabularies' tails. */
    int[] WIDTHS = {1, 2, 3, 5, 7, 8, 15, 16, 17, 31, 32, 33, 48, 63, 64, 65, 96, 127, 130, 200, 513};

    @ParameterizedTest
    @EnumSource(value = DType.class, names = {"F32", "F16", "BF16"})
    default void embedCopiesAndScalesTheRowOfEachToken(DType dtype) {
        SplittableRandom random = new SplittableRandom(1);
        for (int hidden : new int[] {1, 7, 64, 96, 130}) {
            int vocab = 37;
            float[] table = rounded(dtype, spiky(random, (long) vocab * hidden));
            for (float scale : new float[] {1f, 11.3f}) {
                try (Backend backend = create(DENSE_LIMITS, 2)) {
                    Weight weight = weight(backend, "table", dtype, hidden, table, 30, 7);
                    Tensor out = backend.activations("out", Extent.TOKENS, hidden);
                    Program program = backend.record(ops -> ops.embed(weight, scale, out));
                    for (int rows : ROWS) {
                        int[] ids = random.ints(rows, 0, vocab).toArray();
                        ids[0] = vocab - 1;
                        backend.batch().clear();
                        backend.batch().addSequence(ids, 0, rows, new int[] {0}, 1);
                        poison(backend, out);
                        backend.run(program);
                        double[] expected = IntStream.range(0, rows * hidden)
                                .mapToDouble(i -> (double) table[ids[i / hidden] * hidden + i % hidden] * scale).toArray();
                        // A product of two floats is rounded once.
                        assertNear("embed", read(backend, out, rows), expected, relative(expected, 1.2e-7 + weightTolerance(dtype), 1e-38));
                        assertPoisonedFrom(backend, out, rows);
                    }
                }
            }
        }
    }

    @Test
    default void rmsNormDividesByTheRootMeanSquare() {
        SplittableRandom random = new SplittableRandom(2);
        for (int cols : WIDTHS) {
            float[] gain = spiky(random, cols);
            for (float eps : new float[] {1e-5f, 1e-6f, 0.5f}) {
                try (Backend backend = create(DENSE_LIMITS, 2)) {
                    Tensor x = backend.activations("x", Extent.TOKENS, cols);
                    Tensor out = backend.activations("out", Extent.TOKENS, cols);
                    Tensor weight = backend.constant("gain", 1, cols, gain);
                    Program program = backend.record(ops -> ops.rmsNorm(x, weight, eps, out));
                    for (int rows : new int[] {1, 3, 17, 64}) {
                        float[] input = stored(x, spiky(random, (long) rows * cols));
                        write(backend, x, input);
                        poison(backend, out);
                        tokens(backend.batch(), rows);
                        backend.run(program);
                        double[] expected = expectedNorm(input, gain, eps, cols);
                        assertNear("rmsNorm of " + rows + " x " + cols, read(backend, out, rows), expected, relative(expected, 3e-6 + storedTolerance(), 1e-9));
                        assertPoisonedFrom(backend, out, rows);
                        assertSameBits("rmsNorm leaves x alone", read(backend, x, rows), input);
                    }
                }
            }
        }
    }

    @Test
    default void rmsNormStandsHugeAndTinyRows() {
        int cols = 96;
        float[] gain = new float[cols];
        Arrays.fill(gain, 1f);
        try (Backend backend = create(DENSE_LIMITS, 1)) {
            Tensor x = backend.activations("x", Extent.TOKENS, cols);
            Tensor weight = backend.constant("gain", 1, cols, gain);
            Program inPlace = backend.record(ops -> ops.rmsNorm(x, weight, 1e-6f, x));
            for (float size : new float[] {1e15f, 1e-2f, 1f}) {
                float[] input = new float[cols];
                for (int c = 0; c < cols; c++) {
                    input[c] = size * (c % 7 - 3 + c * 1e-3f);
                }
                input = stored(x, input);
                write(backend, x, input);
                tokens(backend.batch(), 1);
                backend.run(inPlace);
                double[] expected = expectedNorm(input, gain, 1e-6f, cols);
                assertNear("rmsNorm in place at size " + size, read(backend, x, 1), expected, relative(expected, 3e-6 + storedTolerance(), 1e-9));
            }
        }
    }

    @Test
    default void addRmsNormUpdatesTheResidualAndNormsIt() {
        SplittableRandom random = new SplittableRandom(3);
        for (int cols : new int[] {1, 7, 33, 64, 130, 513}) {
            float[] gain = spiky(random, cols);
            try (Backend backend = create(DENSE_LIMITS, 2)) {
                Tensor residual = backend.activations("residual", Extent.TOKENS, cols);
                Tensor delta = backend.activations("delta", Extent.TOKENS, cols);
                Tensor out = backend.activations("out", Extent.TOKENS, cols);
                Tensor weight = backend.constant("gain", 1, cols, gain);
                Program program = backend.record(ops -> ops.addRmsNorm(residual, delta, weight, 1e-5f, out));
                for (int rows : ROWS) {
                    float[] before = stored(residual, spiky(random, (long) rows * cols));
                    float[] change = stored(residual, spiky(random, (long) rows * cols));
                    poison(backend, residual);
                    poison(backend, out);
                    write(backend, residual, before);
                    write(backend, delta, change);
                    tokens(backend.batch(), rows);
                    backend.run(program);
                    float[] sum = new float[before.length];
                    for (int i = 0; i < sum.length; i++) {
                        sum[i] = before[i] + change[i];
                    }
                    sum = stored(residual, sum);
                    assertSameBits("residual", read(backend, residual, rows), sum);
                    double[] expected = expectedNorm(sum, gain, 1e-5f, cols);
                    assertNear("addRmsNorm", read(backend, out, rows), expected, relative(expected, 3e-6 + storedTolerance(), 1e-9));
                    assertPoisonedFrom(backend, out, rows);
                    assertPoisonedFrom(backend, residual, rows);
                }
            }
        }
    }

    @Test
    default void addIsOneFloatAddition() {
        SplittableRandom random = new SplittableRandom(4);
        for (int cols : new int[] {1, 17, 200}) {
            try (Backend backend = create(DENSE_LIMITS, 2)) {
                Tensor residual = backend.activations("residual", Extent.TOKENS, cols);
                Tensor delta = backend.activations("delta", Extent.TOKENS, cols);
                Program program = backend.record(ops -> ops.add(residual, delta));
                for (int rows : ROWS) {
                    float[] before = stored(residual, spiky(random, (long) rows * cols));
                    float[] change = stored(residual, spiky(random, (long) rows * cols));
                    poison(backend, residual);
                    write(backend, residual, before);
                    write(backend, delta, change);
                    tokens(backend.batch(), rows);
                    backend.run(program);
                    for (int i = 0; i < before.length; i++) {
                        before[i] += change[i];
                    }
                    assertSameBits("add", read(backend, residual, rows), stored(residual, before));
                    assertPoisonedFrom(backend, residual, rows);
                }
            }
        }
    }

    @ParameterizedTest
    @EnumSource(value = DType.class, names = {"F32", "F16", "BF16"})
    default void linearIsRowsTimesTransposedWeightPlusBias(DType dtype) {
        SplittableRandom random = new SplittableRandom(5);
        for (int outputs : WIDTHS) {
            int inputs = WIDTHS[random.nextInt(WIDTHS.length)];
            checkLinear(dtype, inputs, outputs, random, outputs % 2 == 0);
        }
        for (int inputs : WIDTHS) {
            checkLinear(dtype, inputs, WIDTHS[random.nextInt(WIDTHS.length)], random, inputs % 3 == 0);
        }
        checkLinear(dtype, 513, 513, random, true);
    }

    private void checkLinear(DType dtype, int inputs, int outputs, SplittableRandom random, boolean withBias) {
        float[] w = rounded(dtype, spiky(random, (long) inputs * outputs));
        float[] b = withBias ? spiky(random, outputs) : null;
        int cut = outputs / 3;
        int[] parts = cut == 0 ? new int[] {outputs} : new int[] {cut, 1, outputs - cut - 1};
        try (Backend backend = create(DENSE_LIMITS, 2)) {
            Weight weight = weight(backend, "w", dtype, inputs, w, Arrays.stream(parts).filter(p -> p > 0).toArray());
            Tensor x = backend.activations("x", Extent.TOKENS, inputs);
            Tensor out = backend.activations("out", Extent.TOKENS, outputs);
            Tensor bias = withBias ? backend.constant("b", 1, outputs, b) : null;
            Program program = backend.record(ops -> ops.linear(x, weight, bias, out));
            for (int rows : ROWS) {
                float[] input = stored(x, spiky(random, (long) rows * inputs));
                poison(backend, x); // What lies beyond the step's rows must not leak in.
                write(backend, x, input);
                poison(backend, out);
                tokens(backend.batch(), rows);
                backend.run(program);
                double[] expected = new double[rows * outputs];
                double[] tolerance = new double[rows * outputs];
                for (int i = 0; i < expected.length; i++) {
                    int t = i / outputs;
                    int n = i % outputs;
                    double size = withBias ? Math.abs(b[n]) : 0;
                    expected[i] = withBias ? b[n] : 0;
                    for (int k = 0; k < inputs; k++) {
                        double product = (double) input[t * inputs + k] * w[n * inputs + k];
                        expected[i] += product;
                        size += Math.abs(product);
                    }
                    tolerance[i] = linearTolerance(dtype) * size + 1e-12;
                }
                assertNear("linear " + dtype + " of " + rows + " x " + inputs + " -> " + outputs, read(backend, out, rows), expected, tolerance);
                assertPoisonedFrom(backend, out, rows);
            }
        }
    }

    @ParameterizedTest
    @EnumSource(value = DType.class, names = {"F32", "F16", "BF16"})
    default void linearOfARowIsTheSameBitsInAnyCompanyAndWithAnyThreads(DType dtype) {
        SplittableRandom random = new SplittableRandom(6);
        for (int[] size : new int[][] {{96, 130}, {513, 65}, {64, 200}, {33, 7}}) {
            float[] w = spiky(random, (long) size[0] * size[1]);
            float[] input = spiky(random, 64L * size[0]);
            float[] alone = null;
            for (int threads : new int[] {1, 2, 3}) {
                try (Backend backend = create(DENSE_LIMITS, threads)) {
                    Weight weight = weight(backend, "w", dtype, size[0], w, size[1]);
                    Tensor x = backend.activations("x", Extent.TOKENS, size[0]);
                    Tensor out = backend.activations("out", Extent.TOKENS, size[1]);
                    Program program = backend.record(ops -> ops.linear(x, weight, null, out));
                    if (alone == null) {
                        alone = new float[64 * size[1]];
                        for (int t = 0; t < 64; t++) {
                            write(backend, x, Arrays.copyOfRange(input, t * size[0], (t + 1) * size[0]));
                            tokens(backend.batch(), 1);
                            backend.run(program);
                            System.arraycopy(read(backend, out, 1), 0, alone, t * size[1], size[1]);
                        }
                    }
                    for (int rows : ROWS) {
                        write(backend, x, input);
                        poison(backend, out);
                        tokens(backend.batch(), rows);
                        backend.run(program);
                        assertSameBits("linear " + dtype + ", " + rows + " rows, " + threads + " threads", read(backend, out, rows),
                                Arrays.copyOf(alone, rows * size[1]));
                    }
                }
            }
        }
    }

    @ParameterizedTest
    @ValueSource(ints = {1, 3, 8, 17, 64, 100, 513, 2050})
    default void swigluGatesWithSilu(int cols) {
        gates(cols, Ops::swiglu, gate -> gate / (1 + Math.exp(-gate)));
    }

    @ParameterizedTest
    @ValueSource(ints = {1, 3, 8, 17, 64, 100, 513, 2050})
    default void gegluGatesWithTheTanhFormOfGelu(int cols) {
        // The same function by another formula: no tanh near -1, from which little would be left.
        gates(cols, Ops::geglu, x -> x / (1 + Math.exp(-2 * Math.sqrt(2 / Math.PI) * (x + 0.044715 * x * x * x))));
    }

    /** An op of gate and up over {@code [gate | up]}. */
    interface Gated {
        void record(Ops ops, Tensor gateUp, Tensor out);
    }

    private void gates(int cols, Gated op, DoubleUnaryOperator activation) {
        SplittableRandom random = new SplittableRandom(7);
        try (Backend backend = create(DENSE_LIMITS, 2)) {
            Tensor gateUp = backend.activations("gateUp", Extent.TOKENS, 2L * cols);
            Tensor out = backend.activations("out", Extent.TOKENS, cols);
            Program program = backend.record(ops -> op.record(ops, gateUp, out));
            for (int rows : ROWS) {
                float[] input = spiky(random, 2L * rows * cols);
                input[0] = rows % 2 == 0 ? 1e4f : -1e4f; // exp overflows a float on one side
                input = stored(gateUp, input);
                write(backend, gateUp, input);
                poison(backend, out);
                tokens(backend.batch(), rows);
                backend.run(program);
                double[] expected = new double[rows * cols];
                double[] tolerance = new double[rows * cols];
                for (int i = 0; i < expected.length; i++) {
                    double gate = input[i / cols * 2 * cols + i % cols];
                    double up = input[i / cols * 2 * cols + cols + i % cols];
                    expected[i] = activation.applyAsDouble(gate) * up;
                    tolerance[i] = (3e-6 + storedTolerance()) * Math.abs(expected[i]) + 1e-7 * Math.abs(up);
                }
                if (rows * cols > 1) {
                    assertNear(rows + " x " + cols, read(backend, out, rows), expected, tolerance);
                }
                assertPoisonedFrom(backend, out, rows);
            }
        }
    }

    @ParameterizedTest
    @ValueSource(ints = {1, 7, 16, 17, 100, 513, 2050})
    default void softCapBendsTowardsTheCapAndKeepsSmallValues(int cols) {
        SplittableRandom random = new SplittableRandom(17);
        for (float cap : new float[] {0.5f, 8f, 30f}) {
            try (Backend backend = create(DENSE_LIMITS, 2)) {
                Tensor x = backend.logits("x", cols);
                Program program = backend.record(ops -> ops.softCap(x, cap));
                for (int rows : new int[] {1, 3, 64}) {
                    float[] input = spiky(random, (long) rows * cols);
                    input[input.length / 2] = -1e-20f;
                    input[0] = 1e30f;
                    poison(backend, x);
                    write(backend, x, input);
                    backend.batch().clear();
                    backend.batch().addSequence(new int[rows], 0, rows, new int[] {0, 1, 2, 3}, 4);
                    for (int r = 0; r < rows; r++) {
                        backend.batch().addLogitRow(r);
                    }
                    backend.run(program);
                    double[] expected = new double[input.length];
                    for (int i = 0; i < expected.length; i++) {
                        expected[i] = cap * Math.tanh((double) input[i] / cap);
                    }
                    assertNear("softCap of " + rows + " x " + cols, read(backend, x, rows), expected, relative(expected, 1e-6, 1e-30));
                    assertPoisonedFrom(backend, x, rows);
                }
            }
        }
    }

    @Test
    default void gatherPicksTheRowsWhoseLogitsAreWantedInTheirOrder() {
        SplittableRandom random = new SplittableRandom(8);
        int cols = 33;
        try (Backend backend = create(DENSE_LIMITS, 2)) {
            Tensor x = backend.activations("x", Extent.TOKENS, cols);
            Tensor out = backend.activations("out", Extent.LOGIT_ROWS, cols);
            Program program = backend.record(ops -> ops.gatherLogitRows(x, out));
            for (int rows : ROWS) {
                float[] input = stored(x, spiky(random, (long) rows * cols));
                write(backend, x, input);
                poison(backend, out);
                tokens(backend.batch(), rows);
                int[] wanted = random.ints(rows, 0, rows).limit(1 + rows / 2).toArray();
                for (int t : wanted) {
                    backend.batch().addLogitRow(t);
                }
                backend.run(program);
                float[] expected = new float[wanted.length * cols];
                for (int r = 0; r < wanted.length; r++) {
                    System.arraycopy(input, wanted[r] * cols, expected, r * cols, cols);
                }
                assertSameBits("gather", read(backend, out, wanted.length), expected);
                assertPoisonedFrom(backend, out, wanted.length);
            }
        }
    }

    @Test
    default void aProgramRunsItsOpsInOrder() {
        SplittableRandom random = new SplittableRandom(9);
        int cols = 40;
        float[] w = spiky(random, (long) cols * cols);
        float[] input = spiky(random, 7L * cols);
        try (Backend backend = create(DENSE_LIMITS, 3)) {
            Weight weight = weight(backend, "w", DType.F32, cols, w, cols);
            Tensor x = backend.activations("x", Extent.TOKENS, cols);
            Tensor y = backend.activations("y", Extent.TOKENS, cols);
            Program chain = backend.record(ops -> {
                for (int i = 0; i < 10; i++) {
                    ops.linear(x, weight, null, y);
                    ops.add(x, y);
                }
            });
            Program once = backend.record(ops -> {
                ops.linear(x, weight, null, y);
                ops.add(x, y);
            });
            tokens(backend.batch(), 7);
            write(backend, x, input);
            backend.run(chain);
            float[] inOneProgram = read(backend, x, 7);
            write(backend, x, input);
            for (int i = 0; i < 10; i++) {
                backend.run(once);
            }
            assertSameBits("a chain of 20 ops", inOneProgram, read(backend, x, 7));
        }
    }

    private static double[] expectedNorm(float[] x, float[] gain, float eps, int cols) {
        double[] expected = new double[x.length];
        for (int row = 0; row < x.length; row += cols) {
            int first = row;
            double mean = IntStream.range(0, cols).mapToDouble(c -> Math.pow(x[first + c], 2)).sum() / cols;
            for (int c = 0; c < cols; c++) {
                expected[row + c] = gain[c] * x[row + c] / Math.sqrt(mean + (double) eps);
            }
        }
        return expected;
    }

    private static double[] relative(double[] expected, double relative, double absolute) {
        return Arrays.stream(expected).map(e -> Math.abs(e) * relative + absolute).toArray();
    }
}

package io.millrace.kernels;

import static io.millrace.kernels.TestValues.ROWS;
import static io.millrace.kernels.TestValues.assertNear;
import static io.millrace.kernels.TestValues.assertPoisonedFrom;
import static io.millrace.kernels.TestValues.assertSameBits;
import static io.millrace.kernels.TestValues.poison;
import static io.millrace.kernels.TestValues.read;
import static io.millrace.kernels.TestValues.spiky;
import static io.millrace.kernels.TestValues.stored;
import static io.millrace.kernels.TestValues.tokens;
import static io.millrace.kernels.TestValues.write;
import static org.assertj.core.api.Assertions.assertThat;
import static org.assertj.core.api.Assertions.assertThatThrownBy;

import java.lang.foreign.Arena;
import java.lang.foreign.MemorySegment;
import java.util.Arrays;
import java.util.SplittableRandom;
import java.util.stream.IntStream;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.EnumSource;

/** Properties of weights in quantised formats, alone and mixed with others. */
public interface QuantizedProperties extends BackendUnderTest {
    /** Activations that share a scale where they are rounded to bytes. */
    int RUN = 64;
    BatchLimits QUANT_LIMITS = new BatchLimits(300, 4, 4, 300, 4);
    /** Rounding of float sums and scales, relative to the sum of |activation| * (largest |weight| of its block). */
    double FLOAT_TOLERANCE = 1e-5;

    @ParameterizedTest
    @EnumSource(QuantFormat.class)
    default void quantisedLinearIsRowsTimesTransposedWeight(QuantFormat format) {
        SplittableRandom random = new SplittableRandom(21);
        int block = format.blockElements();
        int[] rows = emulated() ? new int[] {1, 9, 33} : ROWS;
        for (int outputs : new int[] {1, 31, 32, 65, 130}) {
            checkLinear(random, block * (1 + random.nextInt(3)), outputs % 2 == 0, rows, QuantizedMatrix.random(random, format, outputs));
        }
        for (int blocks : new int[] {2, 768 / block, 1056 / block}) {
            checkLinear(random, block * blocks, blocks % 2 == 0, rows, QuantizedMatrix.random(random, format, 1 + random.nextInt(70)));
        }
        // More rows than pass over the weights together.
        checkLinear(random, 2 * block, false, new int[] {repeated(241, 130)}, QuantizedMatrix.random(random, format, 33));
    }

    /** q and k in one format, v in another, as files have them; a seam inside a tile and a piece narrower than one. */
    @Test
    default void linearTakesPartsOfDifferentFormats() {
        SplittableRandom random = new SplittableRandom(22);
        checkLinear(random, 768, true, emulated() ? new int[] {3, 40} : ROWS, QuantizedMatrix.random(random, QuantFormat.Q4_K, 70), QuantizedMatrix.random(random, QuantFormat.Q4_K, 5),
                QuantizedMatrix.random(random, QuantFormat.Q6_K, 33));
        checkLinear(random, 256, true, emulated() ? new int[] {3, 40} : ROWS, QuantizedMatrix.random(random, QuantFormat.Q8_0, 3), QuantizedMatrix.random(random, DType.F32, 40),
                QuantizedMatrix.random(random, QuantFormat.Q5_K, 64), QuantizedMatrix.random(random, DType.F16, 1),
                QuantizedMatrix.random(random, QuantFormat.Q4_1, 31), QuantizedMatrix.random(random, QuantFormat.Q8_0, 32));
    }

    /** Rows in pairs, as files have query and key rows, are the rows put in order: linear and embed, heads that fill tiles and heads that do not. */
    @Test
    default void rowsInPairsAreTakenInOrder() {
        SplittableRandom random = new SplittableRandom(23);
        for (WeightFormat format : new WeightFormat[] {DType.F32, DType.BF16, QuantFormat.Q8_0, QuantFormat.Q4_K}) {
            for (int pairRows : new int[] {64, 12, 2, 192}) {
                try (Backend backend = create(QUANT_LIMITS, 2); Arena arena = Arena.ofShared()) {
                    WeightPart plain = QuantizedMatrix.random(random, format, 192).make(256, arena);
                    WeightPart pairs = new WeightPart("pairs", format, 192, 256, plain.data(), pairRows);
                    MemorySegment ordered = arena.allocate(plain.data().byteSize());
                    long rowBytes = format.byteSize(1, 256);
                    for (long head = 0; head < 192; head += pairRows) {
                        for (long i = 0; i < pairRows; i++) {
                            long to = head + i % 2 * pairRows / 2 + i / 2;
                            MemorySegment.copy(plain.data(), (head + i) * rowBytes, ordered, to * rowBytes, rowBytes);
                        }
                    }
                    WeightPart rest = QuantizedMatrix.random(random, format, 7).make(256, arena);
                    Weight expected = backend.weight("ordered", rest, new WeightPart("ordered", format, 192, 256, ordered));
                    float[] input = spiky(random, 3 * 256);
                    float[] of = outputs(backend, expected, input);
                    assertSameBits(format + " in pairs of heads of " + pairRows, outputs(backend, backend.weight("w", rest, pairs), input), of);
                    assertSameBits(format + " borrowed", outputs(backend, backend.borrowedWeight("w", rest, pairs), input), of);
                    while (backend.packSome(1 << 16) > 0) {
                        // Before its sources go.
                    }
                }
            }
        }
    }

    private static float[] outputs(Backend backend, Weight weight, float[] input) {
        Tensor x = backend.activations("x", Extent.TOKENS, weight.inFeatures());
        Tensor embedded = backend.activations("embedded", Extent.TOKENS, weight.inFeatures());
        Tensor out = backend.activations("out", Extent.TOKENS, weight.outFeatures());
        Program program = backend.record(ops -> {
            ops.linear(x, weight, null, out);
            ops.embed(weight, 1f, embedded);
        });
        int rows = (int) (input.length / weight.inFeatures());
        write(backend, x, input);
        backend.batch().clear();
        backend.batch().addSequence(new int[] {5, 100, 198}, 0, rows, new int[] {0}, 1);
        backend.run(program);
        float[] first = read(backend, out, rows);
        float[] second = read(backend, embedded, rows);
        float[] both = Arrays.copyOf(first, first.length + second.length);
        System.arraycopy(second, 0, both, first.length, second.length);
        return both;
    }

    private void checkLinear(SplittableRandom random, int inputs, boolean withBias, int[] rowCounts, QuantizedMatrix.Maker... makers) {
        QuantizedMatrix w = QuantizedMatrix.of(inputs, makers);
        int outputs = w.rows();
        float[] b = withBias ? spiky(random, outputs) : null;
        try (Backend backend = create(QUANT_LIMITS, 2)) {
            Weight weight = w.takenOver(backend);
            Tensor x = backend.activations("x", Extent.TOKENS, inputs);
            Tensor out = backend.activations("out", Extent.TOKENS, outputs);
            Tensor bias = withBias ? backend.constant("b", 1, outputs, b) : null;
            Program program = backend.record(ops -> ops.linear(x, weight, bias, out));
            for (int rows : rowCounts) {
                float[] input = stored(x, spiky(random, (long) rows * inputs));
                Arrays.fill(input, 0, inputs > 2 * RUN ? RUN : 0, 0f); // a run without a scale
                float[] rounded = roundedToBytes(input, inputs);
                poison(backend, x);
                write(backend, x, input);
                poison(backend, out);
                tokens(backend.batch(), rows);
                backend.run(program);
                float[] actual = read(backend, out, rows);
                double[] expected = new double[rows * outputs];
                double[] ofRounded = new double[rows * outputs];
                double[] tolerance = new double[rows * outputs];
                double[] floatTolerance = new double[rows * outputs];
                for (int i = 0; i < expected.length; i++) {
                    int t = i / outputs;
                    int n = i % outputs;
                    boolean rounds = roundsActivations() && w.formatOf(n) instanceof QuantFormat;
                    expected[i] = withBias ? b[n] : 0;
                    ofRounded[i] = expected[i];
                    double size = Math.abs(expected[i]);
                    double rounding = 0;
                    for (int k = 0; k < inputs; k++) {
                        float value = input[t * inputs + k];
                        expected[i] += (double) value * w.at(n, k);
                        ofRounded[i] += (double) (rounds ? rounded[t * inputs + k] : value) * w.at(n, k);
                        size += Math.abs(value) * w.largestNear(n, k);
                        // A byte holds a value to within half a step of 1/127 of the largest of its run.
                        rounding += rounds ? largest(input, inputs, t, k) / 254 * Math.abs(w.at(n, k)) : 0;
                    }
                    floatTolerance[i] = (FLOAT_TOLERANCE + (w.formatOf(n) instanceof DType plain ? linearTolerance(plain) : weightTolerance(w.formatOf(n)))) * size + 1e-12;
                    tolerance[i] = rounding * 1.0001 + floatTolerance[i];
                }
                String what = "linear " + weight.formats() + " of " + rows + " x " + inputs + " -> " + outputs;
                assertNear(what, actual, expected, tolerance);
                assertNear(what + " on rounded activations", actual, ofRounded, floatTolerance);
                assertPoisonedFrom(backend, out, rows);
            }
        }
    }

    /** The largest magnitude of the run that column {@code k} of row {@code t} is in. */
    private static float largest(float[] values, int cols, int t, int k) {
        float most = 0;
        for (int i = k / RUN * RUN; i < Math.min(k / RUN * RUN + RUN, cols); i++) {
            most = Math.max(most, Math.abs(values[t * cols + i]));
        }
        return most;
    }

    /** Every value in steps of 1/127 of the largest of its run, to nearest even. */
    private static float[] roundedToBytes(float[] values, int cols) {
        float[] out = new float[values.length];
        for (int i = 0; i < values.length; i++) {
            float most = largest(values, cols, i / cols, i % cols);
            out[i] = most == 0 ? 0 : (float) Math.rint(values[i] * (127f / most)) * (most / 127f);
        }
        return out;
    }

    @ParameterizedTest
    @EnumSource(QuantFormat.class)
    default void quantisedLinearOfARowIsTheSameBitsInAnyCompanyAndWithAnyThreads(QuantFormat format) {
        SplittableRandom random = new SplittableRandom(23);
        QuantizedMatrix w = QuantizedMatrix.of(768, QuantizedMatrix.random(random, format, 70), QuantizedMatrix.random(random, QuantFormat.Q6_K, 40),
                QuantizedMatrix.random(random, DType.BF16, 9));
        int outputs = w.rows();
        int most = 244;
        float[] input = spiky(random, (long) most * 768);
        float[] alone = null;
        for (int threads : new int[] {1, 3}) {
            try (Backend backend = create(QUANT_LIMITS, threads)) {
                Weight weight = w.takenOver(backend);
                Tensor x = backend.activations("x", Extent.TOKENS, 768);
                Tensor out = backend.activations("out", Extent.TOKENS, outputs);
                Program program = backend.record(ops -> ops.linear(x, weight, null, out));
                if (alone == null) {
                    alone = new float[most * outputs];
                    for (int t = 0; t < most; t++) {
                        write(backend, x, Arrays.copyOfRange(input, t * 768, (t + 1) * 768));
                        tokens(backend.batch(), 1);
                        backend.run(program);
                        System.arraycopy(read(backend, out, 1), 0, alone, t * outputs, outputs);
                    }
                }
                for (int rows : new int[] {2, 5, 7, 13, 33, most}) {
                    write(backend, x, input);
                    poison(backend, out);
                    tokens(backend.batch(), rows);
                    backend.run(program);
                    assertSameBits(format + ", " + rows + " rows, " + threads + " threads", read(backend, out, rows), Arrays.copyOf(alone, rows * outputs));
                }
            }
        }
    }

    @ParameterizedTest
    @EnumSource(QuantFormat.class)
    default void embedDecodesQuantisedTables(QuantFormat format) {
        SplittableRandom random = new SplittableRandom(24);
        QuantizedMatrix table = QuantizedMatrix.of(768, QuantizedMatrix.random(random, format, 45), QuantizedMatrix.random(random, DType.F16, 7),
                QuantizedMatrix.random(random, QuantFormat.Q8_0, 33));
        float scale = 1.7f;
        try (Backend backend = create(QUANT_LIMITS, 2)) {
            Weight weight = table.takenOver(backend);
            Tensor out = backend.activations("out", Extent.TOKENS, 768);
            Program program = backend.record(ops -> ops.embed(weight, scale, out));
            int[] ids = IntStream.range(0, table.rows()).map(i -> (i * 37 + 84) % 85).toArray();
            backend.batch().clear();
            backend.batch().addSequence(ids, 0, ids.length, new int[] {0}, 1);
            poison(backend, out);
            backend.run(program);
            double[] expected = new double[ids.length * 768];
            double[] tolerance = new double[expected.length];
            for (int i = 0; i < expected.length; i++) {
                expected[i] = (double) table.at(ids[i / 768], i % 768) * scale;
                // The values are exact or as the backend says, the product is rounded once.
                tolerance[i] = (1.2e-7 + weightTolerance(table.formatOf(ids[i / 768]))) * Math.abs(expected[i]) + 1e-38;
            }
            assertNear("embed from " + format, read(backend, out, ids.length), expected, tolerance);
            assertPoisonedFrom(backend, out, ids.length);
        }
    }

    /** A broken row says so, and breaks no other. */
    @ParameterizedTest
    @EnumSource(QuantFormat.class)
    default void activationsThatAreNotFiniteSpoilTheirOwnRowAlone(QuantFormat format) {
        SplittableRandom random = new SplittableRandom(25);
        QuantizedMatrix w = QuantizedMatrix.of(512, QuantizedMatrix.random(random, format, 40));
        try (Backend backend = create(QUANT_LIMITS, 2)) {
            Weight weight = w.takenOver(backend);
            Tensor x = backend.activations("x", Extent.TOKENS, 512);
            Tensor out = backend.activations("out", Extent.TOKENS, 40);
            Program program = backend.record(ops -> ops.linear(x, weight, null, out));
            float[] input = spiky(random, 8 * 512);
            for (float bad : new float[] {Float.NaN, Float.POSITIVE_INFINITY, Float.NEGATIVE_INFINITY}) {
                input[3 * 512 + 300] = bad;
                write(backend, x, input);
                tokens(backend.batch(), 8);
                backend.run(program);
                float[] actual = read(backend, out, 8);
                for (int i = 0; i < actual.length; i++) {
                    if (i / 40 != 3) {
                        assertThat(actual[i]).as("row %d beside a row with %s", i / 40, bad).isFinite();
                    } else if (w.at(i % 40, 300) != 0) {
                        assertThat(Float.isFinite(actual[i])).as("row with %s", bad).isFalse();
                    }
                }
            }
        }
    }

    /** Property: a backend rounds weights to the very bits that the scalar definition says, ties, spikes, zeros and tiny values included. */
    @ParameterizedTest
    @EnumSource(value = QuantFormat.class, names = {"Q8_0", "Q4_0", "Q5_0", "Q4_K", "Q6_K"})
    default void quantisingHasOneDefinition(QuantFormat format) {
        SplittableRandom random = new SplittableRandom(27);
        int rows = repeated(300, 70);
        int cols = 512;
        for (DType dtype : new DType[] {DType.F32, DType.F16, DType.BF16}) {
            float[] values = TestValues.normal(random, rows * cols, 0.02);
            System.arraycopy(TestValues.spiky(random, cols * 20), 0, values, 0, cols * 20);
            for (int i = 20 * cols; i < 60 * cols; i++) {
                int kind = i / cols % 5;
                values[i] = kind == 0 ? 0 : kind == 1 ? (i % 9 - 4) * 0.25f : kind == 2 ? -1.5f : kind == 3 ? values[i] * 1e-6f : values[i] * 1e-35f;
            }
            try (Arena arena = Arena.ofShared(); Backend one = create(new BatchLimits(1, 1, 1, 1, 0), 1);
                    Backend three = create(new BatchLimits(1, 1, 1, 1, 0), 3)) {
                MemorySegment data = arena.allocate((long) rows * cols * dtype.bytes() + 1).asSlice(1); // files align nothing
                for (int i = 0; i < values.length; i++) {
                    dtype.store(data, i, values[i]);
                }
                WeightPart plain = new WeightPart("w", dtype, rows, cols, data);
                WeightPart expected = Quantizer.quantize(plain, format, arena);
                for (Backend backend : new Backend[] {one, three}) {
                    long mismatch = backend.quantize(plain, format, arena).data().mismatch(expected.data());
                    assertThat(mismatch).as("%s from %s: first byte that differs, of blocks of %s", format, dtype, format.blockBytes()).isEqualTo(-1);
                }
                dtype.store(data, 7L * cols + 9, Float.NaN);
                assertThatThrownBy(() -> one.quantize(plain, format, arena)).hasMessageContainingAll("OP-007", "NaN", "row 7", "column 9");
            }
        }
    }

    /** Weights quantised at load run like those from a file. */
    @ParameterizedTest
    @EnumSource(value = QuantFormat.class, names = {"Q8_0", "Q4_0", "Q5_0", "Q4_K", "Q6_K"})
    default void weightsQuantisedAtLoadAreTakenOver(QuantFormat format) {
        SplittableRandom random = new SplittableRandom(26);
        try (Arena arena = Arena.ofShared()) {
            WeightPart plain = QuantizedMatrix.of(512, QuantizedMatrix.random(random, DType.BF16, 50)).parts(arena)[0];
            WeightPart part = Quantizer.quantize(plain, format, arena);
            checkLinear(random, 512, false, new int[] {1, 7, 40}, (cols, into) -> part);
        }
    }
}

package io.millrace.kernels;

import static org.assertj.core.api.Assertions.assertThat;

import java.lang.foreign.Arena;
import java.lang.foreign.MemorySegment;
import java.util.Arrays;
import java.util.SplittableRandom;

/** Inputs, poison and comparisons of the suite. */
final class TestValues {
    static final int[] ROWS = {1, 2, 3, 5, 7, 8, 16, 17, 31, 33, 64};
    private static final byte GARBAGE = 0x55;

    private TestValues() {}

    /** Normal values of which a few are fifty times as large, as activations of trained models have them, and a few are 0. */
    static float[] spiky(SplittableRandom random, long count) {
        float[] values = new float[Math.toIntExact(count)];
        for (int i = 0; i < values.length; i++) {
            double v = random.nextGaussian();
            int kind = random.nextInt(64);
            values[i] = (float) (kind == 0 ? 50 * v : kind == 1 ? 0 : v);
        }
        return values;
    }

    /** Normal values with a standard deviation of {@code scale}. */
    static float[] normal(SplittableRandom random, long count, double scale) {
        float[] values = new float[Math.toIntExact(count)];
        for (int i = 0; i < values.length; i++) {
            values[i] = (float) (random.nextGaussian() * scale);
        }
        return values;
    }

    /** The values as they are once stored as {@code dtype}. */
    static float[] rounded(DType dtype, float[] values) {
        float[] out = new float[values.length];
        try (Arena arena = Arena.ofConfined()) {
            MemorySegment cell = arena.allocate(dtype.bytes());
            for (int i = 0; i < values.length; i++) {
                dtype.store(cell, 0, values[i]);
                out[i] = dtype.load(cell, 0);
            }
        }
        return out;
    }

    /** Vectors of heads as they are once stored as {@code type}, by its definition. */
    static float[] rounded(KvCacheType type, int headDim, float[] vectors) {
        if (type != KvCacheType.Q8_0) {
            return rounded(type.elements(), vectors);
        }
        float[] out = new float[vectors.length];
        for (int head = 0; head < vectors.length; head += headDim) {
            for (int from = head; from < head + headDim; from += KvCacheType.SCALE_BLOCK) {
                int to = Math.min(head + headDim, from + KvCacheType.SCALE_BLOCK);
                float largest = 0;
                for (int i = from; i < to; i++) {
                    largest = Math.max(largest, Math.abs(vectors[i]));
                }
                float scale = Float.float16ToFloat(Float.floatToFloat16(largest / 127));
                if (scale < largest / 127) {
                    scale = Float.float16ToFloat((short) (Float.floatToFloat16(scale) + 1));
                }
                for (int i = from; i < to; i++) {
                    out[i] = scale == 0 ? 0 : scale * (byte) Math.rint(vectors[i] / scale);
                }
            }
        }
        return out;
    }

    /**
     * A weight of {@code backend} made of {@code values} {@code [sum of partRows, cols]}, cut into parts of the given heights. The
     * source memory is misaligned, as a slice of a checkpoint may be, and overwritten once the backend has taken the parts over.
     */
    static Weight weight(Backend backend, String name, DType dtype, long cols, float[] values, int... partRows) {
        try (Arena arena = Arena.ofConfined()) {
            MemorySegment memory = arena.allocate((long) values.length * dtype.bytes() + 1, 64);
            MemorySegment data = memory.asSlice(1);
            for (int i = 0; i < values.length; i++) {
                dtype.store(data, i, values[i]);
            }
            WeightPart[] parts = new WeightPart[partRows.length];
            long row = 0;
            for (int p = 0; p < parts.length; p++) {
                long bytes = partRows[p] * cols * dtype.bytes();
                parts[p] = new WeightPart(name + "." + p, dtype, partRows[p], cols, data.asSlice(row * cols * dtype.bytes(), bytes));
                row += partRows[p];
            }
            Weight weight = backend.weight(name, parts);
            memory.fill(GARBAGE);
            return weight;
        }
    }

    /** The values as a tensor keeps them. */
    static float[] stored(Tensor t, float[] values) {
        return t.dtype() == DType.F32 ? values : rounded(t.dtype(), values);
    }

    static void write(Backend backend, Tensor t, float[] values) {
        backend.write(t, values);
    }

    static void poison(Backend backend, Tensor t) {
        float[] values = new float[Math.toIntExact(t.rows() * t.cols())];
        Arrays.fill(values, Float.NaN);
        backend.write(t, values);
    }

    static float[] read(Backend backend, Tensor t, int rows) {
        return backend.read(t, rows);
    }

    /** Rows {@code [from, capacity)} still hold what {@link #poison} put there. */
    static void assertPoisonedFrom(Backend backend, Tensor t, int from) {
        float[] values = backend.read(t, Math.toIntExact(t.rows()));
        for (int i = Math.toIntExact(from * t.cols()); i < t.rows() * t.cols(); i++) {
            if (!Float.isNaN(values[i])) {
                throw new AssertionError(t.name() + " written beyond row " + from + ": row " + i / t.cols() + " col " + i % t.cols());
            }
        }
    }

    /** {@code |actual - expected| <= tolerance} everywhere, on an expectation that says something. */
    static void assertNear(String what, float[] actual, double[] expected, double[] tolerance) {
        assertThat(actual.length).as(what).isEqualTo(expected.length);
        assertNonTrivial(what, expected);
        for (int i = 0; i < expected.length; i++) {
            double error = Math.abs(actual[i] - expected[i]);
            if (!(error <= tolerance[i])) {
                throw new AssertionError(what + ": element " + i + " is " + actual[i] + ", expected " + expected[i] + ", off by " + error
                        + " of at most " + tolerance[i]);
            }
        }
    }

    /** A reference that were all zeros, or all the same, would let a broken kernel pass. */
    private static void assertNonTrivial(String what, double[] expected) {
        double largest = Arrays.stream(expected).map(Math::abs).max().orElse(0);
        assertThat(largest).as(what + ": expectation").isFinite().isGreaterThan(1e-3);
        if (expected.length >= 16) {
            assertThat(Arrays.stream(expected).distinct().count()).as(what + ": distinct expectations").isGreaterThan(expected.length / 16);
        }
    }

    static void assertSameBits(String what, float[] actual, float[] expected) {
        assertThat(actual.length).as(what).isEqualTo(expected.length);
        for (int i = 0; i < expected.length; i++) {
            if (Float.floatToRawIntBits(actual[i]) != Float.floatToRawIntBits(expected[i])) {
                throw new AssertionError(what + ": element " + i + " is " + actual[i] + ", was " + expected[i]);
            }
        }
    }

    /** A batch of one sequence of {@code count} tokens, of which each is a logit row; for operations that see only the counts. */
    static void tokens(Batch batch, int count) {
        batch.clear();
        batch.addSequence(new int[count], 0, count, new int[] {0}, 1);
    }

    /** Like {@link #tokens}, with every token a greedy logit row. */
    static void logitRows(Batch batch, int count) {
        tokens(batch, count);
        for (int r = 0; r < count; r++) {
            batch.sampling.setGreedy(batch.addLogitRow(r), 0);
        }
    }
}

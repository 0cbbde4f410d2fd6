package io.millrace.kernels;

import java.lang.foreign.Arena;
import java.lang.foreign.MemorySegment;
import java.lang.foreign.ValueLayout;
import java.util.stream.LongStream;

/**
 * Rounds plain weights to blocks ({@code --quantization}), rows in parallel on the common pool. Scales are those that llama.cpp's plain
 * quantisers choose for Q8_0, Q4_0 and Q5_0; Q4_K fits scale and minimum of 32 elements by alternating least squares.
 */
public final class Quantizer {
    /** Rounds of (codes, then the scale and minimum that fit them best) per 32 elements of Q4_K. */
    private static final int FITTING_ROUNDS = 4;

    private Quantizer() {}

    /**
     * The format to use for rows of {@code cols} elements when {@code wanted} is asked for: itself if they are whole blocks, else Q5_0 for
     * Q4_K, as llama.cpp does.
     *
     * @throws IllegalArgumentException {@code OP-007} if neither fits, or the format can only be read
     */
    public static QuantFormat formatFor(QuantFormat wanted, long cols) {
        QuantFormat format = wanted == QuantFormat.Q4_K && !wanted.fits(cols) ? QuantFormat.Q5_0 : wanted;
        switch (format) {
            case Q8_0, Q4_0, Q5_0, Q4_K -> {
                if (format.fits(cols)) {
                    return format;
                }
                throw new IllegalArgumentException("OP-007 rows of " + cols + " elements are no whole blocks of " + format.blockElements()
                        + " as " + format + " needs; keep this weight in its own type");
            }
            default -> throw new IllegalArgumentException("OP-007 cannot quantise to " + format + "; weights are quantised to Q8_0, Q4_0, Q5_0"
                    + " or Q4_K, other formats are read from files");
        }
    }

    /**
     * The same matrix in {@code format}, in memory of {@code arena} (one that other threads may use).
     *
     * @param source of type F32, F16 or BF16
     * @throws IllegalArgumentException {@code OP-007} if the format cannot be made or rows are no whole blocks, or a value is not finite
     */
    public static WeightPart quantize(WeightPart source, QuantFormat format, Arena arena) {
        if (!(source.format() instanceof DType dtype) || dtype == DType.I32) {
            throw new IllegalArgumentException("OP-007 " + source.name() + " is " + source.format().name() + "; only F32, F16 and BF16 weights"
                    + " are quantised at load. Leave quantization off for this model");
        }
        if (formatFor(format, source.cols()) != format) {
            throw new IllegalArgumentException("OP-007 " + source.name() + ": rows of " + source.cols() + " elements are no whole blocks of "
                    + format.blockElements() + " as " + format + " needs; ask formatFor which format fits");
        }
        long rowBytes = format.byteSize(1, source.cols());
        MemorySegment data = arena.allocate(source.rows() * rowBytes, 64);
        LongStream.range(0, source.rows()).parallel().forEach(row -> quantizeRow(source, dtype, row, format, data, row * rowBytes));
        return new WeightPart(source.name(), format, source.rows(), source.cols(), data);
    }

    private static void quantizeRow(WeightPart source, DType dtype, long row, QuantFormat format, MemorySegment out, long offset) {
        int elements = format.blockElements();
        float[] x = new float[elements];
        byte[] codes = new byte[elements];
        for (long block = 0; block < source.cols() / elements; block++) {
            for (int i = 0; i < elements; i++) {
                long col = block * elements + i;
                x[i] = dtype.load(source.data(), row * source.cols() + col);
                if (!Float.isFinite(x[i])) {
                    throw new IllegalArgumentException("OP-007 " + source.name() + " holds " + x[i] + " at row " + row + ", column " + col
                            + "; the checkpoint is damaged");
                }
            }
            quantizeBlock(format, x, codes, out, offset + block * format.blockBytes());
        }
    }

    private static void quantizeBlock(QuantFormat format, float[] x, byte[] codes, MemorySegment out, long at) {
        switch (format) {
            case Q8_0 -> {
                float largest = 0;
                for (float v : x) {
                    largest = Math.max(largest, Math.abs(v));
                }
                float d = largest / 127;
                float inverse = d == 0 ? 0 : 1 / d;
                store(out, at, d);
                for (int i = 0; i < 32; i++) {
                    out.set(ValueLayout.JAVA_BYTE, at + 2 + i, (byte) Math.round(clamp(x[i] * inverse, -127, 127)));
                }
            }
            case Q4_0 -> {
                store(out, at, roundAround(x, codes, 8));
                nibbles(codes, out, at + 2);
            }
            case Q5_0 -> {
                store(out, at, roundAround(x, codes, 16));
                int fifths = 0;
                for (int i = 0; i < 32; i++) {
                    fifths |= (codes[i] >> 4 & 1) << i;
                }
                out.set(LITTLE_INT, at + 2, fifths);
                nibbles(codes, out, at + 6);
            }
            case Q4_K -> quantizeSuperBlock(x, codes, out, at);
            default -> throw new AssertionError(format);
        }
    }

    private static final ValueLayout.OfInt LITTLE_INT = ValueLayout.JAVA_INT_UNALIGNED.withOrder(java.nio.ByteOrder.LITTLE_ENDIAN);

    /** Codes 0 .. 2 * offset - 1 around {@code offset}: the value farthest from 0 becomes code 0, whichever its sign. Returns the scale. */
    private static float roundAround(float[] x, byte[] codes, int offset) {
        float farthest = 0;
        for (float v : x) {
            farthest = Math.abs(v) > Math.abs(farthest) ? v : farthest;
        }
        float d = farthest / -offset;
        float inverse = d == 0 ? 0 : 1 / d;
        for (int i = 0; i < x.length; i++) {
            codes[i] = (byte) clamp(Math.round(clamp(x[i] * inverse, -100, 100)) + offset, 0, 2 * offset - 1);
        }
        return d;
    }

    /** 256 elements: scale and minimum of each 32 are fitted, then rounded to 6 bits of the largest; the codes follow what was kept. */
    private static void quantizeSuperBlock(float[] x, byte[] codes, MemorySegment out, long at) {
        float[] scales = new float[8];
        float[] minima = new float[8];
        float largestScale = 0;
        float largestMinimum = 0;
        for (int part = 0; part < 8; part++) {
            fit(x, part * 32, scales, minima, part);
            largestScale = Math.max(largestScale, scales[part]);
            largestMinimum = Math.max(largestMinimum, minima[part]);
        }
        store(out, at, largestScale / 63);
        store(out, at + 2, largestMinimum / 63);
        float d = DType.F16.load(out.asSlice(at, 2), 0);
        float m = DType.F16.load(out.asSlice(at + 2, 2), 0);
        int[] scale = new int[8];
        int[] minimum = new int[8];
        for (int part = 0; part < 8; part++) {
            scale[part] = d == 0 ? 0 : (int) clamp(Math.round(scales[part] / d), 0, 63);
            minimum[part] = m == 0 ? 0 : (int) clamp(Math.round(minima[part] / m), 0, 63);
            float step = d * scale[part];
            float lowest = m * minimum[part];
            for (int i = part * 32; i < part * 32 + 32; i++) {
                codes[i] = step == 0 ? 0 : (byte) clamp(Math.round((x[i] + lowest) / step), 0, 15);
            }
        }
        for (int part = 0; part < 4; part++) {
            int upper = part + 4;
            byteAt(out, at + 4 + part, scale[part] | scale[upper] >> 4 << 6);
            byteAt(out, at + 8 + part, minimum[part] | minimum[upper] >> 4 << 6);
            byteAt(out, at + 12 + part, scale[upper] & 15 | (minimum[upper] & 15) << 4);
        }
        for (int i = 0; i < 128; i++) {
            int low = i / 32 * 64 + i % 32;
            byteAt(out, at + 16 + i, codes[low] | codes[low + 32] << 4);
        }
    }

    /** The step and minimum (>= 0, taken away) of x[from, from + 32) whose 16 levels lie closest, starting from those that span it. */
    private static void fit(float[] x, int from, float[] scales, float[] minima, int part) {
        float low = 0; // a minimum above 0 cannot be stored
        float high = 0;
        for (int i = from; i < from + 32; i++) {
            low = Math.min(low, x[i]);
            high = Math.max(high, x[i]);
        }
        double scale = (high - low) / 15.0;
        double minimum = -low;
        double bestError = Double.POSITIVE_INFINITY;
        for (int round = 0; round <= FITTING_ROUNDS && scale > 0; round++) {
            double sumQ = 0;
            double sumQq = 0;
            double sumX = 0;
            double sumXq = 0;
            double error = 0;
            for (int i = from; i < from + 32; i++) {
                double q = clamp(Math.round((x[i] + minimum) / scale), 0, 15);
                double off = scale * q - minimum - x[i];
                error += off * off;
                sumQ += q;
                sumQq += q * q;
                sumX += x[i];
                sumXq += x[i] * q;
            }
            if (error < bestError) {
                bestError = error;
                scales[part] = (float) scale;
                minima[part] = (float) minimum;
            }
            double determinant = 32 * sumQq - sumQ * sumQ;
            if (determinant <= 0) {
                return;
            }
            scale = (32 * sumXq - sumQ * sumX) / determinant;
            minimum = Math.max(0, (scale * sumQ - sumX) / 32);
            if (minimum == 0) {
                scale = sumXq / sumQq;
            }
        }
    }

    /** Nibbles of 32 codes: element i low, i + 16 high. */
    private static void nibbles(byte[] codes, MemorySegment out, long at) {
        for (int i = 0; i < 16; i++) {
            byteAt(out, at + i, codes[i] & 15 | (codes[i + 16] & 15) << 4);
        }
    }

    private static void store(MemorySegment out, long at, float value) {
        DType.F16.store(out.asSlice(at, 2), 0, value);
    }

    private static void byteAt(MemorySegment out, long at, int value) {
        out.set(ValueLayout.JAVA_BYTE, at, (byte) value);
    }

    private static float clamp(float value, int low, int high) {
        return Math.max(low, Math.min(high, value));
    }

    private static double clamp(double value, int low, int high) {
        return Math.max(low, Math.min(high, value));
    }
}

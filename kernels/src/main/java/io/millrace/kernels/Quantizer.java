package io.millrace.kernels;

import java.lang.foreign.Arena;
import java.lang.foreign.MemorySegment;
import java.lang.foreign.ValueLayout;
import java.util.Arrays;
import java.util.stream.LongStream;

/**
 * Rounds plain weights to blocks ({@code --quantization}): the scalar definition, which {@link Backend#quantize} may do faster but never
 * otherwise. Arithmetic is in float, rounded after every operation; sums are taken by halves. Q8_0, Q4_0 and Q5_0 are bit for bit those
 * of llama.cpp's plain quantisers; Q4_K fits scale and minimum of each 32 elements by alternating least squares, Q6_K the scale of each 16.
 */
public final class Quantizer {
    /** Rounds of (codes, then the scale and minimum that fit them best) per 32 elements of Q4_K. */
    private static final int FITTING_ROUNDS = 4;
    /** Scales that are tried per 16 elements of Q6_K. */
    private static final int CANDIDATES = 5;
    /** Scales below this count as zero: in F16 they are, and their inverse could overflow. */
    private static final float LEAST = 1e-30f;
    private static final ValueLayout.OfInt LITTLE_INT = ValueLayout.JAVA_INT_UNALIGNED.withOrder(java.nio.ByteOrder.LITTLE_ENDIAN);

    private Quantizer() {}

    /**
     * The format to use for rows of {@code cols} elements when {@code wanted} is asked for: itself if they are whole blocks, else Q5_0 for
     * Q4_K and Q8_0 for Q6_K, as llama.cpp does.
     *
     * @throws IllegalArgumentException {@code OP-007} if neither fits, or the format can only be read
     */
    public static QuantFormat formatFor(QuantFormat wanted, long cols) {
        QuantFormat format = wanted.fits(cols) ? wanted : switch (wanted) {
            case Q4_K -> QuantFormat.Q5_0;
            case Q6_K -> QuantFormat.Q8_0;
            default -> wanted;
        };
        switch (format) {
            case Q8_0, Q4_0, Q5_0, Q4_K, Q6_K -> {
                if (format.fits(cols)) {
                    return format;
                }
                throw new IllegalArgumentException("OP-007 rows of " + cols + " elements are no whole blocks of " + format.blockElements()
                        + " as " + format + " needs; keep this weight in its own type");
            }
            default -> throw new IllegalArgumentException("OP-007 cannot quantise to " + format + "; weights are quantised to Q8_0, Q4_0, Q5_0,"
                    + " Q4_K or Q6_K, other formats are read from files");
        }
    }

    /**
     * The same matrix in {@code format}, in memory of {@code arena} (one that other threads may use); rows in parallel on the common pool.
     *
     * @param source of type F32, F16 or BF16
     * @throws IllegalArgumentException {@code OP-007} if the format cannot be made or rows are no whole blocks, or a value is not finite
     */
    public static WeightPart quantize(WeightPart source, QuantFormat format, Arena arena) {
        DType dtype = check(source, format);
        long rowBytes = format.byteSize(1, source.cols());
        MemorySegment data = arena.allocate(source.rows() * rowBytes, 64);
        LongStream.range(0, source.rows()).parallel().forEach(row -> quantizeRow(source, dtype, row, format, data, row * rowBytes));
        return new WeightPart(source.name(), format, source.rows(), source.cols(), data, source.pairRows());
    }

    /** @return the type of {@code source}; @throws IllegalArgumentException as {@link #quantize}, values aside */
    public static DType check(WeightPart source, QuantFormat format) {
        if (!(source.format() instanceof DType dtype) || dtype == DType.I32) {
            throw new IllegalArgumentException("OP-007 " + source.name() + " is " + source.format().name() + "; only F32, F16 and BF16 weights"
                    + " are quantised at load. Leave quantization off for this model");
        }
        if (formatFor(format, source.cols()) != format) {
            throw new IllegalArgumentException("OP-007 " + source.name() + ": rows of " + source.cols() + " elements are no whole blocks of "
                    + format.blockElements() + " as " + format + " needs; ask formatFor which format fits");
        }
        return dtype;
    }

    /** Says where a value of {@code source} is not finite, if one is. */
    public static void requireFinite(WeightPart source) {
        DType dtype = (DType) source.format();
        for (long i = 0; i < source.rows() * source.cols(); i++) {
            requireFinite(source, dtype.load(source.data(), i), i);
        }
    }

    private static void requireFinite(WeightPart source, float value, long index) {
        if (!Float.isFinite(value)) {
            throw new IllegalArgumentException("OP-007 " + source.name() + " holds " + value + " at row " + index / source.cols() + ", column "
                    + index % source.cols() + "; the checkpoint is damaged");
        }
    }

    private static void quantizeRow(WeightPart source, DType dtype, long row, QuantFormat format, MemorySegment out, long offset) {
        int elements = format.blockElements();
        float[] x = new float[elements];
        byte[] codes = new byte[elements];
        for (long block = 0; block < source.cols() / elements; block++) {
            for (int i = 0; i < elements; i++) {
                long index = row * source.cols() + block * elements + i;
                x[i] = dtype.load(source.data(), index);
                requireFinite(source, x[i], index);
            }
            quantizeBlock(format, x, codes, out, offset + block * format.blockBytes());
        }
    }

    private static void quantizeBlock(QuantFormat format, float[] x, byte[] codes, MemorySegment out, long at) {
        switch (format) {
            case Q8_0 -> {
                float d = Math.abs(farthest(x, 0, 32)) / 127;
                float by = inverse(d);
                store(out, at, d);
                for (int i = 0; i < 32; i++) {
                    out.set(ValueLayout.JAVA_BYTE, at + 2 + i, (byte) awayFromZero(clamp(x[i] * by, -127, 127)));
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
            case Q4_K -> quantizeWithMinima(x, codes, out, at);
            case Q6_K -> quantizeToSixBits(x, codes, out, at);
            default -> throw new AssertionError(format);
        }
    }

    /** The value farthest from 0, the first of those at the same distance. */
    private static float farthest(float[] x, int begin, int end) {
        float farthest = x[begin];
        for (int i = begin; i < end; i++) {
            farthest = Math.abs(x[i]) > Math.abs(farthest) ? x[i] : farthest;
        }
        return farthest;
    }

    private static float inverse(float d) {
        return Math.abs(d) < LEAST ? 0 : 1 / d;
    }

    /** To the nearest whole number, half away from zero: C's {@code roundf}. */
    private static int awayFromZero(float v) {
        int whole = (int) v;
        float rest = v - whole;
        return rest >= 0.5f ? whole + 1 : rest <= -0.5f ? whole - 1 : whole;
    }

    private static float rounded(float v) {
        return (float) Math.floor(v + 0.5f);
    }

    /** Codes 0 .. 2 * offset - 1 around {@code offset}: the value farthest from 0 becomes code 0, whichever its sign. Returns the scale. */
    private static float roundAround(float[] x, byte[] codes, int offset) {
        float d = farthest(x, 0, 32) / -offset;
        float by = inverse(d);
        for (int i = 0; i < x.length; i++) {
            codes[i] = (byte) Math.min((int) (x[i] * by + (offset + 0.5f)), 2 * offset - 1);
        }
        return d;
    }

    /** Q4_K: scale and minimum of each 32 are fitted, then rounded to 6 bits of the largest; the codes follow what was kept. */
    private static void quantizeWithMinima(float[] x, byte[] codes, MemorySegment out, long at) {
        float[] scales = new float[8];
        float[] minima = new float[8];
        float largestScale = 0;
        float largestMinimum = 0;
        for (int part = 0; part < 8; part++) {
            fitMinimum(x, part * 32, scales, minima, part);
            largestScale = Math.max(largestScale, scales[part]);
            largestMinimum = Math.max(largestMinimum, minima[part]);
        }
        float d = store(out, at, largestScale / 63);
        float m = store(out, at + 2, largestMinimum / 63);
        int[] scale = new int[8];
        int[] minimum = new int[8];
        for (int part = 0; part < 8; part++) {
            scale[part] = d == 0 ? 0 : (int) clamp(rounded(scales[part] / d), 0, 63);
            minimum[part] = m == 0 ? 0 : (int) clamp(rounded(minima[part] / m), 0, 63);
            float by = scale[part] == 0 ? 0 : 1 / (d * scale[part]);
            float lowest = m * minimum[part];
            for (int i = part * 32; i < part * 32 + 32; i++) {
                codes[i] = (byte) clamp(rounded((x[i] + lowest) * by), 0, 15);
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
    private static void fitMinimum(float[] x, int from, float[] scales, float[] minima, int part) {
        float low = 0; // a minimum above 0 cannot be stored
        float high = 0;
        for (int i = from; i < from + 32; i++) {
            low = Math.min(low, x[i]);
            high = Math.max(high, x[i]);
        }
        float scale = (high - low) / 15;
        float minimum = -low;
        float best = Float.POSITIVE_INFINITY;
        float[] v = Arrays.copyOfRange(x, from, from + 32);
        float sumX = sum(v);
        float[] q = new float[32];
        float[] qq = new float[32];
        float[] xq = new float[32];
        for (int round = 0; round <= FITTING_ROUNDS && scale > LEAST; round++) {
            float by = 1 / scale;
            for (int i = 0; i < 32; i++) {
                float value = x[from + i];
                q[i] = clamp(rounded((value + minimum) * by), 0, 15);
                float off = (scale * q[i] - minimum) - value;
                v[i] = off * off;
                qq[i] = q[i] * q[i];
                xq[i] = value * q[i];
            }
            float error = sum(v);
            float sumQ = sum(q);
            float sumQq = sum(qq);
            float sumXq = sum(xq);
            if (error < best) {
                best = error;
                scales[part] = scale;
                minima[part] = minimum;
            }
            float determinant = 32 * sumQq - sumQ * sumQ;
            if (determinant <= 0) {
                return;
            }
            scale = (32 * sumXq - sumQ * sumX) / determinant;
            minimum = (scale * sumQ - sumX) / 32;
            if (!(minimum > 0)) {
                minimum = 0;
                scale = sumXq / sumQq;
            }
        }
    }

    private static void quantizeToSixBits(float[] x, byte[] codes, MemorySegment out, long at) {
        float[] scales = new float[16];
        for (int part = 0; part < 16; part++) {
            scales[part] = fitScale(x, part * 16);
        }
        float d = store(out, at + 208, farthest(scales, 0, 16) / -128);
        for (int part = 0; part < 16; part++) {
            float scale = d == 0 ? 0 : clamp(rounded(scales[part] / d), -128, 127);
            byteAt(out, at + 192 + part, (int) scale);
            float by = scale == 0 ? 0 : 1 / (d * scale);
            for (int i = part * 16; i < part * 16 + 16; i++) {
                codes[i] = (byte) (clamp(rounded(x[i] * by), -32, 31) + 32);
            }
        }
        for (int i = 0; i < 64; i++) {
            int half = i / 32 * 128;
            int low = half + i % 32;
            byteAt(out, at + i / 32 * 64 + i % 32, codes[low] & 15 | (codes[low + 64] & 15) << 4);
            byteAt(out, at + i / 32 * 64 + 32 + i % 32, codes[low + 32] & 15 | (codes[low + 96] & 15) << 4);
            byteAt(out, at + 128 + i, codes[low] >> 4 | codes[low + 32] >> 4 << 2 | codes[low + 64] >> 4 << 4 | codes[low + 96] >> 4 << 6);
        }
    }

    /** The scale of x[from, from + 16) whose codes -32 .. 31 lie closest, of a few that put the farthest value near code -32. */
    private static float fitScale(float[] x, int from) {
        float farthest = farthest(x, from, from + 16);
        if (Math.abs(farthest) < LEAST) {
            return 0;
        }
        float best = -1;
        float scale = 0;
        float[] xq = new float[16];
        float[] qq = new float[16];
        for (int candidate = 0; candidate < CANDIDATES; candidate++) {
            float by = -(31 + 0.5f * candidate) / farthest;
            for (int i = 0; i < 16; i++) {
                float q = clamp(rounded(x[from + i] * by), -32, 31);
                xq[i] = x[from + i] * q;
                qq[i] = q * q;
            }
            float sumXq = sum(xq);
            float sumQq = sum(qq);
            float fits = sumXq / sumQq * sumXq; // what the best scale for these codes takes off the squared error
            if (fits > best) {
                best = fits;
                scale = sumXq / sumQq;
            }
        }
        return scale;
    }

    /** By halves: v[i] + v[i + n / 2] first, and so on. What is in {@code v} is lost; its length is a power of two. */
    private static float sum(float[] v) {
        for (int half = v.length / 2; half > 0; half /= 2) {
            for (int i = 0; i < half; i++) {
                v[i] += v[i + half];
            }
        }
        return v[0];
    }

    /** Nibbles of 32 codes: element i low, i + 16 high. */
    private static void nibbles(byte[] codes, MemorySegment out, long at) {
        for (int i = 0; i < 16; i++) {
            byteAt(out, at + i, codes[i] & 15 | (codes[i + 16] & 15) << 4);
        }
    }

    /** Returns what F16 kept of it. */
    private static float store(MemorySegment out, long at, float value) {
        MemorySegment half = out.asSlice(at, 2);
        DType.F16.store(half, 0, value);
        return DType.F16.load(half, 0);
    }

    private static void byteAt(MemorySegment out, long at, int value) {
        out.set(ValueLayout.JAVA_BYTE, at, (byte) value);
    }

    private static float clamp(float value, int low, int high) {
        return Math.max(low, Math.min(high, value));
    }
}

package io.millrace.engine;

import io.millrace.kernels.DType;
import io.millrace.kernels.QuantFormat;
import io.millrace.kernels.Quantizer;
import io.millrace.kernels.WeightPart;
import java.lang.foreign.Arena;
import java.lang.foreign.MemorySegment;
import java.lang.foreign.ValueLayout;

/** Rounds matrices to any block format: by {@link Quantizer} where it can, else plainly, by the range of each block. */
final class TestBlocks {
    private TestBlocks() {}

    static MemorySegment encode(WeightPart source, QuantFormat format, Arena arena) {
        switch (format) {
            case Q4_1, Q5_1, Q5_K, Q6_K -> { }
            default -> {
                return Quantizer.quantize(source, format, arena).data();
            }
        }
        MemorySegment out = arena.allocate(format.byteSize(source.rows(), source.cols()), 8);
        float[] x = new float[format.blockElements()];
        long blocks = source.rows() * source.cols() / x.length;
        for (long block = 0; block < blocks; block++) {
            for (int i = 0; i < x.length; i++) {
                x[i] = ((DType) source.format()).load(source.data(), block * x.length + i);
            }
            MemorySegment at = out.asSlice(block * format.blockBytes(), format.blockBytes());
            switch (format) {
                case Q4_1 -> q41(x, at);
                case Q5_1 -> q51(x, at);
                case Q5_K -> q5k(x, at);
                default -> q6k(x, at);
            }
        }
        return out;
    }

    private static float half(MemorySegment at, long offset, float value) {
        DType.F16.store(at.asSlice(offset, 2), 0, value);
        return DType.F16.load(at.asSlice(offset, 2), 0);
    }

    private static void or(MemorySegment at, long offset, int bits) {
        at.set(ValueLayout.JAVA_BYTE, offset, (byte) (at.get(ValueLayout.JAVA_BYTE, offset) | bits));
    }

    private static int code(float value, float step, int most) {
        return step == 0 ? 0 : Math.clamp(Math.round(value / step), 0, most);
    }

    private static void q41(float[] x, MemorySegment at) {
        float min = min(x, 0, 32);
        float d = half(at, 0, (max(x, 0, 32) - min) / 15);
        float m = half(at, 2, min);
        for (int i = 0; i < 32; i++) {
            or(at, 4 + i % 16, code(x[i] - m, d, 15) << (i / 16 * 4));
        }
    }

    private static void q51(float[] x, MemorySegment at) {
        float min = min(x, 0, 32);
        float d = half(at, 0, (max(x, 0, 32) - min) / 31);
        float m = half(at, 2, min);
        for (int i = 0; i < 32; i++) {
            int q = code(x[i] - m, d, 31);
            or(at, 4 + i / 8, q >> 4 << (i % 8));
            or(at, 8 + i % 16, (q & 15) << (i / 16 * 4));
        }
    }

    private static void q5k(float[] x, MemorySegment at) {
        float[] scale = new float[8];
        float[] minimum = new float[8];
        for (int p = 0; p < 8; p++) {
            minimum[p] = -Math.min(0, min(x, 32 * p, 32));
            scale[p] = (max(x, 32 * p, 32) + minimum[p]) / 31;
        }
        float d = half(at, 0, max(scale, 0, 8) / 63);
        float m = half(at, 2, max(minimum, 0, 8) / 63);
        for (int p = 0; p < 8; p++) {
            int s = code(scale[p], d, 63);
            int t = code(minimum[p], m, 63);
            if (p < 4) {
                or(at, 4 + p, s);
                or(at, 8 + p, t);
            } else {
                or(at, p, s >> 4 << 6);
                or(at, 4 + p, t >> 4 << 6);
                or(at, 8 + p, s & 15 | (t & 15) << 4);
            }
            for (int l = 0; l < 32; l++) {
                int q = code(x[32 * p + l] + m * t, d * s, 31);
                or(at, 16 + l, q >> 4 << p);
                or(at, 48 + p / 2 * 32 + l, (q & 15) << (p % 2 * 4));
            }
        }
    }

    private static void q6k(float[] x, MemorySegment at) {
        float[] scale = new float[16];
        for (int p = 0; p < 16; p++) {
            scale[p] = Math.max(max(x, 16 * p, 16), -min(x, 16 * p, 16)) / 31;
        }
        float d = half(at, 208, max(scale, 0, 16) / 127);
        for (int i = 0; i < 256; i++) {
            int s = code(scale[i / 16], d, 127);
            at.set(ValueLayout.JAVA_BYTE, 192 + i / 16, (byte) s);
            int q = code(x[i] + 32 * d * s, d * s, 63);
            int quarter = i % 128 / 32;
            or(at, i / 128 * 64 + quarter % 2 * 32 + i % 32, (q & 15) << (quarter / 2 * 4));
            or(at, 128 + i / 128 * 32 + i % 32, q >> 4 << (2 * quarter));
        }
    }

    private static float max(float[] x, int from, int count) {
        float most = x[from];
        for (int i = from; i < from + count; i++) {
            most = Math.max(most, x[i]);
        }
        return most;
    }

    private static float min(float[] x, int from, int count) {
        float least = x[from];
        for (int i = from; i < from + count; i++) {
            least = Math.min(least, x[i]);
        }
        return least;
    }
}

package io.millrace.kernels;

import java.lang.foreign.MemorySegment;
import java.lang.foreign.ValueLayout;

/**
 * Block formats of weights, in the layouts of GGUF files (llama.cpp's {@code ggml-common.h}). All numbers are little-endian, {@code d} and
 * {@code m} are F16.
 *
 * <pre>
 *         elements  bytes  value                        layout
 *   Q8_0     32       34   d * q                        d, q[32] signed bytes
 *   Q4_0     32       18   d * (q - 8)                  d, nibbles[16]: element i low, i + 16 high
 *   Q4_1     32       20   d * q + m                    d, m, nibbles[16]
 *   Q5_0     32       22   d * (q - 16)                 d, fifth bits[4]: bit i of element i, nibbles[16]
 *   Q5_1     32       24   d * q + m                    d, m, fifth bits[4], nibbles[16]
 *   Q4_K    256      144   d * s * q - m * t            d, m, s and t in 6 bits for each 32 elements[12], nibbles[128]
 *   Q5_K    256      176   d * s * q - m * t            d, m, s and t[12], fifth bits[32], nibbles[128]
 *   Q6_K    256      210   d * s * (q - 32)             nibbles[128], upper two bits[64], s of each 16 elements[16] signed bytes, d
 * </pre>
 */
public enum QuantFormat implements WeightFormat {
    Q8_0(8, 32, 34), Q4_0(9, 32, 18), Q4_1(10, 32, 20), Q5_0(11, 32, 22), Q4_K(12, 256, 144), Q5_K(13, 256, 176), Q6_K(14, 256, 210),
    Q5_1(15, 32, 24);

    private final int nativeCode;
    private final int blockElements;
    private final int blockBytes;

    QuantFormat(int nativeCode, int blockElements, int blockBytes) {
        this.nativeCode = nativeCode;
        this.blockElements = blockElements;
        this.blockBytes = blockBytes;
    }

    @Override
    public int nativeCode() {
        return nativeCode;
    }

    @Override
    public int blockElements() {
        return blockElements;
    }

    @Override
    public int blockBytes() {
        return blockBytes;
    }

    @Override
    public void decode(MemorySegment data, long offset, float[] out, int at) {
        switch (this) {
            case Q8_0 -> {
                float d = half(data, offset);
                for (int i = 0; i < 32; i++) {
                    out[at + i] = d * data.get(ValueLayout.JAVA_BYTE, offset + 2 + i);
                }
            }
            case Q4_0 -> {
                float d = half(data, offset);
                for (int i = 0; i < 32; i++) {
                    out[at + i] = d * (nibble(data, offset + 2, i) - 8);
                }
            }
            case Q4_1 -> {
                float d = half(data, offset);
                float m = half(data, offset + 2);
                for (int i = 0; i < 32; i++) {
                    out[at + i] = d * nibble(data, offset + 4, i) + m;
                }
            }
            case Q5_0 -> {
                float d = half(data, offset);
                for (int i = 0; i < 32; i++) {
                    int fifth = unsigned(data, offset + 2 + i / 8) >> (i % 8) & 1;
                    out[at + i] = d * ((nibble(data, offset + 6, i) | fifth << 4) - 16);
                }
            }
            case Q5_1 -> {
                float d = half(data, offset);
                float m = half(data, offset + 2);
                for (int i = 0; i < 32; i++) {
                    int fifth = unsigned(data, offset + 4 + i / 8) >> (i % 8) & 1;
                    out[at + i] = d * (nibble(data, offset + 8, i) | fifth << 4) + m;
                }
            }
            case Q4_K -> decodeWithMinima(data, offset, -1, offset + 16, out, at);
            case Q5_K -> decodeWithMinima(data, offset, offset + 16, offset + 48, out, at);
            case Q6_K -> decodeSixBits(data, offset, out, at);
        }
    }

    /** Q4_K and Q5_K: 64 elements take 32 bytes of nibbles, the first half low; element l of part p has bit p of byte l as its fifth. */
    private static void decodeWithMinima(MemorySegment data, long offset, long fifths, long nibbles, float[] out, int at) {
        float d = half(data, offset);
        float m = half(data, offset + 2);
        for (int part = 0; part < 8; part++) {
            float scale = d * sixBitScale(data, offset + 4, part);
            float minimum = m * sixBitMinimum(data, offset + 4, part);
            for (int l = 0; l < 32; l++) {
                int q = unsigned(data, nibbles + part / 2 * 32 + l) >> (part % 2 * 4) & 15;
                if (fifths >= 0) {
                    q |= (unsigned(data, fifths + l) >> part & 1) << 4;
                }
                out[at + part * 32 + l] = scale * q - minimum;
            }
        }
    }

    /** The scale of 32 elements: parts 0 to 3 have a byte of their own, of the others the lower and upper bits lie apart. */
    static int sixBitScale(MemorySegment data, long scales, int part) {
        return part < 4 ? unsigned(data, scales + part) & 63
                : unsigned(data, scales + part + 4) & 15 | unsigned(data, scales + part - 4) >> 6 << 4;
    }

    static int sixBitMinimum(MemorySegment data, long scales, int part) {
        return part < 4 ? unsigned(data, scales + part + 4) & 63
                : unsigned(data, scales + part + 4) >> 4 | unsigned(data, scales + part) >> 6 << 4;
    }

    private static void decodeSixBits(MemorySegment data, long offset, float[] out, int at) {
        float d = half(data, offset + 208);
        for (int i = 0; i < 256; i++) {
            int half = i / 128;
            int quarter = i % 128 / 32;
            int low = unsigned(data, offset + half * 64 + quarter % 2 * 32 + i % 32) >> (quarter / 2 * 4) & 15;
            int high = unsigned(data, offset + 128 + half * 32 + i % 32) >> (quarter * 2) & 3;
            float scale = d * data.get(ValueLayout.JAVA_BYTE, offset + 192 + i / 16);
            out[at + i] = scale * ((low | high << 4) - 32);
        }
    }

    private static float half(MemorySegment data, long offset) {
        return DType.F16.load(data.asSlice(offset, 2), 0);
    }

    private static int nibble(MemorySegment data, long offset, int i) {
        return unsigned(data, offset + i % 16) >> (i / 16 * 4) & 15;
    }

    private static int unsigned(MemorySegment data, long offset) {
        return data.get(ValueLayout.JAVA_BYTE, offset) & 0xff;
    }
}

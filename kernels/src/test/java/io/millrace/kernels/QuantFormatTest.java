package io.millrace.kernels;

import static org.assertj.core.api.Assertions.assertThat;
import static org.assertj.core.api.Assertions.assertThatThrownBy;

import java.lang.foreign.Arena;
import java.lang.foreign.MemorySegment;
import java.lang.foreign.ValueLayout;
import java.util.SplittableRandom;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.EnumSource;

/** The block formats as definitions, and the rounding to them. */
class QuantFormatTest {
    private static MemorySegment bytes(int... values) {
        MemorySegment data = Arena.ofAuto().allocate(256);
        for (int i = 0; i < values.length; i++) {
            data.set(ValueLayout.JAVA_BYTE, i, (byte) values[i]);
        }
        return data;
    }

    private static float[] decoded(QuantFormat format, MemorySegment block) {
        float[] out = new float[format.blockElements()];
        format.decode(block, 0, out, 0);
        return out;
    }

    /** Blocks written by hand from the layouts: F16 1.0 is 0x3c00, 2.0 is 0x4000, 0.5 is 0x3800. */
    @Test
    void smallBlocksMeanWhatTheirLayoutSays() {
        float[] q8 = decoded(QuantFormat.Q8_0, bytes(0, 0x40, 3, -128, 127));
        assertThat(q8).startsWith(6f, -256f, 254f, 0f);
        float[] q4 = decoded(QuantFormat.Q4_0, bytes(0, 0x38, 0xf0, 0x19));
        assertThat(q4).startsWith(-4f, 0.5f);
        assertThat(q4[16]).isEqualTo(3.5f);
        assertThat(q4[17]).isEqualTo(-3.5f);
        float[] q41 = decoded(QuantFormat.Q4_1, bytes(0, 0x40, 0, 0xbc, 0x5a));
        assertThat(q41).startsWith(19f, -1f);
        assertThat(q41[16]).isEqualTo(9f);
        float[] q5 = decoded(QuantFormat.Q5_0, bytes(0, 0x3c, 0x01, 0, 0x02, 0, 0x03, 0x40));
        assertThat(q5).startsWith(3f, -16f);
        assertThat(q5[16]).isEqualTo(-16f);
        assertThat(q5[17]).isEqualTo(4f);
        // d 1, m 2; fifth bits of elements 0 and 17; element 0 has 3, 16 has 0, 17 has 4.
        float[] q51 = decoded(QuantFormat.Q5_1, bytes(0, 0x3c, 0, 0x40, 0x01, 0, 0x02, 0, 0x03, 0x40));
        assertThat(q51).startsWith(21f, 2f);
        assertThat(q51[16]).isEqualTo(2f);
        assertThat(q51[17]).isEqualTo(22f);
    }

    /** Each of the eight 6-bit scales and minima, including those whose bits lie apart, and the place of each element. */
    @Test
    void superBlocksMeanWhatTheirLayoutSays() {
        for (QuantFormat format : new QuantFormat[] {QuantFormat.Q4_K, QuantFormat.Q5_K}) {
            int nibbles = format == QuantFormat.Q4_K ? 16 : 48;
            for (int part = 0; part < 8; part++) {
                MemorySegment block = bytes(0, 0x3c, 0, 0x40);
                int scale = 53;
                int minimum = 42;
                put(block, 4 + (part < 4 ? part : part + 4), part < 4 ? scale : scale & 15 | (minimum & 15) << 4);
                put(block, part < 4 ? 8 + part : 4 + part - 4, part < 4 ? minimum : scale >> 4 << 6);
                if (part >= 4) {
                    put(block, 4 + part, minimum >> 4 << 6);
                }
                put(block, nibbles + part / 2 * 32 + 9, 11 << part % 2 * 4);
                float[] values = decoded(format, block);
                assertThat(values[part * 32 + 9]).as("%s, part %d", format, part).isEqualTo(53f * 11 - 2 * 42);
                assertThat(values[part * 32 + 10]).isEqualTo(-84f);
                if (format == QuantFormat.Q5_K) {
                    put(block, 16 + 9, 1 << part);
                    assertThat(decoded(format, block)[part * 32 + 9]).isEqualTo(53f * 27 - 2 * 42);
                }
            }
        }
        for (int i = 0; i < 256; i++) {
            MemorySegment block = bytes();
            put(block, 209, 0x38);
            put(block, 192 + i / 16, -7);
            int quarter = i % 128 / 32;
            put(block, i / 128 * 64 + quarter % 2 * 32 + i % 32, 5 << quarter / 2 * 4);
            put(block, 128 + i / 128 * 32 + i % 32, 3 << quarter * 2);
            assertThat(decoded(QuantFormat.Q6_K, block)[i]).as("element %d", i).isEqualTo(0.5f * -7 * (5 + 48 - 32));
        }
    }

    private static void put(MemorySegment block, int at, int value) {
        block.set(ValueLayout.JAVA_BYTE, at, (byte) value);
    }

    /**
     * Rounding is off by half a step at most, where the step is the range of the block over the number of levels; a scale rounded to F16 adds
     * 2^-11 of the value. Q4_0 and Q5_0 have one level fewer on the side away from the farthest value: a whole step there. Q4_K rounds its
     * scales to 6 bits of the largest of eight, so it is held to the root mean square instead: no worse than twice the ideal of uniform
     * steps over each 32.
     */
    @ParameterizedTest
    @EnumSource(value = QuantFormat.class, names = {"Q8_0", "Q4_0", "Q5_0", "Q4_K", "Q6_K"})
    void roundingStaysWithinTheStepOfTheFormat(QuantFormat format) {
        SplittableRandom random = new SplittableRandom(31);
        try (Arena arena = Arena.ofShared()) {
            for (int kind = 0; kind < 3; kind++) {
                float[] values = kind == 0 ? TestValues.normal(random, 64 * 512, 0.02) : TestValues.spiky(random, 64 * 512);
                if (kind == 2) {
                    java.util.Arrays.fill(values, 0, 512, 0f);
                    java.util.Arrays.fill(values, 512, 1024, -1.5f);
                }
                WeightPart part = Quantizer.quantize(f32(arena, values, 64, 512), format, arena);
                float[] back = new float[values.length];
                for (int block = 0; block < values.length / format.blockElements(); block++) {
                    format.decode(part.data(), (long) block * format.blockBytes(), back, block * format.blockElements());
                }
                double squares = 0;
                double ideal = 0;
                for (int i = 0; i < values.length; i++) {
                    double low = 0;
                    double high = 0;
                    for (int j = i / 32 * 32; j < i / 32 * 32 + 32; j++) {
                        low = Math.min(low, values[j]);
                        high = Math.max(high, values[j]);
                    }
                    double most = Math.max(-low, high);
                    double error = Math.abs(values[i] - back[i]);
                    squares += error * error;
                    ideal += Math.pow((high - low) / 15, 2) / 12;
                    switch (format) {
                        case Q8_0 -> assertThat(error).isLessThanOrEqualTo(most * (0.5 / 127 + 1.0 / 2048) + 1e-6);
                        case Q4_0 -> assertThat(error).isLessThanOrEqualTo(most * (1.0 / 8 + 1.0 / 2048) + 1e-6);
                        case Q5_0 -> assertThat(error).isLessThanOrEqualTo(most * (1.0 / 16 + 1.0 / 2048) + 1e-6);
                        default -> { }
                    }
                }
                if (format == QuantFormat.Q4_K) {
                    assertThat(Math.sqrt(squares)).isLessThanOrEqualTo(2 * Math.sqrt(ideal));
                } else if (format == QuantFormat.Q6_K) {
                    assertThat(Math.sqrt(squares)).isLessThanOrEqualTo(0.5 * Math.sqrt(ideal)); // a quarter of Q4_K's steps, nearly
                }
            }
        }
    }

    @Test
    void whatCannotBeQuantisedIsRefusedWithTheReason() {
        assertThat(Quantizer.formatFor(QuantFormat.Q4_K, 576)).isEqualTo(QuantFormat.Q5_0);
        assertThat(Quantizer.formatFor(QuantFormat.Q4_K, 512)).isEqualTo(QuantFormat.Q4_K);
        assertThatThrownBy(() -> Quantizer.formatFor(QuantFormat.Q8_0, 48)).hasMessageContainingAll("OP-007", "48", "32");
        assertThat(Quantizer.formatFor(QuantFormat.Q6_K, 576)).isEqualTo(QuantFormat.Q8_0);
        assertThatThrownBy(() -> Quantizer.formatFor(QuantFormat.Q5_K, 256)).hasMessageContainingAll("OP-007", "Q5_K");
        try (Arena arena = Arena.ofShared()) {
            float[] values = new float[64];
            values[40] = Float.NaN;
            assertThatThrownBy(() -> Quantizer.quantize(f32(arena, values, 2, 32), QuantFormat.Q8_0, arena))
                    .hasMessageContainingAll("OP-007", "NaN", "row 1", "column 8");
            assertThatThrownBy(() -> new WeightPart("w", QuantFormat.Q4_K, 1, 128, arena.allocate(144))).hasMessageContainingAll("128", "256");
        }
    }

    private static WeightPart f32(Arena arena, float[] values, long rows, long cols) {
        return new WeightPart("w", DType.F32, rows, cols, arena.allocateFrom(ValueLayout.JAVA_FLOAT, values));
    }
}

package io.millrace.kernels;

import java.lang.foreign.Arena;
import java.lang.foreign.MemorySegment;
import java.lang.foreign.ValueLayout;
import java.util.SplittableRandom;

/** Row-stacked parts in any formats and the values that they define. */
final class QuantizedMatrix {
    private final Maker[] makers;
    private final int cols;
    private final WeightFormat[] formats; // of each row
    private final float[][] values;
    private final float[][] largest; // |value| per 32 columns

    /** Makes the part of a matrix with so many columns, in memory of the arena. */
    interface Maker {
        WeightPart make(int cols, Arena arena);
    }

    private QuantizedMatrix(int cols, Maker... makers) {
        this.makers = makers;
        this.cols = cols;
        try (Arena arena = Arena.ofShared()) {
            WeightPart[] parts = parts(arena);
            int rows = 0;
            for (WeightPart part : parts) {
                rows += (int) part.rows();
            }
            formats = new WeightFormat[rows];
            values = new float[rows][cols];
            largest = new float[rows][(cols + 31) / 32];
            int row = 0;
            for (WeightPart part : parts) {
                for (int r = 0; r < part.rows(); r++, row++) {
                    formats[row] = part.format();
                    decode(part, r, values[row]);
                    for (int k = 0; k < cols; k++) {
                        largest[row][k / 32] = Math.max(largest[row][k / 32], Math.abs(values[row][k]));
                    }
                }
            }
        }
    }

    private static void decode(WeightPart part, long row, float[] out) {
        WeightFormat format = part.format();
        int blocks = out.length / format.blockElements();
        for (int b = 0; b < blocks; b++) {
            format.decode(part.data(), (row * blocks + b) * format.blockBytes(), out, b * format.blockElements());
        }
    }

    static QuantizedMatrix of(int cols, Maker... makers) {
        return new QuantizedMatrix(cols, makers);
    }

    /** A part of random codes and scales; scales differ by a factor of a thousand, some are 0, some negative. Asked twice it is the same. */
    static Maker random(SplittableRandom seeds, WeightFormat format, int rows) {
        long seed = seeds.nextLong();
        return (cols, arena) -> {
            SplittableRandom random = new SplittableRandom(seed);
            long bytes = format.byteSize(rows, cols);
            MemorySegment data = arena.allocate(bytes + 1, 64).asSlice(1); // misaligned, as a slice of a file may be
            for (long offset = 0; offset < bytes; offset += format.blockBytes()) {
                for (int i = 0; i < format.blockBytes(); i++) {
                    data.set(ValueLayout.JAVA_BYTE, offset + i, (byte) random.nextInt());
                }
                switch (format) {
                    case DType plain -> plain.store(data.asSlice(offset), 0, (float) random.nextGaussian());
                    case QuantFormat quant -> {
                        double size = quant == QuantFormat.Q8_0 ? 1.0 / 64 : quant.blockElements() == 256 ? 1.0 / 512 : 1.0 / 8;
                        int at = quant == QuantFormat.Q6_K ? 208 : 0;
                        DType.F16.store(data.asSlice(offset + at, 2), 0, scale(random, size));
                        if (quant == QuantFormat.Q4_1 || quant == QuantFormat.Q5_1 || quant == QuantFormat.Q4_K || quant == QuantFormat.Q5_K) {
                            DType.F16.store(data.asSlice(offset + 2, 2), 0, scale(random, size * 8));
                        }
                    }
                }
            }
            return new WeightPart("random " + format.name(), format, rows, cols, data.asSlice(0, bytes));
        };
    }

    private static float scale(SplittableRandom random, double size) {
        return random.nextInt(40) == 0 ? 0f : (float) (size * random.nextGaussian() * Math.pow(10, random.nextDouble(-2, 1)));
    }

    WeightPart[] parts(Arena arena) {
        WeightPart[] parts = new WeightPart[makers.length];
        for (int i = 0; i < parts.length; i++) {
            parts[i] = makers[i].make(cols, arena);
        }
        return parts;
    }

    /** A weight of the backend; the memory it was made from is gone afterwards. */
    Weight takenOver(Backend backend) {
        try (Arena arena = Arena.ofShared()) {
            return backend.weight("w", parts(arena));
        }
    }

    int rows() {
        return values.length;
    }

    WeightFormat formatOf(int row) {
        return formats[row];
    }

    float at(int row, int col) {
        return values[row][col];
    }

    /** The largest |value| among the 32 columns around {@code col}. */
    float largestNear(int row, int col) {
        return largest[row][col / 32];
    }
}

package io.millrace.kernels;

import java.lang.foreign.MemorySegment;

/**
 * How the elements of a weight are stored: one by one ({@link DType}) or in blocks that share a scale ({@link QuantFormat}). A row is a
 * whole number of blocks; rows lie one after the other without gaps.
 */
public sealed interface WeightFormat permits DType, QuantFormat {
    /** Stable name, as written in messages: {@code BF16}, {@code Q4_K}. */
    String name();

    /** Elements of a row that are stored together; 1 for {@link DType}. */
    int blockElements();

    /** Bytes of a block. */
    int blockBytes();

    /** The number of this format in the native ABI ({@code mr_format}). */
    int nativeCode();

    /** Whether a row of {@code cols} elements is a whole number of blocks. */
    default boolean fits(long cols) {
        return cols % blockElements() == 0;
    }

    /** Bytes of {@code rows} rows of {@code cols} elements. */
    default long byteSize(long rows, long cols) {
        return rows * (cols / blockElements()) * blockBytes();
    }

    /**
     * Writes the values of the block at byte {@code offset} of {@code data} to {@code out[at, at + blockElements())}. This is the definition
     * that all kernels are measured by: products of scales and codes are exact in a float, subtracting a minimum rounds once.
     */
    void decode(MemorySegment data, long offset, float[] out, int at);
}

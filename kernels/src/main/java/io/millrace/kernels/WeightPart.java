package io.millrace.kernels;

import java.lang.foreign.MemorySegment;

/**
 * A borrowed row-major matrix {@code [rows, cols]} (typically a slice of a memory-mapped checkpoint) to be taken over by
 * {@link Backend#weight}. It need not be aligned and is not used after that call returns.
 */
public record WeightPart(String name, DType dtype, long rows, long cols, MemorySegment data) {
    public WeightPart {
        if (data.byteSize() < rows * cols * dtype.bytes()) {
            throw new IllegalArgumentException("weight part " + name + " of " + rows + " x " + cols + " " + dtype + " needs "
                    + rows * cols * dtype.bytes() + " bytes, has " + data.byteSize());
        }
    }
}

package io.millrace.kernels;

import java.lang.foreign.MemorySegment;

/**
 * A borrowed row-major matrix {@code [rows, cols]} (typically a slice of a memory-mapped checkpoint) to be taken over by
 * {@link Backend#weight}. It need not be aligned and is not used after that call returns.
 */
public record WeightPart(String name, WeightFormat format, long rows, long cols, MemorySegment data) {
    public WeightPart {
        if (!format.fits(cols)) {
            throw new IllegalArgumentException("weight part " + name + ": rows of " + cols + " elements are no whole blocks of "
                    + format.blockElements() + " as " + format.name() + " needs");
        }
        if (data.byteSize() < format.byteSize(rows, cols)) {
            throw new IllegalArgumentException("weight part " + name + " of " + rows + " x " + cols + " " + format.name() + " needs "
                    + format.byteSize(rows, cols) + " bytes, has " + data.byteSize());
        }
    }
}

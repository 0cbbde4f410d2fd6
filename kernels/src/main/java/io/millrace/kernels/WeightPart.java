package io.millrace.kernels;

import java.lang.foreign.MemorySegment;

/**
 * A borrowed row-major matrix {@code [rows, cols]} (typically a slice of a memory-mapped checkpoint) to be taken over by
 * {@link Backend#weight} or {@link Backend#borrowedWeight}, which say for how long it is used. It need not be aligned.
 *
 * @param pairRows 0 if the rows of {@code data} are in order. Else the rows of a head, an even number: each row of a head's first half is
 *                 followed by that of its second half ({@link #rowAt}), as files have it that rotate adjacent pairs
 */
public record WeightPart(String name, WeightFormat format, long rows, long cols, MemorySegment data, int pairRows) {
    public WeightPart {
        if (!format.fits(cols)) {
            throw new IllegalArgumentException("weight part " + name + ": rows of " + cols + " elements are no whole blocks of "
                    + format.blockElements() + " as " + format.name() + " needs");
        }
        if (data.byteSize() < format.byteSize(rows, cols)) {
            throw new IllegalArgumentException("weight part " + name + " of " + rows + " x " + cols + " " + format.name() + " needs "
                    + format.byteSize(rows, cols) + " bytes, has " + data.byteSize());
        }
        if (pairRows < 0 || pairRows % 2 != 0 || pairRows > 0 && rows % pairRows != 0) {
            throw new IllegalArgumentException("weight part " + name + " of " + rows + " rows cannot be heads of " + pairRows + " rows in pairs");
        }
    }

    /** Rows in order. */
    public WeightPart(String name, WeightFormat format, long rows, long cols, MemorySegment data) {
        this(name, format, rows, cols, data, 0);
    }

    /** Where row {@code row} of the matrix is in {@link #data}, in rows. */
    public long rowAt(long row) {
        if (pairRows == 0) {
            return row;
        }
        long half = pairRows / 2;
        long i = row % pairRows;
        return row - i + (i < half ? 2 * i : 2 * (i - half) + 1);
    }
}

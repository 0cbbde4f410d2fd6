package io.millrace.kernels.cpu;

import io.millrace.kernels.RowFiller;
import java.lang.foreign.MemorySegment;
import java.lang.foreign.ValueLayout;

/**
 * A table by position that grows with the contexts it has met: for 131,072 positions its memory and values would cost a start a tenth of a
 * second of processor time, and most servers see a few thousand.
 */
final class PositionTable {
    private static final int ROWS_AT_ONCE = 512;

    private final MemorySegment data;
    private final long rows;
    private final RowFiller filler;
    private final float[] row;
    private long numFilled;

    /** @param data F32 {@code [rows, cols]} */
    PositionTable(MemorySegment data, long rows, int cols, RowFiller filler) {
        this.data = data;
        this.rows = rows;
        this.filler = filler;
        this.row = new float[cols];
    }

    /** Rows {@code [0, count)} are there when this returns; {@code count} may be beyond the table. Allocates nothing. */
    void reach(long count) {
        if (count <= numFilled) {
            return;
        }
        long end = Math.min(rows, Math.ceilDiv(count, ROWS_AT_ONCE) * (long) ROWS_AT_ONCE);
        for (; numFilled < end; numFilled++) {
            filler.fill(numFilled, row);
            MemorySegment.copy(row, 0, data, ValueLayout.JAVA_FLOAT, numFilled * row.length * Float.BYTES, row.length);
        }
    }
}

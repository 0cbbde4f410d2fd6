package io.millrace.kernels;

import java.lang.foreign.MemorySegment;
import java.lang.foreign.ValueLayout;
import java.util.stream.LongStream;

/** Computes a constant row by row, so that a large table never stands on the Java heap. Called from several threads, in any order. */
@FunctionalInterface
public interface RowFiller {
    /** Rows that one task fills: enough to be worth a task, few enough to spread. */
    int ROWS_PER_TASK = 1024;

    /** Writes all of {@code values}, F32 {@code [cols]}, the row {@code row}. */
    void fill(long row, float[] values);

    /** Fills F32 {@code [rows, cols]} at {@code data}, on all cores where there is much to do. {@code data} must allow access from any thread. */
    default void fillAll(MemorySegment data, long rows, int cols) {
        LongStream tasks = LongStream.range(0, Math.ceilDiv(rows, (long) ROWS_PER_TASK));
        // A small table is done before a pool has started.
        (rows * cols > 1 << 18 ? tasks.parallel() : tasks).forEach(task -> {
            float[] values = new float[cols];
            for (long row = task * ROWS_PER_TASK; row < Math.min(rows, (task + 1) * ROWS_PER_TASK); row++) {
                fill(row, values);
                MemorySegment.copy(values, 0, data, ValueLayout.JAVA_FLOAT, row * cols * Float.BYTES, cols);
            }
        });
    }
}

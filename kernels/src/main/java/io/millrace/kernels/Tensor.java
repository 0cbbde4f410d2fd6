package io.millrace.kernels;

import java.lang.foreign.MemorySegment;

/**
 * A dense row-major matrix {@code [rows, cols]} at a fixed native address. Memory is owned by the {@link Backend} that made it.
 *
 * @param name    for messages and memory accounting
 * @param extent  what sets the number of rows used in a step
 * @param rows    capacity in rows
 * @param cols    elements per row
 * @param data    the native memory, {@code rows * cols * dtype.bytes()} bytes, 64-byte aligned
 */
public record Tensor(String name, DType dtype, Extent extent, long rows, long cols, MemorySegment data) {
    public long byteSize() {
        return rows * cols * dtype.bytes();
    }
}

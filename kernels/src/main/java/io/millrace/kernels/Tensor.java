package io.millrace.kernels;

import java.lang.foreign.MemorySegment;

/**
 * A row-major matrix {@code [rows, cols]} at a fixed native address. Memory is owned by the {@link Backend} that made it: on a GPU it is the
 * device's, at a device address, and rows may be padded. {@link Backend#read} and {@link Backend#write} work everywhere.
 *
 * @param name    for messages and memory accounting
 * @param extent  what sets the number of rows used in a step
 * @param rows    capacity in rows
 * @param cols    elements per row
 * @param data    the memory, {@code rows * cols * dtype.bytes()} bytes at least, 64-byte aligned; of the host for backends that compute there
 */
public record Tensor(String name, DType dtype, Extent extent, long rows, long cols, MemorySegment data) {
    public long byteSize() {
        return rows * cols * dtype.bytes();
    }
}

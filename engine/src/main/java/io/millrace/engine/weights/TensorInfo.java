package io.millrace.engine.weights;

import java.util.List;

/**
 * One tensor of a safetensors file, already checked: {@code end - begin} is the product of {@code shape} times the element size.
 *
 * @param shape outermost dimension first; empty for a scalar
 * @param begin first byte, counted from the start of the data section
 * @param end   one past the last byte
 */
public record TensorInfo(String name, StorageType type, List<Long> shape, long begin, long end) {
    public TensorInfo {
        shape = List.copyOf(shape);
    }

    public long byteSize() {
        return end - begin;
    }
}

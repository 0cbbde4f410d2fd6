package io.millrace.engine.weights;

import java.util.List;

/**
 * One tensor of a GGUF file, already checked against the file's size.
 *
 * @param shape  outermost dimension first (the file has them the other way round)
 * @param offset first byte, counted from the start of the data section
 */
public record GgufTensor(String name, GgmlType type, List<Long> shape, long offset, long byteSize) {
    public GgufTensor {
        shape = List.copyOf(shape);
    }

    public long numElements() {
        return byteSize / type.blockBytes() * type.blockElements();
    }
}

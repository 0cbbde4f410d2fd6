package io.millrace.engine.weights;

import io.millrace.kernels.WeightFormat;
import java.lang.foreign.MemorySegment;
import java.nio.file.Path;
import java.util.List;
import java.util.Optional;

/**
 * A tensor as it lies in its file.
 *
 * @param type  the file's own name of the element type
 * @param format how the kernels take it; empty if they do not
 * @param shape outermost dimension first
 * @param data  row-major, of any alignment; borrowed until the source is closed
 * @param pairRows order of the rows of {@code data}, 0 for the usual one; see {@link io.millrace.kernels.WeightPart}
 */
public record StoredTensor(String name, Path file, String type, Optional<WeightFormat> format, List<Long> shape, MemorySegment data, int pairRows) {
    /** Rows in order. */
    public StoredTensor(String name, Path file, String type, Optional<WeightFormat> format, List<Long> shape, MemorySegment data) {
        this(name, file, type, format, shape, data, 0);
    }

    public long numElements() {
        return shape.stream().mapToLong(Long::longValue).reduce(1, (a, b) -> a * b);
    }
}

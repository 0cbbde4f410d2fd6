package io.millrace.engine.weights;

/** An array in GGUF metadata. The arrays are not copied and must not be changed. */
public sealed interface GgufArray {
    record Strings(String[] values) implements GgufArray {}

    record Floats(float[] values) implements GgufArray {}

    /** Integers of any width, and booleans as 0 and 1. */
    record Integers(long[] values) implements GgufArray {}
}

package io.millrace.bindings.cuda;

import static java.lang.foreign.ValueLayout.ADDRESS;
import static java.lang.foreign.ValueLayout.JAVA_INT;
import static java.lang.foreign.ValueLayout.JAVA_LONG;

import java.lang.foreign.Arena;
import java.lang.foreign.MemorySegment;

/**
 * One launch, prepared in native memory: kernel, grid, block, shared memory, stream and the one structure that the kernel takes by value.
 * Made once, launched as often as wanted; what has changed in between is what the next launch takes. Not safe for threads.
 *
 * <pre>
 *     CUlaunchConfig                                     bytes 0 to 56
 *     CUlaunchAttribute programmaticStreamSerialization  bytes 56 to 128
 *     void *kernelParams[1]                              bytes 128 to 136
 *     the parameters                                     from byte 144
 * </pre>
 */
public final class KernelLaunch {
    private static final long GRID = 0;
    private static final long BLOCK = 12;
    private static final long SHARED_BYTES = 24;
    private static final long STREAM = 32;
    private static final long ATTRIBUTES = 40;
    private static final long NUM_ATTRIBUTES = 48;
    private static final long ATTRIBUTE_ID = 56;
    private static final long ATTRIBUTE_VALUE = 64;
    private static final long PARAMETER_POINTERS = 128;
    private static final long PARAMETERS = 144;
    private static final int PROGRAMMATIC_STREAM_SERIALIZATION = 6;
    /** What CUDA allows for all parameters of a kernel on every architecture. */
    private static final long MAX_PARAMETER_BYTES = 4096;

    private final long function;
    private final MemorySegment memory;
    private final MemorySegment parameters;

    /**
     * @param arena          owns the native memory
     * @param function       the kernel, see {@link CudaWork#function}
     * @param parameterBytes size of the structure that the kernel takes
     */
    public KernelLaunch(Arena arena, long function, long parameterBytes) {
        if (parameterBytes < 1 || parameterBytes > MAX_PARAMETER_BYTES) {
            throw new IllegalArgumentException("a kernel takes 1 to " + MAX_PARAMETER_BYTES + " bytes of parameters, not " + parameterBytes);
        }
        this.function = function;
        memory = arena.allocate(PARAMETERS + parameterBytes, 16);
        parameters = memory.asSlice(PARAMETERS);
        memory.set(ADDRESS, ATTRIBUTES, memory.asSlice(ATTRIBUTE_ID));
        memory.set(JAVA_INT, ATTRIBUTE_ID, PROGRAMMATIC_STREAM_SERIALIZATION);
        memory.set(JAVA_INT, ATTRIBUTE_VALUE, 1);
        memory.set(ADDRESS, PARAMETER_POINTERS, parameters);
        grid(1, 1, 1);
        block(1);
    }

    /** Where the parameters are written, through the accessors of the generated structure. */
    public MemorySegment parameters() {
        return parameters;
    }

    public KernelLaunch grid(int x, int y, int z) {
        memory.set(JAVA_INT, GRID, x);
        memory.set(JAVA_INT, GRID + 4, y);
        memory.set(JAVA_INT, GRID + 8, z);
        return this;
    }

    public KernelLaunch block(int threads) {
        memory.set(JAVA_INT, BLOCK, threads);
        memory.set(JAVA_INT, BLOCK + 4, 1);
        memory.set(JAVA_INT, BLOCK + 8, 1);
        return this;
    }

    public KernelLaunch dynamicSharedBytes(int bytes) {
        memory.set(JAVA_INT, SHARED_BYTES, bytes);
        return this;
    }

    public KernelLaunch stream(long stream) {
        memory.set(JAVA_LONG, STREAM, stream);
        return this;
    }

    /** Programmatic dependent launch: the kernel may start before its predecessor has ended, and waits for it itself. */
    public KernelLaunch programmatic(boolean on) {
        memory.set(JAVA_INT, NUM_ATTRIBUTES, on ? 1 : 0);
        return this;
    }

    long function() {
        return function;
    }

    long config() {
        return memory.address();
    }

    long parameterPointers() {
        return memory.address() + PARAMETER_POINTERS;
    }

    int gridX() {
        return memory.get(JAVA_INT, GRID);
    }

    int gridY() {
        return memory.get(JAVA_INT, GRID + 4);
    }

    int gridZ() {
        return memory.get(JAVA_INT, GRID + 8);
    }

    int threads() {
        return memory.get(JAVA_INT, BLOCK);
    }

    int sharedBytes() {
        return memory.get(JAVA_INT, SHARED_BYTES);
    }

    long stream() {
        return memory.get(JAVA_LONG, STREAM);
    }

    /** Whether it may start before its predecessor has ended. */
    public boolean programmatic() {
        return memory.get(JAVA_INT, NUM_ATTRIBUTES) != 0;
    }
}

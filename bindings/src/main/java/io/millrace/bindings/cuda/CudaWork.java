package io.millrace.bindings.cuda;

import java.lang.foreign.MemorySegment;

/**
 * The hot half of a driver: modules, memory, streams, events, launches, graphs. Copies, memsets, records, launches and graph launches
 * are enqueued on a stream and allocate nothing on the Java heap; what they read or write must stay until the stream has got there.
 *
 * <p>Host memory is native: a segment on the Java heap is refused. Stream 0 is CUDA's default stream.
 */
public interface CudaWork {
    // --- modules

    /**
     * Loads machine code for the current context's device from a fatbin, a cubin or PTX (ending with a zero byte). Of a fatbin the driver
     * takes the device's own code or else compiles its PTX.
     *
     * @throws CudaException of kind {@link CudaFault#NO_KERNEL_IMAGE} if there is neither; with the compiler's log where it has one
     */
    long loadModule(MemorySegment image);

    void unloadModule(long module);

    /** A kernel by its C name. */
    long function(long module, String name);

    int functionAttribute(long function, FunctionAttribute attribute);

    /**
     * Needed once for kernels that are launched with more than 48 KiB of dynamic shared memory; refused beyond
     * {@link DeviceAttribute#MAX_SHARED_BYTES_PER_BLOCK}.
     */
    void setMaxDynamicSharedBytes(long function, int bytes);

    /** Blocks of the kernel that one multiprocessor holds at once. */
    int maxActiveBlocks(long function, int threadsPerBlock, long dynamicSharedBytes);

    // --- memory

    /**
     * Device memory, aligned to 256 bytes at least, content undefined.
     *
     * @throws CudaException of kind {@link CudaFault#OUT_OF_MEMORY}
     */
    long allocate(long bytes);

    /** Waits for the device where it is busy. 0 is allowed. */
    void free(long address);

    /** Host memory that cannot be paged out, mapped into the device's address space, usable from every context. */
    PinnedMemory allocatePinned(long bytes);

    void freePinned(PinnedMemory memory);

    /** Sets bytes. Here and in the copies none at all is allowed, at any address: the driver, which need not allow that, is not called. */
    void fill(long address, byte value, long bytes, long stream);

    /** Host to device, {@code bytes} from the source's begin. Overlaps with other work only if the source is pinned. */
    void copyToDevice(long target, MemorySegment source, long bytes, long stream);

    /** Device to host, {@code bytes} to the target's begin. Overlaps with other work only if the target is pinned. */
    void copyToHost(MemorySegment target, long source, long bytes, long stream);

    /** Device to device; also between devices that may access each other. */
    void copyOnDevice(long target, long source, long bytes, long stream);

    // --- streams and events

    /** A stream that does not wait for the default stream. */
    long createStream();

    void destroyStream(long stream);

    /** Waits until everything on the stream is done. */
    void synchronize(long stream);

    /** Whether everything on the stream is done. Never waits. */
    boolean isIdle(long stream);

    /** What is enqueued on the stream from now on waits for the event, as it was last recorded. */
    void waitFor(long stream, long event);

    /** @param timed whether {@link #elapsedMillis} may be asked; untimed events are cheaper */
    long createEvent(boolean timed);

    void destroyEvent(long event);

    void record(long event, long stream);

    /** Whether the event, as last recorded, has happened. Never waits. */
    boolean hasHappened(long event);

    void synchronizeEvent(long event);

    /** Between two timed events that have happened; in milliseconds, of a resolution around half a microsecond. */
    float elapsedMillis(long begin, long end);

    // --- launches and graphs

    /** Enqueues the kernel. The parameters are copied by this call. */
    void launch(KernelLaunch launch);

    /** From here to {@link #endCapture}, what the calling thread enqueues on the stream becomes part of a graph and is not run. */
    void beginCapture(long stream);

    /** @return the graph; also where work in between failed, in which case this throws and the stream is usable again */
    long endCapture(long stream);

    int graphNodes(long graph);

    /** A runnable form of the graph. The graph may be destroyed at once. */
    long instantiate(long graph);

    void destroyGraph(long graph);

    /** Brings what a graph needs to the device, so that its first launch is as fast as the others. */
    void uploadGraph(long executable, long stream);

    void launchGraph(long executable, long stream);

    void destroyExecutable(long executable);

    /**
     * Pinned host memory.
     *
     * @param segment       the host's view, {@code bytes} long; no arena watches it: not to be used after {@link #freePinned}
     * @param deviceAddress the device's view
     */
    record PinnedMemory(MemorySegment segment, long deviceAddress) {}
}

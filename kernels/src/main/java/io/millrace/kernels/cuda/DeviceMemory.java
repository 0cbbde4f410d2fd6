package io.millrace.kernels.cuda;

import io.millrace.bindings.cuda.CudaDriver;
import io.millrace.bindings.cuda.CudaWork.PinnedMemory;
import java.lang.foreign.Arena;
import java.lang.foreign.MemorySegment;
import java.util.ArrayList;
import java.util.List;

/** All device and pinned memory of a backend: allocated here, freed by {@link #close}. */
final class DeviceMemory implements AutoCloseable {
    private static final MemorySegment ADDRESS_SPACE = MemorySegment.NULL.reinterpret(Long.MAX_VALUE);

    private final CudaDriver driver;
    private final long stream;
    private final Arena arena;
    private final List<Long> addresses = new ArrayList<>();
    private final List<PinnedMemory> pinned = new ArrayList<>();

    /** @param arena what segments of device memory live as long as; it owns none of it */
    DeviceMemory(CudaDriver driver, long stream, Arena arena) {
        this.driver = driver;
        this.stream = stream;
        this.arena = arena;
    }

    /** Zeroed. */
    long allocate(long bytes) {
        long address = driver.allocate(bytes);
        addresses.add(address);
        driver.fill(address, (byte) 0, bytes, stream);
        return address;
    }

    void free(long address) {
        addresses.remove(address);
        driver.free(address);
    }

    /** Content undefined. */
    long allocateRaw(long bytes) {
        long address = driver.allocate(bytes);
        addresses.add(address);
        return address;
    }

    /** Device memory as a segment that must not be followed on the host. */
    MemorySegment segment(long address, long bytes) {
        return MemorySegment.ofAddress(address).reinterpret(bytes, arena, null);
    }

    /** Zeroed. */
    PinnedMemory allocatePinned(long bytes) {
        PinnedMemory memory = driver.allocatePinned(bytes);
        pinned.add(memory);
        memory.segment().fill((byte) 0);
        return memory;
    }

    void freePinned(PinnedMemory memory) {
        pinned.remove(memory);
        driver.freePinned(memory);
    }

    /** The host's memory at raw addresses. */
    static MemorySegment hostMemory() {
        return ADDRESS_SPACE;
    }

    @Override
    public void close() {
        addresses.forEach(driver::free);
        addresses.clear();
        pinned.forEach(driver::freePinned);
        pinned.clear();
    }
}

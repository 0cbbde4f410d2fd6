package io.millrace.bindings.cuda;

/** What can be asked of a device ({@code CUdevice_attribute}), as far as this program asks. */
public enum DeviceAttribute {
    INTEGRATED(18),
    COMPUTE_MODE(20),
    PCI_BUS(33),
    PCI_DEVICE(34),
    PCI_DOMAIN(50),
    MULTIPROCESSORS(16),
    CLOCK_KHZ(13),
    MEMORY_CLOCK_KHZ(36),
    MEMORY_BUS_BITS(37),
    L2_CACHE_BYTES(38),
    MAX_THREADS_PER_MULTIPROCESSOR(39),
    COMPUTE_CAPABILITY_MAJOR(75),
    COMPUTE_CAPABILITY_MINOR(76),
    SHARED_BYTES_PER_MULTIPROCESSOR(81),
    REGISTERS_PER_MULTIPROCESSOR(82),
    /** What a kernel may have if it opts in; see {@link CudaWork#setMaxDynamicSharedBytes}. */
    MAX_SHARED_BYTES_PER_BLOCK(97);

    final int number;

    DeviceAttribute(int number) {
        this.number = number;
    }
}

package io.millrace.bindings.cuda;

import java.util.Locale;

/** The cold half of a driver: what a start needs to know of the machine, contexts, peers, memory left. Devices are ordinals from 0. */
public interface CudaDevices {
    /**
     * {@code cuInit}: once, before everything else here except {@link #driverVersion}.
     *
     * @throws CudaException of kind {@link CudaFault#NO_DEVICE} or {@link CudaFault#DRIVER_TOO_OLD}
     */
    void initialize();

    /** What the driver supports: 13000 for CUDA 13.0. */
    int driverVersion();

    int deviceCount();

    String deviceName(int device);

    int deviceAttribute(int device, DeviceAttribute attribute);

    long deviceMemoryBytes(int device);

    /** {@code 00000000:01:00.0}: by this other libraries know the device. */
    default String pciBusId(int device) {
        return String.format(Locale.ROOT, "%08x:%02x:%02x.0", deviceAttribute(device, DeviceAttribute.PCI_DOMAIN),
                deviceAttribute(device, DeviceAttribute.PCI_BUS), deviceAttribute(device, DeviceAttribute.PCI_DEVICE));
    }

    /** The device's primary context, made if need be: the one that all libraries share. Each call is undone by one release. */
    long retainPrimaryContext(int device);

    void releasePrimaryContext(int device);

    /** Makes the context current for the calling thread; 0 for none. */
    void setCurrent(long context);

    /** Waits for all work of the current context. */
    void synchronizeContext();

    /** Memory of the current context's device. */
    MemoryInfo memoryInfo();

    boolean canAccessPeer(int device, int peer);

    /** Lets the current context use memory of another. Does nothing where it already may. */
    void enablePeerAccess(long peerContext);

    record MemoryInfo(long freeBytes, long totalBytes) {}
}

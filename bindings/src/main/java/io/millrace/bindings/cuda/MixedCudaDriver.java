package io.millrace.bindings.cuda;

/** What a start asks of the machine through JCuda, all else through the foreign function interface, on the same primary context. */
final class MixedCudaDriver extends FfmWork implements CudaDriver {
    private final CudaDevices devices = new JCudaDevices(errors);

    @Override
    public String name() {
        return "mixed";
    }

    @Override
    public CudaException poison() {
        return errors.poison();
    }

    @Override
    public void initialize() {
        devices.initialize();
    }

    @Override
    public int driverVersion() {
        return devices.driverVersion();
    }

    @Override
    public int deviceCount() {
        return devices.deviceCount();
    }

    @Override
    public String deviceName(int device) {
        return devices.deviceName(device);
    }

    @Override
    public int deviceAttribute(int device, DeviceAttribute attribute) {
        return devices.deviceAttribute(device, attribute);
    }

    @Override
    public long deviceMemoryBytes(int device) {
        return devices.deviceMemoryBytes(device);
    }

    @Override
    public long retainPrimaryContext(int device) {
        return devices.retainPrimaryContext(device);
    }

    @Override
    public void releasePrimaryContext(int device) {
        devices.releasePrimaryContext(device);
    }

    @Override
    public void setCurrent(long context) {
        devices.setCurrent(context);
    }

    @Override
    public void synchronizeContext() {
        devices.synchronizeContext();
    }

    @Override
    public MemoryInfo memoryInfo() {
        return devices.memoryInfo();
    }

    @Override
    public boolean canAccessPeer(int device, int peer) {
        return devices.canAccessPeer(device, peer);
    }

    @Override
    public void enablePeerAccess(long peerContext) {
        devices.enablePeerAccess(peerContext);
    }
}

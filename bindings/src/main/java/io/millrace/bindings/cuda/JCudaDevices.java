package io.millrace.bindings.cuda;

import java.nio.charset.StandardCharsets;
import jcuda.driver.CUcontext;
import jcuda.driver.CUdevice;
import jcuda.driver.JCudaDriver;

/** {@link CudaDevices} through JCuda. */
class JCudaDevices implements CudaDevices {
    private static final int NAME_BYTES = 256;

    final CudaErrors errors;
    final JCudaHandles handles = new JCudaHandles();

    JCudaDevices(CudaErrors errors) {
        JCudaLibrary.load();
        this.errors = errors;
    }

    @Override
    public void initialize() {
        errors.check("cuInit", JCudaDriver.cuInit(0));
        errors.requireVersion(driverVersion());
    }

    @Override
    public int driverVersion() {
        int[] out = new int[1];
        errors.check("cuDriverGetVersion", JCudaDriver.cuDriverGetVersion(out));
        return out[0];
    }

    @Override
    public int deviceCount() {
        int[] out = new int[1];
        errors.check("cuDeviceGetCount", JCudaDriver.cuDeviceGetCount(out));
        return out[0];
    }

    private CUdevice device(int ordinal) {
        CUdevice device = new CUdevice();
        errors.check("cuDeviceGet", JCudaDriver.cuDeviceGet(device, ordinal));
        return device;
    }

    @Override
    public String deviceName(int device) {
        byte[] out = new byte[NAME_BYTES];
        errors.check("cuDeviceGetName", JCudaDriver.cuDeviceGetName(out, NAME_BYTES, device(device)));
        int end = 0;
        while (end < NAME_BYTES && out[end] != 0) {
            end++;
        }
        return new String(out, 0, end, StandardCharsets.UTF_8);
    }

    @Override
    public int deviceAttribute(int device, DeviceAttribute attribute) {
        int[] out = new int[1];
        errors.check("cuDeviceGetAttribute", JCudaDriver.cuDeviceGetAttribute(out, attribute.number, device(device)));
        return out[0];
    }

    @Override
    public long deviceMemoryBytes(int device) {
        long[] out = new long[1];
        errors.check("cuDeviceTotalMem", JCudaDriver.cuDeviceTotalMem(out, device(device)));
        return out[0];
    }

    @Override
    public long retainPrimaryContext(int device) {
        JCudaHandles.Context context = new JCudaHandles.Context();
        errors.check("cuDevicePrimaryCtxRetain", JCudaDriver.cuDevicePrimaryCtxRetain(context, device(device)));
        return handles.keep(context, context.number());
    }

    @Override
    public void releasePrimaryContext(int device) {
        errors.check("cuDevicePrimaryCtxRelease", JCudaDriver.cuDevicePrimaryCtxRelease(device(device)));
    }

    @Override
    public void setCurrent(long context) {
        CUcontext none = new CUcontext();
        errors.check("cuCtxSetCurrent", JCudaDriver.cuCtxSetCurrent(context == 0 ? none : handles.get(CUcontext.class, context)));
    }

    @Override
    public void synchronizeContext() {
        errors.check("cuCtxSynchronize", JCudaDriver.cuCtxSynchronize());
    }

    @Override
    public MemoryInfo memoryInfo() {
        long[] free = new long[1];
        long[] total = new long[1];
        errors.check("cuMemGetInfo", JCudaDriver.cuMemGetInfo(free, total));
        return new MemoryInfo(free[0], total[0]);
    }

    @Override
    public boolean canAccessPeer(int device, int peer) {
        int[] out = new int[1];
        errors.check("cuDeviceCanAccessPeer", JCudaDriver.cuDeviceCanAccessPeer(out, device(device), device(peer)));
        return out[0] != 0;
    }

    @Override
    public void enablePeerAccess(long peerContext) {
        int status = JCudaDriver.cuCtxEnablePeerAccess(handles.get(CUcontext.class, peerContext), 0);
        if (status != CudaStatus.PEER_ACCESS_ALREADY_ENABLED) {
            errors.check("cuCtxEnablePeerAccess", status);
        }
    }
}

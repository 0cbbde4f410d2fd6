package io.millrace.bindings.cuda;

import static io.millrace.bindings.cuda.CudaLibrary.bind;
import static io.millrace.bindings.cuda.CudaLibrary.unexpected;
import static java.lang.foreign.ValueLayout.JAVA_INT;
import static java.lang.foreign.ValueLayout.JAVA_LONG;

import java.lang.foreign.Arena;
import java.lang.foreign.MemorySegment;
import java.lang.invoke.MethodHandle;

/** Everything through the foreign function interface. */
final class FfmCudaDriver extends FfmWork implements CudaDriver {
    private static final MethodHandle INIT = bind("cuInit", JAVA_INT);
    private static final MethodHandle DRIVER_VERSION = bind("cuDriverGetVersion", JAVA_LONG);
    private static final MethodHandle COUNT = bind("cuDeviceGetCount", JAVA_LONG);
    private static final MethodHandle DEVICE = bind("cuDeviceGet", JAVA_LONG, JAVA_INT);
    private static final MethodHandle NAME = bind("cuDeviceGetName", JAVA_LONG, JAVA_INT, JAVA_INT);
    private static final MethodHandle ATTRIBUTE = bind("cuDeviceGetAttribute", JAVA_LONG, JAVA_INT, JAVA_INT);
    private static final MethodHandle MEMORY = bind("cuDeviceTotalMem_v2", JAVA_LONG, JAVA_INT);
    private static final MethodHandle RETAIN = bind("cuDevicePrimaryCtxRetain", JAVA_LONG, JAVA_INT);
    private static final MethodHandle RELEASE = bind("cuDevicePrimaryCtxRelease_v2", JAVA_INT);
    private static final MethodHandle SET_CURRENT = bind("cuCtxSetCurrent", JAVA_LONG);
    private static final MethodHandle SYNCHRONIZE = bind("cuCtxSynchronize");
    private static final MethodHandle MEMORY_INFO = bind("cuMemGetInfo_v2", JAVA_LONG, JAVA_LONG);
    private static final MethodHandle CAN_ACCESS_PEER = bind("cuDeviceCanAccessPeer", JAVA_LONG, JAVA_INT, JAVA_INT);
    private static final MethodHandle ENABLE_PEER = bind("cuCtxEnablePeerAccess", JAVA_LONG, JAVA_INT);
    private static final int NAME_BYTES = 256;

    @Override
    public String name() {
        return "ffm";
    }

    @Override
    public CudaException poison() {
        return errors.poison();
    }

    @Override
    public void initialize() {
        try {
            errors.check("cuInit", (int) INIT.invokeExact(0));
            errors.requireVersion(driverVersion());
        } catch (Throwable e) {
            throw unexpected(e);
        }
    }

    @Override
    public int driverVersion() {
        try (Arena arena = Arena.ofConfined()) {
            MemorySegment out = arena.allocate(JAVA_INT);
            errors.check("cuDriverGetVersion", (int) DRIVER_VERSION.invokeExact(out.address()));
            return out.get(JAVA_INT, 0);
        } catch (Throwable e) {
            throw unexpected(e);
        }
    }

    @Override
    public int deviceCount() {
        try (Arena arena = Arena.ofConfined()) {
            MemorySegment out = arena.allocate(JAVA_INT);
            errors.check("cuDeviceGetCount", (int) COUNT.invokeExact(out.address()));
            return out.get(JAVA_INT, 0);
        } catch (Throwable e) {
            throw unexpected(e);
        }
    }

    private int handle(int device) {
        try (Arena arena = Arena.ofConfined()) {
            MemorySegment out = arena.allocate(JAVA_INT);
            errors.check("cuDeviceGet", (int) DEVICE.invokeExact(out.address(), device));
            return out.get(JAVA_INT, 0);
        } catch (Throwable e) {
            throw unexpected(e);
        }
    }

    @Override
    public String deviceName(int device) {
        try (Arena arena = Arena.ofConfined()) {
            MemorySegment out = arena.allocate(NAME_BYTES);
            errors.check("cuDeviceGetName", (int) NAME.invokeExact(out.address(), NAME_BYTES, handle(device)));
            return out.getString(0);
        } catch (Throwable e) {
            throw unexpected(e);
        }
    }

    @Override
    public int deviceAttribute(int device, DeviceAttribute attribute) {
        try (Arena arena = Arena.ofConfined()) {
            MemorySegment out = arena.allocate(JAVA_INT);
            errors.check("cuDeviceGetAttribute", (int) ATTRIBUTE.invokeExact(out.address(), attribute.number, handle(device)));
            return out.get(JAVA_INT, 0);
        } catch (Throwable e) {
            throw unexpected(e);
        }
    }

    @Override
    public long deviceMemoryBytes(int device) {
        try (Arena arena = Arena.ofConfined()) {
            MemorySegment out = arena.allocate(JAVA_LONG);
            errors.check("cuDeviceTotalMem", (int) MEMORY.invokeExact(out.address(), handle(device)));
            return out.get(JAVA_LONG, 0);
        } catch (Throwable e) {
            throw unexpected(e);
        }
    }

    @Override
    public long retainPrimaryContext(int device) {
        try (Arena arena = Arena.ofConfined()) {
            MemorySegment out = arena.allocate(JAVA_LONG);
            errors.check("cuDevicePrimaryCtxRetain", (int) RETAIN.invokeExact(out.address(), handle(device)));
            return out.get(JAVA_LONG, 0);
        } catch (Throwable e) {
            throw unexpected(e);
        }
    }

    @Override
    public void releasePrimaryContext(int device) {
        try {
            errors.check("cuDevicePrimaryCtxRelease", (int) RELEASE.invokeExact(handle(device)));
        } catch (Throwable e) {
            throw unexpected(e);
        }
    }

    @Override
    public void setCurrent(long context) {
        try {
            errors.check("cuCtxSetCurrent", (int) SET_CURRENT.invokeExact(context));
        } catch (Throwable e) {
            throw unexpected(e);
        }
    }

    @Override
    public void synchronizeContext() {
        try {
            errors.check("cuCtxSynchronize", (int) SYNCHRONIZE.invokeExact());
        } catch (Throwable e) {
            throw unexpected(e);
        }
    }

    @Override
    public MemoryInfo memoryInfo() {
        try (Arena arena = Arena.ofConfined()) {
            MemorySegment out = arena.allocate(JAVA_LONG, 2);
            errors.check("cuMemGetInfo", (int) MEMORY_INFO.invokeExact(out.address(), out.address() + Long.BYTES));
            return new MemoryInfo(out.getAtIndex(JAVA_LONG, 0), out.getAtIndex(JAVA_LONG, 1));
        } catch (Throwable e) {
            throw unexpected(e);
        }
    }

    @Override
    public boolean canAccessPeer(int device, int peer) {
        try (Arena arena = Arena.ofConfined()) {
            MemorySegment out = arena.allocate(JAVA_INT);
            errors.check("cuDeviceCanAccessPeer", (int) CAN_ACCESS_PEER.invokeExact(out.address(), handle(device), handle(peer)));
            return out.get(JAVA_INT, 0) != 0;
        } catch (Throwable e) {
            throw unexpected(e);
        }
    }

    @Override
    public void enablePeerAccess(long peerContext) {
        try {
            int status = (int) ENABLE_PEER.invokeExact(peerContext, 0);
            if (status != CudaStatus.PEER_ACCESS_ALREADY_ENABLED) {
                errors.check("cuCtxEnablePeerAccess", status);
            }
        } catch (Throwable e) {
            throw unexpected(e);
        }
    }
}

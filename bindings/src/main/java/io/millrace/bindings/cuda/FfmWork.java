package io.millrace.bindings.cuda;

import static io.millrace.bindings.cuda.CudaLibrary.address;
import static io.millrace.bindings.cuda.CudaLibrary.bind;
import static io.millrace.bindings.cuda.CudaLibrary.unexpected;
import static java.lang.foreign.ValueLayout.JAVA_BYTE;
import static java.lang.foreign.ValueLayout.JAVA_FLOAT;
import static java.lang.foreign.ValueLayout.JAVA_INT;
import static java.lang.foreign.ValueLayout.JAVA_LONG;

import java.lang.foreign.Arena;
import java.lang.foreign.MemorySegment;
import java.lang.invoke.MethodHandle;

/**
 * {@link CudaWork} through the foreign function interface. What runs once per step allocates nothing: every argument is a number, and no
 * result is written anywhere.
 */
abstract sealed class FfmWork implements CudaWork permits FfmCudaDriver, MixedCudaDriver {
    private static final MethodHandle MODULE_LOAD = bind("cuModuleLoadDataEx", JAVA_LONG, JAVA_LONG, JAVA_INT, JAVA_LONG, JAVA_LONG);
    private static final MethodHandle MODULE_UNLOAD = bind("cuModuleUnload", JAVA_LONG);
    private static final MethodHandle MODULE_FUNCTION = bind("cuModuleGetFunction", JAVA_LONG, JAVA_LONG, JAVA_LONG);
    private static final MethodHandle FUNCTION_ATTRIBUTE = bind("cuFuncGetAttribute", JAVA_LONG, JAVA_INT, JAVA_LONG);
    private static final MethodHandle SET_FUNCTION_ATTRIBUTE = bind("cuFuncSetAttribute", JAVA_LONG, JAVA_INT, JAVA_INT);
    private static final MethodHandle OCCUPANCY = bind("cuOccupancyMaxActiveBlocksPerMultiprocessor", JAVA_LONG, JAVA_LONG, JAVA_INT, JAVA_LONG);
    private static final MethodHandle ALLOCATE = bind("cuMemAlloc_v2", JAVA_LONG, JAVA_LONG);
    private static final MethodHandle FREE = bind("cuMemFree_v2", JAVA_LONG);
    private static final MethodHandle HOST_ALLOCATE = bind("cuMemHostAlloc", JAVA_LONG, JAVA_LONG, JAVA_INT);
    private static final MethodHandle HOST_DEVICE_POINTER = bind("cuMemHostGetDevicePointer_v2", JAVA_LONG, JAVA_LONG, JAVA_INT);
    private static final MethodHandle HOST_FREE = bind("cuMemFreeHost", JAVA_LONG);
    private static final MethodHandle FILL = bind("cuMemsetD8Async", JAVA_LONG, JAVA_BYTE, JAVA_LONG, JAVA_LONG);
    private static final MethodHandle TO_DEVICE = bind("cuMemcpyHtoDAsync_v2", JAVA_LONG, JAVA_LONG, JAVA_LONG, JAVA_LONG);
    private static final MethodHandle TO_HOST = bind("cuMemcpyDtoHAsync_v2", JAVA_LONG, JAVA_LONG, JAVA_LONG, JAVA_LONG);
    private static final MethodHandle ON_DEVICE = bind("cuMemcpyDtoDAsync_v2", JAVA_LONG, JAVA_LONG, JAVA_LONG, JAVA_LONG);
    private static final MethodHandle STREAM_CREATE = bind("cuStreamCreate", JAVA_LONG, JAVA_INT);
    private static final MethodHandle STREAM_DESTROY = bind("cuStreamDestroy_v2", JAVA_LONG);
    private static final MethodHandle STREAM_SYNCHRONIZE = bind("cuStreamSynchronize", JAVA_LONG);
    private static final MethodHandle STREAM_QUERY = bind("cuStreamQuery", JAVA_LONG);
    private static final MethodHandle STREAM_WAIT = bind("cuStreamWaitEvent", JAVA_LONG, JAVA_LONG, JAVA_INT);
    private static final MethodHandle EVENT_CREATE = bind("cuEventCreate", JAVA_LONG, JAVA_INT);
    private static final MethodHandle EVENT_DESTROY = bind("cuEventDestroy_v2", JAVA_LONG);
    private static final MethodHandle EVENT_RECORD = bind("cuEventRecord", JAVA_LONG, JAVA_LONG);
    private static final MethodHandle EVENT_QUERY = bind("cuEventQuery", JAVA_LONG);
    private static final MethodHandle EVENT_SYNCHRONIZE = bind("cuEventSynchronize", JAVA_LONG);
    private static final MethodHandle EVENT_ELAPSED = bind("cuEventElapsedTime", JAVA_LONG, JAVA_LONG, JAVA_LONG);
    private static final MethodHandle LAUNCH = bind("cuLaunchKernelEx", JAVA_LONG, JAVA_LONG, JAVA_LONG, JAVA_LONG);
    private static final MethodHandle BEGIN_CAPTURE = bind("cuStreamBeginCapture_v2", JAVA_LONG, JAVA_INT);
    private static final MethodHandle END_CAPTURE = bind("cuStreamEndCapture", JAVA_LONG, JAVA_LONG);
    private static final MethodHandle GRAPH_NODES = bind("cuGraphGetNodes", JAVA_LONG, JAVA_LONG, JAVA_LONG);
    private static final MethodHandle INSTANTIATE = bind("cuGraphInstantiateWithFlags", JAVA_LONG, JAVA_LONG, JAVA_LONG);
    private static final MethodHandle GRAPH_DESTROY = bind("cuGraphDestroy", JAVA_LONG);
    private static final MethodHandle GRAPH_UPLOAD = bind("cuGraphUpload", JAVA_LONG, JAVA_LONG);
    private static final MethodHandle GRAPH_LAUNCH = bind("cuGraphLaunch", JAVA_LONG, JAVA_LONG);
    private static final MethodHandle EXECUTABLE_DESTROY = bind("cuGraphExecDestroy", JAVA_LONG);

    final CudaErrors errors = new CudaErrors();

    // --- modules

    @Override
    public long loadModule(MemorySegment image) {
        try (Arena arena = Arena.ofConfined()) {
            MemorySegment out = arena.allocate(JAVA_LONG);
            // The driver reads 8-byte words.
            MemorySegment aligned = arena.allocate(image.byteSize(), 64).copyFrom(image);
            MemorySegment log = arena.allocate(CudaStatus.JIT_LOG_BYTES);
            MemorySegment options = arena.allocateFrom(JAVA_INT, CudaStatus.JIT_ERROR_LOG, CudaStatus.JIT_ERROR_LOG_BYTES);
            MemorySegment values = arena.allocateFrom(JAVA_LONG, log.address(), CudaStatus.JIT_LOG_BYTES);
            int status = (int) MODULE_LOAD.invokeExact(out.address(), aligned.address(), 2, options.address(), values.address());
            if (status != 0) {
                String text = log.getString(0).strip();
                throw errors.failure("cuModuleLoadDataEx", status, text.isEmpty() ? null : text);
            }
            return out.get(JAVA_LONG, 0);
        } catch (Throwable e) {
            throw unexpected(e);
        }
    }

    @Override
    public void unloadModule(long module) {
        if (errors.canRelease()) {
            call("cuModuleUnload", MODULE_UNLOAD, module);
        }
    }

    @Override
    public long function(long module, String name) {
        try (Arena arena = Arena.ofConfined()) {
            MemorySegment out = arena.allocate(JAVA_LONG);
            int status = (int) MODULE_FUNCTION.invokeExact(out.address(), module, arena.allocateFrom(name).address());
            if (status != 0) {
                throw errors.failure("cuModuleGetFunction", status, "kernel " + name);
            }
            return out.get(JAVA_LONG, 0);
        } catch (Throwable e) {
            throw unexpected(e);
        }
    }

    @Override
    public int functionAttribute(long function, FunctionAttribute attribute) {
        try (Arena arena = Arena.ofConfined()) {
            MemorySegment out = arena.allocate(JAVA_INT);
            errors.check("cuFuncGetAttribute", (int) FUNCTION_ATTRIBUTE.invokeExact(out.address(), attribute.number, function));
            return out.get(JAVA_INT, 0);
        } catch (Throwable e) {
            throw unexpected(e);
        }
    }

    @Override
    public void setMaxDynamicSharedBytes(long function, int bytes) {
        try {
            errors.check("cuFuncSetAttribute",
                    (int) SET_FUNCTION_ATTRIBUTE.invokeExact(function, FunctionAttribute.MAX_DYNAMIC_SHARED_BYTES.number, bytes));
        } catch (Throwable e) {
            throw unexpected(e);
        }
    }

    @Override
    public int maxActiveBlocks(long function, int threadsPerBlock, long dynamicSharedBytes) {
        try (Arena arena = Arena.ofConfined()) {
            MemorySegment out = arena.allocate(JAVA_INT);
            errors.check("cuOccupancyMaxActiveBlocksPerMultiprocessor",
                    (int) OCCUPANCY.invokeExact(out.address(), function, threadsPerBlock, dynamicSharedBytes));
            return out.get(JAVA_INT, 0);
        } catch (Throwable e) {
            throw unexpected(e);
        }
    }

    // --- memory

    @Override
    public long allocate(long bytes) {
        try (Arena arena = Arena.ofConfined()) {
            MemorySegment out = arena.allocate(JAVA_LONG);
            int status = (int) ALLOCATE.invokeExact(out.address(), bytes);
            if (status != 0) {
                throw errors.failure("cuMemAlloc", status, bytes + " bytes of device memory");
            }
            return out.get(JAVA_LONG, 0);
        } catch (Throwable e) {
            throw unexpected(e);
        }
    }

    @Override
    public void free(long address) {
        if (address != 0 && errors.canRelease()) {
            call("cuMemFree", FREE, address);
        }
    }

    @Override
    public PinnedMemory allocatePinned(long bytes) {
        try (Arena arena = Arena.ofConfined()) {
            MemorySegment out = arena.allocate(JAVA_LONG, 2);
            int status = (int) HOST_ALLOCATE.invokeExact(out.address(), bytes, CudaStatus.PINNED_PORTABLE_MAPPED);
            if (status != 0) {
                throw errors.failure("cuMemHostAlloc", status, bytes + " bytes of pinned host memory");
            }
            long host = out.get(JAVA_LONG, 0);
            errors.check("cuMemHostGetDevicePointer", (int) HOST_DEVICE_POINTER.invokeExact(out.address() + Long.BYTES, host, 0));
            return new PinnedMemory(MemorySegment.ofAddress(host).reinterpret(bytes), out.getAtIndex(JAVA_LONG, 1));
        } catch (Throwable e) {
            throw unexpected(e);
        }
    }

    @Override
    public void freePinned(PinnedMemory memory) {
        if (errors.canRelease()) {
            call("cuMemFreeHost", HOST_FREE, memory.segment().address());
        }
    }

    @Override
    public void fill(long address, byte value, long bytes, long stream) {
        if (bytes == 0) {
            return;
        }
        try {
            errors.check("cuMemsetD8Async", (int) FILL.invokeExact(address, value, bytes, stream));
        } catch (Throwable e) {
            throw unexpected(e);
        }
    }

    @Override
    public void copyToDevice(long target, MemorySegment source, long bytes, long stream) {
        if (bytes == 0) {
            return;
        }
        try {
            errors.check("cuMemcpyHtoDAsync", (int) TO_DEVICE.invokeExact(target, address(source, bytes), bytes, stream));
        } catch (Throwable e) {
            throw unexpected(e);
        }
    }

    @Override
    public void copyToHost(MemorySegment target, long source, long bytes, long stream) {
        if (bytes == 0) {
            return;
        }
        try {
            errors.check("cuMemcpyDtoHAsync", (int) TO_HOST.invokeExact(address(target, bytes), source, bytes, stream));
        } catch (Throwable e) {
            throw unexpected(e);
        }
    }

    @Override
    public void copyOnDevice(long target, long source, long bytes, long stream) {
        if (bytes == 0) {
            return;
        }
        try {
            errors.check("cuMemcpyDtoDAsync", (int) ON_DEVICE.invokeExact(target, source, bytes, stream));
        } catch (Throwable e) {
            throw unexpected(e);
        }
    }

    // --- streams and events

    @Override
    public long createStream() {
        try (Arena arena = Arena.ofConfined()) {
            MemorySegment out = arena.allocate(JAVA_LONG);
            errors.check("cuStreamCreate", (int) STREAM_CREATE.invokeExact(out.address(), CudaStatus.STREAM_NON_BLOCKING));
            return out.get(JAVA_LONG, 0);
        } catch (Throwable e) {
            throw unexpected(e);
        }
    }

    @Override
    public void destroyStream(long stream) {
        if (errors.canRelease()) {
            call("cuStreamDestroy", STREAM_DESTROY, stream);
        }
    }

    @Override
    public void synchronize(long stream) {
        try {
            errors.check("cuStreamSynchronize", (int) STREAM_SYNCHRONIZE.invokeExact(stream));
        } catch (Throwable e) {
            throw unexpected(e);
        }
    }

    @Override
    public boolean isIdle(long stream) {
        try {
            return errors.ready("cuStreamQuery", (int) STREAM_QUERY.invokeExact(stream));
        } catch (Throwable e) {
            throw unexpected(e);
        }
    }

    @Override
    public void waitFor(long stream, long event) {
        try {
            errors.check("cuStreamWaitEvent", (int) STREAM_WAIT.invokeExact(stream, event, 0));
        } catch (Throwable e) {
            throw unexpected(e);
        }
    }

    @Override
    public long createEvent(boolean timed) {
        try (Arena arena = Arena.ofConfined()) {
            MemorySegment out = arena.allocate(JAVA_LONG);
            errors.check("cuEventCreate", (int) EVENT_CREATE.invokeExact(out.address(), timed ? 0 : CudaStatus.EVENT_DISABLE_TIMING));
            return out.get(JAVA_LONG, 0);
        } catch (Throwable e) {
            throw unexpected(e);
        }
    }

    @Override
    public void destroyEvent(long event) {
        if (errors.canRelease()) {
            call("cuEventDestroy", EVENT_DESTROY, event);
        }
    }

    @Override
    public void record(long event, long stream) {
        try {
            errors.check("cuEventRecord", (int) EVENT_RECORD.invokeExact(event, stream));
        } catch (Throwable e) {
            throw unexpected(e);
        }
    }

    @Override
    public boolean hasHappened(long event) {
        try {
            return errors.ready("cuEventQuery", (int) EVENT_QUERY.invokeExact(event));
        } catch (Throwable e) {
            throw unexpected(e);
        }
    }

    @Override
    public void synchronizeEvent(long event) {
        try {
            errors.check("cuEventSynchronize", (int) EVENT_SYNCHRONIZE.invokeExact(event));
        } catch (Throwable e) {
            throw unexpected(e);
        }
    }

    @Override
    public float elapsedMillis(long begin, long end) {
        try (Arena arena = Arena.ofConfined()) {
            MemorySegment out = arena.allocate(JAVA_FLOAT);
            errors.check("cuEventElapsedTime", (int) EVENT_ELAPSED.invokeExact(out.address(), begin, end));
            return out.get(JAVA_FLOAT, 0);
        } catch (Throwable e) {
            throw unexpected(e);
        }
    }

    // --- launches and graphs

    @Override
    public void launch(KernelLaunch launch) {
        try {
            errors.check("cuLaunchKernelEx", (int) LAUNCH.invokeExact(launch.config(), launch.function(), launch.parameterPointers(), 0L));
        } catch (Throwable e) {
            throw unexpected(e);
        }
    }

    @Override
    public void beginCapture(long stream) {
        try {
            errors.check("cuStreamBeginCapture", (int) BEGIN_CAPTURE.invokeExact(stream, CudaStatus.CAPTURE_THREAD_LOCAL));
        } catch (Throwable e) {
            throw unexpected(e);
        }
    }

    @Override
    public long endCapture(long stream) {
        try (Arena arena = Arena.ofConfined()) {
            MemorySegment out = arena.allocate(JAVA_LONG);
            errors.check("cuStreamEndCapture", (int) END_CAPTURE.invokeExact(stream, out.address()));
            return out.get(JAVA_LONG, 0);
        } catch (Throwable e) {
            throw unexpected(e);
        }
    }

    @Override
    public int graphNodes(long graph) {
        try (Arena arena = Arena.ofConfined()) {
            MemorySegment out = arena.allocate(JAVA_LONG);
            errors.check("cuGraphGetNodes", (int) GRAPH_NODES.invokeExact(graph, 0L, out.address()));
            return Math.toIntExact(out.get(JAVA_LONG, 0));
        } catch (Throwable e) {
            throw unexpected(e);
        }
    }

    @Override
    public long instantiate(long graph) {
        try (Arena arena = Arena.ofConfined()) {
            MemorySegment out = arena.allocate(JAVA_LONG);
            errors.check("cuGraphInstantiate", (int) INSTANTIATE.invokeExact(out.address(), graph, 0L));
            return out.get(JAVA_LONG, 0);
        } catch (Throwable e) {
            throw unexpected(e);
        }
    }

    @Override
    public void destroyGraph(long graph) {
        if (errors.canRelease()) {
            call("cuGraphDestroy", GRAPH_DESTROY, graph);
        }
    }

    @Override
    public void uploadGraph(long executable, long stream) {
        try {
            errors.check("cuGraphUpload", (int) GRAPH_UPLOAD.invokeExact(executable, stream));
        } catch (Throwable e) {
            throw unexpected(e);
        }
    }

    @Override
    public void launchGraph(long executable, long stream) {
        try {
            errors.check("cuGraphLaunch", (int) GRAPH_LAUNCH.invokeExact(executable, stream));
        } catch (Throwable e) {
            throw unexpected(e);
        }
    }

    @Override
    public void destroyExecutable(long executable) {
        if (errors.canRelease()) {
            call("cuGraphExecDestroy", EXECUTABLE_DESTROY, executable);
        }
    }

    /** A call that nobody makes often. */
    private void call(String name, MethodHandle handle, long argument) {
        try {
            errors.check(name, (int) handle.invokeExact(argument));
        } catch (Throwable e) {
            throw unexpected(e);
        }
    }
}

package io.millrace.bindings.cuda;

import static io.millrace.bindings.cuda.JCudaHandles.device;
import static io.millrace.bindings.cuda.JCudaHandles.host;

import java.lang.foreign.Arena;
import java.lang.foreign.MemorySegment;
import jcuda.Pointer;
import jcuda.driver.CUevent;
import jcuda.driver.CUfunction;
import jcuda.driver.CUgraph;
import jcuda.driver.CUgraphExec;
import jcuda.driver.CUmodule;
import jcuda.driver.CUstream;
import jcuda.driver.JCudaDriver;
import jcuda.driver.JITOptions;

/**
 * Everything through JCuda, as far as it reaches: it lacks {@code cuLaunchKernelEx}, hence programmatic dependent launch. Each call makes some
 * objects and crosses JNI; what runs once per step belongs elsewhere, see {@link MixedCudaDriver}.
 */
final class JCudaOnlyDriver extends JCudaDevices implements CudaDriver {
    JCudaOnlyDriver() {
        super(new CudaErrors());
    }

    @Override
    public String name() {
        return "jcuda";
    }

    @Override
    public CudaException poison() {
        return errors.poison();
    }

    private CUstream stream(long stream) {
        return handles.get(CUstream.class, stream);
    }

    private CUevent event(long event) {
        return handles.get(CUevent.class, event);
    }

    // --- modules

    @Override
    public long loadModule(MemorySegment image) {
        try (Arena arena = Arena.ofConfined()) {
            MemorySegment aligned = arena.allocate(image.byteSize(), 64).copyFrom(image);
            JITOptions options = new JITOptions();
            options.putBytes(CudaStatus.JIT_ERROR_LOG, new byte[CudaStatus.JIT_LOG_BYTES]);
            options.putInt(CudaStatus.JIT_ERROR_LOG_BYTES, CudaStatus.JIT_LOG_BYTES);
            JCudaHandles.Module module = new JCudaHandles.Module();
            int status = JCudaDriver.cuModuleLoadDataJIT(module, host(aligned, aligned.byteSize()), options);
            if (status != 0) {
                String log = options.getString(CudaStatus.JIT_ERROR_LOG).strip();
                throw errors.failure("cuModuleLoadDataEx", status, log.isEmpty() ? null : log);
            }
            return handles.keep(module, module.number());
        }
    }

    @Override
    public void unloadModule(long module) {
        if (errors.canRelease()) {
            errors.check("cuModuleUnload", JCudaDriver.cuModuleUnload(handles.remove(CUmodule.class, module)));
        }
    }

    @Override
    public long function(long module, String name) {
        JCudaHandles.Function function = new JCudaHandles.Function();
        int status = JCudaDriver.cuModuleGetFunction(function, handles.get(CUmodule.class, module), name);
        if (status != 0) {
            throw errors.failure("cuModuleGetFunction", status, "kernel " + name);
        }
        return handles.keep(function, function.number());
    }

    @Override
    public int functionAttribute(long function, FunctionAttribute attribute) {
        int[] out = new int[1];
        errors.check("cuFuncGetAttribute", JCudaDriver.cuFuncGetAttribute(out, attribute.number, handles.get(CUfunction.class, function)));
        return out[0];
    }

    @Override
    public void setMaxDynamicSharedBytes(long function, int bytes) {
        errors.check("cuFuncSetAttribute", JCudaDriver.cuFuncSetAttribute(handles.get(CUfunction.class, function),
                FunctionAttribute.MAX_DYNAMIC_SHARED_BYTES.number, bytes));
    }

    @Override
    public int maxActiveBlocks(long function, int threadsPerBlock, long dynamicSharedBytes) {
        int[] out = new int[1];
        errors.check("cuOccupancyMaxActiveBlocksPerMultiprocessor", JCudaDriver.cuOccupancyMaxActiveBlocksPerMultiprocessor(out,
                handles.get(CUfunction.class, function), threadsPerBlock, dynamicSharedBytes));
        return out[0];
    }

    // --- memory

    @Override
    public long allocate(long bytes) {
        JCudaHandles.Device address = new JCudaHandles.Device();
        int status = JCudaDriver.cuMemAlloc(address, bytes);
        if (status != 0) {
            throw errors.failure("cuMemAlloc", status, bytes + " bytes of device memory");
        }
        return address.number();
    }

    @Override
    public void free(long address) {
        if (address != 0 && errors.canRelease()) {
            errors.check("cuMemFree", JCudaDriver.cuMemFree(device(address)));
        }
    }

    @Override
    public PinnedMemory allocatePinned(long bytes) {
        JCudaHandles.Host host = new JCudaHandles.Host();
        int status = JCudaDriver.cuMemHostAlloc(host, bytes, CudaStatus.PINNED_PORTABLE_MAPPED);
        if (status != 0) {
            throw errors.failure("cuMemHostAlloc", status, bytes + " bytes of pinned host memory");
        }
        JCudaHandles.Device address = new JCudaHandles.Device();
        errors.check("cuMemHostGetDevicePointer", JCudaDriver.cuMemHostGetDevicePointer(address, host, 0));
        return new PinnedMemory(MemorySegment.ofAddress(host.number()).reinterpret(bytes), address.number());
    }

    @Override
    public void freePinned(PinnedMemory memory) {
        if (errors.canRelease()) {
            errors.check("cuMemFreeHost", JCudaDriver.cuMemFreeHost(host(memory.segment(), 0)));
        }
    }

    @Override
    public void fill(long address, byte value, long bytes, long stream) {
        if (bytes != 0) {
            errors.check("cuMemsetD8Async", JCudaDriver.cuMemsetD8Async(device(address), value, bytes, stream(stream)));
        }
    }

    @Override
    public void copyToDevice(long target, MemorySegment source, long bytes, long stream) {
        if (bytes != 0) {
            errors.check("cuMemcpyHtoDAsync", JCudaDriver.cuMemcpyHtoDAsync(device(target), host(source, bytes), bytes, stream(stream)));
        }
    }

    @Override
    public void copyToHost(MemorySegment target, long source, long bytes, long stream) {
        if (bytes != 0) {
            errors.check("cuMemcpyDtoHAsync", JCudaDriver.cuMemcpyDtoHAsync(host(target, bytes), device(source), bytes, stream(stream)));
        }
    }

    @Override
    public void copyOnDevice(long target, long source, long bytes, long stream) {
        if (bytes != 0) {
            errors.check("cuMemcpyDtoDAsync", JCudaDriver.cuMemcpyDtoDAsync(device(target), device(source), bytes, stream(stream)));
        }
    }

    // --- streams and events

    @Override
    public long createStream() {
        JCudaHandles.Stream stream = new JCudaHandles.Stream();
        errors.check("cuStreamCreate", JCudaDriver.cuStreamCreate(stream, CudaStatus.STREAM_NON_BLOCKING));
        return handles.keep(stream, stream.number());
    }

    @Override
    public void destroyStream(long stream) {
        if (errors.canRelease()) {
            errors.check("cuStreamDestroy", JCudaDriver.cuStreamDestroy(handles.remove(CUstream.class, stream)));
        }
    }

    @Override
    public void synchronize(long stream) {
        errors.check("cuStreamSynchronize", JCudaDriver.cuStreamSynchronize(stream(stream)));
    }

    @Override
    public boolean isIdle(long stream) {
        return errors.ready("cuStreamQuery", JCudaDriver.cuStreamQuery(stream(stream)));
    }

    @Override
    public void waitFor(long stream, long event) {
        errors.check("cuStreamWaitEvent", JCudaDriver.cuStreamWaitEvent(stream(stream), event(event), 0));
    }

    @Override
    public long createEvent(boolean timed) {
        JCudaHandles.Event event = new JCudaHandles.Event();
        errors.check("cuEventCreate", JCudaDriver.cuEventCreate(event, timed ? 0 : CudaStatus.EVENT_DISABLE_TIMING));
        return handles.keep(event, event.number());
    }

    @Override
    public void destroyEvent(long event) {
        if (errors.canRelease()) {
            errors.check("cuEventDestroy", JCudaDriver.cuEventDestroy(handles.remove(CUevent.class, event)));
        }
    }

    @Override
    public void record(long event, long stream) {
        errors.check("cuEventRecord", JCudaDriver.cuEventRecord(event(event), stream(stream)));
    }

    @Override
    public boolean hasHappened(long event) {
        return errors.ready("cuEventQuery", JCudaDriver.cuEventQuery(event(event)));
    }

    @Override
    public void synchronizeEvent(long event) {
        errors.check("cuEventSynchronize", JCudaDriver.cuEventSynchronize(event(event)));
    }

    @Override
    public float elapsedMillis(long begin, long end) {
        float[] out = new float[1];
        errors.check("cuEventElapsedTime", JCudaDriver.cuEventElapsedTime(out, event(begin), event(end)));
        return out[0];
    }

    // --- launches and graphs

    @Override
    public void launch(KernelLaunch launch) {
        if (launch.programmatic()) {
            throw CudaException.of(CudaFault.UNSUPPORTED, "cuLaunchKernelEx",
                    "JCuda has no cuLaunchKernelEx, and so no programmatic dependent launch", null);
        }
        // A pointer to the array of pointers to parameters, both already in native memory.
        Pointer parameters = new JCudaHandles.Host(launch.parameterPointers());
        errors.check("cuLaunchKernel", JCudaDriver.cuLaunchKernel(handles.get(CUfunction.class, launch.function()), launch.gridX(), launch.gridY(),
                launch.gridZ(), launch.threads(), 1, 1, launch.sharedBytes(), stream(launch.stream()), parameters, null));
    }

    @Override
    public void beginCapture(long stream) {
        errors.check("cuStreamBeginCapture", JCudaDriver.cuStreamBeginCapture(stream(stream), CudaStatus.CAPTURE_THREAD_LOCAL));
    }

    @Override
    public long endCapture(long stream) {
        JCudaHandles.Graph graph = new JCudaHandles.Graph();
        errors.check("cuStreamEndCapture", JCudaDriver.cuStreamEndCapture(stream(stream), graph));
        return handles.keep(graph, graph.number());
    }

    @Override
    public int graphNodes(long graph) {
        long[] out = new long[1];
        errors.check("cuGraphGetNodes", JCudaDriver.cuGraphGetNodes(handles.get(CUgraph.class, graph), null, out));
        return Math.toIntExact(out[0]);
    }

    @Override
    public long instantiate(long graph) {
        JCudaHandles.Executable executable = new JCudaHandles.Executable();
        errors.check("cuGraphInstantiate", JCudaDriver.cuGraphInstantiate(executable, handles.get(CUgraph.class, graph), 0));
        return handles.keep(executable, executable.number());
    }

    @Override
    public void destroyGraph(long graph) {
        if (errors.canRelease()) {
            errors.check("cuGraphDestroy", JCudaDriver.cuGraphDestroy(handles.remove(CUgraph.class, graph)));
        }
    }

    @Override
    public void uploadGraph(long executable, long stream) {
        errors.check("cuGraphUpload", JCudaDriver.cuGraphUpload(handles.get(CUgraphExec.class, executable), stream(stream)));
    }

    @Override
    public void launchGraph(long executable, long stream) {
        errors.check("cuGraphLaunch", JCudaDriver.cuGraphLaunch(handles.get(CUgraphExec.class, executable), stream(stream)));
    }

    @Override
    public void destroyExecutable(long executable) {
        if (errors.canRelease()) {
            errors.check("cuGraphExecDestroy", JCudaDriver.cuGraphExecDestroy(handles.remove(CUgraphExec.class, executable)));
        }
    }
}

package io.millrace.bindings.cuda;

import static java.lang.foreign.ValueLayout.ADDRESS;
import static java.lang.foreign.ValueLayout.JAVA_INT;
import static java.lang.foreign.ValueLayout.JAVA_LONG;

import java.lang.foreign.Arena;
import java.lang.foreign.FunctionDescriptor;
import java.lang.foreign.Linker;
import java.lang.foreign.MemoryLayout;
import java.lang.foreign.MemorySegment;
import java.lang.foreign.SymbolLookup;
import java.lang.invoke.MethodHandle;
import java.nio.file.Path;
import java.util.NoSuchElementException;

/**
 * NVIDIA's management library: load, memory, power, temperature and clocks of devices, for telemetry. Nobody depends on it, so opening it does
 * not throw: {@link #failure()} says why there is none. A sample takes some hundred microseconds or more: once a second, not once a step.
 * Any thread, but not after {@link #close}.
 */
public final class Nvml implements AutoCloseable {
    /** Names another file than {@link #LIBRARY}. */
    public static final String LIBRARY_PROPERTY = "millrace.nvml.library";
    public static final String LIBRARY = "libnvidia-ml.so.1";

    private static final int TEMPERATURE_OF_GPU = 0;
    private static final int CLOCK_OF_MULTIPROCESSORS = 1;

    /**
     * What one device is doing; -1, or NaN, for what it does not tell.
     *
     * @param busyPercent       of the time since the library's last sample a kernel was running
     * @param memoryBusyPercent of that time memory was read or written
     */
    public record Sample(int busyPercent, int memoryBusyPercent, long usedBytes, long totalBytes, double watts, int celsius, int clockMhz) {}

    private final String failure;
    private MethodHandle shutdown;
    private MethodHandle errorString;
    private MethodHandle device;
    private MethodHandle memory;
    private MethodHandle utilization;
    private MethodHandle power;
    private MethodHandle temperature;
    private MethodHandle clock;

    private Nvml(String library) {
        String wrong = null;
        try {
            SymbolLookup symbols = library.contains("/") ? SymbolLookup.libraryLookup(Path.of(library), Arena.global())
                    : SymbolLookup.libraryLookup(library, Arena.global());
            errorString = Linker.nativeLinker().downcallHandle(symbols.findOrThrow("nvmlErrorString"), FunctionDescriptor.of(ADDRESS, JAVA_INT));
            shutdown = bind(symbols, "nvmlShutdown");
            device = bind(symbols, "nvmlDeviceGetHandleByPciBusId_v2", JAVA_LONG, JAVA_LONG);
            memory = bind(symbols, "nvmlDeviceGetMemoryInfo", JAVA_LONG, JAVA_LONG);
            utilization = bind(symbols, "nvmlDeviceGetUtilizationRates", JAVA_LONG, JAVA_LONG);
            power = bind(symbols, "nvmlDeviceGetPowerUsage", JAVA_LONG, JAVA_LONG);
            temperature = bind(symbols, "nvmlDeviceGetTemperature", JAVA_LONG, JAVA_INT, JAVA_LONG);
            clock = bind(symbols, "nvmlDeviceGetClockInfo", JAVA_LONG, JAVA_INT, JAVA_LONG);
            int status = (int) bind(symbols, "nvmlInit_v2").invokeExact();
            wrong = status == 0 ? null : message("nvmlInit", status);
        } catch (IllegalArgumentException | NoSuchElementException e) {
            wrong = "CUDA-010: cannot load " + library + ": " + e.getMessage() + ". Load, power and clocks of the devices are not shown; NVIDIA's"
                    + " driver brings this library.";
        } catch (Throwable e) {
            throw CudaLibrary.unexpected(e);
        }
        failure = wrong;
    }

    public static Nvml open() {
        return open(System.getProperty(LIBRARY_PROPERTY, LIBRARY));
    }

    /** @param library a path, or a name that the dynamic linker finds */
    public static Nvml open(String library) {
        return new Nvml(library);
    }

    /** Why there is no such library; null if there is. */
    public String failure() {
        return failure;
    }

    /**
     * @param pciBusId see {@link CudaDevices#pciBusId}
     * @throws IllegalStateException if there is no library, or no such device
     */
    public Sample sample(String pciBusId) {
        if (failure != null) {
            throw new IllegalStateException(failure);
        }
        try (Arena arena = Arena.ofConfined()) {
            MemorySegment out = arena.allocate(JAVA_LONG, 3);
            int status = (int) device.invokeExact(arena.allocateFrom(pciBusId).address(), out.address());
            if (status != 0) {
                throw new IllegalStateException(message("nvmlDeviceGetHandleByPciBusId of " + pciBusId, status));
            }
            long handle = out.get(JAVA_LONG, 0);
            boolean rates = (int) utilization.invokeExact(handle, out.address()) == 0;
            int busy = rates ? out.getAtIndex(JAVA_INT, 0) : -1;
            int memoryBusy = rates ? out.getAtIndex(JAVA_INT, 1) : -1;
            // Total, free, used.
            boolean sizes = (int) memory.invokeExact(handle, out.address()) == 0;
            long total = sizes ? out.getAtIndex(JAVA_LONG, 0) : -1;
            long used = sizes ? out.getAtIndex(JAVA_LONG, 2) : -1;
            double watts = (int) power.invokeExact(handle, out.address()) == 0 ? out.get(JAVA_INT, 0) / 1000.0 : Double.NaN;
            int celsius = (int) temperature.invokeExact(handle, TEMPERATURE_OF_GPU, out.address()) == 0 ? out.get(JAVA_INT, 0) : -1;
            int mhz = (int) clock.invokeExact(handle, CLOCK_OF_MULTIPROCESSORS, out.address()) == 0 ? out.get(JAVA_INT, 0) : -1;
            return new Sample(busy, memoryBusy, used, total, watts, celsius, mhz);
        } catch (Throwable e) {
            throw CudaLibrary.unexpected(e);
        }
    }

    @Override
    public void close() {
        if (failure == null) {
            try {
                int ignored = (int) shutdown.invokeExact();
            } catch (Throwable e) {
                throw CudaLibrary.unexpected(e);
            }
        }
    }

    private String message(String call, int status) throws Throwable {
        MemorySegment text = (MemorySegment) errorString.invokeExact(status);
        return "CUDA-010: " + call + " failed with NVML status " + status + ", " + text.reinterpret(Long.MAX_VALUE).getString(0)
                + ". Load, power and clocks of the device are not shown; see what nvidia-smi says.";
    }

    private static MethodHandle bind(SymbolLookup symbols, String name, MemoryLayout... arguments) {
        return Linker.nativeLinker().downcallHandle(symbols.findOrThrow(name), FunctionDescriptor.of(JAVA_INT, arguments));
    }
}

package io.millrace.kernels.cuda;

import io.millrace.bindings.cuda.CudaDriver;
import io.millrace.bindings.cuda.CudaFault;
import io.millrace.bindings.cuda.DeviceAttribute;
import io.millrace.bindings.cuda.FunctionAttribute;
import io.millrace.bindings.cuda.KernelLaunch;
import io.millrace.kernels.DeviceException;
import io.millrace.kernels.OpChecks;
import java.io.IOException;
import java.io.InputStream;
import java.lang.foreign.Arena;
import java.lang.foreign.MemorySegment;
import java.lang.foreign.ValueLayout;
import java.nio.charset.StandardCharsets;
import java.nio.file.Files;
import java.nio.file.NoSuchFileException;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.EnumMap;
import java.util.EnumSet;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Locale;
import java.util.Map;

/**
 * The kernels' machine code, from the jar into the current context. All of it is loaded at the start; what a kernel asks of the device (shared
 * memory) is asked where it is first taken, so that a device serves what it can.
 */
final class CudaKernels implements AutoCloseable {
    /** Names a folder whose files take the place of those in the jar: kernels built for another machine, or a stub's. */
    static final String FOLDER_PROPERTY = "millrace.cuda.kernels";
    /** {@code off}: each kernel starts when the one before has ended. */
    static final String PDL_PROPERTY = "millrace.cuda.pdl";
    /** The version of the CUDA toolkit that built the kernels, {@code 13.0}: build.sh writes it. */
    static final String TOOLKIT = "toolkit.version";
    /** Shared memory that a kernel may have without asking. */
    private static final int FREE_SHARED_BYTES = 48 << 10;
    /** Code compiled for an older virtual architecture does not wait for its predecessor: only a full stop between kernels is right for it. */
    private static final int MIN_PROGRAMMATIC_PTX = 90;

    private final CudaDriver driver;
    private final int device;
    private final Map<String, Long> modules = new LinkedHashMap<>();
    private final EnumMap<CudaKernel, Long> functions = new EnumMap<>(CudaKernel.class);
    private final EnumSet<CudaKernel> taken = EnumSet.noneOf(CudaKernel.class);
    private final List<KernelLaunch> launches = new ArrayList<>();
    private boolean programmatic;

    /**
     * @param device whose context is current
     * @throws DeviceException {@code CUDA-011} where the build had no nvcc, {@code CUDA-002} where the driver is older than that
     */
    CudaKernels(CudaDriver driver, int device) {
        this.driver = driver;
        this.device = device;
        // JCuda has no call for it.
        programmatic = !driver.name().equals("jcuda") && !System.getProperty(PDL_PROPERTY, "on").equals("off");
        requireDriver();
        try {
            for (CudaKernel kernel : CudaKernel.values()) {
                functions.put(kernel, driver.function(modules.computeIfAbsent(kernel.file, this::load), kernel.symbol()));
            }
        } catch (RuntimeException | Error e) {
            close();
            throw e;
        }
    }

    private static InputStream open(String file) throws IOException {
        String folder = System.getProperty(FOLDER_PROPERTY);
        if (folder == null) {
            return CudaKernels.class.getResourceAsStream(resource(file));
        }
        return Files.newInputStream(Path.of(folder, file));
    }

    private static String resource(String file) {
        return "/cuda/" + file;
    }

    /** A driver loads what toolkits of its own major version made, and older ones; kernels of unknown origin are left to its judgement. */
    private void requireDriver() {
        int version = driver.driverVersion();
        String toolkit;
        try (InputStream in = open(TOOLKIT)) {
            if (in == null) {
                return;
            }
            toolkit = new String(in.readAllBytes(), StandardCharsets.US_ASCII).strip();
        } catch (NoSuchFileException e) {
            return;
        } catch (IOException e) {
            throw unreadable(TOOLKIT, e);
        }
        if (!toolkit.matches("\\d{1,4}\\.\\d{1,4}")) {
            throw new DeviceException("CUDA-011", resource(TOOLKIT) + " has no version of a CUDA toolkit: '" + toolkit + "'; build again", false, null);
        }
        int major = Integer.parseInt(toolkit.substring(0, toolkit.indexOf('.')));
        if (version / 1000 < major) {
            throw new DeviceException(CudaFault.DRIVER_TOO_OLD.code(), "the driver is for CUDA " + version / 1000 + "." + version % 1000 / 10
                    + ", and the kernels were built with CUDA " + toolkit + ", which needs a driver for CUDA " + major
                    + ".0 or newer. Install one, build the kernels with an nvcc of CUDA " + version / 1000
                    + " (12.8 is the oldest that will do), or serve from the CPU with --backend cpu", false, null);
        }
    }

    private static DeviceException unreadable(String file, IOException e) {
        return new DeviceException("CUDA-011", resource(file) + " cannot be read: " + e + "; build again", false, e);
    }

    private long load(String name) {
        String file = name + ".fatbin";
        try (InputStream in = open(file); Arena arena = Arena.ofConfined()) {
            if (in == null) {
                throw new DeviceException("CUDA-011", "this build has no CUDA kernels (" + resource(file) + "): there was no nvcc of CUDA 12.8 or"
                        + " newer on the PATH when it was made. Build it again with one, or serve from the CPU with --backend cpu", false, null);
            }
            byte[] bytes = in.readAllBytes();
            MemorySegment image = arena.allocate(bytes.length + 8L, 64);
            MemorySegment.copy(bytes, 0, image, ValueLayout.JAVA_BYTE, 0, bytes.length);
            return driver.loadModule(image);
        } catch (IOException e) {
            throw unreadable(file, e);
        }
    }

    /**
     * Makes sure that the device can run the kernel.
     *
     * @param what for whom it is asked, as the message names it
     * @throws IllegalArgumentException {@code OP-008} where a block may not have as much shared memory
     */
    void require(CudaKernel kernel, String op, String what) {
        if (taken.contains(kernel)) {
            return;
        }
        long function = functions.get(kernel);
        if (kernel.sharedBytes > FREE_SHARED_BYTES) {
            int most = driver.deviceAttribute(device, DeviceAttribute.MAX_SHARED_BYTES_PER_BLOCK);
            int needed = kernel.sharedBytes + driver.functionAttribute(function, FunctionAttribute.STATIC_SHARED_BYTES);
            if (needed > most) {
                throw OpChecks.noKernel("cuda", op, String.format(Locale.ROOT, "%s on %s, compute capability %d.%d (%s needs %,d bytes of shared memory"
                        + " for a block, which may have %,d there)", what, driver.deviceName(device),
                        driver.deviceAttribute(device, DeviceAttribute.COMPUTE_CAPABILITY_MAJOR),
                        driver.deviceAttribute(device, DeviceAttribute.COMPUTE_CAPABILITY_MINOR), kernel.symbol(), needed, most),
                        "take another device, or serve from the CPU with --backend cpu");
            }
            driver.setMaxDynamicSharedBytes(function, kernel.sharedBytes);
        }
        taken.add(kernel);
    }

    /** Both attention kernels for heads that lie as {@code width} elements in the cache. */
    void requireHeads(int headDim, int width) {
        require(CudaKernel.valueOf("PAGED_DECODE_" + width), "kvCache", "heads of " + headDim);
        require(CudaKernel.valueOf("PAGED_PREFILL_" + width), "kvCache", "heads of " + headDim);
    }

    /** A launch of {@code kernel} with its block's shape; the caller sets parameters and grid. */
    KernelLaunch launch(Arena arena, CudaKernel kernel, long parameterBytes, long stream) {
        require(kernel, "record", kernel.symbol());
        long function = functions.get(kernel);
        KernelLaunch launch = new KernelLaunch(arena, function, parameterBytes).block(kernel.threads).dynamicSharedBytes(kernel.sharedBytes)
                .stream(stream).programmatic(programmatic && driver.functionAttribute(function, FunctionAttribute.PTX_VERSION) >= MIN_PROGRAMMATIC_PTX);
        launches.add(launch);
        return launch;
    }

    /** From here on, and for all launches made so far: each kernel starts when the one before has ended. @return whether that is a change */
    boolean stopProgrammaticLaunches() {
        boolean changed = launches.stream().anyMatch(KernelLaunch::programmatic);
        programmatic = false;
        launches.forEach(launch -> launch.programmatic(false));
        return changed;
    }

    /** Blocks of {@code kernel} that a multiprocessor holds at once. */
    int blocksPerMultiprocessor(CudaKernel kernel) {
        require(kernel, "record", kernel.symbol());
        return Math.max(1, driver.maxActiveBlocks(functions.get(kernel), kernel.threads, kernel.sharedBytes));
    }

    @Override
    public void close() {
        modules.values().forEach(driver::unloadModule);
        modules.clear();
    }
}

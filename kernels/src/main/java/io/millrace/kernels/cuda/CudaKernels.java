package io.millrace.kernels.cuda;

import io.millrace.bindings.cuda.CudaDriver;
import io.millrace.bindings.cuda.KernelLaunch;
import io.millrace.kernels.DeviceException;
import java.io.IOException;
import java.io.InputStream;
import java.lang.foreign.Arena;
import java.lang.foreign.MemorySegment;
import java.lang.foreign.ValueLayout;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.EnumMap;
import java.util.LinkedHashMap;
import java.util.Map;

/** The kernels' machine code, from the jar into the current context. */
final class CudaKernels implements AutoCloseable {
    /** Names a folder whose files take the place of those in the jar: kernels built for another machine, or a stub's. */
    static final String FOLDER_PROPERTY = "millrace.cuda.kernels";
    /** Shared memory that a kernel may have without asking. */
    private static final int FREE_SHARED_BYTES = 48 << 10;

    private final CudaDriver driver;
    private final Map<String, Long> modules = new LinkedHashMap<>();
    private final EnumMap<CudaKernel, Long> functions = new EnumMap<>(CudaKernel.class);
    private final boolean programmatic;

    /**
     * @param programmatic whether kernels may be started before their predecessors have ended
     * @throws DeviceException {@code CUDA-011} where the build had no nvcc
     */
    CudaKernels(CudaDriver driver, boolean programmatic) {
        this.driver = driver;
        this.programmatic = programmatic;
        try {
            for (CudaKernel kernel : CudaKernel.values()) {
                long module = modules.computeIfAbsent(kernel.file, this::load);
                long function = driver.function(module, kernel.symbol());
                if (kernel.sharedBytes > FREE_SHARED_BYTES) {
                    driver.setMaxDynamicSharedBytes(function, kernel.sharedBytes);
                }
                functions.put(kernel, function);
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
        return Files.newInputStream(Path.of(folder, file + ".fatbin"));
    }

    private static String resource(String file) {
        return "/cuda/" + file + ".fatbin";
    }

    private long load(String file) {
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
            throw new DeviceException("CUDA-011", resource(file) + " cannot be read: " + e + "; build again", false, e);
        }
    }

    /** A launch of {@code kernel} with its block's shape; the caller sets parameters and grid. */
    KernelLaunch launch(Arena arena, CudaKernel kernel, long parameterBytes, long stream) {
        return new KernelLaunch(arena, functions.get(kernel), parameterBytes).block(kernel.threads).dynamicSharedBytes(kernel.sharedBytes)
                .stream(stream).programmatic(programmatic);
    }

    /** Blocks of {@code kernel} that a multiprocessor holds at once. */
    int blocksPerMultiprocessor(CudaKernel kernel) {
        return Math.max(1, driver.maxActiveBlocks(functions.get(kernel), kernel.threads, kernel.sharedBytes));
    }

    @Override
    public void close() {
        modules.values().forEach(driver::unloadModule);
        modules.clear();
    }
}

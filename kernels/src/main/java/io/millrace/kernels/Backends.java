package io.millrace.kernels;

import io.millrace.bindings.CpuKernels;
import io.millrace.kernels.cpu.NativeCpuBackend;
import io.millrace.kernels.cpu.Processors;
import io.millrace.kernels.cuda.CudaBackend;
import io.millrace.kernels.reference.ReferenceBackend;
import java.nio.file.Files;
import java.nio.file.Path;

/** The backends by name. The one place that knows them all. */
public final class Backends {
    /** What NVIDIA's kernel module shows of the first GPU. */
    private static final Path FIRST_GPU = Path.of("/dev/nvidia0");

    private Backends() {}

    /**
     * The backend that {@code auto} means here, and why: {@code cuda} where the machine has a GPU of NVIDIA's and this build has kernels for it.
     * Looks at files alone.
     */
    public static Choice auto() {
        if (!Files.exists(FIRST_GPU)) {
            return new Choice("cpu", "auto: there is no " + FIRST_GPU);
        }
        return Backends.class.getResource("/cuda/embed.fatbin") != null ? new Choice("cuda", "auto: there is " + FIRST_GPU)
                : new Choice("cpu", "auto: there is " + FIRST_GPU + ", but this build has no CUDA kernels");
    }

    /** A backend's name and the reason for it, for people. */
    public record Choice(String name, String reason) {}

    /** Loads the native library and binds its functions, if it is there. Any thread. */
    public static void warmUp() {
        CpuKernels.warmUp();
    }

    /** {@link #create(String, BatchLimits, int, Arithmetic)} with exact products. */
    public static Backend create(String name, BatchLimits limits, int threads) {
        return create(name, limits, threads, Arithmetic.EXACT);
    }

    /**
     * Never falls back to another backend than the one that was asked for.
     *
     * @param name    {@code cpu} (native kernels) or {@code reference} (scalar Java, the oracle of the tests)
     * @param limits  capacities of the batch
     * @param threads threads to compute with; the reference always uses the caller's alone
     * @param arithmetic how weights that are not quantised are multiplied; the reference is always exact
     * @throws IllegalStateException {@code NATIVE-...} with reason and remedy if the native library cannot be used
     * @throws IllegalArgumentException {@code BE-001} for a name that is not known, {@code BE-004} if BF16 products were asked for and the
     *                                  backend has none
     */
    public static Backend create(String name, BatchLimits limits, int threads, Arithmetic arithmetic) {
        return create(name, limits, threads, arithmetic, "none");
    }

    /**
     * The same with threads bound to processors.
     *
     * @param threadsBind {@code none}, {@code auto} (one thread per physical core first) or a list of logical processors such as {@code 0-3,8};
     *                    the reference has no threads to bind
     * @throws IllegalArgumentException also {@code NATIVE-008} for a list that is none, or processors that this process may not use
     */
    public static Backend create(String name, BatchLimits limits, int threads, Arithmetic arithmetic, String threadsBind) {
        return create(name, limits, threads, arithmetic, threadsBind, "mixed");
    }

    /**
     * The same with a choice of how a GPU's driver is called.
     *
     * @param name       also {@code cuda}, which has BF16 products alone
     * @param cudaDriver {@code mixed}, {@code ffm} or {@code jcuda}
     * @throws DeviceException {@code CUDA-...} if there is no GPU that can be used
     */
    public static Backend create(String name, BatchLimits limits, int threads, Arithmetic arithmetic, String threadsBind, String cudaDriver) {
        return switch (name) {
            case "cuda" -> {
                if (arithmetic == Arithmetic.EXACT) {
                    throw OpChecks.noExactProducts(name, "its kernels multiply bfloat16 numbers alone");
                }
                yield CudaBackend.create(limits, cudaDriver);
            }
            case "cpu" -> {
                int[] cpus = Processors.of(threadsBind);
                NativeCpuBackend backend = NativeCpuBackend.create(limits, threads, arithmetic);
                try {
                    yield backend.bindThreads(cpus);
                } catch (RuntimeException e) {
                    backend.close();
                    throw e;
                }
            }
            case "reference" -> {
                if (arithmetic == Arithmetic.BF16) {
                    throw OpChecks.noBf16Products(name, "the reference is always exact");
                }
                yield ReferenceBackend.create(limits);
            }
            default -> throw new IllegalArgumentException("BE-001: unknown backend '" + name + "'; use cpu, cuda or reference");
        };
    }
}

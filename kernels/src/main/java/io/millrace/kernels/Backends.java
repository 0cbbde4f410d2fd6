package io.millrace.kernels;

import io.millrace.kernels.cpu.NativeCpuBackend;
import io.millrace.kernels.reference.ReferenceBackend;

/** The backends by name. The one place that knows them all. */
public final class Backends {
    private Backends() {}

    /** {@link #create(String, BatchLimits, int, ActivationPrecision)} with activations as they are. */
    public static Backend create(String name, BatchLimits limits, int threads) {
        return create(name, limits, threads, ActivationPrecision.F32);
    }

    /**
     * Never falls back to another backend than the one that was asked for.
     *
     * @param name    {@code cpu} (native kernels) or {@code reference} (scalar Java, the oracle of the tests)
     * @param limits  capacities of the batch
     * @param threads threads to compute with; the reference always uses the caller's alone
     * @param precision how activations meet BF16 weights; the reference is always exact
     * @throws IllegalStateException {@code NATIVE-...} with reason and remedy if the native library cannot be used
     * @throws IllegalArgumentException {@code BE-001} for a name that is not known
     */
    public static Backend create(String name, BatchLimits limits, int threads, ActivationPrecision precision) {
        return switch (name) {
            case "cpu" -> NativeCpuBackend.create(limits, threads, precision);
            case "reference" -> ReferenceBackend.create(limits);
            default -> throw new IllegalArgumentException("BE-001: unknown backend '" + name + "'; use cpu or reference");
        };
    }
}

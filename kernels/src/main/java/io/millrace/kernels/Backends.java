package io.millrace.kernels;

import io.millrace.kernels.reference.ReferenceBackend;

/** The backends by name. The one place that knows them all. */
public final class Backends {
    private Backends() {}

    /**
     * @param name    {@code reference} (scalar Java, the oracle of the tests)
     * @param limits  capacities of the batch
     * @param threads threads to compute with; the reference always uses the caller's alone
     * @throws IllegalArgumentException {@code BE-001} for a name that is not known
     */
    public static Backend create(String name, BatchLimits limits, int threads) {
        return switch (name) {
            case "reference" -> ReferenceBackend.create(limits);
            default -> throw new IllegalArgumentException("BE-001 unknown backend '" + name + "'; known: reference");
        };
    }
}

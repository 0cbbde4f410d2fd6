package io.millrace.kernels.cpu;

import io.millrace.bindings.CpuKernels;
import java.util.ArrayList;
import java.util.List;
import java.util.Locale;

/** Instruction sets that the kernels are compiled for. The ordinal values are part of the native ABI ({@code mr_isa}). */
public enum CpuIsa {
    /** Plain C for the baseline of the platform. */
    PORTABLE,
    /** AVX2, FMA and F16C. */
    AVX2,
    /** AVX-512 F, BW, VL and DQ. */
    AVX512,
    /** Arm Advanced SIMD. */
    NEON,
    /** {@link #AVX512} with integer dot products (VNNI), and with BF16 dot products where the processor has them. */
    AVX512_VNNI;

    private static final String VARIABLE = "MILLRACE_CPU_ISA";

    /** Those that this machine can run, in ascending order. Throws if the native library is not there. */
    public static List<CpuIsa> available() {
        int mask = CpuKernels.isaMask();
        List<CpuIsa> sets = new ArrayList<>();
        for (CpuIsa isa : values()) {
            if ((mask >>> isa.ordinal() & 1) != 0) {
                sets.add(isa);
            }
        }
        return List.copyOf(sets);
    }

    /** The one that {@code MILLRACE_CPU_ISA} names, else the best of this machine. */
    static CpuIsa chosen() {
        return choose(System.getenv(VARIABLE), available(), values()[CpuKernels.cpuInfo().bestIsa()]);
    }

    /** True if the environment forces the choice. */
    static boolean forced() {
        String name = System.getenv(VARIABLE);
        return name != null && !name.isBlank();
    }

    static CpuIsa choose(String name, List<CpuIsa> available, CpuIsa best) {
        if (name == null || name.isBlank()) {
            return best;
        }
        for (CpuIsa isa : available) {
            if (isa.label().equals(name.strip().toLowerCase(Locale.ROOT))) {
                return isa;
            }
        }
        throw new IllegalArgumentException("CPU-001: " + VARIABLE + "=" + name + " is not available here; this machine runs "
                + String.join(", ", available.stream().map(CpuIsa::label).toList()) + ". Unset it for the best one (" + best.label() + ").");
    }

    /** As written in {@code MILLRACE_CPU_ISA}. */
    public String label() {
        return name().toLowerCase(Locale.ROOT);
    }
}

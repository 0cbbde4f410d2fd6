package io.millrace.kernels.cpu;

import io.millrace.bindings.CpuKernels;
import io.millrace.bindings.cpu.generated.MillraceCpu;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.List;

/**
 * The processor and the native library, for people and for {@code millrace info}.
 *
 * @param library  the file that was loaded
 * @param isa      the instruction set that a backend made now would use
 * @param forced   true if {@code MILLRACE_CPU_ISA} chose it
 * @param bf16Products whether kernels of {@code isa} multiply BF16 numbers here
 * @param available instruction sets that this machine can run
 * @param features names of the vector extensions found, e.g. {@code avx512_bf16}
 * @param logicalCores cores that the system shows
 * @param l1dBytes  first-level data cache of a core, 0 where the system does not tell; likewise the others
 */
public record CpuInfo(Path library, CpuIsa isa, boolean forced, boolean bf16Products, List<CpuIsa> available, List<String> features,
        int logicalCores, long l1dBytes, long l2Bytes, long l3Bytes) {
    /** Why there is no native backend and what to do about it, or null if there is one. Never throws. */
    public static String unavailableReason() {
        return CpuKernels.library().failure();
    }

    /** Throws {@link IllegalStateException} with reason and remedy if the native library is not there. */
    public static CpuInfo query() {
        CpuKernels.Info info = CpuKernels.cpuInfo();
        CpuIsa isa = CpuIsa.chosen();
        return new CpuInfo(CpuKernels.library().path(), isa, CpuIsa.forced(), CpuKernels.hasBf16Dot(isa.ordinal()), CpuIsa.available(),
                features(info.features()), info.logicalCores(), info.l1dBytes(), info.l2Bytes(), info.l3Bytes());
    }

    private static List<String> features(long bits) {
        List<String> names = new ArrayList<>();
        add(names, bits, MillraceCpu.MR_FEATURE_AVX2(), "avx2");
        add(names, bits, MillraceCpu.MR_FEATURE_FMA(), "fma");
        add(names, bits, MillraceCpu.MR_FEATURE_F16C(), "f16c");
        add(names, bits, MillraceCpu.MR_FEATURE_AVX512F(), "avx512f");
        add(names, bits, MillraceCpu.MR_FEATURE_AVX512BW(), "avx512bw");
        add(names, bits, MillraceCpu.MR_FEATURE_AVX512VL(), "avx512vl");
        add(names, bits, MillraceCpu.MR_FEATURE_AVX512DQ(), "avx512dq");
        add(names, bits, MillraceCpu.MR_FEATURE_AVX512_VNNI(), "avx512_vnni");
        add(names, bits, MillraceCpu.MR_FEATURE_AVX512_BF16(), "avx512_bf16");
        add(names, bits, MillraceCpu.MR_FEATURE_NEON(), "neon");
        return List.copyOf(names);
    }

    private static void add(List<String> names, long bits, int bit, String name) {
        if ((bits & bit) != 0) {
            names.add(name);
        }
    }
}

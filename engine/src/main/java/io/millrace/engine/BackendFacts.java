package io.millrace.engine;

import io.millrace.kernels.cpu.CpuInfo;
import io.millrace.kernels.cpu.CpuIsa;
import java.util.LinkedHashMap;
import java.util.Map;
import java.util.function.Supplier;

/** What {@code millrace info} says of the backends, without loading a model. */
public final class BackendFacts {
    private BackendFacts() {}

    /** Facts with stable snake_case keys; {@code backend} says which one is used by default and why. Never throws. */
    public static Map<String, Object> collect() {
        return collect(CpuInfo::query);
    }

    static Map<String, Object> collect(Supplier<CpuInfo> query) {
        Map<String, Object> facts = new LinkedHashMap<>();
        String missing = CpuInfo.unavailableReason();
        if (missing != null) {
            facts.put("backend", "none: the native kernels cannot be used (" + missing + "); --backend reference works, slowly");
            return facts;
        }
        CpuInfo cpu;
        try {
            cpu = query.get();
        } catch (RuntimeException e) {
            facts.put("backend", "none: the native kernels cannot be used (" + e.getMessage() + "); --backend reference works, slowly");
            return facts;
        }
        facts.put("backend", "cpu: native kernels for " + cpu.isa().label() + ", " + (cpu.forced() ? "chosen by MILLRACE_CPU_ISA"
                : "the best this machine runs") + "; 'reference' (scalar Java) is there to compare with");
        facts.put("dtype", cpu.bf16Products() ? "auto: bfloat16 products for bfloat16 and float16 weights (AVX512_BF16), float32 weights exact"
                : "auto: exact float32 products; " + cpu.isa().label() + " on this machine multiplies no bfloat16 numbers");
        facts.put("instruction_sets", cpu.available().stream().map(CpuIsa::label).toList());
        facts.put("cpu_features", String.join(" ", cpu.features()));
        facts.put("native_library", String.valueOf(cpu.library()));
        facts.put("l1d_cache", cpu.l1dBytes());
        facts.put("l2_cache", cpu.l2Bytes());
        facts.put("l3_cache", cpu.l3Bytes());
        return facts;
    }
}

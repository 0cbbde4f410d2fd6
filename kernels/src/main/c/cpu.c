/* What the machine is and has: instruction sets, cores, caches. */
#include "internal.h"

#include <string.h>
#include <unistd.h>

#if defined(__x86_64__)
#include <cpuid.h>
#endif

static int64_t features(void) {
    int64_t bits = 0;
#if defined(__x86_64__)
    __builtin_cpu_init();
    unsigned a, b, c = 0, d;
    bool f16c = __get_cpuid(1, &a, &b, &c, &d) && (c >> 29 & 1u);
    bits |= __builtin_cpu_supports("avx2") ? MR_FEATURE_AVX2 : 0; /* the builtin also asks whether the system saves the registers */
    bits |= __builtin_cpu_supports("fma") ? MR_FEATURE_FMA : 0;
    bits |= f16c ? MR_FEATURE_F16C : 0;
    bits |= __builtin_cpu_supports("avx512f") ? MR_FEATURE_AVX512F : 0;
    bits |= __builtin_cpu_supports("avx512bw") ? MR_FEATURE_AVX512BW : 0;
    bits |= __builtin_cpu_supports("avx512vl") ? MR_FEATURE_AVX512VL : 0;
    bits |= __builtin_cpu_supports("avx512dq") ? MR_FEATURE_AVX512DQ : 0;
    bits |= __builtin_cpu_supports("avx512vnni") ? MR_FEATURE_AVX512_VNNI : 0;
    if ((bits & MR_FEATURE_AVX512F) && __get_cpuid_count(7, 1, &a, &b, &c, &d) && (a >> 5 & 1u)) {
        bits |= MR_FEATURE_AVX512_BF16;
    }
#elif defined(__aarch64__)
    bits |= MR_FEATURE_NEON;
#endif
    return bits;
}

static bool has(int64_t wanted) { return (features() & wanted) == wanted; }

const mr_kernels *mr_kernels_of(int32_t isa) {
    switch (isa) {
        case MR_ISA_PORTABLE: return &mr_kernels_portable;
#if defined(__x86_64__)
        case MR_ISA_AVX2: return has(MR_FEATURE_AVX2 | MR_FEATURE_FMA | MR_FEATURE_F16C) ? &mr_kernels_avx2 : NULL;
        case MR_ISA_AVX512:
            return has(MR_FEATURE_AVX2 | MR_FEATURE_FMA | MR_FEATURE_F16C | MR_FEATURE_AVX512F | MR_FEATURE_AVX512BW | MR_FEATURE_AVX512VL
                       | MR_FEATURE_AVX512DQ) ? &mr_kernels_avx512 : NULL;
        case MR_ISA_AVX512_VNNI:
            return has(MR_FEATURE_AVX512_VNNI) && mr_kernels_of(MR_ISA_AVX512) != NULL ? &mr_kernels_avx512_vnni : NULL;
#elif defined(__aarch64__)
        case MR_ISA_NEON: return &mr_kernels_neon;
#endif
        default: return NULL;
    }
}

int32_t mr_has_bf16_dot(int32_t isa) {
    const mr_kernels *kernels = mr_kernels_of(isa);
    return kernels != NULL && kernels->bf16_rows != NULL && has(MR_FEATURE_AVX512_BF16);
}

int32_t mr_isa_mask(void) {
    int32_t mask = 0;
    for (int32_t isa = MR_ISA_PORTABLE; isa <= MR_ISA_AVX512_VNNI; isa++) {
        mask |= mr_kernels_of(isa) != NULL ? 1 << isa : 0;
    }
    return mask;
}

int32_t mr_best_isa(void) {
    static const int32_t order[] = {MR_ISA_AVX512_VNNI, MR_ISA_AVX512, MR_ISA_AVX2, MR_ISA_NEON};
    for (size_t i = 0; i < sizeof order / sizeof *order; i++) {
        if (mr_kernels_of(order[i]) != NULL) {
            return order[i];
        }
    }
    return MR_ISA_PORTABLE;
}

#if defined(__linux__)
static int64_t known(int name) {
    long value = sysconf(name);
    return value > 0 ? value : 0;
}
#endif

void mr_cpu_query(mr_cpu_info *out) {
    memset(out, 0, sizeof *out);
    out->logical_cores = (int32_t)sysconf(_SC_NPROCESSORS_ONLN);
    out->best_isa = mr_best_isa();
    out->features = features();
#if defined(__linux__)
    out->l1d_bytes = known(_SC_LEVEL1_DCACHE_SIZE);
    out->l2_bytes = known(_SC_LEVEL2_CACHE_SIZE);
    out->l3_bytes = known(_SC_LEVEL3_CACHE_SIZE);
#endif
}

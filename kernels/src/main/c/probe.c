/*
 * What the machine can do: memory read and copied, and products from registers alone, with the instructions of this set. STREAM (McCalpin
 * 1995) is the model for the former; here each thread takes pieces as the kernels do, so that one that loses its core holds nobody up.
 */
#include "kernels.h"

#define LINE MR_CACHE_LINE

typedef int64_t words __attribute__((vector_size(LINE), may_alias));

/* Chains of products: more than the latency of one times those begun in a cycle on any of today's processors. */
#define CHAINS 12

/* Makes the compiler believe that x has changed. */
#if defined(MR_FOR_AVX512)
#define RENEW(x) __asm__ volatile("" : "+v"(x))
#elif defined(__x86_64__)
#define RENEW(x) __asm__ volatile("" : "+x"(x))
#elif defined(__aarch64__)
#define RENEW(x) __asm__ volatile("" : "+w"(x))
#else
#define RENEW(x) __asm__ volatile("" : "+m"(x))
#endif

static int64_t read_piece(const char *piece) {
    words sums[2 * MR_PROBE_STREAMS] = {{0}};
    for (int64_t i = 0; i < MR_PROBE_PIECE / MR_PROBE_STREAMS; i += 2 * LINE) {
#pragma GCC unroll 8
        for (int s = 0; s < MR_PROBE_STREAMS; s++) {
            const char *at = piece + s * (MR_PROBE_PIECE / MR_PROBE_STREAMS) + i;
            sums[2 * s] += *(const words *)(const void *)at;
            sums[2 * s + 1] += *(const words *)(const void *)(at + LINE);
        }
    }
    words all = {0};
    for (int s = 0; s < 2 * MR_PROBE_STREAMS; s++) {
        all += sums[s];
    }
    return all[0] + all[1] + all[2] + all[3] + all[4] + all[5] + all[6] + all[7];
}


static int64_t products_f32(void) {
    vf x = v_set(0.5f);
    vf sums[CHAINS];
    for (int j = 0; j < CHAINS; j++) {
        sums[j] = v_zero();
    }
    for (int64_t i = 0; i < MR_PROBE_STEPS; i += CHAINS) {
#pragma GCC unroll 12
        for (int j = 0; j < CHAINS; j++) {
            sums[j] = v_fma(x, x, sums[j]);
        }
        RENEW(x);
    }
    float all = 0.0f;
    for (int j = 0; j < CHAINS; j++) {
        all += v_sum(sums[j]);
    }
    return (int64_t)all;
}

static int64_t products_int8(void) {
    vi x = i_set(0x01010101);
    vi sums[CHAINS];
    for (int j = 0; j < CHAINS; j++) {
        sums[j] = i_zero();
    }
    for (int64_t i = 0; i < MR_PROBE_STEPS; i += CHAINS) {
#pragma GCC unroll 12
        for (int j = 0; j < CHAINS; j++) {
            sums[j] = i_dot(sums[j], x, x);
#if !defined(MR_VNNI)
            RENEW(x); /* several instructions, of which only the last depends on the sum */
#endif
        }
        RENEW(x);
    }
    float all = 0.0f;
    for (int j = 0; j < CHAINS; j++) {
        all += v_sum(i_to_f(sums[j]));
    }
    return (int64_t)all;
}

const mr_probes MR_DOT_NAME(mr_probes) = {
    .lanes = VW,
    .read = read_piece,
    .products_f32 = products_f32,
    .products_int8 = products_int8,
#if defined(MR_VNNI)
    .products_bf16 = mr_probe_bf16,
#endif
};

/* The probe of BF16 products; see probe.c. */
#include "kernels.h"

#define CHAINS 12

int64_t mr_probe_bf16(void) {
    __m512i x = _mm512_set1_epi32(0x3f003f00); /* 0.5 twice */
    __m512 sums[CHAINS];
    for (int j = 0; j < CHAINS; j++) {
        sums[j] = v_zero();
    }
    for (int64_t i = 0; i < MR_PROBE_STEPS; i += CHAINS) {
#pragma GCC unroll 12
        for (int j = 0; j < CHAINS; j++) {
            sums[j] = _mm512_dpbf16_ps(sums[j], (__m512bh)x, (__m512bh)x);
        }
        __asm__ volatile("" : "+v"(x));
    }
    float all = 0.0f;
    for (int j = 0; j < CHAINS; j++) {
        all += v_sum(sums[j]);
    }
    return (int64_t)all;
}

/*
 * Products of BF16 weights with activations rounded to BF16, two to a lane and instruction. Compiled for AVX512_BF16 alone and called only
 * where the processor has it. Each output is one chain of additions in ascending k, whatever the number of rows.
 */
#include "kernels.h"

#define ROWS_MAX 12 /* 24 of 32 registers hold sums */
#define HALF_TILE (MR_TILE_COLS / 2)

static inline __attribute__((always_inline)) void micro(const int rows, const mr_x *x, int64_t row, int64_t k, const char *w, int64_t count,
                                                        bool fresh, float *sums, int64_t stride, mr_ahead *ahead) {
    __m512 low[ROWS_MAX];
    __m512 high[ROWS_MAX];
#pragma GCC unroll 12
    for (int r = 0; r < rows; r++) {
        low[r] = fresh ? v_zero() : v_load(sums + r * stride);
        high[r] = fresh ? v_zero() : v_load(sums + r * stride + HALF_TILE);
    }
    const char *halves = (const char *)(x->halves + row * x->halves_stride + k);
    const int64_t step = x->halves_stride * 2;
    for (int64_t i = 0; i < count; i += 2) {
        if (i % 16 == 0) { /* 16 lines at a time */
            mr_fetch_ahead(ahead);
        }
        __m512bh a = (__m512bh)_mm512_loadu_si512(w + i * 64);
        __m512bh b = (__m512bh)_mm512_loadu_si512(w + i * 64 + 64);
#pragma GCC unroll 12
        for (int r = 0; r < rows; r++) {
            int32_t two;
            memcpy(&two, halves + r * step + i * 2, 4);
            __m512bh pair = (__m512bh)_mm512_set1_epi32(two);
            low[r] = _mm512_dpbf16_ps(low[r], a, pair);
            high[r] = _mm512_dpbf16_ps(high[r], b, pair);
        }
    }
#pragma GCC unroll 12
    for (int r = 0; r < rows; r++) {
        v_store(sums + r * stride, low[r]);
        v_store(sums + r * stride + HALF_TILE, high[r]);
    }
}

#define MICRO(ROWS)                                                                                                                       \
    static void micro_##ROWS(const mr_x *x, int64_t row, int64_t k, const char *w, int64_t count, bool fresh, float *sums, int64_t stride, \
                             mr_ahead *ahead) {                                                                                           \
        micro(ROWS, x, row, k, w, count, fresh, sums, stride, ahead);                                                                     \
    }
MICRO(1) MICRO(2) MICRO(3) MICRO(4) MICRO(5) MICRO(6) MICRO(7) MICRO(8) MICRO(9) MICRO(10) MICRO(11) MICRO(12)

static const mr_micro_kernel kernels[ROWS_MAX] = {micro_1, micro_2, micro_3, micro_4,  micro_5,  micro_6,
                                                  micro_7, micro_8, micro_9, micro_10, micro_11, micro_12};

const int32_t mr_bf16_rows = ROWS_MAX;

mr_micro_kernel mr_bf16_micro(int64_t rows) { return kernels[rows - 1]; }

void mr_bf16_x(const float *x, int64_t count, uint16_t *halves) {
    int64_t k = 0;
    for (; k + 16 <= count; k += 16) {
        _mm256_storeu_si256((__m256i *)(halves + k), (__m256i)_mm512_cvtneps_pbh(_mm512_loadu_ps(x + k)));
    }
    if (k < count) {
        __mmask16 rest = (__mmask16)((1u << (count - k)) - 1);
        _mm256_mask_storeu_epi16(halves + k, rest, (__m256i)_mm512_cvtneps_pbh(_mm512_maskz_loadu_ps(rest, x + k)));
    }
    if (count % 2 != 0) {
        halves[count] = 0;
    }
}

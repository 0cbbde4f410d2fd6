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
    const char *pairs = (const char *)(x->halves + row * mr_round_up(x->cols, 2) + k * x->half_rows);
    const int64_t step = rows == ROWS_MAX ? ROWS_MAX * 4 : x->half_rows * 4;
    for (int64_t i = 0; i < count; i += 2) {
        if (i % 16 == 0) { /* 16 lines at a time */
            mr_fetch_ahead(ahead);
        }
        __m512bh a = (__m512bh)_mm512_loadu_si512(w + i * 64);
        __m512bh b = (__m512bh)_mm512_loadu_si512(w + i * 64 + 64);
#pragma GCC unroll 12
        for (int r = 0; r < rows; r++) {
            int32_t two;
            memcpy(&two, pairs + r * 4, 4);
            __m512bh pair = (__m512bh)_mm512_set1_epi32(two);
            low[r] = _mm512_dpbf16_ps(low[r], a, pair);
            high[r] = _mm512_dpbf16_ps(high[r], b, pair);
        }
        pairs += step;
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

void mr_bf16_x(const float *x, int64_t count, uint16_t *halves, int64_t stride) {
    for (int64_t k = 0; k < count; k += 32) {
        int64_t left = count - k;
        __mmask16 low = (__mmask16)(left >= 16 ? 0xffff : (1u << left) - 1);
        __mmask16 high = (__mmask16)(left >= 32 ? 0xffff : left > 16 ? (1u << (left - 16)) - 1 : 0);
        __m512bh rounded = _mm512_cvtne2ps_pbh(_mm512_maskz_loadu_ps(high, x + k + 16), _mm512_maskz_loadu_ps(low, x + k));
        int64_t pairs = mr_min(16, (left + 1) / 2);
        if (stride == 1) {
            _mm512_mask_storeu_epi32(halves + k, (__mmask16)((1u << pairs) - 1), (__m512i)rounded);
            continue;
        }
        uint32_t lanes[16];
        _mm512_storeu_si512(lanes, (__m512i)rounded);
        for (int64_t i = 0; i < pairs; i++) {
            memcpy(halves + (k + 2 * i) * stride, &lanes[i], sizeof *lanes);
        }
    }
}

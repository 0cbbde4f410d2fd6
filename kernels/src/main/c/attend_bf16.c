/*
 * Rows against a tile with dot products of BF16 (AVX512_BF16): queries and softmax weights are rounded to 8 significant bits, sums are F32.
 * The weights' sum is that of the rounded ones, so that they add up to 1. Keys lie as pairs of components, values as pairs of positions:
 * both feed the instruction from the cache as they are.
 */
#include "attend_load.h"
#include "kernels.h"

#define NONE (-INFINITY)

static inline __m512bh pairs_at(const void *p) { return (__m512bh)_mm512_loadu_si512(p); }

static inline __m512bh pair_everywhere(const uint16_t *p) {
    int32_t pair;
    memcpy(&pair, p, sizeof pair);
    return (__m512bh)_mm512_set1_epi32(pair);
}

INLINE void score(const int rows, const int groups, const mr_attend_block *b, int64_t row, int64_t first) {
    __m512 sums[MR_ATTEND_ROWS][2];
    int64_t head_dim = b->head_dim;
    const uint16_t *queries = (const uint16_t *)b->queries + row * head_dim;
#pragma GCC unroll 8
    for (int r = 0; r < rows; r++) {
#pragma GCC unroll 2
        for (int g = 0; g < groups; g++) {
            sums[r][g] = _mm512_setzero_ps();
        }
    }
    for (int64_t d = 0; d < head_dim; d += 2) {
        __m512bh keys[2];
#pragma GCC unroll 2
        for (int g = 0; g < groups; g++) {
            keys[g] = pairs_at(b->keys[first + g] + d * LANES * 2);
            mr_fetch_cache(b->next_keys[first + g] + d * LANES * 2, false);
        }
#pragma GCC unroll 8
        for (int r = 0; r < rows; r++) {
            __m512bh q = pair_everywhere(queries + r * head_dim + d);
#pragma GCC unroll 2
            for (int g = 0; g < groups; g++) {
                sums[r][g] = _mm512_dpbf16_ps(sums[r][g], keys[g], q);
            }
        }
    }
#pragma GCC unroll 8
    for (int r = 0; r < rows; r++) {
#pragma GCC unroll 2
        for (int g = 0; g < groups; g++) {
            _mm512_store_ps(b->weights + (row + r) * MR_KEY_TILE + (first + g) * LANES, sums[r][g]);
        }
    }
}

/* 2^(x * log2 e) for x <= 0, relative error below 5e-6; 0 far below. */
static inline __m512 exp_fast(__m512 x) {
    __m512 y = _mm512_max_ps(_mm512_mul_ps(x, _mm512_set1_ps(1.44269504f)), _mm512_set1_ps(-200.0f));
    __m512 n = _mm512_roundscale_ps(y, _MM_FROUND_TO_NEAREST_INT | _MM_FROUND_NO_EXC);
    __m512 r = _mm512_sub_ps(y, n);
    __m512 p = _mm512_set1_ps(0.0096181291f);
    p = _mm512_fmadd_ps(p, r, _mm512_set1_ps(0.0555041087f));
    p = _mm512_fmadd_ps(p, r, _mm512_set1_ps(0.2402265070f));
    p = _mm512_fmadd_ps(p, r, _mm512_set1_ps(0.6931471806f));
    p = _mm512_fmadd_ps(p, r, _mm512_set1_ps(1.0f));
    return _mm512_scalef_ps(p, n);
}

/* Scores of positions [0, MR_KEY_TILE) of row r become weights in BF16, in place: weight j is element j of the row's first half. */
static inline void soften(const mr_attend_block *b, int64_t r) {
    float *scores = b->weights + r * MR_KEY_TILE;
    uint64_t visible = (b->end[r] == 64 ? ~(uint64_t)0 : ((uint64_t)1 << b->end[r]) - 1) & ~(uint64_t)0 << b->begin[r];
    __m512 s[MR_TILE_GROUPS];
    for (int g = 0; g < MR_TILE_GROUPS; g++) {
        s[g] = _mm512_load_ps(scores + g * LANES);
        if (b->soft_cap > 0.0f) {
            s[g] = _mm512_mul_ps(_mm512_set1_ps(b->soft_cap), v_tanh(_mm512_div_ps(s[g], _mm512_set1_ps(b->soft_cap))));
        }
        s[g] = _mm512_mask_blend_ps((__mmask16)(visible >> (g * LANES)), _mm512_set1_ps(NONE), s[g]);
    }
    float before = b->maximum[r];
    float now = _mm512_reduce_max_ps(_mm512_max_ps(_mm512_max_ps(s[0], s[1]), _mm512_max_ps(s[2], s[3])));
    if (now > before) {
        b->maximum[r] = now;
        if (before != NONE) {
            float factor = s_exp(before - now);
            float *out = b->out + r * b->padded_dim;
            b->sum[r] *= factor;
            for (int64_t d = 0; d < b->padded_dim; d += LANES) {
                _mm512_storeu_ps(out + d, _mm512_mul_ps(_mm512_loadu_ps(out + d), _mm512_set1_ps(factor)));
            }
        }
    } else {
        now = before == NONE ? 0.0f : before;
    }
    __m512 base = _mm512_set1_ps(now);
    for (int g = 0; g < MR_TILE_GROUPS; g++) {
        s[g] = exp_fast(_mm512_sub_ps(s[g], base));
    }
    __m512bh low = _mm512_cvtne2ps_pbh(s[1], s[0]);
    __m512bh high = _mm512_cvtne2ps_pbh(s[3], s[2]);
    __m512bh ones = (__m512bh)_mm512_set1_epi32(0x3f803f80);
    b->sum[r] += v_sum(_mm512_dpbf16_ps(_mm512_dpbf16_ps(_mm512_setzero_ps(), low, ones), high, ones));
    _mm512_store_si512(scores, (__m512i)low);
    _mm512_store_si512(scores + LANES, (__m512i)high);
}

INLINE void weigh(const int rows, const int vectors, const mr_attend_block *b, int64_t row, int64_t d, int64_t begin, int64_t end) {
    __m512 sums[MR_ATTEND_ROWS][4];
    int64_t dim = b->padded_dim;
    float *out = b->out + row * dim + d;
    const uint16_t *weights = (const uint16_t *)(b->weights + row * MR_KEY_TILE);
#pragma GCC unroll 8
    for (int r = 0; r < rows; r++) {
#pragma GCC unroll 4
        for (int v = 0; v < vectors; v++) {
            sums[r][v] = _mm512_loadu_ps(out + r * dim + v * LANES);
        }
    }
    for (int64_t j = begin & ~(int64_t)1; j < end; j += 2) {
        __m512bh values[4];
        /* What lies outside was perhaps never written. */
        __m512i seen = _mm512_set1_epi32(j < begin ? (int)0xffff0000u : j + 1 >= end ? 0xffff : -1);
        int64_t offset = (j % LANES / 2 * dim + d) * 4;
#pragma GCC unroll 4
        for (int v = 0; v < vectors; v++) {
            values[v] = pairs_at(b->values[j / LANES] + offset + v * MR_CACHE_LINE);
            mr_fetch_cache(b->next_values[j / LANES] + offset + v * MR_CACHE_LINE, false);
            values[v] = (__m512bh)_mm512_and_si512((__m512i)values[v], seen);
        }
#pragma GCC unroll 8
        for (int r = 0; r < rows; r++) {
            __m512bh w = pair_everywhere(weights + r * MR_KEY_TILE * 2 + j);
#pragma GCC unroll 4
            for (int v = 0; v < vectors; v++) {
                sums[r][v] = _mm512_dpbf16_ps(sums[r][v], values[v], w);
            }
        }
    }
#pragma GCC unroll 8
    for (int r = 0; r < rows; r++) {
#pragma GCC unroll 4
        for (int v = 0; v < vectors; v++) {
            _mm512_storeu_ps(out + r * dim + v * LANES, sums[r][v]);
        }
    }
}

INLINE void score_all(const int rows, const mr_attend_block *b, int64_t row, int64_t first, int64_t last) {
    int64_t g = first;
    for (; g + 2 <= last; g += 2) {
        score(rows, 2, b, row, g);
    }
    if (g < last) {
        score(rows, 1, b, row, g);
    }
}

INLINE void weigh_all(const int rows, const mr_attend_block *b, int64_t row, int64_t begin, int64_t end) {
    const int vectors = rows > 4 ? 2 : 4;
    int64_t d = 0;
    for (; d + vectors * LANES <= b->padded_dim; d += vectors * LANES) {
        weigh(rows, vectors, b, row, d, begin, end);
    }
    for (; d < b->padded_dim; d += LANES) {
        weigh(rows, 1, b, row, d, begin, end);
    }
}

#define BY_ROWS(run, ...)                             \
    do {                                              \
        if (b->rows == 8) {                           \
            run(8, b, 0, __VA_ARGS__);                \
            break;                                    \
        }                                             \
        int64_t row = 0;                              \
        if (b->rows >= 4) {                           \
            run(4, b, 0, __VA_ARGS__);                \
            row = 4;                                  \
        }                                             \
        switch (b->rows - row) {                      \
            case 3: run(3, b, row, __VA_ARGS__); break; \
            case 2: run(2, b, row, __VA_ARGS__); break; \
            case 1: run(1, b, row, __VA_ARGS__); break; \
            default: break;                           \
        }                                             \
    } while (0)

void mr_attend_bf16(const mr_attend_block *b) {
    int64_t begin = b->begin[0];
    int64_t end = b->end[b->rows - 1];
    BY_ROWS(score_all, begin / LANES, mr_ceil_div(end, LANES));
    for (int64_t r = 0; r < b->rows; r++) {
        soften(b, r);
    }
    BY_ROWS(weigh_all, begin, end);
}

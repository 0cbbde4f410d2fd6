/* Rows against a tile of keys and values with F32 arithmetic, from caches of every type: the vectors are widened on the way. */
#include "attend_load.h"
#include "kernels.h"

#if defined(MR_FOR_AVX512)
#define ROW_BLOCK 8
#define SCORE_GROUPS 2 /* groups whose scores are computed together */
#elif defined(MR_FOR_NEON)
#define ROW_BLOCK 4
#define SCORE_GROUPS 1
#else
#define ROW_BLOCK 4
#define SCORE_GROUPS 1
#endif
#define NONE (-INFINITY)

/* Scores of `rows` rows against `groups` groups; rows, groups and dtype are constant after inlining. One chain of FMAs over D per score. */
INLINE void score(const int32_t dtype, const int rows, const int groups, const mr_attend_block *b, int64_t row, int64_t first) {
    vf sums[MR_ATTEND_ROWS][SCORE_GROUPS * LANE_VECTORS];
    int64_t head_dim = b->head_dim;
    const float *queries = (const float *)b->queries + row * head_dim;
#pragma GCC unroll 8
    for (int r = 0; r < rows; r++) {
#pragma GCC unroll 8
        for (int j = 0; j < groups * LANE_VECTORS; j++) {
            sums[r][j] = v_zero();
        }
    }
    for (int64_t from = 0; from < head_dim; from += MR_KV_SCALE_BLOCK) {
        vf scale[SCORE_GROUPS * LANE_VECTORS];
#pragma GCC unroll 8
        for (int j = 0; j < groups * LANE_VECTORS; j++) {
            scale[j] = v_zero();
            if (dtype == MR_KV_Q8_0) {
                const uint16_t *scales = mr_kv_scale(b->keys[first + j / LANE_VECTORS], LANES, head_dim);
                scale[j] = v_load_f16(scales + mr_key_scale_index(LANES, from, j % LANE_VECTORS * VW));
            }
        }
        int64_t to = mr_min(head_dim, from + MR_KV_SCALE_BLOCK);
        for (int64_t d = from; d < to; d += 2) {
            vf even[SCORE_GROUPS * LANE_VECTORS];
            vf odd[SCORE_GROUPS * LANE_VECTORS];
#pragma GCC unroll 8
            for (int j = 0; j < groups * LANE_VECTORS; j++) {
                key_pair(dtype, b->keys[first + j / LANE_VECTORS], d, j % LANE_VECTORS * VW, scale[j], &even[j], &odd[j]);
            }
#pragma GCC unroll 8
            for (int g = 0; g < groups; g++) {
                mr_fetch_cache(b->next_keys[first + g] + d * key_bytes(dtype), dtype == MR_KV_Q8_0);
            }
#pragma GCC unroll 8
            for (int r = 0; r < rows; r++) {
                vf q = v_set(queries[r * head_dim + d]);
#pragma GCC unroll 8
                for (int j = 0; j < groups * LANE_VECTORS; j++) {
                    sums[r][j] = v_fma(q, even[j], sums[r][j]);
                }
                q = v_set(queries[r * head_dim + d + 1]);
#pragma GCC unroll 8
                for (int j = 0; j < groups * LANE_VECTORS; j++) {
                    sums[r][j] = v_fma(q, odd[j], sums[r][j]);
                }
            }
        }
    }
#pragma GCC unroll 8
    for (int r = 0; r < rows; r++) {
#pragma GCC unroll 8
        for (int j = 0; j < groups * LANE_VECTORS; j++) {
            v_store(b->weights + (row + r) * MR_KEY_TILE + first * LANES + j * VW, sums[r][j]);
        }
    }
}

/* out[r, d..] += sum_j weights[r, j] * value[j, d..] for positions [begin, end), in ascending j. What lies outside is not touched: perhaps it was never written. */
INLINE void weigh(const int32_t dtype, const int rows, const int vectors, const mr_attend_block *b, int64_t row, int64_t d, int64_t begin,
                  int64_t end) {
    vf sums[MR_ATTEND_ROWS][4];
    int64_t dim = b->padded_dim;
    float *out = b->out + row * dim + d;
    const float *weights = b->weights + row * MR_KEY_TILE;
#pragma GCC unroll 8
    for (int r = 0; r < rows; r++) {
#pragma GCC unroll 4
        for (int v = 0; v < vectors; v++) {
            sums[r][v] = v_load(out + r * dim + v * VW);
        }
    }
    for (int64_t j = begin & ~(int64_t)1; j < end; j += 2) {
        const char *group = b->values[j / LANES];
        vf even[4];
        vf odd[4];
#pragma GCC unroll 4
        for (int v = 0; v < vectors; v++) {
            value_pair(dtype, group, dim, j % LANES / 2, d + v * VW, &even[v], &odd[v]);
        }
        /* The step's share of the two positions that follow in the next tile. */
        const char *next = b->next_values[j / LANES] + (j % LANES * dim + 2 * d) * (key_bytes(dtype) / LANES);
        for (int64_t line = 0; line < 2 * vectors * VW * (key_bytes(dtype) / LANES); line += MR_CACHE_LINE) {
            mr_fetch_cache(next + line, dtype == MR_KV_Q8_0);
        }
        if (j >= begin) {
#pragma GCC unroll 8
            for (int r = 0; r < rows; r++) {
                vf w = v_set(weights[r * MR_KEY_TILE + j]);
#pragma GCC unroll 4
                for (int v = 0; v < vectors; v++) {
                    sums[r][v] = v_fma(w, even[v], sums[r][v]);
                }
            }
        }
        if (j + 1 < end) {
#pragma GCC unroll 8
            for (int r = 0; r < rows; r++) {
                vf w = v_set(weights[r * MR_KEY_TILE + j + 1]);
#pragma GCC unroll 4
                for (int v = 0; v < vectors; v++) {
                    sums[r][v] = v_fma(w, odd[v], sums[r][v]);
                }
            }
        }
    }
#pragma GCC unroll 8
    for (int r = 0; r < rows; r++) {
#pragma GCC unroll 4
        for (int v = 0; v < vectors; v++) {
            v_store(out + r * dim + v * VW, sums[r][v]);
        }
    }
}

/* Turns a row's scores of positions [first, last) of the tile, whole groups, into softmax weights; [begin, end) of them are visible. */
static void soften(const mr_attend_block *b, int64_t r, int64_t first, int64_t last) {
    float *scores = b->weights + r * MR_KEY_TILE;
    if (b->soft_cap > 0.0f) {
        vf cap = v_set(b->soft_cap);
        for (int64_t j = first; j < last; j += VW) {
            v_store(scores + j, v_mul(cap, v_tanh(v_div(v_load(scores + j), cap))));
        }
    }
    for (int64_t j = first; j < b->begin[r]; j++) {
        scores[j] = NONE;
    }
    for (int64_t j = b->end[r]; j < last; j++) {
        scores[j] = NONE;
    }
    vf top = v_load(scores + first);
    for (int64_t j = first + VW; j < last; j += VW) {
        top = v_max(top, v_load(scores + j));
    }
    float before = b->maximum[r];
    float now = v_hmax(top);
    now = now > before ? now : before;
    /* With every score at -inf there is nothing to weigh: avoid inf - inf. */
    float base = now == NONE ? 0.0f : now;
    vf total = v_zero();
    for (int64_t j = first; j < last; j += VW) {
        vf weight = v_exp(v_sub(v_load(scores + j), v_set(base)));
        v_store(scores + j, weight);
        total = v_add(total, weight);
    }
    if (now > before && before != NONE) {
        float factor = s_exp(before - base);
        float *out = b->out + r * b->padded_dim;
        b->sum[r] *= factor;
        for (int64_t d = 0; d < b->padded_dim; d += VW) {
            v_store(out + d, v_mul(v_load(out + d), v_set(factor)));
        }
    }
    b->maximum[r] = now;
    b->sum[r] += v_sum(total);
}

INLINE void score_all(const int32_t dtype, const int rows, const mr_attend_block *b, int64_t row, int64_t first, int64_t last) {
    int64_t g = first / LANES;
    for (; g + SCORE_GROUPS <= last / LANES; g += SCORE_GROUPS) {
        score(dtype, rows, SCORE_GROUPS, b, row, g);
    }
    for (; SCORE_GROUPS > 1 && g < last / LANES; g++) {
        score(dtype, rows, 1, b, row, g);
    }
}

INLINE void weigh_all(const int32_t dtype, const int rows, const mr_attend_block *b, int64_t row, int64_t begin, int64_t end) {
    enum { WIDE = VW == 16 ? 4 : 2 };
    const int vectors = rows > 4 ? 2 : WIDE;
    int64_t d = 0;
    for (; d + vectors * VW <= b->padded_dim; d += vectors * VW) {
        weigh(dtype, rows, vectors, b, row, d, begin, end);
    }
    for (; d < b->padded_dim; d += VW) {
        weigh(dtype, rows, 1, b, row, d, begin, end);
    }
}

#define BY_ROWS(run, ...)                                       \
    do {                                                        \
        int64_t r = 0;                                          \
        for (; ROW_BLOCK == 8 && r + 8 <= b->rows; r += 8) {    \
            run(dtype, ROW_BLOCK, b, r, __VA_ARGS__);           \
        }                                                       \
        for (; r + 4 <= b->rows; r += 4) {                      \
            run(dtype, 4, b, r, __VA_ARGS__);                   \
        }                                                       \
        switch (b->rows - r) {                                  \
            case 3: run(dtype, 3, b, r, __VA_ARGS__); break;    \
            case 2: run(dtype, 2, b, r, __VA_ARGS__); break;    \
            case 1: run(dtype, 1, b, r, __VA_ARGS__); break;    \
            default: break;                                     \
        }                                                       \
    } while (0)

INLINE void attend_as(const int32_t dtype, const mr_attend_block *b) {
    int64_t begin = b->begin[0];
    int64_t end = b->end[b->rows - 1];
    int64_t first = begin / LANES * LANES;
    int64_t last = mr_round_up(end, LANES);
    BY_ROWS(score_all, first, last);
    for (int64_t r = 0; r < b->rows; r++) {
        soften(b, r, first, last);
    }
    BY_ROWS(weigh_all, begin, end);
}

static void attend_f32(const mr_attend_block *b) { attend_as(MR_F32, b); }
static void attend_f16_cache(const mr_attend_block *b) { attend_as(MR_F16, b); }
static void attend_bf16_cache(const mr_attend_block *b) { attend_as(MR_BF16, b); }
static void attend_q8_cache(const mr_attend_block *b) { attend_as(MR_KV_Q8_0, b); }

mr_attend_kernel MR_NAME(mr_attend_of)(int32_t dtype) {
    switch (dtype) {
        case MR_F16: return attend_f16_cache;
        case MR_BF16: return attend_bf16_cache;
        case MR_KV_Q8_0: return attend_q8_cache;
        default: return attend_f32;
    }
}

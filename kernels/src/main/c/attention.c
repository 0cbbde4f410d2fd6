/*
 * Causal grouped-query attention over the paged cache, with an online softmax (arXiv 1805.02867, 2205.14135).
 *
 * The context of a token is walked in tiles of MR_KEY_TILE positions; tiles are collected into segments of MR_SEGMENT positions, each with
 * its own running maximum, sum and weighted values, and the segments are merged in ascending order. Boundaries depend on positions alone,
 * and the arithmetic of a row never looks at other rows: decode, whole prefill, any chunking and any number of threads give the same bits.
 *
 *   positions   0 .. 63 | 64 .. 127 | ...   | 256 ..      | ...          tiles of 64: four groups of 16
 *               '-------- segment 0 --------'  '- segment 1 -'
 *
 * One work item is a run of tokens of one sequence and one key/value head: up to MR_QUERY_ROWS rows (token x query head of the group) that
 * share every tile. Where there are too few of them for the threads, an item is one segment of such a run; the segments are merged in a
 * second phase (arXiv 2311.01282 splits likewise, at boundaries that depend on the load).
 *
 * Few rows read keys and values straight from the cache and widen them on the way to the arithmetic; for many rows a tile is widened once.
 */
#include "kernels.h"
#include "kv.h"

#include <float.h>

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
#define LANES MR_KV_LANES
#define LANE_VECTORS (LANES / VW)
#define NONE (-INFINITY)
/* Rows of an item when segments are items of their own: a decode's rows, or those of a few drafted tokens. */
#define SPLIT_ROWS 16
/* Items per thread from which on the threads end together well enough. */
#define ITEMS_PER_THREAD 4
#define MAX_SPLIT_BYTES (16 << 20)
#define INLINE static inline __attribute__((always_inline))

/* The running state of the rows of a work item: out = values / sum. */
typedef struct state {
    float *maximum; /* [rows] */
    float *sum;     /* [rows] */
    float *values;  /* [rows, D'] */
} state;

/* A run of tokens of one sequence and one key/value head. */
typedef struct unit {
    int64_t sequence;
    int64_t token; /* in the batch */
    int64_t tokens;
    int64_t head;
} unit;

typedef struct work {
    const mr_attention_args *a;
    void (*attend)(const mr_attend_block *);
    const int32_t *blocks;
    unit u;
    int64_t group;
    int64_t rows;
    int64_t dim;
    int64_t window;
    int64_t first_position; /* of the first token */
    int64_t begin;          /* the first position that any token sees */
    int64_t end;            /* behind the last one */
    bool direct;            /* groups can be read where they lie */
    bool bf16;              /* attend takes BF16 queries */
    void *queries;          /* [rows, D], F32 or BF16 */
    float *weights;         /* [MR_ATTEND_ROWS, MR_KEY_TILE] */
    float *wide_keys;       /* [MR_TILE_GROUPS][D][LANES] */
    float *wide_values;     /* [MR_KEY_TILE, D'] */
} work;

static int64_t padded(int64_t head_dim) { return mr_round_up(head_dim, LANES); }

static int64_t group_of(const mr_attention_args *a) { return a->num_heads / a->cache.num_kv_heads; }

static int64_t row_capacity(const mr_attention_args *a) { return mr_max(MR_QUERY_ROWS, group_of(a)); }

static int64_t state_floats(int64_t rows, int64_t dim) { return rows * (dim + 2); }

static state state_at(float *memory, int64_t rows) { return (state){memory, memory + rows, memory + 2 * rows}; }

int64_t MR_NAME(mr_attention_scratch_bytes)(const mr_attention_args *a) {
    int64_t rows = mr_round_up(row_capacity(a), LANES);
    int64_t dim = padded(a->cache.head_dim);
    int64_t floats = rows * dim + MR_ATTEND_ROWS * MR_KEY_TILE + 2 * MR_KEY_TILE * dim + 2 * state_floats(rows, dim);
    return floats * (int64_t)sizeof(float);
}

/* Components d and d + 1 of the keys of lanes [j, j + VW) of a group. */
INLINE void key_pair(const int32_t dtype, const char *group, int64_t d, int64_t j, vf scale, vf *first, vf *second) {
    switch (dtype) {
        case MR_BF16: v_load_pair_bf16((const uint16_t *)group + (d / 2 * LANES + j) * 2, first, second); break;
        case MR_KV_Q8_0:
            *first = v_mul(v_load_s8((const int8_t *)group + d * LANES + j), scale);
            *second = v_mul(v_load_s8((const int8_t *)group + (d + 1) * LANES + j), scale);
            break;
        default:
            *first = v_load_as(group, dtype, d * LANES + j);
            *second = v_load_as(group, dtype, (d + 1) * LANES + j);
            break;
    }
}

/* Bytes of a component of a group's keys. */
INLINE int64_t key_bytes(const int32_t dtype) { return LANES * (dtype == MR_F32 ? 4 : dtype == MR_KV_Q8_0 ? 1 : 2); }

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

/* Components [d, d + VW) of the values of positions 2i and 2i + 1 of a group. */
INLINE void value_pair(const int32_t dtype, const char *group, int64_t dim, int64_t i, int64_t d, vf *first, vf *second) {
    switch (dtype) {
        case MR_BF16: v_load_pair_bf16((const uint16_t *)group + (i * dim + d) * 2, first, second); break;
        case MR_KV_Q8_0: {
            const uint16_t *scales = mr_kv_scale(group, LANES, dim);
            *first = v_mul(v_load_s8((const int8_t *)group + 2 * i * dim + d),
                           v_load_f16_all(scales + mr_value_scale_index(dim, d, 2 * i)));
            *second = v_mul(v_load_s8((const int8_t *)group + (2 * i + 1) * dim + d),
                            v_load_f16_all(scales + mr_value_scale_index(dim, d, 2 * i + 1)));
            break;
        }
        default:
            *first = v_load_as(group, dtype, 2 * i * dim + d);
            *second = v_load_as(group, dtype, (2 * i + 1) * dim + d);
            break;
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

static void clear_state(const state *s, int64_t rows, int64_t dim) {
    for (int64_t r = 0; r < rows; r++) {
        s->maximum[r] = NONE;
        s->sum[r] = 0.0f;
    }
    memset(s->values, 0, (size_t)(rows * dim) * sizeof(float));
}

/* total = total (+) segment, the segment being later in the context. */
static void merge(const state *total, const state *segment, int64_t r, int64_t dim) {
    float *into = total->values + r * dim;
    const float *from = segment->values + r * dim;
    if (total->maximum[r] == NONE) {
        total->maximum[r] = segment->maximum[r];
        total->sum[r] = segment->sum[r];
        memcpy(into, from, (size_t)dim * sizeof(float));
        return;
    }
    if (segment->maximum[r] == NONE) {
        return;
    }
    float maximum = total->maximum[r] > segment->maximum[r] ? total->maximum[r] : segment->maximum[r];
    float a = s_exp(total->maximum[r] - maximum);
    float b = s_exp(segment->maximum[r] - maximum);
    total->maximum[r] = maximum;
    total->sum[r] = total->sum[r] * a + segment->sum[r] * b;
    for (int64_t d = 0; d < dim; d += VW) {
        v_store(into + d, v_add(v_mul(v_load(into + d), v_set(a)), v_mul(v_load(from + d), v_set(b))));
    }
}

static int64_t group_offset(const work *w, int64_t head, int64_t position) {
    const mr_kv_cache *cache = &w->a->cache;
    return mr_kv_group(cache, w->a->layer, w->blocks[position / cache->block_size], head, position % cache->block_size);
}

/* Widens positions [from, to) of the tile at `position`. */
static void widen(const work *w, int64_t position, int64_t from, int64_t to) {
    const mr_kv_cache *cache = &w->a->cache;
    int64_t head_dim = cache->head_dim;
    int64_t lanes = mr_kv_lanes(cache);
    int32_t dtype = cache->dtype;
    if (w->direct) {
        for (int64_t i = from / LANES * LANES; i < to; i += LANES) {
            int64_t offset = group_offset(w, w->u.head, position + i);
            const char *keys = (const char *)cache->keys + offset;
            const char *values = (const char *)cache->values + offset;
            float *wide = w->wide_keys + i * head_dim;
            for (int64_t d = 0; d < head_dim; d += 2) {
                for (int j = 0; j < LANES; j += VW) {
                    vf scale = v_zero();
                    vf first;
                    vf second;
                    if (dtype == MR_KV_Q8_0) {
                        scale = v_load_f16(mr_kv_scale(keys, LANES, head_dim) + mr_key_scale_index(LANES, d, j));
                    }
                    key_pair(dtype, keys, d, j, scale, &first, &second);
                    v_store(wide + d * LANES + j, first);
                    v_store(wide + (d + 1) * LANES + j, second);
                }
            }
            for (int64_t pair = 0; pair < LANES / 2; pair++) {
                wide = w->wide_values + (i + 2 * pair) * head_dim;
                for (int64_t d = 0; d < head_dim; d += VW) {
                    vf first;
                    vf second;
                    value_pair(dtype, values, head_dim, pair, d, &first, &second);
                    v_store(wide + d, first);
                    v_store(wide + head_dim + d, second);
                }
            }
        }
        return;
    }
    for (int64_t i = from; i < to; i++) {
        int64_t offset = group_offset(w, w->u.head, position + i);
        const char *keys = (const char *)cache->keys + offset;
        const char *values = (const char *)cache->values + offset;
        int64_t lane = (position + i) % cache->block_size % lanes;
        for (int64_t d = 0; d < head_dim; d++) {
            w->wide_keys[(i / LANES * head_dim + d) * LANES + i % LANES] = mr_load_key(keys, dtype, lanes, head_dim, d, lane);
            w->wide_values[i * w->dim + d] = mr_load_value(values, dtype, lanes, head_dim, d, lane);
        }
        for (int64_t d = head_dim; d < w->dim; d++) {
            w->wide_values[i * w->dim + d] = 0.0f;
        }
    }
}

/* Says where the tile at `position` lies, of which positions [from, to) are needed; beyond `to` its groups may be anything. */
static void place_tile(const work *w, mr_attend_block *b, int64_t position, int64_t from, int64_t to) {
    const mr_kv_cache *cache = &w->a->cache;
    bool direct = w->direct && (w->attend != attend_f32 || cache->dtype == MR_F32);
    if (!direct) {
        widen(w, position, from, to);
    }
    for (int64_t i = 0; i < MR_TILE_GROUPS; i++) {
        if (!direct) {
            b->keys[i] = (const char *)(w->wide_keys + i * LANES * cache->head_dim);
            b->values[i] = (const char *)(w->wide_values + i * LANES * w->dim);
        } else if (i >= from / LANES && i * LANES < to) {
            int64_t offset = group_offset(w, w->u.head, position + i * LANES);
            b->keys[i] = (const char *)cache->keys + offset;
            b->values[i] = (const char *)cache->values + offset;
        } else {
            b->keys[i] = b->values[i] = NULL;
        }
        b->next_keys[i] = b->keys[i];
        b->next_values[i] = b->values[i];
        int64_t next = position + MR_KEY_TILE + i * LANES;
        int64_t head = w->u.head;
        if (position + MR_KEY_TILE >= w->end && head + 1 < cache->num_kv_heads) {
            /* The next head of the sequence is most often this thread's next item. */
            next = w->begin / MR_KEY_TILE * MR_KEY_TILE + i * LANES;
            head++;
        }
        if (w->direct && next + LANES > w->begin && next < w->end) {
            int64_t offset = group_offset(w, head, next);
            b->next_keys[i] = (const char *)cache->keys + offset;
            b->next_values[i] = (const char *)cache->values + offset;
        }
    }
}

/* The state of all rows over positions [from, to), which are a segment or less. */
static void attend_segment(const work *w, const state *s, int64_t from, int64_t to) {
    mr_attend_block b = {.head_dim = w->a->cache.head_dim, .padded_dim = w->dim, .soft_cap = w->a->soft_cap, .dtype = w->a->cache.dtype,
                         .weights = w->weights};
    int64_t query_bytes = b.head_dim * (w->bf16 ? 2 : 4);
    clear_state(s, w->rows, w->dim);
    for (int64_t position = from / MR_KEY_TILE * MR_KEY_TILE; position < to; position += MR_KEY_TILE) {
        /* The tokens that see any of the tile: from the first that it has reached to the last whose window has not left it. */
        int64_t row = mr_max(0, position - w->first_position) * w->group;
        int64_t row_end = mr_min(w->u.tokens, position + MR_KEY_TILE - 1 + w->window - w->first_position) * w->group;
        if (row >= row_end) {
            continue;
        }
        place_tile(w, &b, position, mr_max(0, from - position), mr_min(MR_KEY_TILE, to - position));
        for (; row < row_end; row += b.rows) {
            b.rows = mr_min(MR_ATTEND_ROWS, row_end - row);
            for (int64_t r = 0; r < b.rows; r++) {
                int64_t at = w->first_position + (row + r) / w->group + 1 - position;
                b.begin[r] = mr_max(0, at - w->window);
                b.end[r] = mr_min(MR_KEY_TILE, at);
            }
            b.queries = (const char *)w->queries + row * query_bytes;
            b.maximum = s->maximum + row;
            b.sum = s->sum + row;
            b.out = s->values + row * w->dim;
            w->attend(&b);
        }
    }
}

/* Fills in all but the working memory's content; false if the block table is broken. */
static bool begin_work(mr_thread *thread, const mr_attention_args *a, const unit *u, work *w) {
    const mr_batch *batch = thread->batch;
    const mr_kv_cache *cache = &a->cache;
    w->a = a;
    w->u = *u;
    w->blocks = batch->block_tables + u->sequence * (int64_t)batch->max_blocks_per_sequence;
    w->group = group_of(a);
    w->rows = u->tokens * w->group;
    w->dim = padded(cache->head_dim);
    w->window = a->window > 0 ? a->window : INT64_MAX / 2;
    w->first_position = batch->positions[u->token];
    w->begin = mr_max(0, w->first_position + 1 - w->window);
    w->end = w->first_position + u->tokens;
    for (int64_t i = w->begin / cache->block_size; i * cache->block_size < w->end; i++) {
        if (w->blocks[i] < 0 || w->blocks[i] >= cache->num_blocks) {
            mr_fail(thread, MR_E_BLOCK, "block id %lld of sequence %lld is outside the KV cache of %lld blocks", w->blocks[i], u->sequence,
                    cache->num_blocks);
            return false;
        }
    }
    w->direct = cache->block_size % LANES == 0 && cache->head_dim % LANES == 0;
    w->bf16 = w->direct && a->bf16_products && cache->dtype == MR_BF16 && thread->kernels->attend_bf16 != NULL;
    w->attend = w->bf16                                      ? thread->kernels->attend_bf16
                : !w->direct || w->rows > 2 * MR_ATTEND_ROWS ? attend_f32
                : cache->dtype == MR_F16                     ? attend_f16_cache
                : cache->dtype == MR_BF16                    ? attend_bf16_cache
                : cache->dtype == MR_KV_Q8_0                 ? attend_q8_cache
                                                             : attend_f32;
    return true;
}

/* Lays out the thread's working memory and gathers the queries: rows in token order, the scale in them. */
static void begin_rows(mr_thread *thread, work *w, state *total, state *segment) {
    const mr_attention_args *a = w->a;
    int64_t head_dim = a->cache.head_dim;
    int64_t capacity = row_capacity(a);
    float *cursor = (float *)thread->scratch;
    w->weights = cursor;
    cursor += MR_ATTEND_ROWS * MR_KEY_TILE;
    w->queries = cursor;
    cursor += capacity * w->dim;
    w->wide_keys = cursor;
    cursor += MR_KEY_TILE * w->dim;
    w->wide_values = cursor;
    cursor += MR_KEY_TILE * w->dim;
    *total = state_at(cursor, mr_round_up(capacity, LANES));
    cursor += state_floats(mr_round_up(capacity, LANES), w->dim);
    *segment = state_at(cursor, mr_round_up(capacity, LANES));
    for (int64_t r = 0; r < w->rows; r++) {
        const float *query = a->qkv.data + (w->u.token + r / w->group) * a->qkv.cols + (w->u.head * w->group + r % w->group) * head_dim;
        for (int64_t d = 0; d < head_dim; d++) {
            float q = query[d] * a->scale;
            if (w->bf16) {
                ((uint16_t *)w->queries)[r * head_dim + d] = s_to_bf16(q);
            } else {
                ((float *)w->queries)[r * head_dim + d] = q;
            }
        }
    }
}

static void write_out(const work *w, const state *total) {
    const mr_attention_args *a = w->a;
    int64_t head_dim = a->cache.head_dim;
    for (int64_t r = 0; r < w->rows; r++) {
        int64_t head = w->u.head * w->group + r % w->group;
        float *out = a->out.data + (w->u.token + r / w->group) * a->out.cols + head * head_dim;
        float sum = total->sum[r];
        float factor = 1.0f;
        if (a->sinks != NULL && total->maximum[r] != NONE) {
            float sink = a->sinks[head];
            float maximum = sink > total->maximum[r] ? sink : total->maximum[r];
            factor = s_exp(total->maximum[r] - maximum);
            sum = sum * factor + s_exp(sink - maximum);
        }
        factor = sum > 0.0f ? factor / sum : 0.0f;
        for (int64_t d = 0; d < head_dim; d++) {
            out[d] = total->values[r * w->dim + d] * factor;
        }
    }
}

static void attend_unit(mr_thread *thread, const mr_attention_args *a, const unit *u) {
    work w;
    state total;
    state segment;
    if (!begin_work(thread, a, u, &w)) {
        return;
    }
    begin_rows(thread, &w, &total, &segment);
    for (int64_t from = w.begin; from < w.end;) {
        int64_t to = mr_min(w.end, from / MR_SEGMENT * MR_SEGMENT + MR_SEGMENT);
        const state *into = from == w.begin ? &total : &segment;
        attend_segment(&w, into, from, to);
        for (int64_t r = 0; into == &segment && r < w.rows; r++) {
            merge(&total, &segment, r, w.dim);
        }
        from = to;
    }
    write_out(&w, &total);
}

/*
 * Work items in order: sequence by sequence, run by run of tokens, head by head and, if segments are items, segment by segment. A thread's
 * claims grow within a share, so its walk goes forward; it starts over where a thread helps with an earlier share.
 */
typedef struct walk {
    const mr_batch *batch;
    int64_t run;      /* tokens */
    int64_t kv_heads;
    int64_t window;
    bool split;
    int64_t sequence;
    int64_t offset;   /* of the run in the sequence's tokens */
    int64_t first;    /* item number of the run's first item */
    int64_t segments; /* of the run */
} walk;

/* Segments that a run of tokens reads: numbers [first, first + count). */
static int64_t run_segments(const walk *k, int64_t *first) {
    int64_t token = k->batch->query_start[k->sequence] + k->offset;
    int64_t tokens = mr_min(k->run, k->batch->query_start[k->sequence + 1] - token);
    int64_t position = k->batch->positions[token];
    int64_t begin = k->window > 0 ? mr_max(0, position + 1 - k->window) : 0;
    *first = begin / MR_SEGMENT;
    return mr_ceil_div(position + tokens, MR_SEGMENT) - *first;
}

static bool enter_run(walk *k) {
    while (k->sequence < k->batch->counts[1] && k->offset >= k->batch->query_start[k->sequence + 1] - k->batch->query_start[k->sequence]) {
        k->sequence++;
        k->offset = 0;
    }
    if (k->sequence >= k->batch->counts[1]) {
        return false;
    }
    int64_t first;
    k->segments = k->split ? run_segments(k, &first) : 1;
    return true;
}

static bool next_run(walk *k) {
    k->first += k->segments * k->kv_heads;
    k->offset += k->run;
    return enter_run(k);
}

static walk start_walk(const mr_batch *batch, const mr_attention_args *a, bool split) {
    walk k = {.batch = batch, .run = mr_max(1, (split ? SPLIT_ROWS : MR_QUERY_ROWS) / group_of(a)), .kv_heads = a->cache.num_kv_heads,
              .window = a->window, .split = split};
    return k;
}

static int64_t count_items(walk k) {
    if (!enter_run(&k)) {
        return 0;
    }
    while (next_run(&k)) {
    }
    return k.first;
}

static void restart(walk *k) {
    k->sequence = k->offset = k->first = 0;
    enter_run(k);
}

/* The run that holds the item. */
static unit find_unit(walk *k, int64_t item) {
    if (item < k->first) {
        restart(k);
    }
    while (item >= k->first + k->segments * k->kv_heads && next_run(k)) {
    }
    int64_t token = k->batch->query_start[k->sequence] + k->offset;
    return (unit){k->sequence, token, mr_min(k->run, k->batch->query_start[k->sequence + 1] - token), (item - k->first) / k->segments};
}

static int64_t split_rows(const mr_attention_args *a) { return mr_max(1, SPLIT_ROWS / group_of(a)) * group_of(a); }

/* A state for every item of a step that may be split: see `worth_splitting`. */
int64_t MR_NAME(mr_attention_shared_bytes)(const mr_attention_args *a, const mr_batch *batch, int32_t threads) {
    int64_t positions = (int64_t)batch->max_blocks_per_sequence * a->cache.block_size;
    int64_t state_bytes = state_floats(split_rows(a), padded(a->cache.head_dim)) * (int64_t)sizeof(float);
    int64_t items = ITEMS_PER_THREAD * threads * mr_ceil_div(positions, MR_SEGMENT) * mr_ceil_div(row_capacity(a), split_rows(a));
    return threads == 1 ? 0 : mr_min(items * state_bytes, MAX_SPLIT_BYTES);
}

static bool worth_splitting(const mr_thread *thread, const mr_attention_args *a) {
    int64_t whole = count_items(start_walk(thread->batch, a, false));
    if (thread->count == 1 || whole >= ITEMS_PER_THREAD * thread->count) {
        return false;
    }
    int64_t items = count_items(start_walk(thread->batch, a, true));
    if (items == whole) {
        return false; /* of a segment each */
    }
    int64_t state_bytes = state_floats(split_rows(a), padded(a->cache.head_dim)) * (int64_t)sizeof(float);
    return items * state_bytes <= MR_NAME(mr_attention_shared_bytes)(a, thread->batch, thread->count);
}

static void attend_split(mr_thread *thread, const mr_attention_args *a) {
    walk k = start_walk(thread->batch, a, true);
    int64_t items = count_items(k);
    int64_t rows = split_rows(a);
    int64_t state_size = state_floats(rows, padded(a->cache.head_dim));
    float *states = (float *)thread->shared;
    work w;
    state total;
    state segment;
    int64_t gathered = -1; /* the first item of the unit whose queries are there */
    enter_run(&k);
    for (int64_t item; (item = mr_claim(thread, 1, items)) < items;) {
        unit u = find_unit(&k, item);
        int64_t number = (item - k.first) % k.segments;
        if (item - number != gathered) {
            gathered = -1;
            if (!begin_work(thread, a, &u, &w)) {
                continue;
            }
            begin_rows(thread, &w, &total, &segment);
            gathered = item - number;
        }
        int64_t from = (w.begin / MR_SEGMENT + number) * MR_SEGMENT;
        segment = state_at(states + item * state_size, rows);
        attend_segment(&w, &segment, mr_max(from, w.begin), mr_min(from + MR_SEGMENT, w.end));
    }
    mr_barrier(thread);
    /* Units are found by the number of their first item among the items; heads of a run follow each other. */
    walk units = start_walk(thread->batch, a, true);
    units.split = false;
    int64_t count = count_items(units);
    k = start_walk(thread->batch, a, true);
    enter_run(&k);
    enter_run(&units);
    for (int64_t item; (item = mr_claim(thread, 1, count)) < count;) {
        unit u = find_unit(&units, item);
        if (k.sequence > units.sequence || (k.sequence == units.sequence && k.offset > units.offset)) {
            restart(&k);
        }
        while (k.sequence != units.sequence || k.offset != units.offset) {
            next_run(&k);
        }
        if (!begin_work(thread, a, &u, &w)) {
            continue;
        }
        int64_t first = k.first + u.head * k.segments;
        total = state_at(states + first * state_size, rows);
        for (int64_t i = 1; i < k.segments; i++) {
            segment = state_at(states + (first + i) * state_size, rows);
            for (int64_t r = 0; r < w.rows; r++) {
                merge(&total, &segment, r, w.dim);
            }
        }
        write_out(&w, &total);
    }
}

/* In a step of one token a sequence no item needs a key or a query that another one makes, unless segments are items: nobody may share what
 * such a step writes (io.millrace.kernels.Batch). */
bool MR_NAME(mr_attention_takes_rope)(const mr_thread *thread, const mr_attention_args *a) {
    return thread->batch->counts[0] == thread->batch->counts[1] && !worth_splitting(thread, a);
}

void MR_NAME(mr_attention)(mr_thread *thread, const mr_attention_args *a, const mr_rope_args *before) {
    if (before == NULL && worth_splitting(thread, a)) {
        attend_split(thread, a);
        return;
    }
    walk k = start_walk(thread->batch, a, false);
    int64_t items = count_items(k);
    enter_run(&k);
    for (int64_t item; (item = mr_claim(thread, 1, items)) < items;) {
        unit u = find_unit(&k, item);
        if (before == NULL || MR_NAME(mr_rope_token)(thread, before, u.token, u.head)) {
            attend_unit(thread, a, &u);
        }
    }
}

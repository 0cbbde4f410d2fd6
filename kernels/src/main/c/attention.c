/*
 * Causal grouped-query attention over the paged cache, with an online softmax (arXiv 1805.02867, 2205.14135).
 *
 * One work item is a run of tokens of one sequence and one key/value head: up to MR_QUERY_ROWS rows (token x query head of the group) that
 * share every key tile. The context is walked in tiles of MR_KEY_TILE positions; tiles are collected into segments of MR_SEGMENT positions,
 * each with its own running maximum, sum and weighted values, and the segments are merged in ascending order. Boundaries depend on positions
 * alone, and the arithmetic of a row never looks at other rows: decode, whole prefill and any chunking give the same bits.
 *
 *   positions   0 .. 31 | 32 .. 63 | ...   | 512 ..      | ...          tiles of 32
 *               '------- segment 0 -------'  '- segment 1 -'
 */
#include "kernels.h"

#include <float.h>

#if defined(MR_FOR_AVX512) || defined(MR_FOR_NEON)
#define ROW_BLOCK 8
#else
#define ROW_BLOCK 4
#endif
#define LANES 16 /* positions whose scores are computed together */
#define LANE_VECTORS (LANES / VW)
#define NONE (-INFINITY)

/* The running state of the rows of a work item: out = values / sum. D' is the head dimension rounded up to whole vectors. */
typedef struct state {
    float *maximum; /* [rows] */
    float *sum;     /* [rows] */
    float *values;  /* [rows, D'] */
} state;

typedef struct work {
    int64_t rows;
    int64_t head_dim;
    int64_t padded_dim;
    const float *queries; /* [rows, D] */
    float scale;
    float soft_cap;
    const float *keys;    /* this tile: [2][D][LANES] */
    const float *values;  /* this tile: [MR_KEY_TILE, D'] */
    float *weights;       /* scores, then softmax weights: [rows, MR_KEY_TILE] */
} work;

static int64_t padded(int64_t head_dim) { return mr_round_up(head_dim, LANES); }

static int64_t row_capacity(const mr_attention_args *a) {
    return mr_max(MR_QUERY_ROWS, a->num_heads / a->cache.num_kv_heads);
}

int64_t MR_NAME(mr_attention_scratch_bytes)(const mr_attention_args *a) {
    int64_t rows = row_capacity(a);
    int64_t dim = padded(a->cache.head_dim);
    int64_t floats = rows * (dim + MR_KEY_TILE + 2 * (dim + LANES)) + 2 * MR_KEY_TILE * dim + 16 * LANES;
    return floats * (int64_t)sizeof(float);
}

/* Scores of `rows` rows against one group of LANES positions. rows is constant after inlining; one chain of FMAs over D per score. */
static inline __attribute__((always_inline)) void score(const int rows, const float *queries, int64_t head_dim, const float *keys,
                                                        float scale, float *out) {
    vf sums[ROW_BLOCK][LANE_VECTORS];
#pragma GCC unroll 8
    for (int r = 0; r < rows; r++) {
        for (int j = 0; j < LANE_VECTORS; j++) {
            sums[r][j] = v_zero();
        }
    }
    for (int64_t d = 0; d < head_dim; d++) {
        vf key[LANE_VECTORS];
        for (int j = 0; j < LANE_VECTORS; j++) {
            key[j] = v_load(keys + d * LANES + j * VW);
        }
#pragma GCC unroll 8
        for (int r = 0; r < rows; r++) {
            vf q = v_set(queries[r * head_dim + d]);
            for (int j = 0; j < LANE_VECTORS; j++) {
                sums[r][j] = v_fma(q, key[j], sums[r][j]);
            }
        }
    }
    vf factor = v_set(scale);
#pragma GCC unroll 8
    for (int r = 0; r < rows; r++) {
        for (int j = 0; j < LANE_VECTORS; j++) {
            v_store(out + r * MR_KEY_TILE + j * VW, v_mul(sums[r][j], factor));
        }
    }
}

/* values[r] += sum_j weights[r, j] * tile[j] for positions [begin, end), in ascending j. */
static inline __attribute__((always_inline)) void weigh(const int rows, const float *weights, const float *tile, int64_t dim,
                                                        int64_t begin, int64_t end, float *values) {
    for (int64_t d = 0; d < dim; d += VW) {
        vf sums[ROW_BLOCK];
#pragma GCC unroll 8
        for (int r = 0; r < rows; r++) {
            sums[r] = v_load(values + r * dim + d);
        }
        for (int64_t j = begin; j < end; j++) {
            vf value = v_load(tile + j * dim + d);
#pragma GCC unroll 8
            for (int r = 0; r < rows; r++) {
                sums[r] = v_fma(v_set(weights[r * MR_KEY_TILE + j]), value, sums[r]);
            }
        }
#pragma GCC unroll 8
        for (int r = 0; r < rows; r++) {
            v_store(values + r * dim + d, sums[r]);
        }
    }
}

/* Turns the row's scores of this tile into softmax weights and rescales what was summed so far; positions [begin, end) are visible. */
static void soften(float *scores, float soft_cap, int64_t begin, int64_t end, float *maximum, float *sum, float *values, int64_t dim) {
    if (soft_cap > 0.0f) {
        for (int j = 0; j < MR_KEY_TILE; j += VW) {
            v_store(scores + j, v_mul(v_set(soft_cap), v_tanh(v_div(v_load(scores + j), v_set(soft_cap)))));
        }
    }
    for (int64_t j = 0; j < begin; j++) {
        scores[j] = NONE;
    }
    for (int64_t j = end; j < MR_KEY_TILE; j++) {
        scores[j] = NONE;
    }
    vf top = v_load(scores);
    for (int j = VW; j < MR_KEY_TILE; j += VW) {
        top = v_max(top, v_load(scores + j));
    }
    float before = *maximum;
    float now = v_hmax(top);
    now = now > before ? now : before;
    /* With every score at -inf there is nothing to weigh: avoid inf - inf. */
    float base = now == NONE ? 0.0f : now;
    vf total = v_zero();
    for (int j = 0; j < MR_KEY_TILE; j += VW) {
        vf weight = v_exp(v_sub(v_load(scores + j), v_set(base)));
        v_store(scores + j, weight);
        total = v_add(total, weight);
    }
    if (now > before && before != NONE) {
        float factor = s_exp(before - base);
        *sum *= factor;
        for (int64_t d = 0; d < dim; d += VW) {
            v_store(values + d, v_mul(v_load(values + d), v_set(factor)));
        }
    }
    *maximum = now;
    *sum += v_sum(total);
}

static void score_rows(const work *w, int64_t row, int64_t rows, int64_t count) {
    const float *queries = w->queries + row * w->head_dim;
    float *out = w->weights + row * MR_KEY_TILE;
    for (int64_t lane = 0; lane < count; lane += LANES) {
        const float *keys = w->keys + lane * w->head_dim;
        if (rows == ROW_BLOCK) {
            score(ROW_BLOCK, queries, w->head_dim, keys, w->scale, out + lane);
            continue;
        }
        int64_t r = 0;
        for (; r + 4 <= rows; r += 4) { /* a decode of the usual groups of four query heads */
            score(4, queries + r * w->head_dim, w->head_dim, keys, w->scale, out + r * MR_KEY_TILE + lane);
        }
        for (; r < rows; r++) {
            score(1, queries + r * w->head_dim, w->head_dim, keys, w->scale, out + r * MR_KEY_TILE + lane);
        }
    }
}

/* Adds the tile to the state of rows [row, row + rows), which see positions [begins[r], ends[r]) of it. */
static void add_tile(const work *w, state *s, int64_t row, int64_t rows, const int64_t *begins, const int64_t *ends) {
    int64_t dim = w->padded_dim;
    bool alike = true;
    score_rows(w, row, rows, MR_KEY_TILE);
    for (int64_t i = 0; i < rows; i++) {
        int64_t r = row + i;
        soften(w->weights + r * MR_KEY_TILE, w->soft_cap, begins[i], ends[i], s->maximum + r, s->sum + r, s->values + r * dim, dim);
        alike &= begins[i] == begins[0] && ends[i] == ends[0];
    }
    if (alike && rows == ROW_BLOCK) {
        weigh(ROW_BLOCK, w->weights + row * MR_KEY_TILE, w->values, dim, begins[0], ends[0], s->values + row * dim);
        return;
    }
    int64_t i = 0;
    for (; alike && i + 4 <= rows; i += 4) {
        weigh(4, w->weights + (row + i) * MR_KEY_TILE, w->values, dim, begins[0], ends[0],
              s->values + (row + i) * dim);
    }
    for (; i < rows; i++) {
        weigh(1, w->weights + (row + i) * MR_KEY_TILE, w->values, dim, begins[i], ends[i],
              s->values + (row + i) * dim);
    }
}

static void clear_state(state *s, int64_t first, int64_t rows, int64_t dim) {
    for (int64_t r = first; r < rows; r++) {
        s->maximum[r] = NONE;
        s->sum[r] = 0.0f;
    }
    memset(s->values + first * dim, 0, (size_t)((rows - first) * dim) * sizeof(float));
}

/* total = total (+) segment, the segment being later in the context. */
static void merge(state *total, const state *segment, int64_t r, int64_t dim) {
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

/* Widens positions [first + from, first + count) of the tile to floats: keys [2][D][LANES], values [MR_KEY_TILE, D']. */
static void load_tile(const mr_attention_args *a, const int32_t *blocks, int64_t g, int64_t first, int64_t from, int64_t count,
                      float *keys, float *values) {
    const mr_kv_cache *cache = &a->cache;
    int64_t size = cache->block_size;
    int64_t head_dim = cache->head_dim;
    int64_t dim = padded(head_dim);
    int64_t bytes = mr_dtype_bytes(cache->dtype);
    int32_t dtype = cache->dtype;
    int64_t head_stride = head_dim * size;
    int64_t layer = a->layer * (int64_t)cache->num_blocks;
    if (size % LANES == 0) {
        for (int64_t lane = from / LANES * LANES; lane < count; lane += LANES) {
            int64_t position = first + lane;
            int64_t start = ((layer + blocks[position / size]) * cache->num_kv_heads + g) * head_stride + position % size;
            const char *source = (const char *)cache->keys + start * bytes;
            for (int64_t d = 0; d < head_dim; d++) {
                for (int j = 0; j < LANES; j += VW) {
                    v_store(keys + (lane / LANES * head_dim + d) * LANES + j, v_load_as(source, dtype, d * size + j));
                }
            }
        }
    } else {
        for (int64_t i = from; i < count; i++) {
            int64_t position = first + i;
            int64_t start = ((layer + blocks[position / size]) * cache->num_kv_heads + g) * head_stride + position % size;
            const char *source = (const char *)cache->keys + start * bytes;
            for (int64_t d = 0; d < head_dim; d++) {
                keys[(i / LANES * head_dim + d) * LANES + i % LANES] = s_load(source, dtype, d * size);
            }
        }
    }
    for (int64_t i = from; i < count; i++) {
        int64_t position = first + i;
        int64_t start = ((layer + blocks[position / size]) * cache->num_kv_heads + g) * head_stride + position % size * head_dim;
        const char *source = (const char *)cache->values + start * bytes;
        int64_t d = 0;
        for (; d + VW <= head_dim; d += VW) {
            v_store(values + i * dim + d, v_load_as(source, dtype, d));
        }
        for (; d < head_dim; d++) {
            values[i * dim + d] = s_load(source, dtype, d);
        }
        for (; d < dim; d++) {
            values[i * dim + d] = 0.0f;
        }
    }
}

/* Attention of tokens [t0, t0 + tokens) of sequence s for key/value head g. */
static void attend(mr_thread *thread, const mr_attention_args *a, int64_t s, int64_t t0, int64_t tokens, int64_t g) {
    const mr_batch *batch = thread->batch;
    int64_t head_dim = a->cache.head_dim;
    int64_t dim = padded(head_dim);
    int64_t group = a->num_heads / a->cache.num_kv_heads;
    int64_t rows = tokens * group;
    int64_t capacity = row_capacity(a);
    const int32_t *blocks = batch->block_tables + s * batch->max_blocks_per_sequence;

    int64_t window = a->window > 0 ? a->window : INT64_MAX / 2;
    int64_t first_position = batch->positions[t0];
    int64_t end = first_position + tokens;                     /* positions seen by the last token */
    int64_t begin = mr_max(0, first_position + 1 - window);    /* the first position that the first token sees */
    for (int64_t i = begin / a->cache.block_size; i * a->cache.block_size < end; i++) {
        if (blocks[i] < 0 || blocks[i] >= a->cache.num_blocks) {
            mr_fail(thread, MR_E_BLOCK, "block id %lld of sequence %lld is outside the KV cache of %lld blocks", blocks[i], s,
                    a->cache.num_blocks);
            return;
        }
    }

    float *cursor = (float *)thread->scratch;
    float *queries = cursor;
    cursor += capacity * dim;
    float *weights = cursor;
    cursor += capacity * MR_KEY_TILE;
    state total = {cursor, cursor + capacity, cursor + 2 * capacity};
    cursor += capacity * (dim + LANES);
    state segment = {cursor, cursor + capacity, cursor + 2 * capacity};
    cursor += capacity * (dim + LANES);
    float *keys = cursor;
    float *values = keys + MR_KEY_TILE * dim;

    /* Rows in token order, so that the rows that see a position are the last ones. */
    for (int64_t t = 0; t < tokens; t++) {
        memcpy(queries + t * group * head_dim, a->qkv.data + (t0 + t) * a->qkv.cols + g * group * head_dim,
               (size_t)(group * head_dim) * sizeof(float));
    }
    work w = {rows, head_dim, dim, queries, a->scale, a->soft_cap, keys, values, weights};
    clear_state(&total, 0, rows, dim);
    clear_state(&segment, 0, rows, dim);
    for (int64_t position = begin / MR_KEY_TILE * MR_KEY_TILE; position < end; position += MR_KEY_TILE) {
        load_tile(a, blocks, g, position, mr_max(0, begin - position), mr_min(MR_KEY_TILE, end - position), keys, values);
        /* The tokens that see any of the tile are the first ones whose windows have not left it, from the first that it has reached. */
        int64_t row = mr_max(0, position - first_position) * group;
        int64_t row_end = mr_min(tokens, position + MR_KEY_TILE - 1 + window - first_position) * group;
        while (row < row_end) {
            int64_t count = mr_min(ROW_BLOCK, row_end - row);
            int64_t begins[ROW_BLOCK];
            int64_t ends[ROW_BLOCK];
            for (int64_t r = 0; r < count; r++) {
                int64_t at = first_position + (row + r) / group + 1 - position;
                begins[r] = mr_max(0, at - window);
                ends[r] = mr_min(MR_KEY_TILE, at);
            }
            add_tile(&w, &segment, row, count, begins, ends);
            row += count;
        }
        if ((position + MR_KEY_TILE) % MR_SEGMENT == 0 || position + MR_KEY_TILE >= end) {
            for (int64_t r = 0; r < rows; r++) {
                merge(&total, &segment, r, dim);
            }
            clear_state(&segment, 0, rows, dim);
        }
    }
    for (int64_t r = 0; r < rows; r++) {
        float *out = a->out.data + (t0 + r / group) * a->out.cols + (g * group + r % group) * head_dim;
        float sum = total.sum[r];
        float factor = 1.0f;
        if (a->sinks != NULL && total.maximum[r] != NONE) {
            float sink = a->sinks[g * group + r % group];
            float maximum = sink > total.maximum[r] ? sink : total.maximum[r];
            factor = s_exp(total.maximum[r] - maximum);
            sum = sum * factor + s_exp(sink - maximum);
        }
        factor = sum > 0.0f ? factor / sum : 0.0f;
        for (int64_t d = 0; d < head_dim; d++) {
            out[d] = total.values[r * dim + d] * factor;
        }
    }
}

void MR_NAME(mr_attention)(mr_thread *thread, const mr_attention_args *a) {
    const mr_batch *batch = thread->batch;
    int64_t sequences = batch->counts[1];
    int64_t kv_heads = a->cache.num_kv_heads;
    int64_t group = a->num_heads / kv_heads;
    int64_t run = mr_max(1, MR_QUERY_ROWS / group);
    int64_t total = 0;
    for (int64_t s = 0; s < sequences; s++) {
        total += mr_ceil_div(batch->query_start[s + 1] - batch->query_start[s], run) * kv_heads;
    }
    /* Items are numbered sequence by sequence, run by run, head by head; claims only grow, so the walk goes forward. */
    int64_t s = 0;
    int64_t before = 0;
    for (int64_t item; (item = mr_claim(thread, 1, total)) < total;) {
        int64_t items;
        while (item >= before + (items = mr_ceil_div(batch->query_start[s + 1] - batch->query_start[s], run) * kv_heads)) {
            before += items;
            s++;
        }
        int64_t t0 = batch->query_start[s];
        int64_t offset = (item - before) / kv_heads * run;
        attend(thread, a, s, t0 + offset, mr_min(run, batch->query_start[s + 1] - t0 - offset), (item - before) % kv_heads);
    }
}

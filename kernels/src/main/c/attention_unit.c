/*
 * One unit of attention: the rows of a run of tokens against one key/value head, tile by tile and segment by segment. Few rows read keys and
 * values straight from the cache and widen them on the way to the arithmetic; for many rows a tile is widened once.
 */
#include "attend_load.h"
#include "attention.h"

#define NONE (-INFINITY)

int64_t MR_NAME(mr_attention_scratch_bytes)(const mr_attention_args *a) {
    int64_t rows = mr_round_up(row_capacity(a), LANES);
    int64_t dim = padded(a->cache.head_dim);
    int64_t floats = rows * dim + MR_ATTEND_ROWS * MR_KEY_TILE + 2 * MR_KEY_TILE * dim + 2 * state_floats(rows, dim);
    return floats * (int64_t)sizeof(float);
}

static void clear_state(const state *s, int64_t rows, int64_t dim) {
    for (int64_t r = 0; r < rows; r++) {
        s->maximum[r] = NONE;
        s->sum[r] = 0.0f;
    }
    memset(s->values, 0, (size_t)(rows * dim) * sizeof(float));
}

static void merge_row(const state *total, const state *segment, int64_t r, int64_t dim) {
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

void MR_NAME(mr_unit_merge)(const work *w, const state *total, const state *segment) {
    for (int64_t r = 0; r < w->rows; r++) {
        merge_row(total, segment, r, w->dim);
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
    bool direct = w->direct && (w->attend != MR_NAME(mr_attend_of)(MR_F32) || cache->dtype == MR_F32);
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

void MR_NAME(mr_unit_segment)(const work *w, const state *s, int64_t from, int64_t to) {
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

bool MR_NAME(mr_unit_begin)(mr_thread *thread, const mr_attention_args *a, const unit *u, work *w) {
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
    w->attend = w->bf16 ? thread->kernels->attend_bf16
                        : MR_NAME(mr_attend_of)(!w->direct || w->rows > 2 * MR_ATTEND_ROWS ? MR_F32 : cache->dtype);
    return true;
}

void MR_NAME(mr_unit_rows)(mr_thread *thread, work *w, state *total, state *segment) {
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

void MR_NAME(mr_unit_write)(const work *w, const state *total) {
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

void MR_NAME(mr_unit_attend)(mr_thread *thread, const mr_attention_args *a, const unit *u) {
    work w;
    state total;
    state segment;
    if (!MR_NAME(mr_unit_begin)(thread, a, u, &w)) {
        return;
    }
    MR_NAME(mr_unit_rows)(thread, &w, &total, &segment);
    for (int64_t from = w.begin; from < w.end;) {
        int64_t to = mr_min(w.end, from / MR_SEGMENT * MR_SEGMENT + MR_SEGMENT);
        const state *into = from == w.begin ? &total : &segment;
        MR_NAME(mr_unit_segment)(&w, into, from, to);
        if (into == &segment) {
            MR_NAME(mr_unit_merge)(&w, &total, &segment);
        }
        from = to;
    }
    MR_NAME(mr_unit_write)(&w, &total);
}

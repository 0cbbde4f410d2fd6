/* Rotary position embedding (RoFormer, arXiv 2104.09864) and the write of keys and values into the paged cache. */
#include "kernels.h"
#include "kv.h"

static void rotate(float *head, const float *cosine, const float *sine, int64_t half, bool interleaved) {
    if (interleaved) {
        for (int64_t i = 0; i < half; i++) {
            float a = head[2 * i];
            float b = head[2 * i + 1];
            head[2 * i] = a * cosine[i] - b * sine[i];
            head[2 * i + 1] = b * cosine[i] + a * sine[i];
        }
        return;
    }
    for (int64_t i = 0; i < half; i++) {
        float a = head[i];
        float b = head[i + half];
        head[i] = a * cosine[i] - b * sine[i];
        head[i + half] = b * cosine[i] + a * sine[i];
    }
}

/* x / sqrt(mean(x^2) + eps) * weight, in place. */
static void normalize(float *x, const float *weight, float eps, int64_t count) {
    vf squares = v_zero();
    int64_t i = 0;
    for (; i + VW <= count; i += VW) {
        vf v = v_load(x + i);
        squares = v_fma(v, v, squares);
    }
    float sum = v_sum(squares);
    for (; i < count; i++) {
        sum += x[i] * x[i];
    }
    float factor = 1.0f / sqrtf(sum / (float)count + eps);
    for (i = 0; i < count; i++) {
        x[i] = x[i] * factor * weight[i];
    }
}

/* Writes one position of a group. */
static void store(const mr_kv_cache *cache, char *keys, char *values, int64_t lane, const float *key, const float *value) {
    int64_t lanes = mr_kv_lanes(cache);
    int64_t head_dim = cache->head_dim;
    int32_t dtype = cache->dtype;
    if (dtype != MR_KV_Q8_0) {
        for (int64_t d = 0; d < head_dim; d++) {
            s_store(keys, dtype, mr_key_index(dtype, lanes, d, lane), key[d]);
            s_store(values, dtype, mr_value_index(dtype, lanes, head_dim, d, lane), value[d]);
        }
        return;
    }
    for (int64_t d = 0; d < head_dim; d += MR_KV_SCALE_BLOCK) {
        int64_t count = mr_min(MR_KV_SCALE_BLOCK, head_dim - d);
        int8_t codes[MR_KV_SCALE_BLOCK];
        mr_kv_scale(keys, lanes, head_dim)[mr_key_scale_index(lanes, d, lane)] = mr_kv_quantize(key + d, count, codes);
        for (int64_t i = 0; i < count; i++) {
            keys[mr_key_index(dtype, lanes, d + i, lane)] = (char)codes[i];
        }
        mr_kv_scale(values, lanes, head_dim)[mr_value_scale_index(head_dim, d, lane)] = mr_kv_quantize(value + d, count, codes);
        memcpy(values + mr_value_index(dtype, lanes, head_dim, d, lane), codes, (size_t)count);
    }
}

/* A token's key/value head and the query heads that belong to it. False if the batch is broken. */
bool MR_NAME(mr_rope_token)(mr_thread *thread, const mr_rope_args *a, int64_t token, int64_t kv_head) {
    const mr_batch *batch = thread->batch;
    const mr_kv_cache *cache = &a->cache;
    int64_t head_dim = cache->head_dim;
    int64_t group = a->num_heads / cache->num_kv_heads;
    int64_t half = a->rotary_dim / 2;
    int64_t position = batch->positions[token];
    int64_t index = position / cache->block_size;
    if (position < 0 || position >= a->max_positions || index >= batch->max_blocks_per_sequence) {
        mr_fail(thread, MR_E_POSITION, "position %lld of batch row %lld is outside the rope table of %lld positions", position, token,
                a->max_positions);
        return false;
    }
    int64_t block = batch->block_tables[batch->token_sequence[token] * (int64_t)batch->max_blocks_per_sequence + index];
    if (block < 0 || block >= cache->num_blocks) {
        mr_fail(thread, MR_E_BLOCK, "block id %lld of batch row %lld is outside the KV cache of %lld blocks", block, token, cache->num_blocks);
        return false;
    }
    float *row = a->qkv.data + token * a->qkv.cols;
    const float *cosine = a->cosine + position * half;
    const float *sine = a->sine + position * half;
    for (int64_t h = kv_head * group; h < (kv_head + 1) * group; h++) {
        if (a->query_norm != NULL) {
            normalize(row + h * head_dim, a->query_norm, a->norm_eps, head_dim);
        }
        rotate(row + h * head_dim, cosine, sine, half, a->interleaved != 0);
    }
    float *key = row + (a->num_heads + kv_head) * head_dim;
    const float *value = row + (a->num_heads + cache->num_kv_heads + kv_head) * head_dim;
    if (a->key_norm != NULL) {
        normalize(key, a->key_norm, a->norm_eps, head_dim);
    }
    rotate(key, cosine, sine, half, a->interleaved != 0);
    int64_t offset = mr_kv_group(cache, a->layer, block, kv_head, position % cache->block_size);
    store(cache, (char *)cache->keys + offset, (char *)cache->values + offset, position % cache->block_size % mr_kv_lanes(cache), key, value);
    return true;
}

void MR_NAME(mr_rope)(mr_thread *thread, const mr_rope_args *a) {
    int64_t kv_heads = a->cache.num_kv_heads;
    int64_t items = mr_rows(thread->batch, &a->qkv) * kv_heads;
    for (int64_t item; (item = mr_claim(thread, 1, items)) < items;) {
        (void)MR_NAME(mr_rope_token)(thread, a, item / kv_heads, item % kv_heads);
    }
}

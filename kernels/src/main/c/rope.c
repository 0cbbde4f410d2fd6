/* Rotary position embedding (RoFormer, arXiv 2104.09864) and the write of keys and values into the paged cache. */
#include "kernels.h"

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

void MR_NAME(mr_rope)(mr_thread *thread, const mr_rope_args *a) {
    const mr_batch *batch = thread->batch;
    const mr_kv_cache *cache = &a->cache;
    int64_t kv_heads = cache->num_kv_heads;
    int64_t head_dim = cache->head_dim;
    int64_t group = a->num_heads / kv_heads;
    int64_t half = a->rotary_dim / 2;
    int64_t bytes = mr_dtype_bytes(cache->dtype);
    int64_t rows = mr_rows(batch, &a->qkv);
    /* One item: a token's key/value head and the query heads that belong to it. */
    for (int64_t item; (item = mr_claim(thread, 1, rows * kv_heads)) < rows * kv_heads;) {
        int64_t t = item / kv_heads;
        int64_t g = item % kv_heads;
        int64_t position = batch->positions[t];
        int64_t index = position / cache->block_size;
        if (position < 0 || position >= a->max_positions || index >= batch->max_blocks_per_sequence) {
            mr_fail(thread, MR_E_POSITION, "position %lld of batch row %lld is outside the rope table of %lld positions", position, t,
                    a->max_positions);
            continue;
        }
        int64_t block = batch->block_tables[batch->token_sequence[t] * (int64_t)batch->max_blocks_per_sequence + index];
        if (block < 0 || block >= cache->num_blocks) {
            mr_fail(thread, MR_E_BLOCK, "block id %lld of batch row %lld is outside the KV cache of %lld blocks", block, t,
                    cache->num_blocks);
            continue;
        }
        float *row = a->qkv.data + t * a->qkv.cols;
        const float *cosine = a->cosine + position * half;
        const float *sine = a->sine + position * half;
        for (int64_t h = g * group; h < (g + 1) * group; h++) {
            if (a->query_norm != NULL) {
                normalize(row + h * head_dim, a->query_norm, a->norm_eps, head_dim);
            }
            rotate(row + h * head_dim, cosine, sine, half, a->interleaved != 0);
        }
        float *key = row + (a->num_heads + g) * head_dim;
        const float *value = row + (a->num_heads + kv_heads + g) * head_dim;
        if (a->key_norm != NULL) {
            normalize(key, a->key_norm, a->norm_eps, head_dim);
        }
        rotate(key, cosine, sine, half, a->interleaved != 0);
        int64_t slot = position % cache->block_size;
        int64_t start = ((a->layer * (int64_t)cache->num_blocks + block) * kv_heads + g) * head_dim * cache->block_size;
        char *keys = (char *)cache->keys + start * bytes;
        char *values = (char *)cache->values + (start + slot * head_dim) * bytes;
        for (int64_t d = 0; d < head_dim; d++) {
            s_store(keys, cache->dtype, d * cache->block_size + slot, key[d]);
            s_store(values, cache->dtype, d, value[d]);
        }
    }
}

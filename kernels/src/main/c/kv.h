/*
 * Where the elements of the paged cache lie (see mr_kv_cache), and how a vector becomes a Q8_0 one. A block of positions of one layer and
 * head is cut into groups of MR_KV_LANES positions; a block size that is no multiple of that makes one group of the whole block, which
 * kernels read element by element.
 */
#ifndef MILLRACE_KV_H
#define MILLRACE_KV_H

#include "simd.h"

#define MR_KV_LANES 16
#define MR_KV_SCALE_BLOCK 32 /* elements of a head that share a scale */

static inline int64_t mr_kv_lanes(const mr_kv_cache *c) {
    return c->block_size % MR_KV_LANES == 0 ? MR_KV_LANES : c->block_size;
}

static inline int64_t mr_kv_scales(int64_t head_dim) { return mr_ceil_div(head_dim, MR_KV_SCALE_BLOCK); }

/* Of the keys, and of the values, of a group. */
static inline int64_t mr_kv_group_bytes(const mr_kv_cache *c) {
    int64_t position = c->dtype == MR_KV_Q8_0 ? c->head_dim + 2 * mr_kv_scales(c->head_dim) : c->head_dim * mr_dtype_bytes(c->dtype);
    return mr_kv_lanes(c) * position;
}

/* Offset of the group that holds `slot` of a block, from the start of keys or values. */
static inline int64_t mr_kv_group(const mr_kv_cache *c, int64_t layer, int64_t block, int64_t head, int64_t slot) {
    int64_t lanes = mr_kv_lanes(c);
    return (((layer * c->num_blocks + block) * c->num_kv_heads + head) * (c->block_size / lanes) + slot / lanes) * mr_kv_group_bytes(c);
}

/* Index of an element within its group, in elements of the cache's type. */
static inline int64_t mr_key_index(int32_t dtype, int64_t lanes, int64_t d, int64_t lane) {
    return dtype == MR_BF16 ? (d / 2 * lanes + lane) * 2 + d % 2 : d * lanes + lane;
}

static inline int64_t mr_value_index(int32_t dtype, int64_t lanes, int64_t head_dim, int64_t d, int64_t lane) {
    return dtype == MR_BF16 && lanes % 2 == 0 ? (lane / 2 * head_dim + d) * 2 + lane % 2 : lane * head_dim + d;
}

/* The scales of a Q8_0 group. */
static inline uint16_t *mr_kv_scale(const char *group, int64_t lanes, int64_t head_dim) { return (uint16_t *)(group + lanes * head_dim); }

static inline int64_t mr_key_scale_index(int64_t lanes, int64_t d, int64_t lane) { return d / MR_KV_SCALE_BLOCK * lanes + lane; }

static inline int64_t mr_value_scale_index(int64_t head_dim, int64_t d, int64_t lane) {
    return lane * mr_kv_scales(head_dim) + d / MR_KV_SCALE_BLOCK;
}

static inline float mr_load_key(const char *group, int32_t dtype, int64_t lanes, int64_t head_dim, int64_t d, int64_t lane) {
    int64_t index = mr_key_index(dtype, lanes, d, lane);
    if (dtype == MR_KV_Q8_0) {
        return (float)((const int8_t *)group)[index] * s_from_f16(mr_kv_scale(group, lanes, head_dim)[mr_key_scale_index(lanes, d, lane)]);
    }
    return s_load(group, dtype, index);
}

static inline float mr_load_value(const char *group, int32_t dtype, int64_t lanes, int64_t head_dim, int64_t d, int64_t lane) {
    int64_t index = mr_value_index(dtype, lanes, head_dim, d, lane);
    if (dtype == MR_KV_Q8_0) {
        return (float)((const int8_t *)group)[index]
               * s_from_f16(mr_kv_scale(group, lanes, head_dim)[mr_value_scale_index(head_dim, d, lane)]);
    }
    return s_load(group, dtype, index);
}

/*
 * Codes and F16 scale of up to 32 elements: x = scale * code, off by half a scale at most. The scale is the largest magnitude / 127 rounded
 * up, so that no code is cut off; elements that are not finite make a NaN of the scale and so of all.
 */
static inline uint16_t mr_kv_quantize(const float *x, int64_t count, int8_t *codes) {
    float largest = 0.0f;
    bool finite = true;
    for (int64_t i = 0; i < count; i++) {
        float magnitude = fabsf(x[i]);
        finite &= magnitude <= 8.3e6f; /* 127 times the largest F16 */
        largest = magnitude > largest ? magnitude : largest;
    }
    float exact = largest / 127.0f;
    uint16_t scale = s_to_f16(exact);
    scale = (uint16_t)(scale + (s_from_f16(scale) < exact));
    if (!finite) {
        scale = 0x7e00u;
    }
    float divisor = finite && scale != 0 ? s_from_f16(scale) : 1.0f; /* a scale of 0: so are all elements */
    for (int64_t i = 0; i < count; i++) {
        codes[i] = finite ? (int8_t)rintf(x[i] / divisor) : 1;
    }
    return scale;
}

#endif

/* How keys and values of a group lie in the cache, as vectors of floats: two components of some keys, two positions of some values. */
#ifndef MILLRACE_ATTEND_LOAD_H
#define MILLRACE_ATTEND_LOAD_H

#include "kv.h"

#define LANES MR_KV_LANES
#define LANE_VECTORS (LANES / VW)
#define INLINE static inline __attribute__((always_inline))

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

#endif

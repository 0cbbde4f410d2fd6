/* One block of rows against one tile of keys and values: what attention_unit.c asks of its inner kernels, attend.c and attend_bf16.c. */
#ifndef MILLRACE_ATTEND_H
#define MILLRACE_ATTEND_H

#include <stdbool.h>
#include <stdint.h>

/*
 * Halves to L2: four tiles, two of them on their way, are more than L1 holds. Decode over 4096 positions read 10.4 GB/s with prefetching into
 * L1 and 14.9 into L2, where 24 can be read. Bytes to L1: there is room for them, and 7.0 GB/s became 4.6 otherwise, as their conversion
 * leaves the core no time to wait for L2 (one thread, medians, Zen 4, 2026-11-22).
 */
static inline __attribute__((always_inline)) void mr_fetch_cache(const char *line, const bool bytes) {
    if (bytes) {
        __builtin_prefetch(line, 0, 3);
    } else {
        __builtin_prefetch(line, 0, 2);
    }
}

#define MR_TILE_GROUPS 4       /* groups of MR_KV_LANES positions in a tile */
#define MR_ATTEND_ROWS 8       /* rows of a block at most */

/* Rows are in token order, so begin and end of what they see never fall. D' is the head dimension rounded up to whole vectors. */
typedef struct mr_attend_block {
    int64_t rows;
    int64_t head_dim;
    int64_t padded_dim;
    float soft_cap;
    int32_t dtype;                       /* of keys and values as the kernel finds them */
    const void *queries;                 /* [rows, D], scale included; F32, or BF16 for attend_bf16 */
    const char *keys[MR_TILE_GROUPS];    /* groups of the tile, laid out as in the cache; NULL where no row of the item sees one */
    const char *values[MR_TILE_GROUPS];
    const char *next_keys[MR_TILE_GROUPS]; /* what will be read soon, or the same again */
    const char *next_values[MR_TILE_GROUPS];
    int64_t begin[MR_ATTEND_ROWS];       /* row r sees positions [begin, end) of the tile: at least one */
    int64_t end[MR_ATTEND_ROWS];
    float *weights;                      /* [rows, MR_KEY_TILE], working memory, aligned to 64 */
    float *maximum;                      /* [rows], state: the largest score so far */
    float *sum;                          /* [rows], sum of e^(score - maximum) */
    float *out;                          /* [rows, D'], values weighed by the same */
} mr_attend_block;

typedef void (*mr_attend_kernel)(const mr_attend_block *);

#endif

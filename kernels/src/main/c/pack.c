/* Weight packing: row-major [rows, K] to tiles [tile][K][MR_TILE_COLS]; see mr_pack_weight. Bits are moved, never converted. */
#include "internal.h"

#include <string.h>

/* Columns k of a tile that are packed together: the source lines of 32 rows stay in L1 while they are taken apart. */
#define RUN 64

int64_t mr_packed_weight_bytes(int64_t out_features, int64_t in_features, int32_t dtype) {
    return mr_round_up(out_features, MR_TILE_COLS) * in_features * mr_dtype_bytes(dtype);
}

static int64_t lane_of(int64_t column, int32_t dtype) {
    if (dtype != MR_BF16) {
        return column;
    }
    return column < 16 ? 2 * column : 2 * (column - 16) + 1;
}

void mr_pack(mr_thread *thread, const mr_pack_args *a) {
    int64_t bytes = mr_dtype_bytes(a->dtype);
    int64_t first_tile = a->first / MR_TILE_COLS;
    int64_t last_tile = mr_ceil_div(a->first + a->rows, MR_TILE_COLS);
    int64_t tiles = last_tile - first_tile;
    for (int64_t index; (index = mr_claim(thread, 1, tiles)) < tiles;) {
        int64_t item = first_tile + index;
        char *tile = (char *)a->out + item * MR_TILE_COLS * a->in_features * bytes;
        int64_t begin = mr_max(item * MR_TILE_COLS, a->first);
        int64_t end = mr_min((item + 1) * MR_TILE_COLS, a->first + a->rows);
        for (int64_t k0 = 0; k0 < a->in_features; k0 += RUN) {
            int64_t k1 = mr_min(k0 + RUN, a->in_features);
            for (int64_t n = begin; n < end; n++) {
                const char *row = (const char *)a->source + (n - a->first) * a->in_features * bytes;
                char *lane = tile + lane_of(n % MR_TILE_COLS, a->dtype) * bytes;
                if (bytes == 2) {
                    for (int64_t k = k0; k < k1; k++) {
                        memcpy(lane + k * MR_TILE_COLS * 2, row + k * 2, 2);
                    }
                } else {
                    for (int64_t k = k0; k < k1; k++) {
                        memcpy(lane + k * MR_TILE_COLS * 4, row + k * 4, 4);
                    }
                }
            }
        }
    }
}

/*
 * out[t, n] = sum_k x[t, k] * w[n, k]: one kernel from a matrix-vector product (one row, bound by memory) to a matrix product (hundreds of
 * rows, bound by FMA).
 *
 *            k -->  0                 1                 2
 *   weights tile  [32 columns]      [32 columns]      [32 columns] ...      packed, one or two cache lines per k
 *   x panel       [x0..x11]         [x0..x11]         [x0..x11]    ...      LINEAR_ROWS rows interleaved, packed per call
 *
 * The micro kernel keeps LINEAR_ROWS x 2 vectors of sums in registers and adds one k after the other. K is cut into blocks of K_BLOCK so
 * that a panel stays in L1; between blocks the sums rest in `out` as the floats they are. So every output is one chain of FMAs in
 * ascending k from 0, then the bias: the same bits for any number of rows, tiles and threads.
 */
#include "kernels.h"

#if defined(MR_FOR_AVX512) || defined(MR_FOR_NEON)
#define LINEAR_ROWS 12 /* 24 of 32 registers hold sums */
#else
#define LINEAR_ROWS 6 /* 12 of 16 */
#endif
#define K_BLOCK 256
/* Up to this many rows x is read in place; its rows may then lie a power of two apart, which costs little as they are few. */
#define UNPACKED_ROWS 4
/* Bytes that weights are asked for ahead of their use. */
#define PREFETCH 4096
#define HALF_TILE (MR_TILE_COLS / 2)
#define PASSES (HALF_TILE / VW)

/* Where the micro kernel finds x[r, k]: x[r * row_stride + k * k_stride]. */
typedef struct x_view {
    const float *data;
    int64_t row_stride;
} x_view;

static inline __attribute__((always_inline)) void load_weights(const char *w, const int dtype, const int pass, vf *low, vf *high) {
    switch (dtype) {
        case MR_F32:
            *low = v_load((const float *)w + pass * VW);
            *high = v_load((const float *)w + HALF_TILE + pass * VW);
            break;
        case MR_F16:
            *low = v_load_f16((const uint16_t *)w + pass * VW);
            *high = v_load_f16((const uint16_t *)w + HALF_TILE + pass * VW);
            break;
        default:
            v_load_pair_bf16((const uint16_t *)w + 2 * pass * VW, low, high);
            break;
    }
}

/*
 * Adds x[0..rows, 0..count] * w to the sums at `sums` (row stride `stride`, MR_TILE_COLS columns), or starts them if `fresh`.
 * rows, dtype and packed are constants after inlining.
 */
static inline __attribute__((always_inline)) void micro(const int rows, const int dtype, const int packed, x_view x, const char *w,
                                                        int64_t count, bool fresh, float *sums, int64_t stride) {
    const int64_t step = MR_TILE_COLS * (dtype == MR_F32 ? 4 : 2);
    for (int pass = 0; pass < PASSES; pass++) {
        vf low[LINEAR_ROWS];
        vf high[LINEAR_ROWS];
#pragma GCC unroll 12
        for (int r = 0; r < rows; r++) {
            low[r] = fresh ? v_zero() : v_load(sums + r * stride + pass * VW);
            high[r] = fresh ? v_zero() : v_load(sums + r * stride + HALF_TILE + pass * VW);
        }
        const char *tile = w;
        const float *xk = x.data;
        for (int64_t k = 0; k < count; k++) {
            vf a;
            vf b;
            __builtin_prefetch(tile + PREFETCH);
            load_weights(tile, dtype, pass, &a, &b);
#pragma GCC unroll 12
            for (int r = 0; r < rows; r++) {
                vf value = v_set(packed ? xk[r] : xk[r * x.row_stride]);
                low[r] = v_fma(value, a, low[r]);
                high[r] = v_fma(value, b, high[r]);
            }
            tile += step;
            xk += packed ? LINEAR_ROWS : 1;
        }
#pragma GCC unroll 12
        for (int r = 0; r < rows; r++) {
            v_store(sums + r * stride + pass * VW, low[r]);
            v_store(sums + r * stride + HALF_TILE + pass * VW, high[r]);
        }
    }
}

typedef void (*micro_kernel)(x_view x, const char *w, int64_t count, bool fresh, float *sums, int64_t stride);

#define MICRO(ROWS, DTYPE, PACKED)                                                                                                    \
    static void micro_##ROWS##_##DTYPE##_##PACKED(x_view x, const char *w, int64_t count, bool fresh, float *sums, int64_t stride) { \
        micro(ROWS, DTYPE, PACKED, x, w, count, fresh, sums, stride);                                                                 \
    }
#define MICRO_TYPES(ROWS, PACKED) MICRO(ROWS, 0, PACKED) MICRO(ROWS, 1, PACKED) MICRO(ROWS, 2, PACKED)
#define ENTRIES(ROWS, PACKED) {micro_##ROWS##_0_##PACKED, micro_##ROWS##_1_##PACKED, micro_##ROWS##_2_##PACKED}

MICRO_TYPES(1, 0) MICRO_TYPES(2, 0) MICRO_TYPES(3, 0) MICRO_TYPES(4, 0)
MICRO_TYPES(1, 1) MICRO_TYPES(2, 1) MICRO_TYPES(3, 1) MICRO_TYPES(4, 1) MICRO_TYPES(5, 1) MICRO_TYPES(6, 1)
#if LINEAR_ROWS == 12
MICRO_TYPES(7, 1) MICRO_TYPES(8, 1) MICRO_TYPES(9, 1) MICRO_TYPES(10, 1) MICRO_TYPES(11, 1) MICRO_TYPES(12, 1)
#endif

static const micro_kernel in_place[UNPACKED_ROWS][3] = {ENTRIES(1, 0), ENTRIES(2, 0), ENTRIES(3, 0), ENTRIES(4, 0)};
static const micro_kernel from_panel[LINEAR_ROWS][3] = {
    ENTRIES(1, 1), ENTRIES(2, 1), ENTRIES(3, 1), ENTRIES(4, 1), ENTRIES(5, 1), ENTRIES(6, 1),
#if LINEAR_ROWS == 12
    ENTRIES(7, 1), ENTRIES(8, 1), ENTRIES(9, 1), ENTRIES(10, 1), ENTRIES(11, 1), ENTRIES(12, 1),
#endif
};

int64_t MR_NAME(mr_linear_shared_bytes)(const mr_linear_args *a) {
    return mr_round_up(a->x.rows, LINEAR_ROWS) * a->x.cols * (int64_t)sizeof(float);
}

/* panels[row / LINEAR_ROWS][k][LINEAR_ROWS], packed in runs of K_BLOCK columns. Rows past the end are left alone: they are not read. */
static void pack_x(mr_thread *thread, const float *x, int64_t rows, int64_t cols, float *panels) {
    int64_t blocks = mr_ceil_div(cols, K_BLOCK);
    int64_t items = mr_ceil_div(rows, LINEAR_ROWS) * blocks;
    for (int64_t item; (item = mr_claim(thread, 1, items)) < items;) {
        int64_t row = item / blocks * LINEAR_ROWS;
        int64_t k0 = item % blocks * K_BLOCK;
        int64_t k1 = mr_min(k0 + K_BLOCK, cols);
        int64_t count = mr_min(LINEAR_ROWS, rows - row);
        float *panel = panels + row * cols;
        for (int64_t r = 0; r < count; r++) {
            const float *source = x + (row + r) * cols;
            for (int64_t k = k0; k < k1; k++) {
                panel[k * LINEAR_ROWS + r] = source[k];
            }
        }
    }
}

/* Copies the sums of a tile that sticks out at the right edge, or adds the bias in place. */
static void finish(const float *sums, int64_t stride, const float *bias, float *out, int64_t out_stride, int64_t rows, int64_t cols) {
    if (bias == NULL && sums == out) {
        return;
    }
    for (int64_t r = 0; r < rows; r++) {
        for (int64_t c = 0; c < cols; c++) {
            out[r * out_stride + c] = bias == NULL ? sums[r * stride + c] : sums[r * stride + c] + bias[c];
        }
    }
}

void MR_NAME(mr_linear)(mr_thread *thread, const mr_linear_args *a) {
    int64_t rows = mr_rows(thread->batch, &a->x);
    int64_t k_count = a->weight.in_features;
    int64_t columns = a->weight.out_features;
    int64_t tiles = mr_ceil_div(columns, MR_TILE_COLS);
    int64_t step = MR_TILE_COLS * mr_dtype_bytes(a->weight.dtype);
    bool packed = rows > UNPACKED_ROWS;
    if (packed) {
        pack_x(thread, a->x.data, rows, k_count, (float *)thread->shared);
        mr_barrier(thread);
    }
    /* Enough items for an even split, few enough that claiming costs nothing; for many rows a group shares each x panel. */
    int64_t group = mr_max(1, mr_min(4, tiles / (8 * thread->count)));
    tiles = rows == 0 ? 0 : tiles;
    float edge[LINEAR_ROWS * MR_TILE_COLS];
    for (int64_t first; (first = mr_claim(thread, group, tiles)) < tiles;) {
        int64_t last = mr_min(first + group, tiles);
        for (int64_t k0 = 0; k0 < k_count; k0 += rows > LINEAR_ROWS ? K_BLOCK : k_count) {
            /* Few rows: one panel, all of K per tile, so that the weights stream. Many rows: block by block. */
            int64_t k1 = rows > LINEAR_ROWS ? mr_min(k0 + K_BLOCK, k_count) : k_count;
            for (int64_t row = 0; row < rows; row += LINEAR_ROWS) {
                int64_t count = mr_min(LINEAR_ROWS, rows - row);
                x_view x;
                micro_kernel kernel;
                if (packed) {
                    x = (x_view){(const float *)thread->shared + row * k_count, 0};
                    kernel = from_panel[count - 1][a->weight.dtype];
                } else {
                    x = (x_view){a->x.data, k_count};
                    kernel = in_place[count - 1][a->weight.dtype];
                }
                for (int64_t tile = first; tile < last; tile++) {
                    const char *w = (const char *)a->weight.data + tile * k_count * step;
                    float *out = a->out.data + row * columns + tile * MR_TILE_COLS;
                    int64_t width = mr_min(MR_TILE_COLS, columns - tile * MR_TILE_COLS);
                    bool whole = width == MR_TILE_COLS;
                    float *sums = whole ? out : edge;
                    int64_t stride = whole ? columns : MR_TILE_COLS;
                    int64_t from = whole ? k0 : 0; /* the edge tile has no room for sums in out: all of K at its last block */
                    if (!whole && k1 < k_count) {
                        continue;
                    }
                    for (int64_t k = from; k < k1; k += K_BLOCK) {
                        x_view block = x;
                        block.data += packed ? k * LINEAR_ROWS : k;
                        kernel(block, w + k * step, mr_min(K_BLOCK, k1 - k), k == 0, sums, stride);
                    }
                    if (k1 == k_count) {
                        finish(sums, stride, a->bias == NULL ? NULL : a->bias + tile * MR_TILE_COLS, out, columns, count, width);
                    }
                }
            }
        }
    }
}

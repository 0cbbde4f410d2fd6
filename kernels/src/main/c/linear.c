/*
 * out[t, n] = sum_k x[t, k] * w[n, k]: one path from a matrix-vector product (one row, bound by memory) to a matrix product (hundreds of
 * rows, bound by arithmetic). The kernels of F32, F16 and BF16 weights with F32 activations are here, those of quantised weights in quant.c,
 * BF16 products in dot_bf16.c; mr_linear drives all of them.
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
/* Of the kernels in quant.c and dot_bf16.c: the rows of a call are in L1 and the tiles in L2; sums are seldom put down in `out`, whose rows
 * often lie a power of two apart and share few sets of the caches. */
#define DOT_K_BLOCK 2048
/* Up to this many rows the weights stream from memory, tile by tile. */
#define SKINNY_ROWS 32
/* Up to this many rows x is read in place; its rows may then lie a power of two apart, which costs little as they are few. */
#define UNPACKED_ROWS 4
/* Bytes that weights are asked for ahead of their use; up to so many rows BF16 products leave that to the hardware, as quant.c tells. */
#define PREFETCH 8192
#define BF16_STREAM_ROWS 8
#define HALF_TILE (MR_TILE_COLS / 2)
#define PASSES (HALF_TILE / VW)

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
static inline __attribute__((always_inline)) void micro(const int rows, const int dtype, const int packed, const mr_x *x, int64_t row, int64_t k0,
                                                        const char *w, int64_t count, bool fresh, float *sums, int64_t stride) {
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
        const float *xk = packed ? x->panels + row * x->cols + k0 * LINEAR_ROWS : x->data + row * x->cols + k0;
        for (int64_t k = 0; k < count; k++) {
            vf a;
            vf b;
            if (rows > 1) { /* a single row leaves the pace to the hardware's prefetchers: see quant.c */
                __builtin_prefetch(tile + PREFETCH);
            }
            load_weights(tile, dtype, pass, &a, &b);
#pragma GCC unroll 12
            for (int r = 0; r < rows; r++) {
                vf value = v_set(packed ? xk[r] : xk[r * x->cols]);
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

#define MICRO(ROWS, DTYPE, PACKED)                                                                                                     \
    static void micro_##ROWS##_##DTYPE##_##PACKED(const mr_x *x, int64_t row, int64_t k, const char *w, int64_t count, bool fresh,    \
                                                  float *sums, int64_t stride, mr_ahead *ahead) {                                     \
        (void)ahead;                                                                                                                  \
        micro(ROWS, DTYPE, PACKED, x, row, k, w, count, fresh, sums, stride);                                                         \
    }
#define MICRO_TYPES(ROWS, PACKED) MICRO(ROWS, 0, PACKED) MICRO(ROWS, 1, PACKED) MICRO(ROWS, 2, PACKED)
#define ENTRIES(ROWS, PACKED) {micro_##ROWS##_0_##PACKED, micro_##ROWS##_1_##PACKED, micro_##ROWS##_2_##PACKED}

MICRO_TYPES(1, 0) MICRO_TYPES(2, 0) MICRO_TYPES(3, 0) MICRO_TYPES(4, 0)
MICRO_TYPES(1, 1) MICRO_TYPES(2, 1) MICRO_TYPES(3, 1) MICRO_TYPES(4, 1) MICRO_TYPES(5, 1) MICRO_TYPES(6, 1)
#if LINEAR_ROWS == 12
MICRO_TYPES(7, 1) MICRO_TYPES(8, 1) MICRO_TYPES(9, 1) MICRO_TYPES(10, 1) MICRO_TYPES(11, 1) MICRO_TYPES(12, 1)
#endif

static const mr_micro_kernel in_place[UNPACKED_ROWS][3] = {ENTRIES(1, 0), ENTRIES(2, 0), ENTRIES(3, 0), ENTRIES(4, 0)};
static const mr_micro_kernel from_panel[LINEAR_ROWS][3] = {
    ENTRIES(1, 1), ENTRIES(2, 1), ENTRIES(3, 1), ENTRIES(4, 1), ENTRIES(5, 1), ENTRIES(6, 1),
#if LINEAR_ROWS == 12
    ENTRIES(7, 1), ENTRIES(8, 1), ENTRIES(9, 1), ENTRIES(10, 1), ENTRIES(11, 1), ENTRIES(12, 1),
#endif
};

/* What the weights of a chain need the activations to be. */
typedef enum x_form { X_F32 = 1, X_CODES = 2, X_HALVES = 4 } x_form;

static x_form form_of(int32_t format) {
    return mr_is_quantised(format) ? X_CODES : format == MR_FORMAT_BF16_PAIRS ? X_HALVES : X_F32;
}

/* A row is a cache line longer than it must be, so that rows do not lie a power of two apart and share a set of L1. */
static int64_t padded_halves(int64_t cols) { return (mr_round_up(cols * 2, MR_CACHE_LINE) + MR_CACHE_LINE) / 2; }

/* Lays out the forms in the team's shared memory from `base` (which may be NULL to learn the size) and returns the bytes they take. */
static int64_t lay_out(const mr_linear_args *a, char *base, mr_x *x, int *forms) {
    int64_t cols = a->x.cols;
    int64_t capacity = mr_round_up(a->x.rows, LINEAR_ROWS);
    *forms = 0;
    for (const mr_weight *w = &a->weight; w != NULL; w = w->next) {
        *forms |= (int)form_of(w->format);
    }
    *x = (mr_x){.data = a->x.data, .cols = cols};
    int64_t bytes = 0;
    if (*forms & X_F32) {
        x->panels = (float *)(base + bytes);
        bytes += mr_round_up(capacity * cols * (int64_t)sizeof(float), MR_CACHE_LINE);
    }
    if (*forms & X_CODES) {
        x->blocks = (mr_x_block *)(base + bytes);
        bytes += capacity * (cols / MR_BLOCK) * (int64_t)sizeof(mr_x_block);
    }
    if (*forms & X_HALVES) {
        x->halves_stride = padded_halves(cols + 1);
        x->halves = (uint16_t *)(base + bytes);
        bytes += capacity * x->halves_stride * 2;
    }
    return bytes;
}

int64_t MR_NAME(mr_linear_shared_bytes)(const mr_linear_args *a) {
    mr_x x;
    int forms;
    return lay_out(a, NULL, &x, &forms);
}

/* panels[row / LINEAR_ROWS][k][LINEAR_ROWS], packed in runs of K_BLOCK columns. Rows past the end are left alone: they are not read. */
static void pack_panels(mr_thread *thread, const mr_x *x, int64_t rows) {
    int64_t cols = x->cols;
    int64_t blocks = mr_ceil_div(cols, K_BLOCK);
    int64_t items = mr_ceil_div(rows, LINEAR_ROWS) * blocks;
    for (int64_t item; (item = mr_claim(thread, 1, items)) < items;) {
        int64_t row = item / blocks * LINEAR_ROWS;
        int64_t k0 = item % blocks * K_BLOCK;
        int64_t k1 = mr_min(k0 + K_BLOCK, cols);
        int64_t count = mr_min(LINEAR_ROWS, rows - row);
        float *panel = x->panels + row * cols;
        for (int64_t r = 0; r < count; r++) {
            const float *source = x->data + (row + r) * cols;
            for (int64_t k = k0; k < k1; k++) {
                panel[k * LINEAR_ROWS + r] = source[k];
            }
        }
    }
}

/* Rounds rows to codes or halves in runs of columns, so that a single row is everybody's work. */
static void round_rows(mr_thread *thread, const mr_x *x, int64_t rows, x_form form) {
    enum { COLUMNS = 1024 };
    int64_t runs = mr_ceil_div(x->cols, COLUMNS);
    for (int64_t item; (item = mr_claim(thread, 1, rows * runs)) < rows * runs;) {
        int64_t row = item / runs;
        int64_t k = item % runs * COLUMNS;
        int64_t count = mr_min(COLUMNS, x->cols - k);
        const float *source = x->data + row * x->cols + k;
        if (form == X_CODES) {
            int64_t together = x->block_rows;
            int64_t first = (row / together * (x->cols / MR_BLOCK) + k / MR_BLOCK) * together + row % together;
            thread->kernels->quant_x(source, count, x->blocks + first, together);
        } else {
            thread->kernels->bf16_x(source, count, x->halves + row * x->halves_stride + k);
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

/* One weight of the chain, and how it is multiplied. */
typedef struct job {
    const mr_weight *weight;
    const char *data; /* of its tiles */
    const mr_kernels *kernels;
    const mr_x *x;
    const float *bias; /* of its first column, or NULL */
    float *out;        /* row 0 of its first column */
    int64_t out_stride;
    int64_t rows;
    x_form form;
    int64_t rows_per_call;
    int64_t k_block;
} job;

/* Rows per call: `most`, or fewer where that makes the calls alike. Eight rows in calls of six and two would leave the last one idle. */
static int64_t even_rows(int64_t rows, int64_t most) {
    return rows > SKINNY_ROWS ? most : mr_ceil_div(mr_max(1, rows), mr_ceil_div(mr_max(1, rows), most));
}

static job job_of(const mr_thread *thread, const mr_linear_args *a, const mr_x *x, const mr_weight *w, int64_t column, int64_t rows) {
    const mr_kernels *kernels = thread->kernels;
    x_form form = form_of(w->format);
    int64_t rows_per_call = form == X_CODES ? x->block_rows : form == X_HALVES ? even_rows(rows, *kernels->bf16_rows) : LINEAR_ROWS;
    /* Few rows: all of K at once, so that the weights stream. Many rows: block by block. */
    int64_t k_block = rows <= rows_per_call ? w->in_features : form == X_F32 ? K_BLOCK : DOT_K_BLOCK;
    return (job){w, w->data, kernels, x, a->bias == NULL ? NULL : a->bias + column, a->out.data + column, a->out.cols, rows, form, rows_per_call,
                 k_block};
}

static mr_micro_kernel kernel_of(const job *j, int64_t count) {
    switch (j->form) {
        case X_CODES: return j->kernels->quant_micro(j->weight->format, count);
        case X_HALVES: return j->kernels->bf16_micro(count);
        default: return j->x->panels == NULL ? in_place[count - 1][j->weight->format] : from_panel[count - 1][j->weight->format];
    }
}

/* Rows [row0, row1) of tile `tile`, columns [k0, k1) of K. */
static void run_tile(const job *j, int64_t tile, int64_t row0, int64_t row1, int64_t k0, int64_t k1) {
    float edge[LINEAR_ROWS * MR_TILE_COLS];
    int64_t k_count = j->weight->in_features;
    int64_t record_k = mr_record_k(j->weight->format);
    int64_t record_bytes = mr_record_bytes(j->weight->format);
    int64_t width = mr_min(MR_TILE_COLS, j->weight->out_features - tile * MR_TILE_COLS);
    bool whole = width == MR_TILE_COLS;
    if (!whole && k1 < k_count) {
        return; /* an edge tile has no room for sums in out: all of K at its last block */
    }
    int64_t from = whole ? k0 : 0;
    const char *w = j->data + tile * mr_tile_bytes(j->weight->format, k_count);
    /* What is next in memory arrives while this block is multiplied: each call asks for its share of the lines. */
    int64_t fetches = mr_ceil_div(row1 - row0, j->rows_per_call);
    int64_t lines = j->form == X_HALVES ? (row1 - row0 > BF16_STREAM_ROWS ? 16 : 0) : record_bytes / MR_CACHE_LINE / mr_max(1, record_k / MR_BLOCK) + (record_k > MR_BLOCK);
    int64_t share = mr_ceil_div(lines, fetches);
    const char *block_end = w + mr_ceil_div(k1, record_k) * record_bytes;
    for (int64_t row = row0, call = 0; row < row1; row += j->rows_per_call, call++) {
        int64_t count = mr_min(j->rows_per_call, row1 - row);
        float *out = j->out + row * j->out_stride + tile * MR_TILE_COLS;
        float *sums = whole ? out : edge;
        int64_t stride = whole ? j->out_stride : MR_TILE_COLS;
        mr_micro_kernel kernel = kernel_of(j, count);
        mr_ahead ahead = {fetches == 1 ? w + from / record_k * record_bytes + PREFETCH
                                       : block_end + call * share * MR_CACHE_LINE * mr_ceil_div(k1 - k0, MR_BLOCK),
                          mr_max(0, mr_min(share, lines - call * share)), fetches == 1 && j->form == X_HALVES};
        kernel(j->x, row, from, w + from / record_k * record_bytes, k1 - from, from == 0, sums, stride, &ahead);
        if (k1 == k_count) {
            finish(sums, stride, j->bias == NULL ? NULL : j->bias + tile * MR_TILE_COLS, out, j->out_stride, count, width);
        }
    }
}

/* Tiles [first, last) of one weight for all rows. */
static void run_tiles(const job *j, int64_t first, int64_t last) {
    int64_t k_count = j->weight->in_features;
    if (j->rows <= SKINNY_ROWS) {
        for (int64_t tile = first; tile < last; tile++) {
            for (int64_t k0 = 0; k0 < k_count; k0 += j->k_block) {
                run_tile(j, tile, 0, j->rows, k0, mr_min(k0 + j->k_block, k_count));
            }
        }
        return;
    }
    for (int64_t k0 = 0; k0 < k_count; k0 += j->k_block) {
        for (int64_t row = 0; row < j->rows; row += j->rows_per_call) {
            for (int64_t tile = first; tile < last; tile++) {
                run_tile(j, tile, row, mr_min(row + j->rows_per_call, j->rows), k0, mr_min(k0 + j->k_block, k_count));
            }
        }
    }
}

/* Tiles of a weight that is still being packed: one after the other, wherever they are. */
static void run_deferred(mr_thread *thread, job *j, int64_t first, int64_t last) {
    int64_t tile_bytes = mr_tile_bytes(j->weight->format, j->weight->in_features);
    for (int64_t tile = first; tile < last; tile++) {
        j->data = mr_deferred_tile(thread, j->weight, tile) - tile * tile_bytes;
        run_tiles(j, tile, tile + 1);
    }
}

void MR_NAME(mr_linear)(mr_thread *thread, const mr_linear_args *a) {
    int64_t rows = mr_rows(thread->batch, &a->x);
    mr_x x;
    int forms;
    lay_out(a, thread->shared, &x, &forms);
    if (rows <= UNPACKED_ROWS) {
        x.panels = NULL;
    }
    x.block_rows = even_rows(rows, *thread->kernels->quant_rows);
    if (x.panels != NULL && (forms & X_F32)) {
        pack_panels(thread, &x, rows);
        mr_barrier(thread);
    }
    for (x_form form = X_CODES; form <= X_HALVES; form = (x_form)(2 * form)) {
        if (forms & (int)form) {
            round_rows(thread, &x, rows, form);
            mr_barrier(thread);
        }
    }
    int64_t tiles = 0;
    for (const mr_weight *w = &a->weight; w != NULL; w = w->next) {
        tiles += mr_ceil_div(w->out_features, MR_TILE_COLS);
    }
    /* Taking one costs little; but many rows are read once for all tiles that are taken together. */
    int64_t group = rows <= SKINNY_ROWS ? 1 : mr_max(1, mr_min(4, tiles / (8 * thread->count)));
    tiles = rows == 0 ? 0 : tiles;
    for (int64_t first; (first = mr_claim(thread, group, tiles)) < tiles;) {
        int64_t last = first + thread->taken;
        int64_t base = 0;   /* of this weight's tiles */
        int64_t column = 0; /* of its outputs */
        for (const mr_weight *w = &a->weight; w != NULL && base < last; w = w->next) {
            int64_t count = mr_ceil_div(w->out_features, MR_TILE_COLS);
            if (base + count > first) {
                job j = job_of(thread, a, &x, w, column, rows);
                if (mr_is_deferred(thread, w)) {
                    run_deferred(thread, &j, mr_max(first, base) - base, mr_min(last - base, count));
                } else {
                    run_tiles(&j, mr_max(first, base) - base, mr_min(last - base, count));
                }
            }
            base += count;
            column += w->out_features;
        }
    }
}

/*
 * out[t, n] = sum_k x[t, k] * w[n, k]: one path from a matrix-vector product (one row, bound by memory) to a matrix product (hundreds of
 * rows, bound by arithmetic). The kernels of F32, F16 and BF16 weights with F32 activations are here, those of quantised weights in quant.c,
 * BF16 products in dot_bf16.c; mr_linear drives all of them, over activations from linear_x.c, and does on its way what plan.c found in the
 * ops beside it.
 *
 *            k -->  0                 1                 2
 *   weights tile  [32 columns]      [32 columns]      [32 columns] ...      packed, one or two cache lines per k
 *   x panel       [x0..x11]         [x0..x11]         [x0..x11]    ...      LINEAR_ROWS rows interleaved, packed per call
 *
 * The micro kernel keeps LINEAR_ROWS x 2 vectors of sums in registers and adds one k after the other. K is cut into blocks of K_BLOCK so
 * that a panel stays in L1; between blocks the sums rest in `out` as the floats they are. So every output is one chain of FMAs in
 * ascending k from 0, then the bias: the same bits for any number of rows, tiles and threads.
 */
#include "linear.h"
#include "row.h"

/* Of the kernels in quant.c and dot_bf16.c: the rows of a call are in L1 and the tiles in L2; sums are seldom put down in `out`, whose rows
 * often lie a power of two apart and share few sets of the caches. */
#define DOT_K_BLOCK 2048
/* Bytes that weights are asked for ahead of their use; up to so many rows BF16 products leave that to the hardware, as quant.c tells. */
#define PREFETCH 8192
#define BF16_STREAM_ROWS 8
/* Lines of weights that are asked for before a thread makes its activations. */
#define FIRST_LINES 64
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

/* Copies the sums of a tile that sticks out at the right edge, or adds the bias in place; then adds the outputs to the residual, if any. */
static void finish(const float *sums, int64_t stride, const float *bias, float *out, int64_t out_stride, float *residual, int64_t rows,
                   int64_t cols) {
    for (int64_t r = 0; (bias != NULL || sums != out) && r < rows; r++) {
        for (int64_t c = 0; c < cols; c++) {
            out[r * out_stride + c] = bias == NULL ? sums[r * stride + c] : sums[r * stride + c] + bias[c];
        }
    }
    for (int64_t r = 0; residual != NULL && r < rows; r++) {
        mr_accumulate_row(residual + r * out_stride, out + r * out_stride, cols);
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
    float *residual;   /* likewise, or NULL */
    int64_t out_stride;
    int64_t rows;
    x_form form;
    int64_t rows_per_call;
    int64_t k_block;
} job;

static float *residual_of(const mr_op *op) {
    if (!(op->plan & MR_PLAN_ADD_AFTER)) {
        return NULL;
    }
    return op[1].kind == MR_OP_ADD ? op[1].args.add.residual.data : op[1].args.add_rms_norm.residual.data;
}

static job job_of(const mr_thread *thread, const mr_op *op, const mr_x *x, const mr_weight *w, int64_t column, int64_t rows) {
    const mr_linear_args *a = &op->args.linear;
    float *residual = residual_of(op);
    const mr_kernels *kernels = thread->kernels;
    x_form form = form_of(w->format);
    int64_t rows_per_call = form == X_CODES ? x->block_rows : form == X_HALVES ? x->half_rows : LINEAR_ROWS;
    /* Few rows: all of K at once, so that the weights stream. Many rows: block by block. */
    int64_t k_block = rows <= rows_per_call ? w->in_features : form == X_F32 ? K_BLOCK : DOT_K_BLOCK;
    return (job){w, w->data, kernels, x, a->bias == NULL ? NULL : a->bias + column, a->out.data + column,
                 residual == NULL ? NULL : residual + column, a->out.cols, rows, form, rows_per_call, k_block};
}

static mr_micro_kernel kernel_of(const job *j, int64_t count) {
    switch (j->form) {
        case X_CODES: return j->kernels->quant_micro(j->weight->format, count);
        case X_HALVES: return j->kernels->bf16_micro(count);
        default: return j->x->panels == NULL ? in_place[count - 1][j->weight->format] : from_panel[count - 1][j->weight->format];
    }
}

/* Lines that weights have for MR_BLOCK columns of K, and are asked for ahead. */
static int64_t lines_per_block(const job *j, int64_t rows) {
    if (j->form == X_HALVES) {
        return rows > BF16_STREAM_ROWS ? 16 : 0;
    }
    int64_t record_k = mr_record_k(j->weight->format);
    return mr_record_bytes(j->weight->format) / MR_CACHE_LINE / mr_max(1, record_k / MR_BLOCK) + (record_k > MR_BLOCK);
}

/*
 * Asks for the lines that a call's sums, and then the residual's, are in: each is of another row and so on its own, and nothing else would have
 * them arrive before they are written.
 */
static void fetch_outputs(const float *out, const float *residual, int64_t stride, int64_t rows) {
    for (int64_t r = 0; r < rows; r++) {
        __builtin_prefetch(out + r * stride, 1, 3);
        __builtin_prefetch(out + r * stride + HALF_TILE, 1, 3);
        if (residual != NULL) {
            __builtin_prefetch(residual + r * stride, 1, 2);
            __builtin_prefetch(residual + r * stride + HALF_TILE, 1, 2);
        }
    }
}

/*
 * The share of call `part` of `parts` in the activations [k0, k1) of the rows from `row` on, which come next: while weights are in L2 for all rows
 * but the first, activations come from further away (a prefill of 512 took 5 % longer without it with Q8_0, 2 % with BF16).
 */
static mr_ahead next_rows(const job *j, int64_t row, int64_t k0, int64_t k1, int64_t part, int64_t parts) {
    if (row >= j->rows || j->form == X_F32) {
        return (mr_ahead){0};
    }
    bool codes = j->form == X_CODES;
    int64_t calls = codes ? mr_ceil_div(k1 - k0, MR_BLOCK) : mr_ceil_div(k1 - k0, 16); /* of mr_fetch_ahead */
    int64_t row_bytes = codes ? (k1 - k0) / MR_BLOCK * (int64_t)sizeof(mr_x_block) : (k1 - k0) * 2;
    int64_t bytes = mr_ceil_div(row_bytes * j->rows_per_call, parts);
    const char *at = codes ? (const char *)(j->x->blocks + row * (j->x->cols / MR_BLOCK) + k0 / MR_BLOCK * j->rows_per_call)
                           : (const char *)(j->x->halves + row * mr_round_up(j->x->cols, 2) + k0 * j->rows_per_call);
    return (mr_ahead){at + part * bytes, mr_ceil_div(bytes, calls * MR_CACHE_LINE), false};
}

/* Rows [row0, row1) of tile `tile`, columns [k0, k1) of K. They ask for `x_ahead`, or if that is NULL for weights. */
static void run_tile(const job *j, int64_t tile, int64_t row0, int64_t row1, int64_t k0, int64_t k1, const mr_ahead *x_ahead) {
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
    int64_t lines = lines_per_block(j, row1 - row0);
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
        if (x_ahead != NULL) {
            ahead = *x_ahead;
        }
        float *residual = j->residual == NULL || k1 < k_count ? NULL : j->residual + row * j->out_stride + tile * MR_TILE_COLS;
        if (j->rows > SKINNY_ROWS) {
            fetch_outputs(out, residual, j->out_stride, count);
        }
        kernel(j->x, row, from, w + from / record_k * record_bytes, k1 - from, from == 0, sums, stride, &ahead);
        if (k1 == k_count) {
            finish(sums, stride, j->bias == NULL ? NULL : j->bias + tile * MR_TILE_COLS, out, j->out_stride, residual, count, width);
        }
    }
}

/* Tiles [first, last) of one weight for all rows. */
static void run_tiles(const job *j, int64_t first, int64_t last) {
    int64_t k_count = j->weight->in_features;
    if (j->rows <= SKINNY_ROWS) {
        for (int64_t tile = first; tile < last; tile++) {
            for (int64_t k0 = 0; k0 < k_count; k0 += j->k_block) {
                run_tile(j, tile, 0, j->rows, k0, mr_min(k0 + j->k_block, k_count), NULL);
            }
        }
        return;
    }
    for (int64_t k0 = 0; k0 < k_count; k0 += j->k_block) {
        for (int64_t row = 0; row < j->rows; row += j->rows_per_call) {
            for (int64_t tile = first; tile < last; tile++) {
                int64_t k1 = mr_min(k0 + j->k_block, k_count);
                mr_ahead x_ahead = row == 0 ? (mr_ahead){0} : next_rows(j, row + j->rows_per_call, k0, k1, tile - first, last - first);
                run_tile(j, tile, row, mr_min(row + j->rows_per_call, j->rows), k0, k1, row == 0 ? NULL : &x_ahead);
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

/* Tiles [first, last) of the whole chain. */
static void run_chain(mr_thread *thread, const mr_op *op, const mr_x *x, int64_t rows, int64_t first, int64_t last) {
    int64_t base = 0;   /* of a weight's tiles */
    int64_t column = 0; /* of its outputs */
    for (const mr_weight *w = &op->args.linear.weight; w != NULL && base < last; w = w->next) {
        int64_t count = mr_num_tiles(w);
        if (base + count > first) {
            job j = job_of(thread, op, x, w, column, rows);
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

void MR_NAME(mr_linear)(mr_thread *thread, const mr_op *op) {
    const mr_linear_args *a = &op->args.linear;
    int64_t rows = mr_rows(thread->batch, &a->x);
    mr_x x;
    mr_aim(thread, op);
    bool own = MR_NAME(mr_x_prepare)(thread, op, rows, &x);
    bool made = !own;
    bool aimed = true; /* at these weights, not yet at the next ones */
    int64_t tiles = rows == 0 ? 0 : mr_chain_tiles(&a->weight);
    /* Taking one costs little; but many rows are read once for all tiles that are taken together. */
    int64_t group = rows <= SKINNY_ROWS ? 1 : mr_max(1, mr_min(4, tiles / (8 * thread->count)));
    for (int64_t first; (first = mr_claim(thread, group, tiles)) < tiles;) {
        int64_t last = first + thread->taken;
        if (!made) {
            mr_ask(thread, FIRST_LINES);
            MR_NAME(mr_x_make)(thread, op, rows, &x);
            made = true;
        }
        if (own && first == 0) {
            MR_NAME(mr_x_keep)(op, rows, &x);
        }
        if (aimed) {
            mr_aim(thread, thread->next_linear);
            aimed = false;
        }
        run_chain(thread, op, &x, rows, first, last);
    }
}

/* What the parts of the library share: the thread context every kernel gets, and the table of kernels of one instruction set. */
#ifndef MILLRACE_INTERNAL_H
#define MILLRACE_INTERNAL_H

#include "attend.h"
#include "millrace_cpu.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define MR_CACHE_LINE 64
/* Keys of a context are reduced in segments of this many positions, each on its own, then merged in ascending order. */
#define MR_SEGMENT 256
/* Positions handled between two updates of the running maximum of the online softmax. */
#define MR_KEY_TILE 64
/* Rows (tokens x query heads of one key/value head) that share the loads of one key tile. */
#define MR_QUERY_ROWS 64

typedef struct mr_kernels mr_kernels;

/* A worker's view of the team: made once per thread, passed to every kernel. */
typedef struct mr_thread {
    mr_team *team;
    const mr_kernels *kernels;
    const mr_batch *batch;
    char *scratch;   /* this thread's working memory */
    char *shared;    /* working memory of the whole team */
    int32_t id;
    int32_t count;
    uint32_t phase;  /* the phase that this thread is in; the team may be further */
    int32_t member;  /* whose share of the phase it takes from, -1 before the first claim */
    int32_t shares_left;
    int64_t share_begin; /* of the items */
    int64_t share;
    int64_t items;   /* of the phase */
    int64_t taken;   /* items of the last claim */
    int64_t held;    /* items claimed and not yet reported as done */
    int64_t target;  /* items of the job that are done at the end of the phase */
    const char *ahead;     /* weights that this thread will need first in the next linear: asked for while it waits */
    const char *ahead_end;
    const mr_op *next_linear; /* after the present op, or NULL */
} mr_thread;

/*
 * Phases. An op is one phase of `items` equal pieces of work, or several one after the other. A thread takes pieces until there are none,
 * then waits for the phase to end: when all pieces are DONE, not when all threads are there. So a thread that the system took off its core
 * while it held none holds up nobody; it finds the team further on and skips ahead.
 */

/*
 * Takes up to `chunk` items, `taken` of them, and returns the first, or `items` if there are none left; only then are those that were taken
 * reported as done.
 * Every thread has a share of the items from which it takes in ascending order; when that is used up it helps with the others'. All
 * threads call it until none are left.
 */
int64_t mr_claim(mr_thread *thread, int64_t chunk, int64_t items);

/* Waits for the end of the phase, and meanwhile asks for the memory at `ahead`. */
void mr_barrier(mr_thread *thread);

/*
 * Aims `ahead` at the weights of this thread's share of a linear, if the step has few rows: memory is what such a step waits for, and it is
 * idle while threads wait for each other. NULL: at nothing.
 */
void mr_aim(mr_thread *thread, const mr_op *linear);

/* Asks for up to `lines` lines of what is ahead, into L2. */
static inline void mr_ask(mr_thread *thread, int64_t lines) {
    for (; lines > 0 && thread->ahead < thread->ahead_end; lines--, thread->ahead += MR_CACHE_LINE) {
        __builtin_prefetch(thread->ahead, 0, 2);
    }
}

/* Records a failure of the running program; the first one wins. Callable from any thread of the team. */
void mr_fail(mr_thread *thread, int32_t status, const char *format, int64_t a, int64_t b, int64_t c);

static inline bool mr_is_gate(const mr_op *op) { return op->kind == MR_OP_SWIGLU || op->kind == MR_OP_GEGLU; }

/* Rows of this step that a matrix uses. */
static inline int64_t mr_rows(const mr_batch *batch, const mr_matrix *m) {
    switch (m->extent) {
        case MR_EXTENT_TOKENS: return batch->counts[0];
        case MR_EXTENT_LOGIT_ROWS: return batch->counts[2];
        default: return m->rows;
    }
}

static inline int64_t mr_min(int64_t a, int64_t b) { return a < b ? a : b; }
static inline int64_t mr_max(int64_t a, int64_t b) { return a > b ? a : b; }
static inline int64_t mr_ceil_div(int64_t a, int64_t b) { return (a + b - 1) / b; }
static inline int64_t mr_round_up(int64_t a, int64_t b) { return mr_ceil_div(a, b) * b; }

static inline int64_t mr_dtype_bytes(int32_t dtype) { return dtype == MR_F32 || dtype == MR_I32 ? 4 : 2; }

typedef struct mr_quantize_args {
    const void *source;
    void *out;
    int64_t rows;
    int64_t cols;
    int32_t source_dtype;
    int32_t format;
} mr_quantize_args;

/* Rows [first, first + rows) of a weight as they lie in a file, row-major without gaps, of any alignment. */
typedef struct mr_rows_at {
    const void *data;
    int64_t first;
    int64_t rows;
    int32_t format;
    int32_t pair_rows; /* 0: in order; else see mr_pack_weight */
} mr_rows_at;

/* A weight and what it is packed from. With a state for each tile it may be packed while programs run: see packing.c. */
typedef struct mr_packing {
    char *out;
    int64_t out_features;
    int64_t in_features;
    int32_t format;
    int32_t num_sources;
    mr_rows_at *sources;
    uint8_t *state; /* per tile, atomic; NULL: all are to be packed now */
} mr_packing;

/* Tiles [begin, end) of weights one after the other, counted from the first tile of the first weight. */
typedef struct mr_pack_args {
    mr_packing *weights;
    int64_t begin;
    int64_t end;
} mr_pack_args;

/* Columns of activations that share a scale where they are rounded to bytes. */
#define MR_X_RUN 64

/*
 * 32 activations rounded to bytes: x = scale * code, in one cache line with what every format takes from their sum: integer sums start from
 * -offset * sum(codes). low and high: of the first and the last 16.
 */
typedef struct mr_x_block {
    int8_t codes[32];
    float scale;
    float neg_sum;
    int32_t neg8;
    int32_t neg16;
    int32_t neg128;
    int32_t neg32_low;
    int32_t neg32_high;
    int32_t reserved;
} mr_x_block;

/* The activations [rows, cols] of a linear in the forms that its weights need; strides in elements. */
typedef struct mr_x {
    const float *data;         /* in place */
    float *panels;             /* F32 rows interleaved, for many rows; NULL: read in place */
    mr_x_block *blocks;        /* [row / block_rows][k / 32][block_rows]: a kernel walks over them with one pointer */
    int64_t block_rows;        /* rows that a quantised kernel takes together in this step */
    uint16_t *halves;          /* BF16: [row / half_rows][k / 2][half_rows][2], likewise */
    int64_t half_rows;
    int64_t cols;
} mr_x;

/* Weights that will be needed soon: every call of a kernel asks for some lines of them. */
typedef struct mr_ahead {
    const char *next;
    int64_t lines; /* per call of mr_fetch_ahead */
    bool near; /* to L1 instead of L2 */
} mr_ahead;

/*
 * To L2, from where the hardware fetches lines in time: L1 is too small to hold what is asked for beside the activations. Only a kernel that
 * does little more than read fetches into L1.
 */
static inline void mr_fetch_ahead(mr_ahead *ahead) {
    if (ahead->near) {
        for (int64_t i = 0; i < ahead->lines; i++) {
            __builtin_prefetch(ahead->next + i * MR_CACHE_LINE, 0, 3);
        }
    } else {
        for (int64_t i = 0; i < ahead->lines; i++) {
            __builtin_prefetch(ahead->next + i * MR_CACHE_LINE, 0, 2);
        }
    }
    ahead->next += ahead->lines * MR_CACHE_LINE;
}

/*
 * sums[0..rows, 0..MR_TILE_COLS] += x[row.., k..k + count] * w, or = if `fresh`. The number of rows is the kernel's own. `w` is the record
 * that holds k; k and count are multiples of the format's record.
 */
typedef void (*mr_micro_kernel)(const mr_x *x, int64_t row, int64_t k, const char *w, int64_t count, bool fresh, float *sums,
                                int64_t stride, mr_ahead *ahead);

/* A piece of memory for the probes, read as so many streams side by side, as a kernel walks through several tiles of a weight. Two, without
 * prefetch instructions: 45.9 GB/s on two Zen 4 cores, where one stream read 43.6, eight 34.4, and prefetching cost a tenth (medians,
 * 2026-11-22). And the dot product instructions of one call. */
#define MR_PROBE_PIECE (1 << 20)
#define MR_PROBE_STREAMS 2
#define MR_PROBE_STEPS 12288

/* What one instruction set can do at best; each function returns something that depends on all of its work. */
typedef struct mr_probes {
    int32_t lanes; /* 32-bit lanes of a vector */
    int64_t (*read)(const char *piece);
    int64_t (*products_f32)(void); /* MR_PROBE_STEPS vectors */
    int64_t (*products_int8)(void);
    int64_t (*products_bf16)(void); /* NULL if the set has none */
} mr_probes;

typedef struct mr_probe_args {
    char *data;
    int64_t bytes;
    int64_t items;
    int64_t sum; /* so that nothing is computed in vain */
    int32_t probe;
} mr_probe_args;

/*
 * What mr_program_prepare finds out about an op (mr_op.plan) and the ops beside it. The memory that ops write has the same content in the
 * end as if each had run on its own, to the bit.
 */
typedef enum mr_plan_bit {
    MR_PLAN_MERGED = 1,       /* another op does this one's work: nothing to do in its turn */
    MR_PLAN_TAKES_BEFORE = 2, /* linear: does the norm or gate before it, which makes its activations */
    MR_PLAN_ADD_AFTER = 4,    /* linear: adds its outputs to the residual of the op after it */
    MR_PLAN_ADDED = 8,        /* add_rms_norm: the linear before has done the addition */
    MR_PLAN_WITH_NEXT = 16    /* rope: the attention after it may do it */
} mr_plan_bit;

/* Fills in the plans of a program. */
void mr_plan(mr_op *ops, int32_t num_ops);

/* The kernels of one instruction set. Each is called by every thread of the team with the same arguments. */
struct mr_kernels {
    void (*embed)(mr_thread *, const mr_embed_args *);
    void (*rms_norm)(mr_thread *, const mr_rms_norm_args *);
    void (*add_rms_norm)(mr_thread *, const mr_add_rms_norm_args *);
    void (*add)(mr_thread *, const mr_add_args *);
    void (*linear)(mr_thread *, const mr_op *); /* and what its plan says, in the ops beside it */
    void (*rope)(mr_thread *, const mr_rope_args *);
    void (*attention)(mr_thread *, const mr_attention_args *, const mr_rope_args *before); /* NULL unless the next one is true */
    bool (*attention_takes_rope)(const mr_thread *, const mr_attention_args *); /* in this step */
    void (*swiglu)(mr_thread *, const mr_swiglu_args *);
    void (*geglu)(mr_thread *, const mr_swiglu_args *);
    void (*soft_cap)(mr_thread *, const mr_soft_cap_args *);
    void (*gather)(mr_thread *, const mr_gather_args *);
    void (*sample)(mr_thread *, const mr_sample_args *);
    void (*quantize)(mr_thread *, const mr_quantize_args *);
    /* Packs a tile to `out`, or those of its columns that have a source; `near`: it will be read at once, so it stays in the caches. */
    void (*pack_tile)(const mr_packing *, int64_t tile, char *out, bool near);
    /* Packs the one column that is row `row` of the weight, into its place in the tile at `out`. */
    void (*pack_column)(const mr_packing *, int64_t row, char *out);
    /* Working memory an op can need within the capacities of the batch, in bytes. */
    int64_t (*linear_shared_bytes)(const mr_linear_args *);
    int64_t (*linear_scratch_bytes)(const mr_linear_args *);
    int64_t (*attention_scratch_bytes)(const mr_attention_args *);
    int64_t (*attention_shared_bytes)(const mr_attention_args *, const mr_batch *, int32_t threads);
    int64_t (*sample_scratch_bytes)(const mr_sample_args *);
    /* Parts of `linear` that have variants of their own. */
    const int32_t *quant_rows; /* the most rows of a quantised kernel */
    mr_micro_kernel (*quant_micro)(int32_t format, int64_t rows);
    void (*quant_x)(const float *x, int64_t count, mr_x_block *blocks, int64_t stride); /* every stride-th block */
    const int32_t *bf16_rows; /* this and the next two: NULL if the set has no BF16 products */
    mr_micro_kernel (*bf16_micro)(int64_t rows);
    void (*bf16_x)(const float *x, int64_t count, uint16_t *halves, int64_t stride); /* every stride-th pair */
    mr_attend_kernel attend_bf16; /* part of `attention`; NULL if the set has no BF16 products */
    const mr_probes *probes;
};

extern const mr_kernels mr_kernels_portable;
extern const mr_kernels mr_kernels_avx2;
extern const mr_kernels mr_kernels_avx512;
extern const mr_kernels mr_kernels_avx512_vnni;
extern const mr_kernels mr_kernels_neon;

/* NULL if the instruction set is not compiled in or not there on this machine. */
const mr_kernels *mr_kernels_of(int32_t isa);
int32_t mr_best_isa(void);

void mr_measure(mr_thread *thread, mr_probe_args *args);

/*
 * Weights that are not packed yet; see packing.c. Whether a weight still may have such tiles, and where a packed tile of it is for the
 * caller, who owns the tile for this phase, until his next call: in its place or in this thread's working memory. mr_deferred_column gives a
 * tile of which only the column of `row` is valid; several threads may ask for columns of one tile.
 */
bool mr_is_deferred(const mr_thread *thread, const mr_weight *weight);
const char *mr_deferred_tile(mr_thread *thread, const mr_weight *weight, int64_t tile);
const char *mr_deferred_column(mr_thread *thread, const mr_weight *weight, int64_t row);

/* What the team does in a job that packs. */
void mr_pack(mr_thread *thread, const mr_pack_args *args);

#endif

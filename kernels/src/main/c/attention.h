/* What the items of attention (attention.c) and the work on one of them (attention_unit.c) share. */
#ifndef MILLRACE_ATTENTION_H
#define MILLRACE_ATTENTION_H

#include "kernels.h"
#include "kv.h"

/* The running state of the rows of a work item: out = values / sum. */
typedef struct state {
    float *maximum; /* [rows] */
    float *sum;     /* [rows] */
    float *values;  /* [rows, D'] */
} state;

/* A run of tokens of one sequence and one key/value head. */
typedef struct unit {
    int64_t sequence;
    int64_t token; /* in the batch */
    int64_t tokens;
    int64_t head;
} unit;

typedef struct work {
    const mr_attention_args *a;
    mr_attend_kernel attend;
    const int32_t *blocks;
    unit u;
    int64_t group;
    int64_t rows;
    int64_t dim;
    int64_t window;
    int64_t first_position; /* of the first token */
    int64_t begin;          /* the first position that any token sees */
    int64_t end;            /* behind the last one */
    bool direct;            /* groups can be read where they lie */
    bool bf16;              /* attend takes BF16 queries */
    void *queries;          /* [rows, D], F32 or BF16 */
    float *weights;         /* [MR_ATTEND_ROWS, MR_KEY_TILE] */
    float *wide_keys;       /* [MR_TILE_GROUPS][D][LANES] */
    float *wide_values;     /* [MR_KEY_TILE, D'] */
} work;

static inline int64_t group_of(const mr_attention_args *a) { return a->num_heads / a->cache.num_kv_heads; }

static inline int64_t row_capacity(const mr_attention_args *a) { return mr_max(MR_QUERY_ROWS, group_of(a)); }

static inline int64_t padded(int64_t head_dim) { return mr_round_up(head_dim, MR_KV_LANES); }

static inline int64_t state_floats(int64_t rows, int64_t dim) { return rows * (dim + 2); }

static inline state state_at(float *memory, int64_t rows) { return (state){memory, memory + rows, memory + 2 * rows}; }

/* Fills in all but the working memory's content; false if the block table is broken. */
bool MR_NAME(mr_unit_begin)(mr_thread *thread, const mr_attention_args *a, const unit *u, work *w);

/* Lays out the thread's working memory and gathers the queries: rows in token order, the scale in them. */
void MR_NAME(mr_unit_rows)(mr_thread *thread, work *w, state *total, state *segment);

/* The state of all rows over positions [from, to), which are a segment or less. */
void MR_NAME(mr_unit_segment)(const work *w, const state *s, int64_t from, int64_t to);

/* total = total (+) segment for all rows, the segment being later in the context. */
void MR_NAME(mr_unit_merge)(const work *w, const state *total, const state *segment);

void MR_NAME(mr_unit_write)(const work *w, const state *total);

/* All of it: the unit's rows over all that they see. */
void MR_NAME(mr_unit_attend)(mr_thread *thread, const mr_attention_args *a, const unit *u);

#endif

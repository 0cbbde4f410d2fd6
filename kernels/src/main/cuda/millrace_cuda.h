/*
 * What the CUDA kernels are launched with: one plain structure per kernel, passed by value as its only parameter.
 *
 * Plain C, so that bindings can be generated from it; the emulator's tests print every offset and size as JSON.
 *
 * All pointers are device addresses. Activations are bfloat16 [rows, cols], row-major, 16-byte aligned, cols a multiple of 8: narrower ones
 * are filled up with columns of zeros, which every kernel leaves zero (weights have zero rows and columns there). Constants (norm weights,
 * biases, rope tables, sinks) are float. A step's row counts are read from device memory (`rows`), so that a captured graph
 * serves any number of rows up to its grid; blocks beyond it end at once.
 *
 * KV cache of one layer: kv[block][kv_head][key, value][16 tokens][head_dim] bfloat16. Within a page the 16-byte chunk c of row r lies at
 * chunk mr_kv_chunk(c, r, head_dim), so that eight consecutive rows of one column of chunks meet no shared-memory bank twice when the page
 * is copied there as it is:
 *
 *     head_dim 64, 128, 256 (8 chunks and multiples):  c ^ (r & 7)
 *     head_dim 32, 96 (odd multiples of 4 chunks):     c ^ (r >> 1 & 3)
 *     head_dim 16, 48 (odd multiples of 2 chunks):     c ^ (r >> 2 & 1)
 *
 * The cache's head_dim is one that the attention kernels are made for (16, 32, 64, 96, 128, 256); narrower heads, up to 128, are filled up with
 * zeros there.
 */
#ifndef MILLRACE_CUDA_H
#define MILLRACE_CUDA_H

#include <stdint.h>

enum {
    MR_CUDA_PAGE = 16,       /* tokens per KV block */
    MR_CUDA_HEAD_TILE = 8,   /* query heads that one decode work item serves */
    MR_CUDA_QUERY_TILE = 64, /* (token, head) rows that one prefill work item serves */
    MR_CUDA_MAX_SPLITS = 128, /* of one sequence in decode */
    MR_CUDA_MAX_TOP = 64     /* alternatives that a sampled row can report */
};

/* What mr_cuda_fault.code says. The rest of the step's results are undefined; the host ends the step with the matching error. */
enum { MR_CUDA_FAULT_TOKEN_ID = 1, MR_CUDA_FAULT_POSITION = 2, MR_CUDA_FAULT_BLOCK = 3 };

typedef struct mr_bf16 {
    uint16_t bits;
} mr_bf16;

/* The first fault of a step. Cleared by the host. */
typedef struct mr_cuda_fault {
    int32_t code; /* 0: none */
    int32_t row;
    int32_t value;
    int32_t limit;
} mr_cuda_fault;

/* out[t] = table[id of t] * scale. Grid: rows. */
typedef struct mr_embed_params {
    const mr_bf16 *table;           /* [vocab, hidden] */
    const int32_t *token_ids;       /* [rows] */
    const int32_t *token_source;    /* [rows]: logit row of the step before that drew the token, or -1 */
    const int32_t *previous_token;  /* [logit rows of the step before] */
    mr_bf16 *out;                   /* [rows, hidden] */
    const int32_t *rows;
    mr_cuda_fault *fault;
    int32_t vocab;
    int32_t hidden;
    float scale;
    int32_t previous_rows;          /* capacity of previous_token */
} mr_embed_params;

/* residual += delta, rounded to bfloat16; out = residual / sqrt(mean(residual^2) + eps) * weight, the mean over `width` columns. Grid: rows. */
typedef struct mr_add_rms_norm_params {
    mr_bf16 *residual;     /* [rows, cols] */
    const mr_bf16 *delta;  /* [rows, cols], or null: residual is only normalised */
    const float *weight;   /* [cols] */
    mr_bf16 *out;          /* [rows, cols]; may be delta, or residual where there is no delta */
    const int32_t *rows;
    int32_t cols;
    float eps;
    int32_t width;         /* columns that are not filled up */
    int32_t reserved;
} mr_add_rms_norm_params;

/* residual += delta, rounded to bfloat16. Grid: (rows, ceil(cols / 2048)). */
typedef struct mr_add_params {
    mr_bf16 *residual;     /* [rows, cols] */
    const mr_bf16 *delta;  /* [rows, cols] */
    const int32_t *rows;
    int32_t cols;
    int32_t reserved;
} mr_add_params;

/* x = cap * tanh(x / cap), of floats. Grid: (rows, ceil(cols / 1024)). */
typedef struct mr_soft_cap_params {
    float *x;              /* [rows, cols] */
    const int32_t *rows;
    int32_t cols;
    float cap;
} mr_soft_cap_params;

/*
 * Bias, query and key norms, rotation, KV write. Queries, scaled, go to q_out, which may be qkv itself; keys and values go to the cache
 * alone. Grid: (rows, ceil((num_heads + 2 * num_kv_heads) / 4)).
 */
typedef struct mr_qkv_post_params {
    const mr_bf16 *qkv;             /* [rows, qkv_stride], the first (num_heads + 2 * num_kv_heads) * head_dim columns */
    const float *bias;              /* [(num_heads + 2 * num_kv_heads) * head_dim] or null */
    const float *query_norm;        /* [head_dim] or null */
    const float *key_norm;          /* [head_dim] or null */
    const float *cosine;            /* [max_positions, rotary_dim / 2] */
    const float *sine;              /* [max_positions, rotary_dim / 2] */
    const int32_t *positions;       /* [rows] */
    const int32_t *token_sequence;  /* [rows] */
    const int32_t *block_tables;    /* [sequences, max_blocks] */
    mr_bf16 *q_out;                 /* [rows, q_stride], the first num_heads * page_dim columns; where it is qkv, page_dim is head_dim */
    mr_bf16 *kv;                    /* the layer's cache, of heads of page_dim */
    const int32_t *rows;
    mr_cuda_fault *fault;
    int32_t num_heads;
    int32_t num_kv_heads;
    int32_t head_dim;               /* even, at most 256 */
    int32_t rotary_dim;             /* at most head_dim; a multiple of 4, or even where interleaved */
    int32_t interleaved;            /* pairs are (2i, 2i + 1); else (i, i + rotary_dim / 2) */
    int32_t max_positions;
    int32_t max_blocks;
    int32_t num_blocks;
    int32_t q_stride;
    float norm_eps;
    float q_scale;                  /* into the queries: see mr_paged_decode_params.soft_cap */
    int32_t qkv_stride;
    int32_t page_dim;               /* at least head_dim, at most 256; elements beyond head_dim become zero */
} mr_qkv_post_params;

/* One decode work item: the pages [first_page, end_page) of one sequence with one query token, for every KV head and head tile. */
typedef struct mr_decode_item {
    int32_t token;
    int32_t sequence;
    int32_t first_page;
    int32_t end_page;
    int32_t split;       /* its number among those of the sequence, */
    int32_t num_splits;  /* of which there are so many, */
    int32_t first_item;  /* the first being this item */
    int32_t reserved;
} mr_decode_item;

/* One prefill work item: rows [first_row, first_row + MR_CUDA_QUERY_TILE) of the (token, head of the group) rows of a sequence. */
typedef struct mr_prefill_tile {
    int32_t sequence;
    int32_t first_row;
} mr_prefill_tile;

/*
 * Makes the work lists of the attention kernels from the step's batch. How a sequence is split depends on its own length alone, so results do
 * not depend on its company. Grid: 1.
 */
typedef struct mr_attention_plan_params {
    const int32_t *query_start;     /* [sequences + 1] */
    const int32_t *context_len;     /* [sequences] */
    mr_decode_item *decode_items;
    mr_prefill_tile *prefill_tiles;
    int32_t *plan_counts;           /* out: number of decode items, of prefill tiles */
    const int32_t *sequences;
    int32_t group;                  /* query heads per KV head */
    int32_t sliding_window;         /* 0: none */
    int32_t min_split_pages;        /* a split has at least so many pages, */
    int32_t max_splits;             /* and doubles until there are at most so many; up to MR_CUDA_MAX_SPLITS */
} mr_attention_plan_params;

/*
 * Attention of single query tokens. Work items are strided over the grid: any grid.x will do. The last of a sequence's splits to
 * arrive merges all, in their order. The number of query heads per KV head is free; 1 to 8 read the cache once.
 */
typedef struct mr_paged_decode_params {
    const mr_bf16 *q;             /* [rows, q_stride], scaled */
    const mr_bf16 *kv;            /* the layer's cache */
    const int32_t *block_tables;  /* [sequences, max_blocks] */
    const int32_t *positions;     /* [rows] */
    const mr_decode_item *items;
    const int32_t *num_items;
    const float *sinks;           /* [heads] or null */
    mr_bf16 *out;                 /* [rows, out_stride], the first heads * head_dim columns */
    float *partial_out;           /* [items, heads, head_dim of the cache], where a sequence has several splits */
    float *partial_softmax;       /* [items, heads, 2]: maximum in base 2, sum */
    int32_t *arrivals;            /* [rows, kv heads * head tiles], zero; left zero */
    const mr_cuda_fault *fault;   /* where it has a code nothing is done: block tables may be wrong */
    int32_t num_kv_heads;
    int32_t group;
    int32_t max_blocks;
    int32_t q_stride;
    int32_t sliding_window;       /* 0: none */
    float soft_cap;               /* 0: none, and q carries scale * log2(e); else q carries scale */
    int32_t head_dim;             /* of out; that of q and the cache is the kernel's own, and the same where it is 256 */
    int32_t out_stride;
} mr_paged_decode_params;

/* Causal attention of sequences with several query tokens. Work is strided over the grid like that of decode. */
typedef struct mr_paged_prefill_params {
    const mr_bf16 *q;             /* [rows, q_stride], scaled */
    const mr_bf16 *kv;            /* the layer's cache */
    const int32_t *block_tables;  /* [sequences, max_blocks] */
    const int32_t *query_start;   /* [sequences + 1] */
    const int32_t *context_len;   /* [sequences] */
    const mr_prefill_tile *tiles;
    const int32_t *num_tiles;
    const float *sinks;           /* [heads] or null */
    mr_bf16 *out;                 /* [rows, out_stride], the first heads * head_dim columns */
    const mr_cuda_fault *fault;   /* as for decode */
    int32_t num_kv_heads;
    int32_t group;
    int32_t max_blocks;
    int32_t q_stride;
    int32_t sliding_window;       /* 0: none */
    float soft_cap;               /* 0: none, and q carries scale * log2(e); else q carries scale */
    int32_t head_dim;             /* of out; that of q and the cache is the kernel's own, and the same where it is 256 */
    int32_t out_stride;
} mr_paged_prefill_params;

/* out = silu(gate) * up, or gelu (tanh) in place of silu. Columns of out beyond cols become zero. Grid: (rows, ceil(out_stride / 2048)). */
typedef struct mr_gate_params {
    const mr_bf16 *gate_up;  /* [rows, gate_up_stride], the first 2 * cols columns, the gate half first */
    mr_bf16 *out;            /* [rows, out_stride], the first cols columns */
    const int32_t *rows;
    int32_t cols;            /* any number */
    int32_t gate_up_stride;
    int32_t out_stride;      /* cols, filled up */
    int32_t reserved;
} mr_gate_params;

/*
 * out[t, n] = sum_k x[t, k] * weight[n, k] (+ bias[n]) for few rows. The variants differ in the rows they take and in what becomes of the
 * sums; the bits of a row do not depend on the variant nor on the other rows.
 */
typedef struct mr_linear_params {
    const mr_bf16 *x;        /* [rows, in_features] */
    const mr_bf16 *weight;   /* [out_features, in_features]; for a gated variant [2 * out_features, in_features], the gate half first */
    const float *bias;       /* [out_features] (gated: [2 * out_features]) or null */
    void *out;               /* [rows, out_features]: bfloat16, in place for the residual variant; float for logits */
    const int32_t *rows;
    int32_t in_features;     /* a multiple of 8 */
    int32_t out_features;
    float soft_cap;          /* logits: cap * tanh(sum / cap); 0: none */
    int32_t reserved;
} mr_linear_params;

/* out[r] = x[logit_rows[r]]. Grid: rows. */
typedef struct mr_gather_params {
    const mr_bf16 *x;           /* [tokens, cols] */
    const int32_t *logit_rows;  /* [rows] */
    mr_bf16 *out;               /* [rows, cols] */
    const int32_t *rows;
    int32_t cols;
    int32_t reserved;
} mr_gather_params;

/*
 * io.millrace.kernels.SamplingRows, row for row: its arrays lie in device memory and its addresses are device addresses. Grid: rows.
 */
typedef struct mr_sample_params {
    const float *logits;          /* [rows, vocab] */
    float *work;                  /* [rows, vocab]: logits after bias, mask, suppression and penalties */
    int32_t *occurrences;         /* [rows, vocab], undefined between steps */
    const int32_t *rows;
    const float *temperature;
    const int32_t *top_k;
    const float *top_p;
    const float *min_p;
    const float *repetition_penalty;
    const float *frequency_penalty;
    const float *presence_penalty;
    const int64_t *seed;
    const int32_t *draw_index;
    const int32_t *target;
    const int32_t *num_top;
    const int64_t *history;
    const int32_t *history_len;
    const int32_t *history_source;
    const int32_t *prompt_len;
    const int64_t *bias_ids;
    const int64_t *bias_values;
    const int32_t *bias_count;
    const int64_t *suppress_ids;
    const int32_t *suppress_count;
    const int64_t *allowed_mask;
    const int32_t *previous_token;
    int32_t *token;
    float *logprob;
    int32_t *rank;
    int32_t *top_ids;             /* [rows, max_top] */
    float *top_logprobs;          /* [rows, max_top] */
    mr_cuda_fault *fault;
    int32_t vocab;
    int32_t max_top;
} mr_sample_params;

#endif

/*
 * Millrace CPU kernels: the C ABI between the Java program recorder and the native thread team.
 *
 * A decoder step is an array of mr_op descriptors. mr_program_run() runs it with ONE call: every op reads and writes buffers at fixed
 * addresses, and the row counts of the step come from mr_batch.counts. The structures here are mirrored by the generated Java bindings;
 * MR_ABI_VERSION and mr_abi_layout() let the Java side prove that both agree.
 *
 * Conventions
 *   - Matrices are dense and row-major, activations are F32, sizes and counts are in elements unless a name says bytes.
 *   - T = tokens of the step, L = logit rows of the step, H = query heads, G = key/value heads, D = head dimension.
 *   - Pointers in descriptors are borrowed: the caller keeps them alive until the team is done with the program.
 *   - Functions that return int give MR_OK (0) or a negative mr_status; mr_last_error(team) then holds one line for people.
 *   - A team is used by one caller thread at a time. Nothing is allocated by mr_program_run().
 *
 * Batch invariance: every output element is reduced in an order that depends on the element's own sequence alone, so it is the same
 * bit for bit whatever shares the batch, however a prompt is cut into chunks and however many threads the team has.
 */
#ifndef MILLRACE_CPU_H
#define MILLRACE_CPU_H

#include <stdint.h>

#ifdef __cplusplus
extern "C" {
#endif

#if defined(_WIN32)
#define MR_API __declspec(dllexport)
#else
#define MR_API __attribute__((visibility("default")))
#endif

/* Raised with every change of a structure or of a function's meaning. */
#define MR_ABI_VERSION 13

/* Output columns per weight tile; see mr_pack_weight. */
#define MR_TILE_COLS 32

typedef enum mr_status {
    MR_OK = 0,
    MR_E_ARGUMENT = -1,    /* a descriptor or argument is out of its documented range */
    MR_E_MEMORY = -2,      /* the operating system refused memory */
    MR_E_THREAD = -3,      /* the operating system refused a thread */
    MR_E_ISA = -4,         /* this machine cannot run the requested instruction set */
    MR_E_TOKEN_ID = -5,    /* a token id of the batch is outside the embedding table */
    MR_E_POSITION = -6,    /* a position of the batch is outside the rope table */
    MR_E_BLOCK = -7,       /* a block table entry of the batch is outside the KV cache */
    MR_E_VALUE = -8        /* a weight to be rounded is not finite */
} mr_status;

/* Same order as io.millrace.kernels.DType. */
typedef enum mr_dtype { MR_F32 = 0, MR_F16 = 1, MR_BF16 = 2, MR_I32 = 3 } mr_dtype;

/*
 * Formats of weights. F32, F16 and BF16 are those of mr_dtype. The others are blocks of codes with a scale each, in the layouts of GGUF
 * files: 32 (Q8_0 .. Q5_0, Q5_1) or 256 (K) elements of a row; a row is a whole number of blocks. Activations that meet such a weight are
 * rounded to 8 bits in runs of 64. Same numbers as io.millrace.kernels.QuantFormat.nativeCode().
 */
typedef enum mr_format {
    MR_FORMAT_F32 = 0,
    MR_FORMAT_F16 = 1,
    MR_FORMAT_BF16 = 2,
    MR_FORMAT_BF16_PAIRS = 4, /* values as BF16; activations are rounded to BF16. See mr_has_bf16_dot. */
    MR_FORMAT_Q8_0 = 8,
    MR_FORMAT_Q4_0 = 9,
    MR_FORMAT_Q4_1 = 10,
    MR_FORMAT_Q5_0 = 11,
    MR_FORMAT_Q4_K = 12,
    MR_FORMAT_Q5_K = 13,
    MR_FORMAT_Q6_K = 14,
    MR_FORMAT_Q5_1 = 15
} mr_format;

/* Same order as io.millrace.kernels.Extent. */
typedef enum mr_extent { MR_EXTENT_FIXED = 0, MR_EXTENT_TOKENS = 1, MR_EXTENT_LOGIT_ROWS = 2 } mr_extent;

typedef enum mr_isa {
    MR_ISA_AUTO = -1,
    MR_ISA_PORTABLE = 0,
    MR_ISA_AVX2 = 1,
    MR_ISA_AVX512 = 2,
    MR_ISA_NEON = 3,
    MR_ISA_AVX512_VNNI = 4 /* AVX512 with integer dot products; BF16 dot products too where the processor has them */
} mr_isa;

/* Bits of mr_cpu_features(). */
typedef enum mr_feature {
    MR_FEATURE_AVX2 = 1,
    MR_FEATURE_FMA = 2,
    MR_FEATURE_F16C = 4,
    MR_FEATURE_AVX512F = 8,
    MR_FEATURE_AVX512BW = 16,
    MR_FEATURE_AVX512VL = 32,
    MR_FEATURE_AVX512DQ = 64,
    MR_FEATURE_AVX512_VNNI = 128,
    MR_FEATURE_AVX512_BF16 = 256,
    MR_FEATURE_NEON = 512
} mr_feature;

/* An F32 matrix [rows, cols]; extent says how many of its rows a step uses. */
typedef struct mr_matrix {
    float *data;
    int64_t rows;
    int64_t cols;
    int32_t extent; /* mr_extent */
    int32_t reserved;
} mr_matrix;

/*
 * A packed weight [out_features, in_features]; the layout is mr_pack_weight's. Weights of several formats that run as one matrix are a
 * chain: the columns of `next` follow those of this one.
 */
typedef struct mr_weight {
    const void *data;
    const struct mr_weight *next; /* same in_features, or NULL */
    int64_t out_features;
    int64_t in_features;
    int32_t format; /* mr_format */
    int32_t deferred; /* its number if it is packed later (mr_defer_weight), else 0 */
} mr_weight;

/* Types of stored keys and values: F32, F16 and BF16 of mr_dtype, and this one. Same numbers as io.millrace.kernels.KvCacheType. */
#define MR_KV_Q8_0 8

/*
 * Paged key/value storage of one rank: keys and values [layer][block][G][group], where a group is 16 positions of one head, or the whole
 * block if its size is no multiple of 16 (such a cache is read element by element). Within a group of P positions:
 *   F32, F16   keys [D][P]            position runs fastest: one vector load holds one component of several keys
 *              values [P][D]
 *   BF16       keys [D/2][P][2]       pairs of components, as dot product instructions take them
 *              values [P/2][D][2]     pairs of positions; [P][D] if P is odd
 *   Q8_0       keys int8 [D][P], then F16 scales [ceil(D/32)][P]
 *              values int8 [P][D], then F16 scales [P][ceil(D/32)]
 */
typedef struct mr_kv_cache {
    void *keys;
    void *values;
    int32_t num_layers;
    int32_t num_blocks;
    int32_t block_size;
    int32_t num_kv_heads;
    int32_t head_dim;
    int32_t dtype; /* MR_F32, MR_F16, MR_BF16 or MR_KV_Q8_0 */
} mr_kv_cache;

/* out[t, :] = table[token_ids[t], :] * scale */
typedef struct mr_embed_args {
    mr_weight table;
    mr_matrix out;
    float scale;
    int32_t reserved;
} mr_embed_args;

/* out = x / sqrt(mean(x^2) + eps) * weight; weight [cols] */
typedef struct mr_rms_norm_args {
    mr_matrix x;
    const float *weight;
    mr_matrix out;
    float eps;
    int32_t reserved;
} mr_rms_norm_args;

/* residual += delta; out = rms_norm(residual) */
typedef struct mr_add_rms_norm_args {
    mr_matrix residual;
    mr_matrix delta;
    const float *weight;
    mr_matrix out;
    float eps;
    int32_t reserved;
} mr_add_rms_norm_args;

/* residual += delta */
typedef struct mr_add_args {
    mr_matrix residual;
    mr_matrix delta;
} mr_add_args;

/* out[t, n] = sum_k x[t, k] * weight[n, k] (+ bias[n]); bias [out_features] or NULL */
typedef struct mr_linear_args {
    mr_matrix x;
    mr_weight weight;
    const float *bias;
    mr_matrix out;
} mr_linear_args;

/*
 * Where there are norms, first out of each query and key head x: x / sqrt(mean(x^2) + norm_eps) * norm; both norms [D] or both NULL. Then
 * rotates the q and k parts of qkv [T, (H + 2G) * D] in place: element i of a head with element i + rotary_dim/2, or 2i with 2i + 1 if
 * interleaved, by the angle of column i; elements from rotary_dim on stay. Then writes k and v of the step's tokens into the cache.
 * cosine, sine [max_positions, rotary_dim/2].
 */
typedef struct mr_rope_args {
    mr_matrix qkv;
    const float *cosine;
    const float *sine;
    int64_t max_positions;
    mr_kv_cache cache;
    int32_t rotary_dim;
    int32_t num_heads;
    int32_t layer;
    int32_t interleaved; /* 0 or 1 */
    const float *query_norm;
    const float *key_norm;
    float norm_eps;
    int32_t reserved;
} mr_rope_args;

/*
 * Causal grouped-query attention over the cache; qkv [T, (H + 2G) * D], out [T, H * D]. With s = q * k * scale, or
 * soft_cap * tanh(s / soft_cap) if soft_cap > 0, a token at position p weighs positions (p - window, p], all up to p if window is 0, by
 * e^s; the sum of the weights has the further term e^sinks[head] where there are sinks [H]. Blocks of positions that no token of the step
 * sees are not read; their entries in the block table may be anything.
 */
typedef struct mr_attention_args {
    mr_matrix qkv;
    mr_matrix out;
    mr_kv_cache cache;
    int32_t num_heads;
    int32_t layer;
    float scale;
    float soft_cap;
    const float *sinks; /* or NULL */
    int32_t window;
    int32_t bf16_products; /* 1: queries and softmax weights are rounded to BF16 where keys and values are BF16 and mr_has_bf16_dot */
} mr_attention_args;

/* out = f(gate) * up; gate_up [T, 2 * cols], gate half first. f is silu for MR_OP_SWIGLU, the tanh form of gelu for MR_OP_GEGLU. */
typedef struct mr_swiglu_args {
    mr_matrix gate_up;
    mr_matrix out;
} mr_swiglu_args;

/* x = cap * tanh(x / cap), in place */
typedef struct mr_soft_cap_args {
    mr_matrix x;
    float cap;
    int32_t reserved;
} mr_soft_cap_args;

/* out[r, :] = x[logit_rows[r], :] */
typedef struct mr_gather_args {
    mr_matrix x;
    mr_matrix out;
} mr_gather_args;

/* Samples every logit row as documented in io.millrace.kernels.SamplingRows. The logits [L, vocab] are left as they are. */
typedef struct mr_sample_args {
    mr_matrix logits;
} mr_sample_args;

typedef enum mr_op_kind {
    MR_OP_EMBED = 1,
    MR_OP_RMS_NORM = 2,
    MR_OP_ADD_RMS_NORM = 3,
    MR_OP_ADD = 4,
    MR_OP_LINEAR = 5,
    MR_OP_ROPE_AND_CACHE = 6,
    MR_OP_ATTENTION = 7,
    MR_OP_SWIGLU = 8,
    MR_OP_GATHER_LOGIT_ROWS = 9,
    MR_OP_SAMPLE = 10,
    MR_OP_GEGLU = 11,
    MR_OP_SOFT_CAP = 12
} mr_op_kind;

/* One operation: kind chooses the member of args. */
typedef struct mr_op {
    int32_t kind; /* mr_op_kind */
    int32_t plan; /* mr_program_prepare's: how the op runs among its neighbours */
    union {
        mr_embed_args embed;
        mr_rms_norm_args rms_norm;
        mr_add_rms_norm_args add_rms_norm;
        mr_add_args add;
        mr_linear_args linear;
        mr_rope_args rope;
        mr_attention_args attention;
        mr_swiglu_args swiglu;
        mr_gather_args gather;
        mr_sample_args sample;
        mr_soft_cap_args soft_cap;
    } args;
} mr_op;

/* The arrays of io.millrace.kernels.Batch and SamplingRows, same names, same meaning; capacities below. */
typedef struct mr_batch {
    const int32_t *counts; /* [num_tokens, num_sequences, num_logit_rows, reserved] */
    const int32_t *token_ids;
    const int32_t *positions;
    const int32_t *token_sequence;
    const int32_t *query_start;
    const int32_t *context_len;
    const int32_t *block_tables; /* [max_sequences, max_blocks_per_sequence] */
    const int32_t *logit_rows;
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
    const int64_t *history; /* addresses of int32 arrays, 0 = absent; likewise the other address arrays */
    const int32_t *history_len;
    const int32_t *prompt_len;
    const int64_t *bias_ids;
    const int64_t *bias_values;
    const int32_t *bias_count;
    const int64_t *suppress_ids;
    const int32_t *suppress_count;
    const int64_t *allowed_mask;
    int32_t *token;
    float *logprob;
    int32_t *rank;
    int32_t *top_ids;      /* [max_logit_rows, max_top] */
    float *top_logprobs;   /* [max_logit_rows, max_top] */
    int32_t max_tokens;
    int32_t max_sequences;
    int32_t max_blocks_per_sequence;
    int32_t max_logit_rows;
    int32_t max_top;
    int32_t reserved;
    /* Tokens that only the run before this one knows; NULL = there are none. */
    const int32_t *token_source;   /* per token: the logit row of that run which drew it, or -1: token_ids has it */
    const int32_t *history_source; /* per logit row: likewise for the last entry of its history, which the sampler fills in */
    const int32_t *previous_token; /* `token` of that run */
} mr_batch;

/* Facts about the machine, as the operating system and the processor tell them; 0 where unknown. */
typedef struct mr_cpu_info {
    int32_t logical_cores;
    int32_t best_isa; /* mr_isa */
    int64_t features; /* mr_feature bits */
    int64_t l1d_bytes;
    int64_t l2_bytes;
    int64_t l3_bytes;
} mr_cpu_info;

/* What mr_probe_run measures. */
typedef enum mr_probe {
    MR_PROBE_READ = 0,          /* memory read, as weights are: large pages, several streams side by side */
    MR_PROBE_COPY = 1,          /* the first half of the memory copied to the second: bytes read and bytes written count */
    MR_PROBE_PRODUCTS_F32 = 2,  /* dot products in registers; a multiplication and an addition are two operations */
    MR_PROBE_PRODUCTS_BF16 = 3, /* where mr_has_bf16_dot */
    MR_PROBE_PRODUCTS_INT8 = 4  /* with the instructions that meet quantised weights */
} mr_probe;

typedef struct mr_team mr_team;

/* MR_ABI_VERSION of the library that was loaded. */
MR_API int32_t mr_abi_version(void);

/*
 * Copies up to `capacity` entries of the layout table to `out` and returns how many there are: for each structure of this header, in the
 * order mr_matrix, mr_weight, mr_kv_cache, mr_embed_args .. mr_swiglu_args, mr_soft_cap_args, mr_gather_args, mr_sample_args, mr_op, mr_batch, mr_cpu_info: its size in bytes, then the
 * offset of each member in order of declaration (the members of the union inside mr_op count as one: its offset).
 */
MR_API int32_t mr_abi_layout(int32_t *out, int32_t capacity);

MR_API void mr_cpu_query(mr_cpu_info *out);

/* Bitmask with bit (1 << mr_isa) set for every instruction set that is compiled in and that this machine runs. */
MR_API int32_t mr_isa_mask(void);

/*
 * Starts a team of `threads` (the caller of mr_program_run is one of them; threads - 1 are created) that runs kernels of `isa`.
 * Returns NULL on failure with a mr_status in *status. Idle workers spin for some ten microseconds after a step and then sleep.
 */
MR_API mr_team *mr_team_create(int32_t threads, int32_t isa, int32_t *status);

/* Ends the workers and frees the team. NULL is allowed. */
MR_API void mr_team_destroy(mr_team *team);

/*
 * Binds member i of the team to processor cpus[i % count]: workers for good, the caller's thread for the time of each run. On MR_E_ARGUMENT
 * (a processor that is not there or not allowed, or an operating system without such a thing) some workers may be bound, the caller is not.
 */
MR_API int32_t mr_team_bind(mr_team *team, const int32_t *cpus, int32_t count);

MR_API int32_t mr_team_threads(const mr_team *team);

/* The mr_isa in use. */
MR_API int32_t mr_team_isa(const mr_team *team);

/* The text of the team's most recent failure, "" if none; owned by the team, overwritten by the next failure. */
MR_API const char *mr_last_error(const mr_team *team);

/*
 * Checks the descriptors, reserves the working memory that the program can need within the capacities of `batch`, and finds out what ops can
 * do for each other, which it notes in the descriptors: they may not change, nor move apart, from here on.
 */
MR_API int32_t mr_program_prepare(mr_team *team, mr_op *ops, int32_t num_ops, const mr_batch *batch);

/* Runs a prepared program over the present content of `batch`; returns when its outputs are in memory. */
MR_API int32_t mr_program_run(mr_team *team, const mr_op *ops, int32_t num_ops, const mr_batch *batch);

/* Which operation of its program the caller of mr_program_run is at, -1 if no program runs. Any thread; for reports. */
MR_API int32_t mr_team_position(const mr_team *team);

/* Working memory held by the team in bytes. */
MR_API int64_t mr_team_scratch_bytes(const mr_team *team);

/* Zeroed memory, aligned to a page or more, on huge pages where the system has them; NULL if refused. Freed with the same size. */
MR_API void *mr_memory_allocate(int64_t bytes);

MR_API void mr_memory_free(void *data, int64_t bytes);

/* Whether kernels of `isa` multiply BF16 by BF16 on this machine: only then may a weight be packed as MR_FORMAT_BF16_PAIRS. */
MR_API int32_t mr_has_bf16_dot(int32_t isa);

/* Bytes of a packed weight: out_features is rounded up to MR_TILE_COLS. 0 for a format that is not known. */
MR_API int64_t mr_packed_weight_bytes(int64_t out_features, int64_t in_features, int32_t format);

/*
 * Packs `rows` rows of a row-major matrix [rows, in_features] as the output columns [first, first + rows) of the packed weight at `out`
 * (zeroed memory of mr_packed_weight_bytes, aligned to 64), in parallel on the team. The source need not be aligned; it has the format of
 * the packed weight and is moved, never rounded, except that F16 and F32 may be packed as BF16_PAIRS. The layout is that of format.h: tiles of
 * 32 columns, [tile][k][32], so that cache lines hold the weights of 32 outputs for the same k.
 *
 * `pair_rows`: 0 if the rows lie in order. Else their number in a head, even, of a source that has row i of a head's first half and row i of its
 * second half side by side: row h * pair_rows + i of these is row h * pair_rows + (i < pair_rows / 2 ? 2 i : 2 (i - pair_rows / 2) + 1) there.
 */
MR_API int32_t mr_pack_weight(mr_team *team, void *out, int64_t out_features, int64_t in_features, int32_t format,
                              int64_t first, int64_t rows, const void *source, int32_t source_format, int32_t pair_rows);

/*
 * Announces a weight that is packed later, into `out` as for mr_pack_weight, which is not touched yet: tile by tile by mr_pack_some and by
 * programs that meet it, with the same results. Returns its number, from 1 on, for mr_weight.deferred; or a mr_status.
 */
MR_API int32_t mr_defer_weight(mr_team *team, void *out, int64_t out_features, int64_t in_features, int32_t format);

/*
 * Says from where the output columns [first, first + rows) of a deferred weight come: arguments as of mr_pack_weight. Every column needs a
 * source before a program runs or mr_pack_some is called. The source must stay as it is until mr_bytes_to_pack is 0.
 */
MR_API int32_t mr_defer_rows(mr_team *team, int32_t weight, int64_t first, int64_t rows, const void *source, int32_t source_format,
                             int32_t pair_rows);

/* Packs deferred weights on the team, tiles of about `bytes` at most, and returns mr_bytes_to_pack. */
MR_API int64_t mr_pack_some(mr_team *team, int64_t bytes);

/* Packed bytes of deferred weights that are not there yet; at 0 no source is read any more. */
MR_API int64_t mr_bytes_to_pack(const mr_team *team);

/*
 * Rounds a row-major matrix [rows, cols] of F32, F16 or BF16 to Q8_0, Q4_0, Q5_0, Q4_K or Q6_K in the layout of GGUF files, in parallel on
 * the team. cols is a multiple of the format's block; neither memory need be aligned. The result is the same for every instruction set and
 * number of threads. MR_E_VALUE: a value is infinite or not a number; mr_last_error tells where.
 */
MR_API int32_t mr_quantize(mr_team *team, int32_t format, int32_t source_dtype, const void *source, int64_t rows, int64_t cols, void *out);

/*
 * Measures on all threads of the team what the machine can do at best. `items`: pieces of 1 MiB to read or copy, round and round in `data`
 * (aligned to 64, 2 MiB or more, far more than the caches hold; only the pieces that fit whole are used), or portions of dot products, some hundred
 * microseconds each, for which `data` is not looked at. *work: bytes or operations done; *nanos: the time it took.
 */
MR_API int32_t mr_probe_run(mr_team *team, int32_t probe, void *data, int64_t bytes, int64_t items, int64_t *work, int64_t *nanos);

#ifdef __cplusplus
}
#endif
#endif

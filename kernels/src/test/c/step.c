#define _GNU_SOURCE
/*
 * Whole steps of a decoder without its tokenizer and its server: what a token costs when nothing but the kernels run. Weights of
 * random bytes, every layer with its own, in the shapes of SmolLM-135M and Llama-3.2-1B.
 *
 *   step [threads [seconds [format [sequences [context]]]]]     format: an mr_format; 1B in place of 135M with the environment's SHAPE=1b
 *
 * With IN_CACHE set all layers have the weights of the first, and the vocabulary is small: what is left without the memory.
 * TOKENS=n: a prefill step, n tokens of each sequence behind its context; the last one of each is sampled. LAYERS=n: the first n alone.
 * PROFILE=n: also the time of each kind of op, the best of n runs one by one (what a plan has merged into an op counts with it).
 *
 * Prints the time of a step, the bytes of weights it reads, and its phases: the points at which threads wait for each other.
 */
#include "team.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

typedef struct shape {
    const char *name;
    int64_t hidden, ffn, vocab;
    int32_t layers, heads, kv_heads, dim;
} shape;

static const shape shapes[] = {{"135M", 576, 1536, 49152, 30, 9, 3, 64}, {"1B", 2048, 8192, 128256, 16, 32, 8, 64}};

/* With one thread that of its processor time, which what else runs on the machine hardly changes. */
static clockid_t clock_id = CLOCK_MONOTONIC;

static double now(void) {
    struct timespec t;
    clock_gettime(clock_id, &t);
    return (double)t.tv_sec + 1e-9 * (double)t.tv_nsec;
}

static uint32_t noise_state = 1;

static float noise(void) {
    noise_state = noise_state * 1664525u + 1013904223u;
    return (float)(noise_state >> 8) / 16777216.0f - 0.5f;
}

static float *floats(int64_t count, float center, float spread) {
    float *p = mr_memory_allocate(count * 4);
    for (int64_t i = 0; i < count; i++) {
        p[i] = center + spread * noise();
    }
    return p;
}

static mr_matrix matrix(int64_t rows, int64_t cols, int32_t extent) {
    return (mr_matrix){.data = floats(rows * cols, 0.0f, 1.0f), .rows = rows, .cols = cols, .extent = extent};
}

static double weight_bytes;

/* What the machine reads at the moment: on a shared one it changes from minute to minute. */
static double read_gbs(mr_team *team) {
    static char *data;
    const int64_t bytes = 256 << 20;
    if (data == NULL) {
        data = mr_memory_allocate(bytes);
        memset(data, 1, (size_t)bytes);
    }
    double best = 0;
    for (int i = 0; i < 3; i++) {
        int64_t work;
        int64_t nanos;
        mr_probe_run(team, MR_PROBE_READ, data, bytes, 2 * bytes / MR_PROBE_PIECE, &work, &nanos);
        best = (double)work / (double)nanos > best ? (double)work / (double)nanos : best;
    }
    return best;
}

/* Weights lie one behind the other in large pages. */
static void *take(int64_t bytes) {
    static char *slab;
    static int64_t left;
    const int64_t slab_bytes = 256 << 20;
    bytes = mr_round_up(bytes, 4096);
    if (bytes > slab_bytes / 4 || getenv("APART") != NULL) {
        return mr_memory_allocate(bytes);
    }
    if (bytes > left) {
        slab = mr_memory_allocate(slab_bytes);
        left = slab_bytes;
    }
    left -= bytes;
    return slab + left;
}

static mr_weight weight(mr_team *team, int64_t out, int64_t in, int32_t format) {
    static const int block_bytes[] = {[MR_FORMAT_Q8_0] = 34,  [MR_FORMAT_Q4_0] = 18,  [MR_FORMAT_Q4_1] = 20, [MR_FORMAT_Q5_0] = 22,
                                      [MR_FORMAT_Q4_K] = 144, [MR_FORMAT_Q5_K] = 176, [MR_FORMAT_Q6_K] = 210, [MR_FORMAT_Q5_1] = 24};
    bool super = format >= MR_FORMAT_Q4_K && format <= MR_FORMAT_Q6_K;
    if (super && in % 256 != 0) {
        format = MR_FORMAT_Q5_0, super = false; /* as the makers of such files do */
    }
    int64_t bytes = format == MR_FORMAT_F32 ? 4 * out * in : format < MR_FORMAT_Q8_0 ? 2 * out * in : out * in / (super ? 256 : 32) * block_bytes[format];
    uint8_t *source = malloc((size_t)bytes);
    for (int64_t i = 0; i < bytes; i++) {
        source[i] = (uint8_t)(0x10 | ((uint64_t)i * 2654435761u >> 13 & 0x8f)); /* small numbers in every format */
    }
    int64_t packed_bytes = mr_packed_weight_bytes(out, in, format);
    void *packed = take(packed_bytes);
    if (mr_pack_weight(team, packed, out, in, format, 0, out, source, format == MR_FORMAT_BF16_PAIRS ? MR_FORMAT_BF16 : format, 0) != MR_OK) {
        fprintf(stderr, "%s\n", mr_last_error(team));
        exit(1);
    }
    free(source);
    weight_bytes += (double)packed_bytes;
    return (mr_weight){.data = packed, .out_features = out, .in_features = in, .format = format};
}

/* What PROFILE adds up. */
typedef struct part {
    const char *name;
    double seconds;
    double operations;
} part;

enum { PARTS = 16 };

static part *part_of(part *parts, const mr_op *op, const mr_op *ops) {
    static const char *const kinds[] = {[MR_OP_EMBED] = "embed", [MR_OP_RMS_NORM] = "norm", [MR_OP_ADD_RMS_NORM] = "norm", [MR_OP_ADD] = "add",
                                        [MR_OP_ROPE_AND_CACHE] = "rope", [MR_OP_ATTENTION] = "attention", [MR_OP_SWIGLU] = "gate",
                                        [MR_OP_GATHER_LOGIT_ROWS] = "gather", [MR_OP_SAMPLE] = "sample"};
    const char *name = op->kind != MR_OP_LINEAR                      ? kinds[op->kind]
                       : op[1].kind == MR_OP_SAMPLE                  ? "linear head"
                       : op[1].kind == MR_OP_ROPE_AND_CACHE          ? "linear qkv"
                       : op[1].kind == MR_OP_SWIGLU                  ? "linear gate_up"
                       : op > ops && op[-1].kind == MR_OP_ATTENTION  ? "linear out"
                                                                     : "linear down";
    int i = 0;
    while (i < PARTS - 1 && parts[i].name != NULL && strcmp(parts[i].name, name) != 0) {
        i++;
    }
    parts[i].name = name;
    return &parts[i];
}

/* Ops one by one, the best of some runs each. */
static void profile(mr_team *team, const mr_op *ops, int32_t n, const mr_batch *batch, int runs) {
    part parts[PARTS] = {{0}};
    double total = 0;
    for (int32_t i = 0; i < n; i++) {
        double best = 1e9;
        for (int run = 0; run < runs; run++) {
            double start = now();
            (void)mr_program_run(team, ops + i, 1, batch);
            double time = now() - start;
            best = time < best ? time : best;
        }
        part *p = part_of(parts, &ops[i], ops);
        p->seconds += best;
        total += best;
        if (ops[i].kind == MR_OP_LINEAR) {
            const mr_linear_args *a = &ops[i].args.linear;
            p->operations += 2.0 * (double)mr_rows(batch, &a->x) * (double)a->weight.in_features * (double)a->weight.out_features;
        }
    }
    for (int i = 0; i < PARTS && parts[i].name != NULL; i++) {
        printf("  %-16s %9.2f ms %5.1f%%", parts[i].name, parts[i].seconds * 1e3, 100 * parts[i].seconds / total);
        if (parts[i].operations > 0) {
            printf("  %7.1f GOP/s", parts[i].operations / parts[i].seconds * 1e-9);
        }
        printf("\n");
    }
    printf("  %-16s %9.2f ms\n", "all", total * 1e3);
}

static int compare(const void *a, const void *b) { return (*(const double *)a > *(const double *)b) - (*(const double *)a < *(const double *)b); }

int main(int argc, char **argv) {
    int threads = argc > 1 ? atoi(argv[1]) : 2;
    clock_id = threads == 1 ? CLOCK_THREAD_CPUTIME_ID : CLOCK_MONOTONIC;
    double seconds = argc > 2 ? atof(argv[2]) : 2;
    int32_t format = argc > 3 ? atoi(argv[3]) : MR_FORMAT_Q8_0;
    int32_t sequences = argc > 4 ? atoi(argv[4]) : 1;
    int32_t context = argc > 5 ? atoi(argv[5]) : 80;
    const char *chosen = getenv("SHAPE");
    shape picked = shapes[chosen != NULL && strcmp(chosen, "1b") == 0];
    bool in_cache = getenv("IN_CACHE") != NULL;
    picked.vocab = in_cache ? 1024 : picked.vocab;
    int32_t tokens = getenv("TOKENS") != NULL ? atoi(getenv("TOKENS")) : 1;
    picked.layers = getenv("LAYERS") != NULL ? atoi(getenv("LAYERS")) : picked.layers;
    const shape *s = &picked;
    int32_t status;
    mr_team *team = mr_team_create(threads, MR_ISA_AUTO, &status);
    if (team == NULL) {
        fprintf(stderr, "no team of %d threads: status %d\n", threads, (int)status);
        return 1;
    }
    enum { BLOCK = 16 };
    int32_t rows = sequences * tokens;
    int32_t blocks = (context + tokens + BLOCK - 1) / BLOCK + 1;
    int64_t cache_bytes = (int64_t)s->layers * sequences * blocks * BLOCK * s->kv_heads * s->dim * 2;
    mr_kv_cache cache = {mr_memory_allocate(cache_bytes), mr_memory_allocate(cache_bytes), s->layers, sequences * blocks, BLOCK, s->kv_heads, s->dim, MR_BF16};
    int64_t qkv_cols = (s->heads + 2 * s->kv_heads) * s->dim;
    int64_t query_cols = s->heads * s->dim;
    mr_matrix residual = matrix(rows, s->hidden, MR_EXTENT_TOKENS), delta = matrix(rows, s->hidden, MR_EXTENT_TOKENS);
    mr_matrix normed = matrix(rows, s->hidden, MR_EXTENT_TOKENS), qkv = matrix(rows, qkv_cols, MR_EXTENT_TOKENS);
    mr_matrix attended = matrix(rows, query_cols, MR_EXTENT_TOKENS), gate_up = matrix(rows, 2 * s->ffn, MR_EXTENT_TOKENS);
    mr_matrix gated = matrix(rows, s->ffn, MR_EXTENT_TOKENS), logits = matrix(sequences, s->vocab, MR_EXTENT_LOGIT_ROWS);
    mr_matrix last[3];
    for (int i = 0; i < 3; i++) {
        last[i] = matrix(sequences, s->hidden, MR_EXTENT_LOGIT_ROWS);
    }
    int32_t positions_max = context + tokens + 1;
    float *cosine = floats((int64_t)positions_max * s->dim / 2, 0.5f, 0.2f);
    float *sine = floats((int64_t)positions_max * s->dim / 2, 0.5f, 0.2f);
    mr_op *ops = calloc((size_t)(s->layers * 9 + 8), sizeof *ops);
    int32_t n = 0;
    mr_weight table = weight(team, s->vocab, s->hidden, format);
    ops[n].kind = MR_OP_EMBED, ops[n++].args.embed = (mr_embed_args){table, residual, 1.0f, 0};
    mr_weight in, out, up, down;
    for (int32_t i = 0; i < s->layers; i++) {
        if (i == 0 || !in_cache) {
            in = weight(team, qkv_cols, s->hidden, format);
            out = weight(team, s->hidden, query_cols, format);
            up = weight(team, 2 * s->ffn, s->hidden, format);
            down = weight(team, s->hidden, s->ffn, format);
        }
        float *norm = floats(s->hidden, 1.0f, 0.1f);
        if (i == 0) {
            ops[n].kind = MR_OP_RMS_NORM, ops[n++].args.rms_norm = (mr_rms_norm_args){residual, norm, normed, 1e-5f, 0};
        } else {
            ops[n].kind = MR_OP_ADD_RMS_NORM, ops[n++].args.add_rms_norm = (mr_add_rms_norm_args){residual, delta, norm, normed, 1e-5f, 0};
        }
        ops[n].kind = MR_OP_LINEAR, ops[n++].args.linear = (mr_linear_args){normed, in, NULL, qkv};
        ops[n].kind = MR_OP_ROPE_AND_CACHE;
        ops[n++].args.rope = (mr_rope_args){.qkv = qkv, .cosine = cosine, .sine = sine, .max_positions = positions_max, .cache = cache,
                                            .rotary_dim = s->dim, .num_heads = s->heads, .layer = i};
        ops[n].kind = MR_OP_ATTENTION;
        ops[n++].args.attention = (mr_attention_args){.qkv = qkv, .out = attended, .cache = cache, .num_heads = s->heads, .layer = i,
                                                      .scale = 0.125f, .bf16_products = 1};
        ops[n].kind = MR_OP_LINEAR, ops[n++].args.linear = (mr_linear_args){attended, out, NULL, delta};
        ops[n].kind = MR_OP_ADD_RMS_NORM, ops[n++].args.add_rms_norm = (mr_add_rms_norm_args){residual, delta, norm, normed, 1e-5f, 0};
        ops[n].kind = MR_OP_LINEAR, ops[n++].args.linear = (mr_linear_args){normed, up, NULL, gate_up};
        ops[n].kind = MR_OP_SWIGLU, ops[n++].args.swiglu = (mr_swiglu_args){gate_up, gated};
        ops[n].kind = MR_OP_LINEAR, ops[n++].args.linear = (mr_linear_args){gated, down, NULL, delta};
    }
    ops[n].kind = MR_OP_GATHER_LOGIT_ROWS, ops[n++].args.gather = (mr_gather_args){residual, last[0]};
    ops[n].kind = MR_OP_GATHER_LOGIT_ROWS, ops[n++].args.gather = (mr_gather_args){delta, last[1]};
    float *norm = floats(s->hidden, 1.0f, 0.1f);
    ops[n].kind = MR_OP_ADD_RMS_NORM, ops[n++].args.add_rms_norm = (mr_add_rms_norm_args){last[0], last[1], norm, last[2], 1e-5f, 0};
    ops[n].kind = MR_OP_LINEAR, ops[n++].args.linear = (mr_linear_args){last[2], table, NULL, logits};
    ops[n].kind = MR_OP_SAMPLE, ops[n++].args.sample = (mr_sample_args){logits};

    /* Every array of the batch that a step reads; zeros unless set. */
    size_t capacity = (size_t)rows + 1;
    int32_t counts[4] = {rows, sequences, sequences, 0};
    int32_t *words[16];
    for (int i = 0; i < 16; i++) {
        words[i] = calloc(capacity, sizeof(int64_t));
    }
    float *ones = calloc(capacity, sizeof(float));
    int32_t *tables = calloc((size_t)(sequences * blocks), 4);
    for (int32_t i = 0; i < sequences * blocks; i++) {
        tables[i] = i;
    }
    for (int32_t r = 0; r < rows; r++) {
        words[0][r] = (r * 7 + 1) % (int32_t)s->vocab; /* token ids */
        words[1][r] = context + r % tokens;            /* positions */
        words[2][r] = r / tokens;                      /* sequence of a token */
    }
    for (int32_t r = 0; r <= sequences; r++) {
        ones[r] = 1.0f;
        words[3][r] = context + tokens;         /* context length */
        words[4][r] = -1;                       /* target */
        words[11][r] = r * tokens;              /* start of a sequence */
        words[12][r] = r * tokens + tokens - 1; /* logit row */
    }
    float *zeros = (float *)words[5];
    int64_t *none = (int64_t *)words[6];
    mr_batch batch = {.counts = counts, .token_ids = words[0], .positions = words[1], .token_sequence = words[2], .query_start = words[11],
                      .context_len = words[3], .block_tables = tables, .logit_rows = words[12], .temperature = zeros, .top_k = words[7],
                      .top_p = ones, .min_p = zeros, .repetition_penalty = ones, .frequency_penalty = zeros, .presence_penalty = zeros,
                      .seed = none, .draw_index = words[7], .target = words[4], .num_top = words[7], .history = none, .history_len = words[7],
                      .prompt_len = words[7], .bias_ids = none, .bias_values = none, .bias_count = words[7], .suppress_ids = none,
                      .suppress_count = words[7], .allowed_mask = none, .token = words[8], .logprob = (float *)words[9], .rank = words[10],
                      .max_tokens = rows, .max_sequences = sequences, .max_blocks_per_sequence = blocks, .max_logit_rows = sequences};
    if (mr_program_prepare(team, ops, n, &batch) != MR_OK) {
        fprintf(stderr, "%s\n", mr_last_error(team));
        return 1;
    }
    enum { MAX = 100000 };
    static double times[MAX];
    int count = 0;
    double gbs = read_gbs(team);
    double end = now() + seconds;
    uint32_t phases = 0;
    do {
        double start = now();
        if (mr_program_run(team, ops, n, &batch) != MR_OK) {
            fprintf(stderr, "%s\n", mr_last_error(team));
            return 1;
        }
        times[count++] = now() - start;
        phases = team->members[0].thread.phase - team->first_phase;
    } while (now() < end && count < MAX);
    qsort(times, (size_t)count, sizeof *times, compare);
    double median = times[count / 2];
    gbs = 0.5 * (gbs + read_gbs(team));
    printf("%s format %2d, %d threads, %2d sequences of %4d + %d: median %8.1f us, best %8.1f, 90%% %8.1f; %6.1f MB %5.1f GB/s (%2.0f%% of read %4.1f); %d ops, %u phases; token %d\n",
           s->name, (int)format, threads, (int)sequences, (int)context, (int)tokens, median * 1e6, times[0] * 1e6, times[count * 9 / 10] * 1e6, weight_bytes * 1e-6,
           weight_bytes / median * 1e-9, weight_bytes / median * 1e-7 / gbs, gbs, (int)n, phases, (int)words[8][0]);
    if (getenv("PROFILE") != NULL) {
        profile(team, ops, n, &batch, atoi(getenv("PROFILE")));
    }
    uint32_t hash = 2166136261u;
    for (int64_t i = 0; i < sequences * s->vocab; i++) {
        uint32_t bits;
        memcpy(&bits, &logits.data[i], 4);
        hash = (hash ^ bits) * 16777619u;
    }
    printf("logits %08x\n", hash);
    mr_team_destroy(team);
    return 0;
}

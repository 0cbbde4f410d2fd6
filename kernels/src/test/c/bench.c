/*
 * bench [threads] [seconds per figure] [mr_isa] [mr_format]: what the kernels reach, beside what this machine can do in the same minute. Every figure is the
 * best of rounds that alternate with the probes, so that a busy neighbour harms both alike. With one thread the clock is that thread's
 * processor time, which does not run while others have the core.
 */
#define _GNU_SOURCE
#include "millrace_cpu.h"

#if defined(__x86_64__)
#include <immintrin.h>
#endif
#include <math.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

typedef float lanes __attribute__((vector_size(64)));

static clockid_t clock_id = CLOCK_MONOTONIC;

static double now(void) {
    struct timespec t;
    clock_gettime(clock_id, &t);
    return (double)t.tv_sec + 1e-9 * (double)t.tv_nsec;
}

typedef struct probe {
    pthread_t handle;
    const char *data;
    int64_t bytes;
    int64_t rounds;
    float result;
} probe;

static void *read_probe(void *argument) {
    probe *p = argument;
    lanes sums[8];
    memset(sums, 0, sizeof sums);
    for (int64_t i = 0; i + 512 <= p->bytes; i += 512) {
        for (int j = 0; j < 8; j++) {
            sums[j] += *(const lanes *)(p->data + i + 64 * j);
        }
    }
    p->result = sums[0][0] + sums[1][0] + sums[2][0] + sums[3][0] + sums[4][0] + sums[5][0] + sums[6][0] + sums[7][0];
    return NULL;
}

static void *fma_probe(void *argument) {
    probe *p = argument;
    lanes a = {0};
    lanes b = a + 1.0f + (float)p->rounds * 1e-30f;
    lanes sums[12];
    for (int j = 0; j < 12; j++) {
        sums[j] = a + (float)j;
    }
    for (int64_t i = 0; i < p->rounds; i++) {
#pragma GCC unroll 12
        for (int j = 0; j < 12; j++) {
            sums[j] = sums[j] * b + a;
        }
    }
    for (int j = 0; j < 12; j++) {
        p->result += sums[j][0];
    }
    return NULL;
}

#if defined(__AVX512VNNI__)
/* Twelve independent chains of byte dot products. */
static void *byte_probe(void *argument) {
    probe *p = argument;
    __m512i w = _mm512_set1_epi8((char)(p->rounds & 3));
    __m512i sums[12];
    for (int j = 0; j < 12; j++) {
        sums[j] = _mm512_set1_epi32(j);
    }
    for (int64_t i = 0; i < p->rounds; i++) {
#pragma GCC unroll 12
        for (int j = 0; j < 12; j++) {
            sums[j] = _mm512_dpbusd_epi32(sums[j], w, w);
        }
    }
    for (int j = 0; j < 12; j++) {
        p->result += (float)_mm512_reduce_add_epi32(sums[j]);
    }
    return NULL;
}
#endif

#if defined(__AVX512BF16__)
static void *bf16_probe(void *argument) {
    probe *p = argument;
    __m512bh w = (__m512bh)_mm512_set1_epi32((int)(p->rounds & 3));
    __m512 sums[12];
    for (int j = 0; j < 12; j++) {
        sums[j] = _mm512_set1_ps((float)j);
    }
    for (int64_t i = 0; i < p->rounds; i++) {
#pragma GCC unroll 12
        for (int j = 0; j < 12; j++) {
            sums[j] = _mm512_dpbf16_ps(sums[j], w, w);
        }
    }
    for (int j = 0; j < 12; j++) {
        p->result += _mm512_reduce_add_ps(sums[j]);
    }
    return NULL;
}
#endif

static double on_threads(int threads, void *(*run)(void *), probe *probes) {
    double start = now();
    if (threads == 1) {
        run(&probes[0]);
        return now() - start;
    }
    for (int i = 0; i < threads; i++) {
        pthread_create(&probes[i].handle, NULL, run, &probes[i]);
    }
    for (int i = 0; i < threads; i++) {
        pthread_join(probes[i].handle, NULL);
    }
    return now() - start;
}

static char *probe_data;
static const int64_t probe_bytes = 512 << 20;

static double read_gbs(int threads) {
    probe probes[64];
    for (int i = 0; i < threads; i++) {
        probes[i] = (probe){.data = probe_data + probe_bytes / threads * i, .bytes = probe_bytes / threads};
    }
    return (double)probe_bytes / on_threads(threads, read_probe, probes) * 1e-9;
}

/* The arithmetic that a format's products are made of. */
typedef struct arithmetic {
    const char *name;
    void *(*probe)(void *);
    int products; /* per instruction */
} arithmetic;

static arithmetic arithmetic_of(int32_t format) {
#if defined(__AVX512VNNI__)
    if (format >= MR_FORMAT_Q8_0) {
        return (arithmetic){"vpdpbusd", byte_probe, 64};
    }
#endif
#if defined(__AVX512BF16__)
    if (format == MR_FORMAT_BF16_PAIRS) {
        return (arithmetic){"vdpbf16ps", bf16_probe, 32};
    }
#endif
    (void)format;
    return (arithmetic){"FMA", fma_probe, 16};
}

static double peak_gops(int threads, arithmetic a) {
    probe probes[64];
    for (int i = 0; i < threads; i++) {
        probes[i] = (probe){.rounds = 4000000};
    }
    return 4e6 * 12 * a.products * 2 * threads / on_threads(threads, a.probe, probes) * 1e-9;
}

static mr_matrix matrix(int64_t rows, int64_t cols, int32_t extent) {
    mr_matrix m = {.data = mr_memory_allocate(rows * cols * 4), .rows = rows, .cols = cols, .extent = extent};
    for (int64_t i = 0; i < rows * cols; i++) {
        m.data[i] = (float)((i * 2654435761u >> 8) % 1000) * 1e-3f - 0.5f;
    }
    return m;
}

static int64_t source_bytes(int64_t elements, int32_t format) {
    static const int block_bytes[] = {[MR_FORMAT_Q8_0] = 34,  [MR_FORMAT_Q4_0] = 18,  [MR_FORMAT_Q4_1] = 20, [MR_FORMAT_Q5_0] = 22,
                                      [MR_FORMAT_Q4_K] = 144, [MR_FORMAT_Q5_K] = 176, [MR_FORMAT_Q6_K] = 210, [MR_FORMAT_Q5_1] = 24};
    return format == MR_FORMAT_F32 ? 4 * elements
           : format < MR_FORMAT_Q8_0 ? 2 * elements
                                     : elements / (format >= MR_FORMAT_Q4_K && format <= MR_FORMAT_Q6_K ? 256 : 32) * block_bytes[format];
}

static double packed_bytes;
static double pack_seconds;

static mr_weight weight(mr_team *team, int64_t out, int64_t in, int32_t format) {
    int64_t bytes = source_bytes(out * in, format);
    uint8_t *source = malloc((size_t)bytes);
    /* No byte pattern of F16, BF16 or F32 below is infinite or denormal: arithmetic takes its usual time. */
    for (int64_t i = 0; i < bytes; i++) {
        source[i] = (uint8_t)(0x30 | ((uint64_t)i * 2654435761u >> 13 & 0x8f));
    }
    void *packed = mr_memory_allocate(mr_packed_weight_bytes(out, in, format));
    double start = now();
    if (mr_pack_weight(team, packed, out, in, format, 0, out, source, format == MR_FORMAT_BF16_PAIRS ? MR_FORMAT_BF16 : format, 0) != MR_OK) {
        fprintf(stderr, "%s\n", mr_last_error(team));
        exit(1);
    }
    packed_bytes += (double)bytes;
    pack_seconds += now() - start;
    free(source);
    return (mr_weight){.data = packed, .out_features = out, .in_features = in, .format = format};
}

static int32_t counts[4];
static mr_batch batch;
static double seconds = 0.6;

/* Best time of one run of the program. */
static double best_of(mr_team *team, const mr_op *ops, int32_t n) {
    if (mr_program_prepare(team, ops, n, &batch) != MR_OK) {
        fprintf(stderr, "%s\n", mr_last_error(team));
        exit(1);
    }
    double best = 1e9;
    double end = now() + seconds;
    do {
        double start = now();
        mr_program_run(team, ops, n, &batch);
        double time = now() - start;
        best = time < best ? time : best;
    } while (now() < end);
    return best;
}

static const char *const names[] = {"F32", "F16", "BF16", NULL, "BF16_PAIRS", NULL, NULL, NULL, "Q8_0", "Q4_0", "Q4_1", "Q5_0", "Q4_K", "Q5_K", "Q6_K", "Q5_1"};

static void bench_linear(mr_team *team, int threads, int64_t in, int64_t out, int32_t format, int copies) {
    static const int rows[] = {1, 2, 4, 8, 16, 32, 128, 512};
    mr_op ops[16];
    mr_matrix x = matrix(512, in, MR_EXTENT_TOKENS);
    mr_matrix y = matrix(512, out, MR_EXTENT_TOKENS);
    packed_bytes = pack_seconds = 0;
    for (int i = 0; i < copies; i++) {
        memset(&ops[i], 0, sizeof ops[i]);
        ops[i].kind = MR_OP_LINEAR;
        ops[i].args.linear = (mr_linear_args){.x = x, .weight = weight(team, out, in, format), .out = y};
    }
    arithmetic a = arithmetic_of(format);
    double bytes = (double)(copies * mr_packed_weight_bytes(out, in, format));
    printf("linear %lld -> %lld %s, %.0f MB of weights, packed from memory into fresh pages at %.1f GB/s\n", (long long)in, (long long)out,
           names[format], bytes * 1e-6, packed_bytes / pack_seconds * 1e-9);
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        counts[0] = rows[i];
        double gbs = read_gbs(threads);
        double peak = peak_gops(threads, a);
        double time = best_of(team, ops, copies);
        double gbs_after = read_gbs(threads);
        double peak_after = peak_gops(threads, a);
        gbs = gbs > gbs_after ? gbs : gbs_after;
        peak = peak > peak_after ? peak : peak_after;
        double rate = bytes / time * 1e-9;
        double flops = 2.0 * rows[i] * (double)(copies * in * out) / time * 1e-9;
        printf("  rows %4d  %9.3f ms  %6.1f GB/s (%3.0f%% of read %5.1f)  %7.1f GOP/s (%3.0f%% of %s %5.0f)\n", rows[i], time * 1e3, rate,
               100 * rate / gbs, gbs, flops, 100 * flops / peak, a.name, peak);
    }
    for (int i = 0; i < copies; i++) {
        mr_memory_free((void *)ops[i].args.linear.weight.data, mr_packed_weight_bytes(out, in, format));
    }
    mr_memory_free(x.data, x.rows * x.cols * 4);
    mr_memory_free(y.data, y.rows * y.cols * 4);
}

/* The kind of attention to measure. */
typedef struct attention_shape {
    int32_t heads;
    int32_t kv_heads;
    int32_t dtype;
    int32_t bf16_products;
} attention_shape;

/* A step of `tokens` tokens of each of `sequences` contexts, over layers enough that their cache is in no cache of the processor. */
static void bench_attention(mr_team *team, int threads, attention_shape shape, int32_t sequences, int32_t tokens, int32_t context) {
    enum { D = 64, BLOCK = 16, MAX_LAYERS = 256 };
    int32_t blocks = (context + BLOCK - 1) / BLOCK;
    int64_t vector = shape.dtype == MR_KV_Q8_0 ? D + 2 * (D / 32) : shape.dtype == MR_F32 ? D * 4 : D * 2;
    int64_t layer_bytes = (int64_t)sequences * blocks * BLOCK * shape.kv_heads * vector;
    int32_t layers = (int32_t)((tokens > 1 ? 4 << 20 : 128 << 20) / layer_bytes) + 1;
    layers = layers > MAX_LAYERS ? MAX_LAYERS : layers;
    int64_t bytes = layers * layer_bytes;
    mr_kv_cache cache = {mr_memory_allocate(bytes), mr_memory_allocate(bytes), layers, sequences * blocks, BLOCK, shape.kv_heads, D, shape.dtype};
    for (int64_t i = 0; i < bytes; i++) {
        ((uint8_t *)cache.keys)[i] = ((uint8_t *)cache.values)[i] = (uint8_t)(0x30 | ((uint64_t)i * 2654435761u >> 13 & 0x8f));
    }
    int32_t *positions = malloc((size_t)(sequences * tokens) * 4);
    int32_t *table = malloc((size_t)(sequences * blocks) * 4);
    int32_t *start = malloc((size_t)(sequences + 1) * 4);
    for (int32_t i = 0; i < sequences * tokens; i++) {
        positions[i] = context - tokens + i % tokens;
    }
    for (int32_t i = 0; i < sequences * blocks; i++) {
        table[i] = i;
    }
    for (int32_t i = 0; i <= sequences; i++) {
        start[i] = i * tokens;
    }
    batch.positions = positions;
    batch.block_tables = table;
    batch.query_start = start;
    batch.max_blocks_per_sequence = blocks;
    counts[0] = sequences * tokens;
    counts[1] = sequences;
    static mr_op ops[MAX_LAYERS];
    mr_matrix qkv = matrix(sequences * tokens, (shape.heads + 2 * shape.kv_heads) * D, MR_EXTENT_TOKENS);
    mr_matrix out = matrix(sequences * tokens, shape.heads * D, MR_EXTENT_TOKENS);
    for (int32_t i = 0; i < layers; i++) {
        ops[i] = (mr_op){.kind = MR_OP_ATTENTION};
        ops[i].args.attention = (mr_attention_args){.qkv = qkv, .out = out, .cache = cache, .num_heads = shape.heads, .layer = i, .scale = 0.125f,
                                                    .bf16_products = shape.bf16_products};
    }
    arithmetic a = arithmetic_of(MR_FORMAT_F32);
    double gbs = read_gbs(threads);
    double peak = peak_gops(threads, a);
    double time = best_of(team, ops, layers);
    double gbs_after = read_gbs(threads);
    double peak_after = peak_gops(threads, a);
    gbs = gbs > gbs_after ? gbs : gbs_after;
    peak = peak > peak_after ? peak : peak_after;
    double pairs = 0;
    for (int32_t i = 0; i < sequences * tokens; i++) {
        pairs += positions[i] + 1;
    }
    double rate = 2.0 * (double)bytes / time * 1e-9;
    double flops = pairs * shape.heads * D * 4 * layers / time * 1e-9;
    printf("attention %2d/%d heads x 64, %s cache%s, %2d x %3d tokens of context %5d: %9.1f us a layer  %6.1f GB/s of cache (%3.0f%% of read %5.1f)"
           "  %6.1f GFLOP/s (%3.0f%% of FMA %5.0f)\n",
           shape.heads, shape.kv_heads, shape.dtype == MR_KV_Q8_0 ? "Q8_0" : names[shape.dtype], shape.bf16_products ? ", BF16 products" : "",
           sequences, tokens, context, time / layers * 1e6, rate, 100 * rate / gbs, gbs, flops, 100 * flops / peak, peak);
    mr_memory_free(qkv.data, qkv.rows * qkv.cols * 4);
    mr_memory_free(out.data, out.rows * out.cols * 4);
    mr_memory_free(cache.keys, bytes);
    mr_memory_free(cache.values, bytes);
    free(positions);
    free(table);
    free(start);
}

/* The shapes of Llama-3.2-1B and SmolLM-135M. */
static void bench_attentions(mr_team *team, int threads) {
    static const int32_t types[] = {MR_BF16, MR_F16, MR_KV_Q8_0, MR_F32};
    for (int large = 1; large >= 0; large--) {
        for (int i = -1; i < 4; i++) {
            if (i < 0 && !mr_has_bf16_dot(mr_team_isa(team))) {
                continue;
            }
            attention_shape shape = {large ? 32 : 9, large ? 8 : 3, i < 0 ? MR_BF16 : types[i], i < 0};
            bench_attention(team, threads, shape, 1, 512, 512);
            bench_attention(team, threads, shape, 1, 512, 4096);
            bench_attention(team, threads, shape, 1, 1, 128);
            bench_attention(team, threads, shape, 1, 1, 4096);
            bench_attention(team, threads, shape, 16, 1, 640);
        }
    }
}

/* Rows of the vocabularies of Llama 3 and SmolLM, with bell-shaped logits: flat, as an untrained model has them, and peaked. */
static void bench_sample(mr_team *team, int64_t vocab, int32_t rows, float spread, float temperature, int32_t top_k, float top_p) {
    enum { MAX_ROWS = 16 };
    static float temperatures[MAX_ROWS], top_ps[MAX_ROWS], min_ps[MAX_ROWS], ones[MAX_ROWS], logprobs[MAX_ROWS];
    static int32_t top_ks[MAX_ROWS], none[MAX_ROWS], targets[MAX_ROWS], tokens[MAX_ROWS], ranks[MAX_ROWS];
    static int64_t seeds[MAX_ROWS], absent[MAX_ROWS];
    mr_matrix logits = {.data = mr_memory_allocate(rows * vocab * 4), .rows = rows, .cols = vocab, .extent = MR_EXTENT_LOGIT_ROWS};
    uint32_t state = 1;
    for (int64_t i = 0; i < rows * vocab; i++) {
        float sum = 0.0f;
        for (int k = 0; k < 6; k++) {
            state = state * 1664525u + 1013904223u;
            sum += (float)(state >> 8) / 16777216.0f - 0.5f;
        }
        logits.data[i] = sum * spread;
    }
    for (int32_t r = 0; r < rows; r++) {
        temperatures[r] = temperature;
        top_ps[r] = top_p;
        top_ks[r] = top_k;
        ones[r] = 1.0f;
        targets[r] = -1;
        seeds[r] = r;
    }
    mr_batch saved = batch;
    batch = (mr_batch){.counts = counts, .temperature = temperatures, .top_k = top_ks, .top_p = top_ps, .min_p = min_ps,
                       .repetition_penalty = ones, .frequency_penalty = min_ps, .presence_penalty = min_ps, .seed = seeds, .draw_index = none,
                       .target = targets, .num_top = none, .history = absent, .history_len = none, .prompt_len = none, .bias_ids = absent,
                       .bias_values = absent, .bias_count = none, .suppress_ids = absent, .suppress_count = none, .allowed_mask = absent,
                       .token = tokens, .logprob = logprobs, .rank = ranks};
    counts[2] = rows;
    mr_op op = {.kind = MR_OP_SAMPLE, .args.sample = {logits}};
    double time = best_of(team, &op, 1);
    printf("sample %6lld logits x %2d rows, %s, temperature %.1f top-k %2d top-p %.2f: %8.1f us  %5.1f GB/s of logits\n", (long long)vocab, rows,
           spread > 4 ? "peaked" : "flat  ", (double)temperature, top_k, (double)top_p, time * 1e6, (double)(rows * vocab * 4) / time * 1e-9);
    counts[2] = 0;
    batch = saved;
    mr_memory_free(logits.data, rows * vocab * 4);
}

static void bench_samples(mr_team *team) {
    for (int large = 1; large >= 0; large--) {
        for (int32_t rows = 1; rows <= 16; rows += 15) {
            int64_t vocab = large ? 128256 : 49152;
            bench_sample(team, vocab, rows, 3.2f, 0.0f, 0, 1.0f);
            bench_sample(team, vocab, rows, 3.2f, 0.8f, 0, 1.0f);
            bench_sample(team, vocab, rows, 3.2f, 0.8f, 40, 0.95f);
            bench_sample(team, vocab, rows, 3.2f, 0.8f, 0, 0.95f);
            bench_sample(team, vocab, rows, 12.0f, 0.8f, 0, 0.95f);
        }
    }
}

static void bench_overhead(mr_team *team) {
    enum { OPS = 500 };
    static mr_op ops[OPS];
    mr_matrix a = matrix(1, 64, MR_EXTENT_TOKENS);
    mr_matrix b = matrix(1, 64, MR_EXTENT_TOKENS);
    for (int i = 0; i < OPS; i++) {
        ops[i].kind = MR_OP_ADD;
        ops[i].args.add = (mr_add_args){a, b};
    }
    counts[0] = 1;
    printf("hand-over from op to op: %.0f ns\n", best_of(team, ops, OPS) / OPS * 1e9);
}

int main(int argc, char **argv) {
    int threads = argc > 1 ? atoi(argv[1]) : 2;
    clock_id = threads == 1 ? CLOCK_THREAD_CPUTIME_ID : CLOCK_MONOTONIC;
    seconds = argc > 2 ? atof(argv[2]) : seconds;
    int32_t status;
    mr_team *team = mr_team_create(threads, argc > 3 ? atoi(argv[3]) : MR_ISA_AUTO, &status);
    if (team == NULL || threads > 64) {
        fprintf(stderr, "no team of %d threads: status %d\n", threads, (int)status);
        return 1;
    }
    probe_data = mr_memory_allocate(probe_bytes);
    memset(probe_data, 1, (size_t)probe_bytes);
    batch.counts = counts;
    printf("instruction set %d, %d threads, best of %.1f s each of %s time\n", (int)mr_team_isa(team), threads, seconds,
           threads == 1 ? "processor" : "wall-clock");
    bench_overhead(team);
    int only = argc > 4 ? atoi(argv[4]) : -1; /* one mr_format alone; 100: attention alone, 101: sampling alone */
    for (int32_t format = MR_FORMAT_F32; format <= MR_FORMAT_Q5_1; format++) {
        if (names[format] != NULL && (only < 0 || only == format) && (format != MR_FORMAT_BF16_PAIRS || mr_has_bf16_dot(mr_team_isa(team)))) {
            bench_linear(team, threads, 2048, 8192, format, format == MR_FORMAT_F32 ? 4 : 8);
        }
    }
    if (only < 0 || only == 100) {
        bench_attentions(team, threads);
    }
    if (only < 0 || only == 101) {
        bench_samples(team);
    }
    mr_memory_free(probe_data, probe_bytes);
    mr_team_destroy(team);
    return 0;
}

/*
 * bench [threads] [seconds per figure]: what the kernels reach, beside what this machine can do in the same minute. Every figure is the
 * best of rounds that alternate with the probes, so that a busy neighbour harms both alike. With one thread the clock is that thread's
 * processor time, which does not run while others have the core.
 */
#define _GNU_SOURCE
#include "millrace_cpu.h"

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

static double fma_gflops(int threads) {
    probe probes[64];
    for (int i = 0; i < threads; i++) {
        probes[i] = (probe){.rounds = 4000000};
    }
    return 4e6 * 12 * 16 * 2 * threads / on_threads(threads, fma_probe, probes) * 1e-9;
}

static mr_matrix matrix(int64_t rows, int64_t cols, int32_t extent) {
    mr_matrix m = {.data = mr_memory_allocate(rows * cols * 4), .rows = rows, .cols = cols, .extent = extent};
    for (int64_t i = 0; i < rows * cols; i++) {
        m.data[i] = (float)((i * 2654435761u >> 8) % 1000) * 1e-3f - 0.5f;
    }
    return m;
}

static mr_weight weight(mr_team *team, int64_t out, int64_t in, int32_t dtype) {
    int64_t bytes = dtype == MR_F32 ? 4 : 2;
    char *source = malloc((size_t)(out * in * bytes));
    for (int64_t i = 0; i < out * in; i++) {
        float value = (float)((i * 2654435761u >> 8) % 1000) * 1e-3f - 0.5f;
        uint32_t bits;
        memcpy(&bits, &value, 4);
        if (dtype == MR_F32) {
            ((uint32_t *)source)[i] = bits;
        } else {
            ((uint16_t *)source)[i] = dtype == MR_BF16 ? (uint16_t)(bits >> 16) : (uint16_t)(0x3000 + (i * 40503u & 0x7ff));
        }
    }
    void *packed = mr_memory_allocate(mr_packed_weight_bytes(out, in, dtype));
    double start = now();
    mr_pack_weight(team, packed, out, in, dtype, 0, out, source);
    if (getenv("VERBOSE") != NULL) {
        printf("pack %.2f GB/s\n", (double)(out * in * bytes) / (now() - start) * 1e-9);
    }
    free(source);
    return (mr_weight){.data = packed, .out_features = out, .in_features = in, .dtype = dtype};
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

static void bench_linear(mr_team *team, int threads, int64_t in, int64_t out, int32_t dtype, int copies) {
    static const char *names[] = {"F32", "F16", "BF16"};
    static const int rows[] = {1, 2, 4, 8, 12, 16, 32, 128, 512};
    int64_t bytes = dtype == MR_F32 ? 4 : 2;
    mr_op ops[16];
    mr_matrix x = matrix(512, in, MR_EXTENT_TOKENS);
    mr_matrix y = matrix(512, out, MR_EXTENT_TOKENS);
    for (int i = 0; i < copies; i++) {
        memset(&ops[i], 0, sizeof ops[i]);
        ops[i].kind = MR_OP_LINEAR;
        ops[i].args.linear = (mr_linear_args){.x = x, .weight = weight(team, out, in, dtype), .out = y};
    }
    printf("linear %lld -> %lld %s, %.0f MB of weights\n", (long long)in, (long long)out, names[dtype],
           (double)(copies * in * out * bytes) * 1e-6);
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        counts[0] = rows[i];
        double gbs = read_gbs(threads);
        double peak = fma_gflops(threads);
        double time = best_of(team, ops, copies);
        double gbs_after = read_gbs(threads);
        double peak_after = fma_gflops(threads);
        gbs = gbs > gbs_after ? gbs : gbs_after;
        peak = peak > peak_after ? peak : peak_after;
        double rate = (double)(copies * in * out * bytes) / time * 1e-9;
        double flops = 2.0 * rows[i] * (double)(copies * in * out) / time * 1e-9;
        printf("  rows %4d  %9.3f ms  %6.1f GB/s (%3.0f%% of read %5.1f)  %7.1f GFLOP/s (%3.0f%% of FMA %5.1f)\n", rows[i], time * 1e3, rate,
               100 * rate / gbs, gbs, flops, 100 * flops / peak, peak);
    }
    for (int i = 0; i < copies; i++) {
        mr_memory_free((void *)ops[i].args.linear.weight.data, mr_packed_weight_bytes(out, in, dtype));
    }
    mr_memory_free(x.data, x.rows * x.cols * 4);
    mr_memory_free(y.data, y.rows * y.cols * 4);
}

static void bench_attention(mr_team *team, int32_t tokens, int32_t context, int32_t dtype) {
    enum { H = 32, G = 8, D = 64, BLOCK = 16 };
    int32_t blocks = (context + BLOCK - 1) / BLOCK;
    int64_t elements = (int64_t)blocks * BLOCK * G * D;
    int64_t bytes = dtype == MR_F32 ? 4 : 2;
    mr_kv_cache cache = {mr_memory_allocate(elements * bytes), mr_memory_allocate(elements * bytes), 1, blocks, BLOCK, G, D, dtype};
    memset(cache.keys, 0x31, (size_t)(elements * bytes));
    memset(cache.values, 0x31, (size_t)(elements * bytes));
    int32_t *positions = malloc((size_t)tokens * 4);
    int32_t *table = malloc((size_t)blocks * 4);
    for (int32_t i = 0; i < tokens; i++) {
        positions[i] = context - tokens + i;
    }
    for (int32_t i = 0; i < blocks; i++) {
        table[i] = i;
    }
    int32_t start[2] = {0, tokens};
    batch.positions = positions;
    batch.block_tables = table;
    batch.query_start = start;
    batch.max_blocks_per_sequence = blocks;
    counts[0] = tokens;
    counts[1] = 1;
    mr_op op = {.kind = MR_OP_ATTENTION};
    op.args.attention = (mr_attention_args){.qkv = matrix(tokens, (H + 2 * G) * D, MR_EXTENT_TOKENS), .out = matrix(tokens, H * D, MR_EXTENT_TOKENS),
                                            .cache = cache, .num_heads = H, .scale = 0.125f};
    double time = best_of(team, &op, 1);
    double pairs = 0;
    for (int32_t i = 0; i < tokens; i++) {
        pairs += positions[i] + 1;
    }
    printf("attention %d of context %d, 32/8 heads x 64, %s cache: %.3f ms, %.1f GB/s of cache, %.1f GFLOP/s\n", tokens, context,
           dtype == MR_BF16 ? "BF16" : dtype == MR_F16 ? "F16" : "F32", time * 1e3, 2.0 * (double)(elements * bytes) / time * 1e-9,
           pairs * H * D * 4 / time * 1e-9);
    mr_memory_free(op.args.attention.qkv.data, tokens * (int64_t)(H + 2 * G) * D * 4);
    mr_memory_free(op.args.attention.out.data, tokens * (int64_t)H * D * 4);
    mr_memory_free(cache.keys, elements * bytes);
    mr_memory_free(cache.values, elements * bytes);
    free(positions);
    free(table);
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
    bench_linear(team, threads, 2048, 8192, MR_BF16, 8);
    if (argc <= 4) {
        bench_linear(team, threads, 2048, 8192, MR_F16, 8);
        bench_linear(team, threads, 2048, 8192, MR_F32, 4);
        bench_attention(team, 1, 4096, MR_BF16);
        bench_attention(team, 1, 4096, MR_F32);
        bench_attention(team, 512, 512, MR_BF16);
        bench_attention(team, 512, 4096, MR_BF16);
    }
    mr_memory_free(probe_data, probe_bytes);
    mr_team_destroy(team);
    return 0;
}

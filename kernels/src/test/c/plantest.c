/*
 * Programs whose ops do each other's work leave in memory what the same ops leave one by one, to the bit: for every kind of weight, odd and
 * even widths, 1, 2 and 17 rows, several numbers of threads, every instruction set; also where an op's memory is another's and doing two at
 * once would be wrong. And a run that fails spoils none that follows. Ends with 0 if all is well.
 */
#include "check.h"
#include "internal.h"

#include <string.h>

enum { ROWS = 17, HEADS = 6, KV_HEADS = 2, BLOCK = 16, POSITIONS = 600 };

/* All memory of a program, so that it can be compared as a whole. */
static struct {
    float *data;
    float *initial;
    float *fused;
    int64_t count;
} kept[32];
static int num_kept;

static float *floats(int64_t count) {
    CHECK(num_kept < 32);
    kept[num_kept].count = count;
    float **copies[] = {&kept[num_kept].data, &kept[num_kept].initial, &kept[num_kept].fused};
    for (int i = 0; i < 3; i++) {
        *copies[i] = aligned_alloc(64, (size_t)((count * 4 + 63) / 64 * 64));
        CHECK(*copies[i] != NULL);
    }
    for (int64_t i = 0; i < count; i++) {
        kept[num_kept].data[i] = uniform();
    }
    memcpy(kept[num_kept].initial, kept[num_kept].data, (size_t)count * 4);
    return kept[num_kept++].data;
}

static mr_matrix matrix(int64_t cols) { return (mr_matrix){.data = floats(ROWS * cols), .rows = ROWS, .cols = cols, .extent = MR_EXTENT_TOKENS}; }

static void *packed[16];
static int num_packed;

/* `other`: the second half in this format, as another link of the chain. */
static mr_weight *weight(mr_team *team, int64_t out, int64_t in, int32_t format, int32_t other) {
    static mr_weight links[16];
    CHECK(num_packed < 15);
    int32_t formats[2] = {format, other};
    for (int part = 0; part < (other >= 0 ? 2 : 1); part++) {
        int64_t rows = other >= 0 ? out / 2 : out;
        int32_t f = formats[part];
        float *values = malloc((size_t)(rows * in) * 4);
        void *quantised = malloc((size_t)(rows * in) * 4);
        for (int64_t i = 0; i < rows * in; i++) {
            values[i] = uniform() * 0.2f;
        }
        if (f >= MR_FORMAT_Q8_0) {
            CHECK(mr_quantize(team, f, MR_F32, values, rows, in, quantised) == MR_OK);
        }
        int64_t bytes = mr_packed_weight_bytes(rows, in, f);
        void *at = packed[num_packed] = aligned_alloc(64, (size_t)((bytes + 63) / 64 * 64));
        memset(at, 0, (size_t)bytes);
        CHECK(mr_pack_weight(team, at, rows, in, f, 0, rows, f >= MR_FORMAT_Q8_0 ? quantised : values, f >= MR_FORMAT_Q8_0 ? f : MR_FORMAT_F32, 0) == MR_OK);
        links[num_packed++] = (mr_weight){.data = at, .out_features = rows, .in_features = in, .format = f};
        free(values);
        free(quantised);
    }
    if (other >= 0) {
        links[num_packed - 2].next = &links[num_packed - 1];
        return &links[num_packed - 2];
    }
    return &links[num_packed - 1];
}

static void release(void) {
    for (int i = 0; i < num_kept; i++) {
        free(kept[i].data);
        free(kept[i].initial);
        free(kept[i].fused);
    }
    for (int i = 0; i < num_packed; i++) {
        free(packed[i]);
    }
    num_kept = num_packed = 0;
}

static int32_t bits_of(const mr_op *ops, int32_t n) {
    int32_t bits = 0;
    for (int32_t i = 0; i < n; i++) {
        bits |= ops[i].plan;
    }
    return bits;
}

/* `expected`: the plan bits that the program as a whole must have. */
static void compare(mr_team *team, mr_op *ops, int32_t n, mr_batch *batch, int32_t *counts, int32_t expected) {
    CHECK(mr_program_prepare(team, ops, n, batch) == MR_OK);
    CHECK(bits_of(ops, n) == expected);
    mr_op alone[32];
    CHECK(n <= 32);
    memcpy(alone, ops, (size_t)n * sizeof *ops);
    for (int32_t i = 0; i < n; i++) {
        alone[i].plan = 0;
    }
    static const int32_t rows[] = {1, 2, ROWS, 1};
    for (int r = 0; r < 4; r++) {
        counts[0] = counts[1] = rows[r];
        for (int fused = 1; fused >= 0; fused--) {
            for (int i = 0; i < num_kept; i++) {
                memcpy(kept[i].data, kept[i].initial, (size_t)kept[i].count * 4);
            }
            CHECK(mr_program_run(team, fused ? ops : alone, n, batch) == MR_OK);
            for (int i = 0; i < num_kept; i++) {
                if (fused) {
                    memcpy(kept[i].fused, kept[i].data, (size_t)kept[i].count * 4);
                } else {
                    CHECK(memcmp(kept[i].fused, kept[i].data, (size_t)kept[i].count * 4) == 0);
                }
            }
        }
    }
}

static mr_op linear(mr_matrix x, const mr_weight *w, const float *bias, mr_matrix out) {
    return (mr_op){.kind = MR_OP_LINEAR, .args.linear = {x, *w, bias, out}};
}
static mr_op norm(mr_matrix x, const float *w, mr_matrix out) {
    return (mr_op){.kind = MR_OP_RMS_NORM, .args.rms_norm = {x, w, out, 1e-5f, 0}};
}
static mr_op add_norm(mr_matrix residual, mr_matrix delta, const float *w, mr_matrix out) {
    return (mr_op){.kind = MR_OP_ADD_RMS_NORM, .args.add_rms_norm = {residual, delta, w, out, 1e-5f, 0}};
}
static mr_op add(mr_matrix residual, mr_matrix delta) { return (mr_op){.kind = MR_OP_ADD, .args.add = {residual, delta}}; }
static mr_op gate(mr_matrix gate_up, mr_matrix out, bool gelu) {
    return (mr_op){.kind = gelu ? MR_OP_GEGLU : MR_OP_SWIGLU, .args.swiglu = {gate_up, out}};
}

/* A layer of a decoder, with attention over contexts of different lengths. */
static void check_layer(mr_team *team, int32_t format, int32_t other, int64_t hidden, int64_t ffn, int64_t dim, int32_t context) {
    mr_matrix residual = matrix(hidden), delta = matrix(hidden), normed = matrix(hidden), gate_up = matrix(2 * ffn), gated = matrix(ffn);
    int64_t query = HEADS * dim;
    mr_matrix qkv = matrix((HEADS + 2 * KV_HEADS) * dim), attended = matrix(query);
    float *scale = floats(hidden), *bias = floats(qkv.cols), *cosine = floats(POSITIONS * dim / 2), *sine = floats(POSITIONS * dim / 2);
    int32_t blocks = POSITIONS / BLOCK + 1;
    int64_t cache_floats = (int64_t)ROWS * blocks * BLOCK * KV_HEADS * dim;
    mr_kv_cache cache = {floats(cache_floats), floats(cache_floats), 1, ROWS * blocks, BLOCK, KV_HEADS, (int32_t)dim, MR_F32};
    int32_t counts[4] = {0}, positions[ROWS], start[ROWS + 1], *tables = malloc((size_t)(ROWS * blocks) * 4);
    for (int32_t i = 0; i < ROWS * blocks; i++) {
        tables[i] = i;
    }
    for (int32_t i = 0; i <= ROWS; i++) {
        start[i] = i;
        positions[i < ROWS ? i : 0] = context + i % ROWS;
    }
    mr_batch batch = {.counts = counts, .positions = positions, .token_sequence = start, .query_start = start, .block_tables = tables,
                      .max_blocks_per_sequence = blocks};
    mr_op ops[] = {
        norm(residual, scale, normed),
        linear(normed, weight(team, qkv.cols, hidden, format, other), bias, qkv),
        {.kind = MR_OP_ROPE_AND_CACHE, .args.rope = {.qkv = qkv, .cosine = cosine, .sine = sine, .max_positions = POSITIONS, .cache = cache,
                                                     .rotary_dim = (int32_t)dim, .num_heads = HEADS}},
        {.kind = MR_OP_ATTENTION, .args.attention = {.qkv = qkv, .out = attended, .cache = cache, .num_heads = HEADS, .scale = 0.3f}},
        linear(attended, weight(team, hidden, query, format, other), NULL, delta),
        add_norm(residual, delta, scale, normed),
        linear(normed, weight(team, 2 * ffn, hidden, format, other), NULL, gate_up),
        gate(gate_up, gated, other >= 0),
        linear(gated, weight(team, hidden, ffn, format, other), NULL, delta),
        add(residual, delta),
    };
    compare(team, ops, 10, &batch, counts, MR_PLAN_MERGED | MR_PLAN_TAKES_BEFORE | MR_PLAN_ADD_AFTER | MR_PLAN_ADDED | MR_PLAN_WITH_NEXT);
    free(tables);
    release();
}

/* Ops that may do only part of each other's work, or none. */
static void check_aliases(mr_team *team, int32_t format, int64_t hidden) {
    int32_t counts[4] = {0};
    mr_batch batch = {.counts = counts};
    mr_matrix residual = matrix(hidden), delta = matrix(hidden), normed = matrix(hidden), other = matrix(hidden);
    float *scale = floats(hidden);
    mr_weight *w = weight(team, hidden, hidden, format, -1);
    /* A block beside the residual: what every thread normalizes for itself may not change meanwhile. */
    mr_op parallel[] = {norm(residual, scale, normed), linear(normed, w, NULL, delta), add(residual, delta)};
    compare(team, parallel, 3, &batch, counts, MR_PLAN_MERGED | MR_PLAN_TAKES_BEFORE);
    /* In place. */
    mr_op in_place[] = {norm(residual, scale, residual), linear(residual, w, NULL, delta), norm(delta, scale, delta), add_norm(residual, delta, scale, normed)};
    compare(team, in_place, 4, &batch, counts, 0);
    /* The norm's input is the linear's output; its output is read once more. */
    mr_op back[] = {norm(delta, scale, normed), linear(normed, w, NULL, delta), linear(normed, w, NULL, other), add_norm(residual, other, scale, other),
                    linear(other, w, NULL, delta), add_norm(other, delta, scale, normed)};
    compare(team, back, 6, &batch, counts, MR_PLAN_MERGED | MR_PLAN_TAKES_BEFORE | MR_PLAN_ADD_AFTER | MR_PLAN_ADDED);
    /* An addition that no linear has done, before one. */
    mr_op summed[] = {add_norm(residual, delta, scale, normed), linear(normed, w, NULL, other)};
    compare(team, summed, 2, &batch, counts, MR_PLAN_MERGED | MR_PLAN_TAKES_BEFORE);
    release();
}

/* A run that fails, at a moment that differs from thread to thread, leaves a team that works. */
static void check_failures(mr_team *team) {
    enum { TOKENS = 40, VOCAB = 50, WIDTH = 8 };
    int32_t counts[4] = {TOKENS, 1, 0, 0}, ids[TOKENS];
    mr_batch batch = {.counts = counts, .token_ids = ids};
    mr_matrix x = {.data = floats(TOKENS * WIDTH), .rows = TOKENS, .cols = WIDTH, .extent = MR_EXTENT_TOKENS};
    mr_matrix y = {.data = floats(TOKENS * WIDTH), .rows = TOKENS, .cols = WIDTH, .extent = MR_EXTENT_TOKENS};
    mr_op embed = {.kind = MR_OP_EMBED, .args.embed = {*weight(team, VOCAB, WIDTH, MR_FORMAT_F32, -1), x, 1.0f, 0}};
    mr_op ops[] = {add(y, x), embed, add(y, x), embed, add(x, y)};
    CHECK(mr_program_prepare(team, ops, 5, &batch) == MR_OK);
    for (int round = 0; round < 3000; round++) {
        for (int i = 0; i < TOKENS; i++) {
            ids[i] = i;
        }
        bool bad = round % 3 != 2;
        ids[round % TOKENS] = bad ? VOCAB : 1;
        CHECK(mr_program_run(team, ops, 5, &batch) == (bad ? MR_E_TOKEN_ID : MR_OK));
    }
    release();
}

int main(void) {
    int32_t mask = mr_isa_mask();
    for (int32_t isa = 0; isa < 8; isa++) {
        for (int32_t threads = 1; mask >> isa & 1 && threads <= 4; threads++) {
            int32_t status;
            mr_team *team = mr_team_create(threads, isa, &status);
            CHECK(team != NULL);
            check_layer(team, MR_FORMAT_F32, -1, 40, 51, 12, 30);
            check_layer(team, MR_FORMAT_Q8_0, -1, 96, 160, 16, 30);
            check_layer(team, MR_FORMAT_Q8_0, MR_FORMAT_F32, 576, 192, 32, 500); /* contexts of several segments */
            check_layer(team, MR_FORMAT_Q4_K, MR_FORMAT_Q6_K, 256, 512, 128, 250);
            check_layer(team, MR_FORMAT_Q4_0, -1, 2304, 1056, 16, 3);
            if (mr_has_bf16_dot(isa)) {
                check_layer(team, MR_FORMAT_BF16_PAIRS, -1, 41, 51, 12, 30);
                check_layer(team, MR_FORMAT_BF16_PAIRS, MR_FORMAT_Q8_0, 64, 96, 16, 30);
            }
            check_aliases(team, MR_FORMAT_F32, 45);
            check_aliases(team, MR_FORMAT_Q8_0, 96);
            check_failures(team);
            mr_team_destroy(team);
        }
    }
    printf("plantest: programs leave what their ops leave one by one\n");
    return 0;
}

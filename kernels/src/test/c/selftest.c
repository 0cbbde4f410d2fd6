#define _GNU_SOURCE
/*
 * A small decoder made of every op, run under the sanitizers on every instruction set: ragged batches of odd sizes, several thread counts,
 * all weight and cache types. Checks that a sequence's results have the same bits alone, in company, in chunks and with any number of
 * threads, and that bad batches are refused. Ends with 0 if all is well.
 */
#include "check.h"
#include "millrace_cpu.h"

#include <math.h>
#include <stdbool.h>
#include <string.h>
#include <time.h>

enum { HIDDEN = 40, HEADS = 6, KV_HEADS = 2, FFN = 50, VOCAB = 77, POSITIONS = 700, TOKENS = 640, SEQUENCES = 4, LOGITS = 4, TOP = 3 };
/* Head dimension: 12 goes the way of sizes that fit no vector, 32 and 48 that of those that do. */
static int DIM;
#define QKV ((HEADS + 2 * KV_HEADS) * DIM)

static float noise(void) { return uniform() * 0.6f; }

/* Exactly as large as needed, from malloc: the sanitizer sees one element too many. */
static float *floats(int64_t count) {
    float *p = malloc((size_t)count * sizeof *p);
    for (int64_t i = 0; i < count; i++) {
        p[i] = noise();
    }
    return p;
}

static mr_matrix matrix(int64_t rows, int64_t cols, int32_t extent) {
    return (mr_matrix){.data = floats(rows * cols), .rows = rows, .cols = cols, .extent = extent};
}

static mr_weight weight(mr_team *team, int64_t out, int64_t in, int32_t dtype) {
    int64_t bytes = dtype == MR_F32 ? 4 : 2;
    char *source = malloc((size_t)(out * in * bytes));
    for (int64_t i = 0; i < out * in; i++) {
        float value = noise();
        uint32_t bits;
        memcpy(&bits, &value, 4);
        uint16_t half = dtype == MR_BF16 ? (uint16_t)(bits >> 16) : (uint16_t)((bits >> 16 & 0x8000u) | (0x2800u + (state >> 20 & 0x7ffu)));
        memcpy(source + i * bytes, dtype == MR_F32 ? (void *)&bits : (void *)&half, (size_t)bytes);
    }
    void *packed = aligned_alloc(64, (size_t)((mr_packed_weight_bytes(out, in, dtype) + 63) / 64 * 64));
    memset(packed, 0, (size_t)mr_packed_weight_bytes(out, in, dtype));
    int64_t cut = out / 3; /* two parts, the seam inside a tile */
    CHECK(mr_pack_weight(team, packed, out, in, dtype, 0, cut, source, dtype, 0) == MR_OK);
    CHECK(mr_pack_weight(team, packed, out, in, dtype, cut, out - cut, source + cut * in * bytes, dtype, 0) == MR_OK);
    CHECK(mr_pack_weight(team, packed, out, in, dtype, cut, out, source, dtype, 0) == MR_E_ARGUMENT);
    free(source);
    return (mr_weight){.data = packed, .out_features = out, .in_features = in, .format = dtype};
}

/* Everything one configuration needs. */
typedef struct model {
    mr_op ops[14];
    mr_matrix hidden, normed, qkv, attended, projected, gate_up, activated, picked, logits;
    mr_batch batch;
    int32_t counts[4], token_ids[TOKENS], positions[TOKENS], token_sequence[TOKENS], query_start[SEQUENCES + 1], context_len[SEQUENCES];
    int32_t *tables, logit_rows[LOGITS];
    float temperature[LOGITS], top_p[LOGITS], min_p[LOGITS], repetition[LOGITS], frequency[LOGITS], presence[LOGITS];
    int32_t top_k[LOGITS], draw[LOGITS], target[LOGITS], num_top[LOGITS], history_len[LOGITS], prompt_len[LOGITS], bias_count[LOGITS],
        suppress_count[LOGITS];
    int64_t seed[LOGITS], history[LOGITS], bias_ids[LOGITS], bias_values[LOGITS], suppress_ids[LOGITS], mask[LOGITS];
    int32_t token[LOGITS], rank[LOGITS], top_ids[LOGITS * TOP];
    float logprob[LOGITS], top_logprobs[LOGITS * TOP];
    int32_t blocks_per_sequence;
    mr_kv_cache cache;
} model;

static void *pieces[64];
static int num_pieces;

static void *keep(void *p) {
    CHECK(num_pieces < 64);
    return pieces[num_pieces++] = p;
}

static void build(model *m, mr_team *team, int32_t dtype, int32_t cache_type, int32_t block_size) {
    memset(m, 0, sizeof *m);
    state = 7;
    m->blocks_per_sequence = (POSITIONS + block_size - 1) / block_size;
    int32_t blocks = m->blocks_per_sequence * SEQUENCES;
    int64_t vector = cache_type == MR_KV_Q8_0 ? DIM + 2 * ((DIM + 31) / 32) : DIM * (cache_type == MR_F32 ? 4 : 2);
    int64_t bytes = (int64_t)blocks * block_size * KV_HEADS * vector;
    m->cache = (mr_kv_cache){keep(malloc((size_t)bytes)), keep(malloc((size_t)bytes)), 1, blocks, block_size, KV_HEADS, DIM, cache_type};
    memset(m->cache.keys, 0xff, (size_t)bytes); /* NaN: what is not written must not be seen */
    memset(m->cache.values, 0xff, (size_t)bytes);
    m->tables = keep(malloc((size_t)blocks * 4));
    for (int32_t i = 0; i < blocks; i++) {
        m->tables[i] = (i * 7 + 3) % blocks;
    }
    if (blocks % 7 == 0) { /* 7 is no generator then */
        for (int32_t i = 0; i < blocks; i++) {
            m->tables[i] = blocks - 1 - i;
        }
    }
    m->hidden = matrix(TOKENS, HIDDEN, MR_EXTENT_TOKENS);
    m->normed = matrix(TOKENS, HIDDEN, MR_EXTENT_TOKENS);
    m->qkv = matrix(TOKENS, QKV, MR_EXTENT_TOKENS);
    m->attended = matrix(TOKENS, HEADS * DIM, MR_EXTENT_TOKENS);
    m->projected = matrix(TOKENS, HIDDEN, MR_EXTENT_TOKENS);
    m->gate_up = matrix(TOKENS, 2 * FFN, MR_EXTENT_TOKENS);
    m->activated = matrix(TOKENS, FFN, MR_EXTENT_TOKENS);
    m->picked = matrix(LOGITS, HIDDEN, MR_EXTENT_LOGIT_ROWS);
    m->logits = matrix(LOGITS, VOCAB, MR_EXTENT_LOGIT_ROWS);
    mr_matrix *all[] = {&m->hidden, &m->normed, &m->qkv, &m->attended, &m->projected, &m->gate_up, &m->activated, &m->picked, &m->logits};
    for (size_t i = 0; i < sizeof all / sizeof *all; i++) {
        keep(all[i]->data);
    }
    float *norm = keep(floats(HIDDEN + DIM)); /* for rows, and parts of it for heads and sinks */
    float *bias = keep(floats(QKV));
    int32_t rotary = DIM - 4;
    float *cosine = keep(floats(POSITIONS * rotary / 2));
    float *sine = keep(floats(POSITIONS * rotary / 2));
    mr_weight table = weight(team, VOCAB, HIDDEN, dtype);
    mr_weight qkv = weight(team, QKV, HIDDEN, dtype);
    mr_weight out = weight(team, HIDDEN, HEADS * DIM, dtype);
    mr_weight up = weight(team, 2 * FFN, HIDDEN, dtype);
    mr_weight down = weight(team, HIDDEN, FFN, dtype);
    const void *weights[] = {table.data, qkv.data, out.data, up.data, down.data};
    for (int i = 0; i < 5; i++) {
        keep((void *)weights[i]);
    }
    mr_op *op = m->ops;
    op->kind = MR_OP_EMBED, op++->args.embed = (mr_embed_args){table, m->hidden, 1.5f, 0};
    op->kind = MR_OP_RMS_NORM, op++->args.rms_norm = (mr_rms_norm_args){m->hidden, norm, m->normed, 1e-5f, 0};
    op->kind = MR_OP_LINEAR, op++->args.linear = (mr_linear_args){m->normed, qkv, bias, m->qkv};
    op->kind = MR_OP_ROPE_AND_CACHE, op++->args.rope = (mr_rope_args){m->qkv, cosine, sine, POSITIONS, m->cache, rotary, HEADS, .interleaved = block_size == 5,
                                                                                .query_norm = norm, .key_norm = norm + 7};
    op->kind = MR_OP_ATTENTION, op++->args.attention = (mr_attention_args){m->qkv, m->attended, m->cache, HEADS, .scale = 0.3f,
                                                                                    .soft_cap = block_size == 16 ? 2.0f : 0.0f,
                                                                                    .sinks = block_size == 32 ? norm : NULL,
                                                                                    .window = block_size == 5 ? 100 : 0,
                                                                                    .bf16_products = 1};
    op->kind = MR_OP_LINEAR, op++->args.linear = (mr_linear_args){m->attended, out, NULL, m->projected};
    op->kind = MR_OP_ADD_RMS_NORM, op++->args.add_rms_norm = (mr_add_rms_norm_args){m->hidden, m->projected, norm, m->normed, 1e-5f, 0};
    op->kind = MR_OP_LINEAR, op++->args.linear = (mr_linear_args){m->normed, up, NULL, m->gate_up};
    op->kind = dtype == MR_BF16 ? MR_OP_GEGLU : MR_OP_SWIGLU, op++->args.swiglu = (mr_swiglu_args){m->gate_up, m->activated};
    op->kind = MR_OP_LINEAR, op++->args.linear = (mr_linear_args){m->activated, down, NULL, m->projected};
    op->kind = MR_OP_ADD, op++->args.add = (mr_add_args){m->hidden, m->projected};
    op->kind = MR_OP_GATHER_LOGIT_ROWS, op++->args.gather = (mr_gather_args){m->hidden, m->picked};
    op->kind = MR_OP_LINEAR, op++->args.linear = (mr_linear_args){m->picked, table, NULL, m->logits};
    op->kind = MR_OP_SOFT_CAP, op++->args.soft_cap = (mr_soft_cap_args){m->logits, 5.0f, 0};
    m->batch = (mr_batch){m->counts, m->token_ids, m->positions, m->token_sequence, m->query_start, m->context_len, m->tables,
                          m->logit_rows, m->temperature, m->top_k, m->top_p, m->min_p, m->repetition, m->frequency, m->presence, m->seed,
                          m->draw, m->target, m->num_top, m->history, m->history_len, m->prompt_len, m->bias_ids, m->bias_values,
                          m->bias_count, m->suppress_ids, m->suppress_count, m->mask, m->token, m->logprob, m->rank, m->top_ids,
                          m->top_logprobs, TOKENS, SEQUENCES, m->blocks_per_sequence, LOGITS, TOP, 0, NULL, NULL, NULL};
    CHECK(mr_program_prepare(team, m->ops, 14, &m->batch) == MR_OK);
}

/* Sequence s is made of the tokens (s * 31 + position * 17) % VOCAB. Each call adds [from, to) of it to the batch. */
static void clear(model *m) { memset(m->counts, 0, sizeof m->counts); }

static void add(model *m, int32_t s, int32_t from, int32_t to) {
    int32_t slot = m->counts[1]++;
    /* Sequences keep their slots, so row `slot` of the block tables is theirs. */
    for (int32_t p = from; p < to; p++) {
        int32_t t = m->counts[0]++;
        m->token_ids[t] = (s * 31 + p * 17) % VOCAB;
        m->positions[t] = p;
        m->token_sequence[t] = slot;
    }
    m->query_start[slot] = m->counts[0] - (to - from);
    m->query_start[slot + 1] = m->counts[0];
    m->context_len[slot] = to;
    m->logit_rows[m->counts[2]++] = m->counts[0] - 1;
}

static void check_invariance(mr_team *team, int32_t dtype, int32_t cache_type, int32_t block_size) {
    static model m;
    build(&m, team, dtype, cache_type, block_size);
    enum { LENGTH = 601 };
    float whole[VOCAB];
    clear(&m);
    add(&m, 0, 0, LENGTH);
    CHECK(mr_program_run(team, m.ops, 14, &m.batch) == MR_OK);
    memcpy(whole, m.logits.data, sizeof whole);
    for (int i = 0; i < VOCAB; i++) {
        CHECK(isfinite(whole[i]));
    }
    /* In chunks of odd sizes, then one by one, in the company of another sequence. */
    static const int32_t cuts[] = {0, 1, 3, 60, 511, 512, 590, 591, 592, 600, LENGTH};
    for (size_t i = 0; i + 1 < sizeof cuts / sizeof *cuts; i++) {
        clear(&m);
        add(&m, 0, cuts[i], cuts[i + 1]);
        if (i % 2 == 1) {
            add(&m, 1, 0, 20);
        }
        CHECK(mr_program_run(team, m.ops, 14, &m.batch) == MR_OK);
    }
    CHECK(memcmp(whole, m.logits.data, sizeof whole) == 0);
    for (int i = 0; i < num_pieces; i++) {
        free(pieces[i]);
    }
    num_pieces = 0;
}

/* A chain of two formats and an embedding from it: the bits of a row are the same alone and in company; nothing is read out of bounds. */
static void check_format(mr_team *team, int32_t format) {
    enum { IN = 512, OUT = 45, NARROW = 7, ROWS = 250 };
    static const int block_bytes[] = {[MR_FORMAT_Q8_0] = 34,  [MR_FORMAT_Q4_0] = 18,  [MR_FORMAT_Q4_1] = 20, [MR_FORMAT_Q5_0] = 22,
                                      [MR_FORMAT_Q4_K] = 144, [MR_FORMAT_Q5_K] = 176, [MR_FORMAT_Q6_K] = 210, [MR_FORMAT_Q5_1] = 24};
    mr_weight second = weight(team, NARROW, IN, MR_F32);
    mr_weight first = {.next = &second, .out_features = OUT, .in_features = IN, .format = format};
    int64_t bytes = format == MR_FORMAT_BF16_PAIRS ? OUT * IN * 2 : OUT * IN / (format >= MR_FORMAT_Q4_K && format <= MR_FORMAT_Q6_K ? 256 : 32) * block_bytes[format];
    int32_t source_format = format == MR_FORMAT_BF16_PAIRS ? MR_FORMAT_BF16 : format;
    uint8_t *source = malloc((size_t)bytes);
    for (int64_t i = 0; i < bytes; i++) {
        noise();
        source[i] = (uint8_t)(0x30 | (state >> 16 & 0x8f)); /* finite as F16 and BF16 wherever a scale may lie */
    }
    int64_t packed_bytes = mr_packed_weight_bytes(OUT, IN, format);
    void *packed = aligned_alloc(64, (size_t)packed_bytes);
    memset(packed, 0, (size_t)packed_bytes);
    CHECK(mr_pack_weight(team, packed, OUT, IN, format, 0, OUT, source, source_format, 0) == MR_OK);
    if (format >= MR_FORMAT_Q8_0) {
        CHECK(mr_pack_weight(team, packed, OUT, IN + 16, format, 0, 1, source, format, 0) == MR_E_ARGUMENT);
    }
    free(source);
    first.data = packed;
    int32_t counts[4] = {ROWS, 1, 0, 0};
    int32_t ids[ROWS];
    for (int32_t i = 0; i < ROWS; i++) {
        ids[i] = i % (OUT + NARROW);
    }
    mr_batch batch = {.counts = counts, .token_ids = ids};
    mr_matrix x = matrix(ROWS, IN, MR_EXTENT_TOKENS);
    mr_matrix y = matrix(ROWS, OUT + NARROW, MR_EXTENT_TOKENS);
    mr_op ops[2] = {{.kind = MR_OP_EMBED, .args.embed = {first, x, 1.0f, 0}}, {.kind = MR_OP_LINEAR, .args.linear = {x, first, NULL, y}}};
    CHECK(mr_program_prepare(team, ops, 2, &batch) == MR_OK);
    CHECK(mr_program_run(team, ops, 2, &batch) == MR_OK);
    static float whole[ROWS * (OUT + NARROW)];
    memcpy(whole, y.data, sizeof whole);
    for (int32_t rows = 1; rows <= 14; rows++) {
        counts[0] = rows;
        CHECK(mr_program_run(team, ops, 2, &batch) == MR_OK);
        CHECK(memcmp(whole, y.data, (size_t)rows * (OUT + NARROW) * sizeof(float)) == 0);
    }
    for (int32_t i = 0; i < ROWS * (OUT + NARROW); i++) {
        CHECK(isfinite(whole[i]));
    }
    free((void *)first.data);
    free((void *)second.data);
    free(x.data);
    free(y.data);
}

/* Rows packed all at once give the bytes that rows packed one by one give, whatever the bits: two paths of pack.c. */
static void check_pack(mr_team *team, int32_t format, int32_t source_format, int64_t in) {
    enum { OUT = 70 };
    static const int block_bytes[] = {[MR_FORMAT_F32] = 4,   [MR_FORMAT_F16] = 2,   [MR_FORMAT_BF16] = 2,  [MR_FORMAT_Q8_0] = 34,
                                      [MR_FORMAT_Q4_0] = 18, [MR_FORMAT_Q4_1] = 20, [MR_FORMAT_Q5_0] = 22, [MR_FORMAT_Q4_K] = 144,
                                      [MR_FORMAT_Q5_K] = 176, [MR_FORMAT_Q6_K] = 210, [MR_FORMAT_Q5_1] = 24};
    int64_t row_bytes = in / (source_format >= MR_FORMAT_Q4_K && source_format <= MR_FORMAT_Q6_K ? 256 : source_format >= MR_FORMAT_Q8_0 ? 32 : 1) * block_bytes[source_format];
    uint8_t *source = malloc((size_t)(OUT * row_bytes));
    for (int64_t i = 0; i < OUT * row_bytes; i++) {
        noise();
        source[i] = (uint8_t)(i % 7 == 0 ? 0xff : state >> 16); /* infinities and NaNs among them */
    }
    int64_t bytes = mr_packed_weight_bytes(OUT, in, format);
    char *whole = aligned_alloc(64, (size_t)bytes);
    char *pieces_of = aligned_alloc(64, (size_t)bytes);
    memset(whole, 0, (size_t)bytes);
    memset(pieces_of, 0, (size_t)bytes);
    CHECK(mr_pack_weight(team, whole, OUT, in, format, 0, OUT, source, source_format, 0) == MR_OK);
    for (int64_t n = 0; n < OUT; n++) {
        CHECK(mr_pack_weight(team, pieces_of, OUT, in, format, n, 1, source + n * row_bytes, source_format, 0) == MR_OK);
    }
    CHECK(memcmp(whole, pieces_of, (size_t)bytes) == 0);
    free(source);
    free(whole);
    free(pieces_of);
}

/*
 * A weight that is packed later ends with the bytes of one that is packed at once, and a program that meets it in any state gives the same
 * results: rows in order and in pairs, seams inside tiles, an edge tile, few rows and many. Pairs are checked against rows put in order by hand.
 */
static void check_deferred(mr_team *team, int32_t format, int32_t source_format, bool steps) {
    enum { IN = 512, WIDE = 1024, ODD = 96, REST = 21, OUT = WIDE + ODD + REST, ROWS = 40, PARTS = 3 };
    static const int block_bytes[] = {[MR_FORMAT_F32] = 4,   [MR_FORMAT_F16] = 2,   [MR_FORMAT_BF16] = 2,  [MR_FORMAT_Q8_0] = 34,
                                      [MR_FORMAT_Q4_0] = 18, [MR_FORMAT_Q4_1] = 20, [MR_FORMAT_Q5_0] = 22, [MR_FORMAT_Q4_K] = 144,
                                      [MR_FORMAT_Q5_K] = 176, [MR_FORMAT_Q6_K] = 210, [MR_FORMAT_Q5_1] = 24};
    static const int64_t rows_of[PARTS] = {WIDE, ODD, REST};
    static const int32_t pairs_of[PARTS] = {64, 12, 0};
    int64_t row_bytes = IN / (source_format >= MR_FORMAT_Q4_K && source_format <= MR_FORMAT_Q6_K ? 256 : source_format >= MR_FORMAT_Q8_0 ? 32 : 1)
                        * block_bytes[source_format];
    uint8_t *source = malloc((size_t)(OUT * row_bytes));
    uint8_t *ordered = malloc((size_t)(OUT * row_bytes));
    for (int64_t i = 0; i < OUT * row_bytes; i++) {
        noise();
        source[i] = (uint8_t)(0x30 | (state >> 16 & 0x8f)); /* finite wherever a scale may lie */
    }
    int64_t bytes = mr_packed_weight_bytes(OUT, IN, format);
    char *packed[3];
    for (int i = 0; i < 3; i++) {
        packed[i] = aligned_alloc(64, (size_t)((bytes + 63) / 64 * 64));
        memset(packed[i], 0, (size_t)bytes);
    }
    int64_t before = mr_bytes_to_pack(team);
    int32_t number = mr_defer_weight(team, packed[2], OUT, IN, format);
    CHECK(number > 0 && mr_bytes_to_pack(team) == before + bytes);
    for (int64_t p = 0, first = 0; p < PARTS; first += rows_of[p++]) {
        const uint8_t *part = source + first * row_bytes;
        for (int64_t n = 0; n < rows_of[p]; n++) {
            int64_t i = pairs_of[p] == 0 ? 0 : n % pairs_of[p];
            int64_t half = pairs_of[p] / 2;
            int64_t from = pairs_of[p] == 0 ? n : n - i + (i < half ? 2 * i : 2 * (i - half) + 1);
            memcpy(ordered + (first + n) * row_bytes, part + from * row_bytes, (size_t)row_bytes);
        }
        CHECK(mr_pack_weight(team, packed[1], OUT, IN, format, first, rows_of[p], part, source_format, pairs_of[p]) == MR_OK);
        CHECK(mr_defer_rows(team, number, first, rows_of[p], part, source_format, pairs_of[p]) == MR_OK);
        CHECK(mr_defer_rows(team, number, first, rows_of[p], part, source_format, 7) == MR_E_ARGUMENT);
        CHECK(mr_defer_rows(team, number, first, OUT + 1, part, source_format, 0) == MR_E_ARGUMENT);
    }
    CHECK(mr_defer_rows(team, number + 1, 0, 1, source, source_format, 0) == MR_E_ARGUMENT);
    CHECK(mr_pack_weight(team, packed[0], OUT, IN, format, 0, OUT, ordered, source_format, 0) == MR_OK);
    CHECK(memcmp(packed[0], packed[1], (size_t)bytes) == 0);

    int32_t counts[4] = {ROWS, 1, 0, 0};
    int32_t ids[ROWS];
    for (int32_t i = 0; i < ROWS; i++) {
        ids[i] = (i * 37 + 1100) % OUT;
    }
    mr_batch batch = {.counts = counts, .token_ids = ids};
    mr_matrix x = matrix(ROWS, IN, MR_EXTENT_TOKENS);
    mr_matrix y = matrix(ROWS, OUT, MR_EXTENT_TOKENS);
    mr_weight now = {.data = packed[0], .out_features = OUT, .in_features = IN, .format = format};
    mr_op ops[2] = {{.kind = MR_OP_EMBED, .args.embed = {now, x, 1.0f, 0}}, {.kind = MR_OP_LINEAR, .args.linear = {x, now, NULL, y}}};
    CHECK(mr_program_prepare(team, ops, 2, &batch) == MR_OK);
    CHECK(mr_program_run(team, ops, 2, &batch) == MR_OK);
    static float expected[ROWS * OUT];
    memcpy(expected, y.data, sizeof expected);
    mr_weight later = {.data = packed[2], .out_features = OUT, .in_features = IN, .format = format, .deferred = number};
    ops[0].args.embed.table = later;
    ops[1].args.linear.weight = later;
    CHECK(mr_program_prepare(team, ops, 2, &batch) == MR_OK);
    for (int round = 0; mr_bytes_to_pack(team) > 0 || round < 3; round++) {
        CHECK(round < 100);
        if (steps || round % 3 == 0) {
            counts[0] = round % 2 == 0 ? 1 : ROWS;
            memset(y.data, 0xff, sizeof expected);
            CHECK(mr_program_run(team, ops, 2, &batch) == MR_OK);
            CHECK(memcmp(expected, y.data, (size_t)counts[0] * OUT * sizeof(float)) == 0);
        } else {
            int64_t left = mr_bytes_to_pack(team);
            CHECK(mr_pack_some(team, 10000) <= left - (left < 10000 ? left : 10000));
        }
    }
    CHECK(mr_pack_some(team, 1) == 0);
    memset(source, 0xff, (size_t)(OUT * row_bytes)); /* nobody reads it any more */
    counts[0] = ROWS;
    CHECK(mr_program_run(team, ops, 2, &batch) == MR_OK);
    CHECK(memcmp(expected, y.data, sizeof expected) == 0);
    CHECK(memcmp(packed[0], packed[2], (size_t)bytes) == 0);
    free(source);
    free(ordered);
    for (int i = 0; i < 3; i++) {
        free(packed[i]);
    }
    free(x.data);
    free(y.data);
}

/* A weight that is packed later from F32, of the bits `bits` throughout. */
static mr_weight deferred(mr_team *team, int64_t out, int64_t in, int32_t format, uint32_t bits) {
    int64_t bytes = mr_packed_weight_bytes(out, in, format);
    uint32_t *source = keep(malloc((size_t)(out * in * 4)));
    for (int64_t i = 0; i < out * in; i++) {
        source[i] = bits;
    }
    char *packed = keep(aligned_alloc(64, (size_t)((bytes + 63) / 64 * 64)));
    memset(packed, 0, (size_t)bytes);
    int32_t number = mr_defer_weight(team, packed, out, in, format);
    CHECK(number > 0 && mr_defer_rows(team, number, 0, out, source, MR_FORMAT_F32, 0) == MR_OK);
    return (mr_weight){.data = packed, .out_features = out, .in_features = in, .format = format, .deferred = number};
}

/* A table that steps only look rows up in is packed by them all the same. */
static void check_deferred_table(mr_team *team) {
    enum { IDS = 2000, WIDTH = 72 };
    mr_weight table = deferred(team, IDS, WIDTH, MR_FORMAT_F32, 0x3f800000u);
    int32_t counts[4] = {1, 1, 0, 0}, id = IDS - 1;
    mr_batch batch = {.counts = counts, .token_ids = &id};
    mr_matrix x = matrix(1, WIDTH, MR_EXTENT_TOKENS);
    keep(x.data);
    mr_op op = {.kind = MR_OP_EMBED, .args.embed = {table, x, 1.0f, 0}};
    CHECK(mr_program_prepare(team, &op, 1, &batch) == MR_OK);
    for (int step = 0; mr_bytes_to_pack(team) > 0; step++) {
        CHECK(step < 17);
        CHECK(mr_program_run(team, &op, 1, &batch) == MR_OK && x.data[WIDTH - 1] == 1.0f);
    }
    CHECK(((const float *)table.data)[0] == 1.0f);
    while (num_pieces > 0) {
        free(pieces[--num_pieces]);
    }
}

/* Past the last k of an odd width is zero, not what the thread's memory holds of the tile before: here NaN. */
static void check_deferred_odd(mr_team *team) {
    enum { OUT = 4000, WIDTH = 41 };
    mr_weight before = deferred(team, OUT, WIDTH, MR_FORMAT_F32, 0xffffffffu);
    mr_weight odd = deferred(team, OUT, WIDTH, MR_FORMAT_BF16_PAIRS, 0x3f800000u);
    int32_t counts[4] = {1, 1, 0, 0};
    mr_batch batch = {.counts = counts};
    mr_matrix x = matrix(1, WIDTH, MR_EXTENT_TOKENS);
    mr_matrix y = matrix(1, OUT, MR_EXTENT_TOKENS);
    mr_matrix z = matrix(1, OUT, MR_EXTENT_TOKENS);
    keep(x.data), keep(y.data), keep(z.data);
    mr_op ops[2] = {{.kind = MR_OP_LINEAR, .args.linear = {x, before, NULL, y}}, {.kind = MR_OP_LINEAR, .args.linear = {x, odd, NULL, z}}};
    CHECK(mr_program_prepare(team, ops, 2, &batch) == MR_OK);
    do {
        CHECK(mr_program_run(team, ops, 2, &batch) == MR_OK);
        for (int i = 0; i < OUT; i++) {
            CHECK(isfinite(z.data[i]) && z.data[i] == z.data[0]);
        }
    } while (mr_bytes_to_pack(team) > 0);
    while (num_pieces > 0) {
        free(pieces[--num_pieces]);
    }
}

static void check_sampling(mr_team *team) {
    static model m;
    build(&m, team, MR_F32, MR_F32, 16);
    mr_op sample = {.kind = MR_OP_SAMPLE, .args.sample = {m.logits}};
    CHECK(mr_program_prepare(team, &sample, 1, &m.batch) == MR_OK);
    int32_t *history = keep(malloc(6 * 4));
    memcpy(history, (int32_t[]){1, 2, 2, 76, 2, 9999}, 24);
    float *values = keep(malloc(4));
    *values = 3.0f;
    uint32_t *mask = keep(malloc(12));
    memset(mask, 0x5a, 12);
    m.counts[2] = LOGITS;
    for (int round = 0; round < 200; round++) {
        for (int r = 0; r < LOGITS; r++) {
            m.temperature[r] = r == 0 ? 0.0f : 0.2f + noise() * noise();
            m.top_k[r] = round % 5 * 4;
            m.top_p[r] = 1.0f - (float)(round % 7) * 0.2f;
            m.min_p[r] = (float)(round % 3) * 0.3f;
            m.repetition[r] = 1.0f + (float)(round % 2) * 0.2f;
            m.seed[r] = round;
            m.target[r] = r == 3 && round % 2 ? 5 : -1;
            m.num_top[r] = round % 5;
            m.history[r] = (int64_t)(uintptr_t)history;
            m.history_len[r] = 6;
            m.prompt_len[r] = 2;
            m.bias_ids[r] = (int64_t)(uintptr_t)history;
            m.bias_values[r] = (int64_t)(uintptr_t)values;
            m.bias_count[r] = r % 2;
            m.suppress_ids[r] = (int64_t)(uintptr_t)history;
            m.suppress_count[r] = r == 2 ? 2 : 0;
            m.mask[r] = round % 4 == 3 ? (int64_t)(uintptr_t)mask : 0;
            for (int i = 0; i < VOCAB; i++) {
                m.logits.data[r * VOCAB + i] = round % 9 == 8 ? (i % 5 ? NAN : -INFINITY) : noise() * 20;
            }
        }
        CHECK(mr_program_run(team, &sample, 1, &m.batch) == MR_OK);
        for (int r = 0; r < LOGITS; r++) {
            CHECK(m.token[r] >= 0 && m.token[r] < VOCAB && m.rank[r] >= 1 && m.rank[r] <= VOCAB);
        }
    }
    m.target[0] = VOCAB;
    CHECK(mr_program_run(team, &sample, 1, &m.batch) == MR_E_TOKEN_ID);
    m.target[0] = -1;

    clear(&m);
    add(&m, 0, 0, 30);
    m.token_ids[4] = VOCAB;
    CHECK(mr_program_run(team, m.ops, 14, &m.batch) == MR_E_TOKEN_ID);
    m.token_ids[4] = 1;
    int32_t block = m.tables[1];
    m.tables[1] = 1 << 30;
    CHECK(mr_program_run(team, m.ops, 14, &m.batch) == MR_E_BLOCK);
    m.tables[1] = block;
    m.positions[29] = POSITIONS;
    CHECK(mr_program_run(team, m.ops, 14, &m.batch) == MR_E_POSITION);
    clear(&m);
    CHECK(mr_program_run(team, m.ops, 14, &m.batch) == MR_OK);
    mr_op unknown = {.kind = 99};
    CHECK(mr_program_prepare(team, &unknown, 1, &m.batch) == MR_E_ARGUMENT);
    for (int i = 0; i < num_pieces; i++) {
        free(pieces[i]);
    }
    num_pieces = 0;
}

static double seconds_of(clockid_t clock) {
    struct timespec t;
    clock_gettime(clock, &t);
    return (double)t.tv_sec + 1e-9 * (double)t.tv_nsec;
}

/* A team without work takes no processor time, bound or not; a bound one computes the same. */
static void check_idleness(void) {
    int32_t status;
    mr_team *team = mr_team_create(4, MR_ISA_AUTO, &status);
    CHECK(team != NULL);
    int32_t counts[4] = {100, 1, 0, 0};
    mr_batch batch = {.counts = counts};
    mr_matrix a = matrix(100, 64, MR_EXTENT_TOKENS);
    mr_matrix b = matrix(100, 64, MR_EXTENT_TOKENS);
    mr_op op = {.kind = MR_OP_ADD, .args.add = {a, b}};
    CHECK(mr_program_prepare(team, &op, 1, &batch) == MR_OK);
    for (int bound = 0; bound < 2; bound++) {
        for (int i = 0; i < 100; i++) {
            CHECK(mr_program_run(team, &op, 1, &batch) == MR_OK);
        }
        nanosleep(&(struct timespec){0, 50000000}, NULL);
        double before = seconds_of(CLOCK_PROCESS_CPUTIME_ID);
        nanosleep(&(struct timespec){0, 300000000}, NULL);
        CHECK(seconds_of(CLOCK_PROCESS_CPUTIME_ID) - before < 0.003);
        int32_t cpu = 0; /* all on one: nobody may wait for a thread that waits for the processor */
#if defined(__linux__)
        CHECK(mr_team_bind(team, &cpu, 1) == MR_OK || mr_last_error(team)[0] != 0);
#endif
    }
    int32_t absent = 1 << 20;
    CHECK(mr_team_bind(team, &absent, 1) == MR_E_ARGUMENT);
    CHECK(mr_program_run(team, &op, 1, &batch) == MR_OK);
    free(a.data);
    free(b.data);
    mr_team_destroy(team);
}

int main(void) {
    check_idleness();
    int32_t mask = mr_isa_mask();
    for (int32_t isa = 0; isa < 8; isa++) {
        if (!(mask >> isa & 1)) {
            continue;
        }
        for (int32_t threads = 1; threads <= 3; threads++) {
            int32_t status;
            mr_team *team = mr_team_create(threads, isa, &status);
            CHECK(team != NULL && status == MR_OK);
            for (int32_t dtype = MR_F32; dtype <= MR_BF16; dtype++) {
                DIM = dtype == MR_F32 ? 32 : dtype == MR_F16 ? 12 : 48;
                for (int32_t cache = MR_F32; cache <= MR_KV_Q8_0; cache = cache == MR_BF16 ? MR_KV_Q8_0 : cache + 1) {
                    check_invariance(team, dtype, cache, threads == 2 ? 16 : threads == 1 && cache % 2 == 0 ? 5 : 32);
                }
            }
            for (int32_t format = MR_FORMAT_BF16_PAIRS; format <= MR_FORMAT_Q5_1; format++) {
                if (format >= MR_FORMAT_Q8_0 || (format == MR_FORMAT_BF16_PAIRS && mr_has_bf16_dot(isa))) {
                    check_format(team, format);
                }
            }
            for (int32_t format = MR_FORMAT_F32; format <= MR_FORMAT_Q5_1; format++) {
                if (format >= MR_FORMAT_Q8_0) {
                    check_pack(team, format, format, 768);
                    check_deferred(team, format, format, format % 2 == 0);
                } else if (format <= MR_FORMAT_BF16) {
                    check_pack(team, format, format, 101);
                    check_deferred(team, format, format, threads % 2 == 0);
                    if (mr_has_bf16_dot(isa)) {
                        check_pack(team, MR_FORMAT_BF16_PAIRS, format, 101);
                        check_deferred(team, MR_FORMAT_BF16_PAIRS, format, threads % 2 == 1);
                    }
                }
            }
            check_deferred_table(team);
            if (mr_has_bf16_dot(isa)) {
                check_deferred_odd(team);
            }
            check_sampling(team);
            mr_team_destroy(team);
        }
        printf("selftest: instruction set %d is well\n", (int)isa);
    }
    int32_t status = 0;
    CHECK(mr_team_create(0, MR_ISA_AUTO, &status) == NULL && status == MR_E_ARGUMENT);
    CHECK(mr_team_create(1, 77, &status) == NULL && status == MR_E_ISA);
    return 0;
}

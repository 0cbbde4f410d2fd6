#define _GNU_SOURCE
/*
 * A small decoder made of every op, run under the sanitizers on every instruction set: ragged batches of odd sizes, several thread counts,
 * all weight and cache types. Checks that a sequence's results have the same bits alone, in company, in chunks and with any number of
 * threads, and that bad batches are refused. Ends with 0 if all is well.
 */
#include "material.h"

#include <math.h>
#include <stdbool.h>
#include <time.h>

enum { HIDDEN = 40, HEADS = 6, KV_HEADS = 2, FFN = 50, VOCAB = 77, POSITIONS = 700, TOKENS = 640, SEQUENCES = 4, LOGITS = 4, TOP = 3 };
/* Head dimension: 12 goes the way of sizes that fit no vector, 32 and 48 that of those that do. */
static int DIM;
#define QKV ((HEADS + 2 * KV_HEADS) * DIM)

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
    free_pieces();
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
    free_pieces();
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

static void check(mr_team *team, int32_t isa, int32_t threads) {
    (void)isa;
    for (int32_t dtype = MR_F32; dtype <= MR_BF16; dtype++) {
        DIM = dtype == MR_F32 ? 32 : dtype == MR_F16 ? 12 : 48;
        for (int32_t cache = MR_F32; cache <= MR_KV_Q8_0; cache = cache == MR_BF16 ? MR_KV_Q8_0 : cache + 1) {
            check_invariance(team, dtype, cache, threads == 2 ? 16 : threads == 1 && cache % 2 == 0 ? 5 : 32);
        }
    }
    check_sampling(team);
}

int main(void) {
    check_idleness();
    on_every_team("selftest", check);
    int32_t status = 0;
    CHECK(mr_team_create(0, MR_ISA_AUTO, &status) == NULL && status == MR_E_ARGUMENT);
    CHECK(mr_team_create(1, 77, &status) == NULL && status == MR_E_ISA);
    return 0;
}

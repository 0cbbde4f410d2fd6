#define _GNU_SOURCE
/*
 * Weights of every format on every instruction set: packed at once, row by row and while programs run, read by the embedding and by linears
 * of one row and of many. Run under the sanitizers. Ends with 0 if all is well.
 */
#include "material.h"

#include <math.h>
#include <stdbool.h>

/* A chain of two formats and an embedding from it: the bits of a row are the same alone and in company; nothing is read out of bounds. */
static void check_format(mr_team *team, int32_t format) {
    enum { IN = 512, OUT = 45, NARROW = 7, ROWS = 250 };
    mr_weight second = weight(team, NARROW, IN, MR_F32);
    mr_weight first = {.next = &second, .out_features = OUT, .in_features = IN, .format = format};
    int32_t source_format = format == MR_FORMAT_BF16_PAIRS ? MR_FORMAT_BF16 : format;
    int64_t bytes = OUT * row_bytes_of(source_format, IN);
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
    for (int32_t rows = 1; rows <= 34; rows++) {
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
    int64_t row_bytes = row_bytes_of(source_format, in);
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
    static const int64_t rows_of[PARTS] = {WIDE, ODD, REST};
    static const int32_t pairs_of[PARTS] = {64, 12, 0};
    int64_t row_bytes = row_bytes_of(source_format, IN);
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
    free_pieces();
}

/* Past the last k of an odd width is zero, not what the thread's memory holds of the tile before: here NaN. And rows are the same alone. */
static void check_deferred_odd(mr_team *team) {
    enum { OUT = 4000, WIDTH = 41, ROWS = 40 };
    mr_weight before = deferred(team, OUT, WIDTH, MR_FORMAT_F32, 0xffffffffu);
    mr_weight odd = deferred(team, OUT, WIDTH, MR_FORMAT_BF16_PAIRS, 0x3f800000u);
    int32_t counts[4] = {1, 1, 0, 0};
    mr_batch batch = {.counts = counts};
    mr_matrix x = matrix(ROWS, WIDTH, MR_EXTENT_TOKENS);
    mr_matrix y = matrix(ROWS, OUT, MR_EXTENT_TOKENS);
    mr_matrix z = matrix(ROWS, OUT, MR_EXTENT_TOKENS);
    keep(x.data), keep(y.data), keep(z.data);
    mr_op ops[2] = {{.kind = MR_OP_LINEAR, .args.linear = {x, before, NULL, y}}, {.kind = MR_OP_LINEAR, .args.linear = {x, odd, NULL, z}}};
    CHECK(mr_program_prepare(team, ops, 2, &batch) == MR_OK);
    do {
        CHECK(mr_program_run(team, ops, 2, &batch) == MR_OK);
        for (int i = 0; i < OUT; i++) {
            CHECK(isfinite(z.data[i]) && z.data[i] == z.data[0]);
        }
    } while (mr_bytes_to_pack(team) > 0);
    float together[ROWS];
    counts[0] = ROWS;
    CHECK(mr_program_run(team, ops, 2, &batch) == MR_OK);
    for (int r = 0; r < ROWS; r++) {
        together[r] = z.data[r * OUT + r];
        CHECK(z.data[r * OUT] == together[r]);
    }
    counts[0] = 1;
    for (int r = 0; r < ROWS; r++) {
        memmove(x.data, x.data + r * WIDTH, WIDTH * sizeof(float));
        CHECK(mr_program_run(team, ops, 2, &batch) == MR_OK && z.data[0] == together[r]);
    }
    free_pieces();
}

static void check(mr_team *team, int32_t isa, int32_t threads) {
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
}

int main(void) {
    on_every_team("packtest", check);
    return 0;
}

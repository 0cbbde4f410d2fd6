#define _GNU_SOURCE
/*
 * Linears so wide that K is cut into several blocks, the last one short, on every instruction set: a row has the same bits alone, when all of K
 * is one block, and in the company of up to 59 others; it is what double precision makes of the weight's values; and the residual gets every output
 * once. Ends with 0 if all is well.
 */
#include "internal.h"
#include "material.h"

#include <math.h>

/* Grows with k, so that no block of K can stand for another one. */
static float value(int64_t k) { return (0.4f + noise()) * (1.0f + (float)k / 1024.0f); }

static mr_weight wide_weight(mr_team *team, int64_t out, int64_t in, int32_t format) {
    float *values = malloc((size_t)(out * in) * sizeof *values);
    void *source = malloc((size_t)(out * in) * sizeof *values);
    for (int64_t i = 0; i < out * in; i++) {
        values[i] = value(i % in);
    }
    int32_t source_format = format == MR_FORMAT_BF16_PAIRS ? MR_FORMAT_F32 : format;
    if (format >= MR_FORMAT_Q8_0) {
        CHECK(mr_quantize(team, format, MR_F32, values, out, in, source) == MR_OK);
    } else if (format == MR_FORMAT_F16 || format == MR_FORMAT_BF16) {
        for (int64_t i = 0; i < out * in; i++) {
            uint32_t bits;
            memcpy(&bits, &values[i], 4);
            ((uint16_t *)source)[i] = (uint16_t)(format == MR_FORMAT_BF16 ? bits >> 16 : (bits >> 13) - (112u << 10)); /* cut off; normal numbers all */
        }
    } else {
        memcpy(source, values, (size_t)(out * in) * sizeof *values);
    }
    int64_t bytes = mr_packed_weight_bytes(out, in, format);
    void *packed = keep(aligned_alloc(64, (size_t)((bytes + 63) / 64 * 64)));
    memset(packed, 0, (size_t)bytes);
    CHECK(mr_pack_weight(team, packed, out, in, format, 0, out, source, source_format, 0) == MR_OK);
    free(values);
    free(source);
    return (mr_weight){.data = packed, .out_features = out, .in_features = in, .format = format};
}

/* A row of outputs against sums in double precision over the weight as the embedding reads it; the bound is on what rounding of x may do. */
static void check_values(mr_team *team, mr_weight w, const float *x, const float *bias, const float *y) {
    int64_t in = w.in_features;
    int32_t id = 0;
    int32_t counts[4] = {1, 1, 0, 0};
    mr_batch batch = {.counts = counts, .token_ids = &id};
    mr_matrix values = matrix(1, in, MR_EXTENT_TOKENS);
    mr_op op = {.kind = MR_OP_EMBED, .args.embed = {w, values, 1.0f, 0}};
    CHECK(mr_program_prepare(team, &op, 1, &batch) == MR_OK);
    double bound = w.format >= MR_FORMAT_Q8_0 ? 1.0 / 100 : w.format == MR_FORMAT_BF16_PAIRS ? 1.0 / 256 : 1.0 / 2000;
    for (id = 0; id < w.out_features; id += 1 + (int32_t)w.out_features / 16) {
        CHECK(mr_program_run(team, &op, 1, &batch) == MR_OK);
        double sum = 0;
        for (int64_t k = 0; k < in; k++) {
            sum += (double)values.data[k] * x[k]; /* all of one sign */
        }
        CHECK(fabs(y[id] - (bias == NULL ? 0 : bias[id]) - sum) < bound * sum);
    }
    free(values.data);
}

/* Rows first, first + 3 .. and more seldom from 39 on, up to `most`, alone and together. */
static void check_wide(mr_team *team, int32_t format, int64_t in, int64_t out, int32_t first, int32_t most) {
    mr_weight w = wide_weight(team, out, in, format);
    mr_matrix x = matrix(most, in, MR_EXTENT_TOKENS);
    mr_matrix y = matrix(most, out, MR_EXTENT_TOKENS);
    mr_matrix residual = matrix(most, out, MR_EXTENT_TOKENS);
    size_t bytes = (size_t)(most * out) * sizeof(float);
    float *before = keep(malloc(bytes)), *alone = keep(malloc(bytes)), *summed = keep(malloc(bytes));
    float *rows = keep(malloc((size_t)(most * in) * sizeof(float)));
    float *bias = first == 2 ? keep(floats(out)) : NULL;
    keep(x.data), keep(y.data), keep(residual.data);
    for (int64_t i = 0; i < most * in; i++) {
        rows[i] = value(i % in);
    }
    memcpy(before, residual.data, bytes);
    int32_t counts[4] = {1, 1, 0, 0};
    mr_batch batch = {.counts = counts};
    mr_op ops[2] = {{.kind = MR_OP_LINEAR, .args.linear = {x, w, bias, y}}, {.kind = MR_OP_ADD, .args.add = {residual, y}}};
    CHECK(mr_program_prepare(team, ops, 2, &batch) == MR_OK);
    CHECK(ops[0].plan & MR_PLAN_ADD_AFTER); /* else this would be no test of the residual's place */
    for (int32_t r = 0; r < most; r++) {
        memcpy(x.data, rows + r * in, (size_t)in * sizeof(float));
        memset(y.data, 0xff, (size_t)out * sizeof(float));
        memcpy(residual.data, before + r * out, (size_t)out * sizeof(float));
        CHECK(mr_program_run(team, ops, 2, &batch) == MR_OK);
        memcpy(alone + r * out, y.data, (size_t)out * sizeof(float));
        for (int64_t n = 0; n < out; n++) {
            summed[r * out + n] = before[r * out + n] + y.data[n];
        }
        CHECK(memcmp(summed + r * out, residual.data, (size_t)out * sizeof(float)) == 0);
        if (r == 0 || r == most - 1) {
            check_values(team, w, x.data, bias, y.data);
            CHECK(mr_program_prepare(team, ops, 2, &batch) == MR_OK);
        }
    }
    memcpy(x.data, rows, (size_t)(most * in) * sizeof(float));
    for (int32_t count = first; count <= most; count += count < 39 ? 3 : 7) {
        counts[0] = count;
        memset(y.data, 0xff, bytes); /* NaN: no sum may start from what lies there */
        memcpy(residual.data, before, bytes);
        CHECK(mr_program_run(team, ops, 2, &batch) == MR_OK);
        CHECK(memcmp(alone, y.data, (size_t)(count * out) * sizeof(float)) == 0);
        CHECK(memcmp(summed, residual.data, (size_t)(count * out) * sizeof(float)) == 0);
        CHECK(memcmp(before + count * out, residual.data + count * out, (size_t)((most - count) * out) * sizeof(float)) == 0);
    }
    free_pieces();
}

static void check(mr_team *team, int32_t isa, int32_t threads) {
    static const int32_t formats[] = {MR_FORMAT_F32, MR_FORMAT_F16, MR_FORMAT_BF16, MR_FORMAT_BF16_PAIRS, MR_FORMAT_Q8_0, MR_FORMAT_Q4_0, MR_FORMAT_Q4_K};
    for (size_t i = 0; i < sizeof formats / sizeof *formats; i++) {
        int32_t format = formats[i];
        if (format == MR_FORMAT_BF16_PAIRS && !mr_has_bf16_dot(isa)) {
            continue;
        }
        /* Two blocks of 2048 and a rest: an odd one, half a run of rounded activations, or a super-block. */
        int64_t in = format < MR_FORMAT_Q8_0 ? 4101 : format == MR_FORMAT_Q4_K ? 4352 : 4128;
        check_wide(team, format, in, 45, threads, 60); /* a whole tile and one of the edge; every number of rows up to 39 with some team */
        if (threads == 1) {
            check_wide(team, format, in, 16 * MR_TILE_COLS + 13, 38, 38); /* so many tiles that some are taken together */
        }
    }
}

int main(void) {
    on_every_team("widetest", check);
    return 0;
}

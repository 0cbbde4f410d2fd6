/* What selftest.c and packtest.c are made of: numbers, matrices and weights in memory of exactly their size, so that a sanitizer sees one element too many. */
#ifndef MILLRACE_MATERIAL_H
#define MILLRACE_MATERIAL_H

#include "check.h"
#include "millrace_cpu.h"

#include <string.h>

static inline float noise(void) { return uniform() * 0.6f; }

static inline float *floats(int64_t count) {
    float *p = malloc((size_t)count * sizeof *p);
    for (int64_t i = 0; i < count; i++) {
        p[i] = noise();
    }
    return p;
}

static inline mr_matrix matrix(int64_t rows, int64_t cols, int32_t extent) {
    return (mr_matrix){.data = floats(rows * cols), .rows = rows, .cols = cols, .extent = extent};
}

/* Bytes of a row of a weight as it lies in a file. */
static inline int64_t row_bytes_of(int32_t format, int64_t in) {
    static const int block_bytes[] = {[MR_FORMAT_F32] = 4,   [MR_FORMAT_F16] = 2,   [MR_FORMAT_BF16] = 2,  [MR_FORMAT_Q8_0] = 34,
                                      [MR_FORMAT_Q4_0] = 18, [MR_FORMAT_Q4_1] = 20, [MR_FORMAT_Q5_0] = 22, [MR_FORMAT_Q4_K] = 144,
                                      [MR_FORMAT_Q5_K] = 176, [MR_FORMAT_Q6_K] = 210, [MR_FORMAT_Q5_1] = 24};
    return in / (format >= MR_FORMAT_Q4_K && format <= MR_FORMAT_Q6_K ? 256 : format >= MR_FORMAT_Q8_0 ? 32 : 1) * block_bytes[format];
}

static inline mr_weight weight(mr_team *team, int64_t out, int64_t in, int32_t dtype) {
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

/* What free_pieces frees. */
static void *pieces[64];
static int num_pieces;

static inline void *keep(void *p) {
    CHECK(num_pieces < 64);
    return pieces[num_pieces++] = p;
}

static inline void free_pieces(void) {
    while (num_pieces > 0) {
        free(pieces[--num_pieces]);
    }
}

/* The instruction sets of this machine, each with teams of one to three threads. */
static inline void on_every_team(const char *test, void (*check)(mr_team *team, int32_t isa, int32_t threads)) {
    int32_t mask = mr_isa_mask();
    for (int32_t isa = 0; isa < 8; isa++) {
        if (!(mask >> isa & 1)) {
            continue;
        }
        for (int32_t threads = 1; threads <= 3; threads++) {
            int32_t status;
            mr_team *team = mr_team_create(threads, isa, &status);
            CHECK(team != NULL && status == MR_OK);
            check(team, isa, threads);
            mr_team_destroy(team);
        }
        printf("%s: instruction set %d is well\n", test, (int)isa);
    }
}

#endif

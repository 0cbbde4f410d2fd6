/*
 * Packed weights. A tile holds 32 output columns; along K it is a run of records, one per block of the format:
 *
 *   F32, F16, BF16      1 k     [32]                                     BF16: columns i and i + 16 interleaved
 *   BF16_PAIRS          2 k     [32][2]                                  what vdpbf16ps takes
 *   Q8_0                32 k    d[32]          part
 *   Q4_0, Q5_0          32 k    d[32]          part
 *   Q4_1, Q5_1          32 k    d[32] -m[32]   part                      d, m: F16
 *   Q4_K, Q5_K          256 k   D[32] M[32]    8 x (scale[32] min[32] part)     D, M: F16; scale, min: 6 bits in a byte
 *   Q6_K                256 k   D[32]          8 x (scale of k < 16 [32], of k >= 16 [32], part)   scale: signed byte
 *
 * A part holds the codes of 32 k x 32 columns as planes of lines [32 columns][4 k], 128 bytes each, so that a vector register is the
 * operand of a 4-byte dot product in every lane. Group g = k / 4:
 *
 *   8 bits   line g is code + 128
 *   4 bits   line g / 2, low nibbles for even g, high nibbles for odd g
 *   +1 bit   one more line; bit g of a byte is bit 4 of the code
 *   +2 bits  two more lines, g / 4; bits 2 (g % 4) and up are bits 4 and 5 of the code
 */
#ifndef MILLRACE_FORMAT_H
#define MILLRACE_FORMAT_H

#include "internal.h"

#define MR_BLOCK 32
#define MR_SUPER_BLOCK 256
#define MR_LINE (4 * MR_TILE_COLS)
#define MR_HALVES (2 * MR_TILE_COLS) /* bytes of 32 F16 values */

static inline bool mr_is_quantised(int32_t format) { return format >= MR_FORMAT_Q8_0; }
static inline bool mr_has_super_blocks(int32_t format) { return format >= MR_FORMAT_Q4_K && format <= MR_FORMAT_Q6_K; }
static inline bool mr_is_format(int32_t format) {
    return (format >= MR_FORMAT_F32 && format <= MR_FORMAT_BF16) || (format >= MR_FORMAT_BF16_PAIRS && format <= MR_FORMAT_Q5_1);
}
/* value = d * code - m instead of d * (code - offset) */
static inline bool mr_has_minimum(int32_t format) {
    return format == MR_FORMAT_Q4_1 || format == MR_FORMAT_Q5_1 || format == MR_FORMAT_Q4_K || format == MR_FORMAT_Q5_K;
}

static inline int32_t mr_high_bits(int32_t format) {
    return format == MR_FORMAT_Q6_K ? 2 : format == MR_FORMAT_Q5_0 || format == MR_FORMAT_Q5_1 || format == MR_FORMAT_Q5_K ? 1 : 0;
}

/* log2 of what is taken from a code of a format without a minimum */
static inline int32_t mr_offset_bits(int32_t format) {
    switch (format) {
        case MR_FORMAT_Q8_0: return 7;
        case MR_FORMAT_Q6_K: return 5;
        case MR_FORMAT_Q5_0: return 4;
        default: return 3;
    }
}

static inline int64_t mr_part_bytes(int32_t format) {
    return format == MR_FORMAT_Q8_0 ? 8 * MR_LINE : (4 + mr_high_bits(format)) * MR_LINE;
}

/* Columns of K in a record. */
static inline int64_t mr_record_k(int32_t format) {
    return mr_has_super_blocks(format) ? MR_SUPER_BLOCK : mr_is_quantised(format) ? MR_BLOCK : format == MR_FORMAT_BF16_PAIRS ? 2 : 1;
}

/* Bytes before the first part of a record, and before each part. */
static inline int64_t mr_header_bytes(int32_t format) {
    return format == MR_FORMAT_Q6_K ? MR_HALVES : mr_has_minimum(format) ? 2 * MR_HALVES : MR_HALVES;
}
static inline int64_t mr_part_header_bytes(int32_t format) { return mr_has_super_blocks(format) ? 2 * MR_TILE_COLS : 0; }

static inline int64_t mr_record_bytes(int32_t format) {
    switch (format) {
        case MR_FORMAT_F32: return 4 * MR_TILE_COLS;
        case MR_FORMAT_F16:
        case MR_FORMAT_BF16: return 2 * MR_TILE_COLS;
        case MR_FORMAT_BF16_PAIRS: return 4 * MR_TILE_COLS;
        default:
            return mr_header_bytes(format) + mr_record_k(format) / MR_BLOCK * (mr_part_header_bytes(format) + mr_part_bytes(format));
    }
}

static inline int64_t mr_tile_bytes(int32_t format, int64_t in_features) {
    return mr_ceil_div(in_features, mr_record_k(format)) * mr_record_bytes(format);
}

static inline int64_t mr_num_tiles(const mr_weight *w) { return mr_ceil_div(w->out_features, MR_TILE_COLS); }

/* Tiles of a weight and of all that are chained to it. */
static inline int64_t mr_chain_tiles(const mr_weight *first) {
    int64_t tiles = 0;
    for (const mr_weight *w = first; w != NULL; w = w->next) {
        tiles += mr_num_tiles(w);
    }
    return tiles;
}

/* Bytes of a row of `in_features` in the layout of a file. */
static inline int64_t mr_source_row_bytes(int32_t format, int64_t in_features) {
    static const uint8_t block_bytes[] = {[MR_FORMAT_Q8_0] = 34,  [MR_FORMAT_Q4_0] = 18,  [MR_FORMAT_Q4_1] = 20, [MR_FORMAT_Q5_0] = 22,
                                          [MR_FORMAT_Q4_K] = 144, [MR_FORMAT_Q5_K] = 176, [MR_FORMAT_Q6_K] = 210, [MR_FORMAT_Q5_1] = 24};
    if (!mr_is_quantised(format)) {
        return in_features * (format == MR_FORMAT_F32 ? 4 : 2);
    }
    return in_features / mr_record_k(format) * block_bytes[format];
}

/* Lane of a column in a line of BF16. */
static inline int64_t mr_bf16_lane(int64_t column) { return column < 16 ? 2 * column : 2 * (column - 16) + 1; }

#endif

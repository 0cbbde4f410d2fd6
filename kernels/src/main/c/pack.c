/* Weight packing: row-major sources to the tiles of format.h. Bits are moved; rounded only where F16 or F32 become BF16. */
#include "format.h"
#include "kernels.h"

#if defined(MR_FOR_AVX512)
#include "pack_lines.h"
#endif

#include <string.h>

/* Columns k of a tile that are packed together: the source lines of 32 rows stay in L1 while they are taken apart. */
#define RUN 64

/* One row of F32, F16 or BF16 as column `column` of a tile. */
static void pack_plain(char *tile, int32_t format, int32_t source_format, int64_t column, const char *row, int64_t k0, int64_t k1) {
    switch (format) {
        case MR_FORMAT_F32:
            for (int64_t k = k0; k < k1; k++) {
                memcpy(tile + (k * MR_TILE_COLS + column) * 4, row + k * 4, 4);
            }
            break;
        case MR_FORMAT_BF16_PAIRS:
            for (int64_t k = k0; k < k1; k++) {
                uint16_t half;
                if (source_format == MR_FORMAT_BF16) {
                    memcpy(&half, row + k * 2, 2);
                } else if (source_format == MR_FORMAT_F16) {
                    memcpy(&half, row + k * 2, 2);
                    half = s_to_bf16(s_from_f16(half));
                } else {
                    float whole;
                    memcpy(&whole, row + k * 4, 4);
                    half = s_to_bf16(whole);
                }
                memcpy(tile + (k / 2 * MR_TILE_COLS + column) * 4 + k % 2 * 2, &half, 2);
            }
            break;
        default: {
            int64_t lane = format == MR_FORMAT_BF16 ? mr_bf16_lane(column) : column;
            for (int64_t k = k0; k < k1; k++) {
                memcpy(tile + (k * MR_TILE_COLS + lane) * 2, row + k * 2, 2);
            }
        }
    }
}

/* The source's header of a block, and where the codes of its parts lie. */
typedef struct source_block {
    const uint8_t *scale;   /* F16 d */
    const uint8_t *minimum; /* F16 m, NULL if there is none */
    const uint8_t *scales;  /* 12 bytes of 6-bit scales and minima, or 16 signed bytes */
    const uint8_t *codes;
    const uint8_t *high;
} source_block;

static source_block parse(int32_t format, const uint8_t *block) {
    switch (format) {
        case MR_FORMAT_Q4_1: return (source_block){block, block + 2, NULL, block + 4, NULL};
        case MR_FORMAT_Q5_0: return (source_block){block, NULL, NULL, block + 6, block + 2};
        case MR_FORMAT_Q5_1: return (source_block){block, block + 2, NULL, block + 8, block + 4};
        case MR_FORMAT_Q4_K: return (source_block){block, block + 2, block + 4, block + 16, NULL};
        case MR_FORMAT_Q5_K: return (source_block){block, block + 2, block + 4, block + 48, block + 16};
        case MR_FORMAT_Q6_K: return (source_block){block + 208, NULL, block + 192, block, block + 128};
        default: return (source_block){block, NULL, NULL, block + 2, NULL};
    }
}

/* The 32 codes of part `part` of a block, in order. */
static void unpack_codes(int32_t format, const source_block *b, int64_t part, uint8_t *codes) {
    switch (format) {
        case MR_FORMAT_Q8_0:
            for (int l = 0; l < 32; l++) {
                codes[l] = b->codes[l] ^ 0x80u;
            }
            break;
        case MR_FORMAT_Q4_K:
        case MR_FORMAT_Q5_K:
            for (int l = 0; l < 32; l++) {
                uint32_t low = b->codes[part / 2 * 32 + l] >> (part % 2 * 4) & 15u;
                uint32_t high = format == MR_FORMAT_Q5_K ? b->high[l] >> part & 1u : 0;
                codes[l] = (uint8_t)(low | high << 4);
            }
            break;
        case MR_FORMAT_Q6_K:
            for (int l = 0; l < 32; l++) {
                uint32_t low = b->codes[part / 4 * 64 + part % 2 * 32 + l] >> (part % 4 / 2 * 4) & 15u;
                uint32_t high = b->high[part / 4 * 32 + l] >> (part % 4 * 2) & 3u;
                codes[l] = (uint8_t)(low | high << 4);
            }
            break;
        default:
            for (int l = 0; l < 32; l++) {
                uint32_t low = b->codes[l % 16] >> (l / 16 * 4) & 15u;
                uint32_t high = b->high != NULL ? b->high[l / 8] >> (l % 8) & 1u : 0;
                codes[l] = (uint8_t)(low | high << 4);
            }
    }
}

/* Scale and minimum of part `part`, 6 bits each, of the 12 bytes that Q4_K and Q5_K keep for eight parts. */
static void six_bits(const uint8_t *s, int64_t part, uint8_t *scale, uint8_t *minimum) {
    if (part < 4) {
        *scale = s[part] & 63u;
        *minimum = s[part + 4] & 63u;
    } else {
        *scale = (uint8_t)((s[part + 4] & 15u) | (uint32_t)(s[part - 4] >> 6) << 4);
        *minimum = (uint8_t)(s[part + 4] >> 4 | (uint32_t)(s[part] >> 6) << 4);
    }
}

/* Codes of 32 k as column `column` of a part. */
static void pack_part(char *part, int32_t format, int64_t column, const uint8_t *codes) {
    uint32_t group[8]; /* four codes each */
    memcpy(group, codes, sizeof group);
    char *at = part + column * 4;
    if (format == MR_FORMAT_Q8_0) {
        for (int g = 0; g < 8; g++) {
            memcpy(at + g * MR_LINE, &group[g], 4);
        }
        return;
    }
    uint32_t bits = 0;
    uint32_t pairs[2] = {0, 0};
    for (int g = 0; g < 8; g++) {
        bits |= (group[g] >> 4 & 0x01010101u) << g;
        pairs[g / 4] |= (group[g] >> 4 & 0x03030303u) << (g % 4 * 2);
    }
    for (int j = 0; j < 4; j++) {
        uint32_t nibbles = (group[2 * j] & 0x0f0f0f0fu) | (group[2 * j + 1] & 0x0f0f0f0fu) << 4;
        memcpy(at + j * MR_LINE, &nibbles, 4);
    }
    if (mr_high_bits(format) == 1) {
        memcpy(at + 4 * MR_LINE, &bits, 4);
    } else if (mr_high_bits(format) == 2) {
        memcpy(at + 4 * MR_LINE, &pairs[0], 4);
        memcpy(at + 5 * MR_LINE, &pairs[1], 4);
    }
}

/* One block of a row as column `column` of a record. */
static void pack_block(char *record, int32_t format, int64_t column, const uint8_t *block) {
    source_block b = parse(format, block);
    memcpy(record + column * 2, b.scale, 2);
    if (b.minimum != NULL) {
        memcpy(record + MR_HALVES + column * 2, b.minimum, 2);
        if (format == MR_FORMAT_Q4_1 || format == MR_FORMAT_Q5_1) { /* d * code + m becomes d * code - (-m) */
            record[MR_HALVES + column * 2 + 1] ^= (char)0x80;
        }
    }
    char *part = record + mr_header_bytes(format);
    for (int64_t i = 0; i < mr_record_k(format) / MR_BLOCK; i++) {
        if (format == MR_FORMAT_Q6_K) {
            memcpy(part + column, b.scales + 2 * i, 1);
            memcpy(part + MR_TILE_COLS + column, b.scales + 2 * i + 1, 1);
        } else if (mr_has_super_blocks(format)) {
            six_bits(b.scales, i, (uint8_t *)part + column, (uint8_t *)part + MR_TILE_COLS + column);
        }
        uint8_t codes[32];
        unpack_codes(format, &b, i, codes);
        pack_part(part + mr_part_header_bytes(format), format, column, codes);
        part += mr_part_header_bytes(format) + mr_part_bytes(format);
    }
}

/* The row of the source that is row `n` of its part of the weight. */
static int64_t source_row(const mr_rows_at *source, int64_t n) {
    if (source->pair_rows == 0) {
        return n;
    }
    int64_t half = source->pair_rows / 2;
    int64_t i = n % source->pair_rows;
    return n - i + (i < half ? 2 * i : 2 * (i - half) + 1);
}

/* Rows [begin, end) of the weight, all of `source` and of the tile at `tile`. */
static void pack_rows(char *tile, const mr_packing *w, const mr_rows_at *source, int64_t begin, int64_t end, bool near) {
    int32_t format = w->format;
    int64_t k_count = w->in_features;
    int64_t row_bytes = mr_source_row_bytes(source->format, k_count);
    int64_t run = mr_is_quantised(format) ? mr_record_k(format) : RUN;
    int64_t source_block_bytes = mr_source_row_bytes(format, mr_record_k(format));
    const uint8_t *data = source->data;
    int64_t k_done = 0;
#if defined(MR_FOR_AVX512)
    int64_t first = begin - source->first;
    int64_t half = source->pair_rows / 2;
    if (end - begin == MR_TILE_COLS && (half == 0 || first / half == (first + MR_TILE_COLS - 1) / half)) {
        k_done = pack_whole(tile, format, source->format, data + source_row(source, first) * row_bytes, half == 0 ? row_bytes : 2 * row_bytes,
                            row_bytes, k_count, near);
    }
#else
    (void)near;
#endif
    for (int64_t k0 = k_done; k0 < k_count; k0 += run) {
        for (int64_t n = begin; n < end; n++) {
            const uint8_t *row = data + source_row(source, n - source->first) * row_bytes;
            if (mr_is_quantised(format)) {
                int64_t block = k0 / run;
                pack_block(tile + block * mr_record_bytes(format), format, n % MR_TILE_COLS, row + block * source_block_bytes);
            } else {
                pack_plain(tile, format, source->format, n % MR_TILE_COLS, (const char *)row, k0, mr_min(k0 + run, k_count));
            }
        }
    }
}

static void pack_range(const mr_packing *w, int64_t begin, int64_t end, char *tile, bool near) {
    for (int32_t i = 0; i < w->num_sources; i++) {
        const mr_rows_at *source = &w->sources[i];
        int64_t from = mr_max(begin, source->first);
        int64_t to = mr_min(end, source->first + source->rows);
        if (from < to) {
            pack_rows(tile, w, source, from, to, near);
        }
    }
}

void MR_NAME(mr_pack_tile)(const mr_packing *w, int64_t tile, char *out, bool near) {
    pack_range(w, tile * MR_TILE_COLS, (tile + 1) * MR_TILE_COLS, out, near);
}

void MR_NAME(mr_pack_column)(const mr_packing *w, int64_t row, char *out) { pack_range(w, row, row + 1, out, true); }

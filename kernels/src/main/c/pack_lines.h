/*
 * Packing of whole tiles with AVX-512: sources of 16 rows are transposed in registers, so that a tile is written line by line. What is here
 * gives the same bytes as the scalar code of pack.c, which does the rest.
 */
#ifndef MILLRACE_PACK_LINES_H
#define MILLRACE_PACK_LINES_H

#include "format.h"
#include "simd.h"

typedef __m512i line; /* 16 columns x 32 bits */

/* Bytes of a source row that are asked for ahead of their use: 32 rows are more streams than the hardware follows. */
#define PACK_AHEAD 512

/* Past the caches, unless the tile is read at once. `near` is a constant after inlining, here and below. */
static inline __attribute__((always_inline)) void put(char *to, line a, const bool near) {
    if (near) {
        _mm512_store_si512((__m512i *)to, a);
    } else {
        _mm512_stream_si512((__m512i *)to, a);
    }
}

/* Columns of four words: out[w] lane n = word w of row n. z[i] holds row i + 4 L in 128-bit lane L. */
static inline __attribute__((always_inline)) void transpose4(const line *z, line *out) {
    line a = _mm512_unpacklo_epi32(z[0], z[1]);
    line b = _mm512_unpackhi_epi32(z[0], z[1]);
    line c = _mm512_unpacklo_epi32(z[2], z[3]);
    line d = _mm512_unpackhi_epi32(z[2], z[3]);
    out[0] = _mm512_unpacklo_epi64(a, c);
    out[1] = _mm512_unpackhi_epi64(a, c);
    out[2] = _mm512_unpacklo_epi64(b, d);
    out[3] = _mm512_unpackhi_epi64(b, d);
}

/* out[w] lane n = 32-bit word w (of 4) at `from` of row n (of 16). */
static inline __attribute__((always_inline)) void columns4(const uint8_t *from, int64_t stride, line *out) {
    line z[4];
#pragma GCC unroll 4
    for (int i = 0; i < 4; i++) {
        line v = _mm512_castsi128_si512(_mm_loadu_si128((const __m128i *)(from + i * stride)));
        v = _mm512_inserti32x4(v, _mm_loadu_si128((const __m128i *)(from + (i + 4) * stride)), 1);
        v = _mm512_inserti32x4(v, _mm_loadu_si128((const __m128i *)(from + (i + 8) * stride)), 2);
        z[i] = _mm512_inserti32x4(v, _mm_loadu_si128((const __m128i *)(from + (i + 12) * stride)), 3);
    }
    transpose4(z, out);
}

static inline __attribute__((always_inline)) void columns8(const uint8_t *from, int64_t stride, line *out) {
    columns4(from, stride, out);
    columns4(from + 16, stride, out + 4);
}

static inline __attribute__((always_inline)) line nibble(line a, int high) {
    return _mm512_and_si512(high ? _mm512_srli_epi32(a, 4) : a, _mm512_set1_epi32(0x0f0f0f0f));
}

/* The four lines of nibbles of a part whose groups are the low or high nibbles of eight words. */
static inline __attribute__((always_inline)) void store_nibbles(char *lines, const line *words, const int high, const bool near) {
#pragma GCC unroll 4
    for (int j = 0; j < 4; j++) {
        line both = _mm512_or_si512(nibble(words[2 * j], high), _mm512_slli_epi32(nibble(words[2 * j + 1], high), 4));
        put(lines + j * MR_LINE, both, near);
    }
}

static inline void store_halves(char *to, line a) { _mm256_storeu_si256((__m256i *)to, _mm512_cvtepi32_epi16(a)); }
static inline void store_bytes(char *to, line a) { _mm_storeu_si128((__m128i *)to, _mm512_cvtepi32_epi8(a)); }

/* F16 values at the same offset of 16 rows. */
static inline void copy_halves(char *to, const uint8_t *from, int64_t stride) {
    for (int64_t n = 0; n < 16; n++) {
        memcpy(to + 2 * n, from + n * stride, 2);
    }
}

/* One record of a quantised format for columns [column, column + 16); blocks of the rows at `block`. */
static inline __attribute__((always_inline)) void pack_record16(char *record, const int32_t format, int64_t column, const uint8_t *block,
                                                                int64_t stride, const bool near) {
    char *lines = record + mr_header_bytes(format) + mr_part_header_bytes(format) + column * 4;
    char *fine = record + mr_header_bytes(format) + column;
    const int64_t part_bytes = mr_part_header_bytes(format) + mr_part_bytes(format);
    line w[16];
    switch (format) {
        case MR_FORMAT_Q8_0:
            copy_halves(record + column * 2, block, stride);
            columns8(block + 2, stride, w);
            for (int g = 0; g < 8; g++) {
                put(lines + g * MR_LINE, _mm512_xor_si512(w[g], _mm512_set1_epi32((int)0x80808080u)), near);
            }
            break;
        case MR_FORMAT_Q4_0: {
            copy_halves(record + column * 2, block, stride);
            columns4(block + 2, stride, w);
            line groups[8] = {w[0], w[1], w[2], w[3], _mm512_srli_epi32(w[0], 4), _mm512_srli_epi32(w[1], 4), _mm512_srli_epi32(w[2], 4),
                              _mm512_srli_epi32(w[3], 4)};
            store_nibbles(lines, groups, 0, near);
            break;
        }
        case MR_FORMAT_Q4_K:
        case MR_FORMAT_Q5_K: {
            const line six = _mm512_set1_epi32(63);
            const line four = _mm512_set1_epi32(15);
            line bits[8];
            columns4(block, stride, w);
            store_halves(record + column * 2, w[0]);
            store_halves(record + MR_HALVES + column * 2, _mm512_srli_epi32(w[0], 16));
            for (int p = 0; p < 4; p++) {
                line low = _mm512_srli_epi32(w[1], 8 * p);
                line middle = _mm512_srli_epi32(w[2], 8 * p);
                line high = _mm512_srli_epi32(w[3], 8 * p);
                line top = _mm512_set1_epi32(48);
                store_bytes(fine + p * part_bytes, _mm512_and_si512(low, six));
                store_bytes(fine + p * part_bytes + MR_TILE_COLS, _mm512_and_si512(middle, six));
                store_bytes(fine + (p + 4) * part_bytes, _mm512_or_si512(_mm512_and_si512(high, four),
                                                                        _mm512_and_si512(_mm512_srli_epi32(low, 2), top)));
                store_bytes(fine + (p + 4) * part_bytes + MR_TILE_COLS, _mm512_or_si512(_mm512_and_si512(_mm512_srli_epi32(high, 4), four),
                                                                                       _mm512_and_si512(_mm512_srli_epi32(middle, 2), top)));
            }
            if (format == MR_FORMAT_Q5_K) {
                columns8(block + 16, stride, bits);
            }
            const uint8_t *codes = block + (format == MR_FORMAT_Q5_K ? 48 : 16);
            for (int i = 0; i < 8; i += 2) {
                columns8(codes + i / 2 * 32, stride, w);
                for (int high = 0; high < 2; high++) {
                    char *at = lines + (i + high) * part_bytes;
                    high ? store_nibbles(at, w, 1, near) : store_nibbles(at, w, 0, near);
                    if (format == MR_FORMAT_Q5_K) {
                        line fifth = _mm512_setzero_si512();
                        for (int g = 0; g < 8; g++) {
                            line bit = _mm512_and_si512(_mm512_srl_epi32(bits[g], _mm_cvtsi32_si128(i + high)), _mm512_set1_epi32(0x01010101));
                            fifth = _mm512_or_si512(fifth, _mm512_sll_epi32(bit, _mm_cvtsi32_si128(g)));
                        }
                        put(at + 4 * MR_LINE, fifth, near);
                    }
                }
            }
            break;
        }
        default: { /* Q6_K */
            copy_halves(record + column * 2, block + 208, stride);
            columns4(block + 192, stride, w);
            for (int i = 0; i < 8; i++) {
                line two = _mm512_srl_epi32(w[i / 2], _mm_cvtsi32_si128(i % 2 * 16));
                store_bytes(fine + i * part_bytes, two);
                store_bytes(fine + i * part_bytes + MR_TILE_COLS, _mm512_srli_epi32(two, 8));
            }
            for (int half = 0; half < 2; half++) {
                line high[8];
                columns8(block + half * 64, stride, w);
                columns8(block + half * 64 + 32, stride, w + 8);
                columns8(block + 128 + half * 32, stride, high);
                for (int p = 0; p < 4; p++) {
                    char *at = lines + (half * 4 + p) * part_bytes;
                    const line *words = w + p % 2 * 8;
                    p / 2 ? store_nibbles(at, words, 1, near) : store_nibbles(at, words, 0, near);
                    for (int q = 0; q < 2; q++) {
                        line pairs = _mm512_setzero_si512();
                        for (int g = 0; g < 4; g++) {
                            line two = _mm512_and_si512(_mm512_srl_epi32(high[q * 4 + g], _mm_cvtsi32_si128(2 * p)), _mm512_set1_epi32(0x03030303));
                            pairs = _mm512_or_si512(pairs, _mm512_sll_epi32(two, _mm_cvtsi32_si128(2 * g)));
                        }
                        put(at + (4 + q) * MR_LINE, pairs, near);
                    }
                }
            }
        }
    }
}

/* 16 floats as BF16 in the low halves of the lanes: nearest, ties to even; NaN stays NaN. */
static inline line rounded_bf16(__m512 f) {
    line bits = _mm512_castps_si512(f);
    line odd = _mm512_and_si512(_mm512_srli_epi32(bits, 16), _mm512_set1_epi32(1));
    line near = _mm512_srli_epi32(_mm512_add_epi32(_mm512_add_epi32(bits, _mm512_set1_epi32(0x7fff)), odd), 16);
    line quiet = _mm512_or_si512(_mm512_srli_epi32(bits, 16), _mm512_set1_epi32(0x40));
    return _mm512_mask_mov_epi32(near, _mm512_cmp_ps_mask(f, f, _CMP_UNORD_Q), quiet);
}

/* Lines of pairs (k, k + 1) of BF16 from lines of F16 pairs, or of two lines of F32. */
static inline line pairs_of_f16(line pairs) {
    __m512 even = _mm512_cvtph_ps(_mm512_cvtepi32_epi16(pairs));
    __m512 odd = _mm512_cvtph_ps(_mm512_cvtepi32_epi16(_mm512_srli_epi32(pairs, 16)));
    return _mm512_or_si512(rounded_bf16(even), _mm512_slli_epi32(rounded_bf16(odd), 16));
}
static inline line pairs_of_f32(line even, line odd) {
    return _mm512_or_si512(rounded_bf16(_mm512_castsi512_ps(even)), _mm512_slli_epi32(rounded_bf16(_mm512_castsi512_ps(odd)), 16));
}

/* Four words of each of the 32 rows at `from`, `stride` bytes apart, whose first is number `word` of its row. */
static inline __attribute__((always_inline)) void pack_words(char *tile, const int32_t format, const int32_t source_format, int64_t word,
                                                             const uint8_t *from, int64_t stride, const bool near) {
    line low[4];
    line high[4];
    columns4(from, stride, low);
    columns4(from + 16 * stride, stride, high);
    char *to = tile + word * MR_LINE; /* a word of F32, or of two halves, is a line */
    if (format == MR_FORMAT_BF16_PAIRS && source_format == MR_FORMAT_F32) {
        to = tile + word / 2 * MR_LINE;
        for (int i = 0; i < 2; i++) {
            put(to + i * MR_LINE, pairs_of_f32(low[2 * i], low[2 * i + 1]), near);
            put(to + i * MR_LINE + 64, pairs_of_f32(high[2 * i], high[2 * i + 1]), near);
        }
        return;
    }
#pragma GCC unroll 4
    for (int i = 0; i < 4; i++) {
        line a = low[i];
        line b = high[i];
        if (format == MR_FORMAT_BF16_PAIRS && source_format == MR_FORMAT_F16) {
            a = pairs_of_f16(a);
            b = pairs_of_f16(b);
        } else if (format == MR_FORMAT_F16) {
            line even = _mm512_inserti64x4(_mm512_castsi256_si512(_mm512_cvtepi32_epi16(a)), _mm512_cvtepi32_epi16(b), 1);
            b = _mm512_inserti64x4(_mm512_castsi256_si512(_mm512_cvtepi32_epi16(_mm512_srli_epi32(a, 16))),
                                   _mm512_cvtepi32_epi16(_mm512_srli_epi32(b, 16)), 1);
            a = even;
        } else if (format == MR_FORMAT_BF16) {
            line even = _mm512_mask_blend_epi16(0xaaaaaaaau, a, _mm512_slli_epi32(b, 16));
            b = _mm512_mask_blend_epi16(0xaaaaaaaau, _mm512_srli_epi32(a, 16), b);
            a = even;
        }
        put(to + i * MR_LINE, a, near);
        put(to + i * MR_LINE + 64, b, near);
    }
}

static inline void ask_ahead(const uint8_t *from, int64_t stride) {
    for (int64_t n = 0; n < MR_TILE_COLS; n++) {
        __builtin_prefetch(from + n * stride + PACK_AHEAD, 0, 2);
    }
}

#define EACH(FORMAT, SOURCE)                                                                                        \
    for (int64_t byte = 0; byte + 64 <= row_bytes; byte += 64) {                                                   \
        ask_ahead(from + byte, stride);                                                                            \
        for (int i = 0; i < 4; i++) {                                                                              \
            pack_words(tile, FORMAT, SOURCE, byte / 4 + 4 * i, from + byte + 16 * i, stride, near);                \
        }                                                                                                          \
    }                                                                                                              \
    return row_bytes / 64 * 64 / (SOURCE == MR_FORMAT_F32 ? 4 : 2)
#define EACH_BLOCK(FORMAT, BYTES)                                                                                   \
    for (int64_t block = 0; block < row_bytes / BYTES; block++) {                                                  \
        if (BYTES > 64 || block % 2 == 0) {                                                                        \
            ask_ahead(from + block * BYTES, stride);                                                               \
        }                                                                                                          \
        if (BYTES > 64) {                                                                                          \
            ask_ahead(from + block * BYTES + 64, stride);                                                          \
        }                                                                                                          \
        if (BYTES > 128) {                                                                                         \
            ask_ahead(from + block * BYTES + 128, stride);                                                         \
        }                                                                                                          \
        char *record = tile + block * mr_record_bytes(FORMAT);                                                     \
        pack_record16(record, FORMAT, 0, from + block * BYTES, stride, near);                                      \
        pack_record16(record, FORMAT, 16, from + block * BYTES + 16 * stride, stride, near);                       \
    }                                                                                                              \
    return k_count

static inline __attribute__((always_inline)) int64_t pack_rows32(char *tile, int32_t format, int32_t source_format, const uint8_t *from,
                                                                 int64_t stride, int64_t row_bytes, int64_t k_count, const bool near) {
    switch (format) {
        case MR_FORMAT_F32: EACH(MR_FORMAT_F32, MR_FORMAT_F32);
        case MR_FORMAT_F16: EACH(MR_FORMAT_F16, MR_FORMAT_F16);
        case MR_FORMAT_BF16: EACH(MR_FORMAT_BF16, MR_FORMAT_BF16);
        case MR_FORMAT_BF16_PAIRS:
            switch (source_format) {
                case MR_FORMAT_F32: EACH(MR_FORMAT_BF16_PAIRS, MR_FORMAT_F32);
                case MR_FORMAT_F16: EACH(MR_FORMAT_BF16_PAIRS, MR_FORMAT_F16);
                default: EACH(MR_FORMAT_BF16_PAIRS, MR_FORMAT_BF16);
            }
        case MR_FORMAT_Q8_0: EACH_BLOCK(MR_FORMAT_Q8_0, 34);
        case MR_FORMAT_Q4_0: EACH_BLOCK(MR_FORMAT_Q4_0, 18);
        case MR_FORMAT_Q4_K: EACH_BLOCK(MR_FORMAT_Q4_K, 144);
        case MR_FORMAT_Q5_K: EACH_BLOCK(MR_FORMAT_Q5_K, 176);
        case MR_FORMAT_Q6_K: EACH_BLOCK(MR_FORMAT_Q6_K, 210);
        default: return 0;
    }
}

/* Packs a whole tile from 32 rows at `from`, `stride` bytes apart, as far as it goes, and returns the columns of K that are done. */
static int64_t pack_whole(char *tile, int32_t format, int32_t source_format, const uint8_t *from, int64_t stride, int64_t row_bytes,
                          int64_t k_count, bool near) {
    if (near) {
        return pack_rows32(tile, format, source_format, from, stride, row_bytes, k_count, true);
    }
    int64_t done = pack_rows32(tile, format, source_format, from, stride, row_bytes, k_count, false);
    _mm_sfence();
    return done;
}

#endif

/*
 * Products with quantised weights. Activations are rounded once per linear to signed bytes, in runs of MR_X_RUN columns with a scale each; a
 * block of a tile is then 32 x 32 integer products without rounding. Blocks are scaled into the float sum of their run, runs into that of
 * their output:
 *
 *     run += (codes . x) * d_weight   (- m_weight * sum of x)         sum += run * d_x
 *
 * one after the other in ascending k, so an output has the same bits for any number of rows, tiles and threads. A scale of x per block
 * would take four operations per vector of sums and block in place of two, beside the sixteen of the products.
 */
#include "dot.h"
#include "kernels.h"

#if defined(MR_FOR_AVX512) || defined(MR_FOR_NEON)
#define QUANT_ROWS 6 /* 24 of 32 registers hold sums: integers of this block and floats, two vectors of columns */
#else
#define QUANT_ROWS 3
#endif
#define HALF_TILE (MR_TILE_COLS / 2)
#define PASSES (HALF_TILE / VW)

/* Activations smaller than this everywhere in a run count as zero: the inverse of their scale would overflow. */
#define LEAST 1e-30f

/* The group g of a part as unsigned bytes, for columns pass * VW.. of the lower and of the upper half of the tile. */
static inline __attribute__((always_inline)) vi load_codes(const char *part, const int format, const int g, const int column) {
    const char *at = part + column * 4;
    if (format == MR_FORMAT_Q8_0) {
        return i_load(at + g * MR_LINE);
    }
    vi nibbles = i_load(at + g / 2 * MR_LINE);
    vi codes = i_and(g % 2 == 0 ? nibbles : i_right(nibbles, 4), i_set(0x0f0f0f0f));
    if (mr_high_bits(format) == 1) {
        vi bits = i_load(at + 4 * MR_LINE);
        return i_or_and(codes, g < 4 ? i_left(bits, 4 - g) : i_right(bits, g - 4), i_set(0x10101010));
    }
    if (mr_high_bits(format) == 2) {
        vi pairs = i_load(at + (4 + g / 4) * MR_LINE);
        const int shift = 4 - g % 4 * 2;
        return i_or_and(codes, shift >= 0 ? i_left(pairs, shift) : i_right(pairs, -shift), i_set(0x30303030));
    }
    return codes;
}

static inline __attribute__((always_inline)) vi load_x(const int8_t *x) {
    int32_t four;
    memcpy(&four, x, 4);
    return i_set(four);
}

/* What integer sums start from: the offset of the codes times the sum of the activations, negative. */
static inline __attribute__((always_inline)) vi start(const int format, const mr_x_block *x, const int half) {
    switch (format) {
        case MR_FORMAT_Q8_0: return BYTE_OFFSET == 0 ? i_zero() : i_set(x->neg128);
        case MR_FORMAT_Q4_0: return i_set(x->neg8);
        case MR_FORMAT_Q5_0: return i_set(x->neg16);
        case MR_FORMAT_Q6_K: return i_set(half == 0 ? x->neg32_low : x->neg32_high);
        default: return i_zero();
    }
}

/*
 * One or two rows leave the core so little to do that the hardware's prefetchers set the pace, and those follow loads. Fetching far ahead
 * takes their place and is slower: 8 KiB ahead reached 60 % of the read bandwidth with Q8_0, nothing fetched 86 %, and 1 KiB ahead, a line
 * with every line, 90 % (two threads, medians, Zen 4, 2026-11-22). With more work between two lines it is the other way round: see run_tile.
 */
#define STREAM_AHEAD 1024
static inline __attribute__((always_inline)) bool streams(const int rows, const int format) {
    return rows <= (format == MR_FORMAT_Q8_0 ? 2 : 1);
}

/* The share of group g in the lines of a part. */
static inline __attribute__((always_inline)) void fetch_group(const char *planes, const int format, const int g) {
    const int lines = (int)mr_part_bytes(format) / MR_CACHE_LINE;
#pragma GCC unroll 2
    for (int i = g * lines / 8; i < (g + 1) * lines / 8; i++) {
        __builtin_prefetch(planes + i * MR_CACHE_LINE + STREAM_AHEAD, 0, 2);
    }
}

/*
 * As in linear.c; rows and format are constants after inlining. k and count are multiples of the format's block, k also of MR_X_RUN. The sums
 * of a run of MR_X_RUN columns have one scale of x, which is applied once, to their sum.
 */
static inline __attribute__((always_inline)) void micro(const int rows, const int format, const mr_x *x, int64_t row, int64_t k,
                                                        const char *w, int64_t count, bool fresh, float *sums, int64_t stride,
                                                        mr_ahead *ahead) {
    const bool super = mr_record_k(format) > MR_BLOCK;
    const int halves = format == MR_FORMAT_Q6_K ? 2 : 1; /* scales per part */
    const int groups = 8 / halves;
    for (int pass = 0; pass < PASSES; pass++) {
        const int lower = pass * VW;
        const int upper = HALF_TILE + pass * VW;
        vf low[QUANT_ROWS];
        vf high[QUANT_ROWS];
#pragma GCC unroll 6
        for (int r = 0; r < rows; r++) {
            low[r] = fresh ? v_zero() : v_load(sums + r * stride + lower);
            high[r] = fresh ? v_zero() : v_load(sums + r * stride + upper);
        }
        const char *part = w;
        const uint16_t *header = NULL;
        const int64_t stride_rows = x->block_rows;
        const mr_x_block *blocks = x->blocks + row * (x->cols / MR_BLOCK) + k / MR_BLOCK * x->block_rows;
        for (int64_t at = 0; at < count; at += MR_X_RUN) {
            const int64_t end = mr_min(MR_X_RUN, count - at);
            const mr_x_block *first = blocks;
            vf run_low[QUANT_ROWS];
            vf run_high[QUANT_ROWS];
#pragma GCC unroll 6
            for (int r = 0; r < rows; r++) {
                run_low[r] = run_high[r] = v_zero();
            }
            if (super && at % MR_SUPER_BLOCK == 0) {
                header = (const uint16_t *)part;
                part += mr_header_bytes(format);
            }
            for (int64_t in_run = 0; in_run < end; in_run += MR_BLOCK) {
                if (!super) {
                    header = (const uint16_t *)part;
                    part += mr_header_bytes(format);
                }
                const uint8_t *fine = (const uint8_t *)part;
                const char *planes = part + mr_part_header_bytes(format);
                const bool stream = pass == 0 && streams(rows, format);
                if (stream) {
                    __builtin_prefetch((super ? part : (const char *)header) + STREAM_AHEAD, 0, 2);
                } else if (pass == 0) {
                    mr_fetch_ahead(ahead);
                }
#pragma GCC unroll 2
                for (int half = 0; half < halves; half++) {
                    vi dots_low[QUANT_ROWS];
                    vi dots_high[QUANT_ROWS];
#pragma GCC unroll 6
                    for (int r = 0; r < rows; r++) {
                        dots_low[r] = dots_high[r] = start(format, blocks + r, half);
                    }
#pragma GCC unroll 8
                    for (int i = 0; i < groups; i++) {
                        const int g = half * groups + i;
                        if (stream) {
                            fetch_group(planes, format, g);
                        }
                        vi a = load_codes(planes, format, g, lower);
                        vi b = load_codes(planes, format, g, upper);
#pragma GCC unroll 6
                        for (int r = 0; r < rows; r++) {
                            vi four = load_x(blocks[r].codes + g * 4);
                            dots_low[r] = format == MR_FORMAT_Q8_0 ? i_dot8(dots_low[r], a, four) : i_dot(dots_low[r], a, four);
                            dots_high[r] = format == MR_FORMAT_Q8_0 ? i_dot8(dots_high[r], b, four) : i_dot(dots_high[r], b, four);
                        }
                    }
                    vf scale_low = v_load_f16(header + lower);
                    vf scale_high = v_load_f16(header + upper);
                    if (format == MR_FORMAT_Q6_K) {
                        scale_low = v_mul(scale_low, i_to_f(i_load_s8(fine + half * MR_TILE_COLS + lower)));
                        scale_high = v_mul(scale_high, i_to_f(i_load_s8(fine + half * MR_TILE_COLS + upper)));
                    } else if (super) {
                        scale_low = v_mul(scale_low, i_to_f(i_load_u8(fine + lower)));
                        scale_high = v_mul(scale_high, i_to_f(i_load_u8(fine + upper)));
                    }
#pragma GCC unroll 6
                    for (int r = 0; r < rows; r++) {
                        run_low[r] = v_fma(i_to_f(dots_low[r]), scale_low, run_low[r]);
                        run_high[r] = v_fma(i_to_f(dots_high[r]), scale_high, run_high[r]);
                    }
                }
                if (mr_has_minimum(format)) {
                    vf minimum_low = v_load_f16(header + MR_TILE_COLS + lower);
                    vf minimum_high = v_load_f16(header + MR_TILE_COLS + upper);
                    if (super) {
                        minimum_low = v_mul(minimum_low, i_to_f(i_load_u8(fine + MR_TILE_COLS + lower)));
                        minimum_high = v_mul(minimum_high, i_to_f(i_load_u8(fine + MR_TILE_COLS + upper)));
                    }
#pragma GCC unroll 6
                    for (int r = 0; r < rows; r++) {
                        vf sum = v_set(blocks[r].neg_sum);
                        run_low[r] = v_fma(minimum_low, sum, run_low[r]);
                        run_high[r] = v_fma(minimum_high, sum, run_high[r]);
                    }
                }
                part = planes + mr_part_bytes(format);
                blocks += stride_rows;
            }
#pragma GCC unroll 6
            for (int r = 0; r < rows; r++) {
                vf scale = v_set(first[r].scale);
                low[r] = v_fma(run_low[r], scale, low[r]);
                high[r] = v_fma(run_high[r], scale, high[r]);
            }
        }
#pragma GCC unroll 6
        for (int r = 0; r < rows; r++) {
            v_store(sums + r * stride + lower, low[r]);
            v_store(sums + r * stride + upper, high[r]);
        }
    }
}

#define MICRO(ROWS, FORMAT)                                                                                                             \
    static void micro_##ROWS##_##FORMAT(const mr_x *x, int64_t row, int64_t k, const char *w, int64_t count, bool fresh, float *sums,  \
                                        int64_t stride, mr_ahead *ahead) {                                                             \
        micro(ROWS, MR_FORMAT_##FORMAT, x, row, k, w, count, fresh, sums, stride, ahead);                                              \
    }
#define MICRO_FORMATS(ROWS) \
    MICRO(ROWS, Q8_0) MICRO(ROWS, Q4_0) MICRO(ROWS, Q4_1) MICRO(ROWS, Q5_0) MICRO(ROWS, Q4_K) MICRO(ROWS, Q5_K) MICRO(ROWS, Q6_K) MICRO(ROWS, Q5_1)
#define ENTRIES(ROWS)                                                                                                              \
    {micro_##ROWS##_Q8_0, micro_##ROWS##_Q4_0, micro_##ROWS##_Q4_1, micro_##ROWS##_Q5_0, micro_##ROWS##_Q4_K, micro_##ROWS##_Q5_K, \
     micro_##ROWS##_Q6_K, micro_##ROWS##_Q5_1}

MICRO_FORMATS(1) MICRO_FORMATS(2) MICRO_FORMATS(3)
#if QUANT_ROWS == 6
MICRO_FORMATS(4) MICRO_FORMATS(5) MICRO_FORMATS(6)
#endif

static const mr_micro_kernel kernels[QUANT_ROWS][8] = {
    ENTRIES(1), ENTRIES(2), ENTRIES(3),
#if QUANT_ROWS == 6
    ENTRIES(4), ENTRIES(5), ENTRIES(6),
#endif
};

const int32_t MR_DOT_NAME(mr_quant_rows) = QUANT_ROWS;

mr_micro_kernel MR_DOT_NAME(mr_quant_micro)(int32_t format, int64_t rows) { return kernels[rows - 1][format - MR_FORMAT_Q8_0]; }

/* The largest magnitude, or NaN if a value is not finite. */
static float largest(const float *x, int64_t count) {
    vf most = v_zero();
    vf poison = v_zero();
    vf zero = v_zero();
    for (int64_t i = 0; i < count; i += VW) {
        vf v = v_load(x + i);
        most = v_max(most, v_max(v, v_sub(zero, v)));
        poison = v_fma(v, zero, poison);
    }
    return v_hmax(most) + v_sum(poison);
}

/* One block of 32 activations whose run has the scale 1 / inverse. */
static void round_block(const float *x, float scale, float inverse, mr_x_block *block) {
    float sums[2];
    for (int half = 0; half < 2; half++) {
        vf sum = v_zero();
        for (int i = half * 16; i < half * 16 + 16; i += VW) {
            vf rounded = v_round(v_mul(v_load(x + i), v_set(inverse)));
            i_store_s8(block->codes + i, rounded);
            sum = v_add(sum, rounded); /* small integers: exact */
        }
        sums[half] = v_sum(sum);
    }
    int32_t neg_low = -(int32_t)sums[0];
    int32_t neg_high = -(int32_t)sums[1];
    int32_t neg = neg_low + neg_high;
    block->scale = scale;
    block->neg_sum = (float)neg;
    block->neg8 = 8 * neg;
    block->neg16 = 16 * neg;
    block->neg128 = 128 * neg;
    block->neg32_low = 32 * neg_low;
    block->neg32_high = 32 * neg_high;
    block->reserved = 0;
}

/* x begins at a multiple of MR_X_RUN. A value that is not finite makes the scale of its run NaN, and with it every output that depends on it. */
void MR_DOT_NAME(mr_quant_x)(const float *x, int64_t count, mr_x_block *blocks, int64_t stride) {
    for (int64_t run = 0; run < count; run += MR_X_RUN) {
        int64_t length = mr_min(MR_X_RUN, count - run);
        float most = largest(x + run, length);
        float scale = most / 127.0f;
        for (int64_t k = run; k < run + length; k += MR_BLOCK) {
            mr_x_block *block = blocks + k / MR_BLOCK * stride;
            if (most >= LEAST) {
                round_block(x + k, scale, 127.0f / most, block);
            } else {
                memset(block, 0, sizeof *block);
                block->scale = scale != scale ? scale : 0.0f;
            }
        }
    }
}

/*
 * Rounds rows of F32, F16 or BF16 to block formats. io.millrace.kernels.Quantizer defines every bit of the result: arithmetic is in
 * float, nothing is fused, and sums of 32 or 16 values are taken by halves, so vectors of any width agree with the scalar definition.
 */
#include "kernels.h"

#define BLOCK 32
#define SUPER 256
/* Rows that a thread takes at a time: at least this many values. */
#define CLAIM (64 << 10)
/* Scales below this count as zero: in F16 they are, and their inverse could overflow. */
#define LEAST 1e-30f
#define FITTING_ROUNDS 4
#define CANDIDATES 5

static inline float rounded(float v) { return floorf(v + 0.5f); }
static inline float clamped(float v, float low, float high) { return v < low ? low : v > high ? high : v; }

/* v[0] + .. + v[count - 1] by halves; count 16 or 32; v is lost. */
static inline __attribute__((always_inline)) float sum(float *v, const int count) {
    for (int half = count / 2; half > 0; half /= 2) {
        for (int i = 0; i < half; i++) {
            v[i] += v[i + half];
        }
    }
    return v[0];
}

static inline __attribute__((always_inline)) void extremes(const float *x, const int count, float *low, float *high) {
    float l[16];
    float h[16];
    for (int i = 0; i < 16; i++) {
        l[i] = h[i] = x[i];
    }
    for (int i = 16; i < count; i++) {
        l[i % 16] = x[i] < l[i % 16] ? x[i] : l[i % 16];
        h[i % 16] = x[i] > h[i % 16] ? x[i] : h[i % 16];
    }
    for (int half = 8; half > 0; half /= 2) {
        for (int i = 0; i < half; i++) {
            l[i] = l[i + half] < l[i] ? l[i + half] : l[i];
            h[i] = h[i + half] > h[i] ? h[i + half] : h[i];
        }
    }
    *low = l[0];
    *high = h[0];
}

/* The value farthest from 0, the first of those at the same distance. */
static inline __attribute__((always_inline)) float farthest(const float *x, const int count) {
    float low;
    float high;
    extremes(x, count, &low, &high);
    if (-low != high) {
        return -low > high ? low : high;
    }
    for (int i = 0; i < count; i++) {
        if (fabsf(x[i]) == high) {
            return x[i];
        }
    }
    return 0;
}

static inline float inverse(float d) { return fabsf(d) < LEAST ? 0 : 1 / d; }

static inline void put_half(uint8_t *out, float value) {
    uint16_t half = s_to_f16(value);
    memcpy(out, &half, 2);
}

static inline float get_half(const uint8_t *in) {
    uint16_t half;
    memcpy(&half, in, 2);
    return s_from_f16(half);
}

static void block_q8_0(const float *x, uint8_t *out) {
    float d = fabsf(farthest(x, BLOCK)) / 127;
    float by = inverse(d);
    int8_t codes[BLOCK];
    for (int i = 0; i < BLOCK; i++) { /* half away from zero, as C's roundf */
        float v = clamped(x[i] * by, -127, 127);
        float whole = truncf(v);
        float rest = v - whole;
        codes[i] = (int8_t)(int32_t)(whole + (rest >= 0.5f ? 1.0f : 0.0f) - (rest <= -0.5f ? 1.0f : 0.0f));
    }
    put_half(out, d);
    memcpy(out + 2, codes, BLOCK);
}

/* Codes 0 .. 2 * offset - 1 around offset: the farthest value becomes code 0, whichever its sign. Returns the scale. */
static inline __attribute__((always_inline)) float around(const float *x, const int offset, uint8_t *codes) {
    float d = farthest(x, BLOCK) / (float)-offset;
    float by = inverse(d);
    for (int i = 0; i < BLOCK; i++) {
        int32_t code = (int32_t)(x[i] * by + ((float)offset + 0.5f));
        codes[i] = (uint8_t)(code > 2 * offset - 1 ? 2 * offset - 1 : code);
    }
    return d;
}

static void block_q4_0(const float *x, uint8_t *out) {
    uint8_t codes[BLOCK];
    put_half(out, around(x, 8, codes));
    for (int i = 0; i < BLOCK / 2; i++) {
        out[2 + i] = (uint8_t)(codes[i] | codes[i + 16] << 4);
    }
}

static void block_q5_0(const float *x, uint8_t *out) {
    uint8_t codes[BLOCK];
    put_half(out, around(x, 16, codes));
    uint32_t fifths = 0;
    for (int i = 0; i < BLOCK; i++) {
        fifths |= (uint32_t)(codes[i] >> 4) << i;
    }
    for (int i = 0; i < 4; i++) {
        out[2 + i] = (uint8_t)(fifths >> (8 * i));
    }
    for (int i = 0; i < BLOCK / 2; i++) {
        out[6 + i] = (uint8_t)((codes[i] & 15) | (codes[i + 16] & 15) << 4);
    }
}

/* The step and minimum (>= 0, taken away) of 32 values whose 16 levels lie closest, starting from those that span them. */
static void fit_minimum(const float *x, float *best_scale, float *best_minimum) {
    float low;
    float high;
    extremes(x, BLOCK, &low, &high);
    low = low < 0 ? low : 0; /* a minimum above 0 cannot be stored */
    high = high > 0 ? high : 0;
    float scale = (high - low) / 15;
    float minimum = -low;
    float best = INFINITY;
    float v[BLOCK];
    memcpy(v, x, sizeof v);
    float sum_x = sum(v, BLOCK);
    *best_scale = *best_minimum = 0;
    for (int round = 0; round <= FITTING_ROUNDS && scale > LEAST; round++) {
        float by = 1 / scale;
        float q[BLOCK];
        float qq[BLOCK];
        float xq[BLOCK];
        for (int i = 0; i < BLOCK; i++) {
            q[i] = clamped(rounded((x[i] + minimum) * by), 0, 15);
            float off = (scale * q[i] - minimum) - x[i];
            v[i] = off * off;
            qq[i] = q[i] * q[i];
            xq[i] = x[i] * q[i];
        }
        float error = sum(v, BLOCK);
        float sum_q = sum(q, BLOCK);
        float sum_qq = sum(qq, BLOCK);
        float sum_xq = sum(xq, BLOCK);
        if (error < best) {
            best = error;
            *best_scale = scale;
            *best_minimum = minimum;
        }
        float determinant = 32 * sum_qq - sum_q * sum_q;
        if (determinant <= 0) {
            return;
        }
        scale = (32 * sum_xq - sum_q * sum_x) / determinant;
        minimum = (scale * sum_q - sum_x) / 32;
        if (!(minimum > 0)) {
            minimum = 0;
            scale = sum_xq / sum_qq;
        }
    }
}

/* Scale and minimum of each 32 are fitted, then rounded to 6 bits of the largest; the codes follow what was kept. */
static void block_q4_k(const float *x, uint8_t *out) {
    float scales[8];
    float minima[8];
    float largest_scale = 0;
    float largest_minimum = 0;
    for (int part = 0; part < 8; part++) {
        fit_minimum(x + part * BLOCK, &scales[part], &minima[part]);
        largest_scale = scales[part] > largest_scale ? scales[part] : largest_scale;
        largest_minimum = minima[part] > largest_minimum ? minima[part] : largest_minimum;
    }
    put_half(out, largest_scale / 63);
    put_half(out + 2, largest_minimum / 63);
    float d = get_half(out);
    float m = get_half(out + 2);
    uint32_t scale[8];
    uint32_t minimum[8];
    uint8_t codes[SUPER];
    for (int part = 0; part < 8; part++) {
        scale[part] = d == 0 ? 0 : (uint32_t)clamped(rounded(scales[part] / d), 0, 63);
        minimum[part] = m == 0 ? 0 : (uint32_t)clamped(rounded(minima[part] / m), 0, 63);
        float by = scale[part] == 0 ? 0 : 1 / (d * (float)scale[part]);
        float lowest = m * (float)minimum[part];
        for (int i = part * BLOCK; i < part * BLOCK + BLOCK; i++) {
            codes[i] = (uint8_t)(int32_t)clamped(rounded((x[i] + lowest) * by), 0, 15);
        }
    }
    for (int part = 0; part < 4; part++) {
        int upper = part + 4;
        out[4 + part] = (uint8_t)(scale[part] | scale[upper] >> 4 << 6);
        out[8 + part] = (uint8_t)(minimum[part] | minimum[upper] >> 4 << 6);
        out[12 + part] = (uint8_t)((scale[upper] & 15) | (minimum[upper] & 15) << 4);
    }
    for (int group = 0; group < 4; group++) {
        for (int i = 0; i < BLOCK; i++) {
            out[16 + group * BLOCK + i] = (uint8_t)(codes[group * 64 + i] | codes[group * 64 + BLOCK + i] << 4);
        }
    }
}

/* The scale of 16 values whose codes -32 .. 31 lie closest, of a few that put the farthest value near code -32. */
static float fit_scale(const float *x) {
    float far = farthest(x, 16);
    if (fabsf(far) < LEAST) {
        return 0;
    }
    float best = -1;
    float scale = 0;
    for (int candidate = 0; candidate < CANDIDATES; candidate++) {
        float by = -(31 + 0.5f * (float)candidate) / far;
        float q[16];
        float xq[16];
        for (int i = 0; i < 16; i++) {
            float code = clamped(rounded(x[i] * by), -32, 31);
            xq[i] = x[i] * code;
            q[i] = code * code;
        }
        float sum_xq = sum(xq, 16);
        float sum_qq = sum(q, 16);
        float fits = sum_xq / sum_qq * sum_xq; /* what the best scale for these codes takes off the squared error */
        if (fits > best) {
            best = fits;
            scale = sum_xq / sum_qq;
        }
    }
    return scale;
}

static void block_q6_k(const float *x, uint8_t *out) {
    float scales[16];
    for (int part = 0; part < 16; part++) {
        scales[part] = fit_scale(x + part * 16);
    }
    put_half(out + 208, farthest(scales, 16) / -128);
    float d = get_half(out + 208);
    uint8_t codes[SUPER];
    for (int part = 0; part < 16; part++) {
        float scale = d == 0 ? 0 : clamped(rounded(scales[part] / d), -128, 127);
        out[192 + part] = (uint8_t)(int32_t)scale;
        float by = scale == 0 ? 0 : 1 / (d * scale);
        for (int i = part * 16; i < part * 16 + 16; i++) {
            codes[i] = (uint8_t)(int32_t)(clamped(rounded(x[i] * by), -32, 31) + 32);
        }
    }
    for (int half = 0; half < 2; half++) {
        const uint8_t *c = codes + half * 128;
        for (int i = 0; i < BLOCK; i++) {
            out[half * 64 + i] = (uint8_t)((c[i] & 15) | (c[i + 64] & 15) << 4);
            out[half * 64 + BLOCK + i] = (uint8_t)((c[i + 32] & 15) | (c[i + 96] & 15) << 4);
            out[128 + half * BLOCK + i] = (uint8_t)(c[i] >> 4 | c[i + 32] >> 4 << 2 | c[i + 64] >> 4 << 4 | c[i + 96] >> 4 << 6);
        }
    }
}

static bool widen(const mr_quantize_args *a, int64_t at, int64_t count, float *x) {
    uint32_t bad = 0;
    for (int64_t i = 0; i < count; i += VW) {
        v_store(x + i, v_load_as(a->source, a->source_dtype, at + i));
    }
    const uint32_t *bits = (const uint32_t *)(const void *)x;
    for (int64_t i = 0; i < count; i++) {
        bad |= (uint32_t)((bits[i] & 0x7f800000u) == 0x7f800000u);
    }
    return bad == 0;
}

void MR_NAME(mr_quantize)(mr_thread *thread, const mr_quantize_args *a) {
    bool super = a->format == MR_FORMAT_Q4_K || a->format == MR_FORMAT_Q6_K;
    int64_t block = super ? SUPER : BLOCK;
    int64_t blocks = a->cols / block;
    int64_t block_bytes = mr_source_row_bytes(a->format, block);
    int64_t chunk = mr_max(1, CLAIM / a->cols);
    int64_t chunks = mr_ceil_div(a->rows, chunk);
    _Alignas(MR_CACHE_LINE) float x[SUPER];
    for (int64_t item; (item = mr_claim(thread, 1, chunks)) < chunks;) {
        for (int64_t row = item * chunk; row < mr_min(a->rows, (item + 1) * chunk); row++) {
            uint8_t *out = (uint8_t *)a->out + row * blocks * block_bytes;
            for (int64_t b = 0; b < blocks; b++, out += block_bytes) {
                if (!widen(a, row * a->cols + b * block, block, x)) {
                    mr_fail(thread, MR_E_VALUE, "row %lld, columns [%lld, %lld)", row, b * block, (b + 1) * block);
                    memset(x, 0, sizeof x);
                }
                switch (a->format) {
                    case MR_FORMAT_Q8_0: block_q8_0(x, out); break;
                    case MR_FORMAT_Q4_0: block_q4_0(x, out); break;
                    case MR_FORMAT_Q5_0: block_q5_0(x, out); break;
                    case MR_FORMAT_Q4_K: block_q4_k(x, out); break;
                    default: block_q6_k(x, out); break;
                }
            }
        }
    }
}

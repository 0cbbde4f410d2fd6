/*
 * One vocabulary of vector operations for all instruction sets. The kernels are written once against it and compiled once per set with
 * -DMR_FOR_<SET>; VW is the number of floats in a vector. Operations that change the order of a reduction (v_sum) have a fixed order.
 */
#ifndef MILLRACE_SIMD_H
#define MILLRACE_SIMD_H

#include "internal.h"

#include <math.h>
#include <string.h>

#if defined(MR_FOR_AVX512)
#include <immintrin.h>
#define MR_NAME(name) name##_avx512
#define VW 16
typedef __m512 vf;
static inline vf v_zero(void) { return _mm512_setzero_ps(); }
static inline vf v_set(float x) { return _mm512_set1_ps(x); }
static inline vf v_load(const float *p) { return _mm512_loadu_ps(p); }
static inline void v_store(float *p, vf a) { _mm512_storeu_ps(p, a); }
static inline vf v_add(vf a, vf b) { return _mm512_add_ps(a, b); }
static inline vf v_sub(vf a, vf b) { return _mm512_sub_ps(a, b); }
static inline vf v_mul(vf a, vf b) { return _mm512_mul_ps(a, b); }
static inline vf v_div(vf a, vf b) { return _mm512_div_ps(a, b); }
static inline vf v_max(vf a, vf b) { return _mm512_max_ps(a, b); }
static inline vf v_min(vf a, vf b) { return _mm512_min_ps(a, b); }
static inline vf v_fma(vf a, vf b, vf c) { return _mm512_fmadd_ps(a, b, c); }
static inline vf v_round(vf a) { return _mm512_roundscale_ps(a, _MM_FROUND_TO_NEAREST_INT | _MM_FROUND_NO_EXC); }
/* 2^n for integral n within [-126, 127] */
static inline vf v_pow2(vf n) {
    return _mm512_castsi512_ps(_mm512_slli_epi32(_mm512_add_epi32(_mm512_cvtps_epi32(n), _mm512_set1_epi32(127)), 23));
}
/* a where x >= limit, else b */
static inline vf v_select_ge(vf x, vf limit, vf a, vf b) {
    return _mm512_mask_blend_ps(_mm512_cmp_ps_mask(x, limit, _CMP_GE_OQ), b, a);
}
static inline float v_sum(vf a) {
    __m256 h = _mm256_add_ps(_mm512_castps512_ps256(a), _mm512_extractf32x8_ps(a, 1));
    __m128 q = _mm_add_ps(_mm256_castps256_ps128(h), _mm256_extractf128_ps(h, 1));
    q = _mm_add_ps(q, _mm_movehl_ps(q, q));
    return _mm_cvtss_f32(_mm_add_ss(q, _mm_movehdup_ps(q)));
}
static inline float v_hmax(vf a) { return _mm512_reduce_max_ps(a); }
static inline vf v_load_f16(const uint16_t *p) { return _mm512_cvtph_ps(_mm256_loadu_si256((const __m256i *)p)); }
static inline vf v_load_s8(const int8_t *p) { return _mm512_cvtepi32_ps(_mm512_cvtepi8_epi32(_mm_loadu_si128((const __m128i *)p))); }
static inline vf v_load_bf16(const uint16_t *p) {
    return _mm512_castsi512_ps(_mm512_slli_epi32(_mm512_cvtepu16_epi32(_mm256_loadu_si256((const __m256i *)p)), 16));
}
static inline void v_load_pair_bf16(const uint16_t *p, vf *low, vf *high) {
    __m512i w = _mm512_loadu_si512(p);
    *low = _mm512_castsi512_ps(_mm512_slli_epi32(w, 16));
    *high = _mm512_castsi512_ps(_mm512_and_si512(w, _mm512_set1_epi32((int)0xffff0000u)));
}

#elif defined(MR_FOR_AVX2)
#include <immintrin.h>
#define MR_NAME(name) name##_avx2
#define VW 8
typedef __m256 vf;
static inline vf v_zero(void) { return _mm256_setzero_ps(); }
static inline vf v_set(float x) { return _mm256_set1_ps(x); }
static inline vf v_load(const float *p) { return _mm256_loadu_ps(p); }
static inline void v_store(float *p, vf a) { _mm256_storeu_ps(p, a); }
static inline vf v_add(vf a, vf b) { return _mm256_add_ps(a, b); }
static inline vf v_sub(vf a, vf b) { return _mm256_sub_ps(a, b); }
static inline vf v_mul(vf a, vf b) { return _mm256_mul_ps(a, b); }
static inline vf v_div(vf a, vf b) { return _mm256_div_ps(a, b); }
static inline vf v_max(vf a, vf b) { return _mm256_max_ps(a, b); }
static inline vf v_min(vf a, vf b) { return _mm256_min_ps(a, b); }
static inline vf v_fma(vf a, vf b, vf c) { return _mm256_fmadd_ps(a, b, c); }
static inline vf v_round(vf a) { return _mm256_round_ps(a, _MM_FROUND_TO_NEAREST_INT | _MM_FROUND_NO_EXC); }
static inline vf v_pow2(vf n) {
    return _mm256_castsi256_ps(_mm256_slli_epi32(_mm256_add_epi32(_mm256_cvtps_epi32(n), _mm256_set1_epi32(127)), 23));
}
static inline vf v_select_ge(vf x, vf limit, vf a, vf b) {
    return _mm256_blendv_ps(b, a, _mm256_cmp_ps(x, limit, _CMP_GE_OQ));
}
static inline float v_sum(vf a) {
    __m128 q = _mm_add_ps(_mm256_castps256_ps128(a), _mm256_extractf128_ps(a, 1));
    q = _mm_add_ps(q, _mm_movehl_ps(q, q));
    return _mm_cvtss_f32(_mm_add_ss(q, _mm_movehdup_ps(q)));
}
static inline float v_hmax(vf a) {
    __m128 q = _mm_max_ps(_mm256_castps256_ps128(a), _mm256_extractf128_ps(a, 1));
    q = _mm_max_ps(q, _mm_movehl_ps(q, q));
    return _mm_cvtss_f32(_mm_max_ss(q, _mm_movehdup_ps(q)));
}
static inline vf v_load_f16(const uint16_t *p) { return _mm256_cvtph_ps(_mm_loadu_si128((const __m128i *)p)); }
static inline vf v_load_s8(const int8_t *p) { return _mm256_cvtepi32_ps(_mm256_cvtepi8_epi32(_mm_loadl_epi64((const __m128i *)p))); }
static inline vf v_load_bf16(const uint16_t *p) {
    return _mm256_castsi256_ps(_mm256_slli_epi32(_mm256_cvtepu16_epi32(_mm_loadu_si128((const __m128i *)p)), 16));
}
static inline void v_load_pair_bf16(const uint16_t *p, vf *low, vf *high) {
    __m256i w = _mm256_loadu_si256((const __m256i *)p);
    *low = _mm256_castsi256_ps(_mm256_slli_epi32(w, 16));
    *high = _mm256_castsi256_ps(_mm256_and_si256(w, _mm256_set1_epi32((int)0xffff0000u)));
}

#elif defined(MR_FOR_NEON)
#include <arm_neon.h>
#define MR_NAME(name) name##_neon
#define VW 4
typedef float32x4_t vf;
static inline vf v_zero(void) { return vdupq_n_f32(0.0f); }
static inline vf v_set(float x) { return vdupq_n_f32(x); }
static inline vf v_load(const float *p) { return vld1q_f32(p); }
static inline void v_store(float *p, vf a) { vst1q_f32(p, a); }
static inline vf v_add(vf a, vf b) { return vaddq_f32(a, b); }
static inline vf v_sub(vf a, vf b) { return vsubq_f32(a, b); }
static inline vf v_mul(vf a, vf b) { return vmulq_f32(a, b); }
static inline vf v_div(vf a, vf b) { return vdivq_f32(a, b); }
static inline vf v_max(vf a, vf b) { return vmaxnmq_f32(a, b); }
static inline vf v_min(vf a, vf b) { return vminnmq_f32(a, b); }
static inline vf v_fma(vf a, vf b, vf c) { return vfmaq_f32(c, a, b); }
static inline vf v_round(vf a) { return vrndnq_f32(a); }
static inline vf v_pow2(vf n) { return vreinterpretq_f32_s32(vshlq_n_s32(vaddq_s32(vcvtnq_s32_f32(n), vdupq_n_s32(127)), 23)); }
static inline vf v_select_ge(vf x, vf limit, vf a, vf b) { return vbslq_f32(vcgeq_f32(x, limit), a, b); }
static inline float v_sum(vf a) {
    float32x2_t h = vadd_f32(vget_low_f32(a), vget_high_f32(a));
    return vget_lane_f32(h, 0) + vget_lane_f32(h, 1);
}
static inline float v_hmax(vf a) { return vmaxnmvq_f32(a); }
static inline vf v_load_f16(const uint16_t *p) { return vcvt_f32_f16(vreinterpret_f16_u16(vld1_u16(p))); }
static inline vf v_load_s8(const int8_t *p) {
    int8_t lanes[8] = {p[0], p[1], p[2], p[3]};
    return vcvtq_f32_s32(vmovl_s16(vget_low_s16(vmovl_s8(vld1_s8(lanes)))));
}
static inline vf v_load_bf16(const uint16_t *p) { return vreinterpretq_f32_u32(vshll_n_u16(vld1_u16(p), 16)); }
static inline void v_load_pair_bf16(const uint16_t *p, vf *low, vf *high) {
    uint32x4_t w = vreinterpretq_u32_u16(vld1q_u16(p));
    *low = vreinterpretq_f32_u32(vshlq_n_u32(w, 16));
    *high = vreinterpretq_f32_u32(vandq_u32(w, vdupq_n_u32(0xffff0000u)));
}

#else
#define MR_NAME(name) name##_portable
#define VW 4
/* The vector extension of GCC and Clang: maps to whatever the baseline of the target has. */
typedef float vf __attribute__((vector_size(16)));
typedef int32_t vi __attribute__((vector_size(16)));
typedef uint32_t vu __attribute__((vector_size(16)));
static inline vf v_set(float x) { return (vf){x, x, x, x}; }
static inline vf v_zero(void) { return v_set(0.0f); }
static inline vf v_load(const float *p) { vf r; memcpy(&r, p, sizeof r); return r; }
static inline void v_store(float *p, vf a) { memcpy(p, &a, sizeof a); }
static inline vf v_add(vf a, vf b) { return a + b; }
static inline vf v_sub(vf a, vf b) { return a - b; }
static inline vf v_mul(vf a, vf b) { return a * b; }
static inline vf v_div(vf a, vf b) { return a / b; }
static inline vf v_blend(vi mask, vf a, vf b) { return (vf)((mask & (vi)a) | (~mask & (vi)b)); }
static inline vf v_max(vf a, vf b) { return v_blend(a > b, a, b); }
static inline vf v_min(vf a, vf b) { return v_blend(a < b, a, b); }
static inline vf v_fma(vf a, vf b, vf c) { return a * b + c; }
/* Adding and taking away 1.5 * 2^23 leaves the nearest integer for |a| < 2^22. */
static inline vf v_round(vf a) { vf magic = v_set(12582912.0f); return (a + magic) - magic; }
static inline vf v_pow2(vf n) { return (vf)((__builtin_convertvector(n, vi) + 127) << 23); }
static inline vf v_select_ge(vf x, vf limit, vf a, vf b) { return v_blend(x >= limit, a, b); }
static inline float v_sum(vf a) { return (a[0] + a[2]) + (a[1] + a[3]); }
static inline float v_hmax(vf a) {
    float x = a[0] > a[1] ? a[0] : a[1];
    float y = a[2] > a[3] ? a[2] : a[3];
    return x > y ? x : y;
}
#define MR_SCALAR_F16
static inline float s_from_f16(uint16_t h);
static inline vf v_load_f16(const uint16_t *p) { return (vf){s_from_f16(p[0]), s_from_f16(p[1]), s_from_f16(p[2]), s_from_f16(p[3])}; }
static inline vf v_load_s8(const int8_t *p) { return (vf){p[0], p[1], p[2], p[3]}; }
static inline vf v_load_bf16(const uint16_t *p) {
    return (vf)((vu){p[0], p[1], p[2], p[3]} << 16);
}
static inline void v_load_pair_bf16(const uint16_t *p, vf *low, vf *high) {
    vu w;
    memcpy(&w, p, sizeof w);
    *low = (vf)(w << 16);
    *high = (vf)(w & 0xffff0000u);
}
#endif

static inline float s_from_bits(uint32_t bits) { float f; memcpy(&f, &bits, 4); return f; }
static inline uint32_t s_bits(float f) { uint32_t bits; memcpy(&bits, &f, 4); return bits; }
static inline float s_from_bf16(uint16_t h) { return s_from_bits((uint32_t)h << 16); }

static inline float s_from_f16(uint16_t h) {
    uint32_t sign = (uint32_t)(h & 0x8000u) << 16;
    uint32_t exponent = (h >> 10) & 31u;
    uint32_t mantissa = h & 0x3ffu;
    if (exponent == 31u) {
        return s_from_bits(sign | 0x7f800000u | mantissa << 13);
    }
    if (exponent == 0) { /* subnormal or zero: mantissa * 2^-24 is exact */
        float f = (float)mantissa * 0x1p-24f;
        return sign ? -f : f;
    }
    return s_from_bits(sign | (exponent + 112u) << 23 | mantissa << 13);
}

/* Nearest, ties to even; NaN stays NaN. */
static inline uint16_t s_to_bf16(float f) {
    uint32_t bits = s_bits(f);
    if ((bits & 0x7fffffffu) > 0x7f800000u) {
        return (uint16_t)(bits >> 16 | 0x40u);
    }
    return (uint16_t)((bits + 0x7fffu + (bits >> 16 & 1u)) >> 16);
}

/* Nearest, ties to even; overflow gives infinity, NaN stays NaN. */
static inline uint16_t s_to_f16(float f) {
    uint32_t bits = s_bits(f);
    uint16_t sign = (uint16_t)(bits >> 16 & 0x8000u);
    uint32_t magnitude = bits & 0x7fffffffu;
    if (magnitude > 0x7f800000u) {
        return (uint16_t)(sign | 0x7e00u);
    }
    if (magnitude >= 0x477ff000u) { /* 65520 and above round to infinity */
        return (uint16_t)(sign | 0x7c00u);
    }
    if (magnitude < 0x38800000u) { /* below 2^-14: adding 0.5 leaves the rounded multiple of 2^-24 in the low bits */
        return (uint16_t)(sign | (s_bits(s_from_bits(magnitude) + 0.5f) - 0x3f000000u));
    }
    return (uint16_t)(sign | (((magnitude + 0xfffu + (magnitude >> 13 & 1u)) >> 13) - (112u << 10)));
}

/* One F16 in all lanes. */
static inline vf v_load_f16_all(const uint16_t *p) {
#if defined(MR_FOR_AVX512) || defined(MR_FOR_AVX2)
    return v_set(_cvtsh_ss(*p));
#else
    return v_set(s_from_f16(*p));
#endif
}

static inline float s_load(const void *p, int32_t dtype, int64_t i) {
    switch (dtype) {
        case MR_F32: return ((const float *)p)[i];
        case MR_F16: return s_from_f16(((const uint16_t *)p)[i]);
        default: return s_from_bf16(((const uint16_t *)p)[i]);
    }
}

static inline void s_store(void *p, int32_t dtype, int64_t i, float value) {
    switch (dtype) {
        case MR_F32: ((float *)p)[i] = value; break;
        case MR_F16: ((uint16_t *)p)[i] = s_to_f16(value); break;
        default: ((uint16_t *)p)[i] = s_to_bf16(value); break;
    }
}

static inline vf v_load_as(const void *p, int32_t dtype, int64_t i) {
    switch (dtype) {
        case MR_F32: return v_load((const float *)p + i);
        case MR_F16: return v_load_f16((const uint16_t *)p + i);
        default: return v_load_bf16((const uint16_t *)p + i);
    }
}

/*
 * e^x for x <= 88, relative error below 2e-7; 0 below -87.3 (so e^-inf is 0). Range reduction by a two-part ln 2 and a polynomial of
 * degree 6 (the Taylor coefficients are good enough on [-ln2/2, ln2/2]).
 */
static inline vf v_exp(vf x) {
    vf lowest = v_set(-87.3f);
    vf clamped = v_min(v_max(x, lowest), v_set(88.0f));
    vf n = v_round(v_mul(clamped, v_set(1.44269504f)));
    vf r = v_fma(n, v_set(-0.693359375f), clamped);
    r = v_fma(n, v_set(2.12194440e-4f), r);
    vf p = v_set(1.0f / 720.0f);
    p = v_fma(p, r, v_set(1.0f / 120.0f));
    p = v_fma(p, r, v_set(1.0f / 24.0f));
    p = v_fma(p, r, v_set(1.0f / 6.0f));
    p = v_fma(p, r, v_set(0.5f));
    p = v_fma(p, r, v_set(1.0f));
    p = v_fma(p, r, v_set(1.0f));
    return v_select_ge(x, lowest, v_mul(p, v_pow2(n)), v_zero());
}

/* Error below 1e-7 of 1. Near 0 the series keeps the relative error small too. */
static inline vf v_tanh(vf x) {
    vf one = v_set(1.0f);
    vf x2 = v_mul(x, x);
    vf p = v_set(62.0f / 2835.0f);
    p = v_fma(p, x2, v_set(-17.0f / 315.0f));
    p = v_fma(p, x2, v_set(2.0f / 15.0f));
    p = v_fma(p, x2, v_set(-1.0f / 3.0f));
    p = v_fma(v_mul(p, x2), x, x);
    vf e = v_exp(v_min(v_add(x, x), v_set(80.0f)));
    vf far = v_sub(one, v_div(v_set(2.0f), v_add(e, one)));
    return v_select_ge(x2, v_set(0.09f), far, p);
}

/* e^x for one number, with the same bits. */
static inline float s_exp(float x) {
    float lanes[VW];
    v_store(lanes, v_exp(v_set(x)));
    return lanes[0];
}

#endif

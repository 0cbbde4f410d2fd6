/*
 * Integer vectors for the quantised kernels: VW lanes of 32 bits beside the VW floats of simd.h, and the dot product of four unsigned
 * bytes of weights with four signed bytes of activations in each lane. With VNNI (-DMR_VNNI) that is one instruction.
 */
#ifndef MILLRACE_DOT_H
#define MILLRACE_DOT_H

#include "format.h"
#include "simd.h"

#if defined(MR_VNNI)
#define MR_DOT_NAME(name) name##_avx512_vnni
#else
#define MR_DOT_NAME(name) MR_NAME(name)
#endif

/*
 * i_dot(acc, w, x)    acc + sum of w * x; w at most 63, so that no instruction of any set saturates
 * i_dot8(acc, w, x)   the same for w = code + 128, of which BYTE_OFFSET is left for the caller to take away
 */
#if defined(MR_FOR_AVX512)
typedef __m512i vi;
static inline vi i_zero(void) { return _mm512_setzero_si512(); }
static inline vi i_set(int32_t x) { return _mm512_set1_epi32(x); }
static inline vi i_load(const void *p) { return _mm512_loadu_si512(p); }
static inline vi i_and(vi a, vi b) { return _mm512_and_si512(a, b); }
static inline vi i_or_and(vi a, vi b, vi mask) { return _mm512_ternarylogic_epi32(a, b, mask, 0xf8); } /* a | (b & mask) */
#define i_left(a, n) _mm512_slli_epi32(a, n)
#define i_right(a, n) _mm512_srli_epi32(a, n)
static inline vf i_to_f(vi a) { return _mm512_cvtepi32_ps(a); }
static inline vi i_load_u8(const uint8_t *p) { return _mm512_cvtepu8_epi32(_mm_loadu_si128((const __m128i *)p)); }
static inline vi i_load_s8(const uint8_t *p) { return _mm512_cvtepi8_epi32(_mm_loadu_si128((const __m128i *)p)); }
static inline void i_store_s8(int8_t *p, vf a) { _mm_storeu_si128((__m128i *)p, _mm512_cvtsepi32_epi8(_mm512_cvtps_epi32(a))); }
#if defined(MR_VNNI)
#define BYTE_OFFSET 128
static inline vi i_dot(vi acc, vi w, vi x) { return _mm512_dpbusd_epi32(acc, w, x); }
static inline vi i_dot8(vi acc, vi w, vi x) { return _mm512_dpbusd_epi32(acc, w, x); }
#else
#define BYTE_OFFSET 0
static inline vi i_dot(vi acc, vi w, vi x) {
    return _mm512_add_epi32(acc, _mm512_madd_epi16(_mm512_maddubs_epi16(w, x), _mm512_set1_epi16(1)));
}
/* |code| <= 128 times 127, twice, stays inside 16 bits where code + 128 would not. */
static inline vi i_dot8(vi acc, vi w, vi x) {
    vi code = _mm512_xor_si512(w, _mm512_set1_epi8((char)0x80));
    return i_dot(acc, _mm512_abs_epi8(code), _mm512_mask_sub_epi8(x, _mm512_movepi8_mask(code), _mm512_setzero_si512(), x));
}
#endif

#elif defined(MR_FOR_AVX2)
typedef __m256i vi;
static inline vi i_zero(void) { return _mm256_setzero_si256(); }
static inline vi i_set(int32_t x) { return _mm256_set1_epi32(x); }
static inline vi i_load(const void *p) { return _mm256_loadu_si256((const __m256i *)p); }
static inline vi i_and(vi a, vi b) { return _mm256_and_si256(a, b); }
static inline vi i_or_and(vi a, vi b, vi mask) { return _mm256_or_si256(a, _mm256_and_si256(b, mask)); }
#define i_left(a, n) _mm256_slli_epi32(a, n)
#define i_right(a, n) _mm256_srli_epi32(a, n)
static inline vf i_to_f(vi a) { return _mm256_cvtepi32_ps(a); }
static inline vi i_load_u8(const uint8_t *p) { return _mm256_cvtepu8_epi32(_mm_loadl_epi64((const __m128i *)p)); }
static inline vi i_load_s8(const uint8_t *p) { return _mm256_cvtepi8_epi32(_mm_loadl_epi64((const __m128i *)p)); }
static inline void i_store_s8(int8_t *p, vf a) {
    __m256i n = _mm256_cvtps_epi32(a);
    __m128i words = _mm_packs_epi32(_mm256_castsi256_si128(n), _mm256_extracti128_si256(n, 1));
    _mm_storel_epi64((__m128i *)p, _mm_packs_epi16(words, words));
}
#define BYTE_OFFSET 0
static inline vi i_dot(vi acc, vi w, vi x) {
    return _mm256_add_epi32(acc, _mm256_madd_epi16(_mm256_maddubs_epi16(w, x), _mm256_set1_epi16(1)));
}
static inline vi i_dot8(vi acc, vi w, vi x) {
    vi code = _mm256_xor_si256(w, _mm256_set1_epi8((char)0x80));
    return i_dot(acc, _mm256_abs_epi8(code), _mm256_sign_epi8(x, code));
}

#elif defined(MR_FOR_NEON)
typedef int32x4_t vi;
static inline vi i_zero(void) { return vdupq_n_s32(0); }
static inline vi i_set(int32_t x) { return vdupq_n_s32(x); }
static inline vi i_load(const void *p) { return vreinterpretq_s32_s8(vld1q_s8((const int8_t *)p)); }
static inline vi i_and(vi a, vi b) { return vandq_s32(a, b); }
static inline vi i_or_and(vi a, vi b, vi mask) { return vorrq_s32(a, vandq_s32(b, mask)); }
static inline vi i_left(vi a, int n) { return vshlq_s32(a, vdupq_n_s32(n)); }
static inline vi i_right(vi a, int n) { return vreinterpretq_s32_u32(vshlq_u32(vreinterpretq_u32_s32(a), vdupq_n_s32(-n))); }
static inline vf i_to_f(vi a) { return vcvtq_f32_s32(a); }
static inline vi i_load_u8(const uint8_t *p) { return (vi){p[0], p[1], p[2], p[3]}; }
static inline vi i_load_s8(const uint8_t *p) { return (vi){(int8_t)p[0], (int8_t)p[1], (int8_t)p[2], (int8_t)p[3]}; }
static inline void i_store_s8(int8_t *p, vf a) {
    int32_t lanes[4];
    vst1q_s32(lanes, vcvtnq_s32_f32(a));
    for (int i = 0; i < 4; i++) {
        p[i] = (int8_t)lanes[i];
    }
}
#define BYTE_OFFSET 0
/* Baseline instructions only: the dot-product extension is not on every machine. */
static inline vi i_dot(vi acc, vi w, vi x) {
    int8x16_t a = vreinterpretq_s8_s32(w);
    int8x16_t b = vreinterpretq_s8_s32(x);
    int16x8_t low = vmull_s8(vget_low_s8(a), vget_low_s8(b));
    int16x8_t high = vmull_s8(vget_high_s8(a), vget_high_s8(b));
    return vaddq_s32(acc, vpaddq_s32(vpaddlq_s16(low), vpaddlq_s16(high)));
}
static inline vi i_dot8(vi acc, vi w, vi x) { return i_dot(acc, veorq_s32(w, vdupq_n_s32((int32_t)0x80808080u)), x); }

#else /* portable: simd.h has vi */
static inline vi i_set(int32_t x) { return (vi){x, x, x, x}; }
static inline vi i_zero(void) { return i_set(0); }
static inline vi i_load(const void *p) { vi r; memcpy(&r, p, sizeof r); return r; }
static inline vi i_and(vi a, vi b) { return a & b; }
static inline vi i_or_and(vi a, vi b, vi mask) { return a | (b & mask); }
static inline vi i_left(vi a, int n) { return (vi)((vu)a << n); }
static inline vi i_right(vi a, int n) { return (vi)((vu)a >> n); }
static inline vf i_to_f(vi a) { return __builtin_convertvector(a, vf); }
static inline vi i_load_u8(const uint8_t *p) { return (vi){p[0], p[1], p[2], p[3]}; }
static inline vi i_load_s8(const uint8_t *p) { return (vi){(int8_t)p[0], (int8_t)p[1], (int8_t)p[2], (int8_t)p[3]}; }
static inline void i_store_s8(int8_t *p, vf a) {
    for (int i = 0; i < 4; i++) {
        p[i] = (int8_t)a[i];
    }
}
#define BYTE_OFFSET 0
/* Byte j of each lane, sign-extended: with it four multiplications of whole vectors make the dot product. */
static inline vi i_byte(vi a, int j) { return (vi)((vu)a << (24 - 8 * j)) >> 24; }
static inline vi i_dot(vi acc, vi w, vi x) {
    for (int j = 0; j < 4; j++) {
        acc += i_byte(w, j) * i_byte(x, j);
    }
    return acc;
}
static inline vi i_dot8(vi acc, vi w, vi x) { return i_dot(acc, w ^ (int32_t)0x80808080u, x); }
#endif

#endif

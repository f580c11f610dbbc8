/* Sixteen floats side by side: one register of AVX-512, two of AVX2, four vectors of the compiler in the
 * portable tier (core/real.h says which this is compiled for). Kernels written with them do the same
 * operations on every element in all tiers, so that their bits are the same. Fused multiply-add stands where
 * it is written and nowhere else. */
#ifndef LOCKSTEP_LAYERS_CONV2D_SIXTEEN_H
#define LOCKSTEP_LAYERS_CONV2D_SIXTEEN_H

#include <stdint.h>
#include <string.h>

#include "core/real.h"
#ifdef LS_FOR_PORTABLE
#include "core/fused.h"
#else
#include <immintrin.h>
#endif

/* Functions that have to vanish into their callers, so that what they hold stays in registers. */
#define ALWAYS_INLINE static inline __attribute__((always_inline))

/* Before a loop over registers: it vanishes, and early enough for them to be registers. With sanitizers it
 * would take minutes to compile. */
#ifdef __SANITIZE_ADDRESS__
#define UNROLL
#elif defined __clang__
#define UNROLL _Pragma("clang loop unroll(full)")
#else
#define UNROLL _Pragma("GCC unroll 28")
#endif

/* --- a register --- */

/* power a + b (plus): the product is exact, so that fusing does not change the bits. where_positive: t <= 0 ?
 * 0 : x; where t is NaN, x. stream: past the caches, which are not asked what stood there, p a multiple of
 * the register. round_factor: the nearest bf16 number, ties to even. */
#ifdef LS_FOR_AVX512

typedef __m512 vec;
typedef __m512d two_doubles;

ALWAYS_INLINE vec load(const float *p) {
    return _mm512_loadu_ps(p);
}
ALWAYS_INLINE void store(float *p, vec x) {
    _mm512_storeu_ps(p, x);
}
ALWAYS_INLINE void stream(float *p, vec x) {
    _mm512_stream_ps(p, x);
}
ALWAYS_INLINE vec all(float x) {
    return _mm512_set1_ps(x);
}
ALWAYS_INLINE vec plus(float power, vec a, vec b) {
    return _mm512_fmadd_ps(all(power), a, b);
}
ALWAYS_INLINE vec where_positive(vec t, vec x) {
    return _mm512_maskz_mov_ps(_mm512_cmp_ps_mask(t, _mm512_setzero_ps(), _CMP_NLE_UQ), x);
}
ALWAYS_INLINE two_doubles multiply_add_doubles(two_doubles x, two_doubles y, two_doubles sum) {
    return _mm512_fmadd_pd(x, y, sum);
}
ALWAYS_INLINE vec round_factor(vec x) {
    const __m512i b = _mm512_castps_si512(x),
                  odd = _mm512_and_si512(_mm512_srli_epi32(b, 16), _mm512_set1_epi32(1)),
                  up = _mm512_add_epi32(b, _mm512_add_epi32(odd, _mm512_set1_epi32(0x7fff)));
    const __mmask16 nan = _mm512_cmp_ps_mask(x, x, _CMP_UNORD_Q);
    const __m512i rounded = _mm512_mask_or_epi32(up, nan, b, _mm512_set1_epi32(0x400000));
    return _mm512_castsi512_ps(_mm512_and_si512(rounded, _mm512_set1_epi32((int)0xffff0000u)));
}
/* Both factors are words with LS_PAIRS, and their two products are added. */
#if LS_PAIRS
#define MULTIPLY_ADD            "vdpbf16ps"
#define multiply_add(a, x, sum) _mm512_dpbf16_ps(sum, (__m512bh)(x), (__m512bh)(a))
#else
#define MULTIPLY_ADD            "vfmadd231ps"
#define multiply_add(a, x, sum) _mm512_fmadd_ps(a, x, sum)
#endif

#elif defined LS_FOR_AVX2

typedef __m256 vec;
typedef __m256d two_doubles;

ALWAYS_INLINE vec load(const float *p) {
    return _mm256_loadu_ps(p);
}
ALWAYS_INLINE void store(float *p, vec x) {
    _mm256_storeu_ps(p, x);
}
ALWAYS_INLINE void stream(float *p, vec x) {
    _mm256_stream_ps(p, x);
}
ALWAYS_INLINE vec all(float x) {
    return _mm256_set1_ps(x);
}
ALWAYS_INLINE vec plus(float power, vec a, vec b) {
    return _mm256_fmadd_ps(all(power), a, b);
}
ALWAYS_INLINE vec where_positive(vec t, vec x) {
    return _mm256_and_ps(_mm256_cmp_ps(t, _mm256_setzero_ps(), _CMP_NLE_UQ), x);
}
ALWAYS_INLINE two_doubles multiply_add_doubles(two_doubles x, two_doubles y, two_doubles sum) {
    return _mm256_fmadd_pd(x, y, sum);
}
ALWAYS_INLINE vec round_factor(vec x) {
    const __m256i b = _mm256_castps_si256(x),
                  odd = _mm256_and_si256(_mm256_srli_epi32(b, 16), _mm256_set1_epi32(1));
    const __m256i rounded = _mm256_add_epi32(b, _mm256_add_epi32(odd, _mm256_set1_epi32(0x7fff)));
    const __m256i quiet = _mm256_or_si256(b, _mm256_set1_epi32(0x400000));
    const __m256 nan = _mm256_cmp_ps(x, x, _CMP_UNORD_Q);
    return _mm256_and_ps(_mm256_blendv_ps(_mm256_castsi256_ps(rounded), _mm256_castsi256_ps(quiet), nan),
                         _mm256_castsi256_ps(_mm256_set1_epi32((int)0xffff0000u)));
}
#define multiply_add(a, x, sum) _mm256_fmadd_ps(a, x, sum)

#else /* portable C */

typedef ls_four vec;
typedef double two_doubles __attribute__((vector_size(16)));

ALWAYS_INLINE vec load(const float *p) {
    vec x;
    memcpy(&x, p, sizeof x);
    return x;
}
ALWAYS_INLINE void store(float *p, vec x) {
    memcpy(p, &x, sizeof x);
}
ALWAYS_INLINE void stream(float *p, vec x) {
    store(p, x);
}
ALWAYS_INLINE vec all(float x) {
    return (vec){x, x, x, x};
}
ALWAYS_INLINE vec plus(float power, vec a, vec b) {
    return all(power) * a + b;
}
ALWAYS_INLINE vec where_positive(vec t, vec x) {
    typedef int32_t bits __attribute__((vector_size(16)));
    return (vec)((bits)x & ~(bits)(t <= 0));
}
ALWAYS_INLINE two_doubles multiply_add_doubles(two_doubles x, two_doubles y, two_doubles sum) {
    return sum + x * y;
}
ALWAYS_INLINE vec round_factor(vec x) {
    return ls_bf16_of4(x);
}
#define multiply_add(a, x, sum) ls_multiply_add4(a, x, sum)

#endif

/* --- sixteen of them --- */

enum { WIDTH = sizeof(vec) / sizeof(float), REGISTERS = 16 / WIDTH, DOUBLES = 2 * REGISTERS };

typedef struct sixteen {
    vec v[REGISTERS];
} sixteen;
typedef struct sixteen_doubles {
    two_doubles v[DOUBLES];
} sixteen_doubles;

#define EACH(count) UNROLL for (int i = 0; i < (count); i++)

ALWAYS_INLINE sixteen load16(const float *p) {
    sixteen x;
    EACH(REGISTERS) x.v[i] = load(p + i * WIDTH);
    return x;
}
ALWAYS_INLINE void store16(float *p, sixteen x) {
    EACH(REGISTERS) store(p + i * WIDTH, x.v[i]);
}
/* Past the caches: p a multiple of 64 bytes. */
ALWAYS_INLINE void stream16(float *p, sixteen x) {
    EACH(REGISTERS) stream(p + i * WIDTH, x.v[i]);
}
/* Before anybody is told that it is there. */
ALWAYS_INLINE void end_streams16(void) {
#ifndef LS_FOR_PORTABLE
    _mm_sfence();
#endif
}
ALWAYS_INLINE sixteen broadcast16(float x) {
    sixteen to;
    EACH(REGISTERS) to.v[i] = all(x);
    return to;
}
ALWAYS_INLINE sixteen zero16(void) {
    return broadcast16(0);
}
ALWAYS_INLINE sixteen add16(sixteen a, sixteen b) {
    EACH(REGISTERS) a.v[i] = a.v[i] + b.v[i];
    return a;
}
ALWAYS_INLINE sixteen subtract16(sixteen a, sixteen b) {
    EACH(REGISTERS) a.v[i] = a.v[i] - b.v[i];
    return a;
}
ALWAYS_INLINE sixteen multiply16(sixteen a, sixteen b) {
    EACH(REGISTERS) a.v[i] = a.v[i] * b.v[i];
    return a;
}
/* t <= 0 ? 0 : x; where t is NaN, x */
ALWAYS_INLINE sixteen where_positive16(sixteen t, sixteen x) {
    EACH(REGISTERS) x.v[i] = where_positive(t.v[i], x.v[i]);
    return x;
}

ALWAYS_INLINE sixteen_doubles load16_doubles(const double *p) {
    sixteen_doubles s;
    EACH(DOUBLES) memcpy(&s.v[i], p + i * (16 / DOUBLES), sizeof s.v[i]);
    return s;
}
ALWAYS_INLINE void store16_doubles(double *p, sixteen_doubles s) {
    EACH(DOUBLES) memcpy(p + i * (16 / DOUBLES), &s.v[i], sizeof s.v[i]);
}
ALWAYS_INLINE sixteen_doubles add_widened16(sixteen_doubles sum, sixteen_doubles x) {
    EACH(DOUBLES) sum.v[i] = sum.v[i] + x.v[i];
    return sum;
}
/* sum + x y: the product of two widened floats is exact, so that fusing does not change the bits. */
ALWAYS_INLINE sixteen_doubles add_product16(sixteen_doubles sum, sixteen_doubles x, sixteen_doubles y) {
    EACH(DOUBLES) sum.v[i] = multiply_add_doubles(x.v[i], y.v[i], sum.v[i]);
    return sum;
}

/* load16_first, store16_first: the first n lanes; the others are 0, and no memory behind them is touched. */
#ifdef LS_FOR_AVX512
ALWAYS_INLINE __mmask16 first_lanes(int64_t n) {
    return (__mmask16)((1u << n) - 1);
}
ALWAYS_INLINE sixteen load16_first(const float *p, int64_t n) {
    return (sixteen){{_mm512_maskz_loadu_ps(first_lanes(n), p)}};
}
ALWAYS_INLINE void store16_first(float *p, sixteen x, int64_t n) {
    _mm512_mask_storeu_ps(p, first_lanes(n), x.v[0]);
}
ALWAYS_INLINE sixteen_doubles widen16(sixteen x) {
    return (sixteen_doubles){{_mm512_cvtps_pd(_mm512_castps512_ps256(x.v[0])),
                              _mm512_cvtps_pd(_mm512_extractf32x8_ps(x.v[0], 1))}};
}
#elif defined LS_FOR_AVX2
/* All bits set in the first n of eight lanes; n beyond 0 .. 8 counts as the nearest of them. */
ALWAYS_INLINE __m256i first_lanes(int64_t n) {
    return _mm256_cmpgt_epi32(_mm256_set1_epi32((int)n), _mm256_setr_epi32(0, 1, 2, 3, 4, 5, 6, 7));
}
ALWAYS_INLINE sixteen load16_first(const float *p, int64_t n) {
    return (sixteen){{_mm256_maskload_ps(p, first_lanes(n)),
                      n > 8 ? _mm256_maskload_ps(p + 8, first_lanes(n - 8)) : _mm256_setzero_ps()}};
}
ALWAYS_INLINE void store16_first(float *p, sixteen x, int64_t n) {
    _mm256_maskstore_ps(p, first_lanes(n), x.v[0]);
    if (n > 8) _mm256_maskstore_ps(p + 8, first_lanes(n - 8), x.v[1]);
}
ALWAYS_INLINE sixteen_doubles widen16(sixteen x) {
    return (sixteen_doubles){
        {_mm256_cvtps_pd(_mm256_castps256_ps128(x.v[0])), _mm256_cvtps_pd(_mm256_extractf128_ps(x.v[0], 1)),
         _mm256_cvtps_pd(_mm256_castps256_ps128(x.v[1])), _mm256_cvtps_pd(_mm256_extractf128_ps(x.v[1], 1))}};
}
#else
ALWAYS_INLINE sixteen load16_first(const float *p, int64_t n) {
    float lanes[16] = {0};
    memcpy(lanes, p, (size_t)n * sizeof(float));
    return load16(lanes);
}
ALWAYS_INLINE void store16_first(float *p, sixteen x, int64_t n) {
    float lanes[16];
    store16(lanes, x);
    memcpy(p, lanes, (size_t)n * sizeof(float));
}
ALWAYS_INLINE sixteen_doubles widen16(sixteen x) {
    sixteen_doubles d;
    EACH(DOUBLES) d.v[i] = (two_doubles){(double)x.v[i / 2][i % 2 * 2], (double)x.v[i / 2][i % 2 * 2 + 1]};
    return d;
}
#endif

#if LS_PAIRS

/* Sixteen numbers rounded to bf16. */
typedef struct sixteen_bf16 {
    __m256i v;
} sixteen_bf16;

ALWAYS_INLINE sixteen_bf16 round16(sixteen x) {
    return (sixteen_bf16){(__m256i)_mm512_cvtneps_pbh(x.v[0])};
}
/* Words of (first, second), lane by lane. */
ALWAYS_INLINE sixteen pair16(sixteen_bf16 first, sixteen_bf16 second) {
    return (sixteen){{_mm512_castsi512_ps(_mm512_or_si512(
        _mm512_slli_epi32(_mm512_cvtepu16_epi32(first.v), 16), _mm512_cvtepu16_epi32(second.v)))}};
}
/* Eight words of neighbours: (x[0], x[1]), (x[2], x[3]), .. */
ALWAYS_INLINE void store16_neighbours(float *p, sixteen_bf16 x) {
    _mm256_storeu_ps(p, _mm256_castsi256_ps(_mm256_ror_epi32(x.v, 16)));
}
/* Of words (a, 0) or anything for 0, and (b, 0): (a, b). */
ALWAYS_INLINE sixteen join16(sixteen a, sixteen b) {
    const __m512i first = _mm512_set1_epi32((int)0xffff0000u);
    return (sixteen){
        {_mm512_castsi512_ps(_mm512_or_si512(_mm512_and_si512(_mm512_castps_si512(a.v[0]), first),
                                             _mm512_srli_epi32(_mm512_castps_si512(b.v[0]), 16)))}};
}
/* The first factors of words, as floats. */
ALWAYS_INLINE sixteen first_factor16(sixteen x) {
    return (sixteen){{_mm512_castsi512_ps(
        _mm512_and_si512(_mm512_castps_si512(x.v[0]), _mm512_set1_epi32((int)0xffff0000u)))}};
}
/* As words whose second factor is 0. */
ALWAYS_INLINE sixteen factor16(sixteen x) {
    return pair16(round16(x), (sixteen_bf16){_mm256_setzero_si256()});
}

#else

/* What stands for x as a factor of products: with LS_BF16 the nearest bf16 number. */
ALWAYS_INLINE sixteen factor16(sixteen x) {
#ifdef LS_BF16
    EACH(REGISTERS) x.v[i] = round_factor(x.v[i]);
#endif
    return x;
}
ALWAYS_INLINE sixteen first_factor16(sixteen x) {
    return x;
}

#endif

/* sum[r] += scalar[r step] * x, for r = 0 .. n-1, fused. Whatever n is must be a constant after inlining. With
 * AVX-512 the compiler makes an operand of few of so many broadcasts, and runs out of registers for the others;
 * hence the instruction itself, except where a sanitizer should see the load. */
ALWAYS_INLINE void multiply_add16(sixteen *sum, int n, const float *scalar, int64_t step, sixteen x) {
    UNROLL
    for (int r = 0; r < n; r++) {
#if defined LS_FOR_AVX512 && !defined __SANITIZE_ADDRESS__
        __asm__(MULTIPLY_ADD " %2%{1to16%}, %1, %0" : "+v"(sum[r].v[0]) : "v"(x.v[0]), "m"(scalar[r * step]));
#else
        const vec s = all(scalar[r * step]);
        EACH(REGISTERS) sum[r].v[i] = multiply_add(s, x.v[i], sum[r].v[i]);
#endif
    }
}

/* The same for two of x, whose sums are in `first` and `second`: one broadcast for both. */
ALWAYS_INLINE void multiply_add16_twice(sixteen *first, sixteen *second, int n, const float *scalar,
                                        int64_t step, sixteen x, sixteen y) {
    UNROLL
    for (int r = 0; r < n; r++) {
        const vec s = all(scalar[r * step]);
        EACH(REGISTERS) {
            first[r].v[i] = multiply_add(s, x.v[i], first[r].v[i]);
            second[r].v[i] = multiply_add(s, y.v[i], second[r].v[i]);
        }
    }
}

#endif

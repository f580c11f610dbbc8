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

#ifdef LS_FOR_AVX512

typedef struct sixteen {
    __m512 v;
} sixteen;
typedef struct sixteen_doubles {
    __m512d v[2];
} sixteen_doubles;

ALWAYS_INLINE __mmask16 first_lanes(int64_t n) {
    return (__mmask16)((1u << n) - 1);
}

ALWAYS_INLINE sixteen load16(const float *p) {
    return (sixteen){_mm512_loadu_ps(p)};
}
ALWAYS_INLINE void store16(float *p, sixteen x) {
    _mm512_storeu_ps(p, x.v);
}
/* Past the caches, which are not asked what stood there: p a multiple of 64 bytes. */
ALWAYS_INLINE void stream16(float *p, sixteen x) {
    _mm512_stream_ps(p, x.v);
}
/* Before anybody is told that it is there. */
ALWAYS_INLINE void end_streams16(void) {
    _mm_sfence();
}
/* The first n lanes; the others are 0, and no memory behind them is touched. */
ALWAYS_INLINE sixteen load16_first(const float *p, int64_t n) {
    return (sixteen){_mm512_maskz_loadu_ps(first_lanes(n), p)};
}
ALWAYS_INLINE void store16_first(float *p, sixteen x, int64_t n) {
    _mm512_mask_storeu_ps(p, first_lanes(n), x.v);
}
ALWAYS_INLINE sixteen zero16(void) {
    return (sixteen){_mm512_setzero_ps()};
}
ALWAYS_INLINE sixteen broadcast16(float x) {
    return (sixteen){_mm512_set1_ps(x)};
}
ALWAYS_INLINE sixteen add16(sixteen a, sixteen b) {
    return (sixteen){a.v + b.v};
}
ALWAYS_INLINE sixteen subtract16(sixteen a, sixteen b) {
    return (sixteen){a.v - b.v};
}
ALWAYS_INLINE sixteen multiply16(sixteen a, sixteen b) {
    return (sixteen){a.v * b.v};
}
/* t <= 0 ? 0 : x; where t is NaN, x */
ALWAYS_INLINE sixteen where_positive16(sixteen t, sixteen x) {
    return (sixteen){_mm512_maskz_mov_ps(_mm512_cmp_ps_mask(t.v, _mm512_setzero_ps(), _CMP_NLE_UQ), x.v)};
}

ALWAYS_INLINE sixteen_doubles load16_doubles(const double *p) {
    return (sixteen_doubles){{_mm512_loadu_pd(p), _mm512_loadu_pd(p + 8)}};
}
ALWAYS_INLINE void store16_doubles(double *p, sixteen_doubles s) {
    _mm512_storeu_pd(p, s.v[0]);
    _mm512_storeu_pd(p + 8, s.v[1]);
}
ALWAYS_INLINE sixteen_doubles widen16(sixteen x) {
    return (sixteen_doubles){
        {_mm512_cvtps_pd(_mm512_castps512_ps256(x.v)), _mm512_cvtps_pd(_mm512_extractf32x8_ps(x.v, 1))}};
}
ALWAYS_INLINE sixteen_doubles add_widened16(sixteen_doubles sum, sixteen_doubles x) {
    for (int i = 0; i < 2; i++) sum.v[i] += x.v[i];
    return sum;
}
/* sum + x y: the product of two widened floats is exact, so that fusing does not change the bits. */
ALWAYS_INLINE sixteen_doubles add_product16(sixteen_doubles sum, sixteen_doubles x, sixteen_doubles y) {
    for (int i = 0; i < 2; i++) sum.v[i] = _mm512_fmadd_pd(x.v[i], y.v[i], sum.v[i]);
    return sum;
}

#if LS_PAIRS

/* Sixteen numbers rounded to bf16. */
typedef struct sixteen_bf16 {
    __m256i v;
} sixteen_bf16;

ALWAYS_INLINE sixteen_bf16 round16(sixteen x) {
    return (sixteen_bf16){(__m256i)_mm512_cvtneps_pbh(x.v)};
}
/* Words of (first, second), lane by lane. */
ALWAYS_INLINE sixteen pair16(sixteen_bf16 first, sixteen_bf16 second) {
    return (sixteen){_mm512_castsi512_ps(_mm512_or_si512(
        _mm512_slli_epi32(_mm512_cvtepu16_epi32(first.v), 16), _mm512_cvtepu16_epi32(second.v)))};
}
/* Eight words of neighbours: (x[0], x[1]), (x[2], x[3]), .. */
ALWAYS_INLINE void store16_neighbours(float *p, sixteen_bf16 x) {
    _mm256_storeu_ps(p, _mm256_castsi256_ps(_mm256_ror_epi32(x.v, 16)));
}
/* Of words (a, 0) or anything for 0, and (b, 0): (a, b). */
ALWAYS_INLINE sixteen join16(sixteen a, sixteen b) {
    const __m512i first = _mm512_set1_epi32((int)0xffff0000u);
    return (sixteen){_mm512_castsi512_ps(_mm512_or_si512(_mm512_and_si512(_mm512_castps_si512(a.v), first),
                                                         _mm512_srli_epi32(_mm512_castps_si512(b.v), 16)))};
}
/* The first factors of words, as floats. */
ALWAYS_INLINE sixteen first_factor16(sixteen x) {
    return (sixteen){
        _mm512_castsi512_ps(_mm512_and_si512(_mm512_castps_si512(x.v), _mm512_set1_epi32((int)0xffff0000u)))};
}
/* As words whose second factor is 0. */
ALWAYS_INLINE sixteen factor16(sixteen x) {
    return pair16(round16(x), (sixteen_bf16){_mm256_setzero_si256()});
}

#define MULTIPLY_ADD            "vdpbf16ps"
#define multiply_add(a, x, sum) _mm512_dpbf16_ps(sum, (__m512bh)(x), (__m512bh)(a))

#else

/* What stands for x as a factor of products: with LS_BF16 the nearest bf16 number, ties to even. */
ALWAYS_INLINE sixteen factor16(sixteen x) {
#ifdef LS_BF16
    const __m512i b = _mm512_castps_si512(x.v),
                  odd = _mm512_and_si512(_mm512_srli_epi32(b, 16), _mm512_set1_epi32(1)),
                  up = _mm512_add_epi32(b, _mm512_add_epi32(odd, _mm512_set1_epi32(0x7fff)));
    const __mmask16 nan = _mm512_cmp_ps_mask(x.v, x.v, _CMP_UNORD_Q);
    const __m512i rounded = _mm512_mask_or_epi32(up, nan, b, _mm512_set1_epi32(0x400000));
    x.v = _mm512_castsi512_ps(_mm512_and_si512(rounded, _mm512_set1_epi32((int)0xffff0000u)));
#endif
    return x;
}
ALWAYS_INLINE sixteen first_factor16(sixteen x) {
    return x;
}

#define MULTIPLY_ADD            "vfmadd231ps"
#define multiply_add(a, x, sum) _mm512_fmadd_ps(a, x, sum)

#endif

/* sum[r] += scalar[r step] * x, for r = 0 .. n-1, fused. Whatever n is must be a constant after inlining.
 * With LS_PAIRS both are words, and their two products are added. The compiler makes an operand of few of so
 * many broadcasts, and runs out of registers for the others; hence the instruction itself, except where a
 * sanitizer should see the load. */
ALWAYS_INLINE void multiply_add16(sixteen *sum, int n, const float *scalar, int64_t step, sixteen x) {
    UNROLL
    for (int r = 0; r < n; r++) {
#ifdef __SANITIZE_ADDRESS__
        sum[r].v = multiply_add(_mm512_set1_ps(scalar[r * step]), x.v, sum[r].v);
#else
        __asm__(MULTIPLY_ADD " %2%{1to16%}, %1, %0" : "+v"(sum[r].v) : "v"(x.v), "m"(scalar[r * step]));
#endif
    }
}

#elif defined LS_FOR_AVX2

typedef struct sixteen {
    __m256 v[2];
} sixteen;
typedef struct sixteen_doubles {
    __m256d v[4];
} sixteen_doubles;

/* All bits set in the first n of eight lanes; n beyond 0 .. 8 counts as the nearest of them. */
ALWAYS_INLINE __m256i first_lanes(int64_t n) {
    return _mm256_cmpgt_epi32(_mm256_set1_epi32((int)n), _mm256_setr_epi32(0, 1, 2, 3, 4, 5, 6, 7));
}

ALWAYS_INLINE sixteen load16(const float *p) {
    return (sixteen){{_mm256_loadu_ps(p), _mm256_loadu_ps(p + 8)}};
}
ALWAYS_INLINE void store16(float *p, sixteen x) {
    _mm256_storeu_ps(p, x.v[0]);
    _mm256_storeu_ps(p + 8, x.v[1]);
}
/* Past the caches, which are not asked what stood there: p a multiple of 32 bytes. */
ALWAYS_INLINE void stream16(float *p, sixteen x) {
    _mm256_stream_ps(p, x.v[0]);
    _mm256_stream_ps(p + 8, x.v[1]);
}
/* Before anybody is told that it is there. */
ALWAYS_INLINE void end_streams16(void) {
    _mm_sfence();
}
/* The first n lanes; the others are 0, and no memory behind them is touched. */
ALWAYS_INLINE sixteen load16_first(const float *p, int64_t n) {
    return (sixteen){{_mm256_maskload_ps(p, first_lanes(n)),
                      n > 8 ? _mm256_maskload_ps(p + 8, first_lanes(n - 8)) : _mm256_setzero_ps()}};
}
ALWAYS_INLINE void store16_first(float *p, sixteen x, int64_t n) {
    _mm256_maskstore_ps(p, first_lanes(n), x.v[0]);
    if (n > 8) _mm256_maskstore_ps(p + 8, first_lanes(n - 8), x.v[1]);
}
ALWAYS_INLINE sixteen zero16(void) {
    return (sixteen){{_mm256_setzero_ps(), _mm256_setzero_ps()}};
}
ALWAYS_INLINE sixteen broadcast16(float x) {
    return (sixteen){{_mm256_set1_ps(x), _mm256_set1_ps(x)}};
}
ALWAYS_INLINE sixteen add16(sixteen a, sixteen b) {
    return (sixteen){{a.v[0] + b.v[0], a.v[1] + b.v[1]}};
}
ALWAYS_INLINE sixteen subtract16(sixteen a, sixteen b) {
    return (sixteen){{a.v[0] - b.v[0], a.v[1] - b.v[1]}};
}
ALWAYS_INLINE sixteen multiply16(sixteen a, sixteen b) {
    return (sixteen){{a.v[0] * b.v[0], a.v[1] * b.v[1]}};
}
/* t <= 0 ? 0 : x; where t is NaN, x */
ALWAYS_INLINE sixteen where_positive16(sixteen t, sixteen x) {
    for (int i = 0; i < 2; i++)
        x.v[i] = _mm256_and_ps(_mm256_cmp_ps(t.v[i], _mm256_setzero_ps(), _CMP_NLE_UQ), x.v[i]);
    return x;
}

ALWAYS_INLINE sixteen_doubles load16_doubles(const double *p) {
    return (sixteen_doubles){
        {_mm256_loadu_pd(p), _mm256_loadu_pd(p + 4), _mm256_loadu_pd(p + 8), _mm256_loadu_pd(p + 12)}};
}
ALWAYS_INLINE void store16_doubles(double *p, sixteen_doubles s) {
    for (int i = 0; i < 4; i++) _mm256_storeu_pd(p + 4 * i, s.v[i]);
}
ALWAYS_INLINE sixteen_doubles widen16(sixteen x) {
    return (sixteen_doubles){
        {_mm256_cvtps_pd(_mm256_castps256_ps128(x.v[0])), _mm256_cvtps_pd(_mm256_extractf128_ps(x.v[0], 1)),
         _mm256_cvtps_pd(_mm256_castps256_ps128(x.v[1])), _mm256_cvtps_pd(_mm256_extractf128_ps(x.v[1], 1))}};
}
ALWAYS_INLINE sixteen_doubles add_widened16(sixteen_doubles sum, sixteen_doubles x) {
    for (int i = 0; i < 4; i++) sum.v[i] += x.v[i];
    return sum;
}
/* sum + x y: the product of two widened floats is exact, so that fusing does not change the bits. */
ALWAYS_INLINE sixteen_doubles add_product16(sixteen_doubles sum, sixteen_doubles x, sixteen_doubles y) {
    for (int i = 0; i < 4; i++) sum.v[i] = _mm256_fmadd_pd(x.v[i], y.v[i], sum.v[i]);
    return sum;
}

/* What stands for x as a factor of products: with LS_BF16 the nearest bf16 number, ties to even. */
ALWAYS_INLINE sixteen factor16(sixteen x) {
#ifdef LS_BF16
    for (int i = 0; i < 2; i++) {
        const __m256i b = _mm256_castps_si256(x.v[i]),
                      odd = _mm256_and_si256(_mm256_srli_epi32(b, 16), _mm256_set1_epi32(1));
        const __m256i rounded = _mm256_add_epi32(b, _mm256_add_epi32(odd, _mm256_set1_epi32(0x7fff)));
        const __m256i quiet = _mm256_or_si256(b, _mm256_set1_epi32(0x400000));
        const __m256 nan = _mm256_cmp_ps(x.v[i], x.v[i], _CMP_UNORD_Q);
        x.v[i] =
            _mm256_and_ps(_mm256_blendv_ps(_mm256_castsi256_ps(rounded), _mm256_castsi256_ps(quiet), nan),
                          _mm256_castsi256_ps(_mm256_set1_epi32((int)0xffff0000u)));
    }
#endif
    return x;
}
ALWAYS_INLINE sixteen first_factor16(sixteen x) {
    return x;
}

/* sum[r] += scalar[r step] * x, for r = 0 .. n-1, fused. Whatever n is must be a constant after inlining. */
ALWAYS_INLINE void multiply_add16(sixteen *sum, int n, const float *scalar, int64_t step, sixteen x) {
    UNROLL
    for (int r = 0; r < n; r++) {
        const __m256 s = _mm256_broadcast_ss(scalar + r * step);
        sum[r].v[0] = _mm256_fmadd_ps(s, x.v[0], sum[r].v[0]);
        sum[r].v[1] = _mm256_fmadd_ps(s, x.v[1], sum[r].v[1]);
    }
}

#else /* portable C */

typedef struct sixteen {
    ls_four v[4];
} sixteen;
typedef double two_doubles __attribute__((vector_size(16)));
typedef struct sixteen_doubles {
    two_doubles v[8];
} sixteen_doubles;

ALWAYS_INLINE sixteen load16(const float *p) {
    sixteen x;
    memcpy(&x, p, sizeof x);
    return x;
}
ALWAYS_INLINE void store16(float *p, sixteen x) {
    memcpy(p, &x, sizeof x);
}
/* Past the caches, where that can be said. */
ALWAYS_INLINE void stream16(float *p, sixteen x) {
    store16(p, x);
}
ALWAYS_INLINE void end_streams16(void) {}
/* The first n lanes; the others are 0, and no memory behind them is touched. */
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
ALWAYS_INLINE ls_four all4(float x) {
    return (ls_four){x, x, x, x};
}
ALWAYS_INLINE sixteen broadcast16(float x) {
    return (sixteen){{all4(x), all4(x), all4(x), all4(x)}};
}
ALWAYS_INLINE sixteen zero16(void) {
    return broadcast16(0);
}
ALWAYS_INLINE sixteen add16(sixteen a, sixteen b) {
    for (int i = 0; i < 4; i++) a.v[i] += b.v[i];
    return a;
}
ALWAYS_INLINE sixteen subtract16(sixteen a, sixteen b) {
    for (int i = 0; i < 4; i++) a.v[i] -= b.v[i];
    return a;
}
ALWAYS_INLINE sixteen multiply16(sixteen a, sixteen b) {
    for (int i = 0; i < 4; i++) a.v[i] *= b.v[i];
    return a;
}
/* t <= 0 ? 0 : x; where t is NaN, x */
ALWAYS_INLINE sixteen where_positive16(sixteen t, sixteen x) {
    typedef int32_t bits __attribute__((vector_size(16)));
    for (int i = 0; i < 4; i++) x.v[i] = (ls_four)((bits)x.v[i] & ~(bits)(t.v[i] <= 0));
    return x;
}

ALWAYS_INLINE sixteen_doubles load16_doubles(const double *p) {
    sixteen_doubles x;
    memcpy(&x, p, sizeof x);
    return x;
}
ALWAYS_INLINE void store16_doubles(double *p, sixteen_doubles s) {
    memcpy(p, &s, sizeof s);
}
ALWAYS_INLINE sixteen_doubles widen16(sixteen x) {
    sixteen_doubles d;
    for (int i = 0; i < 4; i++) {
        d.v[2 * i] = (two_doubles){(double)x.v[i][0], (double)x.v[i][1]};
        d.v[2 * i + 1] = (two_doubles){(double)x.v[i][2], (double)x.v[i][3]};
    }
    return d;
}
ALWAYS_INLINE sixteen_doubles add_widened16(sixteen_doubles sum, sixteen_doubles x) {
    for (int i = 0; i < 8; i++) sum.v[i] += x.v[i];
    return sum;
}
/* sum + x y: the product of two widened floats is exact, so that fusing does not change the bits. */
ALWAYS_INLINE sixteen_doubles add_product16(sixteen_doubles sum, sixteen_doubles x, sixteen_doubles y) {
    for (int i = 0; i < 8; i++) sum.v[i] += x.v[i] * y.v[i];
    return sum;
}

/* What stands for x as a factor of products: with LS_BF16 the nearest bf16 number, ties to even. */
ALWAYS_INLINE sixteen factor16(sixteen x) {
#ifdef LS_BF16
    for (int i = 0; i < 4; i++) x.v[i] = ls_bf16_of4(x.v[i]);
#endif
    return x;
}
ALWAYS_INLINE sixteen first_factor16(sixteen x) {
    return x;
}

/* sum[r] += scalar[r step] * x, for r = 0 .. n-1, fused. Whatever n is must be a constant after inlining. */
ALWAYS_INLINE void multiply_add16(sixteen *sum, int n, const float *scalar, int64_t step, sixteen x) {
    for (int r = 0; r < n; r++) {
        const ls_four s = all4(scalar[r * step]);
        for (int i = 0; i < 4; i++) sum[r].v[i] = ls_multiply_add4(s, x.v[i], sum[r].v[i]);
    }
}

#endif
#endif

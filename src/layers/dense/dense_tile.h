/* The registers of the dense layer's vector kernels: a tile of ROWS x VECTORS sums, 24 registers of AVX-512's
 * 32 and 12 of AVX2's 16, or of NARROW_ROWS x 1 where fewer columns are left. Beside it stand VECTORS of b and
 * one broadcast number of a. Every step of a sum is one fused multiply-add, so both tiers give the same bits. */
#ifndef LOCKSTEP_LAYERS_DENSE_TILE_H
#define LOCKSTEP_LAYERS_DENSE_TILE_H

#include <immintrin.h>
#include <stdbool.h>
#include <stdint.h>

#include "core/real.h"

#define ALWAYS_INLINE static inline __attribute__((always_inline))
/* Loops over a tile are unrolled before gcc decides what lives in registers. */
#define UNROLL _Pragma("GCC unroll 16")

#ifdef LS_FOR_AVX512

enum { LANES = 16, ROWS = 12, VECTORS = 2 };
typedef __m512 vec;
typedef __mmask16 lanes;

ALWAYS_INLINE vec load(const float *p) {
    return _mm512_loadu_ps(p);
}
ALWAYS_INLINE void store(float *p, vec v) {
    _mm512_storeu_ps(p, v);
}
ALWAYS_INLINE vec load_lanes(const float *p, lanes m) {
    return _mm512_maskz_loadu_ps(m, p);
}
ALWAYS_INLINE void store_lanes(float *p, lanes m, vec v) {
    _mm512_mask_storeu_ps(p, m, v);
}
ALWAYS_INLINE vec broadcast(float x) {
    return _mm512_set1_ps(x);
}
/* With LS_PAIRS a and b are words of two factors each. */
ALWAYS_INLINE vec multiply_add(vec a, vec b, vec sum) {
#if LS_PAIRS
    return _mm512_dpbf16_ps(sum, (__m512bh)a, (__m512bh)b);
#else
    return _mm512_fmadd_ps(a, b, sum);
#endif
}
#if LS_PAIRS
/* Words of (first, second), lane by lane, rounded to bf16. */
ALWAYS_INLINE vec word(vec first, vec second) {
    const __m512i upper = _mm512_slli_epi32(_mm512_cvtepu16_epi32((__m256i)_mm512_cvtneps_pbh(first)), 16);
    return _mm512_castsi512_ps(
        _mm512_or_si512(upper, _mm512_cvtepu16_epi32((__m256i)_mm512_cvtneps_pbh(second))));
}
#endif
#ifdef LS_ROUNDED
/* The nearest bf16 numbers, ties to even; there are no pairs. */
ALWAYS_INLINE vec word(vec x, vec second) {
    const __m512i bits = _mm512_castps_si512(x);
    const __m512i odd = _mm512_and_si512(_mm512_srli_epi32(bits, 16), _mm512_set1_epi32(1));
    const __m512i up = _mm512_add_epi32(bits, _mm512_add_epi32(odd, _mm512_set1_epi32(0x7fff)));
    const __m512i rounded =
        _mm512_mask_or_epi32(up, _mm512_cmp_ps_mask(x, x, _CMP_UNORD_Q), bits, _mm512_set1_epi32(0x400000));
    (void)second;
    return _mm512_castsi512_ps(_mm512_and_si512(rounded, _mm512_set1_epi32((int)0xffff0000u)));
}
#endif
/* in a register: gcc would load it again for every product */
ALWAYS_INLINE vec keep(vec v) {
    __asm__("" : "+v"(v));
    return v;
}
ALWAYS_INLINE vec add(vec a, vec b) {
    return _mm512_add_ps(a, b);
}
/* the first n lanes */
ALWAYS_INLINE lanes first_lanes(int64_t n) {
    return n >= LANES ? (lanes)-1 : (lanes)((1u << n) - 1);
}
/* lane l: element at[l] - first of the 2 * LANES in low and high; 0 in other lanes */
ALWAYS_INLINE vec choose(vec low, vec high, const int32_t *at, int32_t first, lanes some) {
    const __m512i i = _mm512_sub_epi32(_mm512_maskz_loadu_epi32(some, at), _mm512_set1_epi32(first));
    return _mm512_maskz_permutex2var_ps(some, low, i, high);
}

#else

enum { LANES = 8, ROWS = 4, VECTORS = 3 };
typedef __m256 vec;
typedef __m256i lanes;

ALWAYS_INLINE vec load(const float *p) {
    return _mm256_loadu_ps(p);
}
ALWAYS_INLINE void store(float *p, vec v) {
    _mm256_storeu_ps(p, v);
}
ALWAYS_INLINE vec load_lanes(const float *p, lanes m) {
    return _mm256_maskload_ps(p, m);
}
ALWAYS_INLINE void store_lanes(float *p, lanes m, vec v) {
    _mm256_maskstore_ps(p, m, v);
}
ALWAYS_INLINE vec broadcast(float x) {
    return _mm256_set1_ps(x);
}
ALWAYS_INLINE vec multiply_add(vec a, vec b, vec sum) {
    return _mm256_fmadd_ps(a, b, sum);
}
ALWAYS_INLINE vec keep(vec v) {
    __asm__("" : "+x"(v));
    return v;
}
ALWAYS_INLINE vec add(vec a, vec b) {
    return _mm256_add_ps(a, b);
}
#ifdef LS_BF16
/* The nearest bf16 numbers, ties to even; there are no pairs. */
ALWAYS_INLINE vec word(vec x, vec second) {
    const __m256i bits = _mm256_castps_si256(x);
    const __m256i odd = _mm256_and_si256(_mm256_srli_epi32(bits, 16), _mm256_set1_epi32(1));
    const __m256i up = _mm256_add_epi32(bits, _mm256_add_epi32(odd, _mm256_set1_epi32(0x7fff)));
    const __m256i quiet = _mm256_or_si256(bits, _mm256_set1_epi32(0x400000));
    const vec rounded = _mm256_blendv_ps(_mm256_castsi256_ps(up), _mm256_castsi256_ps(quiet),
                                         _mm256_cmp_ps(x, x, _CMP_UNORD_Q));
    (void)second;
    return _mm256_and_ps(rounded, _mm256_castsi256_ps(_mm256_set1_epi32((int)0xffff0000u)));
}
#endif
ALWAYS_INLINE lanes first_lanes(int64_t n) {
    return _mm256_cmpgt_epi32(_mm256_set1_epi32((int)n), _mm256_setr_epi32(0, 1, 2, 3, 4, 5, 6, 7));
}
ALWAYS_INLINE vec choose(vec low, vec high, const int32_t *at, int32_t first, lanes some) {
    const __m256i i = _mm256_sub_epi32(_mm256_maskload_epi32(at, some), _mm256_set1_epi32(first));
    const vec in_high = _mm256_castsi256_ps(_mm256_cmpgt_epi32(i, _mm256_set1_epi32(LANES - 1)));
    const vec both =
        _mm256_blendv_ps(_mm256_permutevar8x32_ps(low, i), _mm256_permutevar8x32_ps(high, i), in_high);
    return _mm256_and_ps(both, _mm256_castsi256_ps(some));
}

#endif

#ifndef LS_BF16
ALWAYS_INLINE vec word(vec x, vec second) {
    (void)second;
    return x;
}
#endif

enum { COLUMNS = VECTORS * LANES, NARROW_ROWS = 12 };

ALWAYS_INLINE int64_t smaller(int64_t a, int64_t b) {
    return a < b ? a : b;
}

/* x[at[0]], x[at[1]], .. for n increasing places, 1 to LANES, with 0 behind them. */
ALWAYS_INLINE vec gather(const float *x, const int32_t *at, int64_t n) {
    const int64_t span = at[n - 1] - at[0] + 1;
    if (span == n) return load_lanes(x + at[0], first_lanes(n));
    if (span <= 2 * LANES) {
        const vec low = load_lanes(x + at[0], first_lanes(span));
        const vec high = span > LANES ? load_lanes(x + at[0] + LANES, first_lanes(span - LANES)) : low;
        return choose(low, high, at, at[0], first_lanes(n));
    }
    float each[LANES] = {0};
    for (int64_t l = 0; l < n; l++) each[l] = x[at[l]];
    return load(each);
}

/* To be read or written soon: fragments of rows come out of farther caches or memory as no prefetcher of the
 * processor foresees. */
ALWAYS_INLINE void fetch(const float *row, int64_t columns) {
    enum { LINE = 16 };
    for (int64_t j = 0; j < columns; j += LINE) __builtin_prefetch(row + j);
    __builtin_prefetch(row + columns - 1);
}

/* Columns side by side, packed in rows of `width`: COLUMNS of them, or what is left in rows of LANES. */
typedef struct panel {
    int64_t column, columns, width;
} panel;

/* The panel that begins at `column` of `columns`. */
ALWAYS_INLINE panel panel_at(int64_t column, int64_t columns) {
    const int64_t left = columns - column, width = LS_TILES || left >= COLUMNS ? COLUMNS : LANES;
    return (panel){column, smaller(width, left), width};
}

#endif

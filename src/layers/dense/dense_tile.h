/* The registers of the dense layer's vector kernels: a tile of ROWS x VECTORS sums, 24 registers of AVX-512's
 * 32 and 12 of AVX2's 16. Beside it stand VECTORS of b and one broadcast number of a. The weight gradient
 * holds up to LEAVES shards side by side instead, each with a LEAVES-th of the rows. Every step of a sum is
 * one fused multiply-add, so both tiers give the same bits. */
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

enum { LANES = 16, ROWS = 12, VECTORS = 2, LEAVES = 4 };
#define EACH_LEAVES(X) X(1) X(2) X(4)
#define EACH_ROWS(X)   X(1) X(2) X(3) X(4) X(5) X(6) X(7) X(8) X(9) X(10) X(11) X(12)
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
/* the first n lanes, 0 <= n <= LANES */
ALWAYS_INLINE lanes first_lanes(int64_t n) {
    return (lanes)((1u << n) - 1);
}

#else

enum { LANES = 8, ROWS = 4, VECTORS = 3, LEAVES = 2 };
#define EACH_LEAVES(X) X(1) X(2)
#define EACH_ROWS(X)   X(1) X(2) X(3) X(4)
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

#endif

enum { COLUMNS = VECTORS * LANES };

ALWAYS_INLINE int64_t smaller(int64_t a, int64_t b) {
    return a < b ? a : b;
}

/* Columns side by side: COLUMNS of them in VECTORS registers, or up to LANES in one. */
typedef struct panel {
    int64_t column, columns;
    bool whole; /* COLUMNS wide */
} panel;

/* The panel that begins at `column` of `columns`. */
ALWAYS_INLINE panel panel_at(int64_t column, int64_t columns) {
    const int64_t left = columns - column;
    return (panel){column, left >= COLUMNS ? COLUMNS : smaller(LANES, left), left >= COLUMNS};
}

/* Rows in tiles of nearly equal height, at most ROWS: tile i of n starts here. */
ALWAYS_INLINE int64_t tiles_of(int64_t rows) {
    return (rows + ROWS - 1) / ROWS;
}
ALWAYS_INLINE int64_t tile_start(int64_t i, int64_t n, int64_t rows) {
    return i * rows / n;
}

#endif

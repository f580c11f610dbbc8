/* Sixteen registers of sixteen words as a matrix, transposed: words of (row 2i, row 2i + 1) become rows of
 * pairs. For files compiled with LS_FOR_AVX512. */
#ifndef LOCKSTEP_CORE_TRANSPOSE16_H
#define LOCKSTEP_CORE_TRANSPOSE16_H

#include <immintrin.h>

/* row[i][j] becomes row[j][i]. */
static inline __attribute__((always_inline)) void ls_transpose16(__m512 row[16]) {
    __m512 t[16];
    for (int i = 0; i < 16; i += 4) { /* within 128 bits: 4 x 4 */
        const __m512 a = _mm512_unpacklo_ps(row[i], row[i + 1]), b = _mm512_unpackhi_ps(row[i], row[i + 1]);
        const __m512 c = _mm512_unpacklo_ps(row[i + 2], row[i + 3]),
                     d = _mm512_unpackhi_ps(row[i + 2], row[i + 3]);
        t[i] = _mm512_shuffle_ps(a, c, 0x44);
        t[i + 1] = _mm512_shuffle_ps(a, c, 0xEE);
        t[i + 2] = _mm512_shuffle_ps(b, d, 0x44);
        t[i + 3] = _mm512_shuffle_ps(b, d, 0xEE);
    }
    /* then the 4 x 4 blocks: t[4 i + r] holds column 4 q + r of rows 4 i .. 4 i + 3 in its quarter q */
    for (int r = 0; r < 4; r++) {
        const __m512 a = _mm512_shuffle_f32x4(t[r], t[r + 4], 0x88),
                     b = _mm512_shuffle_f32x4(t[r], t[r + 4], 0xDD);
        const __m512 c = _mm512_shuffle_f32x4(t[r + 8], t[r + 12], 0x88);
        const __m512 d = _mm512_shuffle_f32x4(t[r + 8], t[r + 12], 0xDD);
        row[r] = _mm512_shuffle_f32x4(a, c, 0x88);
        row[r + 8] = _mm512_shuffle_f32x4(a, c, 0xDD);
        row[r + 4] = _mm512_shuffle_f32x4(b, d, 0x88);
        row[r + 12] = _mm512_shuffle_f32x4(b, d, 0xDD);
    }
}

#endif

/* The transform that all of Winograd's convolutions share: that of a tile of pixels. */
#ifndef LOCKSTEP_LAYERS_CONV2D_WINOGRAD_TILE_H
#define LOCKSTEP_LAYERS_CONV2D_WINOGRAD_TILE_H

#include "layers/conv2d/sixteen.h"

enum { SIDE = 4, POSITIONS = SIDE * SIDE };

/* B^T d for four vectors. */
ALWAYS_INLINE void differences(const sixteen d[SIDE], sixteen to[SIDE]) {
    to[0] = subtract16(d[0], d[2]);
    to[1] = add16(d[1], d[2]);
    to[2] = subtract16(d[2], d[1]);
    to[3] = subtract16(d[3], d[1]);
}

/* B^T d B: to[line of positions to_line + position to_position]. */
ALWAYS_INLINE void transform_pixels(const float *from, int64_t from_line, float *to, int64_t to_line,
                                    int64_t to_position) {
    sixteen t[SIDE][SIDE]; /* [column][line of positions] */
    UNROLL
    for (int v = 0; v < SIDE; v++) {
        sixteen d[SIDE];
        UNROLL
        for (int u = 0; u < SIDE; u++) d[u] = load16(from + u * from_line + v * LANES);
        differences(d, t[v]);
    }
    UNROLL
    for (int r = 0; r < SIDE; r++) {
        const sixteen line[SIDE] = {t[0][r], t[1][r], t[2][r], t[3][r]};
        sixteen done[SIDE];
        differences(line, done);
        UNROLL
        for (int q = 0; q < SIDE; q++) store16(to + r * to_line + q * to_position, done[q]);
    }
}

/* Element `row` of B^T d. */
ALWAYS_INLINE sixteen difference(const float *d, int64_t step, int row) {
    if (row == 1) return add16(load16(d + step), load16(d + 2 * step));
    return subtract16(load16(d + row * step), load16(d + (row == 0 ? 2 : 1) * step));
}

/* (B^T d B)[r][2 half] and the next */
ALWAYS_INLINE void transform_pixel_pair(const float *from, int64_t line, int r, int half, sixteen to[2]) {
    const sixteen left = difference(from + LANES, line, r), right = difference(from + 2 * LANES, line, r),
                  outer = difference(from + (half == 0 ? 0 : 3) * LANES, line, r);
    to[0] = half == 0 ? subtract16(outer, right) : subtract16(right, left);
    to[1] = half == 0 ? add16(left, right) : subtract16(outer, left);
}

#endif

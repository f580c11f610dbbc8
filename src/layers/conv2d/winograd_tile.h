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

#endif

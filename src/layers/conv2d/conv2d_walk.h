/* How the passes of the vector kernels (conv2d_passes.h) go along what they load and store: sixteen channels
 * of one pixel after the other, of a tensor and of a plane. */
#ifndef LOCKSTEP_LAYERS_CONV2D_WALK_H
#define LOCKSTEP_LAYERS_CONV2D_WALK_H

#include "layers/conv2d/conv2d_layout.h"
#include "layers/conv2d/sixteen.h"

/* The next sixteen or, of the last group, `n` elements of vectors or pixels. */
ALWAYS_INLINE sixteen load_lanes(const float *p, int64_t n) {
    return n == LANES ? load16(p) : load16_first(p, n);
}
ALWAYS_INLINE void store_lanes(float *p, sixteen x, int64_t n) {
    if (n == LANES)
        store16(p, x);
    else
        store16_first(p, x, n);
}

/* Element `at` of a tensor that may be missing. */
ALWAYS_INLINE const float *read_at(const void *base, int64_t at) {
    return base ? (const float *)base + at : NULL;
}
ALWAYS_INLINE float *written_at(void *base, int64_t at) {
    return base ? (float *)base + at : NULL;
}

/* Goes along the pixels of a line of an image in a plane. Like planes it is passed by value, so that the
 * compiler sees that no store changes it. */
typedef struct walk {
    int64_t at; /* floats from the line's beginning */
    int64_t phase, phases, stride, pixel;
} walk;

ALWAYS_INLINE walk walk_from(ls_conv2d_plane plane) {
    const int64_t pixel = ls_conv2d_plane_pixel(&plane), stride = plane.columns * pixel;
    const int64_t phase = plane.left % plane.phases;
    return (walk){phase * stride + plane.left / plane.phases * pixel, phase, plane.phases, stride, pixel};
}

ALWAYS_INLINE walk next_pixel(walk w) {
    w.at += w.stride;
    if (++w.phase == w.phases) {
        w.phase = 0;
        w.at += w.pixel - w.phases * w.stride;
    }
    return w;
}

#endif

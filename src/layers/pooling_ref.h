/* What the reference kernels of the pooling layers share. Compiled for fp32 and, with LS_F64, for fp64. */
#ifndef LOCKSTEP_LAYERS_POOLING_REF_H
#define LOCKSTEP_LAYERS_POOLING_REF_H

#include <string.h>

#include "core/real.h"
#include "layers/pooling.h"

/* Lines or columns [first, last) of an image of `size` that window i reads. */
typedef struct taps {
    int64_t first, last;
} taps;

static inline taps taps_of(const ls_pool_window *w, int64_t i, int64_t size) {
    const int64_t first = i * w->stride - w->pad, last = first + w->kernel;
    return (taps){first > 0 ? first : 0, last < size ? last : size};
}

/* Calls one(args, x, y) for each image of these shards. */
static inline void forward_images(const ls_pool_args *a, const ls_shards *shards, int first, int last,
                                  void (*one)(const ls_pool_args *a, const real *x, real *y)) {
    const int64_t x_image = a->height * a->width * a->channels,
                  y_image = a->out_height * a->out_width * a->channels;
    for (int64_t n = shards->start[first]; n < shards->start[last]; n++)
        one(a, (const real *)a->x + n * x_image, (real *)a->y + n * y_image);
}

/* The same for one(args, x, dy, dx), which adds to a dx of zeros. An image that is added to something else is
 * complete before, since (d + a) + b and d + (a + b) are not the same. */
static inline void
backward_images(const ls_pool_args *a, const ls_shards *shards, int first, int last, real *image,
                void (*one)(const ls_pool_args *a, const real *x, const real *dy, real *dx)) {
    const int64_t x_image = a->height * a->width * a->channels,
                  y_image = a->out_height * a->out_width * a->channels;
    for (int64_t n = shards->start[first]; n < shards->start[last]; n++) {
        real *to = (real *)a->dx + n * x_image, *dx = a->accumulate ? image : to;
        memset(dx, 0, (size_t)x_image * sizeof(real));
        one(a, (const real *)a->x + n * x_image, (const real *)a->dy + n * y_image, dx);
        for (int64_t i = 0; a->accumulate && i < x_image; i++) to[i] += dx[i];
    }
}

#endif

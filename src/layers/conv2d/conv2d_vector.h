/* What the two passes of the vector kernels of the convolution (conv2d_vector.c) share: what is computed, in
 * which memory, in which order of rows, and the steps of which sums are made. */
#ifndef LOCKSTEP_LAYERS_CONV2D_VECTOR_H
#define LOCKSTEP_LAYERS_CONV2D_VECTOR_H

#include <string.h>

#include "layers/conv2d/conv2d_layout.h"
#include "layers/conv2d/conv2d_tiles.h"
#include "layers/conv2d/conv2d_weights.h"

/* --- samples -----------------------------------------------------------------------------------
 *
 * A convolution of 1x1 with a stride, that does nothing else to what it loads and what it stores back, as in
 * the shortcut of a residual block, is one with stride 1 of an image of the pixels that it reads. */

static inline bool takes_samples(const ls_conv2d_args *a) {
    return taps(a) == 1 && a->stride > 1 && a->pad == 0 && ls_prologue_is_identity(&a->in) && !a->in.stored &&
           !a->dx.others && !a->dx.accumulate && !a->dx.sums && !a->dx.dresidual && !a->dx.residual_sums;
}

/* What is computed: the same, or that of the samples. */
static inline ls_conv2d_args computed(const ls_conv2d_args *a) {
    ls_conv2d_args samples = *a;
    if (!takes_samples(a)) return samples;
    samples.height = a->out_height;
    samples.width = a->out_width;
    samples.stride = 1;
    return samples;
}

/* --- steps ------------------------------------------------------------------------------------- */

/* What a tap leaves out whose first and last line (or pixel) of a tile meet these of an image of that size.
 */
static inline int skipped(int64_t first, int64_t last, int64_t size, int if_first, int if_last) {
    if (first < 0 || first >= size) return if_first;
    return last < 0 || last >= size ? if_last : 0;
}

static inline int skipped_lines(int64_t first, int64_t last, int64_t height) {
    return skipped(first, last, height, LS_CONV2D_SKIP_FIRST_LINE, LS_CONV2D_SKIP_LAST_LINE);
}

static inline int skipped_pixels(int64_t first, int64_t last, int64_t width) {
    return skipped(first, last, width, LS_CONV2D_SKIP_FIRST_PIXEL, LS_CONV2D_SKIP_LAST_PIXEL);
}

/* The steps of one tap, group of channels by group; `from` for the first group. */
static inline ls_conv2d_step *add_steps(ls_conv2d_step *step, const ls_conv2d_plane *plane, int64_t tap,
                                        int64_t from, int skip) {
    const int64_t count = ls_conv2d_plane_words(plane);
    for (int64_t c = 0; c < count; c += LANES, from += ls_conv2d_plane_group(plane))
        *step++ = (ls_conv2d_step){skip, from, (tap * count + c) * LANES, smaller(LANES, count - c)};
    return step;
}

/* --- scratch ----------------------------------------------------------------------------------- */

/* What a call works in: a thread's scratch. */
typedef struct ls_conv2d_room {
    ls_conv2d_step *step;
    float *packed, *x, *dy, *dy_pixels, *image, *plain; /* dy_pixels: dy, where there are no pairs */
    float *tiles, *sums; /* of Winograd's algorithm; sums also of the weight gradient of an image */
    double *pixel_sums;  /* what epilogues need of either direction */
    bool streams;        /* what is written in the shape of x goes past the caches */
} ls_conv2d_room;

/* Laid out for both directions in scratch memory, without streams. */
ls_conv2d_room LS_NAME(ls_conv2d_open_room)(const ls_conv2d_args *a, void *scratch);

/* May a tensor in the shape of x be written past the caches? */
bool LS_NAME(ls_conv2d_streams)(const ls_conv2d_args *given, const ls_shards *shards, const void *to);

/* The weights as the products of y, or, transposed, of dx' read them. */
void LS_NAME(ls_conv2d_prepare_weights)(const ls_conv2d_args *a, bool transposed, float *to);

static inline void clear(float *p, int64_t count) {
    memset(p, 0, (size_t)count * sizeof *p);
}

static inline void clear_sums(double *sums, int64_t channels, int shard) {
    if (sums) memset(sums + shard * 2 * channels, 0, (size_t)(2 * channels) * sizeof *sums);
}

/* --- rows -------------------------------------------------------------------------------------- */

/* Shards in the order in which they are worked on: i = 0, 1, .. */
static inline int shard_at(const ls_conv2d_args *a, int first, int last, int i) {
    return a->downward ? last - 1 - i : first + i;
}

/* Rows that are worked on together: none where there are no more. */
typedef struct ls_conv2d_rows {
    int64_t first, count;
} ls_conv2d_rows;

/* The rows, at most `together`, that are worked on from row n on, of the i-th of these shards. */
static inline ls_conv2d_rows rows_from(const ls_conv2d_args *a, const ls_shards *shards, int first, int last,
                                       int i, int64_t n, int64_t together) {
    for (; i < last - first; i++) {
        const int s = shard_at(a, first, last, i);
        if (n < shards->start[s + 1]) return (ls_conv2d_rows){n, smaller(together, shards->start[s + 1] - n)};
        if (i + 1 < last - first) n = shards->start[shard_at(a, first, last, i + 1)];
    }
    return (ls_conv2d_rows){0, 0};
}

/* To fetch so many rows, from these (or NULL) of so many floats each on, in the course of so many steps of
 * products. */
static inline ls_conv2d_ahead fetching(const void *const row[LS_CONV2D_RANGES],
                                       const int64_t count[LS_CONV2D_RANGES], int64_t rows, int64_t steps) {
    ls_conv2d_ahead a = {0};
    int64_t bytes = 0;
    for (int i = 0; i < LS_CONV2D_RANGES; i++) {
        if (!row[i]) continue;
        a.range[i].from = row[i];
        a.range[i].bytes = rows * count[i] * (int64_t)sizeof(float);
        bytes += a.range[i].bytes;
    }
    a.lines = divide_up(bytes, 64 * steps);
    return a;
}

/* x' of row n into a plane. after: the row whose samples are fetched ahead, or -1. */
static inline void load_row(const ls_conv2d_args *given, const ls_prologue *in, int64_t n, int64_t after,
                            const ls_conv2d_plane *plane, const ls_conv2d_room *r, float *to) {
    const ls_prologue row = LS_NAME(ls_conv2d_prologue_from)(in, n);
    const int64_t ahead = after < 0 ? 0 : (after - n) * in->pixels * in->channels;
    if (takes_samples(given))
        LS_NAME(ls_conv2d_load_samples)(&row, plane, given->width, given->stride, ahead, to);
    else
        LS_NAME(ls_conv2d_load)(&row, plane, r->streams, r->plain, to);
}

/* --- the passes, as ls_conv2d_kernels has them ------------------------------------------------- */

void LS_NAME(ls_conv2d_vector_forward)(const ls_conv2d_args *given, const ls_shards *shards, int first,
                                       int last, const ls_lane *lane);
void LS_NAME(ls_conv2d_vector_backward)(const ls_conv2d_args *given, const ls_shards *shards, int first,
                                        int last, const ls_lane *lane);

#endif

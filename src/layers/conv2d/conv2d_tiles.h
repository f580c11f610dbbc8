/* The products of the vector kernels of the convolution: tiles of sums that stay in registers, sixteen
 * columns wide. What they read was laid out for them (conv2d_vector.c): pixels of sixteen channels side by
 * side in lines, each group of sixteen channels by itself. All distances are in floats. With
 * LS_PAIRS (core/real.h) from, weights and dy hold words of two factors instead, and terms and pixels are
 * counted in them. */
#ifndef LOCKSTEP_LAYERS_CONV2D_TILES_H
#define LOCKSTEP_LAYERS_CONV2D_TILES_H

#include <stdbool.h>
#include <stdint.h>

#include "core/real.h"

enum { LS_CONV2D_LANES = 16, LS_CONV2D_TILE_PIXELS = 28, LS_CONV2D_TILE_LINES = 4, LS_CONV2D_TILE_TAPS = 3 };

/* Pixels of a tile that meet nothing but zeros in a step. They may be left out: adding 0 w changes no sum. */
enum {
    LS_CONV2D_SKIP_FIRST_PIXEL = 1, /* of every line, or */
    LS_CONV2D_SKIP_LAST_PIXEL = 2,
    LS_CONV2D_SKIP_FIRST_LINE = 4, /* or */
    LS_CONV2D_SKIP_LAST_LINE = 8
};

/* Terms that lie side by side: `count` channels of one tap. */
typedef struct ls_conv2d_step {
    int skip;
    int64_t from, weights, count; /* from the pixel at hand; in the packed weights; terms */
} ls_conv2d_step;

/* What will soon be read and, ranges from LS_CONV2D_WRITTEN on, written: it is fetched into the caches a few
 * lines at each step, since whoever takes it up would have nothing to do while it waits. */
enum { LS_CONV2D_WRITTEN = 5, LS_CONV2D_RANGES = 7 };

typedef struct ls_conv2d_ahead {
    struct {
        const char *from;
        int64_t bytes;
    } range[LS_CONV2D_RANGES];
    int64_t lines; /* of the cache, at each step */
} ls_conv2d_ahead;

static inline void ls_conv2d_fetch_to_write(const char *line) {
#ifdef LS_FOR_PORTABLE
    __builtin_prefetch(line, 1, 2);
#else
    __asm__ volatile("prefetchw %0" : : "m"(*line));
#endif
}

/* One step's. */
static inline void ls_conv2d_fetch(ls_conv2d_ahead *a) {
    enum { LINE = 64 };
    int64_t lines = a->lines;
    for (int i = 0; i < LS_CONV2D_RANGES && lines > 0; i++)
        for (; lines > 0 && a->range[i].bytes > 0;
             lines--, a->range[i].from += LINE, a->range[i].bytes -= LINE)
            if (i >= LS_CONV2D_WRITTEN)
                ls_conv2d_fetch_to_write(a->range[i].from);
            else
                __builtin_prefetch(a->range[i].from, 0, 2);
    if (lines == a->lines) a->lines = 0;
}

/* to[line][pixel][column] = sum over steps, then t = 0 .. count-1, of
 *     from[line from_line + pixel 16 + step.from + t] weights[step.weights + t 16 + column] */
typedef struct ls_conv2d_product {
    const float *from;
    int64_t from_line, from_pixel; /* 16 pixels apart, but with LS_TILES */
    const float *weights;
    const ls_conv2d_step *step;
    int64_t steps;
    float *to;
    int64_t to_line, to_pixel;
    int64_t columns;        /* how many of the sixteen are stored */
    ls_conv2d_ahead *ahead; /* moves on */
} ls_conv2d_product;

/* How many lines of so many pixels are computed together. */
static inline int64_t ls_conv2d_lines_together(int64_t pixels) {
    const int64_t lines = LS_CONV2D_TILE_PIXELS / pixels;
    return lines < 1 ? 1 : lines > LS_CONV2D_TILE_LINES ? LS_CONV2D_TILE_LINES : lines;
}

/* At most ls_conv2d_lines_together(pixels) lines. */
void LS_NAME(ls_conv2d_multiply)(const ls_conv2d_product *p, int64_t lines, int64_t pixels);

/* sums[tap][channel][column] += the sum of an image, from 0, over lines and pixels of
 *     from[tap][line, pixel 16 + channel] dy[line, pixel 16 + column]
 * image by image, if `first` and `last`. Otherwise these are the first, middle or last lines of one image,
 * whose sum waits in `waiting`, which is laid out as `sums`. With LS_PAIRS a pixel of dy is a pair of them, and
 * from's word for the first of them counts. */
typedef struct ls_conv2d_gradient {
    const float *from[LS_CONV2D_TILE_TAPS], *dy;
    int taps;
    int64_t channels; /* at most 16 */
    int64_t images, lines, pixels;
    /* Of three taps the first meets zeros at every line's first pixel, the third at its last. */
    bool skip_first, skip_last;
    int64_t from_image, from_line, dy_image, dy_line;
    bool first, last;
    float *sums, *waiting;
    int64_t sums_tap;
} ls_conv2d_gradient;

void LS_NAME(ls_conv2d_add_gradient)(const ls_conv2d_gradient *g);

#endif

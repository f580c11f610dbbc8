/* What the vector kernels of the convolution do around the products, an image or a few lines at a time:
 * prologues into the layout that the products read, epilogues out of what they wrote. The bits are those of
 * layers/fusion_ref.h.
 *
 * A plane holds an image [groups][lines][phases][columns][16], with zeros around it and behind its last
 * channel: factors of products, in floats or, with LS_PAIRS (core/real.h), in words of two, which are
 * neighbouring channels of a pixel or a channel of neighbouring columns of a phase. Column w of the image
 * stands in phase (w + left) % phases: with as many phases as the convolution has strides the pixels that a
 * tap meets, one for each output, are neighbours. */
#ifndef LOCKSTEP_LAYERS_CONV2D_PASSES_H
#define LOCKSTEP_LAYERS_CONV2D_PASSES_H

#include "core/real.h"
#include "graph/fusion.h"
#include "layers/elementwise.h"

typedef struct ls_conv2d_plane {
    int64_t height, width, channels; /* of the image */
    int64_t top, left; /* zeros above and to the left; lines and columns hold those after it too */
    int64_t lines, columns, phases;
    bool channel_pairs; /* words of two channels */
} ls_conv2d_plane;

static inline int64_t ls_conv2d_plane_words(const ls_conv2d_plane *p) {
    return p->channel_pairs ? (p->channels + 1) / 2 : p->channels;
}

static inline int64_t ls_conv2d_groups(int64_t channels) {
    return (channels + 15) / 16;
}

/* Floats, or words, from one column of a phase to the next: those of sixteen channels have no gap with
 * LS_TILES. */
static inline int64_t ls_conv2d_plane_pixel(const ls_conv2d_plane *p) {
    return LS_TILES && p->channel_pairs && p->channels == 16 ? 8 : 16;
}
/* In a line, in a group of channels, in the plane. */
static inline int64_t ls_conv2d_plane_line(const ls_conv2d_plane *p) {
    return p->phases * p->columns * ls_conv2d_plane_pixel(p);
}
static inline int64_t ls_conv2d_plane_group(const ls_conv2d_plane *p) {
    return p->lines * ls_conv2d_plane_line(p);
}
static inline int64_t ls_conv2d_plane_size(const ls_conv2d_plane *p) {
    return ls_conv2d_groups(ls_conv2d_plane_words(p)) * ls_conv2d_plane_group(p);
}

/* A tensor that is written whole, and read again when no cache can hold it any longer, may go past them: with
 * `stream`, which wants whole lines of them: a multiple of 16 channels, and its beginning on 64 bytes. Then
 * ls_conv2d_end_streams() comes before anybody is told that it is there. */
void LS_NAME(ls_conv2d_end_streams)(void);

/* Is x' computed, and does its gradient go back, line by line? That the kernels here do with no activation or
 * relu. Everything else goes a whole image at a time by the functions of layers/fusion_ref.h, which fold any
 * activation. */
static inline bool ls_conv2d_by_lines(const ls_prologue *p) {
    return (!p->act.class || p->act.class == &ls_relu_activation) && !p->dropout.active;
}

/* x' of row 0 of p into the plane, and into p->stored where it is set. Whatever lies around the image stays.
 * plain: room for the image, for what does not go by lines. */
void LS_NAME(ls_conv2d_load)(const ls_prologue *p, const ls_conv2d_plane *plane, bool stream, float *plain,
                             float *to);

/* The same for a prologue that changes nothing, of each `every`-th pixel of each `every`-th line of an image
 * of `width` pixels. The row that lies so many floats behind this one is fetched ahead, if not 0. */
void LS_NAME(ls_conv2d_load_samples)(const ls_prologue *p, const ls_conv2d_plane *plane, int64_t width,
                                     int64_t every, int64_t ahead, float *to);

/* dy of row 0 of p into the plane and, with LS_PAIRS, as pairs of pixels [groups][height][(width + 1) /
 * 2][16] into pixel_pairs, behind an odd width (last, 0). bias: sums [groups][16] of the images
 * before, to which that of dy is added, or NULL. */
void LS_NAME(ls_conv2d_load_gradient)(const ls_grad_prologue *p, const ls_conv2d_plane *plane, float *to,
                                      float *pixel_pairs, float *bias);

/* As ls_epilogue_rows, for lines [first, last) of a row, whose lines come in order; y: the first of them. */
void LS_NAME(ls_conv2d_finish)(const ls_epilogue *e, int shard, int64_t first, int64_t last, float *y);

/* Is dz written and nothing else done with it? */
static inline bool ls_conv2d_only_writes(const ls_grad_epilogue *e) {
    return e->dz && !e->others && !e->accumulate && !e->dresidual && !e->residual_sums;
}

/* As ls_grad_epilogue_rows, for row 0 and, if it goes by lines, lines [first, last), in order, else all. x: the plane
 * with x', without pairs of channels; dx: dx' of these lines, [pixels][groups][16]; written over. stream:
 * only where ls_conv2d_only_writes(). */
void LS_NAME(ls_conv2d_finish_gradient)(const ls_prologue *p, const ls_grad_epilogue *e, int shard,
                                        bool stream, const ls_conv2d_plane *plane, const float *x,
                                        int64_t first, int64_t last, float *dx);

/* The way back from ls_conv2d_load_samples(): dx' of the samples, [plane's height][plane's
 * width][groups][16], into dz, an image of height x width pixels, and zeros between them. */
void LS_NAME(ls_conv2d_finish_samples)(const ls_conv2d_plane *plane, int64_t height, int64_t width,
                                       int64_t every, bool stream, const float *dx, float *dz);

/* Row `row` and those behind it, as row 0 and those behind it. */
ls_prologue LS_NAME(ls_conv2d_prologue_from)(const ls_prologue *p, int64_t row);
ls_grad_prologue LS_NAME(ls_conv2d_grad_prologue_from)(const ls_grad_prologue *p, int64_t row);
ls_grad_epilogue LS_NAME(ls_conv2d_grad_epilogue_from)(const ls_grad_epilogue *e, const ls_prologue *p,
                                                       int64_t row);

#endif

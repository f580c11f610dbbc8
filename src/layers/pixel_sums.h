/* The two sums of a BatchNorm over the pixels of a shard, in double. Their order is fixed: the pixels of a
 * line from 0, then the lines of an image from 0, then the images of the shard from 0. So no kernel's way
 * through an image can be seen in them. Of one pixel that is one chain over the rows.
 *
 * A row comes in pieces of any size, in order. What is added up of its line and of its image waits in `room`,
 * which is all zeros between two rows. Compiled for fp32 and, with LS_F64, for fp64. */
#ifndef LOCKSTEP_LAYERS_PIXEL_SUMS_H
#define LOCKSTEP_LAYERS_PIXEL_SUMS_H

#include <stdint.h>
#include <string.h>

#include "core/real.h"

typedef struct ls_pixel_sums {
    int64_t pixels, width, channels; /* of a row, of a line, of a pixel */
    double *shard;                   /* [2][channels], or NULL: there are no sums */
    double *image, *line;            /* [2][channels] each; used where there are several pixels */
} ls_pixel_sums;

/* The sums of local shard `shard` of all [local shards][2][channels], or none, where they are NULL or the
 * shard is negative. room: ls_sums_room(channels) doubles. */
static inline ls_pixel_sums ls_open_pixel_sums(double *all, int shard, int64_t pixels, int64_t width,
                                               int64_t channels, double *room) {
    ls_pixel_sums s = {.pixels = pixels, .width = width, .channels = channels};
    if (!all || shard < 0) return s;
    s.shard = all + shard * 2 * channels;
    if (pixels == 1) return s;
    s.image = room;
    s.line = room + 2 * channels;
    memset(room, 0, (size_t)(4 * channels) * sizeof *room);
    return s;
}

/* to += from; from = 0 */
static inline void ls_move_sums(double *restrict to, double *restrict from, int64_t channels) {
    for (int64_t c = 0; c < 2 * channels; c++) {
        to[c] += from[c];
        from[c] = 0;
    }
}

/* n elements from `start` of a row: v, and v times the deviation of x from the means (NULL: from 0). */
static inline void ls_add_to_pixel_sums(const ls_pixel_sums *s, int64_t start, int64_t n,
                                        const real *restrict v, const real *x, const real *means) {
    const int64_t channels = s->channels;
    double *sums = s->pixels == 1 ? s->shard : s->line;
    for (int64_t i = 0, m, c = start % channels; i < n; i += m, c = 0) {
        m = channels - c < n - i ? channels - c : n - i;
        double *restrict sum = sums + c, *restrict product = sums + channels + c;
        if (means) {
            const real *restrict mean = means + c;
            for (int64_t j = 0; j < m; j++) {
                real deviation = x[i + j] - mean[j];
                sum[j] += (double)v[i + j];
                product[j] += (double)v[i + j] * (double)deviation;
            }
        } else {
            for (int64_t j = 0; j < m; j++) {
                sum[j] += (double)v[i + j];
                product[j] += (double)v[i + j] * (double)x[i + j];
            }
        }
        if (s->pixels == 1 || c + m < channels) continue;
        const int64_t done = (start + i + m) / channels; /* pixels of the row */
        if (done % s->width == 0) ls_move_sums(s->image, s->line, channels);
        if (done == s->pixels) ls_move_sums(s->shard, s->image, channels);
    }
}

#endif

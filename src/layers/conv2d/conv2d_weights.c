#include "layers/conv2d/conv2d_weights.h"

#include <string.h>

#include "layers/conv2d/conv2d_tiles.h"

enum { SUM_CHUNK = 1024 }; /* elements of a part of the sum over shards */

#if !LS_TILES /* which has conv2d_amx.c for it */

/* --- of a shard -------------------------------------------------------------------------------- */

/* Adds lines [i, i + lines) of the images to the sums of a panel, a line of the kernel, and a group of
 * inputs: as many taps as a tile holds at a time. from, sums: where the first tap's are. */
static void add_taps(const ls_conv2d_args *a, const ls_conv2d_plane *plane, ls_conv2d_gradient *g,
                     const float *from, float *room, float *sums) {
    for (int64_t left = divide_up(a->kernel_w, LS_CONV2D_TILE_TAPS), v = 0; left > 0; left--, v += g->taps) {
        g->taps = (int)divide_up(a->kernel_w - v, left);
        const int64_t end = (a->out_width - 1) * a->stride + 2 - a->pad; /* that the third tap meets last */
        g->skip_first = !LS_PAIRS && v == 0 && a->pad == 1 && a->out_width > 1;
        g->skip_last = !LS_PAIRS && v == 0 && end >= a->width && end - 1 < a->width && a->out_width > 1;
        for (int t = 0; t < g->taps; t++)
            g->from[t] = from + ((v + t) % a->stride * plane->columns + (v + t) / a->stride) * LANES;
        g->sums = sums + v * a->inputs * LANES;
        g->waiting = room + v * a->inputs * LANES;
        LS_NAME(ls_conv2d_add_gradient)(g);
    }
}

void LS_NAME(ls_conv2d_add_weight_gradient)(const ls_conv2d_args *a, const float *x, const float *dy,
                                            int64_t images, float *room, float *sums) {
    const ls_conv2d_plane from = plane_of_x(a), by = pixels_of_dy(a);
    const int64_t together = gradient_lines(a), x_line = ls_conv2d_plane_line(&from);
    ls_conv2d_gradient g = {.images = images,
                            .pixels = words(a->out_width),
                            .from_image = ls_conv2d_plane_size(&from),
                            .from_line = a->stride * x_line,
                            .dy_image = ls_conv2d_plane_size(&by),
                            .dy_line = ls_conv2d_plane_line(&by),
                            .sums_tap = a->inputs * LANES};
    for (int64_t k = 0; k < ls_conv2d_groups(a->outputs); k++)
        for (int64_t i = 0; i < a->out_height; i += together) {
            const int64_t last = smaller(i + together, a->out_height);
            for (int64_t c = 0; c < ls_conv2d_groups(a->inputs); c++) {
                g.channels = smaller(LANES, a->inputs - c * LANES);
                for (int64_t u = 0; u < a->kernel_h; u++) {
                    /* the lines of dy whose line of x' lies inside */
                    const int64_t above = divide_up(larger(0, a->pad - u), a->stride);
                    const int64_t below = divide_down(a->height - 1 + a->pad - u, a->stride) + 1;
                    const int64_t begin = larger(i, above), end = smaller(last, below);
                    if (begin >= end) continue;
                    const int64_t at =
                        (((k * a->kernel_h + u) * a->kernel_w) * a->inputs + c * LANES) * LANES;
                    g.lines = end - begin;
                    g.first = begin == above;
                    g.last = end == smaller(a->out_height, below);
                    g.dy =
                        dy + k * ls_conv2d_plane_group(&by) + (by.top + begin) * g.dy_line + by.left * LANES;
                    add_taps(a, &from, &g,
                             x + c * ls_conv2d_plane_group(&from) + begin * g.from_line + u * x_line,
                             room + at, sums + at);
                }
            }
        }
}

#endif

/* --- over the shards --------------------------------------------------------------------------- */

size_t LS_NAME(ls_conv2d_weight_grad_scratch)(void) {
    return (LS_MAX_TREE_DEPTH + 1) * SUM_CHUNK * sizeof(float);
}

int64_t LS_NAME(ls_conv2d_weight_grad_parts)(const ls_conv2d_args *a) {
    return divide_up(shard_elements(a), SUM_CHUNK);
}

/* sum[0 .. count): elements from `at` of the shards of a node, by the tree; pending: room for its levels. */
static const float *sum_shards(const ls_conv2d_args *a, const ls_shards *shards, const ls_node *node,
                               int64_t at, int64_t count, float *pending) {
    int depth = 0;
    for (int i = 0; i < node->count; i++) {
        const float *leaf =
            (const float *)a->shard_gradients + (node->first - shards->first + i) * shard_elements(a) + at;
        float *sum = memcpy(pending + depth * SUM_CHUNK, leaf, (size_t)count * sizeof *sum);
        for (int m = ls_tree_merges(i); m > 0; m--, sum -= SUM_CHUNK, depth--)
            for (int64_t j = 0; j < count; j++) sum[j - SUM_CHUNK] = sum[j - SUM_CHUNK] + sum[j];
        depth++;
    }
    return pending;
}

/* Elements [at, at + count) of the layout of a shard to where they belong. */
static void unpack(const ls_conv2d_args *a, int64_t at, int64_t count, const float *from, float *dw,
                   float *db) {
    const int64_t rows = taps(a) * a->inputs;
    for (int64_t i = at; i < at + count; i += LANES, from += LANES) {
        const bool bias = i >= weight_elements(a);
        const int64_t row = (bias ? i - weight_elements(a) : i) / LANES,
                      k = (bias ? row : row / rows) * LANES;
        float *to = bias ? db : dw + row % rows * a->outputs;
        if (to) memcpy(to + k, from, (size_t)smaller(LANES, a->outputs - k) * sizeof *to);
    }
}

void LS_NAME(ls_conv2d_weight_grad)(const ls_conv2d_args *a, const ls_shards *shards, int64_t first,
                                    int64_t last, const ls_lane *lane) {
    for (int64_t part = first; part < last; part++) {
        const int64_t at = part * SUM_CHUNK, count = smaller(SUM_CHUNK, shard_elements(a) - at);
        for (int n = 0; n < shards->node_count; n++) {
            float *dw = (float *)a->dweight + n * a->node_stride;
            float *db = a->dbias ? (float *)a->dbias + n * a->node_stride : NULL;
            unpack(a, at, count, sum_shards(a, shards, &shards->node[n], at, count, lane->scratch), dw, db);
        }
    }
}

/* The convolution with vectors of sixteen channels (AVX2 and AVX-512, fp32), direct, image by image:
 *
 *     forward     x' through its prologue into a plane in the second-level cache, with zeros around it; tiles
 * of y from there (conv2d_tiles.h); bias and sums while the lines are still in L1 backward    dy and x' into
 * planes; dx' from dy by the same tiles, with the weights transposed, one phase of the stride after the
 * other, and through its epilogue; the weight gradient from both planes, into the sums of the shard
 *     weight_grad the sums of the shards, over the tree
 *
 * The order of every sum is that of conv2d.h, with terms 0 w where a tap meets padding and a multiply-add
 * that rounds once; it does not depend on the tier. x' is computed again where it is needed, so that nobody
 * has to store it. */
#include <stdbool.h>
#include <string.h>

#include "layers/conv2d/conv2d.h"
#include "layers/conv2d/conv2d_passes.h"
#include "layers/conv2d/conv2d_tiles.h"
#include "layers/conv2d/sixteen.h"

enum {
    LANES = LS_CONV2D_LANES,
    GRADIENT_PIXELS = 200, /* whose products are added while the sums of a weight tile are in registers */
    MAX_IMAGES = 8,
    SUM_CHUNK = 1024 /* elements of a part of the sum over shards */
};

static int64_t smaller(int64_t a, int64_t b) {
    return a < b ? a : b;
}
static int64_t larger(int64_t a, int64_t b) {
    return a > b ? a : b;
}

static int64_t divide_up(int64_t a, int64_t b) {
    return (a + b - 1) / b;
}

/* Rounded towards minus infinity. */
static int64_t divide_down(int64_t a, int64_t b) {
    return a >= 0 ? a / b : -divide_up(-a, b);
}

static int64_t taps(const ls_conv2d_args *a) {
    return a->kernel_h * a->kernel_w;
}

/* --- the layout of images and weights
 * ------------------------------------------------------------------------------ */

static ls_conv2d_plane plane_of_x(const ls_conv2d_args *a) {
    const int64_t lines = (a->out_height - 1) * a->stride + a->kernel_h;
    const int64_t columns = (a->out_width - 1) * a->stride + a->kernel_w;
    return (ls_conv2d_plane){.height = a->height,
                             .width = a->width,
                             .channels = a->inputs,
                             .top = a->pad,
                             .left = a->pad,
                             .lines = larger(a->pad + a->height, lines),
                             .columns = divide_up(larger(a->pad + a->width, columns), a->stride),
                             .phases = a->stride};
}

/* Pixel h of dx' reads lines (h + pad - u) / stride of dy, some of them outside. */
static ls_conv2d_plane plane_of_dy(const ls_conv2d_args *a) {
    const int64_t top = larger(0, -divide_down(a->pad - a->kernel_h + 1, a->stride));
    const int64_t left = larger(0, -divide_down(a->pad - a->kernel_w + 1, a->stride));
    return (ls_conv2d_plane){.height = a->out_height,
                             .width = a->out_width,
                             .channels = a->outputs,
                             .top = top,
                             .left = left,
                             .lines = top + larger(a->out_height, (a->height - 1 + a->pad) / a->stride + 1),
                             .columns = left + larger(a->out_width, (a->width - 1 + a->pad) / a->stride + 1),
                             .phases = 1};
}

static int64_t packed_panel(const ls_conv2d_args *a, bool transposed) {
    return taps(a) * (transposed ? a->outputs : a->inputs) * LANES;
}

static int64_t packed_size(const ls_conv2d_args *a, bool transposed) {
    return ls_conv2d_groups(transposed ? a->inputs : a->outputs) * packed_panel(a, transposed);
}

/* The weights as [panels][taps][terms][16], zeros behind the last column: columns are outputs and terms
 * inputs, or the other way round. */
static void pack_weights(const ls_conv2d_args *a, bool transposed, float *to) {
    const float *weight = a->weight;
    const int64_t columns = transposed ? a->inputs : a->outputs, terms = transposed ? a->outputs : a->inputs;
    const int64_t by_column = transposed ? a->outputs : 1, by_term = transposed ? 1 : a->outputs;
    for (int64_t column = 0; column < columns; column += LANES)
        for (int64_t tap = 0; tap < taps(a); tap++) {
            const float *w = weight + tap * a->inputs * a->outputs + column * by_column;
            const int64_t n = smaller(LANES, columns - column);
            for (int64_t t = 0; t < terms; t++, to += LANES) {
                for (int64_t j = 0; j < n; j++) to[j] = w[t * by_term + j * by_column];
                for (int64_t j = n; j < LANES; j++) to[j] = 0;
            }
        }
}

/* The steps of one tap, group of channels by group; `from` for the first group. */
static ls_conv2d_step *add_steps(ls_conv2d_step *step, const ls_conv2d_plane *plane, int64_t tap,
                                 int64_t from) {
    for (int64_t c = 0; c < plane->channels; c += LANES, from += ls_conv2d_plane_group(plane))
        *step++ =
            (ls_conv2d_step){from, (tap * plane->channels + c) * LANES, smaller(LANES, plane->channels - c)};
    return step;
}

/* What a call works in: a thread's scratch. */
typedef struct room {
    ls_conv2d_step *step;
    float *packed, *x, *dy, *image, *plain;
} room;

static size_t take(size_t *used, int64_t count, size_t size) {
    const size_t at = *used;
    *used += ((size_t)count * size + 63) / 64 * 64;
    return at;
}

/* Images whose products are added to the weight gradient together. */
static int64_t images_together(const ls_conv2d_args *a) {
    const int64_t images = GRADIENT_PIXELS / (a->out_height * a->out_width);
    return images < 1 ? 1 : smaller(images, MAX_IMAGES);
}

/* Lays scratch out for both directions; NULL: only says how many bytes. */
static size_t lay_out(const ls_conv2d_args *a, void *scratch, room *r) {
    const ls_conv2d_plane x = plane_of_x(a), dy = plane_of_dy(a);
    const int64_t pixels = a->height * a->width, groups = ls_conv2d_groups(a->inputs);
    size_t used = 0;
    const size_t step =
        take(&used, taps(a) * larger(groups, ls_conv2d_groups(a->outputs)), sizeof(ls_conv2d_step));
    const size_t packed = take(&used, larger(packed_size(a, false), packed_size(a, true)), sizeof(float));
    const size_t x_at = take(&used, images_together(a) * ls_conv2d_plane_size(&x), sizeof(float));
    const size_t dy_at = take(&used, images_together(a) * ls_conv2d_plane_size(&dy), sizeof(float));
    const size_t image = take(&used, pixels * groups * LANES, sizeof(float));
    const size_t plain = take(&used, pixels * a->inputs, sizeof(float));
    char *base = scratch;
    if (base)
        *r = (room){(ls_conv2d_step *)(base + step), (float *)(base + packed), (float *)(base + x_at),
                    (float *)(base + dy_at),         (float *)(base + image),  (float *)(base + plain)};
    return used;
}

static size_t scratch_bytes(const ls_conv2d_args *a, int64_t rows_per_shard) {
    const size_t sum = (LS_MAX_TREE_DEPTH + 1) * SUM_CHUNK * sizeof(float), used = lay_out(a, NULL, NULL);
    (void)rows_per_shard;
    return used > sum ? used : sum;
}

static void clear(float *p, int64_t count) {
    memset(p, 0, (size_t)count * sizeof *p);
}

static void clear_sums(double *sums, int64_t channels, int shard) {
    if (sums) memset(sums + shard * 2 * channels, 0, (size_t)(2 * channels) * sizeof *sums);
}

/* To fetch the rows behind these, of so many floats, in the course of so many steps of products. */
static ls_conv2d_ahead behind(const void *const row[LS_CONV2D_RANGES], const int64_t count[LS_CONV2D_RANGES],
                              int64_t steps) {
    ls_conv2d_ahead a = {0};
    int64_t bytes = 0;
    for (int i = 0; i < LS_CONV2D_RANGES; i++) {
        if (!row[i]) continue;
        a.range[i].from = (const char *)((const float *)row[i] + count[i]);
        a.range[i].bytes = count[i] * (int64_t)sizeof(float);
        bytes += a.range[i].bytes;
    }
    a.lines = divide_up(bytes, 64 * steps);
    return a;
}

/* Shards in the order in which they are worked on: i = 0, 1, .. */
static int shard_at(const ls_conv2d_args *a, int first, int last, int i) {
    return a->downward ? last - 1 - i : first + i;
}

/* --- forward
 * ------------------------------------------------------------------------------------------------------ */

static int64_t forward_steps(const ls_conv2d_args *a, const ls_conv2d_plane *plane, ls_conv2d_step *to) {
    ls_conv2d_step *step = to;
    for (int64_t u = 0; u < a->kernel_h; u++)
        for (int64_t v = 0; v < a->kernel_w; v++)
            step = add_steps(step, plane, u * a->kernel_w + v,
                             u * ls_conv2d_plane_line(plane) +
                                 (v % a->stride * plane->columns + v / a->stride) * LANES);
    return step - to;
}

/* y of one image from the plane r->x. */
static void forward_image(const ls_conv2d_args *a, const ls_conv2d_plane *plane, const room *r, int64_t steps,
                          int shard, ls_conv2d_ahead *next, float *y) {
    const int64_t together = ls_conv2d_lines_together(a->out_width);
    ls_conv2d_product p = {.from_line = a->stride * ls_conv2d_plane_line(plane),
                           .step = r->step,
                           .steps = steps,
                           .to_line = a->out_width * a->outputs,
                           .to_pixel = a->outputs,
                           .ahead = next};
    int64_t waiting = 0;
    for (int64_t i = 0, n; i < a->out_height; i += n, y += n * p.to_line) {
        n = smaller(together, a->out_height - i);
        p.from = r->x + i * p.from_line;
        p.weights = r->packed;
        for (int64_t k = 0; k < a->outputs; k += LANES, p.weights += packed_panel(a, false)) {
            p.to = y + k;
            p.columns = smaller(LANES, a->outputs - k);
            LS_NAME(ls_conv2d_multiply)(&p, n, a->out_width);
        }
        /* One band late: while the processor still multiplies for this one. */
        LS_NAME(ls_conv2d_finish)(&a->out, a->outputs, shard, waiting * a->out_width, y - waiting * p.to_line);
        waiting = n;
    }
    LS_NAME(ls_conv2d_finish)(&a->out, a->outputs, shard, waiting * a->out_width, y - waiting * p.to_line);
}

static void forward(const ls_conv2d_args *a, const ls_shards *shards, int first, int last, void *scratch) {
    const ls_conv2d_plane plane = plane_of_x(a);
    room r;
    lay_out(a, scratch, &r);
    pack_weights(a, false, r.packed);
    const int64_t steps = forward_steps(a, &plane, r.step);
    const int64_t x_count = a->height * a->width * a->inputs, y_count = a->out_height * a->out_width * a->outputs;
    const int64_t counts[LS_CONV2D_RANGES] = {x_count, x_count, 0, y_count};
    const int64_t bands = divide_up(a->out_height, ls_conv2d_lines_together(a->out_width));
    const int64_t all_steps = bands * ls_conv2d_groups(a->outputs) * steps;
    clear(r.x, ls_conv2d_plane_size(&plane));
    for (int i = 0; i < last - first; i++) {
        const int s = shard_at(a, first, last, i);
        clear_sums(a->out.sums, a->outputs, s);
        for (int64_t n = shards->start[s]; n < shards->start[s + 1]; n++) {
            const ls_prologue in = LS_NAME(ls_conv2d_prologue_from)(&a->in, n);
            LS_NAME(ls_conv2d_load)(&in, &plane, r.plain, r.x);
            float *y = (float *)a->y + n * y_count;
            ls_conv2d_ahead next = {0};
            if (n + 1 < shards->start[s + 1])
                next = behind((const void *const[LS_CONV2D_RANGES]){in.x, in.residual, NULL, y}, counts, all_steps);
            forward_image(a, &plane, &r, steps, s, &next, y);
        }
    }
}

/* --- input gradient
 * ------------------------------------------------------------------------------------------------- */

/* The taps that pixels (h, w), (h, w + stride), .. of dx' meet, from column 0 of the plane's line 0. */
static int64_t backward_steps(const ls_conv2d_args *a, const ls_conv2d_plane *plane, int64_t h, int64_t w,
                              ls_conv2d_step *to) {
    ls_conv2d_step *step = to;
    for (int64_t u = 0; u < a->kernel_h; u++) {
        if ((h + a->pad - u) % a->stride != 0) continue;
        for (int64_t v = 0; v < a->kernel_w; v++) {
            if ((w + a->pad - v) % a->stride != 0) continue;
            const int64_t line = plane->top + (h + a->pad - u) / a->stride;
            const int64_t column = plane->left + (w + a->pad - v) / a->stride;
            step = add_steps(step, plane, u * a->kernel_w + v,
                             line * ls_conv2d_plane_line(plane) + column * LANES);
        }
    }
    return step - to;
}

/* Lines of dx' that are computed together: so many of every phase. */
static int64_t backward_together(const ls_conv2d_args *a) {
    return a->stride * ls_conv2d_lines_together(divide_up(a->width, a->stride));
}

/* Every stride-th line of dx' from h, before `last`, every stride-th pixel from w, into `image`, which begins
 * with line h's first. */
static void backward_phase(const ls_conv2d_args *a, const ls_conv2d_plane *plane, const room *r,
                           const float *dy, int64_t h, int64_t last, int64_t w, ls_conv2d_ahead *next,
                           float *image) {
    const int64_t pitch = ls_conv2d_groups(a->inputs) * LANES;
    ls_conv2d_product p = {.from = dy,
                           .from_line = ls_conv2d_plane_line(plane),
                           .weights = r->packed,
                           .step = r->step,
                           .steps = backward_steps(a, plane, h, w, r->step),
                           .to_line = a->stride * a->width * pitch,
                           .to_pixel = a->stride * pitch,
                           .columns = LANES,
                           .ahead = next};
    for (int64_t c = 0; c < a->inputs; c += LANES, p.weights += packed_panel(a, true)) {
        p.to = image + w * pitch + c;
        LS_NAME(ls_conv2d_multiply)(&p, divide_up(last - h, a->stride), divide_up(a->width - w, a->stride));
    }
}

/* dx' of row n from the plane dy, and back through the prologue, whose result is the plane x. */
static void backward_image(const ls_conv2d_args *a, const ls_conv2d_plane *x_plane, const ls_conv2d_plane *dy_plane,
                           const room *r, int shard, int64_t n, ls_conv2d_ahead *next, const float *x,
                           const float *dy) {
    const ls_prologue in = LS_NAME(ls_conv2d_prologue_from)(&a->in, n);
    const ls_grad_epilogue out = LS_NAME(ls_conv2d_grad_epilogue_from)(&a->dx, &a->in, n);
    const bool by_lines = LS_NAME(ls_conv2d_back_by_lines)(&in);
    const int64_t together = backward_together(a), line = a->width * ls_conv2d_groups(a->inputs) * LANES;
    int64_t done = 0;
    for (int64_t h = 0, last; h < a->height; h = last) {
        last = smaller(h + together, a->height);
        float *image = r->image + h * line;
        for (int64_t down = 0; down < smaller(a->stride, last - h); down++)
            for (int64_t w = 0; w < smaller(a->stride, a->width); w++)
                backward_phase(a, dy_plane, r, dy, h + down, last, w, next, image + down * line);
        if (!by_lines) continue;
        /* one band late: while the processor still multiplies for this one */
        LS_NAME(ls_conv2d_finish_gradient)(&in, &out, shard, x_plane, x, done, h, r->image + done * line);
        done = h;
    }
    LS_NAME(ls_conv2d_finish_gradient)(&in, &out, shard, x_plane, x, done, a->height, r->image + done * line);
}

/* --- weight gradient
 * ------------------------------------------------------------------------------------------------ */

/* Of a shard: the weights' as [panels][taps][inputs][16], then the bias's as [panels][16]. */
static int64_t weight_elements(const ls_conv2d_args *a) {
    return packed_size(a, false);
}

static int64_t shard_elements(const ls_conv2d_args *a) {
    return weight_elements(a) + ls_conv2d_groups(a->outputs) * LANES;
}

/* Adds lines [i, i + lines) of the images to the sums of a panel, a line of the kernel, and a group of
 * inputs: as many taps as a tile holds at a time. from, sums: where the first tap's are. */
static void add_taps(const ls_conv2d_args *a, const ls_conv2d_plane *plane, ls_conv2d_gradient *g,
                     const float *from, float *sums) {
    for (int64_t left = divide_up(a->kernel_w, LS_CONV2D_TILE_TAPS), v = 0; left > 0; left--, v += g->taps) {
        g->taps = (int)divide_up(a->kernel_w - v, left);
        for (int t = 0; t < g->taps; t++)
            g->from[t] = from + ((v + t) % a->stride * plane->columns + (v + t) / a->stride) * LANES;
        g->sums = sums + v * a->inputs * LANES;
        LS_NAME(ls_conv2d_add_gradient)(g);
    }
}

static void add_weight_gradient(const ls_conv2d_args *a, const ls_conv2d_plane *x, const ls_conv2d_plane *dy,
                                const room *r, int64_t images, float *sums) {
    const int64_t together = larger(1, GRADIENT_PIXELS / a->out_width), x_line = ls_conv2d_plane_line(x);
    ls_conv2d_gradient g = {.images = images,
                            .pixels = a->out_width,
                            .from_image = ls_conv2d_plane_size(x),
                            .from_line = a->stride * x_line,
                            .dy_image = ls_conv2d_plane_size(dy),
                            .dy_line = ls_conv2d_plane_line(dy),
                            .sums_tap = a->inputs * LANES};
    for (int64_t k = 0; k < ls_conv2d_groups(a->outputs); k++)
        for (int64_t i = 0; i < a->out_height; i += together) {
            g.lines = smaller(together, a->out_height - i);
            g.dy = r->dy + k * ls_conv2d_plane_group(dy) + (dy->top + i) * g.dy_line + dy->left * LANES;
            for (int64_t c = 0; c < ls_conv2d_groups(a->inputs); c++) {
                g.channels = smaller(LANES, a->inputs - c * LANES);
                for (int64_t u = 0; u < a->kernel_h; u++)
                    add_taps(a, x, &g, r->x + c * ls_conv2d_plane_group(x) + i * g.from_line + u * x_line,
                             sums + (((k * a->kernel_h + u) * a->kernel_w) * a->inputs + c * LANES) * LANES);
            }
        }
}

static void add_bias_gradient(const ls_conv2d_args *a, const ls_conv2d_plane *plane, const float *dy,
                              float *sums) {
    for (int64_t k = 0; k < ls_conv2d_groups(a->outputs); k++, sums += LANES) {
        sixteen sum = load16(sums);
        for (int64_t i = 0; i < a->out_height; i++) {
            const float *line = dy + k * ls_conv2d_plane_group(plane) +
                                (plane->top + i) * ls_conv2d_plane_line(plane) + plane->left * LANES;
            for (int64_t j = 0; j < a->out_width; j++) sum = add16(sum, load16(line + j * LANES));
        }
        store16(sums, sum);
    }
}

static void backward_shard(const ls_conv2d_args *a, const ls_shards *shards, int s, const room *r) {
    const ls_conv2d_plane x = plane_of_x(a), dy = plane_of_dy(a);
    const int64_t together = images_together(a), x_size = ls_conv2d_plane_size(&x),
                  dy_size = ls_conv2d_plane_size(&dy);
    const bool goes_back = a->dx.dz || a->dx.dresidual;
    const int64_t y_count = a->out_height * a->out_width * a->outputs;
    const int64_t x_count = a->height * a->width * a->inputs;
    const int64_t counts[LS_CONV2D_RANGES] = {x_count, y_count, y_count, x_count};
    const int64_t steps = divide_up(a->height, backward_together(a)) * ls_conv2d_groups(a->inputs) * taps(a) *
                          ls_conv2d_groups(a->outputs);
    float *sums = a->shard_gradients ? (float *)a->shard_gradients + s * shard_elements(a) : NULL;
    ls_prologue stored = {.pixels = a->in.pixels, .channels = a->in.channels, .x = a->in.stored};
    const ls_prologue *in = a->in.stored ? &stored : &a->in;
    for (int64_t n = shards->start[s], images; n < shards->start[s + 1]; n += images) {
        images = smaller(together, shards->start[s + 1] - n);
        for (int64_t m = 0; m < images; m++) {
            const ls_prologue row = LS_NAME(ls_conv2d_prologue_from)(in, n + m);
            const ls_grad_prologue dy_row = LS_NAME(ls_conv2d_grad_prologue_from)(&a->dy, n + m);
            LS_NAME(ls_conv2d_load)(&row, &x, r->plain, r->x + m * x_size);
            LS_NAME(ls_conv2d_load_gradient)(&dy_row, &dy, r->dy + m * dy_size);
            if (sums && a->dbias) add_bias_gradient(a, &dy, r->dy + m * dy_size, sums + weight_elements(a));
            if (!goes_back) continue;
            ls_conv2d_ahead next = {0};
            if (n + m + 1 < shards->start[s + 1])
                next = behind((const void *const[LS_CONV2D_RANGES]){row.x, dy_row.dz, dy_row.a ? dy_row.y : NULL, a->dx.dz ? (float *)a->dx.dz + (n + m) * x_count : NULL}, counts, steps);
            backward_image(a, &x, &dy, r, s, n + m, &next, r->x + m * x_size, r->dy + m * dy_size);
        }
        if (sums) add_weight_gradient(a, &x, &dy, r, images, sums);
    }
}

static void backward(const ls_conv2d_args *a, const ls_shards *shards, int first, int last, void *scratch) {
    const ls_conv2d_plane x = plane_of_x(a), dy = plane_of_dy(a);
    room r;
    lay_out(a, scratch, &r);
    if (a->dx.dz || a->dx.dresidual) pack_weights(a, true, r.packed);
    clear(r.x, images_together(a) * ls_conv2d_plane_size(&x));
    clear(r.dy, images_together(a) * ls_conv2d_plane_size(&dy));
    for (int i = 0; i < last - first; i++) {
        const int s = shard_at(a, first, last, i);
        if (a->dx.dz || a->dx.dresidual) {
            clear_sums(a->dx.sums, a->inputs, s);
            clear_sums(a->dx.residual_sums, a->inputs, s);
        }
        if (a->shard_gradients) clear((float *)a->shard_gradients + s * shard_elements(a), shard_elements(a));
        backward_shard(a, shards, s, &r);
    }
}

/* --- the sum over shards
 * ---------------------------------------------------------------------------------------------- */

static int64_t weight_grad_parts(const ls_conv2d_args *a) {
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

static void weight_grad(const ls_conv2d_args *a, const ls_shards *shards, int64_t first, int64_t last,
                        void *scratch) {
    for (int64_t part = first; part < last; part++) {
        const int64_t at = part * SUM_CHUNK, count = smaller(SUM_CHUNK, shard_elements(a) - at);
        for (int n = 0; n < shards->node_count; n++) {
            float *dw = (float *)a->dweight + n * a->node_stride;
            float *db = a->dbias ? (float *)a->dbias + n * a->node_stride : NULL;
            unpack(a, at, count, sum_shards(a, shards, &shards->node[n], at, count, scratch), dw, db);
        }
    }
}

const ls_conv2d_kernels LS_NAME(ls_conv2d_vector) = {
    .scratch_bytes = scratch_bytes,
    .forward = forward,
    .backward = backward,
    .weight_grad_parts = weight_grad_parts,
    .weight_grad = weight_grad,
    .shard_gradient_elements = shard_elements,
};

/* The convolution with vectors of sixteen channels (AVX2 and AVX-512), image by image: directly, or, where
 * is_winograd() says so, with the products of conv2d_winograd.h between the same planes and epilogues.
 *
 * Forward: x' goes through its prologue into a plane in the second-level cache, with zeros around it; tiles
 * of y are computed from there (conv2d_tiles.h), bias and sums taken while the lines are still in the caches.
 *
 * Backward: dy and x' go into planes. dx' comes from dy by the same tiles, with the weights transposed, one
 * phase of the stride after the other, and goes back through the prologue; the weight gradient comes from
 * both planes, for every shard (conv2d_weights.h).
 *
 * The order of every sum is that of conv2d.h, with terms 0 w where a tap meets padding and a multiply-add
 * that rounds once; it does not depend on the tier. x' is computed again where it is needed, so that nobody
 * has to store it. */
#include "layers/conv2d/conv2d_amx.h"
#include "layers/conv2d/conv2d_layout.h"
#include "layers/conv2d/conv2d_pack.h"
#include "layers/conv2d/conv2d_tiles.h"
#include "layers/conv2d/conv2d_weights.h"
#include "layers/conv2d/conv2d_winograd.h"

#include <string.h>

enum { MAX_IMAGES = 8 }; /* whose products are added to the weight gradient together */

/* --- samples -----------------------------------------------------------------------------------
 *
 * A convolution of 1x1 with a stride, that does nothing else to what it loads and what it stores back, as in
 * the shortcut of a residual block, is one with stride 1 of an image of the pixels that it reads. */

static bool takes_samples(const ls_conv2d_args *a) {
    return taps(a) == 1 && a->stride > 1 && a->pad == 0 && ls_prologue_is_identity(&a->in) && !a->in.stored &&
           !a->dx.others && !a->dx.accumulate && !a->dx.sums && !a->dx.dresidual && !a->dx.residual_sums;
}

/* What is computed: the same, or that of the samples. */
static ls_conv2d_args computed(const ls_conv2d_args *a) {
    ls_conv2d_args samples = *a;
    if (!takes_samples(a)) return samples;
    samples.height = a->out_height;
    samples.width = a->out_width;
    samples.stride = 1;
    return samples;
}

/* --- scratch ----------------------------------------------------------------------------------- */

static void pack_weights(const ls_conv2d_args *a, bool transposed, float *to) {
    if (is_winograd(a))
        LS_NAME(ls_conv2d_winograd_weights)(a, transposed, to);
    else
        LS_NAME(ls_conv2d_pack_weights)(a, transposed, to);
}

/* What a tap leaves out whose first and last line (or pixel) of a tile meet these of an image of that size.
 */
static int skipped(int64_t first, int64_t last, int64_t size, int if_first, int if_last) {
    if (first < 0 || first >= size) return if_first;
    return last < 0 || last >= size ? if_last : 0;
}

static int skipped_lines(int64_t first, int64_t last, int64_t height) {
    return skipped(first, last, height, LS_CONV2D_SKIP_FIRST_LINE, LS_CONV2D_SKIP_LAST_LINE);
}

static int skipped_pixels(int64_t first, int64_t last, int64_t width) {
    return skipped(first, last, width, LS_CONV2D_SKIP_FIRST_PIXEL, LS_CONV2D_SKIP_LAST_PIXEL);
}

/* The steps of one tap, group of channels by group; `from` for the first group. */
static ls_conv2d_step *add_steps(ls_conv2d_step *step, const ls_conv2d_plane *plane, int64_t tap,
                                 int64_t from, int skip) {
    const int64_t count = ls_conv2d_plane_words(plane);
    for (int64_t c = 0; c < count; c += LANES, from += ls_conv2d_plane_group(plane))
        *step++ = (ls_conv2d_step){skip, from, (tap * count + c) * LANES, smaller(LANES, count - c)};
    return step;
}

/* What a call works in: a thread's scratch. */
typedef struct room {
    ls_conv2d_step *step;
    float *packed, *x, *dy, *dy_pixels, *image, *plain; /* dy_pixels: dy, where there are no pairs */
    float *tiles, *sums;                                /* of Winograd's algorithm */
    bool streams; /* what is written in the shape of x goes past the caches */
} room;

static size_t take(size_t *used, int64_t count, size_t size) {
    const size_t at = *used;
    *used += ((size_t)count * size + 63) / 64 * 64;
    return at;
}

/* Images whose products are added to the weight gradient together. */
static int64_t images_together(const ls_conv2d_args *a) {
    const int64_t images = LS_CONV2D_GRADIENT_PIXELS / (a->out_height * a->out_width);
    return images < 1 ? 1 : smaller(images, MAX_IMAGES);
}

/* Floats of the packed weights of both directions. */
static int64_t room_for_weights(const ls_conv2d_args *a) {
    if (is_winograd(a)) return ls_conv2d_winograd_weights_size(a);
    return larger(packed_size(a, false), packed_size(a, true));
}

/* Floats of transformed tiles. */
static int64_t room_for_tiles(const ls_conv2d_args *a) {
#if LS_TILES
    return LS_NAME(ls_conv2d_amx_gradient_room)(a);
#endif
    if (!is_winograd(a)) return 0;
    return larger(LS_NAME(ls_conv2d_winograd_room)(a), LS_NAME(ls_conv2d_winograd_gradient_room)(a));
}

/* Lays scratch out for both directions; NULL: only says how many bytes. */
static size_t lay_out(const ls_conv2d_args *a, void *scratch, room *r) {
    const ls_conv2d_plane x = plane_of_x(a), dy = plane_of_dy(a), dy_pixels = pixels_of_dy(a);
    const int64_t pixels = a->height * a->width, groups = ls_conv2d_groups(a->inputs);
    size_t used = 0;
    const size_t step =
        take(&used, taps(a) * larger(groups, ls_conv2d_groups(a->outputs)), sizeof(ls_conv2d_step));
    const size_t packed = take(&used, room_for_weights(a), sizeof(float));
    const size_t x_at = take(&used, images_together(a) * ls_conv2d_plane_size(&x), sizeof(float));
    const size_t dy_at = take(&used, images_together(a) * ls_conv2d_plane_size(&dy), sizeof(float));
    const size_t dy_pixels_at =
        LS_PAIRS ? take(&used, images_together(a) * ls_conv2d_plane_size(&dy_pixels), sizeof(float)) : dy_at;
    const size_t image = take(&used, pixels * groups * LANES, sizeof(float));
    const size_t plain = take(&used, pixels * a->inputs, sizeof(float));
    const size_t tiles = take(&used, room_for_tiles(a), sizeof(float));
    const size_t sums = take(&used, is_winograd(a) ? ls_conv2d_winograd_sums_size(a) : 0, sizeof(float));
    char *base = scratch;
    if (base)
        *r = (room){(ls_conv2d_step *)(base + step), (float *)(base + packed),
                    (float *)(base + x_at),          (float *)(base + dy_at),
                    (float *)(base + dy_pixels_at),  (float *)(base + image),
                    (float *)(base + plain),         (float *)(base + tiles),
                    (float *)(base + sums),          false};
    return used;
}

static size_t scratch_bytes(const ls_conv2d_args *a, int64_t rows_per_shard) {
    const size_t sum = LS_NAME(ls_conv2d_weight_grad_scratch)(), used = lay_out(a, NULL, NULL);
    (void)rows_per_shard;
    return used > sum ? used : sum;
}

/* Tensors of a rank from that size on leave the caches before they are read again. */
enum { STREAMED_BYTES = 2 << 20 };

/* May a tensor in the shape of x be written past the caches? */
static bool streams(const ls_conv2d_args *given, const ls_shards *shards, const void *to) {
    const int64_t elements = ls_shards_rows(shards) * given->in.pixels * given->inputs;
    return to && given->inputs % LANES == 0 && (uintptr_t)to % 64 == 0 &&
           elements * (int64_t)sizeof(float) >= STREAMED_BYTES;
}

static void clear(float *p, int64_t count) {
    memset(p, 0, (size_t)count * sizeof *p);
}

static void clear_sums(double *sums, int64_t channels, int shard) {
    if (sums) memset(sums + shard * 2 * channels, 0, (size_t)(2 * channels) * sizeof *sums);
}

/* To fetch these rows, of so many floats, in the course of so many steps of products. */
static ls_conv2d_ahead fetching(const void *const row[LS_CONV2D_RANGES],
                                const int64_t count[LS_CONV2D_RANGES], int64_t steps) {
    ls_conv2d_ahead a = {0};
    int64_t bytes = 0;
    for (int i = 0; i < LS_CONV2D_RANGES; i++) {
        if (!row[i]) continue;
        a.range[i].from = row[i];
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

/* The row that is worked on after row n, which is of the i-th of these shards, or -1. */
static int64_t row_after(const ls_conv2d_args *a, const ls_shards *shards, int first, int last, int i,
                         int64_t n) {
    if (n + 1 < shards->start[shard_at(a, first, last, i) + 1]) return n + 1;
    while (++i < last - first) {
        const int s = shard_at(a, first, last, i);
        if (shards->start[s] < shards->start[s + 1]) return shards->start[s];
    }
    return -1;
}

/* --- forward ----------------------------------------------------------------------------------- */

/* The taps that n lines of y from i meet, from their first pixel's in the plane. */
static int64_t forward_steps(const ls_conv2d_args *a, const ls_conv2d_plane *plane, int64_t i, int64_t n,
                             ls_conv2d_step *to) {
    ls_conv2d_step *step = to;
    if (LS_TILES) return ls_conv2d_amx_add_steps(plane, 0, to);
    for (int64_t u = 0; u < a->kernel_h; u++) {
        const int64_t line = i * a->stride + u - a->pad;
        const int lines = skipped_lines(line, line + (n - 1) * a->stride, a->height);
        if (n == 1 && lines) continue;
        for (int64_t v = 0; v < a->kernel_w; v++)
            step = add_steps(
                step, plane, u * a->kernel_w + v,
                u * ls_conv2d_plane_line(plane) + (v % a->stride * plane->columns + v / a->stride) * LANES,
                lines | skipped_pixels(v - a->pad, (a->out_width - 1) * a->stride + v - a->pad, a->width));
    }
    return step - to;
}

/* Do all taps of these lines of y meet lines of the image? */
static bool all_inside(const ls_conv2d_args *a, int64_t i, int64_t n) {
    return i * a->stride >= a->pad && (i + n - 1) * a->stride + a->kernel_h - a->pad <= a->height;
}

/* Lines of y that are computed together. */
static int64_t forward_together(const ls_conv2d_args *a) {
    return is_winograd(a) ? ls_conv2d_winograd_lines(a->out_width) : ls_conv2d_lines_together(a->out_width);
}

/* In how many steps an image's y moves on what is fetched ahead. */
static int64_t forward_all_steps(const ls_conv2d_args *a) {
    if (is_winograd(a)) return LS_NAME(ls_conv2d_winograd_steps)(a, false);
    return divide_up(a->out_height, forward_together(a)) * ls_conv2d_groups(a->outputs) *
           (LS_TILES ? ls_conv2d_amx_steps(a->inputs) : taps(a) * ls_conv2d_groups(words(a->inputs)));
}

/* n lines of y from i, where y begins, directly. */
static void forward_lines(const ls_conv2d_args *a, ls_conv2d_product *p, const room *r, int64_t i, int64_t n,
                          float *y) {
    p->from = r->x + i * p->from_line;
    p->weights = r->packed;
    for (int64_t k = 0; k < a->outputs; k += LANES, p->weights += packed_panel(a, false)) {
        p->to = y + k;
        p->columns = smaller(LANES, a->outputs - k);
        LS_NAME(ls_conv2d_multiply)(p, n, a->out_width);
    }
}

/* y of one image from the plane r->x. */
static void forward_image(const ls_conv2d_args *a, const ls_conv2d_plane *plane, const room *r, int shard,
                          ls_conv2d_ahead *next, float *y) {
    const int64_t together = forward_together(a);
    ls_conv2d_winograd tiles = {r->x, r->packed, r->tiles, y, next, 0};
    ls_conv2d_product p = {.from_line = a->stride * ls_conv2d_plane_line(plane),
                           .from_pixel = ls_conv2d_plane_pixel(plane),
                           .step = r->step,
                           .to_line = a->out_width * a->outputs,
                           .to_pixel = a->outputs,
                           .ahead = next};
    int64_t waiting = 0;
    bool inside = false; /* are the steps those of the middle of the image? */
    LS_NAME(ls_conv2d_open_tiles)(a->out_width);
    for (int64_t i = 0, n; i < a->out_height; i += n, y += n * p.to_line) {
        n = smaller(together, a->out_height - i);
        if (is_winograd(a)) {
            LS_NAME(ls_conv2d_winograd_multiply)(a, false, &tiles, i, i + n);
        } else {
            if (!inside || !all_inside(a, i, n)) p.steps = forward_steps(a, plane, i, n, r->step);
            inside = all_inside(a, i, n);
            forward_lines(a, &p, r, i, n, y);
        }
        /* One band late: while the processor still multiplies for this one. */
        LS_NAME(ls_conv2d_finish)
        (&a->out, a->outputs, shard, waiting * a->out_width, y - waiting * p.to_line);
        waiting = n;
    }
    LS_NAME(ls_conv2d_close_tiles)();
    LS_NAME(ls_conv2d_finish)(&a->out, a->outputs, shard, waiting * a->out_width, y - waiting * p.to_line);
}

/* x' of row n into a plane. after: the row that will be worked on next, or -1. */
static void load(const ls_conv2d_args *given, const ls_prologue *in, int64_t n, int64_t after,
                 const ls_conv2d_plane *plane, const room *r, float *to) {
    const ls_prologue row = LS_NAME(ls_conv2d_prologue_from)(in, n);
    const int64_t ahead = after < 0 ? 0 : (after - n) * in->pixels * in->channels;
    if (takes_samples(given))
        LS_NAME(ls_conv2d_load_samples)(&row, plane, given->width, given->stride, ahead, to);
    else
        LS_NAME(ls_conv2d_load)(&row, plane, r->streams, r->plain, to);
}

static void forward(const ls_conv2d_args *given, const ls_shards *shards, int first, int last,
                    void *scratch) {
    const ls_conv2d_args part = computed(given), *a = &part;
    const ls_conv2d_plane plane = channels_of_x(a);
    room r = {0};
    lay_out(a, scratch, &r);
    r.streams = streams(given, shards, a->in.stored);
    pack_weights(a, false, r.packed);
    const int64_t x_count = a->height * a->width * a->inputs,
                  y_count = a->out_height * a->out_width * a->outputs;
    const int64_t counts[LS_CONV2D_RANGES] = {x_count, x_count, 0, 0, 0, y_count, x_count};
    const int64_t steps = forward_all_steps(a);
    clear(r.x, ls_conv2d_plane_size(&plane));
    for (int i = 0; i < last - first; i++) {
        const int s = shard_at(a, first, last, i);
        clear_sums(a->out.sums, a->outputs, s);
        for (int64_t n = shards->start[s]; n < shards->start[s + 1]; n++) {
            const int64_t after = row_after(a, shards, first, last, i, n);
            load(given, &a->in, n, after, &plane, &r, r.x);
            ls_conv2d_ahead next = {0};
            if (after >= 0) {
                const ls_prologue row = LS_NAME(ls_conv2d_prologue_from)(&a->in, after);
                next = fetching((const void *const[LS_CONV2D_RANGES]){takes_samples(given) ? NULL : row.x,
                                                                      row.residual, NULL, NULL, NULL,
                                                                      (float *)a->y + after * y_count,
                                                                      r.streams ? NULL : row.stored},
                                counts, steps);
            }
            forward_image(a, &plane, &r, s, &next, (float *)a->y + n * y_count);
        }
    }
    if (r.streams) LS_NAME(ls_conv2d_end_streams)();
}

/* --- input gradient ---------------------------------------------------------------------------- */

/* The taps that lines h, h + stride, .. (n of them) of dx' meet at pixels w, w + stride, .. (as many as fit),
 * from the plane's first column of line h / stride. */
static int64_t backward_steps(const ls_conv2d_args *a, const ls_conv2d_plane *plane, int64_t h, int64_t n,
                              int64_t w, ls_conv2d_step *to) {
    ls_conv2d_step *step = to;
    const int64_t pixels = divide_up(a->width - w, a->stride);
    if (LS_TILES)
        return ls_conv2d_amx_add_steps(plane,
                                       (plane->top + a->pad - 2) * ls_conv2d_plane_line(plane) +
                                           (plane->left + a->pad - 2) * ls_conv2d_plane_pixel(plane),
                                       to);
    for (int64_t u = 0; u < a->kernel_h; u++) {
        if ((h + a->pad - u) % a->stride != 0) continue;
        const int64_t line = (h + a->pad - u) / a->stride;
        const int lines = skipped_lines(line, line + n - 1, a->out_height);
        if (n == 1 && lines) continue;
        for (int64_t v = 0; v < a->kernel_w; v++) {
            if ((w + a->pad - v) % a->stride != 0) continue;
            const int64_t column = (w + a->pad - v) / a->stride;
            step = add_steps(step, plane, u * a->kernel_w + v,
                             (plane->top + line - h / a->stride) * ls_conv2d_plane_line(plane) +
                                 (plane->left + column) * LANES,
                             lines | skipped_pixels(column, column + pixels - 1, a->out_width));
        }
    }
    return step - to;
}

/* Lines of dx' that are computed together: so many of every phase. */
static int64_t backward_together(const ls_conv2d_args *a) {
    if (is_winograd(a)) return ls_conv2d_winograd_lines(a->width);
    return a->stride * ls_conv2d_lines_together(divide_up(a->width, a->stride));
}

/* In how many steps an image's dx' moves on what is fetched ahead. */
static int64_t backward_all_steps(const ls_conv2d_args *a) {
    if (is_winograd(a)) return LS_NAME(ls_conv2d_winograd_steps)(a, true);
    return divide_up(a->height, backward_together(a)) * ls_conv2d_groups(a->inputs) *
           (LS_TILES ? ls_conv2d_amx_steps(a->outputs) : taps(a) * ls_conv2d_groups(words(a->outputs)));
}

/* Do all taps of these lines of dx' meet lines of dy, with stride 1? */
static bool backward_inside(const ls_conv2d_args *a, int64_t h, int64_t last) {
    return h + a->pad - a->kernel_h + 1 >= 0 && last - 1 + a->pad < a->out_height;
}

/* Every stride-th line of dx' from h, before `last`, every stride-th pixel from w, into `image`, which begins
 * with line h's first. */
static void backward_phase(const ls_conv2d_args *a, const ls_conv2d_plane *plane, const room *r,
                           const float *dy, int64_t h, int64_t last, int64_t w, int64_t steps,
                           ls_conv2d_ahead *next, float *image) {
    const int64_t pitch = ls_conv2d_groups(a->inputs) * LANES, lines = divide_up(last - h, a->stride);
    ls_conv2d_product p = {.from = dy + h / a->stride * ls_conv2d_plane_line(plane),
                           .from_line = ls_conv2d_plane_line(plane),
                           .from_pixel = ls_conv2d_plane_pixel(plane),
                           .weights = r->packed,
                           .step = r->step,
                           .steps = steps,
                           .to_line = a->stride * a->width * pitch,
                           .to_pixel = a->stride * pitch,
                           .columns = LANES,
                           .ahead = next};
    for (int64_t c = 0; c < a->inputs; c += LANES, p.weights += packed_panel(a, true)) {
        p.to = image + w * pitch + c;
        LS_NAME(ls_conv2d_multiply)(&p, lines, divide_up(a->width - w, a->stride));
    }
}

/* dx' of row n from the plane dy, and back through the prologue, whose result is the plane x. */
static void backward_image(const ls_conv2d_args *given, const ls_conv2d_args *a,
                           const ls_conv2d_plane *x_plane, const ls_conv2d_plane *dy_plane, const room *r,
                           int shard, int64_t n, ls_conv2d_ahead *next, const float *x, const float *dy) {
    const ls_prologue in = LS_NAME(ls_conv2d_prologue_from)(&a->in, n);
    const ls_grad_epilogue out = LS_NAME(ls_conv2d_grad_epilogue_from)(&a->dx, &a->in, n);
    const bool samples = takes_samples(given), by_lines = !samples && ls_conv2d_by_lines(&in);
    const int64_t together = backward_together(a), line = a->width * ls_conv2d_groups(a->inputs) * LANES;
    ls_conv2d_winograd tiles = {dy, r->packed, r->tiles, r->image, next, 0};
    int64_t done = 0, steps = 0;
    bool inside = false; /* are the steps those of the middle of an image without phases? */
    LS_NAME(ls_conv2d_open_tiles)(a->width);
    for (int64_t h = 0, last; h < a->height; h = last) {
        last = smaller(h + together, a->height);
        float *image = r->image + h * line;
        const bool known = inside && backward_inside(a, h, last);
        inside = a->stride == 1 && backward_inside(a, h, last);
        if (is_winograd(a)) LS_NAME(ls_conv2d_winograd_multiply)(a, true, &tiles, h, last);
        for (int64_t down = 0; down < smaller(a->stride, last - h) && !is_winograd(a); down++)
            for (int64_t w = 0; w < smaller(a->stride, a->width); w++) {
                const int64_t lines = divide_up(last - h - down, a->stride);
                if (!known) steps = backward_steps(a, dy_plane, h + down, lines, w, r->step);
                backward_phase(a, dy_plane, r, dy, h + down, last, w, steps, next, image + down * line);
            }
        if (!by_lines) continue;
        /* one band late: while the processor still multiplies for this one */
        LS_NAME(ls_conv2d_finish_gradient)
        (&in, &out, shard, r->streams, x_plane, x, done, h, r->image + done * line);
        done = h;
    }
    LS_NAME(ls_conv2d_close_tiles)();
    if (samples) {
        LS_NAME(ls_conv2d_finish_samples)
        (x_plane, given->height, given->width, given->stride, r->streams, r->image, out.dz);
    } else {
        LS_NAME(ls_conv2d_finish_gradient)
        (&in, &out, shard, r->streams, x_plane, x, done, a->height, r->image + done * line);
    }
}

/* --- both gradients ---------------------------------------------------------------------------- */

/* What x' is made of in the backward pass: itself, where it was stored and takes more than x, which the way
 * back reads anyway. */
static ls_prologue backward_prologue(const ls_conv2d_args *a) {
    ls_prologue in = a->in;
    if (in.stored && (in.residual || in.act == LS_ACT_TANH || in.dropout.active))
        return (ls_prologue){.pixels = in.pixels, .channels = in.channels, .x = in.stored};
    in.stored = NULL;
    return in;
}

/* To fetch what the backward pass of row n reads and writes. */
static ls_conv2d_ahead fetching_gradient(const ls_conv2d_args *a, const ls_prologue *in, const room *r,
                                         int64_t n, int64_t steps) {
    const int64_t x = a->height * a->width * a->inputs, y = a->out_height * a->out_width * a->outputs;
    const int64_t counts[LS_CONV2D_RANGES] = {x, y, y, x, x, x, x};
    const ls_prologue x_row = LS_NAME(ls_conv2d_prologue_from)(in, n);
    const ls_prologue back = LS_NAME(ls_conv2d_prologue_from)(&a->in, n);
    const ls_grad_prologue dy = LS_NAME(ls_conv2d_grad_prologue_from)(&a->dy, n);
    const ls_grad_epilogue dx = LS_NAME(ls_conv2d_grad_epilogue_from)(&a->dx, &a->in, n);
    const void *const rows[LS_CONV2D_RANGES] = {takes_samples(a) ? NULL : x_row.x,
                                                dy.dz,
                                                dy.a ? dy.y : NULL,
                                                dx.sums && back.x != x_row.x ? back.x : NULL,
                                                dx.residual_sums ? back.residual : NULL,
                                                r->streams ? NULL : dx.dz,
                                                dx.dresidual};
    return fetching(rows, counts, steps);
}

/* The i-th of these shards. */
static void backward_shard(const ls_conv2d_args *given, const ls_shards *shards, int first, int last, int i,
                           const room *r) {
    const ls_conv2d_args part = computed(given), *a = &part;
    const int s = shard_at(a, first, last, i);
    const ls_conv2d_plane x = plane_of_x(a), dy = plane_of_dy(a), dy_pixels = pixels_of_dy(a);
    const int64_t together = images_together(a), x_size = ls_conv2d_plane_size(&x),
                  dy_size = ls_conv2d_plane_size(&dy), dy_pixels_size = ls_conv2d_plane_size(&dy_pixels);
    const bool goes_back = a->dx.dz || a->dx.dresidual;
    const int64_t steps = backward_all_steps(a);
    float *sums = a->shard_gradients ? (float *)a->shard_gradients + s * shard_elements(a) : NULL;
    const bool tiles = is_winograd(a);
    if (sums && tiles) clear(r->sums, ls_conv2d_winograd_sums_size(a));
    const ls_prologue in = backward_prologue(a);
    for (int64_t n = shards->start[s], images; n < shards->start[s + 1]; n += images) {
        ls_conv2d_ahead next = {0};
        images = smaller(together, shards->start[s + 1] - n);
        for (int64_t m = 0; m < images; m++) {
            const int64_t after = row_after(a, shards, first, last, i, n + m);
            const ls_grad_prologue dy_row = LS_NAME(ls_conv2d_grad_prologue_from)(&a->dy, n + m);
            load(given, &in, n + m, after, &x, r, r->x + m * x_size);
            LS_NAME(ls_conv2d_load_gradient)
            (&dy_row, &dy, r->dy + m * dy_size, r->dy_pixels + m * dy_pixels_size,
             sums && a->dbias ? sums + weight_elements(a) : NULL);
            if (!goes_back) continue;
            const int64_t more =
                sums && tiles && m == images - 1 ? LS_NAME(ls_conv2d_winograd_gradient_steps)(a, images) : 0;
            next = after < 0 ? (ls_conv2d_ahead){0} : fetching_gradient(given, &in, r, after, steps + more);
            backward_image(given, a, &x, &dy, r, s, n + m, &next, r->x + m * x_size, r->dy + m * dy_size);
        }
        if (sums && tiles)
            LS_NAME(ls_conv2d_winograd_add_gradient)(a, r->x, r->dy, images, r->tiles, r->sums, &next);
#if LS_TILES
        else if (sums)
            LS_NAME(ls_conv2d_amx_add_gradient)(a, r->x, r->dy_pixels, images, r->tiles, sums);
#else
        else if (sums)
            LS_NAME(ls_conv2d_add_weight_gradient)(a, r->x, r->dy_pixels, images, sums);
#endif
    }
    if (sums && tiles) LS_NAME(ls_conv2d_winograd_finish_gradient)(a, r->sums, sums);
#if LS_TILES
    if (sums) LS_NAME(ls_conv2d_amx_finish_gradient)(a, sums);
#endif
}

static void backward(const ls_conv2d_args *given, const ls_shards *shards, int first, int last,
                     void *scratch) {
    const ls_conv2d_args part = computed(given), *a = &part;
    const ls_conv2d_plane x = plane_of_x(a), dy = plane_of_dy(a);
    room r = {0};
    lay_out(a, scratch, &r);
    r.streams = ls_conv2d_only_writes(&a->dx) && streams(given, shards, a->dx.dz);
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
        backward_shard(given, shards, first, last, i, &r);
    }
    if (r.streams) LS_NAME(ls_conv2d_end_streams)();
}

const ls_conv2d_kernels LS_NAME(ls_conv2d_vector) = {
    .scratch_bytes = scratch_bytes,
    .forward = forward,
    .backward = backward,
    .weight_grad_parts = LS_NAME(ls_conv2d_weight_grad_parts),
    .weight_grad = LS_NAME(ls_conv2d_weight_grad),
    .shard_gradient_elements = shard_elements,
};

/* The gradients of x' and of the weights, image by image (conv2d_vector.c). */
#include "layers/conv2d/conv2d_amx.h"
#include "layers/conv2d/conv2d_vector.h"
#include "layers/conv2d/conv2d_winograd.h"

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
    return a->stride * ls_conv2d_lines_together(divide_up(a->width, a->stride));
}

/* In how many steps the dx' of so many images moves on what is fetched ahead. */
static int64_t backward_all_steps(const ls_conv2d_args *a, int64_t images) {
    if (is_winograd(a)) return LS_NAME(ls_conv2d_winograd_steps)(a, true, images);
    return images * divide_up(a->height, backward_together(a)) * ls_conv2d_groups(a->inputs) *
           (LS_TILES ? ls_conv2d_amx_steps(a->outputs) : taps(a) * ls_conv2d_groups(words(a->outputs)));
}

/* Do all taps of these lines of dx' meet lines of dy, with stride 1? */
static bool backward_inside(const ls_conv2d_args *a, int64_t h, int64_t last) {
    return h + a->pad - a->kernel_h + 1 >= 0 && last - 1 + a->pad < a->out_height;
}

/* Every stride-th line of dx' from h, before `last`, every stride-th pixel from w, into `image`, which begins
 * with line h's first. */
static void backward_phase(const ls_conv2d_args *a, const ls_conv2d_plane *plane, const ls_conv2d_room *r,
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

/* dx' of row n from the plane dy, directly, and back through the prologue, whose result is the plane x. */
static void backward_image(const ls_conv2d_args *given, const ls_conv2d_args *a,
                           const ls_conv2d_plane *x_plane, const ls_conv2d_plane *dy_plane,
                           const ls_conv2d_room *r, int shard, int64_t n, ls_conv2d_ahead *next,
                           const float *x, const float *dy) {
    const ls_prologue in = LS_NAME(ls_conv2d_prologue_from)(&a->in, n);
    const ls_grad_epilogue out = LS_NAME(ls_conv2d_grad_epilogue_from)(&a->dx, &a->in, n);
    const bool samples = takes_samples(given), by_lines = !samples && ls_conv2d_by_lines(&in);
    const int64_t together = backward_together(a), line = a->width * ls_conv2d_groups(a->inputs) * LANES;
    int64_t done = 0, steps = 0;
    bool inside = false; /* are the steps those of the middle of an image without phases? */
    LS_NAME(ls_conv2d_open_tiles)(a->width);
    for (int64_t h = 0, last; h < a->height; h = last) {
        last = smaller(h + together, a->height);
        float *image = r->image + h * line;
        const bool known = inside && backward_inside(a, h, last);
        inside = a->stride == 1 && backward_inside(a, h, last);
        for (int64_t down = 0; down < smaller(a->stride, last - h); down++)
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

/* The same by Winograd's algorithm for so many rows from n on, from the planes r->dy and r->x. */
static void backward_tiles(const ls_conv2d_args *a, const ls_conv2d_plane *x_plane, const ls_conv2d_room *r,
                           int shard, int64_t n, int64_t images, ls_conv2d_ahead *next) {
    const bool by_lines = ls_conv2d_by_lines(&a->in);
    const int64_t line = a->width * ls_conv2d_groups(a->inputs) * LANES, image = a->height * line;
    const int64_t all = images * winograd_tiles(a, true), across = winograd_across(a, true);
    ls_conv2d_winograd tiles = {r->dy, r->packed, r->tiles, r->image, image, images, next, 0};
    for (int64_t finished = 0; tiles.done < all;) {
        LS_NAME(ls_conv2d_winograd_pass)(a, true, &tiles);
        for (; finished < tiles.done / across; finished++) { /* lines of tiles */
            const ls_conv2d_lines lines = winograd_lines(a, true, finished);
            if (!by_lines && lines.last < a->height) continue;
            const int64_t first = by_lines ? lines.first : 0;
            const ls_prologue in = LS_NAME(ls_conv2d_prologue_from)(&a->in, n + lines.image);
            const ls_grad_epilogue out =
                LS_NAME(ls_conv2d_grad_epilogue_from)(&a->dx, &a->in, n + lines.image);
            LS_NAME(ls_conv2d_finish_gradient)
            (&in, &out, shard, r->streams, x_plane, r->x + lines.image * ls_conv2d_plane_size(x_plane), first,
             lines.last, r->image + lines.image * image + first * line);
        }
    }
}

/* --- both gradients ---------------------------------------------------------------------------- */

/* What x' is made of in the backward pass: itself, where it was stored and takes more than x, which the way
 * back reads anyway. */
static ls_prologue backward_prologue(const ls_conv2d_args *a) {
    ls_prologue in = a->in;
    if (in.stored && (in.residual || !ls_conv2d_by_lines(&in)))
        return (ls_prologue){.pixels = in.pixels, .channels = in.channels, .x = in.stored};
    in.stored = NULL;
    return in;
}

/* To fetch what the backward pass of these rows reads and writes. */
static ls_conv2d_ahead fetching_gradient(const ls_conv2d_args *a, const ls_prologue *in,
                                         const ls_conv2d_room *r, ls_conv2d_rows after, int64_t steps) {
    const int64_t n = after.first;
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
    return fetching(rows, counts, after.count, steps);
}

/* The i-th of these shards. */
static void backward_shard(const ls_conv2d_args *given, const ls_shards *shards, int first, int last, int i,
                           const ls_conv2d_room *r) {
    ls_conv2d_args part = computed(given);
    const ls_conv2d_args *a = &part;
    part.dx.room = r->pixel_sums;
    const int s = shard_at(a, first, last, i);
    const ls_conv2d_plane x = plane_of_x(a), dy = plane_of_dy(a), dy_pixels = pixels_of_dy(a);
    const int64_t together = images_together(a), x_size = ls_conv2d_plane_size(&x),
                  dy_size = ls_conv2d_plane_size(&dy), dy_pixels_size = ls_conv2d_plane_size(&dy_pixels);
    const bool goes_back = a->dx.dz || a->dx.dresidual;
    float *sums = a->shard_gradients ? (float *)a->shard_gradients + s * shard_elements(a) : NULL;
    const bool tiles = is_winograd(a);
    const ls_prologue in = backward_prologue(a);
    for (int64_t n = shards->start[s], images; n < shards->start[s + 1]; n += images) {
        images = smaller(together, shards->start[s + 1] - n);
        const ls_conv2d_rows after = rows_from(a, shards, first, last, i, n + images, together);
        ls_conv2d_ahead next = {0};
        if (goes_back && after.count > 0)
            next = fetching_gradient(
                given, &in, r, after,
                backward_all_steps(a, images) +
                    (sums && tiles ? LS_NAME(ls_conv2d_winograd_gradient_steps)(a, images) : 0));
        for (int64_t m = 0; m < images; m++) {
            const ls_grad_prologue dy_row = LS_NAME(ls_conv2d_grad_prologue_from)(&a->dy, n + m);
            load_row(given, &in, n + m, m < after.count ? after.first + m : -1, &x, r, r->x + m * x_size);
            LS_NAME(ls_conv2d_load_gradient)
            (&dy_row, &dy, r->dy + m * dy_size, r->dy_pixels + m * dy_pixels_size,
             sums && a->dbias ? sums + weight_elements(a) : NULL);
            if (goes_back && !tiles)
                backward_image(given, a, &x, &dy, r, s, n + m, &next, r->x + m * x_size, r->dy + m * dy_size);
        }
        if (goes_back && tiles) backward_tiles(a, &x, r, s, n, images, &next);
        if (sums && tiles)
            LS_NAME(ls_conv2d_winograd_add_gradient)
            (a, r->x, r->dy, images, n == shards->start[s], r->tiles, r->sums, &next);
#if LS_TILES
        else if (sums)
            LS_NAME(ls_conv2d_amx_add_gradient)(a, r->x, r->dy_pixels, images, r->tiles, sums);
#else
        else if (sums)
            LS_NAME(ls_conv2d_add_weight_gradient)(a, r->x, r->dy_pixels, images, r->sums, sums);
#endif
    }
    if (sums && tiles && shards->start[s] < shards->start[s + 1])
        LS_NAME(ls_conv2d_winograd_finish_gradient)(a, r->sums, sums);
#if LS_TILES
    if (sums) LS_NAME(ls_conv2d_amx_finish_gradient)(a, sums);
#endif
}

void LS_NAME(ls_conv2d_vector_backward)(const ls_conv2d_args *given, const ls_shards *shards, int first,
                                        int last, const ls_lane *lane) {
    const ls_conv2d_args part = computed(given), *a = &part;
    const ls_conv2d_plane x = plane_of_x(a), dy = plane_of_dy(a);
    ls_conv2d_room r = LS_NAME(ls_conv2d_open_room)(a, lane->scratch);
    r.streams = ls_conv2d_only_writes(&a->dx) && LS_NAME(ls_conv2d_streams)(given, shards, a->dx.dz);
    if (a->dx.dz || a->dx.dresidual) LS_NAME(ls_conv2d_prepare_weights)(a, true, r.packed);
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

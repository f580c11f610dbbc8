/* y, image by image (conv2d_vector.c). */
#include "layers/conv2d/conv2d_amx.h"
#include "layers/conv2d/conv2d_vector.h"
#include "layers/conv2d/conv2d_winograd.h"

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

/* Images whose y is computed together. */
static int64_t forward_images(const ls_conv2d_args *a) {
    return is_winograd(a) ? smaller(LS_NAME(ls_conv2d_winograd_images)(a, false), images_together(a)) : 1;
}

/* In how many steps the y of so many images moves on what is fetched ahead. */
static int64_t forward_all_steps(const ls_conv2d_args *a, int64_t images) {
    if (is_winograd(a)) return LS_NAME(ls_conv2d_winograd_steps)(a, false, images);
    return divide_up(a->out_height, ls_conv2d_lines_together(a->out_width)) * ls_conv2d_groups(a->outputs) *
           (LS_TILES ? ls_conv2d_amx_steps(a->inputs) : taps(a) * ls_conv2d_groups(words(a->inputs)));
}

/* n lines of y from i, where y begins, directly. */
static void forward_lines(const ls_conv2d_args *a, ls_conv2d_product *p, const ls_conv2d_room *r, int64_t i,
                          int64_t n, float *y) {
    p->from = r->x + i * p->from_line;
    p->weights = r->packed;
    for (int64_t k = 0; k < a->outputs; k += LANES, p->weights += packed_panel(a, false)) {
        p->to = y + k;
        p->columns = smaller(LANES, a->outputs - k);
        LS_NAME(ls_conv2d_multiply)(p, n, a->out_width);
    }
}

/* y of one image from the plane r->x, directly. */
static void forward_image(const ls_conv2d_args *a, const ls_conv2d_plane *plane, const ls_conv2d_room *r,
                          int shard, ls_conv2d_ahead *next, float *y) {
    const int64_t together = ls_conv2d_lines_together(a->out_width);
    ls_conv2d_product p = {.from_line = a->stride * ls_conv2d_plane_line(plane),
                           .from_pixel = ls_conv2d_plane_pixel(plane),
                           .step = r->step,
                           .to_line = a->out_width * a->outputs,
                           .to_pixel = a->outputs,
                           .ahead = next};
    int64_t done = 0;    /* lines */
    bool inside = false; /* are the steps those of the middle of the image? */
    LS_NAME(ls_conv2d_open_tiles)(a->out_width);
    for (int64_t i = 0, n; i < a->out_height; i += n) {
        n = smaller(together, a->out_height - i);
        if (!inside || !all_inside(a, i, n)) p.steps = forward_steps(a, plane, i, n, r->step);
        inside = all_inside(a, i, n);
        forward_lines(a, &p, r, i, n, y + i * p.to_line);
        /* One band late: while the processor still multiplies for this one. */
        LS_NAME(ls_conv2d_finish)(&a->out, shard, done, i, y + done * p.to_line);
        done = i;
    }
    LS_NAME(ls_conv2d_close_tiles)();
    LS_NAME(ls_conv2d_finish)(&a->out, shard, done, a->out_height, y + done * p.to_line);
}

/* y of several images from the planes r->x, by Winograd's algorithm. */
static void forward_tiles(const ls_conv2d_args *a, const ls_conv2d_room *r, int shard, int64_t images,
                          ls_conv2d_ahead *next, float *y) {
    const int64_t image = a->out_height * a->out_width * a->outputs;
    ls_conv2d_winograd tiles = {r->x, r->packed, r->tiles, y, image, images, next, 0};
    const int64_t all = images * winograd_tiles(a, false), across = winograd_across(a, false);
    for (int64_t finished = 0; tiles.done < all;) {
        LS_NAME(ls_conv2d_winograd_pass)(a, false, &tiles);
        for (; finished < tiles.done / across; finished++) { /* lines of tiles */
            const ls_conv2d_lines lines = winograd_lines(a, false, finished);
            LS_NAME(ls_conv2d_finish)
            (&a->out, shard, lines.first, lines.last,
             y + lines.image * image + lines.first * a->out_width * a->outputs);
        }
    }
}

void LS_NAME(ls_conv2d_vector_forward)(const ls_conv2d_args *given, const ls_shards *shards, int first,
                                       int last, const ls_lane *lane) {
    ls_conv2d_args part = computed(given);
    const ls_conv2d_args *a = &part;
    const ls_conv2d_plane plane = channels_of_x(a);
    ls_conv2d_room r = LS_NAME(ls_conv2d_open_room)(a, lane->scratch);
    part.out.room = r.pixel_sums;
    r.streams = LS_NAME(ls_conv2d_streams)(given, shards, a->in.stored);
    LS_NAME(ls_conv2d_prepare_weights)(a, false, r.packed);
    const int64_t x_count = a->height * a->width * a->inputs,
                  y_count = a->out_height * a->out_width * a->outputs;
    const int64_t counts[LS_CONV2D_RANGES] = {x_count, x_count, 0, 0, 0, y_count, x_count};
    const int64_t together = forward_images(a);
    clear(r.x, together * ls_conv2d_plane_size(&plane));
    for (int i = 0; i < last - first; i++) {
        const int s = shard_at(a, first, last, i);
        clear_sums(a->out.sums, a->outputs, s);
        for (int64_t n = shards->start[s], images; n < shards->start[s + 1]; n += images) {
            images = smaller(together, shards->start[s + 1] - n);
            const ls_conv2d_rows after = rows_from(a, shards, first, last, i, n + images, together);
            for (int64_t m = 0; m < images; m++)
                load_row(given, &a->in, n + m, m < after.count ? after.first + m : -1, &plane, &r,
                         r.x + m * ls_conv2d_plane_size(&plane));
            ls_conv2d_ahead next = {0};
            if (after.count > 0) {
                const ls_prologue row = LS_NAME(ls_conv2d_prologue_from)(&a->in, after.first);
                next = fetching((const void *const[LS_CONV2D_RANGES]){takes_samples(given) ? NULL : row.x,
                                                                      row.residual, NULL, NULL, NULL,
                                                                      (float *)a->y + after.first * y_count,
                                                                      r.streams ? NULL : row.stored},
                                counts, after.count, forward_all_steps(a, images));
            }
            if (is_winograd(a))
                forward_tiles(a, &r, s, images, &next, (float *)a->y + n * y_count);
            else
                forward_image(a, &plane, &r, s, &next, (float *)a->y + n * y_count);
        }
    }
    if (r.streams) LS_NAME(ls_conv2d_end_streams)();
}

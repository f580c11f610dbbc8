/* The convolution in portable C for fp64: the specification of direct sums, written down, with products that
 * round by themselves. (Those of fp32 and bf16 in portable C are the vector kernels: conv2d_vector.c.)
 *
 * Every sum runs over its terms in their order, side by side with those of the other channels of a pixel, or
 * of a row of dw. */
#include "layers/conv2d/conv2d.h"

#include "layers/fusion_ref.h"

#define LS_TILE_VECTORS 2
#include "layers/tile_ref.h"

static int64_t image_elements(const ls_conv2d_args *a) {
    return a->height * a->width * a->inputs;
}

static int64_t weight_elements(const ls_conv2d_args *a) {
    return a->kernel_h * a->kernel_w * a->inputs * a->outputs;
}

/* --- forward and input gradient ----------------------------------------------------------- */

/* to[j] += f from[j] */
static void add_scaled(real *restrict to, real f, const real *restrict from, int64_t n) {
    for (int64_t j = 0; j < n; j++) to[j] = to[j] + f * from[j];
}

/* y [out_height][out_width][outputs] of one image x' */
static void forward_image(const ls_conv2d_args *a, const real *x, real *y) {
    memset(y, 0, (size_t)(a->out_height * a->out_width * a->outputs) * sizeof *y);
    for (int64_t i = 0; i < a->out_height; i++)
        for (int64_t j = 0; j < a->out_width; j++, y += a->outputs)
            for (int64_t u = 0; u < a->kernel_h; u++)
                for (int64_t v = 0; v < a->kernel_w; v++) {
                    const int64_t h = i * a->stride + u - a->pad, w = j * a->stride + v - a->pad;
                    if (h < 0 || h >= a->height || w < 0 || w >= a->width) continue;
                    const real *pixel = x + (h * a->width + w) * a->inputs;
                    const real *row =
                        (const real *)a->weight + (u * a->kernel_w + v) * a->inputs * a->outputs;
                    for (int64_t c = 0; c < a->inputs; c++, row += a->outputs)
                        add_scaled(y, pixel[c], row, a->outputs);
                }
}

/* Which of `size` pixels of y meets pixel h of x by the tap at u? -1: none. */
static int64_t met(const ls_conv2d_args *a, int64_t h, int64_t u, int64_t size) {
    const int64_t at = h + a->pad - u;
    return at >= 0 && at % a->stride == 0 && at / a->stride < size ? at / a->stride : -1;
}

/* dx' [height][width][inputs] of one image; turned: the weights as [taps][outputs][inputs] */
static void backward_image(const ls_conv2d_args *a, const real *dy, const real *turned, real *dx) {
    memset(dx, 0, (size_t)image_elements(a) * sizeof *dx);
    for (int64_t h = 0; h < a->height; h++)
        for (int64_t w = 0; w < a->width; w++, dx += a->inputs)
            for (int64_t u = 0; u < a->kernel_h; u++)
                for (int64_t v = 0; v < a->kernel_w; v++) {
                    const int64_t i = met(a, h, u, a->out_height), j = met(a, w, v, a->out_width);
                    if (i < 0 || j < 0) continue;
                    const real *pixel = dy + (i * a->out_width + j) * a->outputs;
                    const real *row = turned + (u * a->kernel_w + v) * a->inputs * a->outputs;
                    for (int64_t k = 0; k < a->outputs; k++, row += a->inputs)
                        add_scaled(dx, pixel[k], row, a->inputs);
                }
}

static void turn_weights(const ls_conv2d_args *a, real *to) {
    const real *w = a->weight;
    for (int64_t tap = 0; tap < a->kernel_h * a->kernel_w; tap++, w += a->inputs * a->outputs)
        for (int64_t k = 0; k < a->outputs; k++)
            for (int64_t c = 0; c < a->inputs; c++) *to++ = w[c * a->outputs + k];
}

/* In front of what is in scratch memory: room for the sums of either direction. */
static int64_t room_elements(const ls_conv2d_args *a) {
    const int64_t doubles = larger(ls_sums_room(a->outputs), 2 * ls_sums_room(a->inputs));
    return doubles * (int64_t)(sizeof(double) / sizeof(real));
}

static void forward(const ls_conv2d_args *a, const ls_shards *shards, int first, int last,
                    const ls_lane *lane) {
    const int64_t y_image = a->out_height * a->out_width * a->outputs;
    real *image = (real *)lane->scratch + room_elements(a);
    const bool identity = ls_prologue_is_identity(&a->in);
    ls_epilogue out = a->out;
    out.room = lane->scratch;
    clear_sums(a->out.sums, a->outputs, first, last);
    for (int s = first; s < last; s++)
        for (int64_t n = shards->start[s]; n < shards->start[s + 1]; n++) {
            const real *x = (const real *)a->in.x + n * image_elements(a);
            real *to = a->in.stored ? (real *)a->in.stored + n * image_elements(a) : image;
            if (a->in.stored || !identity) {
                LS_NAME(ls_prologue_rows)(&a->in, n, 1, to);
                x = to;
            }
            real *y = (real *)a->y + n * y_image;
            forward_image(a, x, y);
            LS_NAME(ls_epilogue_rows)(&out, s, 1, y);
        }
}

static const real *gradient_of_y(const ls_conv2d_args *a) {
    return a->dy.stored ? a->dy.stored : a->dy.dz;
}

static void backward(const ls_conv2d_args *a, const ls_shards *shards, int first, int last,
                     const ls_lane *lane) {
    const int64_t y_image = a->out_height * a->out_width * a->outputs, begin = shards->start[first];
    if (a->dy.stored) LS_NAME(ls_grad_prologue_rows)
    (&a->dy, begin, shards->start[last] - begin, (real *)a->dy.stored + begin * y_image);
    if (!a->dx.dz && !a->dx.dresidual) return;
    ls_grad_epilogue dx = a->dx;
    dx.room = lane->scratch;
    real *turned = (real *)lane->scratch + room_elements(a), *image = turned + weight_elements(a);
    turn_weights(a, turned);
    clear_sums(a->dx.sums, a->inputs, first, last);
    clear_sums(a->dx.residual_sums, a->inputs, first, last);
    for (int s = first; s < last; s++)
        for (int64_t n = shards->start[s]; n < shards->start[s + 1]; n++) {
            backward_image(a, gradient_of_y(a) + n * y_image, turned, image);
            LS_NAME(ls_grad_epilogue_rows)(&a->in, &dx, s, n, 1, image);
        }
}

/* --- weight gradient ---------------------------------------------------------------------- */

/* A part: the row of dw of one tap and input. */
static int64_t weight_grad_parts(const ls_conv2d_args *a) {
    return a->kernel_h * a->kernel_w * a->inputs;
}

/* Adds image n to the sums [outputs] of a part. */
static void add_image(const ls_conv2d_args *a, int64_t part, int64_t n, real *sums) {
    const int64_t c = part % a->inputs, u = part / a->inputs / a->kernel_w,
                  v = part / a->inputs % a->kernel_w;
    const real *x =
        (a->in.stored ? (const real *)a->in.stored : (const real *)a->in.x) + n * image_elements(a);
    const real *dy = gradient_of_y(a) + n * a->out_height * a->out_width * a->outputs;
    for (int64_t i = 0; i < a->out_height; i++)
        for (int64_t j = 0; j < a->out_width; j++, dy += a->outputs) {
            const int64_t h = i * a->stride + u - a->pad, w = j * a->stride + v - a->pad;
            if (h < 0 || h >= a->height || w < 0 || w >= a->width) continue;
            add_scaled(sums, x[(h * a->width + w) * a->inputs + c], dy, a->outputs);
        }
}

/* A part of a node; pending: [levels of the tree, and one for an image][outputs]. */
static void weight_gradient(const ls_conv2d_args *a, const ls_shards *shards, const ls_node *node,
                            int64_t part, real *dw, real *pending) {
    const size_t row = (size_t)a->outputs * sizeof(real);
    int depth = 0;
    for (int i = 0; i < node->count; i++) {
        const int64_t *start = &shards->start[node->first - shards->first + i];
        real *leaf = pending + depth * a->outputs, *image = leaf + a->outputs;
        memset(leaf, 0, row);
        for (int64_t n = start[0]; n < start[1]; n++) {
            memset(image, 0, row);
            add_image(a, part, n, image);
            add_scaled(leaf, 1, image, a->outputs);
        }
        for (int m = ls_tree_merges(i); m > 0; m--, depth--, leaf -= a->outputs)
            add_scaled(leaf - a->outputs, 1, leaf, a->outputs);
        depth++;
    }
    memcpy(dw + part * a->outputs, pending, row);
}

static void weight_grad(const ls_conv2d_args *a, const ls_shards *shards, int64_t first, int64_t last,
                        const ls_lane *lane) {
    for (int n = 0; n < shards->node_count; n++) {
        const ls_node *node = &shards->node[n];
        const int64_t at = n * a->node_stride;
        for (int64_t i = first; i < last; i++)
            weight_gradient(a, shards, node, i, (real *)a->dweight + at, lane->scratch);
        for (int64_t k = 0; first == 0 && last > 0 && a->dbias && k < a->outputs; k += TILE_COLUMNS)
            bias_gradient(shards, node, gradient_of_y(a), a->out_height * a->out_width, a->outputs, k,
                          smaller(TILE_COLUMNS, a->outputs - k), (real *)a->dbias + at);
    }
}

static size_t scratch_bytes(const ls_conv2d_args *a, int64_t rows_per_shard) {
    (void)rows_per_shard;
    const int64_t product = room_elements(a) + weight_elements(a) + image_elements(a);
    return (size_t)larger(product, (LS_MAX_TREE_DEPTH + 1) * a->outputs) * sizeof(real);
}

const ls_conv2d_kernels LS_NAME(ls_conv2d_ref) = {
    .folds = ls_folds_any,
    .scratch_bytes = scratch_bytes,
    .forward = forward,
    .backward = backward,
    .weight_grad_parts = weight_grad_parts,
    .weight_grad = weight_grad,
};

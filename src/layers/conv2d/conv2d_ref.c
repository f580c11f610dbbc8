/* The convolution in portable C for fp64, by direct sums: the specification of those, with products that
 * round by themselves. (Those of fp32 and bf16 in portable C are the vector kernels: conv2d_vector.c.)
 *
 * Forward and input gradient, image by image:
 *
 *     for each panel of TILE_COLUMNS output channels  its weights, packed: a few KB, in L1
 *         for each line of the image, each TILE_ROWS pixels of it
 *             for each tap (u, v)                     4 x 2 sums rest in L1 between taps,
 *                 for each input channel              in registers here
 *
 * The input gradient is the same with y for x: pixel w of dx' meets pixel (w + pad - v) / stride of dy where
 * that division leaves no remainder, so that the pixels of one phase w % stride read neighbours of dy. Border
 * pixels leave the taps outside out; those inside keep their order.
 *
 * Weight gradient, part by part: one u, BLOCK_INPUTS rows c of dw, one panel of columns k,
 *
 *     for each leaf (shard) of a node, depth first
 *         for each image
 *             for each line                           a line of x' and dy: a few KB, in L1
 *                 for each v, each TILE_ROWS rows c   kernel_w x 4 tiles of sums, in L1,
 *                     for each pixel of the line      4 x 2 sums in registers here
 *             add the image to the leaf
 *         merge with the pending sums */
#include "layers/conv2d/conv2d.h"

#include "layers/fusion_ref.h"

#define LS_TILE_VECTORS 2
#include "layers/tile_ref.h"

enum { BLOCK_INPUTS = 16, BLOCK_TILES = BLOCK_INPUTS / TILE_ROWS };

static int64_t panels(int64_t columns) {
    return (columns + TILE_COLUMNS - 1) / TILE_COLUMNS;
}

static int64_t taps(const ls_conv2d_args *a) {
    return a->kernel_h * a->kernel_w;
}

static int64_t image_elements(const ls_conv2d_args *a) {
    return a->height * a->width * a->inputs;
}

/* --- forward and input gradient ----------------------------------------------------------- */

/* The weights as [panels][taps][terms][TILE_COLUMNS], zeros behind the last column: columns are outputs and
 * terms inputs, or the other way round. */
static void pack_weights(const ls_conv2d_args *a, bool transposed, real *to) {
    const real *w = a->weight;
    const int64_t columns = transposed ? a->inputs : a->outputs, terms = transposed ? a->outputs : a->inputs;
    const int64_t by_column = transposed ? a->outputs : 1, by_term = transposed ? 1 : a->outputs;
    for (int64_t column = 0; column < columns; column += TILE_COLUMNS)
        for (int64_t tap = 0; tap < taps(a); tap++)
            for (int64_t t = 0; t < terms; t++)
                for (int64_t j = column; j < column + TILE_COLUMNS; j++)
                    *to++ = j < columns ? w[tap * a->inputs * a->outputs + t * by_term + j * by_column] : 0;
}

/* A line of pixels that taps read. */
typedef struct line {
    const real *pixel; /* [width][channels] */
    int64_t width, channels;
} line;

/* Adds a tap to the sums of `count` pixels: pixel r reads pixel at + r * step of the line, or none if that is
 * outside. panel: the weights of the tap [channels][TILE_COLUMNS]. */
static void add_tap(tile *sum, int64_t count, const line *from, int64_t at, int64_t step, const real *panel) {
    int64_t first = 0, last = count;
    while (first < last && at + first * step < 0) first++;
    while (first < last && at + (last - 1) * step >= from->width) last--;
    if (first == last) return;
    const real *pixel = from->pixel + (at + first * step) * from->channels;
    const int64_t n = from->channels, to_next = step * n;
    switch (last - first) {
    case 4: multiply_add(sum->v + first, 4, pixel, 1, to_next, panel, TILE_COLUMNS, n); break;
    case 3: multiply_add(sum->v + first, 3, pixel, 1, to_next, panel, TILE_COLUMNS, n); break;
    case 2: multiply_add(sum->v + first, 2, pixel, 1, to_next, panel, TILE_COLUMNS, n); break;
    default: multiply_add(sum->v + first, 1, pixel, 1, to_next, panel, TILE_COLUMNS, n); break;
    }
}

/* count pixels of y from (i, j) for the panel's outputs */
static tile output_pixels(const ls_conv2d_args *a, const real *x, const real *panel, int64_t i, int64_t j,
                          int64_t count) {
    tile sum = {0};
    for (int64_t u = 0; u < a->kernel_h; u++) {
        const int64_t h = i * a->stride + u - a->pad;
        if (h < 0 || h >= a->height) continue;
        const line from = {x + h * a->width * a->inputs, a->width, a->inputs};
        for (int64_t v = 0; v < a->kernel_w; v++)
            add_tap(&sum, count, &from, j * a->stride + v - a->pad, a->stride,
                    panel + (u * a->kernel_w + v) * a->inputs * TILE_COLUMNS);
    }
    return sum;
}

/* y [out_height][out_width][outputs] of one image x' */
static void forward_image(const ls_conv2d_args *a, const real *x, const real *packed, real *y) {
    for (int64_t k = 0; k < a->outputs; k += TILE_COLUMNS) {
        const real *panel = packed + k * taps(a) * a->inputs;
        for (int64_t i = 0; i < a->out_height; i++)
            for (int64_t j = 0; j < a->out_width; j += TILE_ROWS) {
                const int64_t count = smaller(TILE_ROWS, a->out_width - j);
                const tile sum = output_pixels(a, x, panel, i, j, count);
                store_tile(&sum, (int)count, y + (i * a->out_width + j) * a->outputs + k, a->outputs,
                           smaller(TILE_COLUMNS, a->outputs - k));
            }
    }
}

/* count pixels of dx' from (h, phase + q stride), every stride-th of the line, for the panel's inputs */
static tile input_pixels(const ls_conv2d_args *a, const real *dy, const real *panel, int64_t h, int64_t phase,
                         int64_t q, int64_t count) {
    tile sum = {0};
    for (int64_t u = 0; u < a->kernel_h; u++) {
        const int64_t down = h + a->pad - u;
        if (down < 0 || down % a->stride != 0 || down / a->stride >= a->out_height) continue;
        const line from = {dy + down / a->stride * a->out_width * a->outputs, a->out_width, a->outputs};
        for (int64_t v = 0; v < a->kernel_w; v++) {
            const int64_t across = phase + a->pad - v;
            if (across % a->stride != 0) continue;
            add_tap(&sum, count, &from, q + across / a->stride, 1,
                    panel + (u * a->kernel_w + v) * a->outputs * TILE_COLUMNS);
        }
    }
    return sum;
}

/* dx' [height][width][inputs] of one image */
static void backward_image(const ls_conv2d_args *a, const real *dy, const real *packed, real *dx) {
    for (int64_t c = 0; c < a->inputs; c += TILE_COLUMNS) {
        const real *panel = packed + c * taps(a) * a->outputs;
        for (int64_t h = 0; h < a->height; h++)
            for (int64_t phase = 0; phase < smaller(a->stride, a->width); phase++) {
                const int64_t pixels = (a->width - phase + a->stride - 1) / a->stride;
                for (int64_t q = 0; q < pixels; q += TILE_ROWS) {
                    const int64_t count = smaller(TILE_ROWS, pixels - q);
                    const tile sum = input_pixels(a, dy, panel, h, phase, q, count);
                    store_tile(&sum, (int)count, dx + (h * a->width + phase + q * a->stride) * a->inputs + c,
                               a->stride * a->inputs, smaller(TILE_COLUMNS, a->inputs - c));
                }
            }
    }
}

static int64_t packed_elements(const ls_conv2d_args *a, bool transposed) {
    const int64_t columns = transposed ? a->inputs : a->outputs, terms = transposed ? a->outputs : a->inputs;
    return panels(columns) * TILE_COLUMNS * taps(a) * terms;
}

/* In front of them: room for the sums of either direction. */
static int64_t room_elements(const ls_conv2d_args *a) {
    const int64_t doubles = larger(ls_sums_room(a->outputs), 2 * ls_sums_room(a->inputs));
    return doubles * (int64_t)(sizeof(double) / sizeof(real));
}

static void forward(const ls_conv2d_args *a, const ls_shards *shards, int first, int last,
                    const ls_lane *lane) {
    const int64_t y_image = a->out_height * a->out_width * a->outputs;
    real *packed = (real *)lane->scratch + room_elements(a), *image = packed + packed_elements(a, false);
    const bool identity = ls_prologue_is_identity(&a->in);
    ls_epilogue out = a->out;
    out.room = lane->scratch;
    pack_weights(a, false, packed);
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
            forward_image(a, x, packed, y);
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
    real *packed = (real *)lane->scratch + room_elements(a), *image = packed + packed_elements(a, true);
    pack_weights(a, true, packed);
    clear_sums(a->dx.sums, a->inputs, first, last);
    clear_sums(a->dx.residual_sums, a->inputs, first, last);
    for (int s = first; s < last; s++)
        for (int64_t n = shards->start[s]; n < shards->start[s + 1]; n++) {
            backward_image(a, gradient_of_y(a) + n * y_image, packed, image);
            LS_NAME(ls_grad_epilogue_rows)(&a->in, &dx, s, n, 1, image);
        }
}

/* --- weight gradient ---------------------------------------------------------------------- */

/* One part: kernel line u, inputs [input, input + inputs), outputs [output, output + outputs). */
typedef struct part {
    int64_t u, input, inputs, output, outputs;
} part;

static int64_t input_blocks(const ls_conv2d_args *a) {
    return (a->inputs + BLOCK_INPUTS - 1) / BLOCK_INPUTS;
}

static int64_t weight_grad_parts(const ls_conv2d_args *a) {
    return a->kernel_h * input_blocks(a) * panels(a->outputs);
}

static part part_of(const ls_conv2d_args *a, int64_t i) {
    const int64_t input = i / panels(a->outputs) % input_blocks(a) * BLOCK_INPUTS;
    const int64_t output = i % panels(a->outputs) * TILE_COLUMNS;
    return (part){.u = i / panels(a->outputs) / input_blocks(a),
                  .input = input,
                  .inputs = smaller(BLOCK_INPUTS, a->inputs - input),
                  .output = output,
                  .outputs = smaller(TILE_COLUMNS, a->outputs - output)};
}

/* The tiles of a part for one v: x at the first pixel's first input, dy at the first pixel's first output. */
static void add_line(tile *sum, int64_t inputs, const real *x, int64_t x_step, const real *dy,
                     int64_t dy_step, int64_t n) {
    for (; inputs >= TILE_ROWS; inputs -= TILE_ROWS, x += TILE_ROWS, sum++)
        multiply_add(sum->v, TILE_ROWS, x, x_step, 1, dy, dy_step, n);
    switch (inputs) {
    case 3: multiply_add(sum->v, 3, x, x_step, 1, dy, dy_step, n); break;
    case 2: multiply_add(sum->v, 2, x, x_step, 1, dy, dy_step, n); break;
    case 1: multiply_add(sum->v, 1, x, x_step, 1, dy, dy_step, n); break;
    default: break;
    }
}

/* Adds image n to the sums [kernel_w][BLOCK_TILES] of the part. */
static void add_image(const ls_conv2d_args *a, const part *p, int64_t n, tile *sums, real *padded) {
    const real *x =
        (a->in.stored ? (const real *)a->in.stored : (const real *)a->in.x) + n * image_elements(a);
    const real *dy = gradient_of_y(a) + n * a->out_height * a->out_width * a->outputs;
    for (int64_t i = 0; i < a->out_height; i++) {
        const int64_t h = i * a->stride + p->u - a->pad;
        if (h < 0 || h >= a->height) continue;
        const real *dy_line = dy + i * a->out_width * a->outputs + p->output;
        int64_t dy_step = a->outputs;
        if (p->outputs < TILE_COLUMNS) {
            pad_columns(dy_line, a->outputs, a->out_width, p->outputs, padded);
            dy_line = padded;
            dy_step = TILE_COLUMNS;
        }
        for (int64_t v = 0; v < a->kernel_w; v++) {
            /* the j whose pixel j stride + v - pad lies inside */
            const int64_t before = larger(0, a->pad - v), within = a->width - 1 + a->pad - v;
            const int64_t first = (before + a->stride - 1) / a->stride;
            const int64_t last = within < 0 ? 0 : smaller(a->out_width, within / a->stride + 1);
            if (first >= last) continue;
            add_line(sums + v * BLOCK_TILES, p->inputs,
                     x + (h * a->width + first * a->stride + v - a->pad) * a->inputs + p->input,
                     a->stride * a->inputs, dy_line + first * dy_step, dy_step, last - first);
        }
    }
}

/* to = to + from */
static void add_tiles(int64_t tiles, tile *to, const tile *from) {
    for (int64_t t = 0; t < tiles; t++) {
        tile sum = from[t];
        merge(&sum, TILE_ROWS, &to[t]);
        to[t] = sum;
    }
}

/* dw [kernel_h][kernel_w][inputs][outputs] of one node and part; pending: a level of sums for each of the
 * tree, and one of an image. */
static void weight_gradient(const ls_conv2d_args *a, const ls_shards *shards, const ls_node *node,
                            const part *p, real *dw, tile *pending, real *padded) {
    const int64_t tiles = a->kernel_w * BLOCK_TILES;
    int depth = 0;
    for (int i = 0; i < node->count; i++) {
        const int64_t *start = &shards->start[node->first - shards->first + i];
        tile *leaf = pending + depth * tiles, *image = leaf + tiles;
        memset(leaf, 0, (size_t)tiles * sizeof(tile));
        for (int64_t n = start[0]; n < start[1]; n++) {
            memset(image, 0, (size_t)tiles * sizeof(tile));
            add_image(a, p, n, image, padded);
            add_tiles(tiles, leaf, image);
        }
        for (int m = ls_tree_merges(i); m > 0; m--, depth--, leaf -= tiles)
            add_tiles(tiles, leaf - tiles, leaf);
        depth++;
    }
    for (int64_t v = 0; v < a->kernel_w; v++)
        for (int64_t c = 0; c < p->inputs; c++)
            memcpy(dw + (((p->u * a->kernel_w + v) * a->inputs) + p->input + c) * a->outputs + p->output,
                   pending[v * BLOCK_TILES + c / TILE_ROWS].v[c % TILE_ROWS],
                   (size_t)p->outputs * sizeof(real));
}

static void weight_grad(const ls_conv2d_args *a, const ls_shards *shards, int64_t first, int64_t last,
                        const ls_lane *lane) {
    tile *pending = lane->scratch;
    real *padded = (real *)(pending + (LS_MAX_TREE_DEPTH + 1) * a->kernel_w * BLOCK_TILES);
    for (int64_t i = first; i < last; i++) {
        const part p = part_of(a, i);
        for (int n = 0; n < shards->node_count; n++) {
            const int64_t at = n * a->node_stride;
            weight_gradient(a, shards, &shards->node[n], &p, (real *)a->dweight + at, pending, padded);
            if (p.u == 0 && p.input == 0 && a->dbias)
                bias_gradient(shards, &shards->node[n], gradient_of_y(a), a->out_height * a->out_width,
                              a->outputs, p.output, p.outputs, (real *)a->dbias + at);
        }
    }
}

static size_t scratch_bytes(const ls_conv2d_args *a, int64_t rows_per_shard) {
    (void)rows_per_shard;
    const int64_t packed = larger(packed_elements(a, false), packed_elements(a, true));
    const size_t product = (size_t)(room_elements(a) + packed + image_elements(a)) * sizeof(real);
    const size_t gradient = (size_t)((LS_MAX_TREE_DEPTH + 1) * a->kernel_w * BLOCK_TILES) * sizeof(tile) +
                            (size_t)(a->out_width * TILE_COLUMNS) * sizeof(real);
    return product > gradient ? product : gradient;
}

const ls_conv2d_kernels LS_NAME(ls_conv2d_ref) = {
    .folds = ls_folds_any,
    .scratch_bytes = scratch_bytes,
    .forward = forward,
    .backward = backward,
    .weight_grad_parts = weight_grad_parts,
    .weight_grad = weight_grad,
};

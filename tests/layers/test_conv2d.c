/* The kernels of the convolution against loops over its terms, to the bit: the reference in fp64, and in
 * fp32 and bf16 the kernels of every tier that this processor has. With LS_EMULATED_AMX those of AMX alone,
 * on emulated tiles (tests/amx); with LS_ON_GPU those of GPUs alone, emulated (tests/cuda). */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>

#include <cmocka.h>

#ifdef LS_ON_GPU
#include <string.h>

#include "cuda/orders.h"
#endif
#ifdef LS_BF16
#include "amx/emulated_tiles.h"
#include "amx/naive_tiles.h"
#include "layers/conv2d/conv2d_amx.h"
#endif
#include "layers/conv2d/conv2d.h"
#include "layers/conv2d/conv2d_layout.h"
#include "layers/fixture.h"
#include "layers/naive_winograd.h"

static const ls_conv2d_kernels *kernels;
static bool downward; /* every other call */

typedef struct shape {
    int64_t height, width, inputs, outputs, kernel_h, kernel_w, stride, pad;
} shape;

static shape current; /* of the fixture that is being checked */

static int64_t extent(int64_t size, int64_t kernel, shape s) {
    return (size + 2 * s.pad - kernel) / s.stride + 1;
}

static int largest = 4; /* tiles of Winograd's algorithm */

static ls_conv2d_args args_of(const fixture *f) {
    const shape s = current;
    return (ls_conv2d_args){.height = s.height,
                            .width = s.width,
                            .inputs = s.inputs,
                            .out_height = extent(s.height, s.kernel_h, s),
                            .out_width = extent(s.width, s.kernel_w, s),
                            .outputs = s.outputs,
                            .kernel_h = s.kernel_h,
                            .kernel_w = s.kernel_w,
                            .stride = s.stride,
                            .pad = s.pad,
                            .winograd = largest,
                            .weight = f->weight,
                            .in = f->in,
                            .out = f->out,
                            .y = f->y,
                            .dy = f->dy,
                            .dx = f->dx,
                            .dweight = f->dweight,
                            .dbias = f->dbias,
                            .node_stride = f->node_stride,
                            .shard_gradients = f->shard_gradients,
                            .downward = downward = !downward};
}

#ifdef LS_ON_GPU
/* Emulated (tests/cuda). Kernels run when somebody waits for them. */
static void finish(void) {
    assert_int_equal(emulated_backend()->finish(emulated_backend()), LS_OK);
}

/* What the kernels keep; nothing of it lasts beyond a call. */
static void *workspace(const fixture *f, const ls_conv2d_args *args) {
    static void *room;
    static size_t most;
    const size_t bytes = kernels->workspace_bytes(args, f->shards.count, f->rows, true);
    if (bytes > most) {
        free(room);
        room = aligned_alloc(64, (most = (bytes + 63) / 64 * 64));
        assert_non_null(room);
    }
    return memset(room, 0xFF, bytes);
}

/* What the planner never asks for: activations that the kernels do not fold, and sums of gradients that are
 * stored nowhere. */
static bool never_comes(unsigned features) {
    if (features & (TANH | SIGMOID | SILU | GELU)) return true;
    if (features & NO_DX && features & DX_SUMS) return true;
    return features & RESIDUAL_SUMS && !(features & DRESIDUAL) && features & (NO_DX | ACCUMULATE);
}
#else
static void finish(void) {}
static void *workspace(const fixture *f, const ls_conv2d_args *args) {
    (void)f, (void)args;
    return NULL;
}
static bool never_comes(unsigned features) {
    (void)features;
    return false;
}
#endif

static size_t scratch_bytes(const fixture *f) {
    const ls_conv2d_args args = args_of(f);
    return kernels->scratch_bytes(&args, (f->shards.batch + f->shards.total - 1) / f->shards.total);
}

static void forward(const fixture *f, int first, int last, const ls_lane *lane) {
    ls_conv2d_args args = args_of(f);
    args.workspace = workspace(f, &args);
    kernels->forward(&args, &f->shards, first, last, lane);
    finish();
}

static void backward(const fixture *f, int first, int last, const ls_lane *lane) {
    ls_conv2d_args args = args_of(f);
    args.workspace = workspace(f, &args);
    kernels->backward(&args, &f->shards, first, last, lane);
    finish();
}

static int64_t parts(const fixture *f) {
    const ls_conv2d_args args = args_of(f);
    return kernels->weight_grad_parts(&args);
}

static void weight_grad(const fixture *f, int64_t first, int64_t last, const ls_lane *lane) {
    ls_conv2d_args args = args_of(f);
    args.workspace = workspace(f, &args);
    kernels->weight_grad(&args, &f->shards, first, last, lane);
    finish();
}

static int64_t shard_gradient_elements(const fixture *f) {
    const ls_conv2d_args args = args_of(f);
    return kernels->shard_gradient_elements(&args);
}

static layer_ops ops = {.scratch_bytes = scratch_bytes,
                        .forward = forward,
                        .backward = backward,
                        .parts = parts,
                        .weight_grad = weight_grad,
                        .by_image = true};

/* --- AMX's order ------------------------------------------------------------------------------- */

#ifdef LS_BF16

static tile_shape tiles_of(const fixture *f) {
    const ls_conv2d_args a = args_of(f);
    return (tile_shape){a.height, a.width, a.inputs, a.out_height, a.out_width, a.outputs, a.pad};
}

static void tile_forward(const fixture *f, const real *x, real *y, double *bound) {
    (void)bound; /* holds for any order */
    naive_tile_forward(tiles_of(f), f->weight, x, y);
}

static void tile_backward(const fixture *f, const real *dy, real *dx, double *bound) {
    (void)bound;
    naive_tile_backward(tiles_of(f), f->weight, dy, dx);
}

static void tile_gradient(const fixture *f, int64_t rows, const real *x, const real *dy, real *dweight,
                          double *bound) {
    (void)bound;
    naive_tile_gradient(tiles_of(f), rows, x, dy, dweight);
}

static const layer_products tile_order = {tile_forward, tile_backward, tile_gradient};

#endif

/* --- Winograd's algorithm ---------------------------------------------------------------------- */

static winograd_shape shape_of(const fixture *f) {
    const ls_conv2d_args a = args_of(f);
    return (winograd_shape){a.height,    a.width,   a.inputs, a.out_height,
                            a.out_width, a.outputs, a.pad,    (int)winograd_tile(&a)};
}

static void winograd_forward(const fixture *f, const real *x, real *y, double *bound) {
    naive_winograd(shape_of(f), false, f->weight, x, y, bound);
}

static void winograd_backward(const fixture *f, const real *dy, real *dx, double *bound) {
    naive_winograd(shape_of(f), true, f->weight, dy, dx, bound);
}

static void winograd_gradient(const fixture *f, int64_t rows, const real *x, const real *dy, real *dweight,
                              double *bound) {
    naive_winograd_gradient(shape_of(f), rows, x, dy, dweight, bound);
}

static const layer_products winograd = {winograd_forward, winograd_backward, winograd_gradient};

static const layer_products *products_of(const ls_conv2d_args *a) {
#ifdef LS_BF16
    if (kernels == &ls_conv2d_bf16_amx && ls_conv2d_on_tiles(a)) return &tile_order;
    if (kernels == &ls_conv2d_vector_bf16_avx512) return NULL; /* direct sums alone */
#endif
    return (kernels->shard_gradient_elements || ops.device) && winograd_tile(a) != 0 ? &winograd : NULL;
}

/* --- terms ------------------------------------------------------------------------------------- */

/* The terms of tap (u, v), in the order of pixels, inputs, outputs; returns how many. */
static int64_t tap_terms(shape s, int64_t u, int64_t v, term *to) {
    const int64_t out_h = extent(s.height, s.kernel_h, s), out_w = extent(s.width, s.kernel_w, s);
    int64_t n = 0;
    for (int64_t i = 0; i < out_h; i++)
        for (int64_t j = 0; j < out_w; j++) {
            const int64_t h = i * s.stride + u - s.pad, w = j * s.stride + v - s.pad;
            if (h < 0 || h >= s.height || w < 0 || w >= s.width) continue;
            for (int64_t c = 0; c < s.inputs; c++)
                for (int64_t k = 0; k < s.outputs; k++)
                    to[n++] = (term){(int32_t)((h * s.width + w) * s.inputs + c),
                                     (int32_t)(((u * s.kernel_w + v) * s.inputs + c) * s.outputs + k),
                                     (int32_t)((i * out_w + j) * s.outputs + k)};
        }
    return n;
}

typedef struct cut {
    int total, rank, size;
    int64_t batch;
} batch_cut;

static void check(shape s, batch_cut cut, unsigned features) {
    if (never_comes(features)) return;
    const int64_t out = extent(s.height, s.kernel_h, s) * extent(s.width, s.kernel_w, s);
    fixture f = {.x_pixels = s.height * s.width,
                 .x_width = s.width,
                 .x_channels = s.inputs,
                 .y_pixels = out,
                 .y_width = extent(s.width, s.kernel_w, s),
                 .y_channels = s.outputs,
                 .weights = s.kernel_h * s.kernel_w * s.inputs * s.outputs};
    current = s;
    const ls_conv2d_args args = args_of(&f);
    ops.products = products_of(&args);
    assert_int_equal(ls_shards_create(&f.shards, cut.total, cut.rank, cut.size, cut.batch), LS_OK);
    f.term = malloc((size_t)(out * f.weights) * sizeof *f.term);
    assert_non_null(f.term);
    for (int64_t u = 0; u < s.kernel_h; u++)
        for (int64_t v = 0; v < s.kernel_w; v++) f.terms += tap_terms(s, u, v, f.term + f.terms);
    check_layer(&f, features, &ops);
    free(f.term);
}

static const unsigned all = NORM | RELU | DROPOUT | STORED | BIAS | SUMS | DY_NORM | DX_SUMS;
static const batch_cut few = {4, 0, 1, 5};

/* Channels around the sizes of the tiles and blocks: 4 inputs, 8 outputs (4 in fp64), 16 inputs; and of
 * vectors: 16, of which tiles of the weight gradient take 8, 6, 3 or 2. */
static void channels(void **state) {
    (void)state;
    const int64_t size[] = {1, 3, 7, 16, 17, 24, 33};
    const int n = sizeof size / sizeof *size;
    for (int c = 0; c < n; c++)
        for (int k = 0; k < n; k++)
            check((shape){5, 6, size[c], size[k], 3, 3, 1, 1}, few, (c + k) % 2 ? all : BIAS);
    for (int64_t c = 1; c <= 16; c++) {
        check((shape){3, 4, c, 17 - c, 1, 1, 1, 0}, few, c % 2 ? all : 0);
        check((shape){3, 4, c, 17 - c, 2, 2, 1, 1}, few, c % 2 ? 0 : all);
    }
    check((shape){3, 2, 64, 64, 3, 3, 1, 1}, few, all);
    check((shape){4, 3, 31, 15, 3, 3, 2, 1}, few, all);
    check((shape){4, 3, 5, 40, 3, 3, 2, 1}, few, all);
}

/* Kernels, strides and paddings, among them taps that meet padding alone and pixels that nothing reads. */
static void shapes(void **state) {
    (void)state;
    const shape list[] = {{7, 7, 3, 5, 1, 1, 1, 0},  {7, 7, 3, 5, 1, 1, 2, 0},  {8, 6, 3, 5, 3, 3, 2, 1},
                          {7, 9, 3, 5, 3, 3, 2, 1},  {9, 17, 2, 4, 5, 5, 1, 2}, {9, 8, 2, 4, 5, 3, 3, 1},
                          {3, 3, 5, 9, 3, 3, 1, 0},  {1, 1, 4, 4, 3, 3, 1, 1},  {2, 1, 4, 4, 5, 5, 1, 4},
                          {6, 7, 3, 3, 2, 4, 2, 3},  {5, 5, 1, 1, 1, 1, 4, 0},  {4, 33, 2, 3, 1, 7, 1, 0},
                          {4, 33, 2, 3, 4, 2, 5, 1}, {3, 2, 2, 3, 1, 1, 3, 2},  {28, 28, 1, 16, 3, 3, 1, 1}};
    for (size_t i = 0; i < sizeof list / sizeof *list; i++) {
        check(list[i], few, all);
        check(list[i], few, ACCUMULATE);
    }
}

/* Kernels of 1x1 with a stride that do nothing else to x, and some that do. */
static void samples(void **state) {
    (void)state;
    const shape list[] = {{7, 6, 16, 20, 1, 1, 2, 0}, {6, 9, 17, 3, 1, 1, 3, 0},
                          {8, 7, 33, 32, 1, 1, 2, 0}, {1, 1, 16, 16, 1, 1, 2, 0},
                          {2, 5, 3, 2, 1, 1, 7, 0},   {14, 14, 32, 16, 1, 1, 2, 0}};
    for (size_t i = 0; i < sizeof list / sizeof *list; i++) {
        check(list[i], few, 0);
        check(list[i], few, BIAS | SUMS | DY_NORM);
        check(list[i], few, SUMS | DY_NORM | NO_DX);
        check(list[i], few, SUMS | DY_NORM | ACCUMULATE);
        check(list[i], few, STORED | DX_SUMS);
        check(list[i], few, RELU | SUMS);
    }
}

/* Tensors that are too large for caches: with vectors, x', dz, and dz of samples are written past them. */
static void large(void **state) {
    (void)state;
    const shape s = {82, 80, 16, 2, 3, 3, 2, 1};
    check(s, few, NORM | RESIDUAL | RELU | STORED | DX_SUMS | DY_NORM);
    check(s, few, NORM | RELU | STORED | DX_SUMS | OTHERS_AT_DZ);
    check((shape){82, 80, 16, 3, 2, 2, 1, 0}, few, NORM | RELU | DX_SUMS | SUMS);
    check((shape){82, 80, 16, 2, 1, 1, 2, 0}, few, SUMS | DY_NORM);
    check((shape){82, 80, 16, 2, 1, 1, 1, 0}, few, BIAS);
}

/* Widths and heights around those of the tiles of vectors: 28 pixels of one line to 7 of four, or any 6. */
static void sizes(void **state) {
    (void)state;
    for (int64_t width = 1; width <= 31; width++)
        check((shape){width % 5 + 1, width, 2, 3, 3, 3, 1, 1}, few, width % 2 ? all : ACCUMULATE);
    check((shape){29, 31, 1, 2, 3, 3, 1, 1}, few, all);
    check((shape){2, 58, 1, 2, 1, 3, 2, 1}, few, all);
    check((shape){31, 7, 3, 2, 3, 3, 1, 1}, few, all);
    check((shape){28, 28, 2, 3, 3, 3, 2, 1}, few, all);
    check((shape){13, 14, 3, 2, 3, 3, 2, 1}, few, all);
    check((shape){6, 28, 2, 2, 5, 5, 1, 2}, few, all);
    check((shape){9, 14, 2, 2, 5, 5, 1, 2}, few, all);
    check((shape){9, 7, 2, 2, 5, 5, 1, 4}, few, all);
    check((shape){1, 7, 2, 2, 3, 3, 1, 1}, few, all);
}

static int64_t tile_of(const shape *s) {
    const fixture none = {0};
    current = *s;
    const ls_conv2d_args args = args_of(&none);
    return winograd_tile(&args);
}

/* By Winograd's algorithm: tiles that hang over, runs of several lengths over several lines of them, channels
 * that fill no vector, every padding; and shapes beside it that are computed directly. */
static void tiles(void **state) {
    (void)state;
    const shape list[] = {
        {4, 4, 16, 16, 3, 3, 1, 1},  {5, 5, 16, 16, 3, 3, 1, 1},   {6, 3, 16, 16, 3, 3, 1, 1},
        {7, 7, 64, 64, 3, 3, 1, 1},  {14, 14, 32, 32, 3, 3, 1, 1}, {28, 28, 16, 16, 3, 3, 1, 1},
        {7, 6, 17, 40, 3, 3, 1, 0},  {6, 9, 33, 18, 3, 3, 1, 2},   {5, 8, 16, 19, 3, 3, 1, 3},
        {8, 43, 16, 16, 3, 3, 1, 1}, {4, 58, 20, 16, 3, 3, 1, 1},  {1, 40, 16, 16, 3, 3, 1, 1},
        {3, 3, 16, 16, 3, 3, 1, 1},  {2, 2, 16, 16, 3, 3, 1, 1},   {9, 5, 16, 16, 3, 3, 1, 5},
        {6, 6, 16, 16, 3, 3, 1, 1},  {6, 6, 35, 40, 3, 3, 1, 1},   {13, 15, 48, 33, 3, 3, 1, 1},
        {2, 9, 32, 48, 3, 3, 1, 1},  {10, 2, 16, 32, 3, 3, 1, 1}};
    int by_tiles[5] = {0};
    bool has_tiles = kernels->shard_gradient_elements || ops.device, many_terms = true;
#ifdef LS_BF16 /* the same products as in fp32, where more of them are tried */
    has_tiles = has_tiles && kernels != &ls_conv2d_bf16_amx && kernels != &ls_conv2d_vector_bf16_avx512;
    many_terms = false;
    if (!has_tiles) return;
#endif
    for (size_t i = 0; i < sizeof list / sizeof *list; i++) {
        const shape *s = &list[i];
        if (!many_terms && s->height * s->width * s->inputs * s->outputs > 20000) continue;
        check(*s, few, i % 2 ? all & ~(unsigned)DROPOUT : all);
        by_tiles[ops.products == &winograd ? tile_of(s) : 0]++;
    }
    assert_true(!has_tiles || (by_tiles[2] >= 3 && by_tiles[4] >= 3));
    largest = 0;
    check(list[0], few, all);
    assert_true(ops.products != &winograd);
    largest = 2;
    for (size_t i = many_terms ? 3 : 0; i < (many_terms ? 8 : 2); i++) check(list[i], few, all);
    largest = 4;
    if (!many_terms) return;
    const shape s = {7, 6, 16, 16, 3, 3, 1, 1};
    const batch_cut cuts[] = {{1, 0, 1, 9}, {4, 0, 1, 30}, {16, 1, 3, 40}, {8, 0, 1, 1}};
    for (size_t i = 0; i < sizeof cuts / sizeof *cuts; i++) {
        check(s, cuts[i], all & ~(unsigned)(DROPOUT | STORED));
        check(s, cuts[i], (all | TANH | ACCUMULATE) & ~(unsigned)(RELU | STORED));
    }
    check(s, few, NORM | RESIDUAL | RESIDUAL_NORM | RELU | DY_NORM | DX_SUMS | DRESIDUAL | RESIDUAL_SUMS);
    check(s, few, NO_DX);
}

#ifdef LS_BF16
/* On tiles, in AMX's tier: lines that make one tile and several, whole and overlapping, one and several of
 * them together, channels of both layouts and of several groups, every padding. */
static void on_tiles(void **state) {
    (void)state;
    const shape list[] = {
        {28, 28, 16, 16, 3, 3, 1, 1}, {14, 14, 32, 32, 3, 3, 1, 1}, {7, 7, 64, 64, 3, 3, 1, 1},
        {5, 6, 16, 32, 3, 3, 1, 1},   {5, 6, 32, 16, 3, 3, 1, 1},   {3, 9, 96, 16, 3, 3, 1, 1},
        {4, 7, 16, 64, 3, 3, 1, 0},   {3, 5, 16, 16, 3, 3, 1, 2},   {4, 3, 32, 32, 3, 3, 1, 3},
        {3, 17, 16, 16, 3, 3, 1, 1},  {2, 33, 16, 16, 3, 3, 1, 1},  {1, 29, 32, 16, 3, 3, 1, 1},
        {1, 1, 16, 16, 3, 3, 1, 1},   {31, 4, 16, 16, 3, 3, 1, 1},  {3, 3, 16, 32, 3, 3, 1, 0}};
    for (size_t i = 0; i < sizeof list / sizeof *list; i++) {
        check(list[i], (batch_cut){4, 0, 1, list[i].height > 9 ? 2 : 5},
              i % 2 ? all & ~(unsigned)DROPOUT : all);
        assert_int_equal(ops.products == &tile_order, kernels == &ls_conv2d_bf16_amx);
    }
    const shape s = {4, 5, 16, 16, 3, 3, 1, 1};
    const batch_cut cuts[] = {{1, 0, 1, 9}, {4, 0, 1, 30}, {16, 1, 3, 40}, {8, 0, 1, 1}};
    for (size_t i = 0; i < sizeof cuts / sizeof *cuts; i++) {
        check(s, cuts[i], all & ~(unsigned)(DROPOUT | STORED));
        check(s, cuts[i], (all | TANH | ACCUMULATE) & ~(unsigned)(RELU | STORED));
    }
    check(s, few, NORM | RESIDUAL | RESIDUAL_NORM | RELU | DY_NORM | DX_SUMS | DRESIDUAL | RESIDUAL_SUMS);
    check(s, few, NO_DX);
#ifdef LS_EMULATED_AMX
    assert_true(emulated_tile_products() > 10000);
    assert_false(emulated_tiles_in_use());
#endif
}
#endif

static void every_kernel(void **state) {
    (void)state;
    const int64_t kernel[] = {1, 2, 3, 5, 7};
    for (size_t k = 0; k < sizeof kernel / sizeof *kernel; k++)
        for (int64_t stride = 1; stride <= 3; stride++)
            for (int64_t pad = 0; pad < kernel[k]; pad++)
                check((shape){9, 8, 3, 5, kernel[k], kernel[k], stride, pad}, few,
                      pad % 2 ? all & ~(unsigned)STORED : all);
}

static void batches(void **state) {
    (void)state;
    const batch_cut cuts[] = {{16, 0, 1, 5},  {16, 0, 1, 250},  {1, 0, 1, 7},
                              {16, 0, 3, 40}, {16, 1, 3, 40},   {16, 2, 5, 5},
                              {16, 3, 16, 5}, {256, 1, 3, 300}, {8, 0, 1, 1}};
    const shape s = {4, 5, 3, 6, 3, 3, 1, 1};
    for (size_t i = 0; i < sizeof cuts / sizeof *cuts; i++) {
        check(s, cuts[i], all);
        check(s, cuts[i], (all | TANH | ACCUMULATE) & ~(unsigned)(RELU | STORED));
        check(s, cuts[i], all & ~(unsigned)(DROPOUT | STORED));
    }
}

static void with_prologue(void *context, unsigned features) {
    (void)context;
    const shape s = {5, 7, 6, 9, 3, 3, 2, 1};
    check(s, few, features | BIAS | SUMS | DX_SUMS);
    check(s, few, features | DY_NORM | ACCUMULATE | DX_SUMS);
    check((shape){3, 5, 16, 18, 3, 3, 1, 1}, few, features | BIAS | SUMS | DY_NORM | DX_SUMS);
    check((shape){2, 3, 17, 3, 3, 3, 1, 1}, few, features | DY_NORM | OTHERS_AT_DZ | DX_SUMS);
    if (features & RESIDUAL)
        check(s, few, features | DY_NORM | DY_IN_PLACE | DRESIDUAL | DX_SUMS | RESIDUAL_SUMS);
}

static void prologues(void **state) {
    (void)state;
    each_prologue(with_prologue, NULL);
}

static void epilogues(void **state) {
    (void)state;
    const unsigned free_bits = BIAS | SUMS | DY_NORM | DY_IN_PLACE | NO_DX | ACCUMULATE | DX_SUMS |
                               DRESIDUAL | DRESIDUAL_ACCUMULATE | RESIDUAL_SUMS;
    for (unsigned bits = free_bits; bits; bits = (bits - 1) & free_bits)
        check((shape){4, 3, 2, 3, 3, 3, 1, 1}, few, NORM | RESIDUAL | RESIDUAL_NORM | RELU | STORED | bits);
}

/* What other readers of x' have written is added before the mask: directly, and by Winograd's algorithm. */
static void others(void **state) {
    (void)state;
    const unsigned free_bits = ACCUMULATE | DX_SUMS | DRESIDUAL | DRESIDUAL_ACCUMULATE | RESIDUAL_SUMS;
    for (unsigned bits = free_bits; bits; bits = (bits - 1) & free_bits) {
        check((shape){3, 4, 16, 2, 1, 1, 2, 0}, few, NORM | RESIDUAL | RELU | STORED | OTHERS | bits);
        if (!(bits & ACCUMULATE))
            check((shape){3, 3, 2, 3, 3, 3, 1, 1}, few,
                  NORM | RESIDUAL | RESIDUAL_NORM | RELU | STORED | OTHERS_AT_DZ | bits);
    }
    const shape s = {4, 5, 16, 16, 3, 3, 1, 1};
    check(s, few, NORM | RESIDUAL | RELU | STORED | DY_NORM | DX_SUMS | OTHERS_AT_DZ);
    check(s, few, NORM | RESIDUAL | RESIDUAL_NORM | RELU | STORED | OTHERS_AT_DZ | DX_SUMS | RESIDUAL_SUMS);
    check(s, few, NORM | RESIDUAL | RELU | STORED | OTHERS | DX_SUMS | DRESIDUAL | DRESIDUAL_ACCUMULATE);
    check((shape){3, 3, 2, 3, 3, 3, 1, 1}, few, RELU | OTHERS | NO_DX);
}

/* Without the memory for it no weight gradient is taken, and nothing else changes. */
static void no_weight_grad(void **state) {
    (void)state;
    enum { ROWS = 3, X = 4 * 5 * 3, Y = 4 * 5 * 2, WEIGHTS = 3 * 3 * 3 * 2 };
    ls_shards shards;
    assert_int_equal(ls_shards_create(&shards, 2, 0, 1, ROWS), LS_OK);
    real *dx[2] = {fixture_reals(ROWS * X, 1), fixture_reals(ROWS * X, 2)};
    ls_conv2d_args args = {.height = 4,
                           .width = 5,
                           .inputs = 3,
                           .out_height = 4,
                           .out_width = 5,
                           .outputs = 2,
                           .kernel_h = 3,
                           .kernel_w = 3,
                           .stride = 1,
                           .pad = 1,
                           .weight = fixture_reals(WEIGHTS, 3),
                           .in = {.pixels = 20, .channels = 3, .x = fixture_reals(ROWS * X, 4)},
                           .dy = {.pixels = 20, .channels = 2, .dz = fixture_reals(ROWS * Y, 5)}};
    const ls_lane lane = {.scratch = fixture_memory(kernels->scratch_bytes(&args, 2)), .device = ops.device};
    args.workspace = workspace(&(fixture){.shards = shards, .rows = ROWS}, &args);
    if (kernels->shard_gradient_elements)
        args.shard_gradients = fixture_reals(2 * kernels->shard_gradient_elements(&args), 6);
    for (int i = 0; i < 2; i++, args.shard_gradients = NULL) {
        args.dx.dz = dx[i];
        kernels->backward(&args, &shards, 0, 2, &lane);
        finish();
    }
    expect_same_reals("dx", dx[1], dx[0], ROWS * X);
    fixture_free();
}

static int run_all(const char *name, const ls_conv2d_kernels *under_test) {
    const struct CMUnitTest tests[] = {cmocka_unit_test(channels),     cmocka_unit_test(shapes),
                                       cmocka_unit_test(sizes),        cmocka_unit_test(tiles),
#ifdef LS_BF16
                                       cmocka_unit_test(on_tiles),
#endif
                                       cmocka_unit_test(every_kernel), cmocka_unit_test(batches),
                                       cmocka_unit_test(prologues),    cmocka_unit_test(epilogues),
                                       cmocka_unit_test(others),       cmocka_unit_test(no_weight_grad),
                                       cmocka_unit_test(samples),      cmocka_unit_test(large)};
    kernels = under_test;
    ops.shard_gradient_elements = kernels->shard_gradient_elements ? shard_gradient_elements : NULL;
    return cmocka_run_group_tests_name(name, tests, NULL, NULL);
}

int main(void) {
#ifdef LS_ON_GPU
    ops.device = emulated_backend()->device;
    set_order(2);
    return run_all("cuda", &LS_GPU_TABLE);
#endif
#ifdef LS_EMULATED_AMX
    if (ls_instruction_set_supported() < LS_AVX512_BF16) return 77; /* skipped */
    return run_all("amx", &ls_conv2d_bf16_amx);
#endif
#ifdef LS_F64
    int failed = run_all("reference", &ls_conv2d_ref_f64);
#elif defined LS_BF16
    int failed = run_all("portable", &ls_conv2d_vector_bf16_f32);
#else
    int failed = run_all("portable", &ls_conv2d_vector_f32);
#endif
#if defined __x86_64__ && !defined LS_F64
    const ls_instruction_set supported = ls_instruction_set_supported();
#ifdef LS_BF16
    if (supported >= LS_AVX2) failed += run_all("avx2", &ls_conv2d_vector_bf16_avx2);
    if (supported >= LS_AVX512) failed += run_all("avx512", &ls_conv2d_vector_rounded_avx512);
    if (supported >= LS_AVX512_BF16) failed += run_all("avx512_bf16", &ls_conv2d_vector_bf16_avx512);
    if (supported >= LS_AMX) failed += run_all("amx", &ls_conv2d_bf16_amx);
#else
    if (supported >= LS_AVX2) failed += run_all("avx2", &ls_conv2d_vector_avx2);
    if (supported >= LS_AVX512) failed += run_all("avx512", &ls_conv2d_vector_avx512);
#endif
#endif
    return failed;
}

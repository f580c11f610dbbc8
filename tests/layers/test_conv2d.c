/* The reference kernels of the convolution against loops over its terms, to the bit, in fp32 and fp64. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>

#include <cmocka.h>

#include "layers/conv2d/conv2d.h"
#include "layers/fixture.h"

static const ls_conv2d_kernels *kernels = &LS_NAME(ls_conv2d_ref);

typedef struct shape {
    int64_t height, width, inputs, outputs, kernel_h, kernel_w, stride, pad;
} shape;

static shape current; /* of the fixture that is being checked */

static int64_t extent(int64_t size, int64_t kernel, shape s) {
    return (size + 2 * s.pad - kernel) / s.stride + 1;
}

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
                            .weight = f->weight,
                            .in = f->in,
                            .out = f->out,
                            .y = f->y,
                            .dy = f->dy,
                            .dx = f->dx,
                            .dweight = f->dweight,
                            .dbias = f->dbias,
                            .node_stride = f->node_stride};
}

static size_t scratch_bytes(const fixture *f) {
    const ls_conv2d_args args = args_of(f);
    return kernels->scratch_bytes(&args, (f->shards.batch + f->shards.total - 1) / f->shards.total);
}

static void forward(const fixture *f, int first, int last, void *scratch) {
    const ls_conv2d_args args = args_of(f);
    kernels->forward(&args, &f->shards, first, last, scratch);
}

static void backward(const fixture *f, int first, int last, void *scratch) {
    const ls_conv2d_args args = args_of(f);
    kernels->backward(&args, &f->shards, first, last, scratch);
}

static int64_t parts(const fixture *f) {
    const ls_conv2d_args args = args_of(f);
    return kernels->weight_grad_parts(&args);
}

static void weight_grad(const fixture *f, int64_t first, int64_t last, void *scratch) {
    const ls_conv2d_args args = args_of(f);
    kernels->weight_grad(&args, &f->shards, first, last, scratch);
}

static const layer_ops ops = {scratch_bytes, forward, backward, parts, weight_grad};

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
    const int64_t out = extent(s.height, s.kernel_h, s) * extent(s.width, s.kernel_w, s);
    fixture f = {.x_pixels = s.height * s.width,
                 .x_channels = s.inputs,
                 .y_pixels = out,
                 .y_channels = s.outputs,
                 .weights = s.kernel_h * s.kernel_w * s.inputs * s.outputs};
    current = s;
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

/* Channels around the sizes of the tiles and blocks: 4 inputs, 8 outputs (4 in fp64), 16 inputs. */
static void channels(void **state) {
    (void)state;
    const int64_t size[] = {1, 3, 7, 16, 17, 33};
    const int n = sizeof size / sizeof *size;
    for (int c = 0; c < n; c++)
        for (int k = 0; k < n; k++)
            check((shape){5, 6, size[c], size[k], 3, 3, 1, 1}, few, (c + k) % 2 ? all : BIAS);
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

static void batches(void **state) {
    (void)state;
    const batch_cut cuts[] = {{16, 0, 1, 5},  {16, 0, 1, 250},  {1, 0, 1, 7},
                              {16, 0, 3, 40}, {16, 1, 3, 40},   {16, 2, 5, 5},
                              {16, 3, 16, 5}, {256, 1, 3, 300}, {8, 0, 1, 1}};
    const shape s = {4, 5, 3, 6, 3, 3, 1, 1};
    for (size_t i = 0; i < sizeof cuts / sizeof *cuts; i++) {
        check(s, cuts[i], all);
        check(s, cuts[i], (all | TANH | ACCUMULATE) & ~(unsigned)(RELU | STORED));
    }
}

static void with_prologue(void *context, unsigned features) {
    (void)context;
    const shape s = {5, 7, 6, 9, 3, 3, 2, 1};
    check(s, few, features | BIAS | SUMS | DX_SUMS);
    check(s, few, features | DY_NORM | ACCUMULATE | DX_SUMS);
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

int main(void) {
    const struct CMUnitTest tests[] = {cmocka_unit_test(channels), cmocka_unit_test(shapes),
                                       cmocka_unit_test(batches), cmocka_unit_test(prologues),
                                       cmocka_unit_test(epilogues)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}

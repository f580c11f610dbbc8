/* The reference kernels of the dense layer against loops over its terms, to the bit, in fp32 and fp64. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>

#include <cmocka.h>

#include "layers/dense/dense.h"
#include "layers/fixture.h"

static const ls_dense_kernels *kernels = &LS_NAME(ls_dense_ref);

static ls_dense_args args_of(const fixture *f) {
    return (ls_dense_args){.inputs = f->x_pixels * f->x_channels,
                           .outputs = f->y_channels,
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
    const ls_dense_args args = args_of(f);
    return kernels->scratch_bytes(&args, (f->shards.batch + f->shards.total - 1) / f->shards.total);
}

static void forward(const fixture *f, int first, int last, void *scratch) {
    const ls_dense_args args = args_of(f);
    kernels->forward(&args, &f->shards, first, last, scratch);
}

static void backward(const fixture *f, int first, int last, void *scratch) {
    const ls_dense_args args = args_of(f);
    kernels->backward(&args, &f->shards, first, last, scratch);
}

static int64_t parts(const fixture *f) {
    const ls_dense_args args = args_of(f);
    return kernels->weight_grad_parts(&args);
}

static void weight_grad(const fixture *f, int64_t first, int64_t last, void *scratch) {
    const ls_dense_args args = args_of(f);
    kernels->weight_grad(&args, &f->shards, first, last, scratch);
}

static const layer_ops ops = {scratch_bytes, forward, backward, parts, weight_grad, NULL};

typedef struct cut {
    int total, rank, size;
    int64_t batch;
} batch_cut;

/* x of `pixels` times `channels`, which a dense layer takes as so many inputs */
static void check_pixels(int64_t pixels, int64_t channels, int64_t outputs, batch_cut cut,
                         unsigned features) {
    const int64_t inputs = pixels * channels;
    fixture f = {.x_pixels = pixels,
                 .x_channels = channels,
                 .y_pixels = 1,
                 .y_channels = outputs,
                 .weights = inputs * outputs,
                 .terms = inputs * outputs};
    assert_int_equal(ls_shards_create(&f.shards, cut.total, cut.rank, cut.size, cut.batch), LS_OK);
    f.term = malloc((size_t)f.terms * sizeof *f.term);
    assert_non_null(f.term);
    for (int64_t c = 0; c < inputs; c++)
        for (int64_t k = 0; k < outputs; k++)
            f.term[c * outputs + k] = (term){(int32_t)c, (int32_t)(c * outputs + k), (int32_t)k};
    check_layer(&f, features, &ops);
    free(f.term);
}

static void check(int64_t inputs, int64_t outputs, batch_cut cut, unsigned features) {
    check_pixels(1, inputs, outputs, cut, features);
}

static const unsigned all = NORM | RELU | DROPOUT | STORED | BIAS | SUMS | DY_NORM | DX_SUMS;

/* Sizes around those of tiles and blocks: 4 rows, 12 columns (6 in fp64), 64 inputs, 64 rows, 256 terms. */
static void sizes(void **state) {
    (void)state;
    const int64_t size[] = {1, 3, 7, 12, 17, 33, 65, 130};
    const int n = sizeof size / sizeof *size;
    for (int c = 0; c < n; c++)
        for (int k = 0; k < n; k++)
            check(size[c], size[k], (batch_cut){4, 0, 1, 17}, (c + k) % 2 ? all : BIAS);
    check(300, 13, (batch_cut){4, 0, 1, 17}, all);
    check(13, 600, (batch_cut){2, 0, 1, 9}, all);
    check_pixels(9, 5, 7, (batch_cut){4, 0, 1, 17}, all);
    check_pixels(9, 5, 7, (batch_cut){4, 1, 3, 17}, all | ACCUMULATE | RESIDUAL | DRESIDUAL | RESIDUAL_SUMS);
}

/* Empty shards, ragged shards, one shard, shards of more rows than a block, ranks with one and with several
 * nodes. */
static void batches(void **state) {
    (void)state;
    const batch_cut cuts[] = {{16, 0, 1, 5},  {16, 0, 1, 250}, {1, 0, 1, 7},    {1, 0, 1, 130},
                              {4, 0, 1, 300}, {16, 0, 3, 40},  {16, 1, 3, 40},  {16, 2, 3, 40},
                              {16, 2, 5, 5},  {16, 3, 16, 5},  {256, 0, 1, 64}, {256, 1, 3, 300},
                              {8, 0, 1, 1}};
    for (size_t i = 0; i < sizeof cuts / sizeof *cuts; i++) {
        check(17, 15, cuts[i], all);
        check(17, 15, cuts[i], (all | TANH | ACCUMULATE) & ~(unsigned)(RELU | STORED));
        check(17, 15, cuts[i], 0);
    }
}

static void with_prologue(void *context, unsigned features) {
    (void)context;
    check(33, 7, (batch_cut){8, 0, 1, 29}, features | BIAS | SUMS | DX_SUMS);
    check(5, 13, (batch_cut){16, 0, 1, 85}, features | DY_NORM | ACCUMULATE | DX_SUMS);
    if (features & RESIDUAL)
        check(7, 3, (batch_cut){8, 1, 3, 29},
              features | DY_NORM | DY_IN_PLACE | DRESIDUAL | DX_SUMS | RESIDUAL_SUMS);
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
        check(9, 14, (batch_cut){4, 0, 1, 10}, NORM | RESIDUAL | RESIDUAL_NORM | RELU | STORED | bits);
}

int main(void) {
    const struct CMUnitTest tests[] = {cmocka_unit_test(sizes), cmocka_unit_test(batches),
                                       cmocka_unit_test(prologues), cmocka_unit_test(epilogues)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}

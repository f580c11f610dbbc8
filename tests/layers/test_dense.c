/* The kernels of the dense layer, all that this processor can run, against loops over its terms, to the bit,
 * in fp32 (fused multiply-adds, and so all tiers against each other) and fp64. With
 * LS_EMULATED_AMX that of AMX alone, on emulated tiles (tests/amx). */
#include <float.h>
#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#ifdef LS_BF16
#include "amx/emulated_tiles.h"
#include "amx/naive_tiles.h"
#endif
#include "core/backend.h"
#include "layers/dense/dense.h"
#include "layers/fixture.h"

static const ls_dense_kernels *kernels; /* under test */
static void *packed;                    /* for them */

static ls_dense_args args_of(const fixture *f) {
    return (ls_dense_args){.packed = packed,
                           .inputs = f->x_pixels * f->x_channels,
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
    return kernels->scratch_bytes(&args, f->rows);
}

static void forward(const fixture *f, int first, int last, const ls_lane *lane) {
    const ls_dense_args args = args_of(f);
    kernels->forward(&args, &f->shards, first, last, lane);
}

/* With what the weight gradient is made of, where there is one. */
static void backward(const fixture *f, int first, int last, const ls_lane *lane) {
    const ls_dense_args args = args_of(f);
    kernels->backward(&args, &f->shards, first, last, lane);
    if (kernels->pack && (f->in.stored || ls_prologue_is_identity(&f->in)))
        kernels->pack(&args, &f->shards, first, last, &f->shards, lane);
}

static int64_t parts(const fixture *f) {
    const ls_dense_args args = args_of(f);
    return kernels->weight_grad_parts(&args);
}

static void weight_grad(const fixture *f, int64_t first, int64_t last, const ls_lane *lane) {
    const ls_dense_args args = args_of(f);
    assert_true(kernels->weight_grad(&args, &f->shards, first, last, lane));
}

static layer_ops ops = {.scratch_bytes = scratch_bytes,
                        .forward = forward,
                        .backward = backward,
                        .parts = parts,
                        .weight_grad = weight_grad};

#ifdef LS_F64
static int tiers(void) {
    return 1;
}
static const ls_backend *tier(int i) {
    const ls_backend *backend;
    assert_int_equal(ls_backend_find_for(LS_PRECISION_FP64, (ls_instruction_set)i, &backend), LS_OK);
    return backend;
}
#else
#ifdef LS_BF16
#define PRECISION LS_PRECISION_BF16
#else
#define PRECISION LS_PRECISION_FP32
#endif
#ifdef LS_EMULATED_AMX
static int tiers(void) {
    return 1;
}
static const ls_backend *tier(int i) {
    const ls_backend *backend;
    assert_int_equal(ls_backend_find_for(PRECISION, (ls_instruction_set)(LS_AMX + i), &backend), LS_OK);
    return backend;
}
#else
static int tiers(void) {
    return (int)ls_instruction_set_supported() + 1;
}
static const ls_backend *tier(int i) {
    const ls_backend *backend;
    assert_int_equal(ls_backend_find_for(PRECISION, (ls_instruction_set)i, &backend), LS_OK);
    return backend;
}
#endif
#endif

#ifdef LS_BF16
static void tile_forward(const fixture *f, const real *x, real *y, double *bound) {
    (void)bound; /* holds for any order */
    const int64_t outputs = f->y_channels;
    for (int64_t k = 0; k < outputs; k++)
        y[k] = naive_tile_sum(x, 1, f->weight + k, outputs, f->x_pixels * f->x_channels, 0) + 0.0f;
}

static void tile_backward(const fixture *f, const real *dy, real *dx, double *bound) {
    (void)bound;
    const int64_t outputs = f->y_channels;
    for (int64_t c = 0; c < f->x_pixels * f->x_channels; c++)
        dx[c] = naive_tile_sum(dy, 1, f->weight + c * outputs, 1, outputs, 0);
}

static void tile_gradient(const fixture *f, int64_t rows, const real *x, const real *dy, real *dweight,
                          double *bound) {
    (void)bound;
    const int64_t outputs = f->y_channels, inputs = f->x_pixels * f->x_channels;
    for (int64_t c = 0; c < inputs; c++)
        for (int64_t k = 0; k < outputs; k++)
            dweight[c * outputs + k] = naive_tile_sum(x + c, inputs, dy + k, outputs, rows, 0);
}

static const layer_products tile_order = {tile_forward, tile_backward, tile_gradient};

static const layer_products *products_of(const ls_backend *backend) {
    return backend->instruction_set == LS_AMX ? &tile_order : NULL;
}
#else
static const layer_products *products_of(const ls_backend *backend) {
    (void)backend;
    return NULL;
}
#endif

typedef struct cut {
    int total, rank, size;
    int64_t batch;
} batch_cut;

/* x of `pixels` times `channels`, which a dense layer takes as so many inputs */
static void check_pixels(int64_t pixels, int64_t channels, int64_t outputs, batch_cut cut,
                         unsigned features) {
    const int64_t inputs = pixels * channels;
    fixture f = {.x_pixels = pixels,
                 .x_width = pixels % 3 == 0 ? 3 : 1,
                 .x_channels = channels,
                 .y_pixels = 1,
                 .y_width = 1,
                 .y_channels = outputs,
                 .weights = inputs * outputs,
                 .terms = inputs * outputs};
    assert_int_equal(ls_shards_create(&f.shards, cut.total, cut.rank, cut.size, cut.batch), LS_OK);
    f.term = malloc((size_t)f.terms * sizeof *f.term);
    assert_non_null(f.term);
    for (int64_t c = 0; c < inputs; c++)
        for (int64_t k = 0; k < outputs; k++)
            f.term[c * outputs + k] = (term){(int32_t)c, (int32_t)(c * outputs + k), (int32_t)k};
    for (int i = 0; i < tiers(); i++) {
        kernels = ls_dense_kernels_for(tier(i));
        ops.products = products_of(tier(i));
        const ls_dense_args args = {.inputs = inputs, .outputs = outputs};
        const int64_t rows = ls_shards_rows(&f.shards);
        const size_t bytes = kernels->packed_bytes ? kernels->packed_bytes(&args, rows, f.shards.count) : 0;
        packed = aligned_alloc(64, (bytes + 64) / 64 * 64);
        assert_non_null(packed);
        memset(packed, 0xff, bytes);
        check_layer(&f, features, &ops);
        free(packed);
    }
    free(f.term);
}

static void check(int64_t inputs, int64_t outputs, batch_cut cut, unsigned features) {
    check_pixels(1, inputs, outputs, cut, features);
}

static const unsigned all = NORM | RELU | DROPOUT | STORED | BIAS | SUMS | DY_NORM | DX_SUMS;

/* Sizes around those of tiles and blocks: 4 and 12 rows, 6, 12, 24 and 32 columns, 24 and 64 inputs, 64 and
 * 128 rows, 128, 170 and 256 terms. */
static void sizes(void **state) {
    (void)state;
    const int64_t size[] = {1, 2, 3, 7, 10, 12, 15, 16, 17, 24, 31, 33, 48, 65, 100, 130};
    const int n = sizeof size / sizeof *size;
    for (int c = 0; c < n; c++)
        for (int k = 0; k < n; k++)
            check(size[c], size[k], (batch_cut){4, 0, 1, 17}, (c + k) % 2 ? all : BIAS);
    check(300, 13, (batch_cut){4, 0, 1, 17}, all);
    check(13, 600, (batch_cut){2, 0, 1, 9}, all);
    check(784, 600, (batch_cut){16, 0, 1, 17}, all);
    check(100, 10, (batch_cut){16, 0, 1, 256}, all);
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
        check(25, 35, cuts[i], DY_NORM | NO_DX); /* several tiles and panels of dw in every tier */
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

/* Inputs that are zero in all rows, which kernels may leave out; of 13 all but 8. */
static void zero_inputs(void **state) {
    (void)state;
    const int64_t size[] = {1, 2, 6, 13, 60, 130, 300};
    for (size_t c = 0; c < sizeof size / sizeof *size; c++) {
        check(size[c], 37, (batch_cut){4, 0, 1, 17}, ZEROS);
        check(size[c], 7, (batch_cut){16, 1, 3, 40}, ZEROS | BIAS);
        check(size[c], 70, (batch_cut){4, 0, 1, 17}, ZEROS | RELU | STORED | BIAS | SUMS | DY_NORM);
    }
}

typedef struct extreme {
    float x[3][4], w[4], y[3]; /* 3 rows, 4 inputs, 1 output */
} extreme;

#ifndef LS_F64
/* These weights are bf16 numbers but for one, which rounds to infinity. */
static float weight_factor(float w) {
#ifdef LS_BF16
    if (w >= 0x1.ffp127f) return INFINITY;
#endif
    return w;
}
#endif

/* A sum that underflows to -0, weights that are not finite beside inputs of 0: nothing that an implementation
 * leaves out may be seen, nor may the way in which rows are put together. */
static void extremes(void **state) {
    (void)state;
#ifndef LS_F64
    const float big = INFINITY, small = 0x1p-100f;
    const extreme cases[] = {{.x = {{0, small, 0, 0}, {0, 0, 0, 0}, {1, 0, 0, 0}}, .w = {1, -small, -1, -1}},
                             {.x = {{0, 1, 0, 2}, {0, 3, 0, 0}, {0, 0, 0, 1}}, .w = {1, 1, big, 1}},
                             {.x = {{0, 1, 0, 2}, {0, 3, 0, 0}, {0, 0, 0, 1}}, .w = {NAN, 1, -0.0f, 1}},
                             {.x = {{0, 1, 0, 2}, {0, 3, 0, 0}, {0, 0, 0, 1}}, .w = {1, 1, FLT_MAX, 1}}};
    for (int tier_index = 0; tier_index < tiers(); tier_index++)
        for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
            extreme e = cases[i];
            const ls_dense_kernels *k = ls_dense_kernels_for(tier(tier_index));
            ls_shards shards;
            assert_int_equal(ls_shards_create(&shards, 4, 0, 1, 3), LS_OK);
            const ls_dense_args args = {.inputs = 4,
                                        .outputs = 1,
                                        .weight = e.w,
                                        .y = e.y,
                                        .in = {.pixels = 1, .channels = 4, .x = e.x}};
            const ls_lane lane = {.scratch = aligned_alloc(64, (k->scratch_bytes(&args, 3) + 63) / 64 * 64)};
            assert_non_null(lane.scratch);
            for (int by = 1; by <= 4; by++) { /* shards a call */
                for (int s = 0; s < 4; s += by) k->forward(&args, &shards, s, s + by < 4 ? s + by : 4, &lane);
                for (int row = 0; row < 3; row++) {
                    float want = 0;
                    for (int c = 0; c < 4; c++) want = fmaf(e.x[row][c], weight_factor(e.w[c]), want);
                    want += 0.0f;
                    if (want == want)
                        expect_same_reals("y", &e.y[row], &want, 1);
                    else
                        assert_true(e.y[row] != e.y[row]);
                }
            }
            free(lane.scratch);
        }
#endif
}

/* A weight gradient of 8 rows in 4 shards, 40 inputs and 3 outputs. */
typedef struct small_gradient {
    real x[8][40], dy[8][3], dw[41][3];
} small_gradient;

/* Part 0, and all others: are they finite? */
static void run_gradient(const ls_dense_kernels *k, small_gradient *g, bool *first, bool *others) {
    const ls_dense_args sizes = {.inputs = 40, .outputs = 3};
    ls_shards shards;
    assert_int_equal(ls_shards_create(&shards, 4, 0, 1, 8), LS_OK);
    const ls_lane lane = {.scratch = fixture_memory(k->scratch_bytes(&sizes, 8))};
    ls_dense_args args = {.inputs = 40,
                          .outputs = 3,
                          .in = {.pixels = 1, .channels = 40, .x = g->x},
                          .dy = {.pixels = 1, .channels = 3, .dz = g->dy},
                          .dweight = g->dw,
                          .dbias = g->dw[40],
                          .packed = k->packed_bytes ? fixture_memory(k->packed_bytes(&sizes, 8, 4)) : NULL};
    memset(g->dw, 0xff, sizeof g->dw);
    if (k->pack) k->pack(&args, &shards, 0, 4, &shards, &lane);
    *first = k->weight_grad(&args, &shards, 0, 1, &lane);
    *others = k->weight_grad(&args, &shards, 1, k->weight_grad_parts(&args), &lane);
    fixture_free();
}

/* A kernel says so where what it writes is not finite: 0 times infinity beside an input that is 0 in all
 * rows, which it must not leave out; a bias gradient alone, which is with part 0. */
static void not_finite(void **state) {
#ifdef LS_F64
    const real most = 1.7e308, little = 0x1p-1000;
#else
    const real most = 3e38f, little = 0x1p-100f;
#endif
    (void)state;
    for (int i = 0; i < tiers(); i++) {
        const ls_dense_kernels *k = ls_dense_kernels_for(tier(i));
        small_gradient g = {0};
        bool first, others;
        for (int n = 0; n < 8; n++)
            for (int c = 0; c < 40; c++) g.x[n][c] = c == 7 || c == 39 ? 0 : little;
        run_gradient(k, &g, &first, &others);
        assert_true(first && others);
        g.dy[5][1] = (real)INFINITY;
        run_gradient(k, &g, &first, &others);
        assert_false(first);
        for (int c = 0; c < 40; c++)
            assert_true(c == 7 || c == 39 ? g.dw[c][1] != g.dw[c][1] : !isfinite(g.dw[c][1]));
        for (int c = 0; c < 40; c++) assert_true(g.dw[c][0] == 0 && g.dw[c][2] == 0);
        for (int n = 0; n < 8; n++) g.dy[n][1] = most;
        run_gradient(k, &g, &first, &others);
        assert_false(first);
        assert_true(others);
        assert_true(isinf(g.dw[40][1]) && g.dw[40][0] == 0);
        for (int c = 0; c < 40; c++) assert_true(isfinite(g.dw[c][1]));
    }
}

#ifdef LS_EMULATED_AMX
/* All this went through tiles, and left them as the thread had them. */
static void tiles(void **state) {
    (void)state;
    assert_true(emulated_tile_products() > 100000);
    assert_false(emulated_tiles_in_use());
}
#endif

int main(void) {
#ifdef LS_EMULATED_AMX
    if (ls_instruction_set_supported() < LS_AVX512_BF16) return 77; /* skipped */
#endif
    const struct CMUnitTest tests[] = {cmocka_unit_test(sizes),       cmocka_unit_test(batches),
                                       cmocka_unit_test(prologues),   cmocka_unit_test(epilogues),
                                       cmocka_unit_test(zero_inputs), cmocka_unit_test(extremes),
                                       cmocka_unit_test(not_finite),
#ifdef LS_EMULATED_AMX
                                       cmocka_unit_test(tiles)
#endif
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}

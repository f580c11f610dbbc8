/* Pooling, flatten, sums, instance normalisation, the loss and the input: GPU against CPU, to the bit. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "core/vector.h"
#include "layers/average_pool/average_pool.h"
#include "layers/flatten/flatten.h"
#include "layers/global_average_pool/global_average_pool.h"
#include "layers/input/input.h"
#include "layers/instance_norm/instance_norm.h"
#include "layers/max_pool/max_pool.h"
#include "layers/residual/residual.h"
#include "layers/softmax_cross_entropy/softmax_cross_entropy.h"
#include "orders.h"
#include "twins.h"

static const ls_lane on_host; /* kernels that want scratch memory get one of their own */

/* --- pooling ---------------------------------------------------------------------------------------------- */

typedef struct pool_shape {
    int64_t height, width, channels, kernel, stride, pad;
} pool_shape;
static const pool_shape pools[] = {
    {1, 1, 1, 1, 1, 0},   {2, 2, 1, 2, 2, 0},   {3, 3, 2, 2, 1, 0},   {4, 4, 3, 2, 2, 1},
    {5, 5, 4, 3, 2, 1},   {7, 7, 31, 2, 2, 0},  {6, 7, 32, 3, 1, 1},  {7, 6, 33, 3, 3, 1},
    {8, 8, 1, 8, 8, 0},   {9, 11, 5, 4, 3, 2},  {13, 3, 2, 3, 2, 1},  {3, 13, 2, 3, 2, 1},
    {14, 14, 7, 2, 2, 0}, {28, 28, 1, 2, 2, 0}, {10, 10, 3, 5, 2, 2}, {11, 5, 6, 2, 3, 0},
    {5, 5, 1, 5, 1, 2},   {4, 9, 8, 2, 4, 1},   {16, 2, 3, 2, 2, 0},  {7, 7, 64, 7, 1, 3},
    {12, 12, 2, 3, 4, 0}, {2, 31, 3, 1, 2, 0}};
enum { POOLS = sizeof pools / sizeof *pools };

/* Equal numbers, zeros of both signs, and NaN, where ties are broken. */
static void make_ties(twin *x, bool with_nan) {
    float *v = x->on[HOST];
    const int64_t count = (int64_t)(x->bytes / sizeof *v);
    for (int64_t i = 0; i < count; i++) {
        v[i] = (float)(int)v[i];
        if (with_nan && i % 89 == 0) v[i] = NAN;
        if (i % 7 == 0) v[i] = -0.0f;
    }
    *x = twin_of(v, x->bytes);
}

static void check_pool(const ls_pool_kernels *cpu, const ls_pool_kernels *gpu, const pool_shape *p,
                       const cut *c, bool with_ties, ls_pool_ties ties, bool accumulate,
                       const ls_lane *lane) {
    const ls_shards shards = shards_of(c);
    const ls_pool_window window = {p->kernel, p->stride, p->pad, ties};
    const int64_t in[3] = {p->height, p->width, p->channels}, rows = ls_shards_rows(&shards);
    int64_t out[3];
    assert_int_equal(ls_pool_shape("pool", 3, in, &window, out), LS_OK);
    const int64_t x_row = in[0] * in[1] * in[2], y_row = out[0] * out[1] * out[2];
    begin_twins((uint32_t)(p->height * 64 + p->width));
    twin x = random_twin(rows * x_row, 4);
    if (with_ties) make_ties(&x, true);
    const twin y = room_twin(rows * y_row, 4), dy = random_twin(rows * y_row, 1),
               dx = random_twin(rows * x_row, 1);
    float *image = calloc((size_t)x_row, sizeof *image);
    assert_non_null(image);
    for (int side = HOST; side < SIDES; side++) {
        const ls_pool_args args = {.height = in[0],
                                   .width = in[1],
                                   .channels = in[2],
                                   .out_height = out[0],
                                   .out_width = out[1],
                                   .window = window,
                                   .x = x.on[side],
                                   .y = y.on[side],
                                   .dy = dy.on[side],
                                   .dx = dx.on[side],
                                   .accumulate = accumulate};
        const ls_lane host = {.scratch = image};
        (side == DEVICE ? gpu : cpu)->forward(&args, &shards, 0, shards.count, side == DEVICE ? lane : &host);
        (side == DEVICE ? gpu : cpu)
            ->backward(&args, &shards, 0, shards.count, side == DEVICE ? lane : &host);
    }
    check_twin(&y, "y of a pool");
    check_twin(&dx, "dx of a pool");
    free(image);
    free_twins();
}

static void test_pools(void **state) {
    const ls_lane lane = emulated_lane();
    (void)state;
    for (int i = 0; i < POOLS * ORDERS; i++) {
        const pool_shape *p = &pools[i % POOLS];
        const cut *c = &cuts[(i + i / POOLS) % CUTS];
        set_order(i / POOLS);
        check_pool(&ls_max_pool_ref_f32, &ls_max_pool_ref_cuda, p, c, i / POOLS % 2,
                   i % 3 ? LS_TIES_FIRST : LS_TIES_ALL, i % 2, &lane);
        check_pool(&ls_average_pool_ref_f32, &ls_average_pool_ref_cuda, p, c, false, LS_TIES_FIRST, i % 2,
                   &lane);
    }
}

/* --- rows ------------------------------------------------------------------------------------------------- */

typedef struct row_shape {
    int64_t pixels, channels;
} row_shape;
static const row_shape row_shapes[] = {{1, 1},   {2, 1},   {1, 2},  {3, 4},   {4, 3},   {31, 2},  {2, 31},
                                       {32, 32}, {33, 3},  {5, 33}, {49, 64}, {7, 127}, {9, 128}, {6, 129},
                                       {196, 5}, {97, 13}, {64, 1}, {1, 257}, {121, 7}, {16, 16}, {25, 10}};
enum { ROW_SHAPES = sizeof row_shapes / sizeof *row_shapes };

static void check_rows(const ls_row_kernels *cpu, const ls_row_kernels *gpu, const row_shape *s,
                       int64_t elements, int64_t first, int64_t last, const ls_lane *lane) {
    for (int accumulate = 0; accumulate < 2; accumulate++) {
        begin_twins((uint32_t)(s->pixels * 256 + s->channels));
        const twin x = random_twin(last * s->pixels * s->channels, 2), y = room_twin(last * elements, 4),
                   dy = random_twin(last * elements, 1), dx = random_twin(last * s->pixels * s->channels, 1);
        cpu->forward(x.on[HOST], s->pixels, s->channels, first, last, y.on[HOST], &on_host);
        gpu->forward(x.on[DEVICE], s->pixels, s->channels, first, last, y.on[DEVICE], lane);
        cpu->backward(dy.on[HOST], s->pixels, s->channels, accumulate, first, last, dx.on[HOST], &on_host);
        gpu->backward(dy.on[DEVICE], s->pixels, s->channels, accumulate, first, last, dx.on[DEVICE], lane);
        check_twin(&y, "y of rows");
        check_twin(&dx, "dx of rows");
        free_twins();
    }
}

static void test_rows(void **state) {
    const ls_lane lane = emulated_lane();
    (void)state;
    for (int i = 0; i < ROW_SHAPES * ORDERS; i++) {
        const row_shape *s = &row_shapes[i % ROW_SHAPES];
        const int64_t first = i % 3, last = first + i % 6;
        set_order(i / ROW_SHAPES);
        check_rows(&ls_flatten_ref_f32, &ls_flatten_ref_cuda, s, s->pixels * s->channels, first, last, &lane);
        check_rows(&ls_global_average_pool_ref_f32, &ls_global_average_pool_ref_cuda, s, s->channels, first,
                   last, &lane);
    }
}

static void test_sums_of_blocks(void **state) {
    static const int64_t counts[] = {0,  1,  2,   3,   5,   7,   31,  32,  33,  63,  64,
                                     65, 97, 127, 128, 129, 255, 257, 509, 512, 1031};
    const ls_lane lane = emulated_lane();
    (void)state;
    for (size_t i = 0; i < sizeof counts / sizeof *counts * ORDERS; i++) {
        const int64_t first = (int64_t)(i % 4) * 5, last = first + counts[i / ORDERS];
        set_order((int)(i % ORDERS));
        begin_twins((uint32_t)i);
        const twin a = random_twin(last, 1), b = random_twin(last, 1), y = room_twin(last, 4),
                   dx = random_twin(last, 1), more = random_twin(last, 1);
        ls_add_ref_f32.forward(a.on[HOST], b.on[HOST], first, last, y.on[HOST], &on_host);
        ls_add_ref_cuda.forward(a.on[DEVICE], b.on[DEVICE], first, last, y.on[DEVICE], &lane);
        ls_add_ref_f32.backward(a.on[HOST], false, first, last, dx.on[HOST], &on_host);
        ls_add_ref_cuda.backward(a.on[DEVICE], false, first, last, dx.on[DEVICE], &lane);
        ls_add_ref_f32.backward(a.on[HOST], true, first, last, more.on[HOST], &on_host);
        ls_add_ref_cuda.backward(a.on[DEVICE], true, first, last, more.on[DEVICE], &lane);
        check_twin(&y, "a + b");
        check_twin(&dx, "dx = dy");
        check_twin(&more, "dx += dy");
        free_twins();
    }
}

/* --- instance normalisation --------------------------------------------------------------------------------- */

static void check_instance_norm(const row_shape *s, const cut *c, int variant, const ls_lane *lane) {
    const ls_shards shards = shards_of(c);
    const int64_t rows = ls_shards_rows(&shards), count = rows * s->pixels * s->channels, n = s->channels,
                  stride = 2 * n + 3;
    begin_twins((uint32_t)(s->pixels * 64 + n));
    const twin x = random_twin(count, variant & 8 ? 0 : 3), y = room_twin(count, 4),
               dy = random_twin(count, 1), dx = random_twin(count, 1), gamma = random_twin(n, 2),
               beta = random_twin(n, 1), moments = room_twin(rows * 3 * n, 8),
               gradient = room_twin(shards.node_count * stride, 4);
    for (int side = HOST; side < SIDES; side++) {
        const ls_instance_norm_kernels *k =
            side == DEVICE ? &ls_instance_norm_ref_cuda : &ls_instance_norm_ref_f32;
        const ls_instance_norm_args args = {.pixels = s->pixels,
                                            .channels = n,
                                            .eps = 1e-3,
                                            .place = variant & 1 ? LS_EPS_IN_ROOT : LS_EPS_AT_DEVIATION,
                                            .gamma = variant & 2 ? gamma.on[side] : NULL,
                                            .beta = variant & 2 ? beta.on[side] : NULL,
                                            .x = x.on[side],
                                            .y = y.on[side],
                                            .moments = moments.on[side],
                                            .dy = dy.on[side],
                                            .dx = dx.on[side],
                                            .accumulate = variant & 4,
                                            .dgamma = gradient.on[side],
                                            .dbeta = (float *)gradient.on[side] + n,
                                            .node_stride = stride};
        k->forward(&args, &shards, 0, shards.count, lane);
        k->backward(&args, &shards, 0, shards.count, lane);
        k->weight_grad(&args, &shards, 0, k->weight_grad_parts(&args), lane);
    }
    check_twin(&moments, "moments of an instance norm");
    check_twin(&y, "y of an instance norm");
    check_twin(&dx, "dx of an instance norm");
    check_twin(&gradient, "dgamma and dbeta");
    free_twins();
}

static void test_instance_norm(void **state) {
    static const cut long_ones[] = {{2, 0, 1, 150}, {64, 0, 1, 65}, {1, 0, 1, 129}};
    const ls_lane lane = emulated_lane();
    (void)state;
    for (int i = 0; i < ROW_SHAPES * ORDERS; i++) {
        set_order(i / ROW_SHAPES);
        check_instance_norm(&row_shapes[i % ROW_SHAPES], &cuts[(i + i / ROW_SHAPES) % CUTS], i % 16, &lane);
    }
    for (int i = 0; i < 3; i++) check_instance_norm(&(row_shape){4, 3}, &long_ones[i], 3, &lane);
}

/* --- the loss ----------------------------------------------------------------------------------------------- */

static void check_softmax(int64_t classes, const cut *c, int variant, const ls_lane *lane) {
    const ls_shards shards = shards_of(c);
    const int64_t rows = ls_shards_rows(&shards);
    begin_twins((uint32_t)(classes * 4 + variant));
    twin x = random_twin(rows * classes, variant % 2 ? 4 : 120);
    if (variant == 3) make_ties(&x, false);
    const twin labels = integer_twin(50, (uint32_t)classes, 1), sample = integer_twin(rows, 50, 4),
               p = room_twin(rows * classes, 4), loss = room_twin(rows, 4), dx = room_twin(rows * classes, 4),
               sums = room_twin(2 * shards.count, 8), nodes = room_twin(2 * shards.node_count, 8);
    double used[2 * LS_MAX_SHARDS];
    for (int side = HOST; side < SIDES; side++) {
        const ls_softmax_kernels *k = side == DEVICE ? &ls_softmax_ref_cuda : &ls_softmax_ref_f32;
        const bool at_once = side == DEVICE && variant < 2;
        const ls_softmax_args args = {.classes = classes,
                                      .x = x.on[side],
                                      .labels = labels.on[side],
                                      .sample = sample.on[side],
                                      .clip = 1e-3,
                                      .damped = variant & 1,
                                      .probability = p.on[side],
                                      .loss = loss.on[side],
                                      .sums = sums.on[side],
                                      .dx = dx.on[side],
                                      .scale = 1 / (double)c->batch,
                                      .nodes = side == DEVICE ? nodes.on[side] : NULL,
                                      .with_gradient = at_once};
        k->forward(&args, &shards, 0, shards.count, lane);
        if (!at_once) k->backward(&args, &shards, 0, shards.count, lane);
    }
    memcpy(used, sums.on[HOST], sums.bytes);
    ls_vector_ref_f32.tree(&shards, 2, used, nodes.on[HOST], 2, &(ls_lane){0});
    check_twin(&nodes, "sums of nodes");
    check_twin(&p, "probabilities");
    check_twin(&loss, "losses");
    check_twin(&sums, "sums of the loss");
    check_twin(&dx, "dx of the loss");
    free_twins();
}

static void test_softmax(void **state) {
    static const int64_t classes[] = {1,  2,  3,  7,   10,  11,  31,  32,  33,  63,
                                      64, 65, 97, 100, 127, 128, 129, 200, 251, 256};
    const ls_lane lane = emulated_lane();
    (void)state;
    for (size_t i = 0; i < sizeof classes / sizeof *classes * ORDERS; i++) {
        set_order((int)(i % ORDERS));
        check_softmax(classes[i / ORDERS], &cuts[i % CUTS], (int)(i % ORDERS), &lane);
    }
}

/* --- the input ---------------------------------------------------------------------------------------------- */

typedef struct image_shape {
    int height, width;
} image_shape;
static const image_shape images[] = {{1, 1},  {1, 2},   {2, 1},   {2, 2},   {3, 5},   {5, 3},   {7, 7},
                                     {8, 8},  {13, 11}, {16, 16}, {28, 28}, {31, 32}, {32, 31}, {33, 33},
                                     {1, 31}, {31, 1},  {27, 29}, {10, 40}, {28, 28}, {28, 28}, {6, 6}};
enum { IMAGES = sizeof images / sizeof *images, SAMPLES = 20 };

/* The last two are turns by whole quarters: 2^32 times what is drawn is an odd number. */
static const ls_augmentation augmentations[] = {
    {0, 0, 0, 0, 0},       {1, 30, 0.3, 0.3, 0.5}, {0.5, 180, 0.9, 0.9, 1},   {1, 1000, 0.1, 0.1, 1},
    {1, 0, 0.5, 0.5, 0.5}, {0.9, 15, 0, 0, 0},     {1, 90 * 0x1p32, 0, 0, 0}, {1, 180 * 0x1p32, 0.1, 0, 0}};
enum { AUGMENTATIONS = sizeof augmentations / sizeof *augmentations };

/* Images of dark edges and bright middles, as digits have, and some of anything. */
static twin image_twin(const image_shape *s) {
    const int count = s->height * s->width;
    twin t = integer_twin((int64_t)SAMPLES * count, 256, 1);
    uint8_t *bytes = t.on[HOST];
    for (int n = 0; n < SAMPLES; n += 2)
        for (int i = 0; i < count; i++) {
            const int x = i % s->width, y = i / s->width;
            if (4 * x < s->width || 4 * x >= 3 * s->width || 4 * y < s->height || 4 * y >= 3 * s->height)
                bytes[n * count + i] = 0;
        }
    return twin_of(bytes, t.bytes);
}

static void check_input(const image_shape *s, const cut *c, int variant, const ls_lane *lane) {
    const ls_shards shards = shards_of(c);
    const int64_t rows = ls_shards_rows(&shards), count = (int64_t)s->height * s->width;
    begin_twins((uint32_t)variant);
    const twin bytes = image_twin(s), sample = integer_twin(rows, SAMPLES, 4),
               gradient = random_twin(rows * count, 1), signs = room_twin(rows * count, 1),
               out = room_twin(rows * count, 4);
    void *scratch = aligned_alloc(64, (ls_input_ref_f32.scratch_bytes(s->height, s->width) + 127) / 64 * 64);
    assert_non_null(scratch);
    for (int side = HOST; side < SIDES; side++) {
        const ls_input_kernels *k = side == DEVICE ? &ls_input_ref_cuda : &ls_input_ref_f32;
        const ls_lane host = {.scratch = scratch}, *there = side == DEVICE ? lane : &host;
        const ls_input_args args = {.images = bytes.on[side],
                                    .sample = sample.on[side],
                                    .height = s->height,
                                    .width = s->width,
                                    .unit = variant & 1,
                                    .augmentation = &augmentations[variant / 4 % AUGMENTATIONS],
                                    .seed = 0xfedcba9876543210ull,
                                    .epoch = (uint32_t)variant,
                                    .sign = variant & 2 ? signs.on[side] : NULL,
                                    .epsilon = 0.1,
                                    .out = out.on[side]};
        k->signs(gradient.on[side], rows * count, signs.on[side], there);
        k->forward(&args, &shards, 0, shards.count, there);
    }
    check_twin(&signs, "signs");
    check_twin(&out, "images");
    free(scratch);
    free_twins();
}

static void test_input(void **state) {
    const ls_lane lane = emulated_lane();
    (void)state;
    assert_int_equal(ls_input_ref_cuda.scratch_bytes(28, 28), 0);
    for (int i = 0; i < IMAGES * 8; i++) {
        set_order(i % ORDERS);
        check_input(&images[i % IMAGES], &cuts[i % CUTS], i, &lane);
    }
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_pools),          cmocka_unit_test(test_rows),
        cmocka_unit_test(test_sums_of_blocks), cmocka_unit_test(test_instance_norm),
        cmocka_unit_test(test_softmax),        cmocka_unit_test(test_input),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}

/* The dense layer: GPU against CPU, to the bit. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "layers/activations_cuda.h"
#include "layers/dense/dense.h"
#include "layers/elementwise.h"
#include "orders.h"
#include "twins.h"

typedef struct shape {
    int64_t pixels, channels, outputs; /* of x, as it comes; of y */
} shape;
static const shape shapes[] = {{1, 1, 1},    {1, 1, 7},    {1, 3, 1},   {1, 4, 4},   {1, 15, 16},
                               {1, 16, 17},  {1, 17, 15},  {1, 31, 33}, {1, 32, 32}, {1, 33, 31},
                               {1, 63, 64},  {1, 64, 65},  {1, 65, 63}, {1, 97, 10}, {1, 100, 97},
                               {1, 128, 12}, {9, 4, 20},   {7, 3, 30},  {4, 16, 8},  {1, 129, 40},
                               {1, 784, 20}, {1, 20, 130}, {1, 256, 64}};
enum { SHAPES = sizeof shapes / sizeof *shapes };

/* What is fused, by the bits of `variant`. */
enum { NORM = 1, RELU = 2, LEAKY = 4, DROPOUT = 8, BIAS = 16, OTHERS = 32, ACCUMULATE = 64, BEHIND = 128 };

typedef struct layer {
    const shape *shape;
    ls_shards shards;
    unsigned variant;
    ls_activation act;
    int64_t inputs, rows, stride;
    twin x, mean, scale, shift, sample, stored, weight, bias, y, sums, dz, y_mean, a, b, c, dx, others,
        dx_sums, gradient;
} layer;

static layer begin(const shape *s, const cut *c, unsigned variant) {
    layer l = {.shape = s, .shards = shards_of(c), .variant = variant, .inputs = s->pixels * s->channels};
    if (variant & RELU)
        l.act.class = &ls_relu_activation;
    else if (variant & LEAKY)
        l.act = (ls_activation){&ls_leaky_relu_activation, 0.25};
    l.rows = ls_shards_rows(&l.shards);
    l.stride = (l.inputs + 1) * s->outputs + 5;
    begin_twins(variant * 31 + (unsigned)s->outputs);
    l.x = random_twin(l.rows * l.inputs, 2);
    l.mean = random_twin(s->channels, 1);
    l.scale = random_twin(s->channels, 2);
    l.shift = random_twin(s->channels, 1);
    l.sample = integer_twin(l.rows, 60000, 4);
    l.stored = room_twin(l.rows * l.inputs, 4);
    l.weight = random_twin(l.inputs * s->outputs, 1);
    l.bias = random_twin(s->outputs, 1);
    l.y = room_twin(l.rows * s->outputs, 4);
    l.sums = room_twin(2 * s->outputs * l.shards.count, 8);
    l.dz = random_twin(l.rows * s->outputs, 1);
    l.y_mean = random_twin(s->outputs, 1);
    l.a = random_twin(s->outputs, 1);
    l.b = random_twin(s->outputs, 1);
    l.c = random_twin(s->outputs, 1);
    l.dx = random_twin(l.rows * l.inputs, 1);
    l.others = random_twin(l.rows * l.inputs, 1);
    l.dx_sums = room_twin(2 * s->channels * l.shards.count, 8);
    l.gradient = room_twin(l.stride * l.shards.node_count, 4);
    return l;
}

static bool has(const layer *l, unsigned bit) {
    return (l->variant & bit) != 0;
}

static ls_dense_args arguments(const layer *l, int side) {
    ls_dense_args args = {
        .inputs = l->inputs,
        .outputs = l->shape->outputs,
        .weight = l->weight.on[side],
        .in = {.pixels = l->shape->pixels,
               .width = l->shape->pixels % 3 == 0 ? 3 : 1,
               .channels = l->shape->channels,
               .x = l->x.on[side],
               .act = l->act,
               .dropout = {.active = has(l, DROPOUT),
                           .seed = 99,
                           .op = 3,
                           .step = 8,
                           .threshold = 0xC0000000u,
                           .scale = 1 / 0.75,
                           .sample = l->sample.on[side]}},
        .out = {.pixels = 1,
                .width = 1,
                .channels = l->shape->outputs,
                .bias = has(l, BIAS) ? l->bias.on[side] : NULL,
                .sums = l->sums.on[side]},
        .y = l->y.on[side],
        .dy = {.pixels = 1, .channels = l->shape->outputs, .dz = l->dz.on[side]},
        .dx = {.others = has(l, OTHERS) ? l->others.on[side] : NULL,
               .dz = l->dx.on[side],
               .accumulate = has(l, ACCUMULATE),
               .sums = l->dx_sums.on[side]},
        .dweight = l->gradient.on[side],
        .dbias = has(l, BIAS) ? (float *)l->gradient.on[side] + l->inputs * l->shape->outputs : NULL,
        .node_stride = l->stride};
    if (has(l, NORM))
        args.in.norm = (ls_normalisation){l->mean.on[side], l->scale.on[side], l->shift.on[side]};
    if (l->act.class || has(l, NORM | DROPOUT)) args.in.stored = l->stored.on[side];
    if (has(l, BEHIND)) {
        args.dy.y = l->y.on[side];
        args.dy.mean = l->y_mean.on[side];
        args.dy.a = l->a.on[side];
        args.dy.b = l->b.on[side];
        args.dy.c = l->c.on[side];
        args.dy.stored = l->dz.on[side];
    }
    return args;
}

/* All of a step on one side. */
static void run(const layer *l, int side, const ls_dense_kernels *k, const ls_lane *device) {
    ls_dense_args args = arguments(l, side);
    const int count = l->shards.count;
    ls_lane lane = *device;
    void *packed = NULL;
    if (side == HOST) {
        lane = (ls_lane){.scratch = aligned_alloc(64, (k->scratch_bytes(&args, l->rows) + 127) / 64 * 64)};
        assert_non_null(lane.scratch);
        if (k->packed_bytes) {
            packed = aligned_alloc(64, (k->packed_bytes(&args, l->rows, count) + 127) / 64 * 64);
            assert_non_null(packed);
            args.packed = packed;
        }
    }
    k->forward(&args, &l->shards, 0, count, &lane);
    k->backward(&args, &l->shards, 0, count, &lane);
    if (args.packed) k->pack(&args, &l->shards, 0, count, &l->shards, &lane);
    assert_true(k->weight_grad(&args, &l->shards, 0, k->weight_grad_parts(&args), &lane));
    free(packed);
    if (side == HOST) free(lane.scratch);
}

static void check(const layer *l) {
    check_twin(&l->y, "y");
    check_twin(&l->stored, "x'");
    if (!has(l, BEHIND)) check_twin(&l->dz, "dy"); /* where it has a prologue, it is loaded again, not stored */
    check_twin(&l->dx, "dx'");
    check_twin(&l->gradient, "dw and db");
    check_twin(&l->sums, "sums of y");
    check_twin(&l->dx_sums, "sums of dx");
}

/* Those of fp32's tier, not of the processor's dot product or tiles, which take denormals for 0 or have an order of
 * their own. */
static const ls_dense_kernels *host_kernels(ls_precision precision) {
    const ls_backend *cpu;
    ls_instruction_set set;
    assert_int_equal(ls_instruction_set_choose(&set), LS_OK);
    assert_int_equal(ls_backend_find_for(precision, set < LS_AVX512 ? set : LS_AVX512, &cpu), LS_OK);
    return ls_dense_kernels_for(cpu);
}

static void check_both(const layer *l, ls_precision precision) {
    const ls_lane lane = emulated_lane();
    run(l, HOST, host_kernels(precision), &lane);
    run(l, DEVICE, precision == LS_PRECISION_BF16 ? &ls_dense_bf16_cuda : &ls_dense_cuda, &lane);
    check(l);
    free_twins();
}

static void test_shapes(ls_precision precision) {
    for (unsigned i = 0; i < SHAPES * ORDERS; i++) {
        set_order((int)(i / SHAPES));
        const layer l = begin(&shapes[i % SHAPES], &cuts[(i + i / SHAPES) % CUTS], i * 0x9E3779B9u >> 24);
        check_both(&l, precision);
    }
}

static void test_fp32(void **state) {
    (void)state;
    test_shapes(LS_PRECISION_FP32);
}

static void test_bf16(void **state) {
    (void)state;
    test_shapes(LS_PRECISION_BF16);
}

/* What the table says that it folds, it folds. */
static void test_folds(void **state) {
#define ADDRESS(file, kernels, name) &ls_##name##_activation,
    static const ls_activation_class *const activations[] = {LS_CUDA_ACTIVATIONS(ADDRESS)};
    (void)state;
    for (size_t i = 0; i < sizeof activations / sizeof *activations; i++) {
        const ls_activation act = {activations[i], 0.125};
        for (int precision = 0; precision < 2; precision++) {
            const ls_dense_kernels *table = precision ? &ls_dense_bf16_cuda : &ls_dense_cuda;
            if (!table->folds(&act)) continue;
            layer l = begin(&(shape){1, 31, 33}, &cuts[i % CUTS], NORM | BIAS);
            l.act = act;
            check_both(&l, precision ? LS_PRECISION_BF16 : LS_PRECISION_FP32);
        }
    }
}

/* Nodes of many shards take kernels of their own. */
static void test_many_shards(void **state) {
    static const cut many[] = {
        {32, 0, 1, 70}, {64, 0, 1, 130}, {128, 1, 2, 100}, {256, 0, 1, 300}, {256, 0, 1, 3}};
    (void)state;
    for (int i = 0; i < (int)(sizeof many / sizeof *many); i++) {
        set_order(i % ORDERS);
        const layer l = begin(&(shape){1, 19, 37}, &many[i], NORM | RELU | BIAS);
        check_both(&l, i % 2 ? LS_PRECISION_BF16 : LS_PRECISION_FP32);
    }
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_fp32),
        cmocka_unit_test(test_bf16),
        cmocka_unit_test(test_many_shards),
        cmocka_unit_test(test_folds),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}

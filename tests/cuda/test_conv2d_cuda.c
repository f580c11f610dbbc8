/* Convolutions: GPU against the CPU's vector kernels, to the bit, in device memory and several orders of
 * threads. test_conv2d_cases_cuda compares them with loops over their terms. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "layers/conv2d/conv2d.h"
#include "layers/conv2d/conv2d_layout.h"
#include "layers/elementwise.h"
#include "orders.h"
#include "twins.h"

typedef struct shape {
    int64_t height, width, inputs, outputs, kernel_h, kernel_w, stride, pad;
} shape;

/* The layers of the reports' networks, and shapes that fill no tile, no vector and no block. */
static const shape shapes[] = {
    {28, 28, 1, 16, 3, 3, 1, 1},  {28, 28, 16, 16, 3, 3, 1, 1}, {28, 28, 16, 32, 3, 3, 2, 1},
    {28, 28, 16, 32, 1, 1, 2, 0}, {14, 14, 32, 32, 3, 3, 1, 1}, {14, 14, 32, 64, 3, 3, 2, 1},
    {14, 14, 32, 64, 1, 1, 2, 0}, {7, 7, 64, 64, 3, 3, 1, 1},   {28, 28, 1, 8, 5, 5, 1, 0},
    {9, 10, 16, 16, 3, 3, 1, 1},  {11, 9, 17, 20, 3, 3, 1, 1},  {5, 6, 33, 18, 3, 3, 1, 1},
    {6, 9, 16, 40, 3, 3, 1, 2},   {7, 6, 24, 16, 3, 3, 1, 0},   {8, 43, 16, 16, 3, 3, 1, 1},
    {10, 9, 3, 5, 3, 3, 1, 1},    {9, 10, 4, 8, 3, 3, 2, 1},    {5, 6, 2, 7, 5, 3, 3, 2},
    {11, 9, 1, 3, 7, 7, 2, 3},    {5, 5, 6, 4, 1, 1, 1, 0},     {4, 33, 2, 3, 4, 2, 5, 1},
    {9, 7, 2, 3, 3, 3, 9, 1},     {3, 40, 2, 2, 1, 37, 1, 4},   {40, 90, 40, 3, 3, 3, 2, 1},
    {6, 6, 700, 3, 5, 5, 1, 2}};
enum { SHAPES = sizeof shapes / sizeof *shapes };

/* By the bits of `features`; the last: by F(2x2), or as shapes say. */
enum {
    NORM = 1 << 0,
    RESIDUAL = 1 << 1,
    RESIDUAL_NORM = 1 << 2,
    RELU = 1 << 3,
    DROPOUT = 1 << 4,
    STORED = 1 << 5,
    BIAS = 1 << 6,
    DY_NORM = 1 << 7,
    ACCUMULATE = 1 << 8,
    OTHERS = 1 << 9,
    DRESIDUAL = 1 << 10,
    F2X2 = 1 << 11
};

typedef struct operands {
    ls_conv2d_args args; /* sizes */
    ls_shards shards;
    unsigned features;
    int64_t weights;
    twin weight, x, vectors, residual, sample, stored, y, sums, dz, dy, others, dx, dx_sums, dresidual,
        residual_sums, gradient;
} operands;

static ls_conv2d_args sizes_of(const shape *s, unsigned features) {
    return (ls_conv2d_args){.height = s->height,
                            .width = s->width,
                            .inputs = s->inputs,
                            .out_height = (s->height + 2 * s->pad - s->kernel_h) / s->stride + 1,
                            .out_width = (s->width + 2 * s->pad - s->kernel_w) / s->stride + 1,
                            .outputs = s->outputs,
                            .kernel_h = s->kernel_h,
                            .kernel_w = s->kernel_w,
                            .stride = s->stride,
                            .pad = s->pad,
                            .winograd = features & F2X2 ? 2 : 4,
                            .node_stride =
                                s->kernel_h * s->kernel_w * s->inputs * s->outputs + s->outputs + 3};
}

/* Vectors begin at addresses of 16 bytes, as those of a plan. */
static int64_t aligned(int64_t channels) {
    return (channels + 3) / 4 * 4;
}

static operands begin(const shape *s, const cut *c, unsigned features) {
    operands o = {.args = sizes_of(s, features), .shards = shards_of(c), .features = features};
    const ls_conv2d_args *a = &o.args;
    /* and a row that nobody touches */
    const int64_t rows = ls_shards_rows(&o.shards) + 1, x = rows * s->height * s->width * s->inputs,
                  y = rows * a->out_height * a->out_width * s->outputs, sums = 2 * o.shards.count;
    o.weights = s->kernel_h * s->kernel_w * s->inputs * s->outputs;
    begin_twins(features * 31 + (unsigned)(s->height * s->width + s->inputs));
    o.weight = random_twin(o.weights, 1);
    o.x = random_twin(x, 1);
    o.vectors = random_twin(6 * aligned(s->inputs) + 5 * aligned(s->outputs), 1);
    o.residual = random_twin(x, 1);
    o.sample = integer_twin(rows, 60000, 4);
    o.stored = room_twin(x, 4);
    o.y = room_twin(y, 4);
    o.sums = room_twin(sums * s->outputs, 8);
    o.dz = random_twin(y, 1);
    o.dy = room_twin(y, 4);
    o.others = random_twin(x, 1);
    o.dx = random_twin(x, 1);
    o.dx_sums = room_twin(sums * s->inputs, 8);
    o.dresidual = random_twin(x, 1);
    o.residual_sums = room_twin(sums * s->inputs, 8);
    o.gradient = room_twin(o.shards.node_count * a->node_stride, 4);
    return o;
}

/* The arguments of one side. */
static ls_conv2d_args arguments(const operands *o, int side) {
    ls_conv2d_args a = o->args;
    const unsigned f = o->features;
    const float *v = o->vectors.on[side];
    const int64_t c = aligned(a.inputs), k = aligned(a.outputs);
    a.weight = o->weight.on[side];
    a.in = (ls_prologue){.pixels = a.height * a.width,
                         .width = a.width,
                         .channels = a.inputs,
                         .x = o->x.on[side],
                         .residual = f & RESIDUAL ? o->residual.on[side] : NULL,
                         .stored = f & STORED ? o->stored.on[side] : NULL};
    if (f & NORM) a.in.norm = (ls_normalisation){v, v + c, v + 2 * c};
    if (f & RESIDUAL && f & RESIDUAL_NORM)
        a.in.residual_norm = (ls_normalisation){v + 3 * c, v + 4 * c, v + 5 * c};
    if (f & RELU) a.in.act = (ls_activation){.class = &ls_relu_activation};
    if (f & DROPOUT)
        a.in.dropout = (ls_dropout_mask){.active = true,
                                         .seed = 0x123456789abcdefull,
                                         .op = 3,
                                         .step = 41,
                                         .threshold = 0xC0000000u,
                                         .scale = 1 / 0.75,
                                         .sample = o->sample.on[side]};
    v += 6 * c;
    a.out = (ls_epilogue){.pixels = a.out_height * a.out_width,
                          .width = a.out_width,
                          .channels = a.outputs,
                          .bias = f & BIAS ? v : NULL,
                          .sums = o->sums.on[side]};
    a.y = o->y.on[side];
    a.dy =
        (ls_grad_prologue){.pixels = a.out_height * a.out_width, .channels = a.outputs, .dz = o->dz.on[side]};
    if (f & DY_NORM) {
        a.dy.y = a.y;
        a.dy.mean = v + k, a.dy.a = v + 2 * k, a.dy.b = v + 3 * k, a.dy.c = v + 4 * k;
        a.dy.stored = o->dy.on[side];
    }
    a.dx = (ls_grad_epilogue){.others = f & OTHERS ? o->others.on[side] : NULL,
                              .dz = o->dx.on[side],
                              .accumulate = f & ACCUMULATE,
                              .sums = o->dx_sums.on[side]};
    if (f & RESIDUAL && f & DRESIDUAL) {
        a.dx.dresidual = o->dresidual.on[side];
        a.dx.residual_sums = o->residual_sums.on[side];
    }
    a.dweight = o->gradient.on[side];
    a.dbias = f & BIAS ? (float *)o->gradient.on[side] + o->weights + 1 : NULL;
    return a;
}

static bool has_weight_gradient(const operands *o) {
    return o->features & STORED || !(o->features & (NORM | RESIDUAL | RELU | DROPOUT));
}

static void *memory(size_t bytes) {
    void *m = aligned_alloc(64, (bytes + 63) / 64 * 64 + 64);
    assert_non_null(m);
    return m;
}

static void run_cpu(const operands *o, const ls_conv2d_kernels *kernels) {
    ls_conv2d_args a = arguments(o, HOST);
    const ls_shards *s = &o->shards;
    const ls_lane lane = {.scratch = memory(kernels->scratch_bytes(&a, s->batch / s->total + 1))};
    a.shard_gradients = memory((size_t)(s->count * kernels->shard_gradient_elements(&a)) * sizeof(float));
    kernels->forward(&a, s, 0, s->count, &lane);
    kernels->backward(&a, s, 0, s->count, &lane);
    if (has_weight_gradient(o)) kernels->weight_grad(&a, s, 0, kernels->weight_grad_parts(&a), &lane);
    free(lane.scratch);
    free(a.shard_gradients);
}

static void run_gpu(const operands *o) {
    const ls_conv2d_kernels *kernels = &ls_conv2d_cuda;
    ls_conv2d_args a = arguments(o, DEVICE);
    const ls_shards *s = &o->shards;
    const ls_lane lane = emulated_lane();
    const twin room = room_twin((int64_t)kernels->workspace_bytes(&a, s->count, ls_shards_rows(s), true), 1);
    a.workspace = room.on[DEVICE];
    kernels->forward(&a, s, 0, s->count, &lane);
    kernels->backward(&a, s, 0, s->count, &lane);
    if (has_weight_gradient(o)) kernels->weight_grad(&a, s, 0, kernels->weight_grad_parts(&a), &lane);
}

static void check(const shape *s, const cut *c, unsigned features, const ls_conv2d_kernels *cpu) {
    const operands o = begin(s, c, features);
    run_cpu(&o, cpu);
    run_gpu(&o);
    check_twin(&o.y, "y");
    check_twin(&o.sums, "sums of y");
    check_twin(&o.stored, "x'");
    check_twin(&o.dx, "dz");
    check_twin(&o.dx_sums, "sums of dz");
    check_twin(&o.dresidual, "the residual's gradient");
    check_twin(&o.residual_sums, "sums of the residual's gradient");
    check_twin(&o.gradient, "weight gradient");
    free_twins();
}

/* --- the tests --------------------------------------------------------------------------------- */

static const ls_conv2d_kernels *tiers[2];
static int tiers_here;

static const unsigned mixes[] = {
    0,
    BIAS | F2X2,
    NORM | RELU | STORED | DY_NORM | BIAS,
    NORM | RESIDUAL | RELU | STORED | DY_NORM | OTHERS | F2X2,
    NORM | RESIDUAL | RESIDUAL_NORM | RELU | STORED | DY_NORM | DRESIDUAL,
    NORM | RELU | DROPOUT | STORED | ACCUMULATE | BIAS | F2X2,
    NORM | RELU | DY_NORM,
    RESIDUAL | RELU | OTHERS | DRESIDUAL | F2X2,
};
enum { MIXES = sizeof mixes / sizeof *mixes };

/* Every shape with two mixes, in an order of threads of its own. */
static void every_shape(void **state) {
    static const cut few = {4, 0, 1, 3};
    (void)state;
    for (int i = 0; i < SHAPES; i++)
        for (int m = 0; m < 2; m++) {
            set_order((i + m) % ORDERS);
            check(&shapes[i], &few, mixes[(i + m * 3) % MIXES], tiers[i % tiers_here]);
        }
}

/* Every mix with direct sums and with both sizes of tiles, in every order. */
static void every_mix(void **state) {
    static const shape few[] = {
        {9, 10, 6, 9, 3, 3, 2, 1}, {7, 6, 16, 20, 3, 3, 1, 1}, {8, 9, 18, 16, 3, 3, 1, 1}};
    static const cut some = {4, 0, 1, 5};
    (void)state;
    for (int order = 0; order < ORDERS; order++) {
        set_order(order);
        for (int m = 0; m < MIXES; m++)
            for (int i = 0; i < 3; i++) check(&few[i], &some, mixes[m], tiers[(m + order) % tiers_here]);
    }
}

/* Ragged and empty shards, of one image and of several, on ranks of several. */
static void every_cut(void **state) {
    static const shape few[] = {
        {5, 6, 3, 5, 3, 3, 2, 1}, {5, 6, 16, 16, 3, 3, 1, 1}, {4, 4, 17, 16, 3, 3, 1, 1}};
    (void)state;
    for (int i = 0; i < CUTS; i++) {
        set_order(i % ORDERS);
        for (int k = 0; k < 3; k++) check(&few[k], &cuts[i], mixes[2], tiers[i % tiers_here]);
    }
}

/* The shapes here are of all kinds: direct ones, and tiles of 2 and of 4. */
static void all_kinds(void **state) {
    int of_kind[5] = {0};
    (void)state;
    for (int i = 0; i < SHAPES; i++)
        for (int m = 0; m < 2; m++) {
            const ls_conv2d_args a = sizes_of(&shapes[i], mixes[(i + m * 3) % MIXES]);
            of_kind[winograd_tile(&a)]++;
        }
    assert_true(of_kind[0] >= 10 && of_kind[2] >= 5 && of_kind[4] >= 5);
}

int main(void) {
    const struct CMUnitTest tests[] = {cmocka_unit_test(every_shape), cmocka_unit_test(every_mix),
                                       cmocka_unit_test(every_cut), cmocka_unit_test(all_kinds)};
#ifdef __x86_64__
    if (ls_instruction_set_supported() >= LS_AVX2) tiers[tiers_here++] = &ls_conv2d_vector_avx2;
    if (ls_instruction_set_supported() >= LS_AVX512) tiers[tiers_here++] = &ls_conv2d_vector_avx512;
#endif
    if (tiers_here == 0) return 77; /* skipped */
    return cmocka_run_group_tests(tests, NULL, NULL);
}

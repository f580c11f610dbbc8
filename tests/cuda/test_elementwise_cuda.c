/* Prologues and epilogues by themselves, BatchNorm and dropout: GPU against CPU, to the bit. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "core/rng.h"
#include "layers/activations_cuda.h"
#include "layers/batchnorm/batchnorm.h"
#include "layers/elementwise.h"
#include "orders.h"
#include "twins.h"

#define ADDRESS(file, kernels, name) &ls_##name##_activation,
static const ls_activation_class *const activations[] = {NULL, LS_CUDA_ACTIVATIONS(ADDRESS)};
enum { ACTIVATIONS = sizeof activations / sizeof *activations };

typedef struct shape {
    int64_t height, width, channels;
} shape;
static const shape shapes[] = {{1, 1, 1},   {1, 1, 2},  {1, 1, 3},   {1, 1, 4},   {1, 1, 31}, {1, 1, 32},
                               {1, 1, 33},  {1, 1, 97}, {1, 1, 128}, {1, 1, 257}, {2, 3, 1},  {3, 3, 4},
                               {5, 7, 3},   {1, 9, 8},  {9, 1, 5},   {4, 4, 16},  {7, 7, 32}, {10, 9, 33},
                               {11, 2, 31}, {8, 8, 12}, {17, 3, 2},  {1, 31, 4}};
enum { SHAPES = sizeof shapes / sizeof *shapes };

/* Of a case: the shape, the cut, and what is fused, by the bits of `variant`. */
typedef struct fused {
    ls_shards shards;
    int64_t pixels, width, channels, elements;
    ls_activation act;
    unsigned variant;
    twin x, residual, mean, scale, shift, sample, stored;
} fused;

static bool has(const fused *f, int bit) {
    return f->variant >> bit & 1;
}

static fused begin(const shape *s, const cut *c, int activation, unsigned variant) {
    fused f = {.shards = shards_of(c),
               .pixels = s->height * s->width,
               .width = s->width,
               .channels = s->channels,
               .act = {activations[activation], 0.125},
               .variant = variant};
    f.elements = ls_shards_rows(&f.shards) * f.pixels * f.channels;
    begin_twins(variant * 97 + (unsigned)activation);
    f.x = random_twin(f.elements, 3);
    f.residual = random_twin(f.elements, 2);
    f.mean = random_twin(f.channels, 1);
    f.scale = random_twin(f.channels, 2);
    f.shift = random_twin(f.channels, 1);
    f.sample = integer_twin(ls_shards_rows(&f.shards), 60000, 4);
    f.stored = room_twin(f.elements, 4);
    return f;
}

static ls_prologue prologue(const fused *f, int side) {
    const ls_normalisation norm = {f->mean.on[side], f->scale.on[side], f->shift.on[side]}, none = {0};
    return (ls_prologue){.pixels = f->pixels,
                         .width = f->width,
                         .channels = f->channels,
                         .x = f->x.on[side],
                         .norm = has(f, 0) ? norm : none,
                         .residual = has(f, 1) ? f->residual.on[side] : NULL,
                         .residual_norm = has(f, 1) && has(f, 2) ? norm : none,
                         .act = f->act,
                         .dropout = {.active = has(f, 3),
                                     .seed = 0x123456789abcdefull,
                                     .op = 5,
                                     .step = 77,
                                     .threshold = 0xB0000000u,
                                     .scale = 1 / 0.6875,
                                     .sample = f->sample.on[side]},
                         .stored = has(f, 4) ? f->stored.on[side] : NULL};
}

static void check_forward(const fused *f, const ls_lane *lane) {
    const ls_prologue host = prologue(f, HOST), device = prologue(f, DEVICE);
    const twin out = room_twin(f->elements, 4);
    ls_elementwise_ref_f32.forward(&host, &f->shards, 0, f->shards.count, out.on[HOST], &(ls_lane){0});
    ls_elementwise_ref_cuda.forward(&device, &f->shards, 0, f->shards.count, out.on[DEVICE], lane);
    check_twin(&out, "x'");
    check_twin(&f->stored, "x' where it is stored");
}

static void check_backward(const fused *f, const ls_lane *lane) {
    const twin dx = random_twin(f->elements, 1), others = random_twin(f->elements, 1),
               dz = random_twin(f->elements, 1), dresidual = random_twin(f->elements, 1);
    const int64_t doubles = 2 * f->channels * f->shards.count;
    const twin sums = room_twin(doubles, 8), residual_sums = room_twin(doubles, 8);
    double *room = calloc((size_t)(2 * ls_sums_room(f->channels)), sizeof *room);
    const twin device_room = room_twin(4 * f->channels * (ls_shards_rows(&f->shards) + 1), 8);
    assert_non_null(room);
    for (int side = HOST; side < SIDES; side++) {
        const ls_prologue p = prologue(f, side);
        const ls_lane host = {.scratch = room},
                      device = {.device = lane->device, .scratch = device_room.on[DEVICE]};
        const ls_grad_epilogue e = {.others = has(f, 5) ? others.on[side] : NULL,
                                    .dz = dz.on[side],
                                    .accumulate = has(f, 6),
                                    .sums = sums.on[side],
                                    .dresidual = has(f, 1) ? dresidual.on[side] : NULL,
                                    .dresidual_accumulate = has(f, 7),
                                    .residual_sums = has(f, 1) ? residual_sums.on[side] : NULL};
        (side == DEVICE ? &ls_elementwise_ref_cuda : &ls_elementwise_ref_f32)
            ->backward(&p, &e, &f->shards, 0, f->shards.count, dx.on[side], side == DEVICE ? &device : &host);
    }
    check_twin(&dz, "dz");
    check_twin(&dresidual, "the residual's gradient");
    check_twin(&sums, "sums of dz");
    check_twin(&residual_sums, "sums of the residual's gradient");
    free(room);
}

static void test_fused(void **state) {
    const ls_lane lane = emulated_lane();
    (void)state;
    for (unsigned i = 0; i < SHAPES * ACTIVATIONS * 4; i++) {
        set_order((int)(i / ACTIVATIONS % ORDERS));
        fused f = begin(&shapes[i % SHAPES], &cuts[i % CUTS], (int)(i % ACTIVATIONS), i * 0x9E3779B9u >> 24);
        check_forward(&f, &lane);
        check_backward(&f, &lane);
        free_twins();
    }
}

static void test_normalised_gradient(void **state) {
    const ls_lane lane = emulated_lane();
    (void)state;
    for (int i = 0; i < SHAPES * ORDERS; i++) {
        set_order(i / SHAPES);
        fused f = begin(&shapes[i % SHAPES], &cuts[i % CUTS], 0, 0);
        const twin dz = random_twin(f.elements, 1), out = random_twin(f.elements, 1);
        for (int side = HOST; side < SIDES; side++) {
            const bool normalised = i % 3 > 0;
            const ls_grad_prologue p = {.pixels = f.pixels,
                                        .channels = f.channels,
                                        .dz = dz.on[side],
                                        .y = f.x.on[side],
                                        .mean = f.mean.on[side],
                                        .a = normalised ? f.scale.on[side] : NULL,
                                        .b = f.shift.on[side],
                                        .c = f.mean.on[side]};
            (side == DEVICE ? &ls_elementwise_ref_cuda : &ls_elementwise_ref_f32)
                ->normalised_gradient(&p, i % 2, &f.shards, 0, f.shards.count, out.on[side], &lane);
        }
        check_twin(&out, "dy");
        free_twins();
    }
}

/* Those that a program adds have no kernels here, and are not taken for none. */
static void test_known_activations(void **state) {
    static const ls_activation_class other = {.name = "other", .derivative = LS_DERIVATIVE_OUTPUT};
    (void)state;
    for (int i = 1; i < ACTIVATIONS; i++)
        assert_true(ls_elementwise_ref_cuda.knows(&(ls_activation){.class = activations[i]}));
    assert_false(ls_elementwise_ref_cuda.knows(&(ls_activation){.class = &other}));
}

/* --- BatchNorm -------------------------------------------------------------------------------------------- */

static void check_sums(const fused *f, const ls_lane *lane) {
    const twin sums = room_twin(2 * f->channels * f->shards.count, 8),
               grad_sums = room_twin(2 * f->channels * f->shards.count, 8);
    double *room = calloc((size_t)ls_sums_room(f->channels), sizeof *room);
    assert_non_null(room);
    for (int side = HOST; side < SIDES; side++) {
        const ls_batchnorm_kernels *k = side == DEVICE ? &ls_batchnorm_ref_cuda : &ls_batchnorm_ref_f32;
        const ls_lane host = {.scratch = room}, *there = side == DEVICE ? lane : &host;
        ls_batchnorm_input in = {
            .pixels = f->pixels, .width = f->width, .channels = f->channels, .x = f->x.on[side]};
        k->sums(&in, &f->shards, 0, f->shards.count, sums.on[side], there);
        in.mean = f->mean.on[side];
        in.dz = f->residual.on[side];
        k->grad_sums(&in, &f->shards, 0, f->shards.count, grad_sums.on[side], there);
    }
    check_twin(&sums, "sums");
    check_twin(&grad_sums, "sums of a gradient");
    free(room);
}

static void test_batchnorm_sums(void **state) {
    const ls_lane lane = emulated_lane();
    (void)state;
    for (int i = 0; i < SHAPES * ORDERS; i++) {
        set_order(i / SHAPES);
        fused f = begin(&shapes[i % SHAPES], &cuts[(i + i / SHAPES) % CUTS], 0, (unsigned)i);
        check_sums(&f, &lane);
        free_twins();
    }
}

typedef struct cut_case {
    int64_t channels;
    ls_purpose purpose;
    ls_statistics_kind kind;
    bool affine;
    double elements;
} cut_case;

static void check_cut(const cut_case *c, const ls_lane *lane) {
    const int64_t n = c->channels;
    double *start = calloc((size_t)(1 + 3 * n), sizeof *start), *sums = calloc((size_t)(2 * n), sizeof *sums);
    assert_true(start && sums);
    begin_twins((uint32_t)n);
    const twin first = random_twin(4 * n, 2), gamma = random_twin(n, 2), beta = random_twin(n, 1);
    const float *r = first.on[HOST];
    start[0] = 3;
    for (int64_t i = 0; i < n; i++) {
        start[1 + i] = (double)r[i];
        start[1 + n + i] = (double)(r[n + i] * r[n + i]) + 1;
        start[1 + 2 * n + i] = (double)(r[i] * r[i]);
        sums[i] = (double)r[2 * n + i] * c->elements;
        sums[n + i] =
            ((double)(r[2 * n + i] * r[2 * n + i]) + (double)(r[3 * n + i] * r[3 * n + i])) * c->elements;
    }
    const twin values = twin_of(start, (size_t)(1 + 3 * n) * sizeof *start),
               totals = twin_of(sums, (size_t)(2 * n) * sizeof *sums);
    const twin moments = room_twin(2 * n, 8), out = room_twin(6 * n, 4), grads = room_twin(2 * n, 4);
    for (int side = HOST; side < SIDES; side++) {
        const ls_batchnorm_kernels *k = side == DEVICE ? &ls_batchnorm_ref_cuda : &ls_batchnorm_ref_f32;
        const ls_statistics statistics = {
            .kind = (int)c->kind, .momentum = 0.1, .channels = n, .values = values.on[side]};
        float *o = out.on[side], *g = grads.on[side];
        double *m = moments.on[side];
        const ls_norm_vectors vectors = {o, o + n, o + 2 * n, o + 3 * n, o + 4 * n, o + 5 * n};
        const ls_batchnorm_cut args = {.purpose = c->purpose,
                                       .statistics = &statistics,
                                       .sums = totals.on[side],
                                       .elements = c->elements,
                                       .eps = 1e-5,
                                       .channels = n,
                                       .gamma = c->affine ? gamma.on[side] : NULL,
                                       .beta = c->affine ? beta.on[side] : NULL,
                                       .mean = m,
                                       .variance = m + n,
                                       .out = vectors};
        k->cut(&args, lane);
        const ls_batchnorm_grad_cut back = {.sums = totals.on[side],
                                            .variance = m + n,
                                            .eps = 1e-5,
                                            .elements = c->elements,
                                            .channels = n,
                                            .gamma = args.gamma,
                                            .out = vectors,
                                            .dgamma = c->affine ? g : NULL,
                                            .dbeta = c->affine ? g + n : NULL};
        k->grad_cut(&back, lane);
    }
    check_twin(&values, "statistics");
    check_twin(&moments, "moments");
    check_twin(&out, "vectors");
    check_twin(&grads, "gradients of scale and shift");
    free_twins();
    free(start);
    free(sums);
}

static void test_batchnorm_cuts(void **state) {
    static const int64_t channels[] = {1, 2, 3, 16, 31, 32, 33, 127, 128, 129, 600};
    const ls_lane lane = emulated_lane();
    (void)state;
    for (size_t i = 0; i < sizeof channels / sizeof *channels; i++)
        for (int p = LS_TRAINING; p <= LS_ATTACKING; p++)
            for (int k = LS_STATISTICS_EXPONENTIAL; k <= LS_STATISTICS_DATASET; k++) {
                set_order((p + k) % ORDERS);
                check_cut(&(cut_case){channels[i], (ls_purpose)p, (ls_statistics_kind)k, (p + k) % 2, 256},
                          &lane);
                check_cut(&(cut_case){channels[i], (ls_purpose)p, (ls_statistics_kind)k, true, 1}, &lane);
            }
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_fused),
        cmocka_unit_test(test_normalised_gradient),
        cmocka_unit_test(test_known_activations),
        cmocka_unit_test(test_batchnorm_sums),
        cmocka_unit_test(test_batchnorm_cuts),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}

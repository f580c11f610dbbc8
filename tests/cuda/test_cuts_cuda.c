/* Cuts of a BatchNorm that the last block of a kernel makes, with the sums: what sums, tree and cut leave
 * that are launched one after the other (which other tests hold against the CPU), to the bit. */
#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "core/vector.h"
#include "layers/batchnorm/batchnorm.h"
#include "layers/batchnorm/statistics.h"
#include "layers/dense/dense.h"
#include "orders.h"
#include "twins.h"

/* HOST of a twin is not used here: one of two copies on the device is of what is launched apart. */
enum { APART, AT_ONCE, WAYS };

typedef struct norm {
    int64_t channels;
    twin values[WAYS], moments[WAYS], out[WAYS], sums[WAYS], totals, scale;
    ls_statistics statistics;
    ls_batchnorm_cut cut;
    ls_batchnorm_grad_cut grad_cut;
} norm;

static void begin_norm(norm *n, int64_t channels, int shards) {
    float *start = malloc((size_t)(8 * channels + 8) * sizeof *start);
    assert_non_null(start);
    for (int64_t i = 0; i < 8 * channels + 8; i++) start[i] = 1 + (float)(i % 13) / 16;
    n->channels = channels;
    for (int w = 0; w < WAYS; w++) {
        n->values[w] = twin_of(start, (size_t)(1 + 3 * channels) * sizeof(double));
        n->moments[w] = twin_of(start, (size_t)(2 * channels) * sizeof(double));
        n->out[w] = room_twin(8 * channels, 4);
        n->sums[w] = room_twin(2 * channels * shards, 8);
    }
    n->totals = room_twin(2 * channels, 8);
    n->scale = random_twin(2 * channels, 2);
    free(start);
}

static void point(norm *n, int way, double elements) {
    const int64_t c = n->channels;
    float *o = n->out[way].on[DEVICE], *g = n->scale.on[DEVICE];
    double *m = n->moments[way].on[DEVICE];
    const ls_norm_vectors vectors = {o, o + c, o + 2 * c, o + 3 * c, o + 4 * c, o + 5 * c};
    n->statistics = (ls_statistics){.kind = LS_STATISTICS_EXPONENTIAL,
                                    .momentum = 0.1,
                                    .channels = c,
                                    .values = n->values[way].on[DEVICE]};
    n->cut = (ls_batchnorm_cut){.purpose = LS_TRAINING,
                                .statistics = &n->statistics,
                                .sums = n->totals.on[DEVICE],
                                .elements = elements,
                                .eps = 1e-5,
                                .channels = c,
                                .gamma = g,
                                .beta = g + c,
                                .mean = m,
                                .variance = m + c,
                                .out = vectors};
    n->grad_cut = (ls_batchnorm_grad_cut){.sums = n->totals.on[DEVICE],
                                          .variance = m + c,
                                          .eps = 1e-5,
                                          .elements = elements,
                                          .channels = c,
                                          .gamma = g,
                                          .out = vectors,
                                          .dgamma = o + 6 * c,
                                          .dbeta = o + 7 * c};
}

/* Tree and cut of the sums that have been taken apart. */
static void finish(norm *n, const ls_shards *shards, bool grad) {
    const ls_lane lane = emulated_lane();
    ls_vector_ref_cuda.tree(shards, 2 * n->channels, n->sums[APART].on[DEVICE], n->totals.on[DEVICE], 0,
                            &lane);
    if (grad)
        ls_batchnorm_ref_cuda.grad_cut(&n->grad_cut, &lane);
    else
        ls_batchnorm_ref_cuda.cut(&n->cut, &lane);
}

static void compare(const twin ways[WAYS], size_t bytes, const char *what) {
    char *apart = malloc(bytes), *at_once = malloc(bytes);
    assert_true(apart && at_once);
    read_device(apart, ways[APART].on[DEVICE], bytes);
    read_device(at_once, ways[AT_ONCE].on[DEVICE], bytes);
    if (memcmp(apart, at_once, bytes) != 0) fail_msg("%s differ", what);
    free(apart);
    free(at_once);
}

static void compare_norms(const norm *n) {
    const size_t c = (size_t)n->channels;
    compare(n->values, (1 + 3 * c) * sizeof(double), "statistics");
    compare(n->moments, 2 * c * sizeof(double), "moments");
    compare(n->out, 8 * c * sizeof(float), "vectors");
}

static const cut whole[] = {{16, 0, 1, 33}, {1, 0, 1, 2}, {4, 0, 1, 3}, {16, 0, 1, 7}, {32, 0, 1, 70}};
enum { WHOLE = sizeof whole / sizeof *whole };

/* The BatchNorm's own sums, of images of one pixel and of more. */
static void test_own_sums(void **state) {
    static const int64_t channels[] = {1, 5, 31, 32, 33, 128, 129, 300}, pixels[] = {1, 1, 6, 20};
    const ls_lane lane = emulated_lane();
    (void)state;
    for (int i = 0; i < 8 * 4; i++) {
        const ls_shards shards = shards_of(&whole[i % WHOLE]);
        const int64_t c = channels[i % 8], p = pixels[i / 8];
        norm n;
        set_order(i % ORDERS);
        begin_twins((uint32_t)i);
        const twin x = random_twin(shards.batch * p * c, 2), dz = random_twin(shards.batch * p * c, 1);
        begin_norm(&n, c, shards.total);
        for (int way = 0; way < WAYS; way++) {
            point(&n, way, (double)(shards.batch * p));
            ls_batchnorm_input in = {.pixels = p, .width = p > 6 ? 5 : p, .channels = c, .x = x.on[DEVICE]};
            if (way == AT_ONCE) in.cut = &n.cut;
            ls_batchnorm_ref_cuda.sums(&in, &shards, 0, shards.count, n.sums[way].on[DEVICE], &lane);
            if (way == APART) finish(&n, &shards, false);
            in.dz = dz.on[DEVICE];
            in.mean = n.cut.out.mean;
            if (way == AT_ONCE) in.grad_cut = &n.grad_cut;
            ls_batchnorm_ref_cuda.grad_sums(&in, &shards, 0, shards.count, n.sums[way].on[DEVICE], &lane);
            if (way == APART) finish(&n, &shards, true);
        }
        compare_norms(&n);
        free_twins();
    }
}

/* Dense layers whose stores take the sums, of y and of dx'. */
static void test_dense(void **state) {
    static const int64_t sizes[] = {1, 4, 31, 32, 33, 64, 100, 130};
    const ls_lane lane = emulated_lane();
    (void)state;
    for (int i = 0; i < 32; i++) {
        const ls_shards shards = shards_of(&whole[i % WHOLE]);
        const int64_t inputs = sizes[i % 8], outputs = sizes[(i * 3 + i / 8) % 8], rows = shards.batch;
        const bool bf16 = i % 2;
        const ls_dense_kernels *k = bf16 ? &ls_dense_bf16_cuda : &ls_dense_cuda;
        norm behind, before;
        set_order(i % ORDERS);
        begin_twins((uint32_t)i + 100);
        const twin x = random_twin(rows * inputs, 2), weight = random_twin(inputs * outputs, 1),
                   dz = random_twin(rows * outputs, 1), mean = random_twin(3 * inputs, 1),
                   y = room_twin(rows * outputs, 4), dx = room_twin(rows * inputs, 4),
                   stored = room_twin(rows * inputs, 4);
        begin_norm(&behind, outputs, shards.total);
        begin_norm(&before, inputs, shards.total);
        for (int way = 0; way < WAYS; way++) {
            const float *m = mean.on[DEVICE];
            point(&behind, way, (double)rows);
            point(&before, way, (double)rows);
            ls_dense_args args = {
                .inputs = inputs,
                .outputs = outputs,
                .weight = weight.on[DEVICE],
                .in = {.pixels = 1,
                       .width = 1,
                       .channels = inputs,
                       .x = x.on[DEVICE],
                       .norm = {m, m + inputs, m + 2 * inputs},
                       .stored = stored.on[DEVICE]},
                .out = {.pixels = 1, .width = 1, .channels = outputs, .sums = behind.sums[way].on[DEVICE]},
                .y = y.on[DEVICE],
                .dy = {.pixels = 1, .channels = outputs, .dz = dz.on[DEVICE]},
                .dx = {.dz = dx.on[DEVICE], .sums = before.sums[way].on[DEVICE]}};
            if (way == AT_ONCE) args.out.cut = &behind.cut, args.dx.cut = &before.grad_cut;
            k->forward(&args, &shards, 0, shards.count, &lane);
            if (way == APART) finish(&behind, &shards, false);
            k->backward(&args, &shards, 0, shards.count, &lane);
            if (way == APART) finish(&before, &shards, true);
        }
        compare_norms(&behind);
        compare_norms(&before);
        free_twins();
    }
}

int main(void) {
    const struct CMUnitTest tests[] = {cmocka_unit_test(test_own_sums), cmocka_unit_test(test_dense)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}

/* The gradients of whole networks in AMX's tier of bf16, on emulated tiles: about as far from those in fp64
 * as AVX-512's are, whose rounding of factors is the same. */
#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>

#include <cmocka.h>

#include "amx/emulated_tiles.h"
#include "graph/replica.h"

enum { SHARDS = 16, BATCH = 40 };

static const network_case networks[] = {
    {"mlp", 9, 9, 7,
     .layers =
         "[{dense: {units: 150}}, batchnorm, relu, {dropout: {rate: 0.3}}, {dense: {units: 131}}, batchnorm, "
         "relu, {dense: {units: 7}}]"},
    {"cnn", 9, 8, 5,
     .layers = "[{conv2d: {channels: 16, pad: 1}}, batchnorm, relu, {conv2d: {channels: 16, pad: 1}}, "
               "batchnorm, relu, "
               "{conv2d: {channels: 64, pad: 1}}, relu, {conv2d: {channels: 32, pad: 1}}, batchnorm, relu, "
               "global_average_pool, {dense: {units: 5}}]"}};

/* The gradient after one step, on one node; the caller's to free. */
static double *gradient_of(const network_case *network, ls_precision precision, ls_instruction_set set,
                           int64_t *count) {
    const ls_backend *backend;
    replica r;
    assert_int_equal(ls_backend_find_for(precision, set, &backend), LS_OK);
    replica_create(&r, network, backend, SHARDS, 0, 1, BATCH);
    replica_plan(&r, LS_TRAINING, true, 2);
    replica_run(&r, BATCH, 1);
    *count = r.network->parameters.total;
    double *gradient = calloc((size_t)*count, sizeof *gradient);
    assert_non_null(gradient);
    for (int64_t i = 0; i < *count; i++)
        gradient[i] = backend->dtype == LS_FP64 ? ((const double *)r.network->parameters.gradient)[i]
                                                : (double)((const float *)r.network->parameters.gradient)[i];
    replica_destroy(&r);
    return gradient;
}

static double distance(const double *a, const double *b, int64_t count) {
    double sum = 0;
    for (int64_t i = 0; i < count; i++) sum += (a[i] - b[i]) * (a[i] - b[i]);
    return sqrt(sum);
}

static void gradients(void **state) {
    (void)state;
    for (size_t i = 0; i < sizeof networks / sizeof *networks; i++) {
        int64_t count;
        double *exact = gradient_of(&networks[i], LS_PRECISION_FP64, LS_PORTABLE, &count);
        double *vectors = gradient_of(&networks[i], LS_PRECISION_BF16, LS_AVX512_BF16, &count);
        double *tiles = gradient_of(&networks[i], LS_PRECISION_BF16, LS_AMX, &count);
        const double rounding = distance(vectors, exact, count), found = distance(tiles, exact, count);
        const double apart = distance(tiles, vectors, count);
        printf("%s: %.3g from fp64, AVX-512 %.3g, apart %.3g\n", networks[i].name, found, rounding, apart);
        assert_true(rounding > 0 && apart > 0);
        assert_true(found < 1.1 * rounding && apart < rounding);
        free(exact), free(vectors), free(tiles);
    }
    assert_true(emulated_tile_products() > 0);
    assert_false(emulated_tiles_in_use());
}

int main(void) {
    const struct CMUnitTest tests[] = {cmocka_unit_test(gradients)};
    if (ls_instruction_set_supported() < LS_AVX512_BF16) return 77; /* skipped */
    return cmocka_run_group_tests(tests, NULL, NULL);
}

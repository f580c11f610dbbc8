/* The update on GPUs against the CPU's, to the bit, and the sums of bits that guard it. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "core/rng.h"
#include "model/optimizer.h"
#include "orders.h"

static const int64_t counts[] = {1,   2,   3,   5,   31,  32,  33,  63,  64,   65,   127,  128,
                                 129, 255, 256, 257, 511, 512, 513, 997, 1023, 4099, 66001};
enum { COUNTS = sizeof counts / sizeof *counts, ARRAYS = 4 }; /* w, g, m, v */

/* Numbers about 1, and for v, whose root is taken, none below 0. */
static void fill(float *x, int64_t count, int array) {
    const ls_rng rng = ls_rng_stream(5, LS_RNG_TEST, 2, 0, (uint32_t)array);
    for (int64_t i = 0; i < count; i++) {
        uint32_t words[4];
        ls_rng_block(&rng, (uint32_t)i, words);
        x[i] = (float)(ls_rng_unit(words[0]) - (array == 3 ? 0 : 0.5));
    }
}

static void check(const ls_optimizer *optimizer, int64_t count, uint64_t step) {
    const size_t size = (size_t)count * sizeof(float);
    const int moments = optimizer->class->moments;
    const ls_update update = ls_optimizer_step(optimizer, 0.01, step, count);
    const ls_backend *cpu;
    float *host[ARRAYS], *got = malloc(size);
    void *device[ARRAYS];
    assert_non_null(got);
    assert_int_equal(ls_backend_find_for(LS_PRECISION_FP32, LS_PORTABLE, &cpu), LS_OK);
    for (int k = 0; k < ARRAYS; k++) {
        assert_non_null(host[k] = malloc(size));
        fill(host[k], count, k);
        device[k] = to_device(host[k], size);
    }
    const ls_lane lane = emulated_lane();
    const ls_bit_sums want =
        optimizer->class->kernels(cpu)->apply(&update, count, host[0], host[1], moments > 0 ? host[2] : NULL,
                                              moments > 1 ? host[3] : NULL, &(ls_lane){0});
    const ls_bit_sums found =
        optimizer->class->kernels(emulated_backend())
            ->apply(&update, count, device[0], device[1], moments > 0 ? device[2] : NULL,
                    moments > 1 ? device[3] : NULL, &lane);
    assert_true((uint32_t)found.before == (uint32_t)want.before &&
                (uint32_t)found.after == (uint32_t)want.after);
    for (int k = 0; k < ARRAYS; k++) {
        read_device(got, device[k], size);
        assert_memory_equal(got, host[k], size);
        assert_true(
            (uint32_t)LS_KERNELS_OF(emulated_backend(), ls_bit_sum_ref)->sum(count, device[k], &lane) ==
            (uint32_t)ls_bit_sum_ref_f32.sum(count, host[k], &(ls_lane){0}));
        free_device(device[k]);
        free(host[k]);
    }
    free(got);
}

static void test_updates(void **state) {
    static const struct {
        const char *name, *words[2];
        double l2_mean, weight_decay;
    } cases[] = {{"sgd", {NULL}, 0, 0},      {"sgd", {NULL}, 0, 0.1},
                 {"momentum", {NULL}, 0, 0}, {"momentum", {"momentum=0.5", "nesterov=true"}, 0.01, 0},
                 {"adamw", {NULL}, 0, 0.1},  {"rmsprop", {"alpha=0.9"}, 0, 0.1},
                 {"adam", {NULL}, 0, 0},     {"adam", {"epsilon_inside=true", "beta1=0.8"}, 0.01, 0.001}};
    (void)state;
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        ls_optimizer optimizer;
        const int words = cases[i].words[0] ? cases[i].words[1] ? 2 : 1 : 0;
        assert_int_equal(ls_optimizer_create(cases[i].name, cases[i].words, words, &optimizer), LS_OK);
        optimizer.l2_mean = cases[i].l2_mean;
        optimizer.weight_decay = cases[i].weight_decay;
        for (int k = 0; k < COUNTS; k++) {
            set_order(k % ORDERS);
            check(&optimizer, counts[k], (uint64_t)k * 37 + 1);
        }
        ls_optimizer_destroy(&optimizer);
    }
}

int main(void) {
    const struct CMUnitTest tests[] = {cmocka_unit_test(test_updates)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}

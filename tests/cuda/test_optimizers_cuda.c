/* The update on GPUs against the CPU's, to the bit, and the sums of bits that guard it. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "core/key_words.h"
#include "core/rng.h"
#include "model/optimizer.h"
#include "orders.h"

static const int64_t counts[] = {1,   2,   3,   5,   31,  32,  33,  63,  64,   65,   127,  128,
                                 129, 255, 256, 257, 511, 512, 513, 997, 1023, 4099, 66001};
enum { COUNTS = sizeof counts / sizeof *counts, ARRAYS = 4 }; /* w, g, m, v */

/* Numbers below 1, and for moments, whose root may be taken, none below 0. */
static void fill(float *x, int64_t count, int array) {
    const ls_rng rng = ls_rng_stream(5, LS_RNG_TEST, 2, 0, (uint32_t)array);
    for (int64_t i = 0; i < count; i++) {
        uint32_t words[4];
        ls_rng_block(&rng, (uint32_t)i, words);
        x[i] = (float)(ls_rng_unit(words[0]) - (array >= 2 ? 0 : 0.5));
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

/* Every optimizer, as it is and with each of its keys at another value. */
static void test_updates(void **state) {
    (void)state;
    for (int o = 0; o < ls_optimizers.count; o++) {
        const ls_key_class *class = ls_optimizers.list[o];
        for (int key = -1; key < class->keys.count; key++) {
            ls_optimizer optimizer;
            key_words own;
            key_words_of(class, key, &own);
            assert_int_equal(ls_optimizer_create(class->name, own.words, own.count, &optimizer), LS_OK);
            if (!optimizer.class->kernels(emulated_backend()))
                fail_msg("optimizer %s: expected it in src/model/optimizers_cuda.h and .cu", class->name);
            optimizer.l2_mean = key % 2 ? 0 : 0.01;
            optimizer.weight_decay = key % 3 ? 0 : 0.1;
            for (int k = 0; k < COUNTS; k++) {
                set_order(k % ORDERS);
                check(&optimizer, counts[k], (uint64_t)k * 37 + 1);
            }
            ls_optimizer_destroy(&optimizer);
        }
    }
}

int main(void) {
    const struct CMUnitTest tests[] = {cmocka_unit_test(test_updates)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}

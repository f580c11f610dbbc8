/* The table of core/vector.h for GPUs against the CPU's, to the bit. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "core/rng.h"
#include "core/vector.h"
#include "orders.h"

static const int64_t counts[] = {0,  1,  2,   3,   5,   7,   16,  31,  32,   33,   63,   64,
                                 65, 97, 127, 128, 129, 255, 256, 257, 1021, 4099, 70001};
enum { COUNTS = sizeof counts / sizeof *counts, MOST = 70001 };

/* Numbers of all sizes, the same at every call. */
static void fill_words(void *to, size_t bytes, uint32_t item) {
    ls_rng rng = ls_rng_stream(3, LS_RNG_TEST, 1, 0, item);
    for (size_t i = 0; i < bytes; i += 16) {
        uint32_t words[4];
        ls_rng_block(&rng, (uint32_t)(i / 16), words);
        memcpy((char *)to + i, words, bytes - i < 16 ? bytes - i : 16);
    }
}

static void fill_floats(float *x, int64_t count, uint32_t item) {
    fill_words(x, (size_t)count * sizeof *x, item);
    for (int64_t i = 0; i < count; i++) {
        uint32_t bits;
        memcpy(&bits, x + i, sizeof bits);
        x[i] = (float)((double)(int32_t)bits * 0x1p-28);
    }
}

static void fill_doubles(double *x, int64_t count, uint32_t item) {
    fill_words(x, (size_t)count * sizeof *x, item);
    for (int64_t i = 0; i < count; i++) {
        int64_t bits;
        memcpy(&bits, x + i, sizeof bits);
        x[i] = (double)bits * 0x1p-60;
    }
}

static void *memory(size_t size) {
    void *m = calloc(1, size > 0 ? size : 1);
    assert_non_null(m);
    return m;
}

/* --- the tree --------------------------------------------------------------------------------------------- */

static void check_tree(const ls_shards *shards, int64_t length, int64_t stride) {
    const size_t leaves = (size_t)(shards->count * length), all = (size_t)(shards->node_count * stride);
    double *sums = memory(leaves * sizeof *sums), *want = memory(all * sizeof *want),
           *got = memory(all * sizeof *got), *used = memory(leaves * sizeof *used);
    fill_doubles(sums, (int64_t)leaves, (uint32_t)length);
    const ls_lane lane = emulated_lane();
    for (int i = 0; i < ORDERS; i++) {
        set_order(i);
        void *device_sums = to_device(sums, leaves * sizeof *sums),
             *nodes = to_device(got, all * sizeof *got);
        ls_vector_ref_cuda.tree(shards, length, device_sums, nodes, stride, &lane);
        memcpy(used, sums, leaves * sizeof *sums);
        ls_vector_ref_f32.tree(shards, length, used, want, stride, &(ls_lane){0});
        read_device(got, nodes, all * sizeof *got);
        assert_memory_equal(got, want, all * sizeof *want);
        memset(got, 0, all * sizeof *got);
        free_device(device_sums);
        free_device(nodes);
    }
    free(sums);
    free(want);
    free(got);
    free(used);
}

static void test_tree(void **state) {
    static const int64_t lengths[] = {1, 2, 31, 32, 33, 64, 65, 257};
    static const struct {
        int total, rank, size;
    } cuts[] = {{1, 0, 1},  {2, 0, 1},  {16, 0, 1},  {16, 1, 3},
                {16, 2, 5}, {16, 7, 8}, {256, 0, 1}, {64, 1, 3}};
    (void)state;
    for (size_t i = 0; i < sizeof cuts / sizeof *cuts; i++)
        for (size_t k = 0; k < sizeof lengths / sizeof *lengths; k++) {
            ls_shards shards;
            assert_int_equal(ls_shards_create(&shards, cuts[i].total, cuts[i].rank, cuts[i].size, 1000),
                             LS_OK);
            check_tree(&shards, lengths[k], lengths[k]);
            check_tree(&shards, lengths[k], lengths[k] + 3);
        }
}

/* --- element by element ----------------------------------------------------------------------------------- */

static void check_elements(bool wide, int64_t count) {
    const ls_vector_kernels *cpu = wide ? &ls_vector_ref_f64 : &ls_vector_ref_f32,
                            *gpu = wide ? &ls_vector_doubles_cuda : &ls_vector_ref_cuda;
    const size_t size = (size_t)count * (wide ? 8 : 4);
    const ls_lane lane = emulated_lane();
    char *x = memory(size), *y = memory(size), *want = memory(size), *got = memory(size);
    wide ? fill_doubles((double *)x, count, 1) : fill_floats((float *)x, count, 1);
    wide ? fill_doubles((double *)y, count, 2) : fill_floats((float *)y, count, 2);
    void *a = to_device(x, size), *b = to_device(y, size);
    gpu->add(count, a, b, &lane);
    memcpy(want, y, size);
    cpu->add(count, x, want, &(ls_lane){0});
    read_device(got, b, size);
    assert_memory_equal(got, want, size);
    gpu->copy(size, a, b, &lane);
    read_device(got, b, size);
    assert_memory_equal(got, x, size);
    assert_true(gpu->bits(count, a, 12345, &lane) == cpu->bits(count, x, 12345, &(ls_lane){0}));
    assert_true(gpu->finite(count, a, &lane));
    gpu->fill(count, 0.1, b, &lane);
    cpu->fill(count, 0.1, want, &(ls_lane){0});
    read_device(got, b, size);
    assert_memory_equal(got, want, size);
    free_device(a);
    free_device(b);
    free(x);
    free(y);
    free(want);
    free(got);
}

static void test_elements(void **state) {
    (void)state;
    for (int i = 0; i < COUNTS; i++) {
        set_order(i % ORDERS);
        check_elements(false, counts[i]);
        check_elements(true, counts[i]);
    }
}

/* A number that is not finite is found wherever it stands, and no other is taken for one. */
static void test_finite(void **state) {
    static const uint32_t bad[] = {0x7f800000u, 0xff800000u, 0x7fc00000u, 0x7f800001u},
                          good[] = {0x7f7fffffu, 0xff7fffffu, 0x80000000u, 1u};
    const ls_lane lane = emulated_lane();
    (void)state;
    for (int64_t at = 0; at < 600; at += 37)
        for (size_t k = 0; k < 4; k++) {
            float x[600] = {0};
            memcpy(x + at, &good[k], sizeof *x);
            void *a = to_device(x, sizeof x);
            assert_true(ls_vector_ref_cuda.finite(600, a, &lane));
            free_device(a);
            memcpy(x + at, &bad[k], sizeof *x);
            a = to_device(x, sizeof x);
            assert_false(ls_vector_ref_cuda.finite(600, a, &lane));
            free_device(a);
        }
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_tree),
        cmocka_unit_test(test_elements),
        cmocka_unit_test(test_finite),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}

/* The kernels of core/vector.h in every tier that this processor has, beside loops that look at one number at a
 * time. The tree is in test_shards.c. */
#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

#include "core/vector.h"

enum { COUNT = 67 }; /* no multiple of any width */

typedef struct tier {
    const ls_vector_kernels *kernels;
    ls_instruction_set set;
    bool fp64;
} tier;

static const tier tiers[] = {
    {&ls_vector_ref_f32, LS_PORTABLE, false},
    {&ls_vector_ref_f64, LS_PORTABLE, true},
#ifdef __x86_64__
    {&ls_vector_ref_avx2, LS_AVX2, false},
    {&ls_vector_ref_avx512, LS_AVX512, false},
#endif
};

typedef union numbers {
    float fp32[COUNT];
    double fp64[COUNT];
} numbers;

static void put(const tier *t, numbers *x, int i, double value) {
    if (t->fp64)
        x->fp64[i] = value;
    else
        x->fp32[i] = (float)value;
}

static double get(const tier *t, const numbers *x, int i) {
    return t->fp64 ? x->fp64[i] : (double)x->fp32[i];
}

static uint64_t bits(const tier *t, const numbers *x, int i) {
    uint64_t wide = 0;
    if (t->fp64)
        memcpy(&wide, &x->fp64[i], sizeof x->fp64[i]);
    else
        memcpy(&wide, &x->fp32[i], sizeof x->fp32[i]); /* little-endian */
    return wide;
}

static void fill(const tier *t, numbers *x) {
    for (int i = 0; i < COUNT; i++) put(t, x, i, (i * 37 % 101 - 50) * 0.375);
}

static void check_finite(const tier *t) {
    const double bad[] = {(double)INFINITY, -(double)INFINITY, (double)NAN};
    numbers x;
    fill(t, &x);
    put(t, &x, 3, t->fp64 ? 1.7976931348623157e308 : 3.4028234663852886e38);
    put(t, &x, 4, -0.0);
    assert_true(t->kernels->finite(COUNT, &x, NULL));
    assert_true(t->kernels->finite(0, NULL, NULL));
    for (int i = 0; i < COUNT; i++)
        for (int k = 0; k < 3; k++) {
            const double was = get(t, &x, i);
            put(t, &x, i, bad[k]);
            assert_false(t->kernels->finite(COUNT, &x, NULL));
            put(t, &x, i, was);
        }
}

static void check_bits(const tier *t) {
    numbers x;
    uint64_t expected = 0;
    fill(t, &x);
    for (int i = 0; i < COUNT; i++) expected += (2 * (uint64_t)(1000 + i) + 1) * bits(t, &x, i);
    assert_true(t->kernels->bits(COUNT, &x, 1000, NULL) == expected);
    for (int i = 0; i < COUNT; i++) { /* also bits that carry out at the top, and two that swap places */
        unsigned char *byte = (unsigned char *)&x + (size_t)i * (t->fp64 ? 8 : 4) + (t->fp64 ? 7 : 3);
        *byte ^= 0x80;
        assert_true(t->kernels->bits(COUNT, &x, 1000, NULL) != expected);
        *byte ^= 0x80;
    }
    const double first = get(t, &x, 0), second = get(t, &x, 1);
    put(t, &x, 0, second);
    put(t, &x, 1, first);
    assert_true(t->kernels->bits(COUNT, &x, 1000, NULL) != expected);
}

static void check_arithmetic(const tier *t) {
    numbers x, y;
    fill(t, &x);
    t->kernels->fill(COUNT, 0.25, &y, NULL);
    for (int i = 0; i < COUNT; i++) assert_true(get(t, &y, i) == 0.25);
    t->kernels->add(COUNT - 1, &x, &y, NULL);
    for (int i = 0; i < COUNT; i++) assert_true(get(t, &y, i) == 0.25 + (i < COUNT - 1 ? get(t, &x, i) : 0));
    t->kernels->copy(sizeof x, &x, &y, NULL);
    assert_memory_equal(&x, &y, sizeof x);
}

static void test_tiers(void **unused) {
    (void)unused;
    for (size_t i = 0; i < sizeof tiers / sizeof *tiers; i++) {
        if (tiers[i].set > ls_instruction_set_supported()) continue;
        check_finite(&tiers[i]);
        check_bits(&tiers[i]);
        check_arithmetic(&tiers[i]);
    }
}

int main(void) {
    const struct CMUnitTest tests[] = {cmocka_unit_test(test_tiers)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}

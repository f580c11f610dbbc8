/* Every optimizer against its formula (formulas.c), and what all of them keep to. */
#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "core/key_words.h"
#include "core/rng.h"
#include "model/formulas.h"

enum { STEPS = 30, PARAMETERS = 4, NODES = 3 };

static const double lr = 0.02;

/* Every optimizer: as it is, with decay, and with each of its keys at another value. */
enum { CASES_MAX = 64 };
static ls_optimizer optimizers[CASES_MAX];
static int optimizer_count;

static int add_optimizer(const ls_key_class *class, int key, double l2_mean, double weight_decay) {
    key_words own;
    if (optimizer_count == CASES_MAX) return -1;
    ls_optimizer *o = &optimizers[optimizer_count];
    key_words_of(class, key, &own);
    if (ls_optimizer_create(class->name, own.words, own.count, o) != LS_OK) return -1;
    o->l2_mean = l2_mean;
    o->weight_decay = weight_decay;
    optimizer_count++;
    return 0;
}

static int create_optimizers(void **state) {
    (void)state;
    for (int i = 0; i < ls_optimizers.count; i++) {
        const ls_key_class *class = ls_optimizers.list[i];
        if (add_optimizer(class, -1, 0, 0) != 0 || add_optimizer(class, -1, 0.5, 0.01) != 0) return -1;
        for (int k = 0; k < class->keys.count; k++)
            if (add_optimizer(class, k, 0, k % 2 ? 0.1 : 0) != 0) return -1;
    }
    return 0;
}

static int destroy_optimizers(void **state) {
    (void)state;
    for (int i = 0; i < optimizer_count; i++) ls_optimizer_destroy(&optimizers[i]);
    return 0;
}

/* Gradients of both regions, summed over nodes and not, and sizes that leave padding. */
static void create(ls_parameters *p, ls_dtype dtype, int moments) {
    static const int64_t shapes[PARAMETERS][2] = {{7, 5}, {3, 1}, {17, 1}, {5, 1}};
    static const bool summed[PARAMETERS] = {true, false, true, false};
    const ls_backend *backend;
    *p = (ls_parameters){0};
    assert_int_equal(ls_backend_find(dtype, &backend), LS_OK);
    for (int i = 0; i < PARAMETERS; i++) {
        char layer[8];
        int index;
        snprintf(layer, sizeof layer, "%d", i);
        assert_int_equal(ls_parameters_add(p, layer, "weight", i == 0 ? LS_LAYOUT_DENSE : LS_LAYOUT_VECTOR,
                                           i == 0 ? 2 : 1, shapes[i], summed[i], &index),
                         LS_OK);
    }
    assert_int_equal(ls_parameters_allocate(p, backend, moments, NODES), LS_OK);
    assert_int_equal(p->elements, 60);
}

static void put(const ls_parameters *p, void *arena, int64_t at, double value) {
    if (p->backend->dtype == LS_FP64)
        ((double *)arena)[at] = value;
    else
        ((float *)arena)[at] = (float)value;
}

static double get(const ls_parameters *p, const void *arena, int64_t at) {
    return p->backend->dtype == LS_FP64 ? ((const double *)arena)[at] : (double)((const float *)arena)[at];
}

/* A number that fp32 holds exactly. */
static double number(uint32_t step, int64_t i) {
    ls_rng rng = ls_rng_stream(3, LS_RNG_TEST, 0, step, (uint32_t)i);
    uint32_t words[4];
    ls_rng_block(&rng, 0, words);
    return (double)(float)(2 * ls_rng_unit(words[0]) - 1);
}

/* The gradients of a step where the update looks for them. Those before the sum over nodes hold what must not
 * be read. */
static void set_gradients(ls_parameters *p, uint32_t step) {
    for (int64_t i = 0; i < NODES * p->summed + p->total - p->summed; i++)
        put(p, p->gradient, i, (double)NAN);
    for (int64_t i = 0; i < p->total; i++) put(p, p->reduced, i, 0);
    for (int k = 0; k < p->count; k++)
        for (int64_t i = 0; i < p->list[k].count; i++)
            put(p, p->reduced, p->list[k].offset + i, number(step, 1000 * k + i));
}

static void set_values(ls_parameters *p) {
    for (int k = 0; k < p->count; k++)
        for (int64_t i = 0; i < p->list[k].count; i++)
            put(p, p->value, p->list[k].offset + i, number(0, 1000 * k + i));
}

/* --- the formulas ---------------------------------------------------------------------------------- */

typedef struct one {
    double w, m, v;
} one;

static void step_all(const ls_optimizer *o, ls_parameters *p, uint32_t t) {
    ls_update update = ls_optimizer_step(o, lr, t, p->elements);
    set_gradients(p, t);
    ls_optimizer_apply(&update, p, 0, p->total);
}

static void check_formula(int index, ls_dtype dtype) {
    const ls_optimizer *o = &optimizers[index];
    /* a step rounds w and its moments a few times each; fp32's steps move w by at most about lr */
    const double tolerance = dtype == LS_FP64 ? 1e-13 : STEPS * 8 * 0x1p-24;
    ls_parameters p;
    one expected[PARAMETERS][40] = {0};
    create(&p, dtype, o->class->moments);
    set_values(&p);
    for (int k = 0; k < p.count; k++)
        for (int64_t i = 0; i < p.list[k].count; i++) expected[k][i].w = number(0, 1000 * k + i);
    for (uint32_t t = 1; t <= STEPS; t++) {
        step_all(o, &p, t);
        for (int k = 0; k < p.count; k++)
            for (int64_t i = 0; i < p.list[k].count; i++) {
                one *x = &expected[k][i];
                const double g = number(t, 1000 * k + i);
                x->w -= lr * formula_direction(o, t, 60, x->w, g, &x->m, &x->v);
                double w = get(&p, p.value, p.list[k].offset + i);
                if (!(fabs(w - x->w) <= tolerance * fmax(1, fabs(x->w))))
                    fail_msg("%s, case %d, step %u, %s[%lld]: %.17g, expected %.17g", o->class->choice.name,
                             index, (unsigned)t, p.list[k].name, (long long)i, w, x->w);
            }
    }
    ls_parameters_destroy(&p);
}

static void test_formulas(void **state) {
    (void)state;
    for (int i = 0; i < optimizer_count; i++) {
        check_formula(i, LS_FP64);
        check_formula(i, LS_FP32);
    }
}

/* Padding stays 0: whatever sums or hashes an arena as a whole relies on it. */
static void test_padding(void **state) {
    (void)state;
    for (int i = 0; i < optimizer_count; i++) {
        ls_parameters p;
        int64_t used = 0;
        create(&p, LS_FP32, optimizers[i].class->moments);
        set_values(&p);
        for (uint32_t t = 1; t <= 3; t++) step_all(&optimizers[i], &p, t);
        for (int64_t at = 0; at < p.total; at++) {
            bool padding = true;
            for (int k = 0; k < p.count; k++)
                if (at >= p.list[k].offset && at < p.list[k].offset + p.list[k].count) padding = false;
            if (padding) assert_true(get(&p, p.value, at) == 0);
            if (!padding) used++;
        }
        assert_int_equal(used, p.elements);
        ls_parameters_destroy(&p);
    }
}

/* Any cut of the arena into calls gives the same bits. */
static void test_splits(void **state) {
    (void)state;
    for (int i = 0; i < optimizer_count; i++)
        for (int parts = 2; parts <= 9; parts++) {
            int moments = optimizers[i].class->moments;
            ls_parameters whole, split;
            create(&whole, LS_FP32, moments);
            create(&split, LS_FP32, moments);
            set_values(&whole);
            set_values(&split);
            for (uint32_t t = 1; t <= 3; t++) {
                step_all(&optimizers[i], &whole, t);
                ls_update update = ls_optimizer_step(&optimizers[i], lr, t, split.elements);
                set_gradients(&split, t);
                for (int part = parts - 1; part >= 0; part--)
                    ls_optimizer_apply(&update, &split, split.total * part / parts,
                                       split.total * (part + 1) / parts);
            }
            size_t size = (size_t)whole.total * sizeof(float);
            assert_memory_equal(whole.value, split.value, size);
            if (moments > 0) assert_memory_equal(whole.moment1, split.moment1, size);
            if (moments > 1) assert_memory_equal(whole.moment2, split.moment2, size);
            ls_parameters_destroy(&whole);
            ls_parameters_destroy(&split);
        }
}

static void test_one_node(void **state) {
    ls_parameters p;
    const ls_backend *backend;
    int64_t three = 3;
    int index;
    (void)state;
    p = (ls_parameters){0};
    assert_int_equal(ls_backend_find(LS_FP64, &backend), LS_OK);
    assert_int_equal(ls_parameters_add(&p, "0", "weight", LS_LAYOUT_VECTOR, 1, &three, false, &index), LS_OK);
    assert_int_equal(ls_parameters_allocate(&p, backend, 0, 1), LS_OK);
    assert_int_equal(p.summed, 0); /* nothing is summed over nodes here */
    put(&p, ls_parameter_gradient(&p, &p.list[0]), 2, 4);
    ls_optimizer sgd;
    assert_int_equal(ls_optimizer_create("sgd", NULL, 0, &sgd), LS_OK);
    ls_update update = ls_optimizer_step(&sgd, 0.5, 1, 3);
    ls_optimizer_apply(&update, &p, 0, p.total);
    assert_true(get(&p, p.value, 2) == -2);
    ls_optimizer_destroy(&sgd);
    ls_parameters_destroy(&p);
}

/* Every tier gives the bits of the portable kernels, for any number of elements. */
static void test_tiers(void **state) {
    enum { MOST = 70 };
    (void)state;
    for (int o = 0; o < optimizer_count; o++)
        for (int set = LS_PORTABLE; set <= (int)ls_instruction_set_supported(); set++) {
            const ls_backend *backend, *plain;
            assert_int_equal(ls_backend_find_for(LS_PRECISION_FP32, (ls_instruction_set)set, &backend),
                             LS_OK);
            assert_int_equal(ls_backend_find_for(LS_PRECISION_FP32, LS_PORTABLE, &plain), LS_OK);
            const ls_update_kernels *portable = optimizers[o].class->kernels(plain);
            if (set >= LS_AVX2) assert_ptr_not_equal(portable, optimizers[o].class->kernels(backend));
            const ls_update update = ls_optimizer_step(&optimizers[o], 0.05, 3, 1000);
            for (int count = 0; count <= MOST; count++) {
                float want[4][MOST + 1], got[4][MOST + 1]; /* w, g, m, v and one element that is nobody's */
                for (int k = 0; k < 4; k++)
                    for (int i = 0; i <= MOST; i++) {
                        const float x = (float)number(5 + (uint32_t)k, i);
                        want[k][i] = got[k][i] = k < 2 ? x : x * x; /* no root of a number below 0 */
                    }
                portable->apply(&update, count, want[0], want[1], want[2], want[3], &(ls_lane){0});
                update.class->kernels(backend)->apply(&update, count, got[0], got[1], got[2], got[3],
                                                      &(ls_lane){0});
                assert_memory_equal(got, want, sizeof want);
            }
        }
}

/* What a program in C may get wrong. */
static void test_creation(void **state) {
    static const char *const unknown[] = {"beta1=0.5"}, *const wrong[] = {"momentum=1"};
    ls_optimizer made;
    (void)state;
    assert_int_equal(ls_optimizer_create("no_such", NULL, 0, &made), LS_USAGE);
    assert_string_equal(ls_error_message(), "unknown optimizer 'no_such'");
    ls_optimizer_destroy(&made);
    assert_int_equal(ls_optimizer_create("momentum", unknown, 1, &made), LS_USAGE);
    assert_string_equal(ls_error_message(), "optimizer momentum: unknown setting beta1=0.5");
    assert_int_equal(ls_optimizer_create("momentum", wrong, 1, &made), LS_USAGE);
    assert_non_null(strstr(ls_error_message(), "momentum: out of range"));
    ls_optimizer_destroy(&made);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_tiers),  cmocka_unit_test(test_formulas), cmocka_unit_test(test_padding),
        cmocka_unit_test(test_splits), cmocka_unit_test(test_one_node), cmocka_unit_test(test_creation),
    };
    return cmocka_run_group_tests(tests, create_optimizers, destroy_optimizers);
}

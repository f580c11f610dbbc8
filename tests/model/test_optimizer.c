/* Optimizers against their formulas, written as the papers have them, in double. */
#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "core/rng.h"
#include "model/optimizer.h"

enum { STEPS = 30, PARAMETERS = 4, NODES = 3 };

static const double lr = 0.02;

typedef struct one_settings {
    double momentum, beta1, beta2, epsilon;
    bool inside, nesterov;
} one_settings;

static const struct {
    const char *name, *words[4];
    double l2_mean, weight_decay;
    one_settings is; /* what the words say, and the defaults of what they do not */
} cases[] = {
    {"sgd", {NULL}, 0, 0, {.momentum = 0}},
    {"sgd", {NULL}, 0.5, 0.01, {.momentum = 0}},
    {"momentum", {NULL}, 0, 0, {.momentum = 0.9}},
    {"momentum", {"momentum=0.5"}, 0, 0.1, {.momentum = 0.5}},
    {"momentum", {"nesterov=true"}, 0, 0.1, {.momentum = 0.9, .nesterov = true}},
    {"rmsprop", {NULL}, 0, 0.01, {.beta2 = 0.99, .epsilon = 1e-8}},
    {"rmsprop", {"alpha=0.5", "epsilon=1e-3"}, 0, 0, {.beta2 = 0.5, .epsilon = 1e-3}},
    {"adamw", {NULL}, 0, 0, {.beta1 = 0.9, .beta2 = 0.999, .epsilon = 1e-8}},
    {"adamw", {"beta1=0.5", "epsilon=1e-3"}, 0.5, 0.1, {.beta1 = 0.5, .beta2 = 0.999, .epsilon = 1e-3}},
    {"adam", {NULL}, 0, 0, {.beta1 = 0.9, .beta2 = 0.999, .epsilon = 1e-8}},
    {"adam",
     {"epsilon_inside=true"},
     0.5,
     0,
     {.beta1 = 0.9, .beta2 = 0.999, .epsilon = 1e-8, .inside = true}},
    {"adam",
     {"beta1=0.5", "beta2=0.9", "epsilon=1e-3"},
     0,
     0.01,
     {.beta1 = 0.5, .beta2 = 0.9, .epsilon = 1e-3}},
};
enum { OPTIMIZERS = sizeof cases / sizeof *cases };
static ls_optimizer optimizers[OPTIMIZERS];

static int create_optimizers(void **state) {
    (void)state;
    for (int i = 0; i < OPTIMIZERS; i++) {
        int count = 0;
        while (count < 4 && cases[i].words[count]) count++;
        if (ls_optimizer_create(cases[i].name, cases[i].words, count, &optimizers[i]) != LS_OK) return -1;
        optimizers[i].l2_mean = cases[i].l2_mean;
        optimizers[i].weight_decay = cases[i].weight_decay;
    }
    return 0;
}

static int destroy_optimizers(void **state) {
    (void)state;
    for (int i = 0; i < OPTIMIZERS; i++) ls_optimizer_destroy(&optimizers[i]);
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

static void formula(int i, uint32_t t, double parameters, double g, one *x) {
    const one_settings *o = &cases[i].is;
    const bool apart = strcmp(cases[i].name, "adamw") == 0;
    g += 2 * cases[i].l2_mean / parameters * x->w + (apart ? 0 : cases[i].weight_decay * x->w);
    if (strcmp(cases[i].name, "sgd") == 0) {
        x->w = x->w - lr * g;
        return;
    }
    if (strcmp(cases[i].name, "momentum") == 0) {
        x->m = o->momentum * x->m + g;
        x->w = x->w - lr * (o->nesterov ? g + o->momentum * x->m : x->m);
        return;
    }
    if (strcmp(cases[i].name, "rmsprop") == 0) {
        x->v = o->beta2 * x->v + (1 - o->beta2) * g * g;
        x->w -= lr * g / (sqrt(x->v) + o->epsilon);
        return;
    }
    if (apart) x->w *= 1 - lr * cases[i].weight_decay;
    x->m = o->beta1 * x->m + (1 - o->beta1) * g;
    x->v = o->beta2 * x->v + (1 - o->beta2) * g * g;
    double m = x->m / (1 - pow(o->beta1, t)), v = x->v / (1 - pow(o->beta2, t));
    x->w -= lr * m / (o->inside ? sqrt(v + o->epsilon) : sqrt(v) + o->epsilon);
}

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
                formula(index, t, 60, number(t, 1000 * k + i), x);
                double w = get(&p, p.value, p.list[k].offset + i);
                if (!(fabs(w - x->w) <= tolerance * fmax(1, fabs(x->w))))
                    fail_msg("optimizer %d, step %u, %s[%lld]: %.17g, expected %.17g", index, (unsigned)t,
                             p.list[k].name, (long long)i, w, x->w);
            }
    }
    ls_parameters_destroy(&p);
}

static void test_formulas(void **state) {
    (void)state;
    for (int i = 0; i < OPTIMIZERS; i++) {
        check_formula(i, LS_FP64);
        check_formula(i, LS_FP32);
    }
}

/* Padding stays 0: whatever sums or hashes an arena as a whole relies on it. */
static void test_padding(void **state) {
    (void)state;
    for (int i = 0; i < OPTIMIZERS; i++) {
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
    for (int i = 0; i < OPTIMIZERS; i++)
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
    ls_update update = ls_optimizer_step(&optimizers[0], 0.5, 1, 3);
    ls_optimizer_apply(&update, &p, 0, p.total);
    assert_true(get(&p, p.value, 2) == -2);
    ls_parameters_destroy(&p);
}

/* Every tier gives the bits of the portable kernels, for any number of elements. */
static void test_tiers(void **state) {
    enum { MOST = 70 };
    (void)state;
    for (int o = 0; o < OPTIMIZERS; o++)
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
                        want[k][i] = got[k][i] = k < 3 ? x : x * x; /* v is not negative */
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
    assert_int_equal(ls_optimizer_create("adagrad", NULL, 0, &made), LS_USAGE);
    assert_string_equal(ls_error_message(), "unknown optimizer 'adagrad'");
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

/* The state of a model: PyTorch's names, shapes and layouts, the way out and back, and what a fingerprint
 * depends on. */
#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <string.h>

#include <cmocka.h>

#include "layers/batchnorm/statistics.h"
#include "model/state.h"

enum { DENSE, DENSE_BIAS, CONV, SCALE, PARAMETERS };

/* What a model of these tests differs in; all zero: the usual one. */
typedef struct variant {
    const char *first_name;
    bool other_shape; /* of a vector: [5][1] for [5] */
} variant;

static void create(ls_parameters *p, ls_dtype dtype, int moments, const variant *v) {
    static const int64_t dense[] = {5, 3}, conv[] = {4, 2, 3, 2}, vector[] = {5, 1}, channels = 3;
    const ls_backend *backend;
    const char *first = v && v->first_name ? v->first_name : "0";
    int index;
    *p = (ls_parameters){0};
    assert_int_equal(ls_backend_find(dtype, &backend), LS_OK);
    assert_int_equal(ls_parameters_add(p, first, "weight", LS_LAYOUT_DENSE, 2, dense, true, &index), LS_OK);
    assert_int_equal(ls_parameters_add(p, first, "bias", LS_LAYOUT_VECTOR, v && v->other_shape ? 2 : 1,
                                       vector, true, &index),
                     LS_OK);
    assert_int_equal(ls_parameters_add(p, "conv", "weight", LS_LAYOUT_CONV2D, 4, conv, true, &index), LS_OK);
    assert_int_equal(ls_parameters_add(p, "2", "weight", LS_LAYOUT_VECTOR, 1, &channels, false, &index),
                     LS_OK);
    assert_int_equal(ls_parameters_add_statistics(p, "2", LS_STATISTICS_EXPONENTIAL, 0.1, channels, &index),
                     LS_OK);
    assert_int_equal(ls_parameters_allocate(p, backend, moments, 2), LS_OK);
}

static void put(const ls_parameters *p, void *arena, int64_t at, double value) {
    if (p->backend->dtype == LS_FP64)
        ((double *)arena)[at] = value;
    else
        ((float *)arena)[at] = (float)value;
}

static double get(ls_dtype dtype, const void *from, int64_t at) {
    return dtype == LS_FP64 ? ((const double *)from)[at] : (double)((const float *)from)[at];
}

/* Different numbers everywhere but in the padding. */
static void fill(ls_parameters *p) {
    void *arenas[] = {p->value, p->moment1, p->moment2};
    for (int a = 0; a < 3; a++)
        for (int k = 0; arenas[a] && k < p->count; k++)
            for (int64_t i = 0; i < p->list[k].count; i++)
                put(p, arenas[a], p->list[k].offset + i, 1000 * a + 100 * k + (double)i + 0.25);
    for (int i = 0; i < p->statistics_count; i++)
        for (int64_t k = 0; k < 1 + 3 * p->statistics[i].channels; k++)
            p->statistics[i].values[k] = (double)k + 3;
}

static const ls_record *record(const ls_state *state, const char *path) {
    for (int i = 0; i < state->count; i++)
        if (strcmp(state->records[i].path, path) == 0) return &state->records[i];
    fail_msg("no record %s", path);
    return NULL;
}

static uint64_t fingerprint(const ls_parameters *p, uint64_t step) {
    ls_state state;
    assert_int_equal(ls_state_create(p, &state), LS_OK);
    ls_state_export(p, &state);
    uint64_t hash = ls_state_fingerprint(&state, step);
    ls_state_destroy(&state);
    ls_state_destroy(&state);
    return hash;
}

/* --- names, shapes, layouts ------------------------------------------------------------------------ */

static void test_names(void **unused) {
    static const char *const expected[] = {
        "model/0.weight",
        "model/0.bias",
        "model/conv.weight",
        "model/2.weight",
        "model/2.running_mean",
        "model/2.running_var",
        "model/2.num_batches_tracked",
        "optimizer/m/0.weight",
        "optimizer/m/0.bias",
        "optimizer/m/conv.weight",
        "optimizer/m/2.weight",
        "optimizer/v/0.weight",
        "optimizer/v/0.bias",
        "optimizer/v/conv.weight",
        "optimizer/v/2.weight",
        "batchnorm/2",
    };
    ls_parameters p;
    ls_state state;
    (void)unused;
    create(&p, LS_FP32, 2, NULL);
    assert_int_equal(ls_state_create(&p, &state), LS_OK);
    assert_int_equal(state.count, sizeof expected / sizeof *expected);
    for (int i = 0; i < state.count; i++) assert_string_equal(state.records[i].path, expected[i]);
    const ls_record *conv = record(&state, "model/conv.weight");
    assert_int_equal(conv->dims, 4);
    assert_int_equal(conv->shape[0], 4); /* outputs, inputs, height, width */
    assert_int_equal(conv->shape[1], 2);
    assert_int_equal(conv->shape[2], 3);
    assert_int_equal(conv->shape[3], 2);
    assert_int_equal(conv->type, LS_RECORD_F32);
    assert_int_equal(record(&state, "batchnorm/2")->type, LS_RECORD_F64);
    assert_int_equal(record(&state, "model/2.num_batches_tracked")->dims, 0);
    ls_state_destroy(&state);
    ls_parameters_destroy(&p);
}

static void check_layouts(ls_dtype dtype) {
    ls_parameters p;
    ls_state state;
    create(&p, dtype, 2, NULL);
    fill(&p);
    assert_int_equal(ls_state_create(&p, &state), LS_OK);
    ls_state_export(&p, &state);
    const void *dense = record(&state, "model/0.weight")->data,
               *m = record(&state, "optimizer/m/0.weight")->data;
    for (int64_t k = 0; k < 5; k++)
        for (int64_t c = 0; c < 3; c++) { /* [outputs][inputs] from [inputs][outputs] */
            assert_true(get(dtype, dense, k * 3 + c) == (double)(c * 5 + k) + 0.25);
            assert_true(get(dtype, m, k * 3 + c) == 1000 + (double)(c * 5 + k) + 0.25);
        }
    const void *conv = record(&state, "model/conv.weight")->data;
    for (int64_t k = 0; k < 4; k++)
        for (int64_t c = 0; c < 2; c++)
            for (int64_t u = 0; u < 3; u++)
                for (int64_t v = 0; v < 2; v++) /* [k][c][u][v] from [u][v][c][k] */
                    assert_true(get(dtype, conv, ((k * 2 + c) * 3 + u) * 2 + v) ==
                                100 * CONV + (double)(((u * 2 + v) * 2 + c) * 4 + k) + 0.25);
    for (int64_t i = 0; i < 3; i++) {
        double mean, variance;
        ls_statistics_evaluate(&p.statistics[0], i, &mean, &variance);
        assert_true(get(dtype, record(&state, "model/2.running_mean")->data, i) == mean);
        assert_true(get(dtype, record(&state, "model/2.running_var")->data, i) == variance);
    }
    assert_int_equal(*(const int64_t *)record(&state, "model/2.num_batches_tracked")->data, 3);
    ls_state_destroy(&state);
    ls_parameters_destroy(&p);
}

static void test_layouts(void **unused) {
    (void)unused;
    check_layouts(LS_FP32);
    check_layouts(LS_FP64);
}

/* --- there and back -------------------------------------------------------------------------------- */

static void test_round_trip(void **unused) {
    (void)unused;
    for (int dtype = LS_FP32; dtype <= LS_FP64; dtype++)
        for (int moments = 0; moments <= 2; moments++) {
            ls_parameters from, to;
            ls_state state;
            create(&from, (ls_dtype)dtype, moments, NULL);
            create(&to, (ls_dtype)dtype, moments, NULL);
            fill(&from);
            assert_int_equal(ls_state_create(&from, &state), LS_OK);
            ls_state_export(&from, &state);
            ls_state_import(&to, &state);
            size_t size = (size_t)from.total * ls_dtype_size((ls_dtype)dtype);
            assert_memory_equal(to.value, from.value, size);
            if (moments > 0) assert_memory_equal(to.moment1, from.moment1, size);
            if (moments > 1) assert_memory_equal(to.moment2, from.moment2, size);
            assert_memory_equal(to.statistics[0].values, from.statistics[0].values, 10 * sizeof(double));
            assert_int_equal(ls_replica_hash(&to, 1), ls_replica_hash(&from, 1));
            assert_int_equal(fingerprint(&to, 1), fingerprint(&from, 1));
            ls_state_destroy(&state);
            ls_parameters_destroy(&from);
            ls_parameters_destroy(&to);
        }
}

static void test_set(void **unused) {
    (void)unused;
    for (int dtype = LS_FP32; dtype <= LS_FP64; dtype++) {
        ls_parameters p;
        double values[48], out[48];
        float out_fp32[48];
        create(&p, (ls_dtype)dtype, 0, NULL);
        for (int i = 0; i < 48; i++) values[i] = 1.0 / (i + 3);
        for (int k = 0; k < p.count; k++) {
            assert_int_equal(ls_parameter_set(&p, &p.list[k], values), LS_OK);
            ls_parameter_export(&p, &p.list[k], p.value, dtype == LS_FP64 ? (void *)out : (void *)out_fp32);
            for (int i = 0; i < p.list[k].count; i++) {
                if (dtype == LS_FP64)
                    assert_true(out[i] == values[i]);
                else
                    assert_true(out_fp32[i] == (float)values[i]);
            }
        }
        ls_parameters_destroy(&p);
    }
}

/* --- fingerprints ---------------------------------------------------------------------------------- */

static void test_fingerprint_of_variants(void **unused) {
    static const variant variants[] = {{0}, {.first_name = "1"}, {.other_shape = true}};
    uint64_t hashes[3];
    (void)unused;
    for (int i = 0; i < 3; i++) {
        ls_parameters p;
        create(&p, LS_FP32, 2, &variants[i]);
        fill(&p);
        hashes[i] = fingerprint(&p, 7);
        assert_int_equal(fingerprint(&p, 7), hashes[i]);
        assert_int_not_equal(fingerprint(&p, 8), hashes[i]);
        ls_parameters_destroy(&p);
    }
    assert_int_not_equal(hashes[0], hashes[1]);
    assert_int_not_equal(hashes[0], hashes[2]);
    assert_int_not_equal(hashes[1], hashes[2]);
}

static bool is_padding(const ls_parameters *p, int64_t at) {
    for (int k = 0; k < p->count; k++)
        if (at >= p->list[k].offset && at < p->list[k].offset + p->list[k].count) return false;
    return true;
}

/* One bit of any value changes it, one of the padding does not; the replica hash sees both. */
static void test_every_value(void **unused) {
    ls_parameters p;
    (void)unused;
    create(&p, LS_FP32, 2, NULL);
    fill(&p);
    const uint64_t hash = fingerprint(&p, 3), replica = ls_replica_hash(&p, 3);
    void *arenas[] = {p.value, p.moment1, p.moment2};
    for (int a = 0; a < 3; a++)
        for (int64_t at = 0; at < p.total; at++) {
            unsigned char *byte = (unsigned char *)arenas[a] + 4 * at + at % 4;
            *byte ^= 1;
            if (is_padding(&p, at))
                assert_int_equal(fingerprint(&p, 3), hash);
            else
                assert_int_not_equal(fingerprint(&p, 3), hash);
            assert_int_not_equal(ls_replica_hash(&p, 3), replica);
            *byte ^= 1;
        }
    for (int i = 0; i < 10; i++) {
        double *value = &p.statistics[0].values[i];
        *value += 0x1p-40;
        assert_int_not_equal(fingerprint(&p, 3), hash);
        assert_int_not_equal(ls_replica_hash(&p, 3), replica);
        *value -= 0x1p-40;
    }
    assert_int_equal(fingerprint(&p, 3), hash);
    assert_int_equal(ls_replica_hash(&p, 3), replica);
    assert_int_not_equal(ls_replica_hash(&p, 4), replica);
    ls_parameters_destroy(&p);
}

/* Gradients and the number of nodes are no part of the state. */
static void test_not_the_gradients(void **unused) {
    ls_parameters p;
    (void)unused;
    create(&p, LS_FP32, 1, NULL);
    fill(&p);
    uint64_t hash = fingerprint(&p, 3), replica = ls_replica_hash(&p, 3);
    put(&p, ls_parameter_gradient(&p, &p.list[SCALE]), 0, 5);
    put(&p, p.gradient, 0, 5);
    assert_int_equal(fingerprint(&p, 3), hash);
    assert_int_equal(ls_replica_hash(&p, 3), replica);
    ls_parameters_destroy(&p);
}

/* The first tensor of the model with a value that is not finite, wherever in it; a moment is none of the model. */
static void test_not_finite(void **unused) {
    static const ls_dtype dtypes[] = {LS_FP32, LS_FP64};
    static const double bad[] = {(double)NAN, (double)INFINITY, -(double)INFINITY};
    static const char *const paths[] = {"model/0.weight", "model/0.bias", "model/conv.weight",
                                        "model/2.weight"};
    (void)unused;
    for (int d = 0; d < 2; d++)
        for (int k = 0; k < PARAMETERS; k++) {
            ls_parameters p;
            ls_state state;
            create(&p, dtypes[d], 2, NULL);
            fill(&p);
            assert_int_equal(ls_state_create(&p, &state), LS_OK);
            put(&p, p.moment1, p.list[k].offset, bad[0]);
            ls_state_export(&p, &state);
            assert_null(ls_state_not_finite(&state));
            for (int64_t at = 0; at < p.list[k].count; at++) {
                double before = get(dtypes[d], p.value, p.list[k].offset + at);
                put(&p, p.value, p.list[k].offset + at, bad[at % 3]);
                ls_state_export(&p, &state);
                const char *found = ls_state_not_finite(&state);
                assert_non_null(found);
                assert_string_equal(found, paths[k]);
                put(&p, p.value, p.list[k].offset + at, before);
            }
            ls_state_destroy(&state);
            ls_parameters_destroy(&p);
        }
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_names),
        cmocka_unit_test(test_layouts),
        cmocka_unit_test(test_round_trip),
        cmocka_unit_test(test_set),
        cmocka_unit_test(test_fingerprint_of_variants),
        cmocka_unit_test(test_every_value),
        cmocka_unit_test(test_not_the_gradients),
        cmocka_unit_test(test_not_finite),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}

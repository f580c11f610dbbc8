/* diff and inspect of checkpoints: values moved by known distances, other shapes, forged and damaged files.
 */
#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "inspect/checkpoints.h"
#include "io/scratch.h"

/* Writes the model as FOLDER/<name>. */
static void write_as(made_model *model, const char *name) {
    char made[64];
    snprintf(made, sizeof made, "checkpoint-%d.h5", (int)model->mark.step);
    write_model(model);
    assert_int_equal(rename(scratch_path(made), scratch_path(name)), 0);
}

static ls_status diff_ab(void) {
    return diff_of(scratch_path("a.h5"), scratch_path("b.h5"));
}

static float *values(made_model *model, const char *path) {
    return made_record(model, path)->data;
}

static float moved(float x, int ulp) {
    for (int i = 0; i < ulp; i++) x = nextafterf(x, INFINITY);
    return x;
}

/* The table has this row: elements that differ, of how many, the largest distance and where. */
static void assert_row(const char *tensor, int differ, int of, uint64_t ulp, const char *at) {
    char start[80], found_at[40];
    int found_differ, found_of;
    unsigned long long found_ulp;
    double absolute;
    snprintf(start, sizeof start, "\n  %s ", tensor);
    const char *line = strstr(printed(), start);
    if (!line) fail_msg("\"%s\" lacks a row for %s", printed(), tensor);
    assert_int_equal(sscanf(line + strlen(start), "%d %d %llu %lf %39[^]]", &found_differ, &found_of,
                            &found_ulp, &absolute, found_at),
                     5);
    assert_true(found_differ == differ && found_of == of && found_ulp == ulp &&
                strncmp(found_at, at, strlen(at)) == 0);
}

static void equal_checkpoints_are_equal(void **state) {
    (void)state;
    made_model model;
    make_model(&model, made_config);
    values(&model, "model/2.weight")[3] = NAN;
    write_as(&model, "a.h5");
    write_as(&model, "b.h5");
    assert_int_equal(diff_ab(), LS_OK);
    assert_printed("configuration: the same\n");
    assert_printed("data: the same (digest 0000000000000009)");
    assert_printed("equal: 22 tensors at step 7");
    free_model(&model);
}

static void the_table_says_by_how_much(void **state) {
    (void)state;
    made_model model;
    make_model(&model, made_config);
    write_as(&model, "a.h5");
    float *weight = values(&model, "model/2.weight"), *bias = values(&model, "optimizer/m/last.bias");
    for (int ulp = 1; ulp < 3000; ulp = ulp * 7 + 1) {
        char row[160];
        float old[3] = {weight[2 * 12 + 5], weight[59], bias[1]};
        weight[2 * 12 + 5] = moved(old[0], ulp);
        weight[59] = moved(old[1], 1);
        bias[1] = moved(old[2], 2 * ulp);
        write_as(&model, "b.h5");
        assert_int_equal(diff_ab(), LS_DIFFERENT);
        assert_row("model/2.weight", 2, 60, (uint64_t)ulp, "[2, 5"); /* of equal distances the first */
        assert_row("optimizer/m/last.bias", 1, 2, 2 * (uint64_t)ulp, "[1");
        snprintf(row, sizeof row,
                 "different: 2 of 22 tensors at step 7, the first is model/2.weight; at most %d ulp, in "
                 "optimizer/m/last.bias\n",
                 2 * ulp);
        assert_printed(row);
        assert_not_printed("batchnorm/1");
        weight[2 * 12 + 5] = old[0];
        weight[59] = old[1];
        bias[1] = old[2];
    }
    free_model(&model);
}

static void float64_and_integers_have_distances_too(void **state) {
    (void)state;
    made_model model;
    make_model(&model, made_config);
    double *sums = made_record(&model, "batchnorm/1")->data;
    int64_t *batches = made_record(&model, "model/1.num_batches_tracked")->data;
    sums[4] = 1;
    *batches = 100;
    write_as(&model, "a.h5");
    sums[4] = 1 + 3 * 0x1p-52;
    *batches = 93;
    write_as(&model, "b.h5");
    assert_int_equal(diff_ab(), LS_DIFFERENT);
    assert_row("batchnorm/1", 1, 37, 3, "[4");
    assert_printed("6.66134e-16");
    assert_row("model/1.num_batches_tracked", 1, 1, 7, "100               93");
    free_model(&model);
}

static void nan_is_not_comparable(void **state) {
    (void)state;
    made_model model;
    make_model(&model, made_config);
    write_as(&model, "a.h5");
    float *weight = values(&model, "model/2.weight"), *bias = values(&model, "model/2.bias");
    weight[7] = NAN;
    weight[8] = moved(weight[8], 4);
    bias[2] = INFINITY;
    bias[3] = NAN;
    bias[4] = -bias[4];
    write_as(&model, "b.h5");
    assert_int_equal(diff_ab(), LS_DIFFERENT);
    assert_printed("1 of them not comparable (NaN)");
    memset(bias, 0, 5 * sizeof *bias);
    bias[3] = NAN;
    write_as(&model, "a.h5");
    bias[3] = 0;
    weight[7] = moved(weight[8], 1);
    write_as(&model, "b.h5");
    assert_int_equal(diff_ab(), LS_DIFFERENT);
    assert_printed("not comparable not comparable  [3]                           nan                0");
    free_model(&model);
}

static void other_steps_and_other_shapes_are_told(void **state) {
    (void)state;
    made_model model, wider;
    make_model(&model, made_config);
    write_as(&model, "a.h5");
    model.mark.step = 8;
    model.mark.data_digest = 10;
    values(&model, "model/2.weight")[0] = 5;
    write_as(&model, "b.h5");
    assert_int_equal(diff_ab(), LS_DIFFERENT);
    assert_printed("data: digest 0000000000000009 | 000000000000000a");
    assert_printed("checkpoints of different steps, 7 | 8; names and shapes of the tensors are the same");

    make_model(
        &wider,
        "seed: 2\nlr: 0.5\nnetwork: [flatten, batchnorm, {dense: {units: 6}}, tanh, {dense: {units: 2}}]\n");
    write_as(&wider, "b.h5");
    assert_int_equal(diff_ab(), LS_DIFFERENT);
    assert_printed("  seed: 1 | 2\n");
    assert_printed("  lr: 0.001 | 0.5\n");
    assert_printed("  network.2.dense.units: 5 | 6\n");
    assert_printed("  network.3: relu | tanh\n");
    assert_printed("  network.4.dense.name: last | \"\"\n");
    assert_printed("  model/2.weight: f32 [5, 12] | f32 [6, 12]\n");
    assert_printed("  model/last.weight: f32 [2, 5] | none\n");
    assert_printed("  model/4.weight: none | f32 [2, 6]\n");
    assert_printed("different: the checkpoints of step 7 hold different tensors");
    free_model(&wider);
    free_model(&model);
}

/* Another configuration that made the same numbers is noted, and no difference. */
static void a_configuration_alone_is_no_difference(void **state) {
    (void)state;
    made_model model;
    make_model(&model, made_config);
    write_as(&model, "a.h5");
    snprintf(model.yaml, sizeof model.yaml, "eval_batch: 7\n%s", made_config);
    write_as(&model, "b.h5");
    assert_int_equal(diff_ab(), LS_OK);
    assert_printed("  eval_batch: 1000 | 7\n");
    snprintf(model.yaml, sizeof model.yaml, "# the same\n%s", made_config);
    write_as(&model, "b.h5");
    assert_int_equal(diff_ab(), LS_OK);
    assert_printed("configuration: the same settings\n");
    free_model(&model);
}

static void inspect_shows_what_was_saved(void **state) {
    (void)state;
    made_model model;
    make_model(&model, made_config);
    float *weight = values(&model, "model/last.weight");
    memset(weight, 0, 10 * sizeof *weight);
    weight[1] = -3;
    weight[2] = INFINITY;
    write_as(&model, "a.h5");
    assert_int_equal(inspect_of(scratch_path("a.h5"), 0), LS_OK);
    assert_printed("seal             verified");
    assert_printed("which matches the tensors");
    assert_printed("model/last.weight");
    assert_printed("images of 3 x 4 in 2 classes");
    assert_printed("          -3            0     -0.33333      0.94281          1   80.0%");
    assert_int_equal(inspect_of(scratch_path("a.h5"), 1), LS_OK);
    assert_printed("\"not_finite\": 1,\n      \"zero_fraction\": 0.80000000000000004");
    free_model(&model);
}

/* ---- forged files: sealed properly, but their content is wrong ---- */

static void assert_refused(const char *why) {
    assert_int_equal(inspect_of(scratch_path("b.h5"), 0), LS_BAD_DATA);
    assert_message(why);
    assert_message("b.h5");
    assert_string_equal(printed(), "");
    assert_int_equal(diff_of(scratch_path("a.h5"), scratch_path("b.h5")), LS_BAD_DATA);
    assert_message(why);
    assert_int_equal(diff_of(scratch_path("b.h5"), scratch_path("a.h5")), LS_BAD_DATA);
    assert_string_equal(printed(), "");
}

static void a_wrong_fingerprint_is_refused(void **state) {
    (void)state;
    made_model model;
    make_model(&model, made_config);
    write_as(&model, "a.h5");
    model.mark.fingerprint ^= 1;
    assert_int_equal(ls_checkpoint_write(scratch_folder(), &model.mark, model.yaml, model.state.records,
                                         model.state.count, NULL),
                     LS_OK);
    assert_int_equal(rename(scratch_path("checkpoint-7.h5"), scratch_path("b.h5")), 0);
    assert_refused("fingerprint of the tensors: found ");
    free_model(&model);
}

static void a_forged_configuration_is_refused(void **state) {
    (void)state;
    static const struct {
        const char *yaml, *why;
    } cases[] = {
        {"", "empty"},
        {"seed: 1\n", "no layers"},
        {"{", "config/yaml:"},
        {"nonsense: 1\nnetwork: [relu]\n", "nonsense"},
        {"lr: -1\nnetwork: [relu]\n", "lr"},
        {"base: /etc/passwd\n", "base"},
        {"network: [{dense: {units: 3}}]\n", "expected 2"},
        {"network: [{dense: {units: 1048576}}, {dense: {units: 1048576}}, {dense: {units: 2}}]\n",
         "parameters so far"},
        {"network: [{dense: {units: 1000000}}, {dense: {units: 2}}]\n", "bytes, expected at least"},
        {"network: [{conv2d: {channels: 65536, pad: 1024, kernel: 1}}, {dense: {units: 2}}]\n", "values"},
        {"network: [{dense: {units: 1048576}}, {batchnorm: {affine: false}}, {dense: {units: 2}}]\n",
         "at least"},
        {"network: [{dense: {units: 2, name: last}}]\n", "model/last.weight"},
        {"network: [{dense: {units: 2, name: \"\\x9b1m\"}}]\n", "expected letters, digits"},
        {"network: [{dense: {units: 2, name: ../0}}]\n", "expected letters, digits"},
        {"precision: fp64\nnetwork: [flatten, batchnorm, {dense: {units: 5}}, relu, {dense: {units: 2, name: "
         "last}}]\n",
         "expected f64"},
    };
    made_model model;
    make_model(&model, made_config);
    write_as(&model, "a.h5");
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        snprintf(model.yaml, sizeof model.yaml, "%s", cases[i].yaml);
        write_as(&model, "b.h5");
        assert_refused(cases[i].why);
    }
    free_model(&model);
}

static void forged_image_sizes_are_refused(void **state) {
    (void)state;
    static const struct {
        uint64_t height, width, classes;
        const char *why;
    } cases[] = {
        {0, 4, 2, "expected some"},
        {3, 0, 2, "expected some"},
        {3, 4, 0, "expected some"},
        {INT32_MAX, INT32_MAX, 2, "values"},
        {3, 4, 3, "expected 3"},
        {4, 4, 2, "expected f32 [16]"},
        {3000, 4000, 2, "bytes, expected at least"},
    };
    made_model model;
    make_model(&model, made_config);
    write_as(&model, "a.h5");
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        model.mark.height = cases[i].height;
        model.mark.width = cases[i].width;
        model.mark.classes = cases[i].classes;
        write_as(&model, "b.h5");
        assert_refused(cases[i].why);
    }
    free_model(&model);
}

static void damaged_files_are_refused(void **state) {
    (void)state;
    made_model model;
    make_model(&model, made_config);
    write_as(&model, "a.h5");
    bytes file = read_bytes(scratch_path("a.h5"));
    for (size_t i = 0; i < file.size; i += 613) {
        file.data[i] ^= 4;
        write_bytes(scratch_path("b.h5"), file.data, file.size);
        assert_refused("b.h5");
        file.data[i] ^= 4;
    }
    for (size_t size = 0; size < file.size; size += size < 600 ? 101 : 5003) {
        write_bytes(scratch_path("b.h5"), file.data, size);
        assert_refused("expected");
    }
    assert_int_equal(inspect_of(scratch_path("none.h5"), 0), LS_BAD_DATA);
    assert_message("none.h5: cannot open: No such file or directory");
    free(file.data);
    free_model(&model);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup(equal_checkpoints_are_equal, scratch_clear),
        cmocka_unit_test_setup(the_table_says_by_how_much, scratch_clear),
        cmocka_unit_test_setup(float64_and_integers_have_distances_too, scratch_clear),
        cmocka_unit_test_setup(nan_is_not_comparable, scratch_clear),
        cmocka_unit_test_setup(other_steps_and_other_shapes_are_told, scratch_clear),
        cmocka_unit_test_setup(a_configuration_alone_is_no_difference, scratch_clear),
        cmocka_unit_test_setup(inspect_shows_what_was_saved, scratch_clear),
        cmocka_unit_test_setup(a_wrong_fingerprint_is_refused, scratch_clear),
        cmocka_unit_test_setup(a_forged_configuration_is_refused, scratch_clear),
        cmocka_unit_test_setup(forged_image_sizes_are_refused, scratch_clear),
        cmocka_unit_test_setup(damaged_files_are_refused, scratch_clear),
    };
    return cmocka_run_group_tests(tests, scratch_setup, scratch_teardown);
}

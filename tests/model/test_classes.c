/* Optimizers and schedules as classes: every file is in its list, and one from outside is a choice like the
 * others, with keys that are read where it is chosen and nowhere else. */
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <cmocka.h>

#include "examples.h"
#include "model/network.h"
#include "train/options.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* The names of the files, with a blank behind each (CMakeLists.txt), are those of the classes. */
static void check_files(const ls_key_classes *classes, const char *files) {
    int count = 0;
    for (const char *at = files; *at; at += strcspn(at, " ") + 1, count++) {
        char name[64];
        snprintf(name, sizeof name, "%.*s", (int)strcspn(at, " "), at);
        if (!ls_key_class_find(classes, name)) fail_msg("%s.c is in no list of classes", name);
    }
    assert_int_equal(count, classes->count);
    for (int i = 0; i < classes->count; i++)
        assert_int_equal(classes->list[i]->keys.count > 0, classes->list[i]->settings_size > 0);
}

static void every_file_is_listed(void **state) {
    (void)state;
    check_files(&ls_optimizers, OPTIMIZER_FILES);
    check_files(&ls_schedules, SCHEDULE_FILES);
}

/* All keys are in one table: what two classes share has one row, and an option of the run hides a key of its
 * name. */
static void keys_agree(void **state) {
    const ls_key_classes *const lists[] = {&ls_optimizers, &ls_schedules};
    ls_key_table all;
    (void)state;
    assert_int_equal(ls_keys_unfold(&ls_option_keys, &all), LS_OK);
    for (int l = 0; l < 2; l++)
        for (int c = 0; c < lists[l]->count; c++)
            for (int k = 0; k < lists[l]->list[c]->keys.count; k++) {
                const ls_key *key = &lists[l]->list[c]->keys.keys[k], *row = ls_key_find(&all, key->name);
                assert_non_null(row);
                if (ls_key_find(&ls_option_keys, key->name))
                    fail_msg("%s: its key %s is an option of every run", lists[l]->list[c]->name, key->name);
                if (key->type != row->type || key->min != row->min || key->max != row->max ||
                    strcmp(key->initial ? key->initial : "-", row->initial ? row->initial : "-") != 0)
                    fail_msg("%s: its key %s has another type, default or bounds than that of another class",
                             lists[l]->list[c]->name, key->name);
            }
    free((void *)all.keys);
}

static ls_status load(const char *const *words, int count, ls_config **config) {
    static ls_layer_keys layers[LS_LAYER_CLASSES_MAX];
    *config = NULL;
    ls_network_layer_keys(layers);
    return ls_config_load(NULL, words, count, &ls_option_keys, layers, ls_layer_class_count, config);
}

/* Defaults that people know, most of them from PyTorch. */
static void known_defaults(void **state) {
    static const struct {
        const ls_key_classes *classes;
        const char *class, *key, *value;
    } known[] = {
        {&ls_optimizers, "momentum", "momentum", "0.9"},
        {&ls_optimizers, "momentum", "nesterov", "false"},
        {&ls_optimizers, "adam", "beta1", "0.9"},
        {&ls_optimizers, "adam", "beta2", "0.999"},
        {&ls_optimizers, "adam", "epsilon", "1e-8"},
        {&ls_optimizers, "adam", "epsilon_inside", "false"},
        {&ls_optimizers, "rmsprop", "alpha", "0.99"},
        {&ls_schedules, "exponential", "gamma", "0.1"},
        {&ls_schedules, "cosine", "floor", "0"},
        {&ls_schedules, "one_cycle", "peak", "0.3"},
        {&ls_schedules, "one_cycle", "start_divisor", "25"},
        {&ls_schedules, "one_cycle", "end_divisor", "10000"},
    };
    (void)state;
    for (size_t i = 0; i < sizeof known / sizeof *known; i++) {
        const ls_key_class *class = ls_key_class_find(known[i].classes, known[i].class);
        assert_non_null(class);
        const ls_key *key = ls_key_find(&class->keys, known[i].key);
        assert_non_null(key);
        assert_string_equal(key->initial, known[i].value);
    }
}

static void expect_ok(ls_status status) {
    if (status != LS_OK) fail_msg("%s", ls_error_message());
}

static void registration(void **state) {
    static const char *const early[] = {"optimizer=example_signum"};
    ls_config *config;
    (void)state;
    assert_int_equal(load(early, 1, &config), LS_USAGE);
    assert_non_null(strstr(ls_error_message(), "expected one of sgd|momentum|adam|adamw|rmsprop"));
    expect_ok(ls_optimizer_register(&ls_example_signum_optimizer));
    expect_ok(ls_schedule_register(&ls_example_triangle_schedule));
    assert_int_equal(ls_optimizer_register(&ls_example_signum_optimizer), LS_USAGE);
    assert_string_equal(ls_error_message(), "optimizer example_signum: there is one of that name");
    ls_optimizer_class bad = ls_example_signum_optimizer;
    bad.choice.name = "bad";
    bad.kernels = NULL;
    assert_int_equal(ls_optimizer_register(&bad), LS_USAGE);
    assert_int_equal(load(early, 1, &config), LS_OK);
    ls_config_destroy(&config);
}

static void keys_of_their_own(void **state) {
    static const struct {
        const char *words[3];
        int count;
        const char *refused; /* NULL: accepted */
    } cases[] = {
        {{"optimizer=example_signum", "momentum=0.5"}, 2, NULL},
        {{"optimizer=example_signum", "beta1=0.5"}, 2, "and here optimizer is example_signum"},
        {{"optimizer=sgd", "momentum=0.5"}, 2, "|example_signum, and here optimizer is sgd"},
        {{"schedule=example_triangle", "period=10"}, 2, NULL},
        {{"schedule=example_triangle"}, 1, "period: not given, and there is no default"},
        {{"schedule=example_triangle", "period=0"}, 2, "period: out of range"},
        {{"schedule=constant", "period=10"}, 2, "example_triangle, and here schedule is constant"},
        {{"optimizer=no_such"}, 1, "|example_signum"},
    };
    (void)state;
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        ls_config *config;
        ls_status status = load(cases[i].words, cases[i].count, &config);
        ls_config_destroy(&config);
        assert_int_equal(status, cases[i].refused ? LS_USAGE : LS_OK);
        if (cases[i].refused && !strstr(ls_error_message(), cases[i].refused))
            fail_msg("%s", ls_error_message());
    }
}

/* Read from a configuration, with values that are known: the schedule of 4 steps, the optimizer in fp64. */
static void they_work(void **state) {
    static const char *const words[] = {"optimizer=example_signum", "momentum=0.5",
                                        "schedule=example_triangle", "period=4"};
    static const double factors[] = {1, 0.5, 0, 0.5, 1, 0.5};
    ls_config *config;
    ls_optimizer optimizer;
    ls_schedule schedule;
    const ls_backend *backend;
    (void)state;
    assert_int_equal(load(words, 4, &config), LS_OK);
    assert_int_equal(ls_optimizer_read(config, &optimizer), LS_OK);
    assert_int_equal(ls_schedule_read(config, &schedule), LS_OK);
    schedule.lr = 2;
    for (int step = 0; step < 6; step++)
        assert_true(fabs(ls_schedule_rate(&schedule, step, 0) - 2 * factors[step]) < 1e-15);
    assert_int_equal(ls_backend_find(LS_FP64, &backend), LS_OK);
    double w = 1, m = 4;
    const double g = 2;
    const ls_update update = ls_optimizer_step(&optimizer, 0.25, 1, 1);
    update.class->kernels(backend)->apply(&update, 1, &w, &g, &m, NULL, &(ls_lane){0});
    assert_true(m == 4);            /* 0.5 4 + 2 */
    assert_true(w == 1 - 0.25 * 1); /* its sign */
    ls_optimizer_destroy(&optimizer);
    ls_schedule_destroy(&schedule);
    ls_config_destroy(&config);
}

/* One source, all tiers, the same bits. */
static void all_tiers(void **state) {
    enum { COUNT = 37 };
    static const char *const words[] = {"momentum=0.75"};
    ls_optimizer optimizer;
    float want[3][COUNT];
    (void)state;
    assert_int_equal(ls_optimizer_create("example_signum", words, 1, &optimizer), LS_OK);
    optimizer.weight_decay = 0.01;
    const ls_update update = ls_optimizer_step(&optimizer, 0.05, 3, 1000);
    for (int set = LS_PORTABLE; set <= (int)ls_instruction_set_supported(); set++) {
        const ls_backend *backend;
        float got[3][COUNT];
        for (int i = 0; i < 3 * COUNT; i++) got[i / COUNT][i % COUNT] = sinf((float)i);
        assert_int_equal(ls_backend_find_for(LS_PRECISION_FP32, (ls_instruction_set)set, &backend), LS_OK);
        update.class->kernels(backend)->apply(&update, COUNT, got[0], got[1], got[2], NULL, &(ls_lane){0});
        if (set == LS_PORTABLE) memcpy(want, got, sizeof want);
        assert_memory_equal(got, want, sizeof want);
    }
    ls_optimizer_destroy(&optimizer);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(every_file_is_listed),
        cmocka_unit_test(keys_agree),
        cmocka_unit_test(registration),
        cmocka_unit_test(known_defaults),
        cmocka_unit_test(keys_of_their_own),
        cmocka_unit_test(they_work),
        cmocka_unit_test(all_tiers),
    };
    return cmocka_run_group_tests_name("classes", tests, NULL, NULL);
}

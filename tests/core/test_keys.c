#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <cmocka.h>

#include "core/keys.h"
#include "train/options.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

typedef struct sample {
    bool truth;
    int64_t count;
    double rate, factor;
    char *name, *path;
    int choice;
    ls_int_list steps;
} sample;

#define AT(member) .name = #member, .offset = offsetof(sample, member)
static const ls_key rows[] = {
    {AT(truth), .type = LS_KEY_BOOL, .initial = "true"},
    {AT(count), .type = LS_KEY_INT, .initial = "7", .min = -3, .max = 0x1p53},
    {AT(rate), .type = LS_KEY_REAL, .min = 0, .max = LS_KEY_BELOW_ONE},
    {AT(factor), .type = LS_KEY_REAL, .initial = "1e-8", .min = LS_KEY_ABOVE_ZERO, .max = HUGE_VAL},
    {AT(name), .type = LS_KEY_STRING, .initial = ""},
    {AT(path), .type = LS_KEY_STRING, .initial = "\"\""},
    {AT(choice), .type = LS_KEY_CHOICE, .initial = "sgd", .choices = "sgd|momentum|adam"},
    {AT(steps), .type = LS_KEY_INT_LIST, .initial = "[]", .min = 1, .max = 1e6},
};
static const ls_key_table table = {rows, sizeof rows / sizeof *rows};

static ls_status set(sample *settings, const char *name, const char *text) {
    const ls_key *key = ls_key_find(&table, name);
    assert_non_null(key);
    return ls_key_set(key, settings, text);
}

static void defaults(void **state) {
    (void)state;
    sample settings = {.rate = 0.25};
    assert_int_equal(ls_keys_set_defaults(&table, &settings), LS_OK);
    assert_true(settings.truth);
    assert_int_equal(settings.count, 7);
    assert_true(settings.rate == 0.25); /* has no default */
    assert_true(settings.factor == 1e-8);
    assert_string_equal(settings.name, "");
    assert_string_equal(settings.path, "");
    assert_int_equal(settings.choice, 0);
    assert_int_equal(settings.steps.count, 0);
    ls_keys_free(&table, &settings);
    ls_keys_free(&table, &settings);
    assert_null(settings.name);
}

static void good_values(void **state) {
    (void)state;
    sample settings = {0};
    assert_int_equal(set(&settings, "count", "-3"), LS_OK);
    assert_int_equal(settings.count, -3);
    assert_int_equal(set(&settings, "count", "9007199254740992"), LS_OK);
    assert_true(settings.count == INT64_C(9007199254740992));
    static const char *const reals[] = {"0.5", ".5", "5e-1", "5E-1", "+0.5", "0.50", "50.e-2"};
    for (size_t i = 0; i < sizeof reals / sizeof *reals; i++) {
        settings.rate = 0;
        assert_int_equal(set(&settings, "rate", reals[i]), LS_OK);
        assert_true(settings.rate == 0.5);
    }
    assert_int_equal(set(&settings, "choice", "adam"), LS_OK);
    assert_int_equal(settings.choice, 2);
    assert_int_equal(set(&settings, "steps", "[2000, 4000,1 ]"), LS_OK);
    assert_int_equal(settings.steps.count, 3);
    assert_int_equal(settings.steps.value[1], 4000);
    assert_int_equal(set(&settings, "steps", "[ ]"), LS_OK);
    assert_int_equal(settings.steps.count, 0);
    assert_int_equal(set(&settings, "name", "two words"), LS_OK);
    assert_int_equal(set(&settings, "name", "\"a \\\"b\\\" \\\\c\""), LS_OK);
    assert_string_equal(settings.name, "a \"b\" \\c");
    ls_keys_free(&table, &settings);
}

static void bad_values(void **state) {
    (void)state;
    static const struct {
        const char *key, *text, *message;
    } cases[] = {
        {"truth", "yes", "truth: not a truth value: found 'yes', expected true or false"},
        {"truth", "", "not a truth value"},
        {"count", "", "count: not an integer: found ''"},
        {"count", "5e4", "not an integer"},
        {"count", "1.0", "not an integer"},
        {"count", " 1", "not an integer"},
        {"count", "1 ", "not an integer"},
        {"count", "0x10", "not an integer"},
        {"count", "010", "not an integer"},
        {"count", "+1", "not an integer"},
        {"count", "--1", "not an integer"},
        {"count", "1_000", "not an integer"},
        {"count", "-4", "out of range: found '-4', expected an integer from -3 to 9007199254740992"},
        {"count", "9007199254740993", "out of range"},
        {"count", "99999999999999999999", "out of range"},
        {"rate", "nan", "rate: not a number: found 'nan', expected a number from 0 and below 1"},
        {"rate", "inf", "not a number"},
        {"rate", ".nan", "not a number"},
        {"rate", "-.inf", "not a number"},
        {"rate", "0x1p-2", "not a number"},
        {"rate", ".", "not a number"},
        {"rate", "-", "not a number"},
        {"rate", "1e", "not a number"},
        {"rate", "e5", "not a number"},
        {"rate", "0.5f", "not a number"},
        {"rate", "0,5", "not a number"},
        {"rate", "1", "out of range"},
        {"rate", "1e-400", "out of range"},
        {"rate", "-1e-300", "out of range"},
        {"factor", "0", "out of range: found '0', expected a number above 0"},
        {"factor", "1e999", "out of range"},
        {"choice", "SGD", "unknown choice: found 'SGD', expected one of sgd|momentum|adam"},
        {"choice", "", "unknown choice"},
        {"choice", "sgd|momentum", "unknown choice"},
        {"choice", "mom", "unknown choice"},
        {"steps", "5", "not a list"},
        {"steps", "[1, 2", "not a list"},
        {"steps", "[1 2]", "not a list"},
        {"steps", "[,]", "not an integer"},
        {"steps", "[1] x", "text after the list"},
        {"steps", "[0]", "out of range"},
        {"steps", "[1.5]", "not an integer"},
        {"name", "\"open", "closing quote missing"},
        {"name", "\"a\"b", "closing quote missing or not at the end"},
        {"name", "\"\\n\"", "unknown escape"},
        {"name", "\"\\", "unknown escape"},
        {"name", "a\nb", "control character in text: found 'a?b'"},
        {"name", "\x7f", "control character"},
    };
    sample settings = {0}, before;
    assert_int_equal(ls_keys_set_defaults(&table, &settings), LS_OK);
    before = settings;
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        assert_int_equal(set(&settings, cases[i].key, cases[i].text), LS_USAGE);
        if (!strstr(ls_error_message(), cases[i].message))
            fail_msg("%s = %s: %s", cases[i].key, cases[i].text, ls_error_message());
        assert_memory_equal(&settings, &before, sizeof settings);
    }
    ls_keys_free(&table, &settings);
}

static void limits_of_lists_and_text(void **state) {
    (void)state;
    sample settings = {0};
    char text[LS_STRING_MAX + 2], list[8 * LS_INT_LIST_MAX] = "[1";
    memset(text, 'x', sizeof text - 1);
    text[LS_STRING_MAX + 1] = '\0';
    assert_int_equal(set(&settings, "name", text), LS_USAGE);
    assert_non_null(strstr(ls_error_message(), "text too long"));
    text[LS_STRING_MAX] = '\0';
    assert_int_equal(set(&settings, "name", text), LS_OK);
    for (int i = 1; i < LS_INT_LIST_MAX; i++) strcat(list, ", 1");
    size_t end = strlen(list);
    strcat(list, "]");
    assert_int_equal(set(&settings, "steps", list), LS_OK);
    assert_int_equal(settings.steps.count, LS_INT_LIST_MAX);
    memcpy(list + end, ", 1]", 5);
    assert_int_equal(set(&settings, "steps", list), LS_USAGE);
    assert_non_null(strstr(ls_error_message(), "too many numbers"));
    ls_keys_free(&table, &settings);
}

static void nearest(void **state) {
    (void)state;
    static const struct {
        const char *typed, *expected;
    } cases[] = {{"ruth", "truth"}, {"trutth", "truth"}, {"cuont", "count"}, {"raet", "rate"},
                 {"nmae", "name"},  {"banana", NULL},    {"", NULL},         {"xy", NULL},
                 {"pat", "path"},   {"choise", "choice"}};
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        const char *found = ls_key_nearest(&table, cases[i].typed);
        if (!cases[i].expected)
            assert_null(found);
        else
            assert_string_equal(found, cases[i].expected);
    }
    char endless[5000];
    memset(endless, 'a', sizeof endless - 1);
    endless[sizeof endless - 1] = '\0';
    assert_null(ls_key_nearest(&table, endless));
    assert_int_equal(ls_edit_distance("kitten", "sitting"), 3);
    assert_int_equal(ls_edit_distance("ab", "ba"), 1);
    assert_int_equal(ls_edit_distance("", "abc"), 3);
}

/* What ls_key_format writes, ls_key_set reads back to the same bits. */
static void round_trip(const char *name, sample *settings, sample *again, char *text) {
    const ls_key *key = ls_key_find(&table, name);
    ls_key_format(key, settings, text, LS_KEY_TEXT_MAX);
    if (ls_key_set(key, again, text) != LS_OK) fail_msg("%s: %s", text, ls_error_message());
}

static void format_reals(void **state) {
    (void)state;
    static const struct {
        double value;
        const char *text;
    } cases[] = {{0.1, "0.1"},         {1e-8, "1.0e-08"},
                 {2.5e-8, "2.5e-08"},  {300, "300"},
                 {0.05, "0.05"},       {1e22, "1.0e+22"},
                 {1048576, "1048576"}, {0.30000000000000004, "0.30000000000000004"}};
    char text[LS_KEY_TEXT_MAX];
    sample settings = {0}, again = {0};
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        settings.factor = cases[i].value;
        round_trip("factor", &settings, &again, text);
        assert_string_equal(text, cases[i].text);
        assert_memory_equal(&settings.factor, &again.factor, sizeof again.factor);
    }
    uint64_t bits = 0x9E3779B97F4A7C15;
    for (int i = 0; i < 20000; i++) {
        bits = bits * 6364136223846793005u + 1442695040888963407u;
        uint64_t positive = bits >> 1;
        memcpy(&settings.factor, &positive, sizeof positive);
        if (!isnormal(settings.factor)) continue;
        round_trip("factor", &settings, &again, text);
        assert_memory_equal(&settings.factor, &again.factor, sizeof again.factor);
    }
}

static void format_strings(void **state) {
    (void)state;
    static const struct {
        const char *value, *text;
    } cases[] = {{"", "\"\""},
                 {"runs/a-1_b.c", "runs/a-1_b.c"},
                 {"/data/mnist", "/data/mnist"},
                 {"null", "\"null\""},
                 {"True", "\"True\""},
                 {"nO", "\"nO\""},
                 {"note", "note"},
                 {"1", "\"1\""},
                 {".5", "\".5\""},
                 {"a b", "\"a b\""},
                 {"a,b", "\"a,b\""},
                 {"a: b", "\"a: b\""},
                 {"#", "\"#\""},
                 {"\"", "\"\\\"\""},
                 {"a\\b", "\"a\\\\b\""},
                 {"\xc3\xa9", "\"\xc3\xa9\""}};
    char text[LS_KEY_TEXT_MAX];
    sample again = {0};
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        sample settings = {.name = (char *)cases[i].value};
        round_trip("name", &settings, &again, text);
        assert_string_equal(text, cases[i].text);
        assert_string_equal(again.name, cases[i].value);
    }
    ls_keys_free(&table, &again);
}

static void format_others(void **state) {
    (void)state;
    char text[LS_KEY_TEXT_MAX];
    sample settings = {.count = INT64_MIN, .choice = 1, .truth = true, .steps = {3, {1, 20, 300}}};
    ls_key_format(ls_key_find(&table, "count"), &settings, text, sizeof text);
    assert_string_equal(text, "-9223372036854775808");
    ls_key_format(ls_key_find(&table, "choice"), &settings, text, sizeof text);
    assert_string_equal(text, "momentum");
    ls_key_format(ls_key_find(&table, "truth"), &settings, text, sizeof text);
    assert_string_equal(text, "true");
    ls_key_format(ls_key_find(&table, "steps"), &settings, text, sizeof text);
    assert_string_equal(text, "[1, 20, 300]");
    /* Truncated at any size, it stays a string. */
    settings.name = (char *)"a \"long\" name";
    for (int i = 0; i < table.count; i++)
        for (size_t size = 1; size < 20; size++) {
            memset(text, 'Z', sizeof text);
            ls_key_format(&table.keys[i], &settings, text, size);
            assert_true(strnlen(text, size) < size);
            assert_int_equal(text[size], 'Z');
        }
}

/* Conditions name keys of their own table, and classes that share a key mean the same by it. */
static void conditions(void **state) {
    (void)state;
    ls_key_table all;
    assert_int_equal(ls_keys_unfold(&ls_option_keys, &all), LS_OK);
    for (int i = 0; i < all.count; i++) {
        if (all.keys[i].when.key) assert_non_null(ls_key_find(&all, all.keys[i].when.key));
        for (int j = 0; j < i; j++) assert_string_not_equal(all.keys[i].name, all.keys[j].name);
    }
    for (int i = 0; i < ls_option_keys.count; i++) {
        const ls_key_classes *classes = ls_option_keys.keys[i].classes;
        for (int c = 0; classes && c < classes->count; c++)
            for (int k = 0; k < classes->list[c]->keys.count; k++) {
                const ls_key *key = &classes->list[c]->keys.keys[k], *first = ls_key_find(&all, key->name);
                assert_non_null(first);
                assert_int_equal(key->type, first->type);
                assert_int_equal(key->effect, first->effect);
                assert_true(key->min == first->min && key->max == first->max);
                assert_int_equal(!key->initial, !first->initial);
                if (key->initial) assert_string_equal(key->initial, first->initial);
                assert_null(ls_key_find(&ls_option_keys, key->name));
            }
    }
    free((void *)all.keys);
}

/* Words of other frameworks, as their users type them. */
static void synonyms(void **state) {
    (void)state;
    static const struct {
        const char *typed, *expected;
    } cases[] = {{"learning_rate", "lr"},    {"batch_size", "batch"},      {"weight-decay", "weight_decay"},
                 {"BatchSize", "batch"},     {"num_epochs", "epochs"},     {"beta_1", "beta1"},
                 {"eps", "epsilon"},         {"lr_scheduler", "schedule"}, {"random_state", "seed"},
                 {"num_workers", "threads"}, {"Momentum", "momentum"},     {"output_dir", "output"},
                 {"unheard_of", NULL}};
    ls_key_table all;
    assert_int_equal(ls_keys_unfold(&ls_option_keys, &all), LS_OK);
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        const char *found = ls_key_nearest(&all, cases[i].typed);
        if (!cases[i].expected)
            assert_null(found);
        else if (!found || strcmp(found, cases[i].expected) != 0)
            fail_msg("%s: %s, expected %s", cases[i].typed, found ? found : "nothing", cases[i].expected);
    }
    free((void *)all.keys);
}

/* Words of a command line: a string is what stands there; a key comes once; others are handed back. */
static void words(void **state) {
    (void)state;
    static const char *const given[] = {"count=5", "other=1", "name= \"a\" #b ", "steps=[1, 2]", "loose"};
    static const char *const twice[] = {"count=5", "name=x", "count=5"};
    const char *rest[5];
    int count;
    sample settings = {0};
    assert_int_equal(ls_keys_take(&table, &settings, given, 5, rest, &count), LS_OK);
    assert_int_equal(settings.count, 5);
    assert_string_equal(settings.name, " \"a\" #b ");
    assert_int_equal(settings.steps.count, 2);
    assert_int_equal(count, 2);
    assert_string_equal(rest[0], "other=1");
    assert_string_equal(rest[1], "loose");
    assert_int_equal(ls_keys_take(&table, &settings, twice, 3, rest, &count), LS_USAGE);
    assert_string_equal(ls_error_message(), "command line: count: given twice");
    ls_keys_free(&table, &settings);
}

/* Every option has a default, in its range, and help; the struct's defaults are those of the table. */
static void options(void **state) {
    (void)state;
    ls_options settings = {0};
    assert_int_equal(ls_keys_set_defaults(&ls_option_keys, &settings), LS_OK);
    for (int i = 0; i < ls_option_keys.count; i++) {
        const ls_key *key = &ls_option_keys.keys[i];
        assert_non_null(key->initial);
        assert_true(strlen(key->help) > 5);
        assert_ptr_equal(ls_key_find(&ls_option_keys, key->name), key);
        for (int j = 0; j < i; j++) assert_int_not_equal(key->offset, ls_option_keys.keys[j].offset);
    }
    assert_int_equal(settings.batch, 256);
    assert_int_equal(settings.shards, 16);
    assert_string_equal(ls_optimizers.list[settings.optimizer]->name, "adam");
    assert_int_equal(settings.pixels, LS_PIXELS_UNIT);
    assert_int_equal(settings.clip_gradient, LS_CLIP_IGNORED);
    assert_true(settings.fuse);
    static const struct {
        const char *name;
        ls_key_effect effect;
    } run[] = {{"data", LS_KEY_RUN},
               {"threads", LS_KEY_RUN},
               {"timeout", LS_KEY_RUN},
               {"device", LS_KEY_RUN},
               {"record", LS_KEY_RUN},
               {"comm", LS_KEY_RUN},
               {"window", LS_KEY_RUN},
               {"fuse", LS_KEY_RUN},
               {"memory", LS_KEY_RUN},
               {"check_interval", LS_KEY_STEPS},
               {"epochs", LS_KEY_TRAIN},
               {"steps", LS_KEY_TRAIN},
               {"output", LS_KEY_TRAIN},
               {"overwrite", LS_KEY_TRAIN},
               {"keep", LS_KEY_TRAIN},
               {"trail_interval", LS_KEY_TRAIN},
               {"progress", LS_KEY_TRAIN},
               {"checkpoint_interval", LS_KEY_TRAIN},
               {"resume", LS_KEY_TRAIN},
               {"test_interval", LS_KEY_TRAIN}};
    int run_count = 0;
    for (int i = 0; i < ls_option_keys.count; i++)
        run_count += ls_option_keys.keys[i].effect != LS_KEY_RESULT;
    assert_int_equal(run_count, sizeof run / sizeof *run);
    for (size_t i = 0; i < sizeof run / sizeof *run; i++)
        assert_int_equal(ls_key_find(&ls_option_keys, run[i].name)->effect, run[i].effect);
    ls_keys_free(&ls_option_keys, &settings);
}

static void help(void **state) {
    (void)state;
    char *text = NULL;
    size_t size = 0;
    FILE *file = open_memstream(&text, &size);
    assert_non_null(file);
    assert_int_equal(ls_keys_print_help(&ls_option_keys, file), LS_OK);
    fclose(file);
    assert_non_null(strstr(text, "  batch                 256       1 .. 1048576   "));
    assert_non_null(strstr(text, "sgd|momentum|adam"));
    assert_non_null(strstr(text, "0 .. <1"));
    assert_non_null(strstr(text, "  optimizer=momentum: share of the last update"));
    assert_non_null(strstr(text, "  train: run folder; empty: "));
    assert_non_null(strstr(text, "  train, bench: steps between checks that replicas"));
    assert_non_null(strstr(text, "  schedule=multistep|exponential: factor"));
    assert_non_null(strstr(text, "  augment above 0: largest rotation"));
    free(text);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(defaults),       cmocka_unit_test(good_values),
        cmocka_unit_test(bad_values),     cmocka_unit_test(limits_of_lists_and_text),
        cmocka_unit_test(nearest),        cmocka_unit_test(format_reals),
        cmocka_unit_test(format_strings), cmocka_unit_test(format_others),
        cmocka_unit_test(options),        cmocka_unit_test(help),
        cmocka_unit_test(conditions),     cmocka_unit_test(synonyms),
        cmocka_unit_test(words),
    };
    return cmocka_run_group_tests_name("keys", tests, NULL, NULL);
}

/* A key that is set is obeyed or refused: every key that depends on another, with every value of that one, set
 * in the file, on the command line, in a base, and in what a program has written. */
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <cmocka.h>

#include "core/key_words.h"
#include "model/network.h"
#include "train/options.h"
#include "train/recorded_config.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

/* When a key is read: where the key `other` has a value for which that is so. */
typedef struct dependence {
    const char *key, *value, *other;
    const char *reads; /* those values, with blanks between them; "above" stands for a number above 0 */
    const char *with;  /* what else has to be so */
    const ls_key_classes *classes; /* instead of `reads`: where the chosen class has the key */
} dependence;

/* Those of keys that no class has, written down by hand. */
static const dependence dependent[] = {
    {"rotation", "10", "augment", "above", "", NULL},
    {"brightness", "0.1", "augment", "above", "", NULL},
    {"contrast", "0.1", "augment", "above", "", NULL},
    {"contrast_probability", "0.1", "contrast", "above", "augment: 0.5\n", NULL},
    {"clip_gradient", "damped", "loss_clip", "above", "", NULL},
    {"timeout", "10", "comm", "auto mpi", "", NULL},
    {"window", "false", "comm", "auto mpi", "", NULL},
    {"record", "off", "device", "auto cuda", "", NULL},
};
enum { DEPENDENT = sizeof dependent / sizeof *dependent, VALUES = LS_KEY_CLASSES_MAX, TEXT = 1024 };

static ls_layer_keys layers[LS_LAYER_CLASSES_MAX];
static char folder[] = "/tmp/lockstep-read-XXXXXX";
static char base_path[64], file_path[64];

static void write_file(const char *path, const char *text) {
    FILE *file = fopen(path, "w");
    assert_non_null(file);
    assert_true(fputs(text, file) >= 0);
    assert_int_equal(fclose(file), 0);
}

static int set_up(void **state) {
    (void)state;
    if (!mkdtemp(folder)) return -1;
    snprintf(base_path, sizeof base_path, "%s/base.yaml", folder);
    snprintf(file_path, sizeof file_path, "%s/own.yaml", folder);
    ls_network_layer_keys(layers);
    return 0;
}

static int tear_down(void **state) {
    (void)state;
    unlink(base_path);
    unlink(file_path);
    return rmdir(folder);
}

/* Loads the file with a text; one override or none. */
static ls_status load(const char *text, const char *override, ls_config **config) {
    write_file(file_path, text);
    *config = NULL;
    return ls_config_load(file_path, &override, override ? 1 : 0, &ls_option_keys, layers,
                          ls_layer_class_count, config);
}

static void expect(bool accepted, const char *text, const char *override, const char *position) {
    ls_config *config;
    const ls_status status = load(text, override, &config);
    ls_config_destroy(&config);
    if (accepted && status != LS_OK) fail_msg("%s%s: %s", text, override ? override : "", ls_error_message());
    if (!accepted && (status != LS_USAGE || !strstr(ls_error_message(), position) ||
                      !strstr(ls_error_message(), "would not be read")))
        fail_msg("%s%s: status %d, %s", text, override ? override : "", (int)status,
                 status == LS_OK ? "" : ls_error_message());
}

/* Is the key in what the configuration resolves to? */
static bool resolves(const char *text, const char *key) {
    ls_config *config;
    char *yaml = NULL, line[80];
    if (load(text, NULL, &config) != LS_OK) fail_msg("%s: %s", text, ls_error_message());
    assert_int_equal(ls_config_resolve(config, &yaml), LS_OK);
    snprintf(line, sizeof line, "\n%s: ", key);
    const bool found = strstr(yaml, line) != NULL;
    free(yaml);
    ls_config_destroy(&config);
    return found;
}

/* All values that are worth a try. */
static int values_of(const ls_key *key, char values[VALUES][32]) {
    int count = 0;
    if (key->type == LS_KEY_REAL) {
        snprintf(values[0], 32, "0");
        snprintf(values[1], 32, "0.25");
        return 2;
    }
    assert_int_equal(key->type, LS_KEY_CHOICE);
    for (; key->classes && count < key->classes->count; count++)
        snprintf(values[count], 32, "%s", key->classes->list[count]->name);
    for (const char *at = key->choices; at; at = strchr(at, '|') ? strchr(at, '|') + 1 : NULL)
        snprintf(values[count++], 32, "%.*s", (int)strcspn(at, "|"), at);
    return count;
}

static bool is_read(const dependence *d, const char *other_value) {
    if (d->classes) return ls_key_find(&ls_key_class_find(d->classes, other_value)->keys, d->key);
    if (strcmp(d->reads, "above") == 0) return strcmp(other_value, "0") != 0;
    for (const char *at = d->reads; *at; at += strcspn(at, " "), at += strspn(at, " "))
        if (strcspn(at, " ") == strlen(other_value) && strncmp(at, other_value, strlen(other_value)) == 0)
            return true;
    return false;
}

/* What the chosen class has no default for, but for the key at hand. */
static void add_required(const dependence *d, const char *other_value, char text[TEXT]) {
    key_words words;
    if (!d->classes) return;
    key_words_of(ls_key_class_find(d->classes, other_value), -1, &words);
    for (int i = 0; i < words.count; i++) {
        const int key = (int)strcspn(words.words[i], "=");
        if ((int)strlen(d->key) == key && strncmp(d->key, words.words[i], (size_t)key) == 0) continue;
        const size_t length = strlen(text);
        snprintf(text + length, TEXT - length, "%.*s: %s\n", key, words.words[i], words.words[i] + key + 1);
    }
}

static void try_pair(const dependence *d, const char *other_value) {
    const char *key = d->key, *value = d->value;
    const bool read = is_read(d, other_value);
    char text[2 * TEXT], override[80], position[160], rest[TEXT];
    snprintf(rest, sizeof rest, "%s: %.31s\n%s", d->other, other_value, d->with);
    add_required(d, other_value, rest);
    snprintf(text, sizeof text, "%s: %s\n%s", key, value, rest);
    snprintf(position, sizeof position, "%s:1:%zu: %s: ", file_path, strlen(key) + 3, key);
    expect(read, text, NULL, position);
    if (read) assert_true(resolves(text, key));

    snprintf(override, sizeof override, "%s=%s", key, value);
    snprintf(position, sizeof position, "command line: %s: %s: ", override, key);
    expect(read, rest, override, position);

    snprintf(text, sizeof text, "%s: %s\n", key, value);
    write_file(base_path, text);
    snprintf(text, sizeof text, "base: base.yaml\n%s", rest);
    expect(true, text, NULL, "");
    assert_int_equal(resolves(text, key), read);

    ls_config *config;
    snprintf(text, sizeof text, "%s: %s\n%s", key, value, rest);
    assert_int_equal(ls_config_parse("recorded", text, strlen(text), &ls_option_keys, layers,
                                     ls_layer_class_count, &config),
                     LS_OK);
    ls_config_destroy(&config);
}

static void try_all(const dependence *d, const ls_key *other) {
    char values[VALUES][32];
    const int count = values_of(other, values);
    assert_in_range(count, 2, VALUES);
    for (int v = 0; v < count; v++) try_pair(d, values[v]);
}

/* The first class that has the key, which is not in the list by itself. */
static const ls_key_class *class_with(const ls_key_classes *classes, const char *key) {
    for (int i = 0; i < classes->count; i++)
        if (ls_key_find(&classes->list[i]->keys, key)) return classes->list[i];
    fail_msg("no class has the key %s", key);
    return NULL;
}

static void all_pairs(void **state) {
    ls_key_table all;
    int by_hand = 0;
    (void)state;
    assert_int_equal(ls_keys_unfold(&ls_option_keys, &all), LS_OK);
    for (int i = 0; i < all.count; i++) {
        const ls_key *key = &all.keys[i], *other = key->when.key ? ls_key_find(&all, key->when.key) : NULL;
        char value[KEY_WORD_MAX];
        if (!other) continue;
        if (key->when.classes) {
            const ls_key_class *class = class_with(key->when.classes, key->name);
            key_other_value(class, ls_key_find(&class->keys, key->name), value);
            try_all(&(dependence){key->name, value, other->name, NULL, "", key->when.classes}, other);
            continue;
        }
        const dependence *found = NULL;
        for (int d = 0; d < DEPENDENT; d++)
            if (strcmp(dependent[d].key, key->name) == 0) found = &dependent[d];
        if (!found) fail_msg("key %s has a condition: expected it in `dependent` of this test", key->name);
        assert_string_equal(found->other, other->name);
        try_all(found, other);
        by_hand++;
    }
    assert_int_equal(by_hand, DEPENDENT);
    free((void *)all.keys);
}

/* A condition on a key that is not read itself does not hold. */
static void chains(void **state) {
    (void)state;
    expect(false, "contrast_probability: 0.5\n", NULL, "contrast_probability: ");
    expect(true, "contrast_probability: 0.5\naugment: 0.5\n", NULL, "");
    expect(false, "contrast_probability: 0.5\naugment: 0.5\ncontrast: 0\n", NULL, "own.yaml:1:23: ");
    expect(true, "augment: 0.5\ncontrast: 0\n", NULL, "");
}

#define NETWORK(batchnorm) "network: [flatten, " batchnorm ", {dense: {units: 3}}]\n"

/* A layer's own keys, and `defaults`, which some layer has to take. */
static void layers_and_defaults(void **state) {
    (void)state;
    expect(true, NETWORK("{batchnorm: {momentum: 0.5}}"), NULL, "");
    expect(false, NETWORK("{batchnorm: {momentum: 0.5, statistics: dataset}}"), NULL, "batchnorm.momentum: ");
    expect(false, NETWORK("{batchnorm: {momentum: 0.5, statistics: cumulative}}"), NULL, "own.yaml:1:43: ");
    expect(false, "defaults: {batchnorm: {momentum: 0.5}}\n" NETWORK("{batchnorm: {statistics: dataset}}"),
           NULL, "own.yaml:1:34: defaults.batchnorm.momentum: ");
    expect(
        true,
        "defaults: {batchnorm: {momentum: 0.5}}\n" NETWORK("{batchnorm: {statistics: dataset}}, batchnorm"),
        NULL, "");
    expect(false, "defaults: {batchnorm: {statistics: dataset}}\n" NETWORK("batchnorm"),
           "defaults.batchnorm.momentum=0.5", "command line: ");
    expect(false, NETWORK("batchnorm"), "defaults.dropout.rate=0.5", "no dropout layer");
    expect(false, NETWORK("{batchnorm: {eps: 1e-3}}"), "defaults.batchnorm.eps=0.5", "no batchnorm layer");
    expect(true, "defaults: {dropout: {rate: 0.5}}\n" NETWORK("batchnorm"), NULL, "");
    write_file(base_path, "defaults: {batchnorm: {momentum: 0.5}}\n");
    expect(true, "base: base.yaml\n" NETWORK("{batchnorm: {statistics: dataset}}"), NULL, "");
}

/* The message says what would have to be so, what is, and where that was said. */
static void message(void **state) {
    char expected[300];
    (void)state;
    write_file(base_path, "optimizer: sgd\n");
    expect(false, "base: base.yaml\nmomentum: 0.5\n", NULL, "");
    snprintf(expected, sizeof expected,
             "%s:2:11: momentum: would not be read: that needs optimizer=momentum, and here optimizer is sgd "
             "(%s:1:12)",
             file_path, base_path);
    assert_string_equal(ls_error_message(), expected);
    expect(false, "seed: 1\n", "gamma=0.5", "");
    /* and whatever other schedules have it */
    assert_non_null(strstr(ls_error_message(),
                           "command line: gamma=0.5: gamma: would not be read: that needs "
                           "schedule=multistep|exponential"));
    assert_non_null(strstr(ls_error_message(), ", and here schedule is constant (the default)"));
}

/* A key comes once, by whatever path. */
static void twice(void **state) {
    static const struct {
        const char *words[2], *message;
    } cases[] = {
        {{"lr=1", "lr=1"}, "command line: lr=1: given twice; first as lr=1"},
        {{"output=a", "output=b c"}, "command line: output=b c: given twice; first as output=a"},
        {{"network.1.dense.units=3", "network.1.dense={units: 4}"},
         "dense.units: given twice; first at command"},
        {{"defaults.dense.bias=true", "defaults={dense: {bias: true}}"}, "defaults.dense.bias: given twice"},
        {{"network=[flatten]", "network=[relu]"}, "given twice"},
    };
    (void)state;
    write_file(file_path, "network: [flatten, {dense: {units: 3}}]\n");
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        ls_config *config = NULL;
        assert_int_equal(ls_config_load(file_path, cases[i].words, 2, &ls_option_keys, layers,
                                        ls_layer_class_count, &config),
                         LS_USAGE);
        if (!strstr(ls_error_message(), cases[i].message)) fail_msg("%s", ls_error_message());
    }
}

/* "~/" in front of a path is the home folder, in files and on the command line; nothing else is. */
static void homes(void **state) {
    static const struct {
        const char *text, *override, *output; /* NULL: refused */
    } cases[] = {{"output: ~/run\n", NULL, "/the home/run"},
                 {"output: '~'\n", NULL, "/the home"},
                 {"output: a/~/b\n", NULL, "a/~/b"},
                 {"output: ./~/b\n", NULL, "./~/b"},
                 {"seed: 1\n", "output=~/run #2", "/the home/run #2"},
                 {"output: ~other/run\n", NULL, NULL}};
    (void)state;
    assert_int_equal(setenv("HOME", "/the home", 1), 0);
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        ls_config *config;
        ls_options options = {0};
        const ls_status status = load(cases[i].text, cases[i].override, &config);
        assert_int_equal(status, cases[i].output ? LS_OK : LS_USAGE);
        if (status != LS_OK) {
            assert_non_null(strstr(ls_error_message(), "own.yaml:1:9: output: found '~other/run'"));
            continue;
        }
        assert_int_equal(ls_config_settings(config, &options), LS_OK);
        assert_string_equal(options.output, cases[i].output);
        ls_keys_free(&ls_option_keys, &options);
        ls_config_destroy(&config);
    }
    ls_config *config;
    assert_int_equal(unsetenv("HOME"), 0);
    assert_int_equal(load("data: ~/mnist\n", NULL, &config), LS_USAGE);
    assert_non_null(strstr(ls_error_message(), "data: found '~/mnist', but HOME is not set"));
    assert_int_equal(setenv("HOME", folder, 1), 0);
    write_file(base_path, "seed: 77\n");
    assert_int_equal(load("base: ~/base.yaml\n", NULL, &config), LS_OK);
    ls_config_destroy(&config);
}

static void encodings(void **state) {
    static const struct {
        const char bytes[24];
        size_t length;
        const char *message;
    } cases[] = {{"\xEF\xBB\xBFlr: 0.5\nseed: 2\n", 19, NULL},
                 {"\xFF\xFEl\0r\0:\0", 8, "1:1: encoded in UTF-16 or UTF-32: expected UTF-8"},
                 {"\xFE\xFF\0l\0r\0:", 8, "1:1: encoded in UTF-16 or UTF-32: expected UTF-8"}};
    (void)state;
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        ls_config *config;
        const ls_status status = ls_config_parse("F", cases[i].bytes, cases[i].length, &ls_option_keys,
                                                 layers, ls_layer_class_count, &config);
        assert_int_equal(status, cases[i].message ? LS_USAGE : LS_OK);
        if (cases[i].message) assert_non_null(strstr(ls_error_message(), cases[i].message));
        if (status == LS_OK) ls_config_destroy(&config);
    }
}

/* What an earlier build recorded, with keys that nothing read, is the same configuration. */
static void recorded(void **state) {
    static const char unread[] =
        "momentum: 0.9\nbeta1: 0.9\nepsilon_inside: false\nmilestones: []\ngamma: 0.1\n"
        "rotation: 45\n";
    ls_config *config;
    char *today, *again, earlier[4096];
    (void)state;
    assert_int_equal(
        load("optimizer: sgd\nlr: 0.25\n" NETWORK("{batchnorm: {statistics: dataset}}"), NULL, &config),
        LS_OK);
    assert_int_equal(ls_config_resolve_result(config, &today), LS_OK);
    assert_null(strstr(today, "momentum"));
    snprintf(earlier, sizeof earlier, "%s%s", unread, today);
    assert_int_equal(ls_recorded_config(earlier, &again), LS_OK);
    assert_string_equal(again, today);
    free(again);
    snprintf(earlier, sizeof earlier, "%sno_such_key: 1\n", today);
    assert_int_equal(ls_recorded_config(earlier, &again), LS_OK);
    assert_string_equal(again, earlier);
    free(again);
    free(today);
    ls_config_destroy(&config);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(all_pairs), cmocka_unit_test(chains),   cmocka_unit_test(layers_and_defaults),
        cmocka_unit_test(message),   cmocka_unit_test(twice),    cmocka_unit_test(homes),
        cmocka_unit_test(encodings), cmocka_unit_test(recorded),
    };
    return cmocka_run_group_tests_name("what is read", tests, set_up, tear_down);
}

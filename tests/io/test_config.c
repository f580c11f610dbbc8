#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <cmocka.h>

#include "io/config_tables.h"
#include "model/network.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#define EXPERIMENTS LOCKSTEP_SOURCE_DIR "/experiments/"

static ls_config *parse(const char *text) {
    ls_config *config = NULL;
    if (ls_config_parse("text", text, strlen(text), &ls_option_keys, layer_types, LAYER_TYPES, &config) !=
        LS_OK)
        fail_msg("%s", ls_error_message());
    return config;
}

static ls_status load_status(const char *path, const char *const *overrides, int count, ls_config **config) {
    *config = NULL;
    return ls_config_load(path, overrides, count, &ls_option_keys, layer_types, LAYER_TYPES, config);
}

static ls_config *load(const char *path, const char *const *overrides, int count) {
    ls_config *config;
    if (load_status(path, overrides, count, &config) != LS_OK) fail_msg("%s", ls_error_message());
    return config;
}

static ls_options options_of(const ls_config *config) {
    ls_options options = {0};
    assert_int_equal(ls_config_settings(config, &options), LS_OK);
    return options;
}

static dense_settings dense_of(const ls_config *config, int i) {
    dense_settings dense = {0};
    assert_int_equal(ls_config_layer_type(config, i), DENSE);
    assert_int_equal(ls_config_layer_settings(config, i, &dense), LS_OK);
    return dense;
}

static dropout_settings dropout_of(const ls_config *config, int i) {
    dropout_settings dropout = {0};
    assert_int_equal(ls_config_layer_type(config, i), DROPOUT);
    assert_int_equal(ls_config_layer_settings(config, i, &dropout), LS_OK);
    return dropout;
}

static void free_dense(dense_settings *dense) {
    ls_keys_free(&layer_types[DENSE].keys, dense);
}
static void free_dropout(dropout_settings *dropout) {
    ls_keys_free(&layer_types[DROPOUT].keys, dropout);
}

/* Resolving gives text that parses to the same settings, and resolves to the same text. */
static void check_round_trip(const ls_config *config) {
    char *first = NULL, *second = NULL;
    assert_int_equal(ls_config_resolve(config, &first), LS_OK);
    ls_config *again = parse(first);
    assert_int_equal(ls_config_resolve(again, &second), LS_OK);
    assert_string_equal(first, second);
    assert_int_equal(ls_config_layer_count(again), ls_config_layer_count(config));
    for (int i = 0; i < ls_config_layer_count(config); i++)
        assert_int_equal(ls_config_layer_type(again, i), ls_config_layer_type(config, i));
    ls_options a = options_of(config), b = options_of(again);
    for (int i = 0; i < ls_option_keys.count; i++) {
        char one[LS_KEY_TEXT_MAX], other[LS_KEY_TEXT_MAX];
        ls_key_format(&ls_option_keys.keys[i], &a, one, sizeof one);
        ls_key_format(&ls_option_keys.keys[i], &b, other, sizeof other);
        assert_string_equal(one, other);
    }
    ls_keys_free(&ls_option_keys, &a);
    ls_keys_free(&ls_option_keys, &b);
    ls_config_destroy(&again);
    free(first);
    free(second);
}

/* The value of a run key, also of those of an optimizer or a schedule. */
static void assert_value(const ls_config *config, const char *key, const char *expected) {
    char text[LS_KEY_TEXT_MAX];
    const ls_key *found = ls_key_find(ls_config_run_keys(config), key);
    assert_non_null(found);
    assert_int_equal(ls_config_run_value(config, found, text, sizeof text), LS_OK);
    assert_string_equal(text, expected);
}

/* A folder for the files of one test. */
static int make_folder(void **state) {
    char *folder = strdup("/tmp/lockstep-config-XXXXXX");
    if (!folder || !mkdtemp(folder)) return -1;
    *state = folder;
    return 0;
}

static char *file_path(const char *folder, const char *name) {
    static char path[4][600];
    static int next;
    char *place = path[next++ % 4];
    snprintf(place, sizeof path[0], "%s/%s", folder, name);
    return place;
}

static const char *write_file(const char *folder, const char *name, const char *text) {
    const char *path = file_path(folder, name);
    FILE *file = fopen(path, "wb");
    assert_non_null(file);
    assert_int_equal(fwrite(text, 1, strlen(text), file), strlen(text));
    assert_int_equal(fclose(file), 0);
    return path;
}

static int remove_folder(void **state) {
    char command[700];
    snprintf(command, sizeof command, "rm -rf '%s'", (char *)*state);
    int code = system(command);
    free(*state);
    return code;
}

static void defaults_only(void **state) {
    (void)state;
    ls_config *config = parse("{}");
    ls_options options = options_of(config);
    assert_int_equal(options.epochs, 30);
    assert_string_equal(options.output, "");
    assert_int_equal(ls_config_layer_count(config), 0);
    assert_string_equal(ls_config_key_position(config, "lr"), "default");
    check_round_trip(config);
    ls_keys_free(&ls_option_keys, &options);
    ls_config_destroy(&config);
    ls_config_destroy(&config);
}

static void values_and_positions(void **state) {
    (void)state;
    ls_config *config = parse("# a comment\n"
                              "lr: 5.0e-2\n"
                              "\"seed\": 9007199254740992\n"
                              "optimizer: 'adam'\n"
                              "milestones:\n"
                              "- 2000\n"
                              "- 4000\n"
                              "output: 'it''s #1: \"x\" \\ y'\n"
                              "data: 123\n"
                              "epsilon_inside: true\n"
                              "schedule: multistep\n"
                              "network:\n"
                              "  - relu\n"
                              "  - {dense: {units: 3, init: normal, name: \"a, b\"}}\n"
                              "  - batchnorm:\n"
                              "  - tanh: {}\n");
    ls_options options = options_of(config);
    assert_true(options.lr == 0.05);
    assert_true(options.seed == INT64_C(9007199254740992));
    assert_string_equal(ls_optimizers.list[options.optimizer]->name, "adam");
    assert_value(config, "milestones", "[2000, 4000]");
    assert_string_equal(options.output, "it's #1: \"x\" \\ y");
    assert_string_equal(options.data, "123");
    assert_value(config, "epsilon_inside", "true");
    assert_string_equal(ls_config_key_position(config, "optimizer"), "text:4:12");
    assert_string_equal(ls_config_key_position(config, "no such key"), "default");
    assert_int_equal(ls_config_layer_count(config), 4);
    assert_int_equal(ls_config_layer_type(config, 0), RELU);
    assert_int_equal(ls_config_layer_type(config, 3), TANH);
    assert_string_equal(ls_config_layer_position(config, 1), "text:14:5");
    dense_settings dense = dense_of(config, 1);
    assert_int_equal(dense.units, 3);
    assert_true(dense.bias);
    assert_int_equal(dense.init, 4);
    assert_string_equal(dense.name, "a, b");
    check_round_trip(config);
    free_dense(&dense);
    ls_keys_free(&ls_option_keys, &options);
    ls_config_destroy(&config);
}

/* A byte order mark, Windows line ends and %YAML are all valid. */
static void other_forms(void **state) {
    (void)state;
    static const char *const forms[] = {"\xEF\xBB\xBFlr: 0.5\n",
                                        "\xEF\xBB\xBFlr: 0.5\nepochs: 3\n",
                                        "lr: 0.5\r\nepochs: 3\r\n",
                                        "%YAML 1.1\n---\nlr: 0.5\n...\n",
                                        "{lr: 0.5}",
                                        "{\"lr\": 0.5, 'epochs': 3}"};
    for (size_t i = 0; i < sizeof forms / sizeof *forms; i++) {
        ls_config *config = parse(forms[i]);
        ls_options options = options_of(config);
        assert_true(options.lr == 0.5);
        ls_keys_free(&ls_option_keys, &options);
        ls_config_destroy(&config);
    }
}

static void bases_and_defaults(void **state) {
    const char *folder = *state;
    assert_int_equal(mkdir(file_path(folder, "base"), 0700), 0);
    write_file(folder, "base/first.yaml",
               "lr: 0.1\nepochs: 1\nbatch: 8\n"
               "defaults: {dense: {init: kaiming, bias: false}, dropout: {rate: 0.1}}\nnetwork: [relu]\n");
    write_file(folder, "base/second.yaml",
               "lr: 0.2\nepochs: 2\nbase: first.yaml\ndefaults: {dropout: {rate: 0.2}}\n");
    const char *path =
        write_file(folder, "third.yaml",
                   "network: [{dense: {units: 5, init: torch}}, dropout, {dropout: {rate: 0.7}}]\n"
                   "defaults: {dense: {bias: true}}\nbase: base/second.yaml\nlr: 0.3\n");
    ls_config *config = load(path, NULL, 0);
    ls_options options = options_of(config);
    assert_true(options.lr == 0.3);
    assert_int_equal(options.epochs, 2);
    assert_int_equal(options.batch, 8);
    assert_non_null(strstr(ls_config_key_position(config, "epochs"), "/base/second.yaml:2:9"));
    assert_non_null(strstr(ls_config_key_position(config, "batch"), "/base/first.yaml:3:8"));
    assert_int_equal(ls_config_layer_count(config), 3);
    dense_settings dense = dense_of(config, 0);
    assert_true(dense.bias);         /* defaults of the file over those of its base */
    assert_int_equal(dense.init, 5); /* the layer over all defaults */
    dropout_settings plain = dropout_of(config, 1), own = dropout_of(config, 2);
    assert_true(plain.rate == 0.2);
    assert_true(own.rate == 0.7);
    check_round_trip(config);
    free_dense(&dense);
    free_dropout(&plain);
    free_dropout(&own);
    ls_keys_free(&ls_option_keys, &options);
    ls_config_destroy(&config);

    /* The order of keys in a file does not matter; an absolute base works. */
    char text[700];
    snprintf(text, sizeof text, "base: %s\n", path);
    config = load(write_file(folder, "base/fourth.yaml", text), NULL, 0);
    assert_int_equal(ls_config_layer_count(config), 3);
    ls_config_destroy(&config);
}

/* Eight bases are read, a ninth is refused; cycles are named. */
static void base_chains(void **state) {
    const char *folder = *state;
    ls_config *config;
    for (int i = 0; i <= 9; i++) {
        char name[20], text[60];
        snprintf(name, sizeof name, "%d.yaml", i);
        snprintf(text, sizeof text, "epochs: %d\n%s%d%s\n", i + 1, i ? "base: " : "# ", i - 1, ".yaml");
        write_file(folder, name, text);
    }
    config = load(file_path(folder, "8.yaml"), NULL, 0);
    ls_config_destroy(&config);
    assert_int_equal(load_status(file_path(folder, "9.yaml"), NULL, 0, &config), LS_USAGE);
    assert_non_null(strstr(ls_error_message(), "1.yaml:2:7: base: more than 8 files deep"));

    write_file(folder, "a.yaml", "base: b.yaml\n");
    write_file(folder, "b.yaml", "epochs: 3\nbase: ./a.yaml\n");
    assert_int_equal(load_status(file_path(folder, "a.yaml"), NULL, 0, &config), LS_USAGE);
    assert_non_null(strstr(ls_error_message(), "b.yaml:2:7: base: cycle: "));
    write_file(folder, "self.yaml", "base: self.yaml\n");
    assert_int_equal(load_status(file_path(folder, "self.yaml"), NULL, 0, &config), LS_USAGE);
    assert_non_null(strstr(ls_error_message(), "self.yaml:1:7: base: cycle: "));
}

static void files_that_cannot_be_read(void **state) {
    const char *folder = *state;
    ls_config *config;
    assert_int_equal(load_status(file_path(folder, "none.yaml"), NULL, 0, &config), LS_USAGE);
    assert_non_null(strstr(ls_error_message(), "none.yaml: cannot be opened: No such file"));
    assert_int_equal(load_status(folder, NULL, 0, &config), LS_USAGE);
    assert_non_null(strstr(ls_error_message(), "Is a directory"));
    write_file(folder, "a.yaml", "\nbase: none.yaml\n");
    assert_int_equal(load_status(file_path(folder, "a.yaml"), NULL, 0, &config), LS_USAGE);
    assert_non_null(strstr(ls_error_message(), "a.yaml:2:7: base: "));
    assert_int_equal(load_status("/dev/zero", NULL, 0, &config), LS_USAGE);
    assert_non_null(strstr(ls_error_message(), "/dev/zero: larger than 1048576 bytes"));
    assert_null(config);
}

static void overrides(void **state) {
    (void)state;
    static const char *const given[] = {"lr=0.5",
                                        "schedule=multistep",
                                        "milestones=[7, 9]",
                                        "output=",
                                        "data= a=b: &c #\"d'",
                                        "network.2.dense.units=300",
                                        "network.2.dense={init: torch}",
                                        "defaults.dropout.rate=0.5",
                                        "defaults={batchnorm: {eps: 1e-3}}",
                                        "network.10.dense.name=x y",
                                        "defaults.dense={bias: false}",
                                        "network.4=tanh",
                                        "network.5={dropout: {rate: 0.25}}"};
    ls_config *config = load(EXPERIMENTS "table1/row6-published.yaml", given, sizeof given / sizeof *given);
    ls_options options = options_of(config);
    assert_true(options.lr == 0.5);
    assert_string_equal(ls_config_key_position(config, "lr"), "command line: lr=0.5");
    assert_value(config, "milestones", "[7, 9]");
    assert_string_equal(options.data, " a=b: &c #\"d'");
    assert_string_equal(options.output, "");
    dense_settings dense = dense_of(config, 2);
    assert_int_equal(dense.units, 300);
    assert_int_equal(dense.init, 5);
    assert_false(dense.bias);
    assert_int_equal(ls_config_layer_type(config, 4), TANH);
    assert_string_equal(ls_config_layer_position(config, 4), "command line: network.4=tanh");
    dropout_settings first = dropout_of(config, 5), second = dropout_of(config, 9);
    assert_true(first.rate == 0.25);
    assert_true(second.rate == 0.5);
    dense_settings named = dense_of(config, 10);
    assert_string_equal(named.name, "x y");
    free_dense(&named);
    batchnorm_settings norm = {0};
    assert_int_equal(ls_config_layer_settings(config, 1, &norm), LS_OK);
    assert_true(norm.eps == 1e-3);
    assert_false(norm.affine);
    check_round_trip(config);
    ls_keys_free(&layer_types[BATCHNORM].keys, &norm);
    free_dropout(&first);
    free_dropout(&second);
    free_dense(&dense);
    ls_keys_free(&ls_option_keys, &options);
    ls_config_destroy(&config);

    static const char *const alone[] = {"network=[relu, {dense: {units: 2}}]"};
    config = load(NULL, alone, 1);
    assert_int_equal(ls_config_layer_count(config), 2);
    ls_config_destroy(&config);
}

static void bad_overrides(void **state) {
    (void)state;
    static const struct {
        const char *text, *message;
    } cases[] = {
        {"lr", "command line: lr: expected KEY=VALUE"},
        {"=1", "expected KEY=VALUE"},
        {"lr=", "command line: lr=: lr: found the quoted text"},
        {"lr=abc", "command line: lr=abc: lr: not a number: found 'abc', expected a number from 0 to 1000"},
        {"epcohs=3", "command line: epcohs=3: unknown key 'epcohs'; did you mean 'epochs'?"},
        {"base=x.yaml", "base: only a file may name its base"},
        {"base.x=1", "base: only a file may name its base"},
        {"lr.x=1", "only network and defaults have parts"},
        {"milestones=3", "milestones: not a list: found '3', expected [..]"},
        {"milestones=[3", "not valid YAML"},
        {"milestones=- 3", "write a list as [a, b]"},
        {"precision=a: b", "text with ': ' in quotes"},
        {"precision=&x y", "anchors"},
        {"lr=1\n---\nb", "more than one document"},
        {"output=a\nb", "output: control character in text"},
        {"learning_rate=1", "unknown key 'learning_rate'; did you mean 'lr'?"},
        {"network.2.Linear.units=3", "unknown layer 'Linear'; did you mean 'dense'?"},
        {"network.2.dense.out_features=3", "unknown key 'dense.out_features'; did you mean 'units'?"},
        {"output=\xff", "not valid YAML"},
        {"network.99=relu", "network: no layer '99': there are 11, counted from 0"},
        {"network.-1=relu", "no layer '-1'"},
        {"network.1x=relu", "no layer '1x'"},
        {"network.=relu", "no layer ''"},
        {"network.99999999999999999999=relu", "no layer"},
        {"network.2.relu.name=a", "network: layer 2 is a 'dense', not a 'relu'"},
        {"network.2.dens.units=3", "unknown layer 'dens'; did you mean 'dense'?"},
        {"network.2.dense.unit=3", "unknown key 'dense.unit'; did you mean 'units'?"},
        {"network.2.dense.units.x=3", "unknown key 'dense.units.x'; did you mean 'units'?"},
        {"network.2.dense.units=0",
         "dense.units: out of range: found '0', expected an integer from 1 to 1000000"},
        {"network.2.dense={units: 1, units: 2}", "dense.units: given twice"},
        {"network.2={dense: {}}", "dense.units: not given, and there is no default (number of outputs)"},
        {"network=relu", "network: found 'relu', expected a list of layers"},
        {"defaults.dropout=0.5", "defaults.dropout: found '0.5', expected a map of settings"},
        {"defaults.dropout.rat=0.5", "unknown key 'defaults.dropout.rat'; did you mean 'rate'?"},
        {"defaults=1", "defaults: found '1', expected a map of layer names"},
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        ls_config *config;
        assert_int_equal(load_status(EXPERIMENTS "table1/row6-stated.yaml", &cases[i].text, 1, &config),
                         LS_USAGE);
        if (strncmp(ls_error_message(), "command line: ", 14) != 0 ||
            !strstr(ls_error_message(), cases[i].message))
            fail_msg("%s: %s", cases[i].text, ls_error_message());
        assert_null(config);
    }
}

static void experiments(void **state) {
    (void)state;
    static const struct {
        const char *path;
        int pixels, clip_gradient, init, statistics;
        double augment;
    } cases[] = {{EXPERIMENTS "table1/row6-published.yaml", LS_PIXELS_BYTES, LS_CLIP_DAMPED, 2, 1, 0.5},
                 {EXPERIMENTS "table1/row6-stated.yaml", LS_PIXELS_UNIT, LS_CLIP_IGNORED, 0, 2, 0}};
    static const int types[] = {FLATTEN, BATCHNORM, DENSE, BATCHNORM, RELU, DROPOUT,
                                DENSE,   BATCHNORM, RELU,  DROPOUT,   DENSE};
    static const int units[] = {0, 0, 600, 0, 0, 0, 100, 0, 0, 0, 10};
    for (size_t c = 0; c < 2; c++) {
        ls_config *config = load(cases[c].path, NULL, 0);
        ls_options options = options_of(config);
        assert_int_equal(options.pixels, cases[c].pixels);
        assert_int_equal(options.clip_gradient, cases[c].clip_gradient);
        assert_true(options.augment == cases[c].augment);
        assert_true(options.lr == 0.05 && options.l2_mean == 0.5 && options.decay_power == 0.2);
        assert_true(options.loss_clip == 1e-8);
        assert_value(config, "epsilon", "1.0e-08");
        assert_value(config, "epsilon_inside", "true");
        assert_int_equal(options.batch, 256);
        assert_int_equal(options.epochs, 30);
        assert_int_equal(ls_config_layer_count(config), 11);
        for (int i = 0; i < 11; i++) {
            assert_int_equal(ls_config_layer_type(config, i), types[i]);
            if (types[i] == DENSE) {
                dense_settings dense = dense_of(config, i);
                assert_int_equal(dense.units, units[i]);
                assert_int_equal(dense.init, cases[c].init);
                free_dense(&dense);
            } else if (types[i] == DROPOUT) {
                dropout_settings dropout = dropout_of(config, i);
                assert_true(dropout.rate == 0.3);
                free_dropout(&dropout);
            } else if (types[i] == BATCHNORM) {
                batchnorm_settings norm = {0};
                assert_int_equal(ls_config_layer_settings(config, i, &norm), LS_OK);
                assert_true(norm.eps == 1e-8 && !norm.affine);
                assert_int_equal(norm.statistics, cases[c].statistics);
                ls_keys_free(&layer_types[BATCHNORM].keys, &norm);
            }
        }
        check_round_trip(config);
        ls_keys_free(&ls_option_keys, &options);
        ls_config_destroy(&config);
    }
}

/* The layers of the program itself read every experiment, too: the tables above do not drift away unseen. */
static void experiments_with_real_layers(void **state) {
    (void)state;
    static const char *const paths[] = {EXPERIMENTS "table1/row6-published.yaml",
                                        EXPERIMENTS "table1/row6-stated.yaml"};
    ls_layer_keys tables[LS_LAYER_CLASSES_MAX];
    ls_network_layer_keys(tables);
    for (size_t i = 0; i < sizeof paths / sizeof *paths; i++) {
        ls_config *config = NULL;
        if (ls_config_load(paths[i], NULL, 0, &ls_option_keys, tables, ls_layer_class_count, &config) !=
            LS_OK)
            fail_msg("%s", ls_error_message());
        ls_config_destroy(&config);
    }
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(defaults_only),
        cmocka_unit_test(values_and_positions),
        cmocka_unit_test(other_forms),
        cmocka_unit_test_setup_teardown(bases_and_defaults, make_folder, remove_folder),
        cmocka_unit_test_setup_teardown(base_chains, make_folder, remove_folder),
        cmocka_unit_test_setup_teardown(files_that_cannot_be_read, make_folder, remove_folder),
        cmocka_unit_test(overrides),
        cmocka_unit_test(bad_overrides),
        cmocka_unit_test(experiments),
        cmocka_unit_test(experiments_with_real_layers),
    };
    return cmocka_run_group_tests_name("config", tests, NULL, NULL);
}

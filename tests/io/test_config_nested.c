/* Networks of layers in layers: reading, repetition, overrides that reach inside, limits, and damage. */
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <cmocka.h>

#include "io/config_tables.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* The linker sends the library's allocations here (--wrap), so that each of them can be made to fail. */
void *__real_calloc(size_t count, size_t size);
void *__real_realloc(void *memory, size_t size);
char *__real_strdup(const char *text);
void *__wrap_calloc(size_t count, size_t size);
void *__wrap_realloc(void *memory, size_t size);
char *__wrap_strdup(const char *text);

static long allocations_left = -1; /* -1: as many as wanted */
static bool may_allocate(void) {
    return allocations_left < 0 || allocations_left-- > 0;
}

void *__wrap_calloc(size_t count, size_t size) {
    return may_allocate() ? __real_calloc(count, size) : NULL;
}
void *__wrap_realloc(void *memory, size_t size) {
    return may_allocate() ? __real_realloc(memory, size) : NULL;
}
char *__wrap_strdup(const char *text) {
    return may_allocate() ? __real_strdup(text) : NULL;
}

static ls_status parse_with(const char *text, const char *const *overrides, int count, ls_config **config) {
    *config = NULL;
    LS_TRY(ls_config_parse("F", text, strlen(text), &ls_option_keys, layer_types, LAYER_TYPES, config));
    ls_status status = ls_config_override(*config, overrides, count);
    if (status != LS_OK) ls_config_destroy(config);
    return status;
}

static ls_config *parse(const char *text) {
    ls_config *config;
    if (parse_with(text, NULL, 0, &config) != LS_OK) fail_msg("%s", ls_error_message());
    return config;
}

/* Every layer as "type place(its layers)", lists in braces: dense 0, residual 1{..}{..}. */
static void describe(const ls_config *config, char *text, size_t size) {
    int open[LAYER_TYPES * 100], depth = 0;
    size_t at = 0;
    text[0] = '\0';
    for (int i = 0; i < ls_config_layer_count(config); i++) {
        int branch, place, parent = ls_config_layer_parent(config, i, &branch, &place);
        while (depth > 0 && open[depth - 1] != parent) depth--;
        at += (size_t)snprintf(text + at, size - at, "%s%*s%s", i ? "\n" : "", 2 * depth, "",
                               layer_types[ls_config_layer_type(config, i)].name);
        at += (size_t)snprintf(text + at, size - at, " %d.%d", branch, place);
        open[depth++] = i;
    }
}

static void expect_tree(const ls_config *config, const char *want) {
    char text[4096];
    describe(config, text, sizeof text);
    assert_string_equal(text, want);
}

/* What is resolved gives the same tree and the same text. */
static void check_round_trip(const ls_config *config) {
    char *first = NULL, *second = NULL, one[4096], other[4096];
    assert_int_equal(ls_config_resolve(config, &first), LS_OK);
    ls_config *again = parse(first);
    assert_int_equal(ls_config_resolve(again, &second), LS_OK);
    assert_string_equal(first, second);
    describe(config, one, sizeof one);
    describe(again, other, sizeof other);
    assert_string_equal(one, other);
    ls_config_destroy(&again);
    free(first);
    free(second);
}

static int64_t units_of(const ls_config *config, int i) {
    dense_settings dense = {0};
    assert_int_equal(ls_config_layer_type(config, i), DENSE);
    assert_int_equal(ls_config_layer_settings(config, i, &dense), LS_OK);
    ls_keys_free(&layer_types[DENSE].keys, &dense);
    return dense.units;
}

static const char block[] = "defaults: {dense: {units: 7, bias: false}}\n"
                            "network:\n"
                            "  - relu\n"
                            "  - residual:\n"
                            "      shortcut: [tanh]\n"
                            "      name: block\n"
                            "      body:\n"
                            "        - dense\n"
                            "        - sequential: {layers: [relu, {dense: {units: 3}}]}\n"
                            "  - repeat:\n"
                            "      times: 2\n"
                            "      layers: [tanh, {residual: {body: [dense]}}]\n"
                            "  - dense: {units: 2}\n";

static void tree(void **state) {
    (void)state;
    ls_config *config = parse(block);
    expect_tree(config, "relu 0.0\n"
                        "residual 0.1\n"
                        "  dense 0.0\n"
                        "  sequential 0.1\n"
                        "    relu 0.0\n"
                        "    dense 0.1\n"
                        "  tanh 1.0\n"
                        "tanh 0.2\n"
                        "residual 0.3\n"
                        "  dense 0.0\n"
                        "tanh 0.4\n"
                        "residual 0.5\n"
                        "  dense 0.0\n"
                        "dense 0.6");
    assert_int_equal(units_of(config, 2), 7);
    assert_int_equal(units_of(config, 5), 3);
    assert_string_equal(ls_config_layer_position(config, 5), "F:9:39");
    assert_string_equal(ls_config_layer_position(config, 8), "F:12:22");
    assert_string_equal(ls_config_layer_position(config, 11), "F:12:22");
    char path[128];
    assert_string_equal(ls_config_layer_path(config, 0, path, sizeof path), "network.0");
    assert_string_equal(ls_config_layer_path(config, 5, path, sizeof path),
                        "network.1.residual.body.1.sequential.layers.1");
    assert_string_equal(ls_config_layer_path(config, 6, path, sizeof path), "network.1.residual.shortcut.0");
    assert_string_equal(ls_config_layer_path(config, 6, path, 12), "network.1.r");
    named_settings named = {0};
    assert_int_equal(ls_config_layer_settings(config, 1, &named), LS_OK);
    assert_string_equal(named.name, "block");
    ls_keys_free(&layer_types[RESIDUAL].keys, &named);
    check_round_trip(config);
    ls_config_destroy(&config);
}

/* One key a line, so that two configurations can be compared line by line. */
static void resolved(void **state) {
    (void)state;
    ls_config *config = parse(block);
    char *text = NULL;
    assert_int_equal(ls_config_resolve(config, &text), LS_OK);
    const char *network = strstr(text, "network:\n");
    assert_non_null(network);
    static const char want[] = "network:\n"
                               "  - relu: {name: \"\"}\n"
                               "  - residual:\n"
                               "      body:\n"
                               "        - dense: {units: 7, bias: false, init: xavier, name: \"\"}\n"
                               "        - sequential:\n"
                               "            layers:\n"
                               "              - relu: {name: \"\"}\n"
                               "              - dense: {units: 3, bias: false, init: xavier, name: \"\"}\n"
                               "            name: \"\"\n"
                               "      shortcut:\n"
                               "        - tanh: {name: \"\"}\n"
                               "      name: block\n"
                               "  - tanh: {name: \"\"}\n"
                               "  - residual:\n"
                               "      body:\n"
                               "        - dense: {units: 7, bias: false, init: xavier, name: \"\"}\n"
                               "      shortcut: []\n"
                               "      name: \"\"\n";
    assert_memory_equal(network, want, sizeof want - 1);
    free(text);
    ls_config_destroy(&config);
}

static void overrides(void **state) {
    (void)state;
    static const char *const given[] = {
        "network.1.residual.body.0.dense.units=300",
        "network.1.residual.body.1.sequential.layers.1.dense={bias: true}",
        "network.1.residual.body.1.sequential.layers.0=tanh",
        "network.1.residual.name=other",
        "network.1.residual.shortcut=[]",
        "network.3.residual.shortcut=[relu, {repeat: {times: 2, layers: [tanh]}}]",
        "network.4={repeat: {times: 3, layers: [relu]}}",
        "network.0={residual: {body: [tanh]}}",
        "defaults.dense.units=9"};
    ls_config *config;
    if (parse_with(block, given, sizeof given / sizeof *given, &config) != LS_OK)
        fail_msg("%s", ls_error_message());
    expect_tree(config, "residual 0.0\n"
                        "  tanh 0.0\n"
                        "residual 0.1\n"
                        "  dense 0.0\n"
                        "  sequential 0.1\n"
                        "    tanh 0.0\n"
                        "    dense 0.1\n"
                        "tanh 0.2\n"
                        "residual 0.3\n"
                        "  dense 0.0\n"
                        "  relu 1.0\n"
                        "  tanh 1.1\n"
                        "  tanh 1.2\n"
                        "relu 0.4\n"
                        "relu 0.5\n"
                        "relu 0.6\n"
                        "residual 0.7\n"
                        "  dense 0.0\n"
                        "dense 0.8");
    assert_int_equal(units_of(config, 3), 300);
    assert_int_equal(units_of(config, 6), 3);
    assert_int_equal(units_of(config, 9), 9);
    assert_string_equal(ls_config_layer_position(config, 5),
                        "command line: network.1.residual.body.1.sequential.layers.0=tanh");
    check_round_trip(config);
    ls_config_destroy(&config);
}

static void bad_overrides(void **state) {
    (void)state;
    static const struct {
        const char *text, *message;
    } cases[] = {
        {"network.1.residual.body.9=relu", "residual.body: no layer '9': there are 2, counted from 0"},
        {"network.1.residual.body.0.relu.name=a", "residual.body: layer 0 is a 'dense', not a 'relu'"},
        {"network.1.residual.body.0.dense.unit=3", "unknown key 'dense.unit'; did you mean 'units'?"},
        {"network.1.residual.bdy.0=relu", "unknown key 'residual.bdy.0'"},
        {"network.1.residual.name.0=relu", "unknown key 'residual.name.0'"},
        {"network.1.residual.body=[]", "residual.body: found no layers, expected at least 1"},
        {"network.1.residual.body=relu", "residual.body: found 'relu', expected a list of layers"},
        {"network.1.residual.body.=relu", "no layer ''"},
        {"network.2.repeat.times=3", "unknown layer 'repeat'"},
        {"network.1.residual.body.0={repeat: {times: 4097, layers: [relu]}}",
         "repeat.times: out of range: found '4097', expected an integer from 1 to 4096"},
        {"network.1.residual.body.0={repeat: {times: 4090, layers: [relu]}}",
         "command line: network: 4103 layers, expected at most 4096"},
        {"defaults.residual={body: [relu]}", "defaults.residual.body: layers belong into the network"},
        {"defaults.residual.shortcut=[relu]", "defaults.residual.shortcut: layers belong into the network"},
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        ls_config *config;
        assert_int_equal(parse_with(block, &cases[i].text, 1, &config), LS_USAGE);
        if (strncmp(ls_error_message(), "command line: ", 14) != 0 ||
            !strstr(ls_error_message(), cases[i].message))
            fail_msg("%s: %s", cases[i].text, ls_error_message());
    }
}

static void damaged(void **state) {
    (void)state;
    static const struct {
        const char *network, *message;
    } cases[] = {
        {"[residual]", "F:1:11: residual.body: not given, and there is no default (the layers)"},
        {"[{residual: {shortcut: [relu]}}]", "F:1:11: residual.body: not given"},
        {"[{residual: {body: []}}]", "F:1:29: residual.body: found no layers, expected at least 1"},
        {"[{residual: {body: relu}}]", "F:1:29: residual.body: found 'relu', expected a list of layers"},
        {"[{residual: {body: }}]", "F:1:29: residual.body: found nothing, expected a list of layers"},
        {"[{residual: [relu]}]", "F:1:22: residual: found a list, expected a map of settings"},
        {"[{residual: {body: [relu], body: [tanh]}}]", "F:1:37: residual.body: given twice; first at F:1:29"},
        {"[{residual: {body: [rule]}}]", "F:1:30: unknown layer 'rule'; did you mean 'relu'?"},
        {"[{residual: {body: [[relu]]}}]", "F:1:30: residual.body: found a list, expected a layer"},
        {"[{residual: {body: [{dense: {units: 0}}]}}]", "F:1:46: dense.units: out of range: found '0'"},
        {"[{residual: {bodies: [relu]}}]", "F:1:23: unknown key 'residual.bodies'"},
        {"[{residual: {body: [dense]}}]", "F:1:30: dense.units: not given"},
        {"[sequential]", "F:1:11: sequential.layers: not given"},
        {"[{sequential: {layers: []}}]", "F:1:33: sequential.layers: found no layers, expected at least 1"},
        {"[repeat]", "F:1:11: repeat: found nothing, expected {times: N, layers: [..]}"},
        {"[{repeat: 3}]", "F:1:20: repeat: found '3', expected {times: N, layers: [..]}"},
        {"[{repeat: {layers: [relu]}}]", "F:1:20: repeat.times: not given"},
        {"[{repeat: {times: 2}}]", "F:1:20: repeat.layers: not given"},
        {"[{repeat: {times: 2, times: 2}}]", "F:1:31: repeat.times: given twice"},
        {"[{repeat: {time: 2}}]", "F:1:21: unknown key 'repeat.time'; expected times and layers"},
        {"[{repeat: {times: 0, layers: [relu]}}]", "F:1:28: repeat.times: out of range: found '0'"},
        {"[{repeat: {times: 1000000000, layers: [relu]}}]",
         "F:1:28: repeat.times: out of range: found '1000000000', expected an integer from 1 to 4096"},
        {"[{repeat: {times: -1, layers: [relu]}}]", "F:1:28: repeat.times: out of range"},
        {"[{repeat: {times: x, layers: [relu]}}]", "F:1:28: repeat.times: not an integer"},
        {"[{repeat: {times: [2], layers: [relu]}}]", "F:1:28: repeat.times: found a list"},
        {"[{repeat: {times: 2, layers: []}}]", "F:1:39: repeat.layers: found no layers"},
        {"[{repeat: {times: 2, layers: relu}}]", "F:1:39: repeat.layers: found 'relu', expected a list"},
        {"[{repeat: {times: 4096, layers: [relu, tanh]}}]", "F:1:43: more than 4096 layers"},
        {"[{repeat: {times: 4096, layers: [{repeat: {times: 4096, layers: [relu]}}]}}]",
         "more than 4096 layers"},
    };
    size_t good = 0;
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        char text[256];
        ls_config *config;
        snprintf(text, sizeof text, "network: %s\n", cases[i].network);
        if (parse_with(text, NULL, 0, &config) == LS_USAGE && strstr(ls_error_message(), cases[i].message))
            good++;
        else
            print_error("%s: %s\n", cases[i].network, ls_error_message());
        ls_config_destroy(&config);
    }
    assert_int_equal(good, sizeof cases / sizeof *cases);
}

static ls_status parse_nested(const char *layer, int levels, ls_config **config) {
    char text[4096] = "network: [";
    for (int i = 1; i < levels; i++) strcat(text, layer);
    strcat(text, "relu");
    for (int i = 1; i < levels; i++) strcat(text, "]}}");
    strcat(text, "]\n");
    return parse_with(text, NULL, 0, config);
}

static void limits(void **state) {
    (void)state;
    static const char *const layers[] = {"{residual: {body: [", "{sequential: {layers: [",
                                         "{repeat: {times: 1, layers: ["};
    ls_config *config;
    for (size_t i = 0; i < sizeof layers / sizeof *layers; i++) {
        assert_int_equal(parse_nested(layers[i], 16, &config), LS_OK);
        check_round_trip(config);
        ls_config_destroy(&config);
        assert_int_equal(parse_nested(layers[i], 17, &config), LS_USAGE);
        assert_non_null(strstr(ls_error_message(), "layers nested deeper than 16 levels"));
    }
    /* an override does not get deeper than a file */
    static const char *const deeper[] = {
        "network.0.sequential.layers.0={sequential: {layers: [{sequential: {layers: [relu]}}]}}"};
    assert_int_equal(parse_with("network: [{sequential: {layers: [relu]}}]", deeper, 1, &config), LS_OK);
    ls_config_destroy(&config);
    char nested[2048] = "network: [", path[1024] = "network.0";
    for (int i = 1; i < 15; i++) strcat(nested, layers[1]), strcat(path, ".sequential.layers.0");
    strcat(nested, "relu");
    for (int i = 1; i < 15; i++) strcat(nested, "]}}");
    strcat(nested, "]\n");
    strcat(path, "={sequential: {layers: [relu]}}");
    const char *one = path;
    assert_int_equal(parse_with(nested, &one, 1, &config), LS_OK);
    ls_config_destroy(&config);
    strcpy(strchr(path, '='), "={sequential: {layers: [{sequential: {layers: [relu]}}]}}");
    assert_int_equal(parse_with(nested, &one, 1, &config), LS_USAGE);
    assert_non_null(strstr(ls_error_message(), "layers nested deeper than 16 levels"));

    assert_int_equal(parse_with("network: [{repeat: {times: 64, layers: [{repeat: {times: 32, layers: [relu, "
                                "tanh]}}]}}]",
                                NULL, 0, &config),
                     LS_OK);
    assert_int_equal(ls_config_layer_count(config), 4096);
    ls_config_destroy(&config);
}

/* Every allocation fails in turn: LS_INTERNAL, and nothing leaks. */
static void out_of_memory(void **state) {
    (void)state;
    static const char *const given[] = {
        "network.1.residual.body.0.dense.units=300",
        "network.4={repeat: {times: 2, layers: [{residual: {body: [relu]}}]}}",
        "network.1.residual.shortcut=[]"};
    ls_status status = LS_INTERNAL;
    long n = 0;
    for (; status != LS_OK && n < 100000; n++) {
        ls_config *config = NULL;
        char *text = NULL;
        allocations_left = n;
        status = parse_with(block, given, 3, &config);
        if (status == LS_OK) status = ls_config_resolve(config, &text);
        allocations_left = -1;
        free(text);
        ls_config_destroy(&config);
        if (status != LS_OK) assert_int_equal(status, LS_INTERNAL);
    }
    assert_int_equal(status, LS_OK);
    assert_true(n > 100);
}

/* Damaged text is a configuration or an error with a position. */
static void mutations(void **state) {
    (void)state;
    static const char alphabet[] = " \n:-,[]{}#0123456789abdelrsty";
    uint32_t random = 20240607;
    int good = 0;
    for (int i = 0; i < 20000; i++) {
        char text[sizeof block];
        memcpy(text, block, sizeof block);
        for (int k = 0; k <= i % 3; k++) {
            random = random * 1664525u + 1013904223u;
            size_t at = (random >> 8) % (sizeof block - 1);
            random = random * 1664525u + 1013904223u;
            text[at] = alphabet[(random >> 8) % (sizeof alphabet - 1)];
        }
        ls_config *config;
        ls_status status = parse_with(text, NULL, 0, &config);
        if (status == LS_OK) {
            good++;
            check_round_trip(config);
            ls_config_destroy(&config);
        } else if (status != LS_USAGE || strncmp(ls_error_message(), "F:", 2) != 0) {
            fail_msg("%s\n%s", ls_error_message(), text);
        }
    }
    assert_true(good > 100);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(tree),          cmocka_unit_test(resolved),  cmocka_unit_test(overrides),
        cmocka_unit_test(bad_overrides), cmocka_unit_test(damaged),   cmocka_unit_test(limits),
        cmocka_unit_test(out_of_memory), cmocka_unit_test(mutations),
    };
    return cmocka_run_group_tests_name("nested networks", tests, NULL, NULL);
}

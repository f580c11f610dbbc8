/* Every file of experiments/ is a run: it resolves, its network can be built, and those whose size is known
 * have it. */
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <cmocka.h>

#include "model/network.h"
#include "train/options.h"

#include <dirent.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define EXPERIMENTS LOCKSTEP_SOURCE_DIR "/experiments/"

static ls_config *load(const char *path) {
    static ls_layer_keys tables[LS_LAYER_CLASSES_MAX];
    ls_config *config = NULL;
    ls_network_layer_keys(tables);
    if (ls_config_load(path, NULL, 0, &ls_option_keys, tables, ls_layer_class_count, &config) != LS_OK)
        fail_msg("%s", ls_error_message());
    return config;
}

/* The number of parameters, for MNIST. */
static int64_t parameters_of(const char *path) {
    ls_config *config = load(path);
    ls_network *network;
    if (ls_network_create(config, 28, 28, 10, &network) != LS_OK) fail_msg("%s", ls_error_message());
    int64_t count = network->parameters.elements;
    ls_network_destroy(&network);
    ls_config_destroy(&config);
    return count;
}

static void check_resolved(const char *path) {
    ls_config *config = load(path), *again = NULL;
    ls_layer_keys tables[LS_LAYER_CLASSES_MAX];
    char *first = NULL, *second = NULL;
    ls_network_layer_keys(tables);
    assert_int_equal(ls_config_resolve(config, &first), LS_OK);
    assert_int_equal(ls_config_parse("resolved", first, strlen(first), &ls_option_keys, tables,
                                     ls_layer_class_count, &again),
                     LS_OK);
    assert_int_equal(ls_config_resolve(again, &second), LS_OK);
    assert_string_equal(first, second);
    free(first);
    free(second);
    ls_config_destroy(&config);
    ls_config_destroy(&again);
}

/* The files of a folder, each of which must be a run. */
static int check_folder(const char *folder) {
    char path[512];
    int count = 0;
    snprintf(path, sizeof path, EXPERIMENTS "%s", folder);
    DIR *stream = opendir(path);
    assert_non_null(stream);
    for (const struct dirent *entry; (entry = readdir(stream));) {
        const char *dot = strrchr(entry->d_name, '.');
        if (!dot || strcmp(dot, ".yaml") != 0) continue;
        snprintf(path, sizeof path, EXPERIMENTS "%s/%s", folder, entry->d_name);
        assert_true(parameters_of(path) > 0);
        check_resolved(path);
        count++;
    }
    closedir(stream);
    return count;
}

static void every_file(void **state) {
    (void)state;
    assert_int_equal(check_folder("table1"), 20);
    assert_int_equal(check_folder("table2"), 6);
    assert_int_equal(check_folder("cnn"), 8);
}

/* Both readings of a row are the same network: inputs, hidden units and outputs with their biases. */
static void sizes(void **state) {
    (void)state;
    static const struct {
        const char *folder, *row, *readings[2];
        int64_t parameters;
    } rows[] = {
        {"table1", "row1", {"stated", "published"}, 79510},
        {"table1", "row2", {"stated", "published"}, 477010},
        {"table1", "row3", {"stated", "published"}, 89610},
        {"table1", "row4", {"stated", "published"}, 532110},
        {"table1", "row5", {"stated", "published"}, 532110},
        {"table1", "row6", {"stated", "published"}, 532110},
        {"table1", "row7", {"stated", "published"}, 532110},
        {"table1", "row8", {"stated", "published"}, 532110},
        {"table1", "row9", {"stated", "published"}, 532110},
        {"table1", "row10", {"stated", "published"}, 532110},
        {"table2", "row1", {"stated", "published"}, 173850},
        {"table2", "row2", {"stated", "published"}, 173850},
        {"table2", "row3", {"stated", "published"}, 173850},
        {"cnn", "network1", {"stated", "inferred"}, 15786},
        {"cnn", "network2", {"stated", "inferred"}, 9146},
        {"cnn", "network3", {"stated", "inferred"}, 107066},
        {"cnn", "network4", {"stated", "inferred"}, 119330},
    };
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++)
        for (int k = 0; k < 2; k++) {
            char path[512];
            snprintf(path, sizeof path, EXPERIMENTS "%s/%s-%s.yaml", rows[i].folder, rows[i].row,
                     rows[i].readings[k]);
            int64_t found = parameters_of(path);
            if (found != rows[i].parameters)
                fail_msg("%s: %lld parameters, expected %lld", path, (long long)found,
                         (long long)rows[i].parameters);
        }
}

/* With scale and shift in BatchNorm. */
static void affine(void **state) {
    (void)state;
    static const char *const overrides[] = {"defaults.batchnorm.affine=true"};
    static const struct {
        const char *path;
        int64_t parameters;
    } cases[] = {{EXPERIMENTS "table1/row6-stated.yaml", 535078},
                 {EXPERIMENTS "table2/row1-stated.yaml", 174970}};
    for (size_t i = 0; i < 2; i++) {
        ls_config *config = load(cases[i].path);
        ls_network *network;
        assert_int_equal(ls_config_override(config, overrides, 1), LS_OK);
        assert_int_equal(ls_network_create(config, 28, 28, 10, &network), LS_OK);
        assert_int_equal(network->parameters.elements, cases[i].parameters);
        ls_network_destroy(&network);
        ls_config_destroy(&config);
    }
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(every_file),
        cmocka_unit_test(sizes),
        cmocka_unit_test(affine),
    };
    return cmocka_run_group_tests_name("experiments", tests, NULL, NULL);
}

/* Damaged configurations: each is refused with LS_USAGE and a position, none crashes, leaks or is half
 * accepted. */
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <cmocka.h>

#include "io/config_tables.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#define EXPERIMENTS LOCKSTEP_SOURCE_DIR "/experiments/"

enum { MUTATIONS = 20000, FILE_ROOM = 8192 };

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

static ls_status parse(const char *text, size_t length, ls_config **config) {
    *config = NULL;
    return ls_config_parse("FILE", text, length, &ls_option_keys, layer_types, LAYER_TYPES, config);
}

typedef struct damaged {
    const char *name, *text, *message;
} damaged;

static const damaged cases[] = {
    {"empty", "", "FILE:1:1: empty: expected a map of settings"},
    {"only blanks", " \n\n", "FILE:3:1: empty"},
    {"only a comment", "# lr: 0.5\n", "FILE:2:1: empty"},
    {"empty document", "---\n", "FILE:2:1: found nothing, expected a map of settings"},
    {"top level is a list", "- lr\n", "FILE:1:1: found a list, expected a map of settings"},
    {"top level is text", "lr\n", "FILE:1:1: found 'lr', expected a map of settings"},
    {"two documents", "lr: 0.1\n---\nlr: 0.2\n", "FILE:2:1: more than one document"},
    {"two documents with an end", "lr: 0.1\n...\n---\n", "FILE:3:1: more than one document"},

    {"unknown key", "epochs: 3\nxyzzy: 3\n", "FILE:2:1: unknown key 'xyzzy'"},
    {"misspelt key", "\nepocs: 3\n", "FILE:2:1: unknown key 'epocs'; did you mean 'epochs'?"},
    {"misspelt network", "netwrok: []\n", "FILE:1:1: unknown key 'netwrok'; did you mean 'network'?"},
    {"misspelt defaults", "default: {}\n", "did you mean 'defaults'?"},
    {"merge key", "<<: {lr: 1}\n", "FILE:1:1: unknown key '<<'"},
    {"dotted key", "network.0: relu\n", "FILE:1:1: unknown key 'network.0'"},
    {"capitals", "LR: 1\n", "FILE:1:1: unknown key 'LR'"},
    {"key is a list", "[lr]: 1\n", "FILE:1:1: key: found a list, expected a name"},
    {"key is a map", "? {a: b}\n: 1\n", "FILE:1:3: key: found a map, expected a name"},
    {"key is nothing", "? \n: 1\n", "FILE:1:2: key: found nothing, expected a name"},
    {"zero byte in a key", "\"lr\\0\": 1\n", "FILE:1:1: key: zero byte in a name"},

    {"duplicate key", "lr: 0.1\nbatch: 3\nlr: 0.2\n", "FILE:3:1: lr: given twice; first at FILE:1:5"},
    {"duplicate key, quoted", "lr: 0.1\n\"lr\": 0.1\n", "FILE:2:1: lr: given twice"},
    {"duplicate network", "network: []\nnetwork: []\n", "FILE:2:1: network: given twice"},
    {"duplicate defaults", "defaults: {}\nlr: 1\ndefaults: {}\n", "FILE:3:1: defaults: given twice"},
    {"duplicate type in defaults", "defaults:\n  relu: {}\n  relu: {}\n",
     "FILE:3:3: defaults.relu: given twice"},
    {"duplicate setting", "network:\n- dense: {units: 1, units: 2}\n",
     "FILE:2:21: dense.units: given twice; first at FILE:2:18"},

    {"wrong type, list for number", "lr: [1]\n", "FILE:1:5: lr: found a list, expected one value"},
    {"wrong type, map for text", "output: {a: b}\n", "FILE:1:9: output: found a map, expected text"},
    {"nothing for number", "lr:\nbatch: 3\n", "FILE:1:4: lr: found nothing"},
    {"null for text", "output: ~\n", "FILE:1:9: output: found nothing, expected text (\"\" for none)"},
    {"quoted number", "batch: '3'\n", "FILE:1:8: batch: found the quoted text '3'"},
    {"quoted truth", "fuse: \"true\"\n", "FILE:1:7: fuse: found the quoted text 'true'"},
    {"yes", "fuse: yes\n", "FILE:1:7: fuse: not a truth value: found 'yes', expected true or false"},
    {"integer with exponent", "batch: 1e3\n",
     "FILE:1:8: batch: not an integer: found '1e3', expected an integer from 1 to 1048576"},
    {"hexadecimal", "batch: 0x10\n", "FILE:1:8: batch: not an integer"},
    {"octal", "batch: 0100\n", "FILE:1:8: batch: not an integer"},
    {"out of range", "split: 9\nbatch: 0\n", "FILE:2:8: batch: out of range: found '0'"},
    {"very large", "seed: 18446744073709551616\n", "FILE:1:7: seed: out of range"},
    {"nan", "lr: nan\n", "FILE:1:5: lr: not a number: found 'nan', expected a number from 0 to 1000"},
    {"YAML's nan", "lr: .nan\n", "FILE:1:5: lr: not a number"},
    {"infinity", "lr: .inf\n", "FILE:1:5: lr: not a number"},
    {"hexadecimal float", "lr: 0x1p-3\n", "FILE:1:5: lr: not a number"},
    {"open bound", "momentum: 1\n", "FILE:1:11: momentum: out of range: found '1'"},
    {"unknown choice", "optimizer: adagrad\n",
     "FILE:1:12: optimizer: unknown choice: found 'adagrad', expected one of sgd|momentum|adam"},
    {"number for list", "milestones: 2000\n",
     "FILE:1:13: milestones: not a list: found '2000', expected [..]"},
    {"bad member", "milestones:\n- 1\n- 2, 3\n", "FILE:3:3: milestones: not an integer: found '2, 3'"},
    {"quoted member", "milestones: [1, '2']\n", "FILE:1:17: milestones: not an integer: found '2'"},
    {"list in list", "milestones: [1, [2]]\n", "FILE:1:17: milestones: not an integer: found a list"},
    {"member out of range", "milestones: [1, 0]\n", "FILE:1:17: milestones: out of range: found '0'"},
    {"line break in text", "output: |\n  a\n  b\n", "FILE:1:9: output: control character in text: found "},
    {"zero byte in text", "output: \"a\\0b\"\n", "FILE:1:9: output: zero byte in text"},
    {"escape in text", "output: \"\\e[2J\"\n",
     "FILE:1:9: output: control character in text: found '\"?[2J\"'"},

    {"network is nothing", "network:\nlr: 1\n",
     "FILE:1:9: network: found nothing, expected a list of layers"},
    {"network is a map", "network: {relu: {}}\n", "FILE:1:10: network: found a map"},
    {"unknown layer", "network:\n- rule\n", "FILE:2:3: unknown layer 'rule'; did you mean 'relu'?"},
    {"layer of two names", "network:\n- relu: {}\n  tanh: {}\n", "FILE:2:3: network: found a map of 2 names"},
    {"layer of no name", "network: [{}]\n", "FILE:1:11: network: found a map of 0 names"},
    {"layer is nothing", "network:\n-\n- relu\n", "FILE:2:2: network: found nothing, expected a layer"},
    {"layer is a list", "network: [[relu]]\n", "FILE:1:11: network: found a list, expected a layer"},
    {"layer's settings are text", "network:\n- dense: 600\n",
     "FILE:2:10: dense: found '600', expected a map"},
    {"settings indented too little", "network:\n- dense:\n  units: 600\n",
     "FILE:2:3: network: found a map of 2 names"},
    {"setting missing", "lr: 1\nnetwork:\n- relu\n- dense\n", "FILE:4:3: dense.units: not given"},
    {"unknown setting", "network:\n- dense: {unit: 3}\n",
     "FILE:2:11: unknown key 'dense.unit'; did you mean 'units'?"},
    {"setting out of range", "network:\n- dropout: {rate: 1}\n",
     "FILE:2:19: dropout.rate: out of range: found '1', expected a number from 0 and below 1"},
    {"setting is null", "network:\n- dropout: {rate: }\n", "dropout.rate: found nothing"},
    {"unknown type in defaults", "defaults:\n  densse: {bias: false}\n",
     "FILE:2:3: unknown layer 'densse'; did you mean 'dense'?"},
    {"bad value in defaults", "defaults: {dense: {init: he}}\n", "FILE:1:26: defaults.dense.init: unknown"},
    {"defaults is a list", "defaults: [dense]\n", "FILE:1:11: defaults: found a list, expected a map"},

    {"base in text", "base: other.yaml\n", "FILE:1:7: base: only a file may name its base"},
    {"anchor", "lr: &a 0.1\n", "FILE:1:5: anchors (&name) are not allowed"},
    {"alias", "lr: 0.1\ngamma: *a\n", "FILE:2:8: aliases (*name) are not allowed"},
    {"anchor on the whole", "&a\nlr: 1\n", "FILE:1:1: anchors"},
    {"tag", "output: !!str 1\n", "FILE:1:9: tags (!type) are not allowed"},
    {"local tag", "network: !list [relu]\n", "FILE:1:10: tags"},
    {"lone tag", "output: ! a\n", "FILE:1:9: tags"},

    {"tab as indentation", "network:\n\t- relu\n",
     "FILE:2:1: not valid YAML: found character that cannot start"},
    {"open list", "lr: 1\nmilestones: [1, 2\n", "FILE:3:1: not valid YAML: did not find expected ',' or ']'"},
    {"open quote", "lr: 1\noutput: \"abc\n", "not valid YAML: found unexpected end of stream"},
    {"no colon", "lr: 1\nbatch 3\nseed: 1\n", "FILE:3:1: not valid YAML: could not find expected ':'"},
    {"invalid UTF-8", "lr: 1\noutput: a\xff\n", "FILE:2:10: not valid YAML: invalid leading UTF-8 octet"},
    {"cut UTF-8", "output: \xc3\n", "FILE:1:10: not valid YAML: invalid trailing UTF-8 octet"},
    {"UTF-16", "\xff\xfel\1", "FILE:1:1: encoded in UTF-16 or UTF-32: expected UTF-8"},
    {"control character", "lr: 1\n\aseed: 1\n",
     "FILE:2:1: not valid YAML: control characters are not allowed"},
};

static void each_is_refused(void **state) {
    (void)state;
    size_t refused = 0;
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        ls_config *config;
        ls_status status = parse(cases[i].text, strlen(cases[i].text), &config);
        if (status != LS_USAGE || config || !strstr(ls_error_message(), cases[i].message))
            print_error("%s: status %d, %s\n", cases[i].name, status, ls_error_message());
        else
            refused++;
        assert_memory_equal(ls_error_message(), "FILE:", 5);
    }
    assert_int_equal(refused, sizeof cases / sizeof *cases);
    printf("%zu damaged configurations\n", refused);
    ls_config *config;
    assert_int_equal(parse("lr: 1\nseed\0: 1\n", 15, &config), LS_USAGE);
    assert_non_null(
        strstr(ls_error_message(), "FILE:2:5: not valid YAML: control characters are not allowed"));
}

/* Text that would be as long as memory allows is refused early, and in no time. */
static void limits(void **state) {
    (void)state;
    enum { SIZE = 1 << 20 };
    static const struct {
        const char *start, *repeated, *message;
        size_t size;
    } large[] = {
        {"lr: ", "[", "FILE:1:68: nested deeper than 64 levels", SIZE},
        {"", "{a: ", "FILE:1:257: nested deeper than 64 levels", SIZE},
        {"", "- ", "FILE:1:129: nested deeper than 64 levels", SIZE},
        {"milestones: [", "1,", "more than 100000 values", SIZE},
        {"network:\n", "- relu\n", "more than 100000 values", SIZE},
        {"milestones: [", "1,", "not valid YAML", 200000},
        {"milestones: [1", ",\n1", "not valid YAML", 200000},
        {"# ", "x", "larger than 1 MiB", SIZE + 1},
        {"output: ", "x", "output: text too long: found 'xxx", SIZE},
        {"", "x", "FILE:1:1: ", SIZE},
        {"output: \"", "\\\"", "not valid YAML", SIZE},
    };
    char *text = malloc(SIZE + 16);
    assert_non_null(text);
    for (size_t i = 0; i < sizeof large / sizeof *large; i++) {
        size_t at = strlen(large[i].start), step = strlen(large[i].repeated);
        memcpy(text, large[i].start, at);
        for (; at < large[i].size; at++) text[at] = large[i].repeated[(at - strlen(large[i].start)) % step];
        ls_config *config;
        assert_int_equal(parse(text, at, &config), LS_USAGE);
        if (!strstr(ls_error_message(), large[i].message)) fail_msg("%zu: %s", i, ls_error_message());
    }
    free(text);
}

static size_t read_file(const char *path, char text[FILE_ROOM]) {
    FILE *file = fopen(path, "rb");
    assert_non_null(file);
    size_t size = fread(text, 1, FILE_ROOM, file);
    assert_true(size > 0 && size < FILE_ROOM && !ferror(file));
    fclose(file);
    return size;
}

/* A new file each time: to overwrite an old one, some file systems wait for the disk. */
static void write_file(const char *path, const char *text, size_t size) {
    unlink(path);
    FILE *file = fopen(path, "wb");
    assert_non_null(file);
    assert_int_equal(fwrite(text, 1, size, file), size);
    assert_int_equal(fclose(file), 0);
}

/* A configuration that was accepted can be asked for everything. */
static void use(ls_config *config) {
    ls_options options = {0};
    char *resolved = NULL;
    assert_int_equal(ls_config_settings(config, &options), LS_OK);
    ls_keys_free(&ls_option_keys, &options);
    assert_int_equal(ls_config_resolve(config, &resolved), LS_OK);
    ls_config_destroy(&config);
    if (parse(resolved, strlen(resolved), &config) != LS_OK) fail_msg("%s\n%s", ls_error_message(), resolved);
    ls_config_destroy(&config);
    free(resolved);
}

/* The base and a row as one text: every length of it is either a configuration or an error with a position.
 */
static void every_length(void **state) {
    (void)state;
    static const char *const bases[] = {EXPERIMENTS "base/mlp-published.yaml",
                                        EXPERIMENTS "base/mlp-stated.yaml"};
    static const char tail[] = "output: 'a \"b\"'\nmilestones: [2000, 4000]\n"
                               "network:\n  - batchnorm\n  - dense: {units: 600, name: \"x\"}\n  - relu:\n"
                               "  - dropout: {rate: 0.3}\n  - dense:\n      units: 10\n";
    char text[2 * FILE_ROOM];
    for (size_t b = 0; b < 2; b++) {
        size_t size = read_file(bases[b], text);
        memcpy(text + size, tail, sizeof tail);
        size += sizeof tail - 1;
        for (size_t length = 0; length <= size; length++) {
            /* A copy of the exact size, so that reading past its end is seen. */
            char *cut = malloc(length ? length : 1);
            assert_non_null(cut);
            memcpy(cut, text, length);
            ls_config *config;
            ls_status status = parse(cut, length, &config);
            if (status == LS_OK)
                use(config);
            else
                assert_int_equal(status, LS_USAGE);
            free(cut);
            if (length == size) assert_int_equal(status, LS_OK);
        }
    }
}

static uint64_t random_state;
static uint32_t draw(uint32_t n) {
    random_state = random_state * 6364136223846793005u + 1442695040888963407u;
    return (uint32_t)((random_state >> 33) % n);
}

/* Changes, inserts, removes, swaps or repeats a few bytes; returns the new size. */
static size_t mutate(char text[FILE_ROOM], size_t size) {
    static const char alphabet[] = " \n\t:-,[]{}#&*!|>'\"%@`?~0123456789.eEabdlnrstuxy\xff\xc3\xef\x01\x00";
    for (uint32_t i = 0, count = 1 + draw(4); i < count && size > 1; i++) {
        size_t at = draw((uint32_t)size), other = draw((uint32_t)size), span = 1 + draw(12);
        if (span > size - at) span = size - at;
        switch (draw(5)) {
        case 0: text[at] = alphabet[draw(sizeof alphabet - 1)]; break;
        case 1: text[at] = (char)draw(256); break;
        case 2:
            memmove(text + at, text + at + span, size - at - span);
            size -= span;
            break;
        case 3:
            if (size + span > FILE_ROOM) break;
            memmove(text + at + span, text + at, size - at);
            size += span;
            break;
        default:
            if (span > size - other) span = size - other;
            memmove(text + at, text + other, span);
        }
    }
    return size;
}

/* Mutants of the file at `path`, which holds `text`, are loaded as the row `row_path` or as its base. */
static int mutate_file(const char *folder, const char *row_path, const char *path, const char *text,
                       size_t size, int count) {
    char mutant[FILE_ROOM];
    int good = 0;
    for (int i = 0; i < count; i++) {
        memcpy(mutant, text, size);
        size_t mutant_size = mutate(mutant, size);
        write_file(path, mutant, mutant_size);
        ls_config *config = NULL;
        ls_status status =
            ls_config_load(row_path, NULL, 0, &ls_option_keys, layer_types, LAYER_TYPES, &config);
        if (status == LS_OK) {
            good++;
            use(config);
        } else if (status != LS_USAGE || config || strncmp(ls_error_message(), folder, strlen(folder)) != 0) {
            fail_msg("mutation %d of %s: status %d, %s", i, path, status, ls_error_message());
        }
    }
    write_file(path, text, size);
    return good;
}

/* Mutations of a row and of its base, read from files as a run reads them. */
static void mutations(void **state) {
    const char *folder = *state;
    static const char *const kinds[] = {"published", "stated"};
    char row_path[600], base_path[600], row[FILE_ROOM], base[FILE_ROOM];
    int good = 0;
    random_state = 20240607;
    for (int k = 0; k < 2; k++) {
        snprintf(row_path, sizeof row_path, EXPERIMENTS "table1/row6-%s.yaml", kinds[k]);
        size_t row_size = read_file(row_path, row);
        snprintf(base_path, sizeof base_path, EXPERIMENTS "base/mlp-%s.yaml", kinds[k]);
        size_t base_size = read_file(base_path, base);
        snprintf(row_path, sizeof row_path, "%s/table1/row6.yaml", folder);
        snprintf(base_path, sizeof base_path, "%s/base/mlp-%s.yaml", folder, kinds[k]);
        write_file(base_path, base, base_size);
        good += mutate_file(folder, row_path, row_path, row, row_size, MUTATIONS / 4);
        good += mutate_file(folder, row_path, base_path, base, base_size, MUTATIONS / 4);
    }
    printf("%d mutations, %d of them still configurations\n", MUTATIONS, good);
    assert_true(good > 100);
}

/* Every allocation of loading, settings and resolving fails in turn: LS_INTERNAL, and nothing leaks. */
static void out_of_memory(void **state) {
    (void)state;
    static const char *const overrides[] = {"lr=0.5",
                                            "network.2.dense.units=3",
                                            "network.4=tanh",
                                            "defaults.dropout.rate=0.5",
                                            "milestones=[1, 2]",
                                            "schedule=multistep",
                                            "output=~/run",
                                            "network.6.dense.name=x"};
    ls_status status = LS_INTERNAL;
    long n = 0;
    for (; status != LS_OK && n < 100000; n++) {
        ls_config *config = NULL;
        ls_options options = {0};
        dense_settings dense = {0};
        char *resolved = NULL;
        allocations_left = n;
        status = ls_config_load(EXPERIMENTS "table1/row6-published.yaml", overrides, 8, &ls_option_keys,
                                layer_types, LAYER_TYPES, &config);
        if (status == LS_OK) status = ls_config_settings(config, &options);
        if (status == LS_OK) status = ls_config_layer_settings(config, 2, &dense);
        if (status == LS_OK) status = ls_config_resolve(config, &resolved);
        allocations_left = -1;
        free(resolved);
        ls_keys_free(&ls_option_keys, &options);
        ls_keys_free(&layer_types[DENSE].keys, &dense);
        ls_config_destroy(&config);
        if (status != LS_OK) assert_int_equal(status, LS_INTERNAL);
    }
    assert_int_equal(status, LS_OK);
    printf("%ld allocations failed in turn\n", n - 1);
    assert_true(n > 100);
}

static int make_folder(void **state) {
    char *folder = strdup("/tmp/lockstep-damaged-XXXXXX"), path[600];
    if (!folder || !mkdtemp(folder)) return -1;
    *state = folder;
    snprintf(path, sizeof path, "%s/base", folder);
    if (mkdir(path, 0700) != 0) return -1;
    snprintf(path, sizeof path, "%s/table1", folder);
    return mkdir(path, 0700);
}

static int remove_folder(void **state) {
    char command[700];
    snprintf(command, sizeof command, "rm -rf '%s'", (char *)*state);
    int code = system(command);
    free(*state);
    return code;
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(each_is_refused),
        cmocka_unit_test(limits),
        cmocka_unit_test(every_length),
        cmocka_unit_test(out_of_memory),
        cmocka_unit_test_setup_teardown(mutations, make_folder, remove_folder),
    };
    return cmocka_run_group_tests_name("damaged configurations", tests, NULL, NULL);
}

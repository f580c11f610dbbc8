/* Layers from outside: what ls_layer_register() takes and refuses. (tests/consumer registers one that works.)
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

#include "layers/layer.h"
#include "model/builder.h"

typedef struct settings {
    char *name;
} settings;

static const ls_key keys[] = {
    {.name = "name",
     LS_KEY_STRING,
     LS_KEY_RESULT,
     offsetof(settings, name),
     "",
     0,
     0,
     NULL,
     "name of the layer"},
};
static const ls_key many_lists[] = {
    {.name = "a", LS_KEY_LAYERS, LS_KEY_RESULT, 0, "[]", 0, 0, NULL, "layers"},
    {.name = "b", LS_KEY_LAYERS, LS_KEY_RESULT, 0, "[]", 0, 0, NULL, "layers"},
    {.name = "c", LS_KEY_LAYERS, LS_KEY_RESULT, 0, "[]", 0, 0, NULL, "layers"},
};

static ls_status declare(ls_layer *layer, ls_parameters *parameters) {
    (void)parameters;
    ls_layer_same_shape(layer);
    return LS_OK;
}

static ls_tensor *apply(const ls_layer *layer, ls_graph *graph, ls_tensor *x) {
    (void)layer, (void)graph;
    return x;
}

static ls_layer_class named(const char *name) {
    return (ls_layer_class){.name = name,
                            .keys = {keys, 1},
                            .settings_size = sizeof(settings),
                            .declare = declare,
                            .apply = apply};
}

static void expect_refused(const ls_layer_class *class, const char *words) {
    int count = ls_layer_class_count;
    assert_int_equal(ls_layer_register(class), LS_USAGE);
    if (!strstr(ls_error_message(), words)) fail_msg("\"%s\" has no %s", ls_error_message(), words);
    assert_int_equal(ls_layer_class_count, count);
}

static void test_refused(void **state) {
    (void)state;
    ls_layer_class class = named("dense");
    expect_refused(&class, "dense");
    class = named("");
    expect_refused(&class, "name");
    class = named(NULL);
    expect_refused(&class, "name");
    class = named("a: b");
    expect_refused(&class, "name");
    class = named("half");
    class.declare = NULL;
    expect_refused(&class, "half");
    class = named("half");
    class.apply = NULL;
    expect_refused(&class, "half");
    class = named("half");
    class.settings_size = 0;
    expect_refused(&class, "settings");
    class = named("lists");
    class.keys = (ls_key_table){many_lists, 3};
    expect_refused(&class, "3 lists");
}

static void test_known_from_then_on(void **state) {
    static ls_layer_class class;
    ls_network *network;
    (void)state;
    class = named("outside");
    assert_int_equal(ls_layer_register(&class), LS_OK);
    assert_ptr_equal(ls_layer_classes[ls_layer_class_count - 1], &class);
    expect_refused(&class, "outside");
    ls_builder *b = ls_builder_create();
    ls_build(b, "outside", "name=mine");
    ls_build(b, "flatten", NULL);
    assert_int_equal(ls_build_network(&b, 2, 2, 4, &network), LS_OK);
    assert_string_equal(network->layers[0].name, "mine");
    ls_network_destroy(&network);
}

static void test_full(void **state) {
    static ls_layer_class classes[LS_LAYER_CLASSES_MAX];
    static char names[LS_LAYER_CLASSES_MAX][32];
    (void)state;
    for (int i = ls_layer_class_count; i < LS_LAYER_CLASSES_MAX; i++) {
        snprintf(names[i], sizeof names[i], "layer%d", i);
        classes[i] = named(names[i]);
        assert_int_equal(ls_layer_register(&classes[i]), LS_OK);
    }
    ls_layer_class one_more = named("one_more");
    expect_refused(&one_more, "one_more");
}

int main(void) {
    const struct CMUnitTest tests[] = {cmocka_unit_test(test_refused),
                                       cmocka_unit_test(test_known_from_then_on),
                                       cmocka_unit_test(test_full)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}

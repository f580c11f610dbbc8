/* Networks: names and shapes of layers in layers, what is refused, and the same ResNet from its configuration
 * and from C. */
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <cmocka.h>

#include "core/team.h"
#include "graph/plan.h"
#include "layers/elementwise.h"
#include "layers/input/input.h"
#include "layers/softmax_cross_entropy/softmax_cross_entropy.h"
#include "model/builder.h"
#include "train/options.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define RESNET LOCKSTEP_SOURCE_DIR "/experiments/table2/row1-stated.yaml"

void *__real_calloc(size_t count, size_t size);
void *__wrap_calloc(size_t count, size_t size);
static long allocations_left = -1; /* -1: as many as wanted */
void *__wrap_calloc(size_t count, size_t size) {
    if (allocations_left == 0) return NULL;
    if (allocations_left > 0) allocations_left--;
    return __real_calloc(count, size);
}

/* A file with `path`, or the text of a list of layers for images of 9 x 9 in 3 classes. */
static ls_status create(const char *path, const char *layers, ls_network **network) {
    ls_layer_keys tables[LS_LAYER_CLASSES_MAX];
    ls_config *config = NULL;
    char text[2048];
    ls_network_layer_keys(tables);
    *network = NULL;
    if (path) {
        LS_TRY(ls_config_load(path, NULL, 0, &ls_option_keys, tables, ls_layer_class_count, &config));
    } else {
        snprintf(text, sizeof text, "network: %s\n", layers);
        LS_TRY(
            ls_config_parse("F", text, strlen(text), &ls_option_keys, tables, ls_layer_class_count, &config));
    }
    ls_status status =
        path ? ls_network_create(config, 28, 28, 10, network) : ls_network_create(config, 9, 9, 3, network);
    ls_config_destroy(&config);
    return status;
}

static void expect_names(const char *layers, const char *want) {
    ls_network *network;
    char names[1024] = "";
    if (create(NULL, layers, &network) != LS_OK) fail_msg("%s", ls_error_message());
    for (int i = 0; i < network->parameters.count; i++)
        snprintf(names + strlen(names), sizeof names - strlen(names), "%s%s", i ? " " : "",
                 network->parameters.list[i].name);
    assert_string_equal(names, want);
    ls_network_destroy(&network);
}

static void names(void **state) {
    (void)state;
    expect_names("[relu, {dense: {units: 3, bias: false}}]", "1.weight");
    expect_names("[relu, {sequential: {layers: [flatten, {dense: {units: 3, bias: false}}]}}]", "1.1.weight");
    expect_names("[{sequential: {name: head, layers: [{dense: {units: 3, name: fc}}]}}]",
                 "head.fc.weight head.fc.bias");
    expect_names(
        "[{residual: {shortcut: [{conv2d: {channels: 2, kernel: 1}}], body: [relu, {conv2d: {channels: 2, "
        "pad: 1, bias: false}}, {batchnorm: {name: bn}}]}}, {dense: {units: 3, bias: false}}]",
        "0.body.1.weight 0.bn.weight 0.bn.bias 0.shortcut.0.weight 0.shortcut.0.bias 1.weight");
    expect_names("[{sequential: {name: layer1, layers: [{residual: {body: [{conv2d: {channels: 1, pad: 1, "
                 "bias: false, "
                 "name: conv1}}]}}]}}, {repeat: {times: 2, layers: [{dense: {units: 3, bias: false}}]}}]",
                 "layer1.0.conv1.weight 1.weight 2.weight");
}

static void refused(void **state) {
    (void)state;
    static const struct {
        const char *layers, *message;
    } cases[] = {
        {"[]", "network: no layers; expected a list of at least one"},
        {"[relu]", "F:1:11: layer 0: the last layer gives 9x9x1; expected 3, the classes of the data"},
        {"[{dense: {units: 3}}, {conv2d: {channels: 2}}]",
         "F:1:32: layer 1: conv2d of 3: expected height x width"},
        {"[{conv2d: {channels: 2, kernel: 10}}]",
         "F:1:11: layer 0: conv2d of 9x9x1: a kernel of 10 with pad 0"},
        {"[{residual: {body: [{conv2d: {channels: 2, pad: 1}}]}}]",
         "F:1:11: layer 0: residual of 9x9x1: the body gives 9x9x2, the shortcut 9x9x1; expected the same "
         "shape"},
        {"[{residual: {body: [{conv2d: {channels: 1}}], shortcut: [flatten]}}]",
         "residual of 9x9x1: the body gives 7x7x1, the shortcut 81; expected the same shape"},
        {"[relu, {residual: {body: [relu, {conv2d: {channels: 1, kernel: 11}}]}}]",
         "F:1:42: layer 1.body.1: conv2d of 9x9x1: a kernel of 11 with pad 0 does not fit"},
        {"[{relu: {name: a}}, {relu: {name: a}}]", "F:1:30: name a: another layer has it already"},
        {"[{relu: {name: 1}}, relu]", "name 1: another layer has it already"},
        {"[{residual: {body: [{relu: {name: a}}], shortcut: [{relu: {name: a}}]}}]",
         "name 0.a: another layer has it already"},
        {"[{repeat: {times: 2, layers: [{relu: {name: a}}]}}]", "name a: another layer has it already"},
        {"[{relu: {name: a/b}}]", "layer 0: its name: expected letters, digits, dots, _ and -"},
        {"[{relu: {name: aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa}}]",
         "expected fewer than 48 characters"},
        {"[{conv2d: {channels: 65536, pad: 1024}}]", "layer 0: gives 2055x2055x65536"},
        {"[{dense: {units: 1048576}}, {dense: {units: 1048576}}, {dense: {units: 3}}]", "parameters so far"},
        {"[{repeat: {times: 4000, layers: [{dense: {units: 1048576, bias: false}}]}}]", "parameters so far"},
        {"[{conv2d: {channels: 800, pad: 256, kernel: 1}}, {repeat: {times: 99, layers: [relu]}}]",
         "expected at most 268435456 values, 2147483648 in all"},
    };
    size_t good = 0;
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        ls_network *network;
        if (create(NULL, cases[i].layers, &network) == LS_USAGE &&
            strstr(ls_error_message(), cases[i].message))
            good++;
        else
            print_error("%s: %s\n", cases[i].layers, ls_error_message());
        ls_network_destroy(&network);
    }
    assert_int_equal(good, sizeof cases / sizeof *cases);
}

/* --- the ResNet in C ------------------------------------------------------------------------------- */

static void convolution(ls_builder *b, const char *suffix, int channels, int kernel, int stride) {
    ls_build(b, "conv2d", "channels=%d kernel=%d stride=%d pad=%d bias=false name=conv%s", channels, kernel,
             stride, kernel / 2, suffix);
    ls_build(b, "batchnorm", "affine=false eps=1e-8 statistics=dataset name=bn%s", suffix);
}

static void block(ls_builder *b, int place, int channels, int stride) {
    ls_build_open(b, "residual", "name=%d", place);
    convolution(b, "1", channels, 3, stride);
    ls_build(b, "relu", NULL);
    convolution(b, "2", channels, 3, 1);
    if (stride > 1) {
        ls_build_list(b, "shortcut");
        convolution(b, "_shortcut", channels, 1, stride);
    }
    ls_build_close(b);
    ls_build(b, "relu", "name=relu%d", place);
}

static ls_status build_resnet(ls_network **network) {
    ls_builder *b = ls_builder_create();
    convolution(b, "", 16, 3, 1);
    ls_build(b, "relu", NULL);
    for (int i = 0; i < 3; i++) {
        ls_build_open(b, "sequential", "name=layer%d", i + 1);
        block(b, 0, 16 << i, i > 0 ? 2 : 1);
        block(b, 1, 16 << i, 1);
        ls_build_close(b);
    }
    ls_build(b, "global_average_pool", NULL);
    ls_build(b, "dense", "units=10 name=fc1");
    return ls_build_network(&b, 28, 28, 10, network);
}

/* One training step on a few made images; the gradient is left in the arena. */
static void train(ls_network *network) {
    enum { BATCH = 3 };
    static uint8_t images[BATCH * 28 * 28], labels[BATCH] = {3, 1, 4};
    static uint32_t sample[BATCH] = {0, 1, 2};
    ls_dataset data = {
        .images = images, .labels = labels, .count = BATCH, .height = 28, .width = 28, .classes = 10};
    const ls_backend *backend;
    ls_shards shards;
    ls_graph *graph;
    ls_plan *plan;
    ls_team *team;
    for (int i = 0; i < BATCH * 28 * 28; i++) images[i] = (uint8_t)(i * 2654435761u >> 24);
    assert_int_equal(ls_backend_find(LS_FP32, &backend), LS_OK);
    assert_int_equal(ls_shards_create(&shards, 16, 0, 1, BATCH), LS_OK);
    assert_int_equal(ls_parameters_allocate(&network->parameters, backend, 0, shards.node_count), LS_OK);
    assert_int_equal(ls_network_initialise(network, 5), LS_OK);
    assert_int_equal(ls_graph_create(LS_RECORD, LS_TRAINING, backend, &network->parameters, &shards, NULL,
                                     &ls_reducer_local, &graph),
                     LS_OK);
    ls_tensor *x = ls_network_apply(network, graph, ls_input(graph, 28, 28, true, NULL));
    assert_non_null(ls_softmax_cross_entropy(graph, x, 1e-8, false));
    assert_int_equal(ls_plan_create(graph, true, 1, &plan), LS_OK);
    assert_int_equal(ls_team_create(1, &team), LS_OK);
    ls_run run = {.shards = &shards, .data = &data, .sample = sample, .seed = 5};
    assert_int_equal(ls_plan_run(plan, &run, team), LS_OK);
    ls_team_destroy(&team);
    ls_plan_destroy(&plan);
    ls_graph_destroy(&graph);
}

static void resnet_both_ways(void **state) {
    (void)state;
    ls_network *read, *built;
    if (create(RESNET, NULL, &read) != LS_OK) fail_msg("%s", ls_error_message());
    if (build_resnet(&built) != LS_OK) fail_msg("%s", ls_error_message());
    const ls_parameters *a = &read->parameters, *b = &built->parameters;
    assert_int_equal(a->elements, 173850);
    assert_int_equal(b->elements, 173850);
    assert_int_equal(a->count, b->count);
    assert_string_equal(a->list[0].name, "conv.weight");
    assert_string_equal(a->list[1].name, "layer1.0.conv1.weight");
    assert_string_equal(a->list[7].name, "layer2.0.conv_shortcut.weight");
    assert_string_equal(a->list[a->count - 1].name, "fc1.bias");
    for (int i = 0; i < a->count; i++) {
        assert_string_equal(a->list[i].name, b->list[i].name);
        assert_memory_equal(a->list[i].shape, b->list[i].shape, sizeof a->list[i].shape);
    }
    assert_int_equal(a->statistics_count, b->statistics_count);
    for (int i = 0; i < a->statistics_count; i++)
        assert_string_equal(a->statistics[i].name, b->statistics[i].name);

    train(read);
    train(built);
    size_t size = (size_t)a->total * sizeof(float);
    bool zero = true;
    assert_int_equal(a->total, b->total);
    assert_memory_equal(a->value, b->value, size);
    assert_memory_equal(a->gradient, b->gradient, size);
    for (int64_t i = 0; i < a->total; i++) zero = zero && ((const float *)a->gradient)[i] == 0;
    assert_false(zero);
    for (int i = 0; i < a->statistics_count; i++)
        assert_memory_equal(a->statistics[i].values, b->statistics[i].values,
                            (size_t)(1 + 3 * a->statistics[i].channels) * sizeof(double));
    ls_network_destroy(&read);
    ls_network_destroy(&built);
}

/* --- mistakes in C --------------------------------------------------------------------------------- */

static void expect_mistake(ls_builder *b, const char *message) {
    ls_network *network;
    assert_int_equal(ls_build_network(&b, 9, 9, 3, &network), LS_USAGE);
    assert_null(network);
    assert_null(b);
    if (!strstr(ls_error_message(), message)) fail_msg("%s", ls_error_message());
}

static void mistakes(void **state) {
    (void)state;
    ls_builder *b = ls_builder_create();
    expect_mistake(b, "network: no layers");
    b = ls_builder_create();
    ls_build(b, "dens", "units=3");
    ls_build(b, "dense", "units=x"); /* the first mistake is told */
    expect_mistake(b, "unknown layer 'dens'");
    b = ls_builder_create();
    ls_build(b, "dense", "units=0");
    expect_mistake(b, "units: out of range: found '0'");
    b = ls_builder_create();
    ls_build(b, "dense", "unit=3");
    expect_mistake(b, "dense: 'unit' is no key=value of it");
    b = ls_builder_create();
    ls_build(b, "dense", NULL);
    expect_mistake(b, "dense.units: not given, and there is no default (number of outputs)");
    b = ls_builder_create();
    ls_build(b, "residual", NULL);
    expect_mistake(b, "layer 0: residual.body: no layers");
    b = ls_builder_create();
    ls_build_open(b, "relu", NULL);
    expect_mistake(b, "relu: holds no layers");
    b = ls_builder_create();
    ls_build_open(b, "sequential", NULL);
    expect_mistake(b, "sequential: not closed");
    b = ls_builder_create();
    ls_build_close(b);
    expect_mistake(b, "network: no layer is open");
    b = ls_builder_create();
    ls_build_open(b, "residual", NULL);
    ls_build_list(b, "layers");
    expect_mistake(b, "residual: no list 'layers'");
    b = ls_builder_create();
    for (int i = 0; i < 20; i++) ls_build_open(b, "sequential", NULL);
    expect_mistake(b, "sequential: layers nested deeper than 16 levels");
    b = ls_builder_create();
    ls_build(b, "conv2d", "channels=2 kernel=%d", 12);
    expect_mistake(b, "layer 0: conv2d of 9x9x1: a kernel of 12 with pad 0 does not fit");
}

/* Activations from C, with their settings, as ops of a graph. */
static void activations(void **state) {
    static const struct {
        const char *layer, *settings;
        const ls_activation_class *class;
        double parameter;
    } made[] = {{"leaky_relu", "slope=0.25", &ls_leaky_relu_activation, 0.25},
                {"leaky_relu", NULL, &ls_leaky_relu_activation, 0.01},
                {"sigmoid", NULL, &ls_sigmoid_activation, 0},
                {"silu", NULL, &ls_silu_activation, 0},
                {"gelu", NULL, &ls_gelu_activation, 0},
                {"gelu", "formula=tanh", &ls_gelu_tanh_activation, 0}};
    enum { COUNT = sizeof made / sizeof *made };
    const ls_backend *backend;
    ls_network *network;
    ls_shards shards;
    ls_graph *graph;
    (void)state;
    ls_builder *b = ls_builder_create();
    ls_build(b, "flatten", NULL);
    for (int i = 0; i < COUNT; i++)
        ls_build(b, made[i].layer, made[i].settings ? "%s" : NULL, made[i].settings);
    if (ls_build_network(&b, 1, 3, 3, &network) != LS_OK) fail_msg("%s", ls_error_message());
    assert_int_equal(ls_backend_find(LS_FP32, &backend), LS_OK);
    assert_int_equal(ls_shards_create(&shards, 1, 0, 1, 2), LS_OK);
    assert_int_equal(ls_graph_create(LS_RECORD, LS_TRAINING, backend, &network->parameters, &shards, NULL,
                                     &ls_reducer_local, &graph),
                     LS_OK);
    assert_non_null(ls_network_apply(network, graph, ls_input(graph, 1, 3, true, NULL)));
    for (int i = 0; i < COUNT; i++) {
        const ls_activation *act = &ls_graph_op(graph, 2 + i)->act; /* behind input and flatten */
        assert_ptr_equal(act->class, made[i].class);
        assert_true(act->parameter == made[i].parameter);
    }
    ls_graph_destroy(&graph);
    ls_network_destroy(&network);
    b = ls_builder_create();
    ls_build(b, "leaky_relu", "slope=-1");
    expect_mistake(b, "slope: out of range: found '-1'");
    b = ls_builder_create();
    ls_build(b, "gelu", "formula=sine");
    expect_mistake(b, "formula: unknown choice: found 'sine', expected one of erf|tanh");
}

static void out_of_memory(void **state) {
    (void)state;
    for (int way = 0; way < 2; way++) {
        ls_status status = LS_INTERNAL;
        long n = 0;
        for (; status != LS_OK && n < 100000; n++) {
            ls_network *network;
            allocations_left = n;
            status = way == 0 ? create(RESNET, NULL, &network) : build_resnet(&network);
            allocations_left = -1;
            if (status != LS_OK) assert_int_equal(status, LS_INTERNAL);
            ls_network_destroy(&network);
        }
        assert_int_equal(status, LS_OK);
        assert_true(n > 50);
    }
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(names),    cmocka_unit_test(refused),     cmocka_unit_test(resnet_both_ways),
        cmocka_unit_test(mistakes), cmocka_unit_test(activations), cmocka_unit_test(out_of_memory),
    };
    return cmocka_run_group_tests_name("networks", tests, NULL, NULL);
}

/* Every activation of the library, and one that a program brings along, in networks where it is folded into
 * kernels, written out for several readers, or runs by itself: eager, planned and fused runs give the same
 * bits, in every tier of instructions and precision, on 1, 2 and 3 ranks. A kernel that does not declare an
 * activation does not get it. */
#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "check/gradcheck.h"
#include "core/key_words.h"
#include "graph/planner.h"
#include "graph/replica.h"
#include "graph/softplus.h"
#include "layers/elementwise.h"

enum { SHARDS = 8, BATCH = 13 };

/* Every layer type that is an activation, as a configuration has it: as it is, and with each of its keys at
 * another value. */
enum { ACTIVATIONS_MAX = 64 };
static struct {
    char text[128];
    const ls_layer_class *layer;
    const ls_activation_class *class;
} activations[ACTIVATIONS_MAX];
static int activation_count;

/* % is the activation: between dense layers with all links of a chain; behind convolutions whose vector
 * kernels go line by line, by Winograd's algorithm and by samples; at joins and with several readers, where
 * the first one writes it out for the others; after and before what folds nothing. */
static const char *const networks[] = {
    "[batchnorm, {dense: {units: 37}}, batchnorm, %, {dropout: {rate: 0.3}}, {dense: {units: 19}}, %, "
    "{dense: {units: 4}}, %, {dense: {units: 4}}]",
    "[{conv2d: {channels: 5, pad: 1}}, batchnorm, %, {conv2d: {channels: 16, pad: 1, bias: false}}, %, "
    "{conv2d: {channels: 16, pad: 1}}, batchnorm, %, {dropout: {rate: 0.3}}, {conv2d: {channels: 3, kernel: "
    "2}}, "
    "{max_pool: {kernel: 2}}, %, flatten, {dense: {units: 4}}]",
    "[{conv2d: {channels: 16, pad: 1}}, batchnorm, %, {residual: {body: [{conv2d: {channels: 16, pad: 1}}, "
    "batchnorm, %, {conv2d: {channels: 16, pad: 1}}, batchnorm]}}, %, {residual: {body: [{conv2d: "
    "{channels: 18, pad: 1, stride: 2}}, batchnorm], shortcut: [{conv2d: {channels: 18, kernel: 1, stride: "
    "2}}, batchnorm]}}, %, global_average_pool, {dense: {units: 4}}]",
};
enum { NETWORKS = sizeof networks / sizeof *networks };

static const struct {
    const char *name;
    ls_precision precision;
    ls_instruction_set set;
} tiers[] = {{"fp32, portable", LS_PRECISION_FP32, LS_PORTABLE},  {"fp32, AVX2", LS_PRECISION_FP32, LS_AVX2},
             {"fp32, AVX-512", LS_PRECISION_FP32, LS_AVX512},     {"fp64", LS_PRECISION_FP64, LS_PORTABLE},
             {"bf16, portable", LS_PRECISION_BF16, LS_PORTABLE},  {"bf16, AVX2", LS_PRECISION_BF16, LS_AVX2},
             {"bf16, AVX-512", LS_PRECISION_BF16, LS_AVX512_BF16}};
enum { TIERS = sizeof tiers / sizeof *tiers };

static network_case network_of(int which, const char *act, char *layers, size_t size) {
    size_t length = 0;
    for (const char *from = networks[which]; *from; from++) {
        const int more = *from == '%' ? snprintf(layers + length, size - length, "%s", act)
                                      : snprintf(layers + length, size - length, "%c", *from);
        length += (size_t)more;
        assert_true(length < size);
    }
    return (network_case){.name = layers, .height = 5, .width = 6, .classes = 4, .layers = layers};
}

static void check_ways(const network_case *network, const ls_backend *backend, const char *tier) {
    replica r;
    replica_create(&r, network, backend, SHARDS, 0, 1, BATCH);
    replica_reset(&r);
    replica_run_eager(&r, LS_TRAINING, BATCH, 1);
    outcome want = replica_outcome(&r);
    for (int fuse = 0; fuse < 2; fuse++) {
        char what[1024];
        snprintf(what, sizeof what, "%s, %s, %s", network->name, tier, fuse ? "fused" : "planned");
        replica_reset(&r);
        replica_plan(&r, LS_TRAINING, fuse, 1 + fuse);
        replica_run(&r, BATCH, 1);
        outcome got = replica_outcome(&r);
        expect_same_outcome(what, &r, &got, &want);
        outcome_free(&got);
    }
    outcome_free(&want);
    replica_destroy(&r);
}

static void test_ways(void **state) {
    (void)state;
    for (int t = 0; t < TIERS; t++) {
        const ls_backend *backend;
        if (tiers[t].set > ls_instruction_set_supported()) {
            print_message("skipped: %s, which this processor has not\n", tiers[t].name);
            continue;
        }
        assert_int_equal(ls_backend_find_for(tiers[t].precision, tiers[t].set, &backend), LS_OK);
        for (int a = 0; a < activation_count; a++)
            for (int n = 0; n < NETWORKS; n++) {
                char layers[1024];
                network_case network = network_of(n, activations[a].text, layers, sizeof layers);
                check_ways(&network, backend, tiers[t].name);
            }
    }
}

/* --- what kernels declare -------------------------------------------------------------------------------- */

/* The dense layer's class, but for kernels that fold relu alone. */
static bool folds_relu(const ls_op *op, const ls_activation *act) {
    (void)op;
    return act->class == &ls_relu_activation;
}

/* Does the activation before the dense layer have a pass of its own in the plan? */
static bool has_own_pass(const char *act, bool (*folds)(const ls_op *op, const ls_activation *act)) {
    char layers[128];
    replica r;
    bool own = false;
    snprintf(layers, sizeof layers, "[{dense: {units: 7}}, batchnorm, %s, {dense: {units: 4}}]", act);
    const network_case network = {.name = layers, .height = 3, .width = 2, .classes = 4, .layers = layers};
    replica_create(&r, &network, cpu_backend(LS_FP32), SHARDS, 0, 1, BATCH);
    replica_reset(&r);
    replica_run_eager(&r, LS_TRAINING, BATCH, 1);
    outcome want = replica_outcome(&r);
    replica_reset(&r);
    assert_int_equal(replica_record(&r, LS_TRAINING), LS_OK);
    ls_op_class classes[16];
    for (int i = 0; i < ls_graph_op_count(r.graph); i++) {
        ls_op *op = ls_graph_op(r.graph, i);
        assert_true(i < 16);
        classes[i] = *op->class;
        if (op->class->folds) classes[i].folds = folds;
        op->class = &classes[i];
    }
    assert_int_equal(ls_team_create(1, &r.team), LS_OK);
    assert_int_equal(ls_plan_create(r.graph, true, 1, &r.plan), LS_OK);
    for (int i = 0; i < r.plan->shard_count; i++) own |= r.plan->shard_pieces[i].op->act.class != NULL;
    replica_poison(&r);
    replica_run(&r, BATCH, 1);
    outcome got = replica_outcome(&r);
    expect_same_outcome(layers, &r, &got, &want);
    outcome_free(&got);
    outcome_free(&want);
    replica_destroy(&r);
    return own;
}

static void test_declared_alone_are_folded(void **state) {
    (void)state;
    for (int a = 0; a < activation_count; a++) {
        const bool relu = activations[a].class == &ls_relu_activation;
        assert_int_equal(has_own_pass(activations[a].text, folds_relu), !relu);
        assert_true(has_own_pass(activations[a].text, NULL));
    }
}

/* A class that folds into a load that it does not have is refused, by name. */
static void test_folds_without_load(void **state) {
    const network_case network = {.name = "relu, dense",
                                  .height = 3,
                                  .width = 2,
                                  .classes = 4,
                                  .layers = "[relu, {dense: {units: 4}}]"};
    ls_op_class class;
    replica r;
    (void)state;
    replica_create(&r, &network, cpu_backend(LS_FP32), SHARDS, 0, 1, BATCH);
    replica_reset(&r);
    assert_int_equal(replica_record(&r, LS_TRAINING), LS_OK);
    for (int i = 0; i < ls_graph_op_count(r.graph); i++) {
        ls_op *op = ls_graph_op(r.graph, i);
        if (!op->class->folds) continue;
        class = *op->class;
        class.loads_prologue = false;
        op->class = &class;
    }
    assert_int_equal(ls_plan_create(r.graph, true, 1, &r.plan), LS_INTERNAL);
    assert_non_null(strstr(ls_error_message(), "(dense): its class declares folds"));
    assert_null(r.plan);
    replica_destroy(&r);
}

static void copy_input(ls_op *op, const ls_run *run, int first, int last, const ls_lane *lane) {
    const float *x = op->in[0]->value;
    float *y = op->out->value;
    (void)lane;
    for (int64_t n = run->shards->start[first]; n < run->shards->start[last]; n++)
        for (int64_t k = 0; k < op->out->shape[0]; k++) y[n * op->out->shape[0] + k] = x[n];
}

/* So is one that declares such a load and reads its input itself, when it has. */
static void test_load_not_taken(void **state) {
    const network_case network = {.name = "batchnorm, relu, dense",
                                  .height = 3,
                                  .width = 2,
                                  .classes = 4,
                                  .layers = "[batchnorm, relu, {dense: {units: 4}}]"};
    ls_op_class class;
    replica r;
    (void)state;
    replica_create(&r, &network, cpu_backend(LS_FP32), SHARDS, 0, 1, BATCH);
    replica_reset(&r);
    assert_int_equal(replica_record(&r, LS_TRAINING), LS_OK);
    for (int i = 0; i < ls_graph_op_count(r.graph); i++) {
        ls_op *op = ls_graph_op(r.graph, i);
        if (!op->class->loads_prologue) continue;
        class = *op->class;
        class.forward = copy_input;
        op->class = &class;
    }
    assert_int_equal(ls_team_create(1, &r.team), LS_OK);
    assert_int_equal(ls_plan_create(r.graph, true, 1, &r.plan), LS_OK);
    assert_int_equal(replica_try_run(&r, BATCH, 1), LS_INTERNAL);
    assert_non_null(strstr(ls_error_message(), "(dense): its class declares loads_prologue and reads in[0]"));
    replica_destroy(&r);
}

/* --- values ---------------------------------------------------------------------------------------------- */

/* All have the right gradient, by differences, on both sides of 0 and with any value of their keys. */
static void test_gradients(void **state) {
    (void)state;
    for (int a = 0; a < activation_count; a++) {
        const char *text = activations[a].text;
        char alone[160], behind[224];
        double worst;
        snprintf(alone, sizeof alone, "[%.127s]", text);
        snprintf(behind, sizeof behind, "[{conv2d: {channels: 3}}, batchnorm, %.127s, {dense: {units: 3}}]",
                 text);
        const ls_gradcheck_case cases[] = {
            {.layer = activations[a].layer->name,
             .layers = alone,
             .dims = 1,
             .shape = {7},
             .shards = 16,
             .batch = 5,
             .clip = -1,
             .scale = 3,
             .gap = activations[a].class->kink_at_0 ? 0.1 : 0},
            {.layer = activations[a].layer->name,
             .layers = behind,
             .dims = 3,
             .shape = {5, 4, 1},
             .shards = 4,
             .batch = 7,
             .clip = -1},
        };
        for (size_t i = 0; i < sizeof cases / sizeof *cases; i++)
            if (ls_gradcheck_one(&cases[i], NULL, &worst) != LS_OK) fail_msg("%s", ls_error_message());
    }
}

/* --- which there are ------------------------------------------------------------------------------------- */

/* The class that the layer puts on a graph; NULL: it is no activation, as dropout. */
static const ls_activation_class *class_of(const char *layer) {
    const ls_activation_class *class = NULL;
    char layers[160];
    replica r;
    snprintf(layers, sizeof layers, "[%s, {dense: {units: 4}}]", layer);
    const network_case network = {.name = layers, .height = 3, .width = 2, .classes = 4, .layers = layers};
    replica_create(&r, &network, cpu_backend(LS_FP32), SHARDS, 0, 1, BATCH);
    replica_reset(&r);
    assert_int_equal(replica_record(&r, LS_TRAINING), LS_OK);
    for (int i = 0; i < ls_graph_op_count(r.graph); i++)
        if (ls_graph_op(r.graph, i)->act.class) class = ls_graph_op(r.graph, i)->act.class;
    replica_destroy(&r);
    return class;
}

static void add_activation(const ls_layer_class *layer, int other) {
    const ls_key_class keys = {layer->name, layer->keys, layer->settings_size};
    key_words words;
    assert_in_range(activation_count, 0, ACTIVATIONS_MAX - 1);
    char *text = activations[activation_count].text, own[96] = "";
    key_words_of(&keys, other, &words);
    for (int i = 0; i < words.count; i++) {
        const int key = (int)strcspn(words.words[i], "=");
        const size_t length = strlen(own);
        snprintf(own + length, sizeof own - length, "%s%.*s: %s", i ? ", " : "", key, words.words[i],
                 words.words[i] + key + 1);
    }
    snprintf(text, sizeof activations->text, words.count ? "{%s: {%s}}" : "%s", layer->name, own);
    const ls_activation_class *class = class_of(text);
    if (!class) return;
    activations[activation_count].layer = layer;
    activations[activation_count++].class = class;
}

static int find_activations(void **state) {
    (void)state;
    for (int i = 0; i < ls_layer_class_count; i++) {
        const ls_layer_class *layer = ls_layer_classes[i];
        if (layer->declare != ls_layer_declare_same_shape) continue;
        add_activation(layer, -1);
        for (int k = 0; k < layer->keys.count; k++)
            if (layer->keys.keys[k].type != LS_KEY_STRING) add_activation(layer, k);
    }
    return activation_count < 8 ? -1 : 0; /* fewer than the library has */
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_ways),
        cmocka_unit_test(test_declared_alone_are_folded),
        cmocka_unit_test(test_folds_without_load),
        cmocka_unit_test(test_load_not_taken),
        cmocka_unit_test(test_gradients),
    };
    if (ls_layer_register(&softplus_layer) != LS_OK) {
        fprintf(stderr, "%s\n", ls_error_message());
        return 1;
    }
    return cmocka_run_group_tests(tests, find_activations, NULL);
}

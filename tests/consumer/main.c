/* Registers a layer, checks its gradient, trains a network with it on a made task, eagerly and planned with
 * the same bits, and uses tensors. */
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "swish.h"

enum { SIDE = 4, CLASSES = 3, SAMPLES = 48, SHARDS = 4, STEPS = 60 };

#define EXPECT(condition)                                                                                    \
    do {                                                                                                     \
        if (!(condition)) {                                                                                  \
            fprintf(stderr, "%s:%d: not so: %s (%s)\n", __FILE__, __LINE__, #condition, ls_error_message()); \
            exit(1);                                                                                         \
        }                                                                                                    \
    } while (0)

static void check_registration(void) {
    EXPECT(ls_layer_register(&swish_layer) == LS_OK);
    EXPECT(ls_layer_register(&swish_layer) == LS_USAGE);
    EXPECT(strstr(ls_error_message(), "swish"));
}

static void check_gradient(void) {
    static const ls_gradcheck_case cases[] = {
        {.layer = "swish",
         .layers = "[swish]",
         .dims = 1,
         .shape = {5},
         .shards = 16,
         .batch = 5,
         .clip = -1},
        {.layer = "swish",
         .layers = "[{swish: {beta: 2.5}}]",
         .dims = 3,
         .shape = {3, 1, 2},
         .shards = 4,
         .batch = 7,
         .clip = -1},
        {.layer = "swish",
         .layers = "[{dense: {units: 4}}, batchnorm, swish, {dense: {units: 3}}]",
         .dims = 1,
         .shape = {3},
         .shards = 4,
         .batch = 7,
         .clip = 1e-8},
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        double worst;
        EXPECT(ls_gradcheck_one(&cases[i], stdout, &worst) == LS_OK);
    }
}

/* Class c is an image that is bright in row c. */
static void make_data(ls_dataset *data, uint32_t *sample) {
    *data = (ls_dataset){.count = SAMPLES, .height = SIDE, .width = SIDE, .classes = CLASSES};
    EXPECT(ls_calloc(&data->images, SAMPLES, SIDE * SIDE, "images") == LS_OK);
    EXPECT(ls_calloc(&data->labels, SAMPLES, 1, "labels") == LS_OK);
    for (uint32_t i = 0; i < SAMPLES; i++) {
        sample[i] = i;
        data->labels[i] = (uint8_t)(i % CLASSES);
        for (uint32_t p = 0; p < SIDE * SIDE; p++)
            data->images[i * SIDE * SIDE + p] =
                (uint8_t)(p / SIDE == i % CLASSES ? 200 + (i + p) % 50 : 7 * (i + p) % 60);
    }
}

static ls_network *make_network(const ls_backend *backend, const ls_shards *shards) {
    ls_network *network;
    ls_builder *b = ls_builder_create();
    ls_build(b, "dense", "units=%d", 8);
    ls_build(b, "swish", "beta=1.5");
    ls_build(b, "dense", "units=%d", CLASSES);
    EXPECT(ls_build_network(&b, SIDE, SIDE, CLASSES, &network) == LS_OK);
    EXPECT(ls_parameters_allocate(&network->parameters, backend, 0, shards->node_count) == LS_OK);
    EXPECT(ls_network_initialise(network, 1) == LS_OK);
    return network;
}

/* Trains by gradient descent; planned: one plan for all steps, otherwise a graph of its own for each. Returns
 * the last loss. */
static double train(bool planned) {
    ls_optimizer sgd;
    const ls_backend *backend;
    ls_shards shards;
    ls_dataset data;
    ls_team *team;
    ls_plan *plan = NULL;
    ls_graph *graph = NULL;
    ls_tensor *loss = NULL;
    uint32_t sample[SAMPLES];
    double first = 0, last = 0;
    EXPECT(ls_backend_find(LS_FP32, &backend) == LS_OK);
    EXPECT(ls_shards_create(&shards, SHARDS, 0, 1, SAMPLES) == LS_OK);
    EXPECT(ls_team_create(2, &team) == LS_OK);
    EXPECT(ls_optimizer_create("sgd", NULL, 0, &sgd) == LS_OK);
    make_data(&data, sample);
    ls_network *network = make_network(backend, &shards);
    for (uint32_t step = 0; step < STEPS; step++) {
        ls_run run = {.shards = &shards, .data = &data, .sample = sample, .seed = 1, .step = step};
        if (!graph) {
            EXPECT(ls_graph_create(planned ? LS_RECORD : LS_EAGER, LS_TRAINING, backend, &network->parameters,
                                   &shards, planned ? NULL : &run, &ls_reducer_local, &graph) == LS_OK);
            ls_tensor *x = ls_input(graph, SIDE, SIDE, true, NULL);
            loss = ls_softmax_cross_entropy(graph, ls_network_apply(network, graph, x), 1e-8, false);
            EXPECT(loss);
            if (planned) EXPECT(ls_plan_create(graph, true, 2, &plan) == LS_OK);
        }
        EXPECT((planned ? ls_plan_run(plan, &run, team) : ls_backward(loss)) == LS_OK);
        last = loss->producer->nodes[LS_LOSS_SUM] / SAMPLES;
        if (step == 0) first = last;
        ls_update update = ls_optimizer_step(&sgd, 0.5, step + 1, network->parameters.elements);
        ls_optimizer_apply(&update, &network->parameters, 0, network->parameters.total);
        if (!planned) ls_graph_destroy(&graph);
    }
    printf("%s: loss %.6f to %.6f\n", planned ? "planned" : "eager", first, last);
    EXPECT(last < 0.1 && last < first);
    ls_optimizer_destroy(&sgd);
    ls_plan_destroy(&plan);
    ls_graph_destroy(&graph);
    ls_network_destroy(&network);
    ls_dataset_destroy(&data);
    ls_team_destroy(&team);
    return last;
}

static void use_tensors(void) {
    ls_graph *g;
    EXPECT(ls_eager_create(LS_FP64, &g) == LS_OK);
    ls_tensor *x = ls_tensor_create(g, LS_SHAPE(2, 2), (const double[]){1, 2, 3, 4}, true);
    ls_tensor *y = ls_tensor_sum(ls_tensor_matmul(x, x), 0, NULL, false);
    EXPECT(ls_backward(y) == LS_OK);
    EXPECT(ls_tensor_item(y) == 54 && ls_tensor_grad_at(x, 0) == 7);
    ls_graph_destroy(&g);
}

int main(void) {
    check_registration();
    check_gradient();
    EXPECT(train(false) == train(true));
    use_tensors();
    return 0;
}

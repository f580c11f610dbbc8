#include "graph/replica.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "core/rng.h"
#include "graph/planner.h"
#include "layers/input/input.h"
#include "layers/softmax_cross_entropy/softmax_cross_entropy.h"

#define EXPECT_OK(call)                                                                                      \
    do {                                                                                                     \
        if ((call) != LS_OK) fail_msg("%s: %s", #call, ls_error_message());                                  \
    } while (0)

static uint32_t random_word(uint32_t item, uint32_t i) {
    ls_rng rng = ls_rng_stream(REPLICA_SEED, LS_RNG_TEST, 0, 0, item);
    uint32_t words[4];
    ls_rng_block(&rng, i / 4, words);
    return words[i % 4];
}

const ls_backend *cpu_backend(ls_dtype dtype) {
    const ls_backend *backend = NULL;
    EXPECT_OK(ls_backend_find(dtype, &backend));
    return backend;
}

static void make_data(ls_dataset *data, const network_case *network) {
    size_t image = (size_t)(network->height * network->width);
    *data = (ls_dataset){.images = malloc(REPLICA_SAMPLES * image),
                         .labels = malloc(REPLICA_SAMPLES),
                         .count = REPLICA_SAMPLES,
                         .height = network->height,
                         .width = network->width,
                         .classes = network->classes};
    assert_non_null(data->images);
    assert_non_null(data->labels);
    for (size_t i = 0; i < REPLICA_SAMPLES * image; i++)
        data->images[i] = (uint8_t)(random_word(1, (uint32_t)i) >> 24);
    for (uint32_t i = 0; i < REPLICA_SAMPLES; i++)
        data->labels[i] = (uint8_t)(random_word(2, i) % (uint32_t)network->classes);
}

static void make_network(replica *r, const network_case *network) {
    char text[1024];
    ls_layer_keys tables[LS_LAYER_CLASSES_MAX];
    ls_key_table no_keys = {0};
    ls_config *config = NULL;
    int length = snprintf(text, sizeof text, "network: %s\n", network->layers);
    assert_in_range(length, 1, sizeof text - 1);
    ls_network_layer_keys(tables);
    EXPECT_OK(ls_config_parse(network->name, text, (size_t)length, &no_keys, tables, ls_layer_class_count,
                              &config));
    EXPECT_OK(ls_network_create(config, network->height, network->width, network->classes, &r->network));
    ls_config_destroy(&config);
}

/* The initial weights, but vectors that are not all zeros or ones. */
static void set_parameters(ls_network *network) {
    ls_parameters *p = &network->parameters;
    EXPECT_OK(ls_network_initialise(network, REPLICA_SEED));
    for (int i = 0; i < p->count; i++) {
        double values[256];
        if (p->list[i].layout != LS_LAYOUT_VECTOR) continue;
        assert_in_range(p->list[i].count, 1, 256);
        for (uint32_t k = 0; k < p->list[i].count; k++)
            values[k] = 0.5 + ls_rng_unit(random_word(3 + (uint32_t)i, k));
        EXPECT_OK(ls_parameter_set(p, &p->list[i], values));
    }
}

void replica_create(replica *r, const network_case *network, const ls_backend *backend, int total, int rank,
                    int size, int64_t batch) {
    *r = (replica){.which = network, .backend = backend, .reducer = ls_reducer_local};
    EXPECT_OK(ls_shards_create(&r->shards, total, rank, size, batch));
    make_data(&r->data, network);
    make_network(r, network);
    EXPECT_OK(ls_parameters_allocate(&r->network->parameters, backend, 0, r->shards.node_count));
    set_parameters(r->network);
    r->sample = calloc((size_t)batch, sizeof *r->sample);
    assert_non_null(r->sample);
}

void replica_reset(replica *r) {
    const ls_parameters *p = &r->network->parameters;
    set_parameters(r->network);
    memset(p->gradient, 0xff,
           (size_t)(p->nodes * p->summed + p->total - p->summed) * ls_dtype_size(r->backend->dtype));
}

void replica_destroy(replica *r) {
    ls_plan_destroy(&r->plan);
    ls_graph_destroy(&r->graph);
    ls_team_destroy(&r->team);
    ls_network_destroy(&r->network);
    ls_dataset_destroy(&r->data);
    free(r->sample);
    *r = (replica){0};
}

static ls_status build(replica *r, ls_graph_mode mode, ls_purpose purpose, const ls_shards *shards,
                       const ls_run *run) {
    ls_plan_destroy(&r->plan);
    ls_graph_destroy(&r->graph);
    LS_TRY(ls_graph_create(mode, purpose, r->backend, &r->network->parameters, shards, run, &r->reducer,
                           &r->graph));
    ls_tensor *x = ls_input(r->graph, r->data.height, r->data.width, true, NULL);
    if (r->which->seed > 0)
        x = random_graph(r->which->seed, r->network, r->graph, x);
    else
        x = (r->which->wire ? r->which->wire : ls_network_apply)(r->network, r->graph, x);
    ls_softmax_cross_entropy(r->graph, x, 1e-8, false);
    return ls_graph_status(r->graph);
}

ls_status replica_record(replica *r, ls_purpose purpose) {
    return build(r, LS_RECORD, purpose, &r->shards, NULL);
}

void replica_poison(replica *r) {
    if (r->plan->memory) memset(r->plan->memory, 0xff, r->plan->memory_size);
}

void replica_plan(replica *r, ls_purpose purpose, bool fuse, int threads) {
    EXPECT_OK(replica_record(r, purpose));
    ls_graph_share(r->graph, &r->sharing);
    EXPECT_OK(ls_plan_create(r->graph, fuse, threads, &r->plan));
    replica_poison(r);
    if (!r->team || ls_team_size(r->team) != threads) {
        ls_team_destroy(&r->team);
        EXPECT_OK(ls_team_create(threads, &r->team));
    }
}

/* The run of a step: samples by their position in the global batch. */
static ls_run make_run(replica *r, ls_shards *shards, int64_t batch, uint32_t step) {
    *shards = r->shards;
    ls_shards_set_batch(shards, batch);
    for (int64_t i = 0; i < ls_shards_rows(shards); i++)
        r->sample[i] = (uint32_t)((shards->offset + i) * 5 + 17 * step) % REPLICA_SAMPLES;
    EXPECT_OK(ls_shards_create(&r->all, shards->total, 0, 1, batch));
    return (ls_run){.shards = shards,
                    .all = &r->all,
                    .data = &r->data,
                    .sample = r->sample,
                    .seed = REPLICA_SEED,
                    .epoch = 1,
                    .step = step};
}

ls_status replica_try_run(replica *r, int64_t batch, uint32_t step) {
    ls_shards shards;
    ls_run run = make_run(r, &shards, batch, step);
    return ls_plan_run(r->plan, &run, r->team);
}

ls_status replica_try_run_whole(replica *r, int64_t batch, uint32_t step) {
    ls_shards shards;
    ls_run run = make_run(r, &shards, batch, step);
    return ls_plan_run_all_shards(r->plan, &run, r->team) ? LS_OK : LS_NOT_FINITE;
}

ls_status replica_try_run_eager(replica *r, ls_purpose purpose, int64_t batch, uint32_t step) {
    ls_shards shards;
    ls_run run = make_run(r, &shards, batch, step);
    LS_TRY(build(r, LS_EAGER, purpose, &shards, &run));
    return ls_purpose_goes_back(purpose) ? ls_backward(replica_loss(r)->out) : LS_OK;
}

void replica_run(replica *r, int64_t batch, uint32_t step) {
    EXPECT_OK(replica_try_run(r, batch, step));
}

void replica_run_eager(replica *r, ls_purpose purpose, int64_t batch, uint32_t step) {
    EXPECT_OK(replica_try_run_eager(r, purpose, batch, step));
}

const ls_op *replica_loss(const replica *r) {
    return ls_graph_op(r->graph, ls_graph_op_count(r->graph) - 1);
}

static char *copy(const void *from, size_t size) {
    char *to = malloc(size + 1);
    assert_non_null(to);
    if (size > 0) memcpy(to, from, size);
    return to;
}

outcome replica_outcome(const replica *r) {
    const ls_parameters *p = &r->network->parameters;
    outcome o = {.gradient_bytes = (size_t)p->total * ls_dtype_size(r->backend->dtype)};
    memcpy(o.loss, replica_loss(r)->nodes, sizeof o.loss);
    o.gradient = copy(p->gradient, o.gradient_bytes);
    for (int i = 0; i < p->statistics_count; i++)
        o.statistics_bytes += (size_t)(1 + 3 * p->statistics[i].channels) * sizeof(double);
    o.statistics = copy(NULL, 0);
    o.statistics = realloc(o.statistics, o.statistics_bytes + 1);
    assert_non_null(o.statistics);
    char *to = o.statistics;
    for (int i = 0; i < p->statistics_count; i++) {
        size_t size = (size_t)(1 + 3 * p->statistics[i].channels) * sizeof(double);
        memcpy(to, p->statistics[i].values, size);
        to += size;
    }
    return o;
}

void outcome_free(outcome *o) {
    free(o->gradient);
    free(o->statistics);
    *o = (outcome){0};
}

/* The parameter whose gradient holds that byte. */
static const char *name_of_byte(const replica *r, size_t byte) {
    const ls_parameters *p = &r->network->parameters;
    int64_t at = (int64_t)(byte / ls_dtype_size(r->backend->dtype));
    for (int i = 0; i < p->count; i++)
        if (at >= p->list[i].offset && at < p->list[i].offset + p->list[i].count) return p->list[i].name;
    return "padding";
}

void expect_same_outcome(const char *what, const replica *r, const outcome *got, const outcome *want) {
    if (memcmp(got->loss, want->loss, sizeof got->loss) != 0)
        fail_msg("%s: loss %.17g (%g correct), expected %.17g (%g)", what, got->loss[0], got->loss[1],
                 want->loss[0], want->loss[1]);
    assert_int_equal(got->gradient_bytes, want->gradient_bytes);
    for (size_t i = 0; i < got->gradient_bytes; i++)
        if (got->gradient[i] != want->gradient[i])
            fail_msg("%s: gradient of %s differs at byte %zu", what, name_of_byte(r, i), i);
    assert_int_equal(got->statistics_bytes, want->statistics_bytes);
    for (size_t i = 0; i < got->statistics_bytes; i++)
        if (got->statistics[i] != want->statistics[i])
            fail_msg("%s: statistics differ at double %zu", what, i / 8);
}

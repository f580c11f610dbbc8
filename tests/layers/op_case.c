#include "layers/op_case.h"

#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "check/probe.h"
#include "core/rng.h"
#include "graph/exchange.h"
#include "layers/residual/residual.h"

static uint32_t word(uint32_t item, int64_t i) {
    ls_rng rng = ls_rng_stream(23, LS_RNG_TEST, 0, 0, item);
    uint32_t words[4];
    ls_rng_block(&rng, (uint32_t)(i / 4), words);
    return words[i % 4];
}

double op_uniform(uint32_t item, int64_t i) {
    return (double)(float)(2 * ls_rng_unit(word(item, i)) - 1);
}

double op_quarters(uint32_t item, int64_t i, int levels) {
    return ((double)(word(item, i) % (uint32_t)(2 * levels + 1)) - levels) / 4;
}

/* --- on ranks -------------------------------------------------------------------------------------- */

typedef struct op_rank {
    const op_case *which;
    const ls_backend *backend;
    ls_shards shards;
    ls_parameters parameters;
    ls_reducer reducer;
    const double *x, *dy;
    op_result *out;
} op_rank;

static double element(ls_dtype dtype, const void *from, int64_t i) {
    return dtype == LS_FP64 ? ((const double *)from)[i] : (double)((const float *)from)[i];
}

static void rank_create(op_rank *r, int index, int size, const double *parameters) {
    const op_case *c = r->which;
    assert_int_equal(ls_backend_find(c->dtype, &r->backend), LS_OK);
    assert_int_equal(ls_shards_create(&r->shards, c->shards, index, size, c->batch), LS_OK);
    for (int k = 0; c->parameters > 0 && k < 2; k++) {
        int at;
        assert_int_equal(ls_parameters_add(&r->parameters, "0", k ? "bias" : "weight", LS_LAYOUT_VECTOR, 1,
                                           &c->parameters, true, &at),
                         LS_OK);
    }
    assert_int_equal(ls_parameters_allocate(&r->parameters, r->backend, 0, r->shards.node_count), LS_OK);
    for (int k = 0; c->parameters > 0 && k < 2; k++)
        assert_int_equal(
            ls_parameter_set(&r->parameters, &r->parameters.list[k], parameters + k * c->parameters), LS_OK);
}

static ls_status run_rank(void *argument, int index) {
    op_rank *r = (op_rank *)argument + index;
    const op_case *c = r->which;
    ls_run run = {.shards = &r->shards};
    ls_graph *graph;
    LS_TRY(ls_graph_create(LS_EAGER, LS_TRAINING, r->backend, &r->parameters, &r->shards, &run, &r->reducer,
                           &graph));
    ls_tensor *x = ls_leaf(graph, c->dims, c->shape, r->x, true);
    ls_tensor *y = c->apply(c->which, graph, x);
    ls_tensor *loss =
        ls_weighted_sum(graph, c->twice ? ls_add(graph, y, c->apply(c->which, graph, x)) : y, r->dy);
    ls_status status = ls_graph_status(graph);
    if (status == LS_OK) status = ls_backward(loss);
    if (status == LS_OK) {
        const int64_t in = ls_tensor_pixels(x) * ls_tensor_channels(x), rows = ls_shards_rows(&r->shards);
        const int64_t out = ls_tensor_pixels(y) * ls_tensor_channels(y);
        for (int64_t i = 0; i < rows * out; i++)
            r->out->y[r->shards.offset * out + i] = element(c->dtype, y->value, i);
        for (int64_t i = 0; i < rows * in; i++)
            r->out->dx[r->shards.offset * in + i] = element(c->dtype, x->grad, i);
    }
    ls_graph_destroy(&graph);
    return status;
}

static double node_gradient(const void *argument, int rank, int node, int64_t at) {
    const op_rank *r = (const op_rank *)argument + rank;
    return element(r->which->dtype, r->parameters.gradient, node * r->parameters.summed + at);
}

void op_run(const op_case *c, int ranks, const double *x, const double *dy, const double *parameters,
            op_result *out) {
    static op_rank all[EXCHANGE_RANKS];
    const ls_shards *shards[EXCHANGE_RANKS] = {NULL};
    exchange e;
    memset(out, 0xff, sizeof *out);
    for (int r = 0; r < ranks; r++) {
        all[r] = (op_rank){.which = c, .x = x, .dy = dy, .out = out};
        rank_create(&all[r], r, ranks, parameters);
        shards[r] = &all[r].shards;
    }
    exchange_create(&e, ranks, shards);
    for (int r = 0; r < ranks; r++) all[r].reducer = exchange_reducer(&e, r);
    exchange_run(&e, run_rank, all);
    for (int k = 0; c->parameters > 0 && k < 2; k++)
        for (int64_t i = 0; i < c->parameters; i++)
            out->gradient[k * c->parameters + i] = exchange_sum(&e, c->dtype == LS_FP32, node_gradient, all,
                                                                all[0].parameters.list[k].offset + i);
    for (int r = 0; r < ranks; r++) ls_parameters_destroy(&all[r].parameters);
    exchange_destroy(&e);
}

void op_expect(const char *what, const op_case *c, int ranks, const double *got, const double *want,
               const double *bound, int64_t count) {
    char shape[64];
    for (int64_t i = 0; i < count; i++)
        if (!(fabs(got[i] - want[i]) <= (bound ? bound[i] : 0)))
            fail_msg("%s[%lld] = %.17g, expected %.17g within %.2g (batch %lld of %s, %d shards, %d ranks, "
                     "fp%d%s)",
                     what, (long long)i, got[i], want[i], bound ? bound[i] : 0, (long long)c->batch,
                     ls_shape_text(c->dims, c->shape, shape, sizeof shape), c->shards, ranks,
                     c->dtype == LS_FP64 ? 64 : 32, c->twice ? ", twice" : "");
}

/* --- refusals -------------------------------------------------------------------------------------- */

ls_status op_declare(const ls_layer_class *class, const char *settings, int dims, const int64_t *shape,
                     ls_layer *layer) {
    ls_parameters parameters = {0};
    char text[256], *rest = NULL;
    *layer =
        (ls_layer){.class = class, .settings = calloc(1, class->settings_size), .name = "0", .in_dims = dims};
    assert_non_null(layer->settings);
    memcpy(layer->in, shape, (size_t)dims * sizeof *shape);
    assert_int_equal(ls_keys_set_defaults(&class->keys, layer->settings), LS_OK);
    snprintf(text, sizeof text, "%s", settings);
    for (char *key = strtok_r(text, " ", &rest); key; key = strtok_r(NULL, " ", &rest))
        assert_int_equal(
            ls_key_set(ls_key_find(&class->keys, key), layer->settings, strtok_r(NULL, " ", &rest)), LS_OK);
    ls_status status = class->declare(layer, &parameters);
    ls_keys_free(&class->keys, layer->settings);
    free(layer->settings);
    layer->settings = NULL;
    ls_parameters_destroy(&parameters);
    return status;
}

void op_expect_refusal(const ls_layer_class *class, const char *settings, int dims, const int64_t *shape,
                       const char *message) {
    ls_layer layer;
    char text[256], *rest = NULL;
    assert_int_equal(op_declare(class, settings, dims, shape, &layer), LS_USAGE);
    snprintf(text, sizeof text, "%s", message);
    for (char *part = strtok_r(text, "|", &rest); part; part = strtok_r(NULL, "|", &rest))
        if (!strstr(ls_error_message(), part)) fail_msg("no '%s' in '%s'", part, ls_error_message());
}

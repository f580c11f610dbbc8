#include "check/gradcheck.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "check/kinks.h"
#include "check/probe.h"
#include "core/elementary.h"
#include "core/rng.h"
#include "layers/softmax_cross_entropy/softmax_cross_entropy.h"
#include "model/network.h"

enum {
    SEED = 7,
    MOST_DRAWS = 1000 /* attempts to keep everything away from kinks */
};

/* Steps of the differences: the stencil's error is about h^4, rounding's 1e-16 / h. */
static const double step_size = 3e-4;
/* What goes into a ReLU is farther from 0 than any step can move it, and of a window the largest from the
 * next. */
static const double kink_margin = 0.03;
/* Probabilities are not within this factor of the clip. */
static const double clip_margin = 1.1;

typedef struct checker {
    const ls_gradcheck_case *which;
    ls_network *network;
    ls_shards shards;
    ls_dataset data;
    uint32_t *sample;
    double *values, *weights; /* [batch][input], [batch][output] */
    int64_t inputs, outputs;  /* elements of a sample */
    ls_graph *graph;          /* of the latest run */
    ls_run run;
    double *analytic, *numeric; /* [batch * inputs + arena elements] */
    int64_t checked;
    double worst;
} checker;

/* --- the network ----------------------------------------------------------------------------------- */

static ls_status create_network(checker *c) {
    char text[512];
    ls_layer_keys *tables;
    ls_config *config = NULL;
    const ls_key_table no_keys = {0};
    int count = ls_layer_class_count;
    LS_TRY(ls_calloc(&tables, (size_t)count, sizeof *tables, "the layer types"));
    ls_network_layer_keys(tables);
    int length = snprintf(text, sizeof text, "network: %s\n", c->which->layers);
    ls_status status;
    if (strcmp(c->which->layers, "[]") == 0) { /* the loss alone */
        status = ls_calloc(&c->network, 1, sizeof *c->network, "a network");
        c->outputs = c->inputs;
    } else {
        status = ls_config_parse("gradcheck", text, (size_t)length, &no_keys, tables, count, &config);
        if (status == LS_OK)
            status = ls_network_create_for(config, c->which->dims, c->which->shape, 0, &c->network);
        c->outputs = 1;
        for (int i = 0; status == LS_OK && i < c->network->list.out_dims; i++)
            c->outputs *= c->network->list.out[i];
    }
    ls_config_destroy(&config);
    free(tables);
    return status;
}

static ls_status create(checker *c) {
    const ls_backend *backend;
    int64_t batch = c->which->batch;
    c->inputs = 1;
    for (int i = 0; i < c->which->dims; i++) c->inputs *= c->which->shape[i];
    LS_TRY(ls_backend_find(LS_FP64, &backend));
    LS_TRY(ls_shards_create(&c->shards, c->which->shards, 0, 1, batch));
    LS_TRY(create_network(c));
    LS_TRY(ls_parameters_allocate(&c->network->parameters, backend, 0, c->shards.node_count));
    size_t elements = (size_t)(batch * c->inputs + c->network->parameters.total);
    LS_TRY(ls_calloc(&c->values, (size_t)(batch * c->inputs), sizeof(double), "a gradient check"));
    LS_TRY(ls_calloc(&c->weights, (size_t)(batch * c->outputs), sizeof(double), "a gradient check"));
    LS_TRY(ls_calloc(&c->analytic, elements, sizeof(double), "a gradient check"));
    LS_TRY(ls_calloc(&c->numeric, elements, sizeof(double), "a gradient check"));
    LS_TRY(ls_calloc(&c->sample, (size_t)batch, sizeof *c->sample, "a gradient check"));
    LS_TRY(ls_calloc(&c->data.labels, (size_t)batch, 1, "a gradient check"));
    c->data.count = batch;
    c->run = (ls_run){
        .shards = &c->shards, .data = &c->data, .sample = c->sample, .seed = SEED, .epoch = 1, .step = 1};
    return LS_OK;
}

static void destroy(checker *c) {
    ls_graph_destroy(&c->graph);
    ls_network_destroy(&c->network);
    ls_dataset_destroy(&c->data);
    free(c->sample);
    free(c->values);
    free(c->weights);
    free(c->analytic);
    free(c->numeric);
}

/* --- inputs away from kinks ------------------------------------------------------------------------ */

/* Uniform in (-1, 1). */
static void fill(uint32_t draw, uint32_t item, int64_t count, double *values) {
    ls_rng rng = ls_rng_stream(SEED, LS_RNG_TEST, 0, draw, item);
    uint32_t words[4];
    for (int64_t i = 0; i < count; i++) {
        if (i % 4 == 0) ls_rng_block(&rng, (uint32_t)(i / 4), words);
        values[i] = 2 * ls_rng_unit(words[i % 4]) - 1;
    }
}

static void draw_numbers(checker *c, uint32_t draw) {
    int64_t batch = c->which->batch;
    double scale = c->which->scale > 0 ? c->which->scale : 1, gap = c->which->gap;
    fill(draw, 0, batch * c->inputs, c->values);
    for (int64_t i = 0; i < batch * c->inputs; i++)
        c->values[i] = scale * (copysign(gap, c->values[i]) + (1 - gap) * c->values[i]);
    fill(draw, 1, batch * c->outputs, c->weights);
    fill(draw, 2, c->network->parameters.total, c->network->parameters.value);
    for (int64_t i = 0; i < batch; i++) {
        c->sample[i] = (uint32_t)((3 * i + 1) % batch);
        c->data.labels[i] = (uint8_t)((uint32_t)(i * i + draw) % c->outputs);
    }
}

/* p of the row's label, straight from the definition. */
static double likelihood(const checker *c, int64_t row) {
    const double *x = c->values + row * c->inputs;
    double sum = 0, label = x[c->data.labels[c->sample[row]]];
    for (int64_t j = 0; j < c->inputs; j++) sum += exp(x[j] - label);
    return 1 / sum;
}

static bool is_loss_alone(const checker *c) {
    return c->network->count == 0;
}

static bool away_from_kinks(const checker *c) {
    for (int i = 0; i < ls_graph_op_count(c->graph); i++)
        if (ls_near_kink(ls_graph_op(c->graph, i), c->which->batch, kink_margin)) return false;
    for (int64_t row = 0; is_loss_alone(c) && row < c->which->batch; row++) {
        double p = likelihood(c, row) / c->which->clip;
        if (p > 1 / clip_margin && p < clip_margin) return false;
    }
    return true;
}

/* --- one evaluation -------------------------------------------------------------------------------- */

/* Runs the network and the loss forward; the graph stays for a backward pass. */
static ls_status run_forward(checker *c, double clip, ls_tensor **leaf, ls_tensor **loss) {
    ls_parameters *parameters = &c->network->parameters;
    ls_graph_destroy(&c->graph);
    LS_TRY(ls_graph_create(LS_EAGER, LS_TRAINING, parameters->backend, parameters, &c->shards, &c->run,
                           &ls_reducer_local, &c->graph));
    *leaf = ls_leaf(c->graph, c->which->dims, c->which->shape, c->values, true);
    ls_tensor *y = (c->which->wire ? c->which->wire : ls_network_apply)(c->network, c->graph, *leaf);
    *loss = c->which->clip < 0 ? ls_weighted_sum(c->graph, y, c->weights)
                               : ls_softmax_cross_entropy(c->graph, y, clip, c->which->damped);
    return ls_graph_status(c->graph);
}

/* The loss without its clip: "ignored" and "damped" are rules about its gradient. */
static ls_status evaluate(checker *c, double *value) {
    ls_tensor *leaf, *loss;
    LS_TRY(run_forward(c, 0, &leaf, &loss));
    *value = loss->producer->reduced[0];
    if (c->which->clip >= 0) *value /= (double)c->which->batch;
    return LS_OK;
}

static ls_status prepare(checker *c) {
    double value;
    for (uint32_t draw = 0; draw < MOST_DRAWS; draw++) {
        draw_numbers(c, draw);
        LS_TRY(evaluate(c, &value));
        if (away_from_kinks(c)) return LS_OK;
    }
    return ls_fail(LS_INTERNAL, "gradient check of %s: no input is away from kinks", c->which->layers);
}

static ls_status find_analytic(checker *c) {
    const ls_parameters *p = &c->network->parameters;
    int64_t inputs = c->which->batch * c->inputs;
    ls_tensor *leaf, *loss;
    LS_TRY(run_forward(c, c->which->clip, &leaf, &loss));
    LS_TRY(ls_backward(loss));
    memcpy(c->analytic, leaf->grad, (size_t)inputs * sizeof(double));
    if (p->total > 0) memcpy(c->analytic + inputs, p->gradient, (size_t)p->total * sizeof(double));
    return LS_OK;
}

/* f' by (8 (f(h) - f(-h)) - (f(2h) - f(-2h))) / 12h. */
static ls_status differentiate(checker *c, double *x, double *derivative) {
    static const double at[] = {1, -1, 2, -2}, factor[] = {8, -8, -1, 1};
    const double x0 = *x;
    *derivative = 0;
    for (int i = 0; i < 4; i++) {
        double value;
        *x = x0 + at[i] * step_size;
        LS_TRY(evaluate(c, &value));
        *derivative += factor[i] * value / (12 * step_size);
    }
    *x = x0;
    return LS_OK;
}

/* What "damped" makes of a row's gradient. */
static double damping(const checker *c, int64_t row) {
    if (!is_loss_alone(c) || !c->which->damped) return 1;
    double p = likelihood(c, row);
    return p < c->which->clip ? p / (p + c->which->clip) : 1;
}

static ls_status find_numeric(checker *c) {
    const ls_parameters *p = &c->network->parameters;
    int64_t inputs = c->which->batch * c->inputs;
    for (int64_t i = 0; i < inputs; i++) {
        LS_TRY(differentiate(c, &c->values[i], &c->numeric[i]));
        c->numeric[i] *= damping(c, i / c->inputs);
    }
    for (int k = 0; k < p->count; k++)
        for (int64_t i = p->list[k].offset; i < p->list[k].offset + p->list[k].count; i++)
            LS_TRY(differentiate(c, (double *)p->value + i, &c->numeric[inputs + i]));
    c->checked = inputs + p->elements;
    return LS_OK;
}

/* The padding between parameters is 0 in both. */
static void compare(checker *c) {
    int64_t count = c->which->batch * c->inputs + c->network->parameters.total;
    double largest = 0;
    for (int64_t i = 0; i < count; i++) largest = fmax(largest, fabs(c->numeric[i]));
    for (int64_t i = 0; i < count; i++) {
        double a = c->analytic[i], n = c->numeric[i];
        double error = fabs(a - n) / fmax(fmax(fabs(a), fabs(n)), fmax(1e-3 * largest, 1e-300));
        if (error > c->worst || isnan(error)) c->worst = error; /* NaN stays: nothing is greater */
    }
}

/* --- all cases ------------------------------------------------------------------------------------- */

static ls_status check(const ls_gradcheck_case *which, int64_t *checked, double *worst) {
    checker c = {.which = which};
    ls_status status = create(&c);
    if (status == LS_OK) status = prepare(&c);
    if (status == LS_OK) status = find_analytic(&c);
    if (status == LS_OK) status = find_numeric(&c);
    if (status == LS_OK) compare(&c);
    *checked = c.checked;
    *worst = c.worst;
    destroy(&c);
    return status;
}

static void describe(const ls_gradcheck_case *which, char *text, size_t size) {
    char shape[64], loss[64] = "";
    ls_shape_text(which->dims, which->shape, shape, sizeof shape);
    if (which->clip >= 0)
        snprintf(loss, sizeof loss, ", clip %g %s", which->clip, which->damped ? "damped" : "ignored");
    snprintf(text, size, "%s x %lld in %d shards%s: %s%s%s", shape, (long long)which->batch, which->shards,
             loss, which->layers, which->how ? " as " : "", which->how ? which->how : "");
}

static bool has_case(const char *layer) {
    for (int i = 0; i < ls_gradcheck_case_count; i++)
        if (strcmp(ls_gradcheck_cases[i].layer, layer) == 0) return true;
    return false;
}

static void print_row(FILE *out, const char *layer, int64_t checked, double worst, bool good,
                      const char *text) {
    if (out)
        fprintf(out, "%-22s %8lld %12.1e  %-4s  %s\n", layer, (long long)checked, ls_one_nan(worst),
                good ? "ok" : "FAIL", text);
}

ls_status ls_gradcheck_one(const ls_gradcheck_case *which, FILE *out, double *worst) {
    char text[512];
    int64_t checked;
    LS_TRY(check(which, &checked, worst));
    bool good = *worst < LS_GRADCHECK_BOUND;
    describe(which, text, sizeof text);
    print_row(out, which->layer, checked, *worst, good, text);
    if (good) return LS_OK;
    return ls_fail(LS_DIFFERENT, "gradient check of %s: error %.1e; expected less than %.0e", text, *worst,
                   LS_GRADCHECK_BOUND);
}

ls_status ls_gradcheck(FILE *out, double *worst) {
    int failures = 0;
    *worst = 0;
    if (out) fprintf(out, "%-22s %8s %12s\n", "layer", "elements", "worst error");
    for (int i = 0; i < ls_gradcheck_case_count; i++) {
        double error;
        ls_status status = ls_gradcheck_one(&ls_gradcheck_cases[i], out, &error);
        if (status == LS_DIFFERENT) failures++;
        if (status != LS_OK && status != LS_DIFFERENT) return status;
        if (error > *worst || isnan(error)) *worst = error;
    }
    for (int i = 0; i < ls_layer_class_count; i++) {
        if (has_case(ls_layer_classes[i]->name)) continue;
        print_row(out, ls_layer_classes[i]->name, 0, 0, false, "no case in src/check/gradcheck_cases.c");
        failures++;
    }
    if (failures == 0) return LS_OK;
    return ls_fail(LS_DIFFERENT, "gradient check: %d of the rows fail", failures);
}

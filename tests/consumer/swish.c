#include "swish.h"

typedef struct swish_state {
    double beta;
} swish_state;

/* The kernels, in both precisions; numbers in between are doubles. */
#define KERNELS(real, suffix)                                                                                \
    static void forward_##suffix(double beta, int64_t first, int64_t last, const real *x, real *y) {         \
        for (int64_t i = first; i < last; i++)                                                               \
            y[i] = (real)((double)x[i] / (1 + ls_exp(-beta * (double)x[i])));                                \
    }                                                                                                        \
    static void backward_##suffix(double beta, int64_t first, int64_t last, const real *x, const real *dy,   \
                                  bool add, real *dx) {                                                      \
        for (int64_t i = first; i < last; i++) {                                                             \
            double s = 1 / (1 + ls_exp(-beta * (double)x[i]));                                               \
            real d = (real)((double)dy[i] * (s + beta * (double)x[i] * s * (1 - s)));                        \
            dx[i] = add ? dx[i] + d : d;                                                                     \
        }                                                                                                    \
    }
KERNELS(float, f32)
KERNELS(double, f64)

static int64_t first_element(const ls_op *op, const ls_run *run, int shard) {
    return run->shards->start[shard] * ls_tensor_elements(op->out);
}

static bool is_fp64(const ls_op *op) {
    return ls_graph_backend(op->graph)->dtype == LS_FP64;
}

static void forward(ls_op *op, const ls_run *run, int first, int last, const ls_lane *lane) {
    const swish_state *s = op->state;
    int64_t begin = first_element(op, run, first), end = first_element(op, run, last);
    (void)lane;
    if (is_fp64(op))
        forward_f64(s->beta, begin, end, op->in[0]->value, op->out->value);
    else
        forward_f32(s->beta, begin, end, op->in[0]->value, op->out->value);
}

static void backward(ls_op *op, const ls_run *run, int first, int last, const ls_lane *lane) {
    const swish_state *s = op->state;
    int64_t begin = first_element(op, run, first), end = first_element(op, run, last);
    (void)lane;
    if (is_fp64(op))
        backward_f64(s->beta, begin, end, op->in[0]->value, op->out->grad, op->accumulate[0],
                     op->in[0]->grad);
    else
        backward_f32(s->beta, begin, end, op->in[0]->value, op->out->grad, op->accumulate[0],
                     op->in[0]->grad);
}

static const ls_op_class swish_class = {.name = "swish", .forward = forward, .backward = backward};

ls_tensor *swish(ls_graph *graph, ls_tensor *x, double beta) {
    swish_state *state;
    if (!x) return NULL;
    ls_status status = ls_calloc(&state, 1, sizeof *state, "swish");
    if (status != LS_OK) return ls_graph_give_up(graph, status);
    state->beta = beta;
    ls_op op = {.class = &swish_class, .in = {x}, .state = state};
    return ls_graph_add(graph, &op, x->dims, x->shape);
}

/* --- the layer ------------------------------------------------------------------------------------------ */

typedef struct swish_settings {
    double beta;
    char *name;
} swish_settings;

static const ls_key keys[] = {
    LS_LAYER_KEY(swish_settings, REAL, beta, "1", 0, 100, NULL, "steepness"),
    LS_LAYER_NAME_KEY(swish_settings),
};

static ls_status declare(ls_layer *layer, ls_parameters *parameters) {
    (void)parameters;
    ls_layer_same_shape(layer);
    return LS_OK;
}

static ls_tensor *apply(const ls_layer *layer, ls_graph *graph, ls_tensor *x) {
    const swish_settings *settings = layer->settings;
    return swish(graph, x, settings->beta);
}

const ls_layer_class swish_layer = {
    .name = "swish",
    .keys = {keys, sizeof keys / sizeof *keys},
    .settings_size = sizeof(swish_settings),
    .declare = declare,
    .apply = apply,
};

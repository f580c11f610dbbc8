#include "layers/instance_norm/instance_norm.h"

#include "layers/initialise.h"

/* --- the op ---------------------------------------------------------------------------------------- */

typedef struct instance_norm_state {
    double eps;
    ls_eps_place place;
    double *moments; /* [rows][3][channels], of the graph */
} instance_norm_state;

static const ls_instance_norm_kernels *kernels_for(const ls_op *op) {
    return LS_KERNELS_OF(ls_graph_backend(op->graph), ls_instance_norm_ref);
}

static ls_instance_norm_args arguments(const ls_op *op) {
    const instance_norm_state *state = op->state;
    const ls_tensor *x = op->in[0], *gamma = op->in[1], *beta = op->in[2];
    return (ls_instance_norm_args){.pixels = ls_tensor_pixels(x),
                                   .channels = ls_tensor_channels(x),
                                   .eps = state->eps,
                                   .place = state->place,
                                   .gamma = gamma ? gamma->value : NULL,
                                   .beta = beta ? beta->value : NULL,
                                   .x = x->value,
                                   .y = op->out->value,
                                   .moments = state->moments,
                                   .dy = op->out->grad,
                                   .dx = x->grad,
                                   .accumulate = op->accumulate[0],
                                   .dgamma = gamma ? gamma->grad : NULL,
                                   .dbeta = beta ? beta->grad : NULL,
                                   .node_stride = ls_graph_parameters(op->graph)->summed};
}

static void forward(ls_op *op, const ls_run *run, int first, int last, const ls_lane *lane) {
    const ls_instance_norm_args args = arguments(op);
    kernels_for(op)->forward(&args, run->shards, first, last, lane);
}

static void backward(ls_op *op, const ls_run *run, int first, int last, const ls_lane *lane) {
    const ls_instance_norm_args args = arguments(op);
    kernels_for(op)->backward(&args, run->shards, first, last, lane);
}

static int64_t parts(const ls_op *op) {
    const ls_instance_norm_args args = arguments(op);
    return kernels_for(op)->weight_grad_parts(&args);
}

static bool weight_grad(ls_op *op, const ls_run *run, int64_t first, int64_t last, const ls_lane *lane) {
    const ls_instance_norm_args args = arguments(op);
    kernels_for(op)->weight_grad(&args, run->shards, first, last, lane);
    return true;
}

static const void *any_kernels(const ls_op *op) {
    return kernels_for(op);
}

static const ls_op_class plain_class = {.name = "instance_norm",
                                        .kernels = any_kernels,
                                        .kept = LS_KEEPS_INPUTS,
                                        .forward = forward,
                                        .backward = backward};
static const ls_op_class affine_class = {.name = "instance_norm",
                                         .kernels = any_kernels,
                                         .kept = LS_KEEPS_INPUTS,
                                         .forward = forward,
                                         .backward = backward,
                                         .parts = parts,
                                         .weight_grad = weight_grad};

static ls_status check_shape(int dims, const int64_t *shape) {
    char text[64];
    ls_shape_text(dims, shape, text, sizeof text);
    if (dims != 3) return ls_fail(LS_USAGE, "instance_norm of %s: expected height x width x channels", text);
    if (shape[0] * shape[1] > 1) return LS_OK;
    return ls_fail(LS_USAGE,
                   "instance_norm of %s: expected planes of more than one pixel, which alone is its own mean",
                   text);
}

ls_tensor *ls_instance_norm(ls_graph *graph, ls_tensor *x, ls_tensor *gamma, ls_tensor *beta, double eps,
                            ls_eps_place place) {
    instance_norm_state *state;
    if (!x || ls_graph_status(graph) != LS_OK) return NULL;
    ls_status status = check_shape(x->dims, x->shape);
    if (status == LS_OK) status = ls_calloc(&state, 1, sizeof *state, "an instance norm");
    if (status != LS_OK) return ls_graph_give_up(graph, status);
    size_t moments = (size_t)(3 * ls_tensor_channels(x) * ls_graph_rows(graph)) * sizeof(double);
    *state =
        (instance_norm_state){eps, place, ls_graph_allocate(graph, moments, "moments of an instance norm")};
    ls_op op = {.class = gamma ? &affine_class : &plain_class, .in = {x, gamma, beta}, .state = state};
    return ls_graph_add(graph, &op, 3, x->shape);
}

/* --- the layer ------------------------------------------------------------------------------------- */

typedef struct ls_instance_norm_settings {
    double eps;
    ls_eps_place eps_added;
    bool affine;
    char *name;
} ls_instance_norm_settings;

static const ls_key keys[] = {
    LS_LAYER_KEY(ls_instance_norm_settings, REAL, eps, "1e-5", 1e-30, 1, NULL, "keeps the divisor from 0"),
    LS_LAYER_KEY(ls_instance_norm_settings, CHOICE, eps_added, "root", 0, 0, "root|deviation",
                 "to the variance inside the root, or to the deviation"),
    LS_LAYER_KEY(ls_instance_norm_settings, BOOL, affine, "true", 0, 0, NULL,
                 "learn a scale and a shift per channel"),
    LS_LAYER_NAME_KEY(ls_instance_norm_settings),
};

/* The gradients of scale and shift are sums over samples, as those of a bias. */
static ls_status declare(ls_layer *layer, ls_parameters *parameters) {
    const ls_instance_norm_settings *settings = layer->settings;
    LS_TRY(check_shape(layer->in_dims, layer->in));
    ls_layer_same_shape(layer);
    if (!settings->affine) return LS_OK;
    const int64_t *channels = &layer->in[2];
    LS_TRY(ls_parameters_add(parameters, layer->name, "weight", LS_LAYOUT_VECTOR, 1, channels, true,
                             &layer->parameter[0]));
    return ls_parameters_add(parameters, layer->name, "bias", LS_LAYOUT_VECTOR, 1, channels, true,
                             &layer->parameter[1]);
}

static ls_status initialise(const ls_layer *layer, ls_parameters *parameters, uint64_t seed) {
    const ls_instance_norm_settings *settings = layer->settings;
    (void)seed;
    return settings->affine ? ls_initialise_ones(parameters, layer->parameter[0]) : LS_OK;
}

static ls_tensor *apply(const ls_layer *layer, ls_graph *graph, ls_tensor *x) {
    const ls_instance_norm_settings *settings = layer->settings;
    ls_tensor *gamma = settings->affine ? ls_graph_parameter(graph, layer->parameter[0]) : NULL;
    ls_tensor *beta = settings->affine ? ls_graph_parameter(graph, layer->parameter[1]) : NULL;
    return ls_instance_norm(graph, x, gamma, beta, settings->eps, settings->eps_added);
}

const ls_layer_class ls_instance_norm_layer = {
    .name = "instance_norm",
    .keys = {keys, sizeof keys / sizeof *keys},
    .settings_size = sizeof(ls_instance_norm_settings),
    .declare = declare,
    .initialise = initialise,
    .apply = apply,
};

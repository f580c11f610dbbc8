#include "layers/batchnorm/batchnorm.h"

#include "layers/elementwise.h"
#include "layers/initialise.h"

/* --- the op ---------------------------------------------------------------------------------------- */

typedef struct batchnorm_state {
    double eps;
    int statistics;
    double *mean, *variance; /* [channels] of the batch, or to evaluate with; of the graph */
    ls_batchnorm_cut cut;    /* of the run at hand */
    ls_batchnorm_grad_cut grad_cut;
} batchnorm_state;

static const ls_batchnorm_kernels *kernels_for(const ls_op *op) {
    return LS_KERNELS_OF(ls_graph_backend(op->graph), ls_batchnorm_ref);
}

static double elements_of(const ls_op *op, const ls_run *run) {
    return (double)(run->shards->batch * ls_tensor_pixels(op->out));
}

static const void *value_of(const ls_tensor *parameter) {
    return parameter ? parameter->value : NULL;
}
static void *grad_of(const ls_tensor *parameter) {
    return parameter ? parameter->grad : NULL;
}

static ls_batchnorm_input input_of(const ls_op *op) {
    return (ls_batchnorm_input){.pixels = ls_tensor_pixels(op->out),
                                .width = ls_tensor_width(op->out),
                                .channels = ls_tensor_channels(op->out),
                                .narrow_x = op->in[0]->narrow,
                                .narrow_dz = op->out->narrow,
                                .x = op->in[0]->value};
}

static const ls_batchnorm_cut *cut_arguments(const ls_op *op, const ls_run *run);
static const ls_batchnorm_grad_cut *grad_cut_arguments(const ls_op *op, const ls_run *run);

static void sums(ls_op *op, const ls_run *run, int first, int last, const ls_lane *lane) {
    ls_batchnorm_input in = input_of(op);
    if (ls_op_cut_by_store(op, run, false)) in.cut = cut_arguments(op, run);
    kernels_for(op)->sums(&in, run->shards, first, last, op->sums, lane);
}

static size_t scratch_bytes(const ls_op *op, int64_t rows_per_shard) {
    (void)rows_per_shard;
    return (size_t)ls_sums_room(ls_tensor_channels(op->out)) * sizeof(double);
}

static const ls_batchnorm_cut *cut_arguments(const ls_op *op, const ls_run *run) {
    batchnorm_state *state = op->state;
    state->cut = (ls_batchnorm_cut){
        .purpose = ls_graph_purpose(op->graph),
        .statistics = &ls_graph_parameters(op->graph)->statistics[state->statistics],
        .sums = op->reduced,
        .elements = elements_of(op, run),
        .eps = state->eps,
        .channels = ls_tensor_channels(op->out),
        .gamma = value_of(op->in[1]),
        .beta = value_of(op->in[2]),
        .mean = state->mean,
        .variance = state->variance,
        .out = op->vectors,
        .now = run->now,
    };
    return &state->cut;
}

static void cut(ls_op *op, const ls_run *run, const ls_lane *lane) {
    kernels_for(op)->cut(cut_arguments(op, run), lane);
}

/* By its own sums, where no store takes them. */
static bool makes_cuts(const ls_op *op) {
    return ls_graph_backend(op->graph)->device && ls_tensor_channels(op->out) <= LS_BATCHNORM_MOST_AT_ONCE;
}

static void forward(ls_op *op, const ls_run *run, int first, int last, const ls_lane *lane) {
    ls_prologue in = ls_op_prologue(op, run);
    in.narrow = op->out->narrow;
    in.norm = (ls_normalisation){op->vectors.mean, op->vectors.scale, op->vectors.shift};
    ls_elementwise_kernels_for(ls_graph_backend(op->graph))
        ->forward(&in, run->shards, first, last, op->out->value, lane);
}

static void grad_sums(ls_op *op, const ls_run *run, int first, int last, const ls_lane *lane) {
    ls_batchnorm_input in = input_of(op);
    in.mean = op->vectors.mean;
    in.dz = op->out->grad;
    if (ls_op_cut_by_store(op, run, true)) in.grad_cut = grad_cut_arguments(op, run);
    kernels_for(op)->grad_sums(&in, run->shards, first, last, op->grad_sums, lane);
}

static const ls_batchnorm_grad_cut *grad_cut_arguments(const ls_op *op, const ls_run *run) {
    batchnorm_state *state = op->state;
    state->grad_cut = (ls_batchnorm_grad_cut){
        .sums = op->grad_reduced,
        .variance = state->variance,
        .eps = state->eps,
        .elements = elements_of(op, run),
        .channels = ls_tensor_channels(op->out),
        .gamma = value_of(op->in[1]),
        .out = op->vectors,
        .dgamma = grad_of(op->in[1]),
        .dbeta = grad_of(op->in[2]),
    };
    return &state->grad_cut;
}

static void grad_cut(ls_op *op, const ls_run *run, const ls_lane *lane) {
    kernels_for(op)->grad_cut(grad_cut_arguments(op, run), lane);
}

static void backward(ls_op *op, const ls_run *run, int first, int last, const ls_lane *lane) {
    ls_grad_prologue dy = {.pixels = ls_tensor_pixels(op->out),
                           .channels = ls_tensor_channels(op->out),
                           .narrow_dz = op->out->narrow,
                           .narrow_y = op->in[0]->narrow,
                           .dz = op->out->grad,
                           .y = op->in[0]->value,
                           .mean = op->vectors.mean,
                           .a = op->vectors.a,
                           .b = op->vectors.b,
                           .c = op->vectors.c};
    ls_elementwise_kernels_for(ls_graph_backend(op->graph))
        ->normalised_gradient(&dy, op->accumulate[0], run->shards, first, last, op->in[0]->grad, lane);
}

static const void *any_kernels(const ls_op *op) {
    return kernels_for(op);
}

/* Kernels for GPUs take both. */
static bool narrow(const ls_op *op) {
    return ls_backend_stores_bf16(ls_graph_backend(op->graph));
}

static const ls_op_class batchnorm_class = {
    .name = "batchnorm",
    .kernels = any_kernels,
    .kept = LS_KEEPS_INPUTS,
    .norm = true,
    .sums = sums,
    .cut = cut,
    .forward = forward,
    .grad_sums = grad_sums,
    .grad_cut = grad_cut,
    .cut_arguments = cut_arguments,
    .grad_cut_arguments = grad_cut_arguments,
    .makes_cuts = makes_cuts,
    .narrow = narrow,
    .backward = backward,
    .scratch = scratch_bytes,
};

static ls_norm_vectors allocate_vectors(ls_graph *graph, int64_t channels) {
    size_t size = (size_t)channels * ls_dtype_size(ls_graph_backend(graph)->dtype);
    ls_norm_vectors v = {0};
    void **members[] = {&v.mean, &v.scale, &v.shift, &v.a, &v.b, &v.c};
    for (size_t i = 0; i < sizeof members / sizeof *members; i++)
        *members[i] = ls_graph_allocate(graph, size, "BatchNorm vectors");
    return v;
}

/* A value that is alone in its channel is its own mean: y would be beta, and the variance 0, whatever x is. */
static ls_status check_elements(int dims, const int64_t *shape, int64_t samples) {
    char text[64];
    int64_t elements = samples;
    for (int i = 0; i < dims - 1; i++) elements *= shape[i];
    if (elements != 1) return LS_OK;
    return ls_fail(LS_USAGE,
                   "batchnorm of %s: a training batch of 1 sample has one value a channel, which is its "
                   "own mean; expected at least 2",
                   ls_shape_text(dims, shape, text, sizeof text));
}

ls_tensor *ls_batchnorm(ls_graph *graph, ls_tensor *x, ls_tensor *gamma, ls_tensor *beta, double eps,
                        int statistics) {
    if (!x || ls_graph_status(graph) != LS_OK) return NULL;
    int64_t channels = ls_tensor_channels(x);
    bool gradient = x->requires_grad || gamma || beta;
    batchnorm_state *state;
    ls_status status = LS_OK;
    if (!ls_purpose_evaluates(ls_graph_purpose(graph)))
        status = check_elements(x->dims, x->shape, ls_graph_shards(graph)->batch);
    if (status == LS_OK) status = ls_calloc(&state, 1, sizeof *state, "a BatchNorm");
    if (status != LS_OK) return ls_graph_give_up(graph, status);
    const size_t size = (size_t)channels * sizeof(double);
    *state = (batchnorm_state){.eps = eps,
                               .statistics = statistics,
                               .mean = ls_graph_allocate(graph, size, "BatchNorm moments"),
                               .variance = ls_graph_allocate(graph, size, "BatchNorm moments")};
    ls_op op = {.class = &batchnorm_class,
                .in = {x, gamma, beta},
                .state = state,
                .vectors = allocate_vectors(graph, channels),
                .sum_length = ls_purpose_evaluates(ls_graph_purpose(graph)) ? 0 : 2 * channels,
                .grad_sum_length = gradient ? 2 * channels : 0};
    return ls_graph_add(graph, &op, x->dims, x->shape);
}

/* --- the layer ------------------------------------------------------------------------------------- */

typedef struct ls_batchnorm_settings {
    double eps, momentum;
    bool affine;
    ls_statistics_kind statistics;
    char *name;
} ls_batchnorm_settings;

static const ls_key keys[] = {
    LS_LAYER_KEY(ls_batchnorm_settings, REAL, eps, "1e-5", 1e-30, 1, NULL,
                 "added to the variance inside the root"),
    LS_LAYER_KEY(ls_batchnorm_settings, BOOL, affine, "true", 0, 0, NULL,
                 "learn a scale and a shift per channel"),
    LS_LAYER_KEY(ls_batchnorm_settings, CHOICE, statistics, "exponential", 0, 0,
                 "exponential|cumulative|dataset", "which mean and variance evaluation uses"),
    {.name = "momentum",
     .type = LS_KEY_REAL,
     .effect = LS_KEY_RESULT,
     .offset = offsetof(ls_batchnorm_settings, momentum),
     .initial = "0.1",
     .max = 1,
     .help = "weight of the newest batch",
     .when = {"statistics", "exponential", NULL}},
    LS_LAYER_NAME_KEY(ls_batchnorm_settings),
};

static ls_status declare(ls_layer *layer, ls_parameters *parameters) {
    const ls_batchnorm_settings *settings = layer->settings;
    int64_t channels = layer->in[layer->in_dims - 1];
    ls_layer_same_shape(layer);
    if (settings->affine) {
        LS_TRY(ls_parameters_add(parameters, layer->name, "weight", LS_LAYOUT_VECTOR, 1, &channels, false,
                                 &layer->parameter[0]));
        LS_TRY(ls_parameters_add(parameters, layer->name, "bias", LS_LAYOUT_VECTOR, 1, &channels, false,
                                 &layer->parameter[1]));
    }
    return ls_parameters_add_statistics(parameters, layer->name, settings->statistics, settings->momentum,
                                        channels, &layer->statistics);
}

static ls_status initialise(const ls_layer *layer, ls_parameters *parameters, uint64_t seed) {
    const ls_batchnorm_settings *settings = layer->settings;
    (void)seed;
    LS_TRY(ls_statistics_begin(parameters->backend, &parameters->statistics[layer->statistics]));
    return settings->affine ? ls_initialise_ones(parameters, layer->parameter[0]) : LS_OK;
}

static ls_tensor *apply(const ls_layer *layer, ls_graph *graph, ls_tensor *x) {
    const ls_batchnorm_settings *settings = layer->settings;
    ls_tensor *gamma = settings->affine ? ls_graph_parameter(graph, layer->parameter[0]) : NULL;
    ls_tensor *beta = settings->affine ? ls_graph_parameter(graph, layer->parameter[1]) : NULL;
    return ls_batchnorm(graph, x, gamma, beta, settings->eps, layer->statistics);
}

static ls_status check_batch(const ls_layer *layer, int64_t samples) {
    return check_elements(layer->in_dims, layer->in, samples);
}

const ls_layer_class ls_batchnorm_layer = {
    .name = "batchnorm",
    .keys = {keys, sizeof keys / sizeof *keys},
    .settings_size = sizeof(ls_batchnorm_settings),
    .declare = declare,
    .initialise = initialise,
    .apply = apply,
    .check_batch = check_batch,
};

#include "layers/softmax_cross_entropy/softmax_cross_entropy.h"

typedef struct softmax_state {
    double clip;
    bool damped;
    void *probability; /* [rows][classes], of the graph */
} softmax_state;

static const ls_softmax_kernels *kernels_for(const ls_op *op) {
    return LS_KERNELS_OF(ls_graph_backend(op->graph), ls_softmax_ref);
}

/* Kernels for GPUs do all at once. */
static bool at_once(const ls_op *op) {
    return ls_graph_backend(op->graph)->device != NULL;
}

static ls_softmax_args arguments(const ls_op *op, const ls_run *run) {
    const softmax_state *state = op->state;
    return (ls_softmax_args){
        .classes = ls_tensor_channels(op->in[0]),
        .x = op->in[0]->value,
        .labels = run->data->labels,
        .sample = run->sample,
        .clip = state->clip,
        .damped = state->damped,
        .probability = state->probability,
        .loss = op->out->value,
        .sums = op->sums,
        .dx = op->in[0]->grad,
        .scale = 1 / (double)run->shards->batch,
        .nodes = at_once(op) ? op->nodes : NULL,
        .with_gradient = ls_op_gives_gradient(op),
    };
}

static void forward(ls_op *op, const ls_run *run, int first, int last, const ls_lane *lane) {
    ls_softmax_args args = arguments(op, run);
    kernels_for(op)->forward(&args, run->shards, first, last, lane);
}

static void backward(ls_op *op, const ls_run *run, int first, int last, const ls_lane *lane) {
    ls_softmax_args args = arguments(op, run);
    if (args.with_gradient) return; /* `forward` has written it */
    kernels_for(op)->backward(&args, run->shards, first, last, lane);
}

static const void *any_kernels(const ls_op *op) {
    return kernels_for(op);
}

static const ls_op_class softmax_class = {
    .name = "softmax_cross_entropy",
    .kernels = any_kernels,
    .forward = forward,
    .backward = backward,
    .sums_nodes = at_once,
    .gives_gradient = at_once,
};

const void *ls_softmax_probabilities(const ls_op *op) {
    return ((const softmax_state *)op->state)->probability;
}

ls_tensor *ls_softmax_cross_entropy(ls_graph *graph, ls_tensor *x, double clip, bool damped) {
    static const int64_t one = 1;
    softmax_state *state;
    if (!x) return NULL;
    if (ls_tensor_pixels(x) != 1)
        return ls_graph_fail(graph, LS_USAGE, "softmax: %lld pixels; expected a vector of classes",
                             (long long)ls_tensor_pixels(x));
    size_t row = (size_t)ls_tensor_channels(x) * ls_dtype_size(ls_graph_backend(graph)->dtype);
    ls_status status = ls_calloc(&state, 1, sizeof *state, "a loss");
    if (status != LS_OK) return ls_graph_give_up(graph, status);
    *state = (softmax_state){clip, damped, NULL};
    state->probability = ls_graph_allocate(graph, (size_t)ls_graph_rows(graph) * row, "class probabilities");
    ls_op op = {.class = &softmax_class, .in = {x}, .state = state, .sum_length = LS_LOSS_SUMS};
    return ls_graph_add(graph, &op, 1, &one);
}

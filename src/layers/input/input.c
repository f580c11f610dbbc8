#include "layers/input/input.h"

typedef struct input_state {
    int height, width;
    bool unit;
    ls_augmentation augmentation;
    const ls_perturbation *perturbation; /* NULL: none */
} input_state;

const ls_input_kernels *ls_input_kernels_for(const ls_backend *backend) {
    return LS_KERNELS_OF(backend, ls_input_ref);
}

static void forward(ls_op *op, const ls_run *run, int first, int last, const ls_lane *lane) {
    const input_state *state = op->state;
    const ls_perturbation *p = state->perturbation;
    const ls_input_args args = {.images = run->data->images,
                                .sample = run->sample,
                                .height = state->height,
                                .width = state->width,
                                .unit = state->unit,
                                .augmentation = &state->augmentation,
                                .seed = run->seed,
                                .epoch = run->epoch,
                                .now = run->now,
                                .sign = p ? p->sign : NULL,
                                .epsilon = p ? p->epsilon : 0,
                                .out = op->out->value};
    ls_input_kernels_for(ls_graph_backend(op->graph))->forward(&args, run->shards, first, last, lane);
}

static size_t scratch_bytes(const ls_op *op, int64_t rows_per_shard) {
    const input_state *state = op->state;
    (void)rows_per_shard;
    return ls_input_kernels_for(ls_graph_backend(op->graph))->scratch_bytes(state->height, state->width);
}

static const void *any_kernels(const ls_op *op) {
    return ls_input_kernels_for(ls_graph_backend(op->graph));
}

static const ls_op_class input_class = {
    .name = "input", .kernels = any_kernels, .forward = forward, .scratch = scratch_bytes};

static ls_tensor *add(ls_graph *graph, input_state like) {
    input_state *state;
    ls_status status = ls_calloc(&state, 1, sizeof *state, "the input");
    if (status != LS_OK) return ls_graph_give_up(graph, status);
    *state = like;
    ls_op op = {.class = &input_class, .state = state};
    ls_tensor *x = ls_graph_add(graph, &op, 3, (const int64_t[]){like.height, like.width, 1});
    if (x) x->requires_grad = ls_graph_purpose(graph) == LS_ATTACKING;
    return x;
}

ls_tensor *ls_input(ls_graph *graph, int height, int width, bool unit, const ls_augmentation *augmentation) {
    input_state state = {.height = height, .width = width, .unit = unit};
    if (augmentation && ls_graph_purpose(graph) == LS_TRAINING) state.augmentation = *augmentation;
    return add(graph, state);
}

ls_tensor *ls_perturbed_input(ls_graph *graph, int height, int width, bool unit,
                              const ls_perturbation *perturbation) {
    return add(graph,
               (input_state){.height = height, .width = width, .unit = unit, .perturbation = perturbation});
}

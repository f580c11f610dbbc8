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

static void forward(ls_op *op, const ls_run *run, int first, int last, void *scratch) {
    const input_state *state = op->state;
    int64_t count = (int64_t)state->height * state->width;
    const ls_input_kernels *kernels = ls_input_kernels_for(ls_graph_backend(op->graph));
    const ls_perturbation *p = state->perturbation;
    uint8_t *augmented = scratch;
    for (int64_t row = run->shards->start[first]; row < run->shards->start[last]; row++) {
        uint32_t sample = run->sample[row];
        const uint8_t *image = run->data->images + sample * count;
        if (state->augmentation.probability > 0) {
            ls_augment(&state->augmentation, run->seed, run->epoch, sample, image, state->height, state->width,
                       augmented, augmented + (count + 63) / 64 * 64);
            image = augmented;
        }
        kernels->convert(image, count, state->unit, op->out->value, row * count);
        if (p) kernels->perturb(p->sign + row * count, p->epsilon, count, state->unit, op->out->value, row * count);
    }
}

static size_t scratch_bytes(const ls_op *op, int64_t rows_per_shard) {
    const input_state *state = op->state;
    int64_t count = (int64_t)state->height * state->width;
    (void)rows_per_shard;
    return (size_t)((count + 63) / 64 * 64) + ls_augment_scratch(state->height, state->width);
}

static const ls_op_class input_class = {.name = "input", .forward = forward, .scratch = scratch_bytes};

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

ls_tensor *ls_perturbed_input(ls_graph *graph, int height, int width, bool unit, const ls_perturbation *perturbation) {
    return add(graph, (input_state){.height = height, .width = width, .unit = unit, .perturbation = perturbation});
}

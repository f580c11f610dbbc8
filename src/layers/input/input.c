#include "layers/input/input.h"

typedef struct input_state {
    int height, width;
    bool unit;
    ls_augmentation augmentation;
    const ls_perturbation *perturbation; /* NULL: none */
} input_state;

static const ls_augment_kernels *augment_kernels_for(const ls_op *op) {
    return LS_KERNELS_OF(ls_graph_backend(op->graph), ls_augment);
}

const ls_input_kernels *ls_input_kernels_for(const ls_backend *backend) {
    return LS_KERNELS_OF(backend, ls_input_ref);
}

/* The images of a batch lie anywhere in the data set, out of every cache. */
enum { AHEAD = 2, LINE = 64 };

static void fetch(const uint8_t *image, int64_t count) {
    for (int64_t i = 0; i < count; i += LINE) __builtin_prefetch(image + i);
}

static void forward(ls_op *op, const ls_run *run, int first, int last, const ls_lane *lane) {
    const input_state *state = op->state;
    int64_t count = (int64_t)state->height * state->width;
    const ls_input_kernels *kernels = ls_input_kernels_for(ls_graph_backend(op->graph));
    const ls_perturbation *p = state->perturbation;
    uint8_t *augmented = lane->scratch;
    const int64_t end = run->shards->start[last];
    for (int64_t row = run->shards->start[first]; row < end; row++) {
        uint32_t sample = run->sample[row];
        if (row + AHEAD < end) fetch(run->data->images + run->sample[row + AHEAD] * count, count);
        const uint8_t *image = run->data->images + sample * count;
        if (state->augmentation.probability > 0) {
            augment_kernels_for(op)->augment(&state->augmentation, run->seed, run->epoch, sample, image,
                                             state->height, state->width, augmented,
                                             augmented + (count + 63) / 64 * 64);
            image = augmented;
        }
        kernels->convert(image, count, state->unit, op->out->value, row * count);
        if (p)
            kernels->perturb(p->sign + row * count, p->epsilon, count, state->unit, op->out->value,
                             row * count);
    }
}

static size_t scratch_bytes(const ls_op *op, int64_t rows_per_shard) {
    const input_state *state = op->state;
    int64_t count = (int64_t)state->height * state->width;
    (void)rows_per_shard;
    return (size_t)((count + 63) / 64 * 64) +
           augment_kernels_for(op)->scratch_bytes(state->height, state->width);
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

ls_tensor *ls_perturbed_input(ls_graph *graph, int height, int width, bool unit,
                              const ls_perturbation *perturbation) {
    return add(graph,
               (input_state){.height = height, .width = width, .unit = unit, .perturbation = perturbation});
}

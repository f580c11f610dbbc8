/* Tensors that are created rather than computed. */

#include "core/rng.h"
#include "tensor/kernels.h"

static const ls_op_class leaf_class = {.name = "leaf", .unbatched = true};

/* Where the elements of a new leaf come from. */
typedef struct source {
    enum { GIVEN, SAME, UNIFORM } kind;
    const double *values; /* given */
    double low, high;     /* all low; uniform between them */
    uint64_t seed;
} source;

/* Elements [first, first + count), with first divisible by 4. */
static void fetch(const source *from, int64_t first, int64_t count, double *values) {
    ls_rng rng = ls_rng_stream(from->seed, LS_RNG_TENSOR, 0, 0, 0);
    uint32_t words[4];
    for (int64_t i = 0; i < count; i++) {
        if (from->kind == UNIFORM && i % 4 == 0) ls_rng_block(&rng, (uint32_t)((first + i) / 4), words);
        values[i] = from->kind == GIVEN  ? from->values[first + i]
                    : from->kind == SAME ? from->low
                                         : from->low + (from->high - from->low) * ls_rng_unit(words[i % 4]);
    }
}

static ls_tensor *leaf(ls_graph *graph, const char *name, int dims, const int64_t *shape, const source *from,
                       bool requires_grad) {
    enum { PIECE = 512 }; /* elements converted at a time */
    double values[PIECE], rounded[PIECE];
    if (!graph || !ls_tensor_shape_fits(graph, name, dims, shape)) return NULL;
    ls_op op = {.class = &leaf_class};
    ls_tensor *tensor = ls_graph_add(graph, &op, dims, shape);
    if (!tensor) return NULL;
    tensor->requires_grad = requires_grad;
    const ls_backend *backend = ls_graph_backend(graph);
    size_t size = ls_dtype_size(backend->dtype);
    for (int64_t at = 0, all = ls_tensor_elements(tensor); at < all; at += PIECE) {
        int64_t count = all - at < PIECE ? all - at : PIECE;
        fetch(from, at, count, values);
        ls_tensor_kernels_for(graph)->convert(count, values, rounded);
        ls_status status = backend->upload(backend, (char *)tensor->value + (size_t)at * size, rounded,
                                           (size_t)count * size);
        if (status != LS_OK) return ls_graph_give_up(graph, status);
    }
    return tensor;
}

ls_tensor *ls_tensor_create(ls_graph *graph, int dims, const int64_t *shape, const double *values,
                            bool requires_grad) {
    return leaf(graph, "create", dims, shape, &(source){.kind = GIVEN, .values = values}, requires_grad);
}

ls_tensor *ls_tensor_full(ls_graph *graph, int dims, const int64_t *shape, double value, bool requires_grad) {
    return leaf(graph, "full", dims, shape, &(source){.kind = SAME, .low = value}, requires_grad);
}

ls_tensor *ls_tensor_zeros(ls_graph *graph, int dims, const int64_t *shape, bool requires_grad) {
    return leaf(graph, "zeros", dims, shape, &(source){.kind = SAME}, requires_grad);
}

ls_tensor *ls_tensor_uniform(ls_graph *graph, int dims, const int64_t *shape, double low, double high,
                             uint64_t seed, bool requires_grad) {
    source from = {.kind = UNIFORM, .low = low, .high = high, .seed = seed};
    return leaf(graph, "uniform", dims, shape, &from, requires_grad);
}

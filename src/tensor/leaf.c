/* Tensors that are created rather than computed, and how to look at any. */
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "core/rng.h"
#include "tensor/kernels.h"

/* --- leaves --------------------------------------------------------------------------------------------- */

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

/* --- looking inside ------------------------------------------------------------------------------------- */

int64_t ls_tensor_elements(const ls_tensor *tensor) {
    return tensor ? ls_tensor_pixels(tensor) * ls_tensor_channels(tensor) : 0;
}

void *ls_tensor_data(ls_tensor *tensor) {
    return tensor ? tensor->value : NULL;
}

void *ls_tensor_grad(ls_tensor *tensor) {
    if (!tensor || !tensor->requires_grad || !tensor->producer) return NULL;
    ls_tensor *base = ls_tensor_base(tensor);
    bool is_leaf = !base->producer->in[0];
    return is_leaf || base->pass == ls_graph_pass(tensor->graph) ? base->grad : NULL;
}

static double element(const ls_tensor *tensor, const void *from, int64_t i) {
    const ls_backend *backend = ls_graph_backend(tensor->graph);
    size_t size = ls_dtype_size(backend->dtype);
    double real64;
    float real32;
    void *to = backend->dtype == LS_FP64 ? (void *)&real64 : &real32;
    if (backend->download(backend, to, (const char *)from + (size_t)i * size, size) != LS_OK)
        return (double)NAN;
    return backend->dtype == LS_FP64 ? real64 : (double)real32;
}

static bool has_element(const ls_tensor *tensor, const char *name, int64_t i) {
    if (!tensor) return false;
    int64_t elements = ls_tensor_elements(tensor);
    if (i >= 0 && i < elements) return true;
    ls_graph_fail(tensor->graph, LS_USAGE, "%s: element %lld of %lld", name, (long long)i,
                  (long long)elements);
    return false;
}

double ls_tensor_at(const ls_tensor *tensor, int64_t i) {
    return has_element(tensor, "at", i) ? element(tensor, tensor->value, i) : (double)NAN;
}

double ls_tensor_grad_at(ls_tensor *tensor, int64_t i) {
    if (!has_element(tensor, "grad_at", i)) return (double)NAN;
    const void *grad = ls_tensor_grad(tensor);
    return grad ? element(tensor, grad, i) : 0;
}

double ls_tensor_item(const ls_tensor *tensor) {
    char text[256];
    if (!tensor) return (double)NAN;
    if (ls_tensor_elements(tensor) == 1) return element(tensor, tensor->value, 0);
    ls_graph_fail(tensor->graph, LS_USAGE, "item: of %s; expected one element",
                  ls_shape_text(tensor->dims, tensor->shape, text, sizeof text));
    return (double)NAN;
}

void ls_tensor_zero_grad(ls_tensor *tensor) {
    void *grad = ls_tensor_grad(tensor);
    size_t size = tensor ? ls_dtype_size(ls_graph_backend(tensor->graph)->dtype) : 0;
    if (grad) memset(grad, 0, (size_t)ls_tensor_elements(tensor) * size);
}

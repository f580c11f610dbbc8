/* How to look at a tensor: its elements and its gradient. */
#include <math.h>
#include <string.h>

#include "tensor/kernels.h"

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

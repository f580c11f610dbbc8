/* What the operations share: checks, strides, and contractions with their gradients. */
#include <stdlib.h>
#include <string.h>

#include "tensor/kernels.h"

/* So few that no product overflows, and the counter of the random numbers does not either. */
static const int64_t most_elements = INT64_C(1) << 33;

const ls_tensor_kernels *ls_tensor_kernels_for(const ls_graph *graph) {
    return ls_graph_backend(graph)->dtype == LS_FP64 ? &ls_tensor_ref_f64 : &ls_tensor_ref_f32;
}

bool ls_tensor_usable(const char *name, const ls_tensor *x) {
    if (!x) return false;
    if (!x->batched && x->producer) return true;
    ls_graph_fail(x->graph, LS_USAGE, "%s: a %s; expected a tensor without samples", name,
                  x->batched ? "batch of samples" : "parameter");
    return false;
}

bool ls_tensors_usable(const char *name, const ls_tensor *x, const ls_tensor *y) {
    if (!x || !y || !ls_tensor_usable(name, x) || !ls_tensor_usable(name, y)) return false;
    if (x->graph == y->graph) return true;
    ls_graph_fail(x->graph, LS_USAGE, "%s: the tensors belong to two graphs", name);
    return false;
}

bool ls_tensor_shape_fits(ls_graph *graph, const char *name, int dims, const int64_t *shape) {
    int64_t elements = 1;
    char text[256];
    if (dims < 0 || dims > LS_MAX_DIMS) {
        ls_graph_fail(graph, LS_USAGE, "%s: %d dimensions; expected at most %d", name, dims, LS_MAX_DIMS);
        return false;
    }
    for (int i = 0; i < dims; i++)
        elements =
            shape[i] > 0 && elements > 0 && shape[i] <= most_elements / elements ? elements * shape[i] : 0;
    if (elements > 0) return true;
    ls_graph_fail(graph, LS_USAGE, "%s: shape %s; expected sizes of at least 1 and at most %lld elements",
                  name, ls_shape_text(dims, shape, text, sizeof text), (long long)most_elements);
    return false;
}

int ls_tensor_axis(const ls_tensor *x, const char *name, int axis, int dims) {
    char text[256];
    if (axis >= -dims && axis < dims) return axis < 0 ? axis + dims : axis;
    ls_graph_fail(x->graph, LS_USAGE, "%s: axis %d of %s; expected %d to %d", name, axis,
                  ls_shape_text(x->dims, x->shape, text, sizeof text), -dims, dims - 1);
    return -1;
}

void ls_tensor_strides(int dims, const int64_t *shape, int64_t *stride) {
    int64_t next = 1;
    for (int i = dims - 1; i >= 0; i--) {
        stride[i] = next;
        next *= shape[i];
    }
}

void *ls_tensor_grad_of_input(const ls_op *op, int k) {
    ls_tensor *x = op->in[k];
    size_t size = ls_dtype_size(ls_graph_backend(op->graph)->dtype);
    if (!op->accumulate[k]) memset(x->grad, 0, (size_t)ls_tensor_elements(x) * size);
    return x->grad;
}

/* --- contractions --------------------------------------------------------------------------------------- */

/* Appends a loop, or makes the one before it longer where the two run over neighbours in all arrays. */
static void append(ls_nest_loop *loops, int *count, ls_nest_loop loop) {
    ls_nest_loop *last = *count > 0 ? &loops[*count - 1] : NULL;
    if (last && last->a == loop.size * loop.a && last->b == loop.size * loop.b &&
        last->out == loop.size * loop.out) {
        loop.size *= last->size;
        *last = loop;
    } else {
        loops[(*count)++] = loop;
    }
}

static int64_t stride_of(const ls_contraction_loop *loop, int role) {
    return role < 0 ? 0 : role == 2 ? loop->out : loop->in[role];
}

ls_nest ls_contraction_nest(const ls_contraction *contraction, int a, int b, int out) {
    ls_nest nest = {0};
    for (int i = 0; i < contraction->loops; i++) {
        const ls_contraction_loop *from = &contraction->loop[i];
        ls_nest_loop loop = {from->size, stride_of(from, a), stride_of(from, b), stride_of(from, out)};
        if (loop.size == 1) continue;
        if (loop.out != 0)
            append(nest.over, &nest.outer, loop);
        else
            append(nest.summed, &nest.inner, loop);
    }
    return nest;
}

/* The elements of input k that the contraction starts at. */
static const void *input(const ls_op *op, int k) {
    const ls_contraction *c = op->state;
    size_t size = ls_dtype_size(ls_graph_backend(op->graph)->dtype);
    if (!op->in[k]) return NULL;
    return (const char *)op->in[k]->value + (k == 0 ? (size_t)c->offset * size : 0);
}

void ls_contraction_forward(ls_op *op, const ls_run *run, int first, int last, const ls_lane *lane) {
    (void)run, (void)first, (void)last, (void)lane;
    const ls_contraction *c = op->state;
    ls_nest nest = ls_contraction_nest(c, 0, op->in[1] ? 1 : -1, 2);
    ls_tensor_kernels_for(op->graph)->nest(&nest, input(op, 0), input(op, 1), c->divisor, false,
                                           op->out->value);
}

void ls_contraction_backward(ls_op *op, const ls_run *run, int first, int last, const ls_lane *lane) {
    (void)run, (void)first, (void)last, (void)lane;
    const ls_contraction *c = op->state;
    size_t size = ls_dtype_size(ls_graph_backend(op->graph)->dtype);
    for (int k = 0; k < 2 && op->in[k]; k++) {
        int other = op->in[1] ? 1 - k : -1;
        if (!op->in[k]->requires_grad) continue;
        ls_nest nest = ls_contraction_nest(c, 2, other, k);
        char *dx = ls_tensor_grad_of_input(op, k);
        if (k == 0) dx += (size_t)c->offset * size;
        ls_tensor_kernels_for(op->graph)->nest(&nest, op->out->grad, other < 0 ? NULL : input(op, other),
                                               c->divisor, true, dx);
    }
}

ls_tensor *ls_contraction_add(const ls_op_class *class, const ls_contraction *contraction, ls_tensor *a,
                              ls_tensor *b, int dims, const int64_t *shape) {
    ls_contraction *state;
    if (!ls_tensor_shape_fits(a->graph, class->name, dims, shape)) return NULL;
    ls_status status = ls_calloc(&state, 1, sizeof *state, class->name);
    if (status != LS_OK) return ls_graph_give_up(a->graph, status);
    *state = *contraction;
    ls_op op = {.class = class, .in = {a, b}, .state = state};
    return ls_graph_add(a->graph, &op, dims, shape);
}

/* Sums, differences, products, matrix products, reductions, and functions of one element. */
#include <stdlib.h>
#include <string.h>

#include "tensor/kernels.h"

/* --- broadcasting --------------------------------------------------------------------------------------- */

/* Size of axis i of `dims` once a shape is aligned at its last axis; 1 where it has none. */
static int64_t aligned_size(const ls_tensor *t, int dims, int i) {
    int own = i - (dims - t->dims);
    return own < 0 ? 1 : t->shape[own];
}

/* The shape and the loops of a broadcast over the axes before the last `last` of both. */
static bool broadcast(const char *name, const ls_tensor *a, const ls_tensor *b, int last, int dims,
                      int64_t *shape, ls_contraction_loop *loop) {
    const ls_tensor *in[2] = {a, b};
    for (int i = 0; i < dims - last; i++) {
        int64_t p = aligned_size(a, dims, i), q = aligned_size(b, dims, i);
        if (p != q && p != 1 && q != 1) {
            char left[256], right[256];
            ls_graph_fail(
                a->graph, LS_USAGE, "%s: shapes %s and %s do not fit: axis %d has %lld and %lld elements",
                name, ls_shape_text(a->dims, a->shape, left, sizeof left),
                ls_shape_text(b->dims, b->shape, right, sizeof right), i - dims, (long long)p, (long long)q);
            return false;
        }
        shape[i] = p > q ? p : q;
        loop[i].size = shape[i];
    }
    for (int k = 0; k < 2; k++) {
        int64_t stride[LS_MAX_DIMS];
        ls_tensor_strides(in[k]->dims, in[k]->shape, stride);
        for (int i = dims - in[k]->dims; i < dims - last; i++)
            loop[i].in[k] = aligned_size(in[k], dims, i) == 1 ? 0 : stride[i - (dims - in[k]->dims)];
    }
    return true;
}

static void set_output_strides(ls_contraction *c, int dims, const int64_t *shape) {
    int64_t stride[LS_MAX_DIMS];
    ls_tensor_strides(dims, shape, stride);
    for (int i = 0; i < dims; i++) c->loop[i].out = stride[i];
}

static ls_tensor *binary(const ls_op_class *class, ls_tensor *a, ls_tensor *b, double divisor) {
    ls_contraction c = {.divisor = divisor};
    int64_t shape[LS_MAX_DIMS] = {0};
    if (!ls_tensors_usable(class->name, a, b)) return NULL;
    c.loops = a->dims > b->dims ? a->dims : b->dims;
    if (!broadcast(class->name, a, b, 0, c.loops, shape, c.loop)) return NULL;
    if (!ls_tensor_shape_fits(a->graph, class->name, c.loops, shape)) return NULL;
    set_output_strides(&c, c.loops, shape);
    return ls_contraction_add(class, &c, a, b, c.loops, shape);
}

/* --- a + b and a - b: the divisor of b is 1 or -1 ------------------------------------------------------- */

static void add_forward(ls_op *op, const ls_run *run, int first, int last, const ls_lane *lane) {
    (void)run, (void)first, (void)last, (void)lane;
    const ls_contraction *c = op->state;
    for (int k = 0; k < 2; k++) {
        ls_nest nest = ls_contraction_nest(c, k, -1, 2);
        ls_tensor_kernels_for(op->graph)->nest(&nest, op->in[k]->value, NULL, k == 0 ? 1 : c->divisor, k == 1,
                                               op->out->value);
    }
}

static void add_backward(ls_op *op, const ls_run *run, int first, int last, const ls_lane *lane) {
    (void)run, (void)first, (void)last, (void)lane;
    const ls_contraction *c = op->state;
    for (int k = 0; k < 2; k++) {
        if (!op->in[k]->requires_grad) continue;
        ls_nest nest = ls_contraction_nest(c, 2, -1, k);
        ls_tensor_kernels_for(op->graph)->nest(&nest, op->out->grad, NULL, k == 0 ? 1 : c->divisor, true,
                                               ls_tensor_grad_of_input(op, k));
    }
}

static const ls_op_class add_class = {
    .name = "add", .unbatched = true, .forward = add_forward, .backward = add_backward};
static const ls_op_class subtract_class = {
    .name = "subtract", .unbatched = true, .forward = add_forward, .backward = add_backward};

ls_tensor *ls_tensor_add(ls_tensor *a, ls_tensor *b) {
    return binary(&add_class, a, b, 1);
}
ls_tensor *ls_tensor_subtract(ls_tensor *a, ls_tensor *b) {
    return binary(&subtract_class, a, b, -1);
}

/* --- products ------------------------------------------------------------------------------------------- */

static const ls_op_class multiply_class = {.name = "multiply",
                                           .unbatched = true,
                                           .forward = ls_contraction_forward,
                                           .backward = ls_contraction_backward};
static const ls_op_class matmul_class = {.name = "matmul",
                                         .unbatched = true,
                                         .forward = ls_contraction_forward,
                                         .backward = ls_contraction_backward};

ls_tensor *ls_tensor_multiply(ls_tensor *a, ls_tensor *b) {
    return binary(&multiply_class, a, b, 1);
}

ls_tensor *ls_tensor_matmul(ls_tensor *a, ls_tensor *b) {
    ls_contraction c = {.divisor = 1};
    int64_t shape[LS_MAX_DIMS] = {0};
    if (!ls_tensors_usable("matmul", a, b)) return NULL;
    if (a->dims < 2 || b->dims < 2 || a->shape[a->dims - 1] != b->shape[b->dims - 2]) {
        char left[256], right[256];
        return ls_graph_fail(a->graph, LS_USAGE,
                             "matmul: shapes %s and %s do not fit; expected m x k and k x n",
                             ls_shape_text(a->dims, a->shape, left, sizeof left),
                             ls_shape_text(b->dims, b->shape, right, sizeof right));
    }
    int dims = a->dims > b->dims ? a->dims : b->dims;
    int64_t m = a->shape[a->dims - 2], k = a->shape[a->dims - 1], n = b->shape[b->dims - 1];
    if (!broadcast("matmul", a, b, 2, dims, shape, c.loop)) return NULL;
    shape[dims - 2] = m;
    shape[dims - 1] = n;
    if (!ls_tensor_shape_fits(a->graph, "matmul", dims, shape)) return NULL;
    c.loop[dims - 2] = (ls_contraction_loop){.size = m, .in = {k, 0}};
    c.loop[dims - 1] = (ls_contraction_loop){.size = n, .in = {0, 1}};
    c.loop[dims] = (ls_contraction_loop){.size = k, .in = {1, n}};
    c.loops = dims + 1;
    set_output_strides(&c, dims, shape);
    return ls_contraction_add(&matmul_class, &c, a, b, dims, shape);
}

/* --- sums ----------------------------------------------------------------------------------------------- */

static const ls_op_class sum_class = {
    .name = "sum", .unbatched = true, .forward = ls_contraction_forward, .backward = ls_contraction_backward};
static const ls_op_class mean_class = {.name = "mean",
                                       .unbatched = true,
                                       .forward = ls_contraction_forward,
                                       .backward = ls_contraction_backward};

/* Marks the axes to sum over. */
static bool mark_axes(const char *name, const ls_tensor *x, int count, const int *axes, bool *summed) {
    for (int i = 0; i < x->dims; i++) summed[i] = count <= 0;
    for (int i = 0; i < count; i++) {
        int axis = ls_tensor_axis(x, name, axes[i], x->dims);
        if (axis >= 0 && summed[axis]) ls_graph_fail(x->graph, LS_USAGE, "%s: axis %d twice", name, axes[i]);
        if (axis < 0 || summed[axis]) return false;
        summed[axis] = true;
    }
    return true;
}

static ls_tensor *reduce(const ls_op_class *class, ls_tensor *x, int count, const int *axes, bool keep) {
    ls_contraction c = {.divisor = 1};
    bool summed[LS_MAX_DIMS];
    int64_t shape[LS_MAX_DIMS] = {0}, stride[LS_MAX_DIMS], next = 1, terms = 1;
    int dims = 0;
    if (!ls_tensor_usable(class->name, x) || !mark_axes(class->name, x, count, axes, summed)) return NULL;
    ls_tensor_strides(x->dims, x->shape, stride);
    for (int i = 0; i < x->dims; i++) {
        c.loop[c.loops++] = (ls_contraction_loop){.size = x->shape[i], .in = {stride[i], 0}};
        if (summed[i]) terms *= x->shape[i];
        if (!summed[i] || keep) shape[dims++] = summed[i] ? 1 : x->shape[i];
    }
    for (int i = x->dims - 1; i >= 0; i--) {
        if (summed[i]) continue;
        c.loop[i].out = next;
        next *= x->shape[i];
    }
    if (class == &mean_class) c.divisor = (double)terms;
    return ls_contraction_add(class, &c, x, NULL, dims, shape);
}

ls_tensor *ls_tensor_sum(ls_tensor *x, int count, const int *axes, bool keep) {
    return reduce(&sum_class, x, count, axes, keep);
}

ls_tensor *ls_tensor_mean(ls_tensor *x, int count, const int *axes, bool keep) {
    return reduce(&mean_class, x, count, axes, keep);
}

/* --- functions of one element --------------------------------------------------------------------------- */

typedef struct unary_state {
    ls_unary kind;
} unary_state;

static void unary_forward(ls_op *op, const ls_run *run, int first, int last, const ls_lane *lane) {
    (void)run, (void)first, (void)last, (void)lane;
    const unary_state *state = op->state;
    ls_tensor_kernels_for(op->graph)->unary(state->kind, ls_tensor_elements(op->out), op->in[0]->value,
                                            op->out->value);
}

static void unary_backward(ls_op *op, const ls_run *run, int first, int last, const ls_lane *lane) {
    (void)run, (void)first, (void)last, (void)lane;
    const unary_state *state = op->state;
    ls_tensor_kernels_for(op->graph)->unary_backward(state->kind, ls_tensor_elements(op->out),
                                                     op->in[0]->value, op->out->value, op->out->grad,
                                                     ls_tensor_grad_of_input(op, 0));
}

static const ls_op_class unary_classes[] = {
#define UNARY(text)                                                                                          \
    { .name = text, .unbatched = true, .forward = unary_forward, .backward = unary_backward }
    [LS_EXP] = UNARY("exp"),   [LS_LOG] = UNARY("log"),         [LS_SQUARE] = UNARY("square"),
    [LS_SQRT] = UNARY("sqrt"), [LS_INVERSE] = UNARY("inverse"), [LS_NEGATE] = UNARY("negate"),
#undef UNARY
};

static ls_tensor *unary(ls_unary kind, ls_tensor *x) {
    const ls_op_class *class = &unary_classes[kind];
    unary_state *state;
    if (!ls_tensor_usable(class->name, x)) return NULL;
    ls_status status = ls_calloc(&state, 1, sizeof *state, class->name);
    if (status != LS_OK) return ls_graph_give_up(x->graph, status);
    state->kind = kind;
    ls_op op = {.class = class, .in = {x}, .state = state};
    return ls_graph_add(x->graph, &op, x->dims, x->shape);
}

ls_tensor *ls_tensor_exp(ls_tensor *x) {
    return unary(LS_EXP, x);
}
ls_tensor *ls_tensor_log(ls_tensor *x) {
    return unary(LS_LOG, x);
}
ls_tensor *ls_tensor_square(ls_tensor *x) {
    return unary(LS_SQUARE, x);
}
ls_tensor *ls_tensor_sqrt(ls_tensor *x) {
    return unary(LS_SQRT, x);
}
ls_tensor *ls_tensor_inverse(ls_tensor *x) {
    return unary(LS_INVERSE, x);
}
ls_tensor *ls_tensor_negate(ls_tensor *x) {
    return unary(LS_NEGATE, x);
}

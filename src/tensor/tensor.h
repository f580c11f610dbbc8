/* Tensors with a dynamic graph: every operation runs at once and goes on the tape of its graph, and
 * ls_backward() (graph/graph.h) walks the tape back and leaves in each tensor that requires it the gradient
 * of the sum of the elements that it started from. This is the MyTensor of the first report, in C, on the
 * graph that the layers run on.
 *
 *     ls_graph *g;
 *     ls_eager_create(LS_FP64, &g);
 *     ls_tensor *w = ls_tensor_uniform(g, LS_SHAPE(3, 2), -1, 1, 42, true);
 *     ls_tensor *x = ls_tensor_create(g, LS_SHAPE(2, 3), (const double[]){1, 2, 3, 4, 5, 6}, false);
 *     ls_tensor *loss = ls_tensor_sum(ls_tensor_square(ls_tensor_matmul(x, w)), 0, NULL, false);
 *     if (ls_backward(loss) == LS_OK) printf("%g %g\n", ls_tensor_item(loss), ls_tensor_grad_at(w, 0));
 *     ls_graph_destroy(&g);
 *
 * ls_eager_create(), ls_graph_clear(), ls_backward() and ls_graph_destroy() are those of graph/graph.h.
 *
 * Ownership: the graph owns all its tensors; no tensor is freed alone. ls_graph_destroy() frees everything,
 * ls_graph_clear(g, n) what came after the first n operations, where n is what ls_graph_op_count(g) once
 * said: create the leaves, note the count, and clear back to it after each step; the leaves keep their values
 * and gradients.
 *
 * Errors: an operation that finds its arguments wrong returns NULL and fails the graph. An operation on NULL
 * returns NULL, ls_backward(NULL) fails, so that a formula is written without checks and ls_graph_status(g)
 * read at its end; ls_error_message() names the first operation that failed, with shapes. A failed graph
 * stays failed.
 *
 * Gradients: a tensor requires one if it was created so or was computed from one that does. Where a tensor is
 * used more than once the gradients add up. Those of leaves (what was created, not computed) also add up over
 * calls of ls_backward() until ls_tensor_zero_grad(), as in PyTorch; those of computed tensors are kept, for
 * looking at, and replaced by the next call.
 *
 * Numbers: elements are fp32 or fp64 as the graph says, rows one after the other (C order). Every sum in
 * an operation runs in double, in the row-major order of what is summed, and is rounded once; exp and log are
 * those of core/elementary.h: the bits are the same on every machine. Infinities and NaN pass through as IEEE
 * 754 says. Kernels are the plain reference, made to be exact and small, not fast; what wants speed is a
 * layer.
 *
 * Shapes: 0 (a scalar) to LS_MAX_DIMS dimensions, each at least 1. An axis below 0 counts from the end: -1 is
 * the last. */
#ifndef LOCKSTEP_TENSOR_TENSOR_H
#define LOCKSTEP_TENSOR_TENSOR_H

#include <stdbool.h>
#include <stdint.h>

#include "graph/graph.h"

/* The two arguments `dims, shape` written as one: LS_SHAPE(2, 3). A scalar is `0, NULL`. */
#define LS_SHAPE(...)                                                                                        \
    (int)(sizeof((const int64_t[]){__VA_ARGS__}) / sizeof(int64_t)), (const int64_t[]) {                     \
        __VA_ARGS__                                                                                          \
    }

/* --- leaves --------------------------------------------------------------------------------------------- */

/* A tensor of the given values, [shape] in C order, each rounded to the graph's type; they are copied. */
ls_tensor *ls_tensor_create(ls_graph *graph, int dims, const int64_t *shape, const double *values,
                            bool requires_grad);
/* All elements the same. */
ls_tensor *ls_tensor_full(ls_graph *graph, int dims, const int64_t *shape, double value, bool requires_grad);
ls_tensor *ls_tensor_zeros(ls_graph *graph, int dims, const int64_t *shape, bool requires_grad);
/* Uniform in (low, high): element i is a function of seed and i alone (core/rng.h), so give each tensor its
 * own seed. */
ls_tensor *ls_tensor_uniform(ls_graph *graph, int dims, const int64_t *shape, double low, double high,
                             uint64_t seed, bool requires_grad);

/* --- looking inside ------------------------------------------------------------------------------------- */

int64_t ls_tensor_elements(const ls_tensor *tensor);
/* The elements, float or double in C order, to read; those of a leaf also to write (an optimizer's step),
 * after ls_backward(), which still needs the old ones. What was computed from the leaf before stays as it
 * was, but for tensors that share its memory (reshape, expand_dims, squeeze, detach). NULL for NULL. */
void *ls_tensor_data(ls_tensor *tensor);
/* The gradient, in the same order; NULL if the last ls_backward() did not reach the tensor, or for a leaf if
 * none has. */
void *ls_tensor_grad(ls_tensor *tensor);
/* Element i in C order as a double; of the gradient, 0 where there is none. Not an element, or NULL: NaN, and
 * the graph fails with LS_USAGE. */
double ls_tensor_at(const ls_tensor *tensor, int64_t i);
double ls_tensor_grad_at(ls_tensor *tensor, int64_t i);
/* The one element of a tensor of any number of dimensions; otherwise as ls_tensor_at() out of range. */
double ls_tensor_item(const ls_tensor *tensor);
/* Sets the gradient of a leaf to 0. */
void ls_tensor_zero_grad(ls_tensor *tensor);
/* The same elements, in the same memory, as a constant: no gradient flows through. */
ls_tensor *ls_tensor_detach(ls_tensor *x);

/* --- element by element --------------------------------------------------------------------------------- */

/* a + b, a - b, a b. Shapes are broadcast as in numpy: aligned at the last axis, where they differ one must
 * be 1 or missing. LS_USAGE: they do not fit. */
ls_tensor *ls_tensor_add(ls_tensor *a, ls_tensor *b);
ls_tensor *ls_tensor_subtract(ls_tensor *a, ls_tensor *b);
ls_tensor *ls_tensor_multiply(ls_tensor *a, ls_tensor *b);

ls_tensor *ls_tensor_exp(ls_tensor *x);
ls_tensor *ls_tensor_log(ls_tensor *x); /* natural; log(0) = -inf, of less NaN */
ls_tensor *ls_tensor_square(ls_tensor *x);
ls_tensor *ls_tensor_sqrt(ls_tensor *x);
ls_tensor *ls_tensor_inverse(ls_tensor *x); /* 1/x */
ls_tensor *ls_tensor_negate(ls_tensor *x);

/* --- products and sums ---------------------------------------------------------------------------------- */

/* [.., m, k] times [.., k, n]: [.., m, n]; the axes before the last two are broadcast. LS_USAGE: fewer than
 * two axes, or they do not fit. */
ls_tensor *ls_tensor_matmul(ls_tensor *a, ls_tensor *b);

/* Sums over the `count` axes listed, or over all if count is 0. keep: the axes stay, with 1 element;
 * otherwise they go. LS_USAGE: no such axis, or one twice. */
ls_tensor *ls_tensor_sum(ls_tensor *x, int count, const int *axes, bool keep);
/* The sum divided by the number of elements summed. */
ls_tensor *ls_tensor_mean(ls_tensor *x, int count, const int *axes, bool keep);

/* --- shapes --------------------------------------------------------------------------------------------- */

/* The same elements in the same order and memory under another shape; one size may be -1: what is left.
 * LS_USAGE: another number of elements. */
ls_tensor *ls_tensor_reshape(ls_tensor *x, int dims, const int64_t *shape);
/* Adds an axis of size 1 that becomes number `axis` of the result; -1: the last. */
ls_tensor *ls_tensor_expand_dims(ls_tensor *x, int axis);
/* Drops an axis of size 1. LS_USAGE: it is larger. */
ls_tensor *ls_tensor_squeeze(ls_tensor *x, int axis);
/* Swaps two axes; a copy. */
ls_tensor *ls_tensor_transpose(ls_tensor *x, int axis1, int axis2);

/* --- indexing ------------------------------------------------------------------------------------------- */

/* Elements start, start + step, .. before stop. Below 0 counts from the end of the axis. LS_END as stop: to
 * the end. */
typedef struct ls_slice {
    int64_t start, stop, step;
} ls_slice;

#define LS_END INT64_MAX
#define LS_ALL ((ls_slice){0, LS_END, 1})

/* x[s0, s1, ..]: one slice for each of the first `count` axes, later ones whole; a copy. LS_USAGE: more
 * slices than axes, start or stop outside the axis (numpy would clip), a step below 1, nothing left. */
ls_tensor *ls_tensor_slice(ls_tensor *x, int count, const ls_slice *slices);
/* x[.., index, ..]: one position of an axis, which goes. LS_USAGE: no such position. */
ls_tensor *ls_tensor_select(ls_tensor *x, int axis, int64_t index);
/* x[.., [i0, i1, ..], ..]: `count` positions of an axis, in any order, also repeated; index is copied.
 * LS_USAGE: one is outside the axis. */
ls_tensor *ls_tensor_take(ls_tensor *x, int axis, int64_t count, const int64_t *index);

#endif

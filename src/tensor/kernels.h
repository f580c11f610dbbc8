/* The kernels under the tensor operations, hidden from users.
 *
 * Almost everything is one kernel, a nest of loops over strided arrays: out[o] = sum over r of a[o, r] b[o,
 * r], each array with a stride for each loop. Products with broadcasting, matrix products, sums over axes,
 * transposes and slices are such nests, and so are their gradients: the same loops with the arrays in other
 * roles. */
#ifndef LOCKSTEP_TENSOR_KERNELS_H
#define LOCKSTEP_TENSOR_KERNELS_H

#include "graph/op.h"
#include "tensor/tensor.h"

enum { LS_NEST_LOOPS = LS_MAX_DIMS + 1 }; /* the result's axes and the one that a matrix product sums over */

typedef struct ls_nest_loop {
    int64_t size, a, b, out; /* strides in elements */
} ls_nest_loop;

typedef struct ls_nest {
    int outer, inner;
    ls_nest_loop over[LS_NEST_LOOPS];   /* the elements of out */
    ls_nest_loop summed[LS_NEST_LOOPS]; /* the terms of each, added in this order */
} ls_nest;

typedef enum ls_unary { LS_EXP, LS_LOG, LS_SQUARE, LS_SQRT, LS_INVERSE, LS_NEGATE } ls_unary;

typedef struct ls_tensor_kernels {
    /* out = (sum of a b) / divisor, or out += that; the sum in double. b may be NULL: 1. */
    void (*nest)(const ls_nest *nest, const void *a, const void *b, double divisor, bool accumulate,
                 void *out);
    void (*unary)(ls_unary kind, int64_t n, const void *x, void *y);
    /* dx += dy f'(x) */
    void (*unary_backward)(ls_unary kind, int64_t n, const void *x, const void *y, const void *dy, void *dx);
    /* y[i][j][k] = x[i][index[j]][k], with `rows` i, `count` j, `row` k; x has `size` positions on its axis
     */
    void (*take)(int64_t rows, int64_t size, int64_t row, int64_t count, const int64_t *index, const void *x,
                 void *y);
    /* dx[i][index[j]][k] += dy[i][j][k], j by j */
    void (*take_backward)(int64_t rows, int64_t size, int64_t row, int64_t count, const int64_t *index,
                          const void *dy, void *dx);
    /* to[i] = from[i], rounded */
    void (*convert)(int64_t n, const double *from, void *to);
} ls_tensor_kernels;

extern const ls_tensor_kernels ls_tensor_ref_f32, ls_tensor_ref_f64;
const ls_tensor_kernels *ls_tensor_kernels_for(const ls_graph *graph);

/* --- what the operations share -------------------------------------------------------------------------- */

/* May an operation of that name use x (and y, if not NULL)? If not, fails the graph unless x or y comes from
 * a failed operation. */
bool ls_tensor_usable(const char *name, const ls_tensor *x);
bool ls_tensors_usable(const char *name, const ls_tensor *x, const ls_tensor *y);

/* Is the shape one that a tensor can have? If not, fails the graph. */
bool ls_tensor_shape_fits(ls_graph *graph, const char *name, int dims, const int64_t *shape);

/* The axis, counted from the end if below 0, of `dims`; -1 and a failed graph: no such axis. */
int ls_tensor_axis(const ls_tensor *x, const char *name, int axis, int dims);

/* Strides of a tensor in C order. */
void ls_tensor_strides(int dims, const int64_t *shape, int64_t *stride);

/* The gradient of input k, to be added to. */
void *ls_tensor_grad_of_input(const ls_op *op, int k);

/* --- contractions: operations that are one nest --------------------------------------------------------- */

typedef struct ls_contraction_loop {
    int64_t size, in[2], out;
} ls_contraction_loop;

typedef struct ls_contraction {
    int loops;
    ls_contraction_loop loop[LS_NEST_LOOPS];
    int64_t offset; /* of the first element used in in[0] */
    double divisor;
} ls_contraction;

/* Runs out = sum of in[0] in[1] / divisor, with one or two inputs, and its gradients; the contraction is the
 * op's state. */
void ls_contraction_forward(ls_op *op, const ls_run *run, int first, int last, const ls_lane *lane);
void ls_contraction_backward(ls_op *op, const ls_run *run, int first, int last, const ls_lane *lane);

/* Puts an op on the tape whose state is a copy of `contraction`. */
ls_tensor *ls_contraction_add(const ls_op_class *class, const ls_contraction *contraction, ls_tensor *a,
                              ls_tensor *b, int dims, const int64_t *shape);

/* The nest of a contraction with its arrays in these roles: 0, 1: the inputs; 2: the output; -1: none. */
ls_nest ls_contraction_nest(const ls_contraction *contraction, int a, int b, int out);

#endif

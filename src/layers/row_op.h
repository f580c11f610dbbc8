/* What flatten and global_average_pool share: an op whose row of y, a vector, is made of the same row of x, an
 * image, and of nothing else. Backward reads no values. */
#ifndef LOCKSTEP_LAYERS_ROW_OP_H
#define LOCKSTEP_LAYERS_ROW_OP_H

#include "layers/layer.h"

/* Rows [first, last) of x [rows][pixels][channels] and y [rows][elements]. */
typedef struct ls_row_kernels {
    void (*forward)(const void *x, int64_t pixels, int64_t channels, int64_t first, int64_t last, void *y,
                    const ls_lane *lane);
    /* dx = the gradient, or dx += it */
    void (*backward)(const void *dy, int64_t pixels, int64_t channels, bool accumulate, int64_t first,
                     int64_t last, void *dx, const ls_lane *lane);
} ls_row_kernels;

/* Puts the op of that name on the graph of x; y has so many elements a row. */
ls_tensor *ls_row_op(ls_graph *graph, ls_tensor *x, const ls_op_class *class, const ls_row_kernels *kernels,
                     int64_t elements);

/* The pieces of such a class, and its table. */
const void *ls_row_op_kernels(const ls_op *op);
void ls_row_op_forward(ls_op *op, const ls_run *run, int first, int last, const ls_lane *lane);
void ls_row_op_backward(ls_op *op, const ls_run *run, int first, int last, const ls_lane *lane);

#endif

/* Where a gradient jumps, differences do not find it: what the inputs of a gradient check keep away from. */
#ifndef LOCKSTEP_CHECK_KINKS_H
#define LOCKSTEP_CHECK_KINKS_H

#include "graph/op.h"

/* After an eager fp64 run of `rows` local rows: is an input of a ReLU or the like nearer to 0 than the margin (0 itself,
 * a dropped element, stays 0), or are the two largest of a window of a max pooling nearer to one another? */
bool ls_near_kink(const ls_op *op, int64_t rows, double margin);

#endif

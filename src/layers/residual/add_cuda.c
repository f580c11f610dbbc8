/* The table of layers/residual/residual.h for GPUs. */
#include "layers/residual/residual.h"
#include "layers/row_op_cuda.h"

static void forward(const void *a, const void *b, int64_t first, int64_t last, void *y, const ls_lane *lane) {
    ls_residual_forward_cuda(lane->device, a, b, first, last, y);
}

static void backward(const void *dy, bool accumulate, int64_t first, int64_t last, void *dx,
                     const ls_lane *lane) {
    ls_residual_backward_cuda(lane->device, dy, accumulate, first, last, dx);
}

const ls_add_kernels ls_add_ref_cuda = {forward, backward};

/* The table of layers/global_average_pool/global_average_pool.h for GPUs. */
#include "layers/global_average_pool/global_average_pool.h"
#include "layers/row_op_cuda.h"

static void forward(const void *x, int64_t pixels, int64_t channels, int64_t first, int64_t last, void *y,
                    const ls_lane *lane) {
    const ls_cuda_rows rows = {(int)pixels, (int)channels, (int)first, (int)last, false, x, y};
    ls_global_average_pool_forward_cuda(lane->device, &rows);
}

static void backward(const void *dy, int64_t pixels, int64_t channels, bool accumulate, int64_t first,
                     int64_t last, void *dx, const ls_lane *lane) {
    const ls_cuda_rows rows = {(int)pixels, (int)channels, (int)first, (int)last, accumulate, dy, dx};
    ls_global_average_pool_backward_cuda(lane->device, &rows);
}

const ls_row_kernels ls_global_average_pool_ref_cuda = {forward, backward};

/* The tables of layers/dense/dense.h for GPUs, in fp32 and bf16. Sums of a BatchNorm are taken by kernels of their own,
 * from what has been stored. */
#include "layers/dense/dense_cuda.h"

#include "layers/batchnorm/batchnorm_cuda.h"
#include "layers/dense/dense.h"
#include "layers/elementwise_cuda.h"
#include "layers/fusion_host_cuda.h"

static size_t scratch_bytes(const ls_dense_args *args, int64_t rows) {
    (void)args;
    (void)rows;
    return 0;
}

static void forward(const ls_dense_args *args, const ls_shards *shards, int first, int last,
                    const ls_lane *lane, bool rounded) {
    const ls_cuda_dense d = {.first = (int)shards->start[first],
                             .last = (int)shards->start[last],
                             .inputs = (int)args->inputs,
                             .outputs = (int)args->outputs,
                             .rounded = rounded,
                             .weight = args->weight,
                             .in = ls_cuda_prologue_of(&args->in),
                             .bias = args->out.bias,
                             .y = args->y};
    ls_dense_forward_cuda(lane->device, &d);
    if (!args->out.sums) return;
    const ls_cuda_batchnorm_sums sums = {
        .pixels = 1, .width = 1, .channels = (int)args->outputs, .x = args->y, .sums = args->out.sums};
    const ls_cuda_shards s = ls_cuda_shards_of(shards, first, last);
    ls_batchnorm_sums_cuda(lane->device, &sums, &s);
}

static const float *gradient_of_y(const ls_dense_args *args) {
    return args->dy.stored ? args->dy.stored : args->dy.dz;
}

static void backward(const ls_dense_args *args, const ls_shards *shards, int first, int last,
                     const ls_lane *lane, bool rounded) {
    const int begin = (int)shards->start[first], end = (int)shards->start[last];
    if (args->dy.stored) {
        const ls_cuda_grad_prologue dy = ls_cuda_grad_prologue_of(&args->dy);
        ls_elementwise_gradient_cuda(lane->device, &dy, false, begin, end, args->dy.stored, false);
    }
    if (!args->dx.dz && !args->dx.dresidual) return;
    const ls_cuda_dense_back d = {.first = begin,
                                  .last = end,
                                  .inputs = (int)args->inputs,
                                  .outputs = (int)args->outputs,
                                  .rounded = rounded,
                                  .weight = args->weight,
                                  .dy = gradient_of_y(args),
                                  .in = ls_cuda_prologue_of(&args->in),
                                  .dx = ls_cuda_grad_epilogue_of(&args->dx)};
    ls_dense_backward_cuda(lane->device, &d);
    const ls_cuda_shards s = ls_cuda_shards_of(shards, first, last);
    ls_grad_epilogue_sums_cuda(lane->device, &d.in, &d.dx, &s);
}

static int64_t weight_grad_parts(const ls_dense_args *args) {
    (void)args;
    return 1;
}

/* Whether the numbers are finite, nobody can know here: the device may be at work on others still. */
static bool weight_grad(const ls_dense_args *args, const ls_shards *shards, int64_t first, int64_t last,
                        const ls_lane *lane, bool rounded) {
    for (int n = 0; first < last && n < shards->node_count; n++) {
        const int begin = shards->node[n].first - shards->first;
        const ls_cuda_shards node = ls_cuda_shards_of(shards, begin, begin + shards->node[n].count);
        const ls_cuda_dense_weights d = {.inputs = (int)args->inputs,
                                         .outputs = (int)args->outputs,
                                         .rounded = rounded,
                                         .x = args->in.stored ? args->in.stored : args->in.x,
                                         .dy = gradient_of_y(args),
                                         .dw = (float *)args->dweight + n * args->node_stride,
                                         .db = args->dbias ? (float *)args->dbias + n * args->node_stride
                                                           : NULL};
        ls_dense_weight_grad_cuda(lane->device, &d, &node);
    }
    return true;
}

#define TABLE(name, suffix, rounded)                                                                         \
    static void forward_##suffix(const ls_dense_args *args, const ls_shards *shards, int first, int last,    \
                                 const ls_lane *lane) {                                                      \
        forward(args, shards, first, last, lane, rounded);                                                   \
    }                                                                                                        \
    static void backward_##suffix(const ls_dense_args *args, const ls_shards *shards, int first, int last,   \
                                  const ls_lane *lane) {                                                     \
        backward(args, shards, first, last, lane, rounded);                                                  \
    }                                                                                                        \
    static bool weight_grad_##suffix(const ls_dense_args *args, const ls_shards *shards, int64_t first,      \
                                     int64_t last, const ls_lane *lane) {                                    \
        return weight_grad(args, shards, first, last, lane, rounded);                                        \
    }                                                                                                        \
    const ls_dense_kernels name = {.folds = ls_cuda_folds_cheap,                                             \
                                   .scratch_bytes = scratch_bytes,                                           \
                                   .forward = forward_##suffix,                                              \
                                   .backward = backward_##suffix,                                            \
                                   .weight_grad_parts = weight_grad_parts,                                   \
                                   .weight_grad = weight_grad_##suffix};

TABLE(ls_dense_cuda, fp32, false)
TABLE(ls_dense_bf16_cuda, bf16, true)

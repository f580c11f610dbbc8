/* The tables of layers/dense/dense.h for GPUs, in fp32 and bf16. */
#include "layers/dense/dense_cuda.h"

#include "layers/batchnorm/batchnorm_cuda.h"
#include "layers/dense/dense.h"
#include "layers/fusion_host_cuda.h"

static size_t scratch_bytes(const ls_dense_args *args, int64_t rows) {
    (void)args;
    (void)rows;
    return 0;
}

static void forward(const ls_dense_args *args, const ls_shards *shards, int first, int last,
                    const ls_lane *lane, bool rounded) {
    ls_cuda_dense d = {.first = (int)shards->start[first],
                       .last = (int)shards->start[last],
                       .inputs = (int)args->inputs,
                       .outputs = (int)args->outputs,
                       .rounded = rounded,
                       .weight = args->weight,
                       .in = ls_cuda_prologue_of(&args->in),
                       .bias = args->out.bias,
                       .y = args->y,
                       .sums = {.pixels = 1,
                                .width = 1,
                                .channels = (int)args->outputs,
                                .x = args->y,
                                .sums = args->out.sums,
                                .cut = args->out.cut != NULL},
                       .shards = ls_cuda_shards_of(shards, first, last)};
    if (d.sums.cut) d.sums.forward = ls_cuda_batchnorm_cut_of(args->out.cut);
    const ls_cuda_batchnorm_sums sums = d.sums;
    const bool at_once = d.first < d.last && args->outputs <= LS_BATCHNORM_MOST_AT_ONCE;
    if (!at_once) d.sums.sums = NULL;
    if (d.first < d.last) ls_dense_forward_cuda(lane->device, &d);
    if (!at_once && sums.sums) /* of no rows: zeros */
        ls_batchnorm_sums_cuda(lane->device, &sums, &d.shards);
}

static void backward(const ls_dense_args *args, const ls_shards *shards, int first, int last,
                     const ls_lane *lane, bool rounded) {
    if (!args->dx.dz && !args->dx.dresidual) return;
    ls_cuda_dense_back d = {.first = (int)shards->start[first],
                            .last = (int)shards->start[last],
                            .inputs = (int)args->inputs,
                            .outputs = (int)args->outputs,
                            .rounded = rounded,
                            .weight = args->weight,
                            .dy = ls_cuda_grad_prologue_of(&args->dy),
                            .in = ls_cuda_prologue_of(&args->in),
                            .dx = ls_cuda_grad_epilogue_of(&args->dx),
                            .shards = ls_cuda_shards_of(shards, first, last)};
    const bool at_once = d.first < d.last && args->in.pixels == 1 && !args->dx.residual_sums &&
                         args->inputs <= LS_BATCHNORM_MOST_AT_ONCE;
    if (at_once) {
        ls_cuda_batchnorm_grad_cut cut;
        if (args->dx.cut) cut = ls_cuda_batchnorm_grad_cut_of(args->dx.cut);
        d.sums = ls_grad_epilogue_batchnorm_sums(&d.in, &d.dx, args->dx.cut ? &cut : NULL);
    }
    ls_dense_backward_cuda(lane->device, &d);
    if (!at_once) ls_take_grad_epilogue_sums(&d.in, &args->dx, shards, first, last, lane);
}

static int64_t weight_grad_parts(const ls_dense_args *args) {
    (void)args;
    return 1;
}

/* Of a node. The bias's gradient is a sum, not a product: nothing of it is rounded. */
static void add_jobs(ls_cuda_dense_jobs *jobs, const ls_dense_args *args, int node, bool rounded) {
    ls_cuda_dense_weights d = {.inputs = (int)args->inputs,
                               .outputs = (int)args->outputs,
                               .rounded = rounded,
                               .x = args->in.stored ? args->in.stored : args->in.x,
                               .dy = ls_cuda_grad_prologue_of(&args->dy),
                               .dw = (float *)args->dweight + node * args->node_stride,
                               .db = args->dbias ? (float *)args->dbias + node * args->node_stride : NULL};
    const ls_cuda_dense_weights whole = d;
    if (rounded) d.db = NULL;
    jobs->list[jobs->count++] = d;
    if (!rounded || !whole.db) return;
    d = whole;
    d.inputs = 0;
    d.rounded = false;
    jobs->list[jobs->count++] = d;
}

static void weight_grads(const ls_dense_args *const *list, int count, const ls_shards *shards,
                         const ls_lane *lane, bool rounded) {
    for (int n = 0; n < shards->node_count; n++) {
        const int begin = shards->node[n].first - shards->first;
        const ls_cuda_shards node = ls_cuda_shards_of(shards, begin, begin + shards->node[n].count);
        ls_cuda_dense_jobs jobs = {0};
        for (int i = 0; i < count; i++) {
            add_jobs(&jobs, list[i], n, rounded);
            if (jobs.count + 2 <= LS_CUDA_DENSE_JOBS && i + 1 < count) continue;
            ls_dense_weight_grads_cuda(lane->device, &jobs, &node);
            jobs.count = 0;
        }
    }
}

/* Whether the numbers are finite, nobody can know here: the device may be at work on others still. */
static bool weight_grad(const ls_dense_args *args, const ls_shards *shards, int64_t first, int64_t last,
                        const ls_lane *lane, bool rounded) {
    if (first < last) weight_grads(&args, 1, shards, lane, rounded);
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
    static void weight_grads_##suffix(const ls_dense_args *const *args, int count, const ls_shards *shards,  \
                                      const ls_lane *lane) {                                                 \
        weight_grads(args, count, shards, lane, rounded);                                                    \
    }                                                                                                        \
    const ls_dense_kernels name = {.folds = ls_cuda_folds_cheap,                                             \
                                   .scratch_bytes = scratch_bytes,                                           \
                                   .forward = forward_##suffix,                                              \
                                   .backward = backward_##suffix,                                            \
                                   .weight_grad_parts = weight_grad_parts,                                   \
                                   .weight_grads = weight_grads_##suffix,                                    \
                                   .weight_grad = weight_grad_##suffix,                                      \
                                   .makes_cuts = true};

TABLE(ls_dense_cuda, fp32, false)
TABLE(ls_dense_bf16_cuda, bf16, true)

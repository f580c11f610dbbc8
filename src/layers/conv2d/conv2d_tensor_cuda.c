/* The tables of layers/conv2d/conv2d.h for tensor cores, in bf16 and tf32. */
#include "layers/conv2d/conv2d_tensor_cuda.h"

#include "layers/conv2d/conv2d.h"
#include "layers/conv2d/conv2d_layout.h"
#include "layers/elementwise_cuda.h"
#include "layers/fusion_host_cuda.h"

static ls_conv2d_cuda_shape shape_of(const ls_conv2d_args *a, bool tf32) {
    return (ls_conv2d_cuda_shape){.height = (int)a->height,
                                  .width = (int)a->width,
                                  .inputs = (int)a->inputs,
                                  .out_height = (int)a->out_height,
                                  .out_width = (int)a->out_width,
                                  .outputs = (int)a->outputs,
                                  .kernel_h = (int)a->kernel_h,
                                  .kernel_w = (int)a->kernel_w,
                                  .stride = (int)a->stride,
                                  .pad = (int)a->pad,
                                  .tf32 = tf32};
}

/* Into shared memory, strip by strip. */
static bool fits(const ls_conv2d_args *a, bool tf32) {
    const ls_conv2d_cuda_shape s = shape_of(a, tf32);
    return ls_conv2d_cuda_forward_strips(&s).lines > 0 && ls_conv2d_cuda_backward_strips(&s).lines > 0;
}

/* --- the workspace: sums of the images ---------------------------------------------------------- */

static size_t workspace_bytes(const ls_conv2d_args *a, int shards, int64_t rows, bool gradient) {
    const int64_t forward = 2 * a->outputs, backward = gradient ? 4 * a->inputs : 0;
    (void)shards;
    return (size_t)(rows * larger(forward, backward)) * sizeof(double);
}

/* `number`: of BatchNorms whose sums are taken at once. */
static ls_cuda_image_sums sums_of(const ls_conv2d_args *a, double *sums, bool cut, int64_t rows,
                                  int64_t channels, int number) {
    double *images = a->workspace;
    return (ls_cuda_image_sums){.images = images + number * rows * 2 * channels, .sums = sums, .cut = cut};
}

/* --- forward, and back -------------------------------------------------------------------------- */

/* An x' that is kept, and of which the product does not read all pixels, is made by a pass of its own. */
static ls_cuda_prologue prologue_of(const ls_conv2d_args *a, const ls_conv2d_cuda_shape *s,
                                    const ls_shards *shards, int first, int last, const ls_lane *lane) {
    ls_cuda_prologue in = ls_cuda_prologue_of(&a->in);
    if (!in.stored || ls_conv2d_cuda_covers(s)) return in;
    ls_elementwise_forward_cuda(lane->device, &in, (int)shards->start[first], (int)shards->start[last],
                                in.stored, in.narrow);
    return (ls_cuda_prologue){.length = in.length,
                              .channels = in.channels,
                              .width = in.width,
                              .narrow_x = in.narrow,
                              .x = in.stored};
}

static void forward(const ls_conv2d_args *a, const ls_shards *shards, int first, int last,
                    const ls_lane *lane, bool tf32) {
    const ls_conv2d_cuda_shape s = shape_of(a, tf32);
    ls_conv2d_cuda_tensor_forward f = {
        .shape = s,
        .strips = ls_conv2d_cuda_forward_strips(&s),
        .weight = a->weight,
        .bias = a->out.bias,
        .in = prologue_of(a, &s, shards, first, last, lane),
        .y = a->y,
        .narrow_y = a->out.narrow,
        .sums = sums_of(a, a->out.sums, a->out.cut, ls_shards_rows(shards), a->outputs, 0),
        .shards = ls_cuda_shards_of(shards, first, last)};
    if (a->out.cut) f.norm = ls_cuda_batchnorm_cut_of(a->out.cut);
    ls_conv2d_cuda_tensor_forward_launch(lane->device, &f);
}

/* Where weight gradients are wanted, behind one another. */
static float *dbias_of(const ls_conv2d_args *a, int parts, const ls_shards *shards) {
    const int64_t weights = a->kernel_h * a->kernel_w * a->inputs * a->outputs;
    return a->dbias ? (float *)a->shard_gradients + shards->count * parts * weights : NULL;
}

static void backward(const ls_conv2d_args *a, const ls_shards *shards, int first, int last,
                     const ls_lane *lane, bool tf32) {
    const ls_conv2d_cuda_shape s = shape_of(a, tf32);
    const int64_t rows = ls_shards_rows(shards);
    ls_conv2d_cuda_tensor_backward b = {
        .shape = s,
        .strips = ls_conv2d_cuda_backward_strips(&s),
        .weight = a->weight,
        .in = ls_cuda_prologue_of(&a->in),
        .dy = ls_cuda_grad_prologue_of(&a->dy),
        .dx = ls_cuda_grad_epilogue_of(&a->dx),
        .has_dx = a->dx.dz || a->dx.dresidual,
        .dweight = a->shard_gradients,
        .sums = sums_of(a, a->dx.sums, a->dx.cut, rows, a->inputs, 0),
        .residual_sums = sums_of(a, a->dx.residual_sums, a->dx.residual_cut, rows, a->inputs, 1),
        .shards = ls_cuda_shards_of(shards, first, last)};
    if (a->shard_gradients) b.dbias = dbias_of(a, b.strips.parts, shards);
    if (!b.has_dx) b.sums.sums = b.residual_sums.sums = NULL;
    if (!b.has_dx && !b.dweight) return;
    if (a->dx.cut) b.norm = ls_cuda_batchnorm_grad_cut_of(a->dx.cut);
    if (a->dx.residual_cut) b.residual_norm = ls_cuda_batchnorm_grad_cut_of(a->dx.residual_cut);
    ls_conv2d_cuda_tensor_backward_launch(lane->device, &b);
}

/* --- weight gradients: what is left of them ----------------------------------------------------- */

static int64_t shard_gradient_elements(const ls_conv2d_args *a, bool tf32) {
    const ls_conv2d_cuda_shape s = shape_of(a, tf32);
    return ls_conv2d_cuda_backward_strips(&s).parts *
           (a->kernel_h * a->kernel_w * a->inputs * a->outputs + a->outputs);
}

static void weight_grads(const ls_conv2d_args *const *list, int count, const ls_shards *shards,
                         const ls_lane *lane, bool tf32) {
    ls_conv2d_cuda_jobs jobs = {.nodes = shards->node_count,
                                .node_stride = count > 0 ? list[0]->node_stride : 0};
    for (int n = 0; n < jobs.nodes; n++) {
        jobs.first[n] = shards->node[n].first - shards->first;
        jobs.shards[n] = shards->node[n].count;
    }
    for (int i = 0; i < count; i++) {
        const ls_conv2d_args *a = list[i];
        const ls_conv2d_cuda_shape s = shape_of(a, tf32);
        const int parts = ls_conv2d_cuda_backward_strips(&s).parts;
        const int weights = (int)(a->kernel_h * a->kernel_w * a->inputs * a->outputs);
        jobs.list[jobs.count++] = (ls_conv2d_cuda_job){a->shard_gradients, a->dweight, weights, parts};
        if (a->dbias)
            jobs.list[jobs.count++] =
                (ls_conv2d_cuda_job){dbias_of(a, parts, shards), a->dbias, (int)a->outputs, parts};
        if (jobs.count + 2 <= LS_CONV2D_CUDA_JOBS && i + 1 < count) continue;
        ls_conv2d_cuda_add_parts(lane->device, &jobs);
        jobs.count = 0;
    }
}

static int64_t weight_grad_parts(const ls_conv2d_args *a) {
    (void)a;
    return 1;
}

static size_t scratch_bytes(const ls_conv2d_args *a, int64_t rows_per_shard) {
    (void)a, (void)rows_per_shard;
    return 0;
}

/* --- the tables --------------------------------------------------------------------------------- */

#define TABLE(kind, tf32, stores_bf16)                                                                       \
    static void kind##_forward(const ls_conv2d_args *a, const ls_shards *shards, int first, int last,        \
                               const ls_lane *lane) {                                                        \
        forward(a, shards, first, last, lane, tf32);                                                         \
    }                                                                                                        \
    static void kind##_backward(const ls_conv2d_args *a, const ls_shards *shards, int first, int last,       \
                                const ls_lane *lane) {                                                       \
        backward(a, shards, first, last, lane, tf32);                                                        \
    }                                                                                                        \
    static void kind##_weight_grads(const ls_conv2d_args *const *list, int count, const ls_shards *shards,   \
                                    const ls_lane *lane) {                                                   \
        weight_grads(list, count, shards, lane, tf32);                                                       \
    }                                                                                                        \
    static void kind##_weight_grad(const ls_conv2d_args *a, const ls_shards *shards, int64_t first,          \
                                   int64_t last, const ls_lane *lane) {                                      \
        if (first < last) weight_grads(&a, 1, shards, lane, tf32);                                           \
    }                                                                                                        \
    static int64_t kind##_elements(const ls_conv2d_args *a) {                                                \
        return shard_gradient_elements(a, tf32);                                                             \
    }                                                                                                        \
    static bool kind##_fits(const ls_conv2d_args *a) {                                                       \
        return fits(a, tf32);                                                                                \
    }                                                                                                        \
    const ls_conv2d_kernels ls_conv2d_tensor_##kind##_cuda = {.folds = ls_cuda_folds_cheap,                  \
                                                              .scratch_bytes = scratch_bytes,                \
                                                              .workspace_bytes = workspace_bytes,            \
                                                              .forward = kind##_forward,                     \
                                                              .backward = kind##_backward,                   \
                                                              .weight_grad_parts = weight_grad_parts,        \
                                                              .weight_grad = kind##_weight_grad,             \
                                                              .weight_grads = kind##_weight_grads,           \
                                                              .shard_gradient_elements = kind##_elements,    \
                                                              .narrow = stores_bf16,                         \
                                                              .makes_cuts = true,                            \
                                                              .fits = kind##_fits};

TABLE(bf16, false, true)
TABLE(tf32, true, false)

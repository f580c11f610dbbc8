/* The tables of layers/conv2d/conv2d.h for GPUs, in fp32 and bf16. Sums are those of the vector kernels, to the
 * bit. x' of a prologue that stores it, and dy, are made by a pass of their own, before the product; sums of a
 * BatchNorm are taken from what the product has stored. */
#include "layers/conv2d/conv2d_cuda.h"

#include "layers/batchnorm/batchnorm_cuda.h"
#include "layers/conv2d/conv2d.h"
#include "layers/conv2d/conv2d_layout.h"
#include "layers/elementwise_cuda.h"
#include "layers/fusion_host_cuda.h"

/* --- products ---------------------------------------------------------------------------------- */

static ls_conv2d_cuda_product product_of(const ls_conv2d_args *a, bool back, bool rounded) {
    const int64_t columns = back ? a->inputs : a->outputs;
    return (ls_conv2d_cuda_product){.from_height = (int)(back ? a->out_height : a->height),
                                    .from_width = (int)(back ? a->out_width : a->width),
                                    .terms = (int)(back ? a->outputs : a->inputs),
                                    .to_height = (int)(back ? a->height : a->out_height),
                                    .to_width = (int)(back ? a->width : a->out_width),
                                    .columns = (int)columns,
                                    .padded = (int)(divide_up(columns, 4) * 4),
                                    .kernel_h = (int)a->kernel_h,
                                    .kernel_w = (int)a->kernel_w,
                                    .stride = (int)a->stride,
                                    .pad = (int)a->pad,
                                    .tile = (int)winograd_tile(a),
                                    .back = back,
                                    .rounded = rounded,
                                    .weights = a->workspace};
}

/* Of the rows of these shards. */
static void multiply(const ls_conv2d_args *a, const ls_shards *shards, int first, int last,
                     struct ls_device *device, ls_conv2d_cuda_product *p,
                     const ls_conv2d_cuda_forward *forward, const ls_conv2d_cuda_backward *backward) {
    p->first = (int)shards->start[first];
    p->rows = (int)(shards->start[last] - shards->start[first]);
    if (p->rows == 0) return;
    if (p->tile) {
        ls_conv2d_cuda_winograd_weights(device, p, a->weight, a->workspace);
        ls_conv2d_cuda_winograd(device, p, forward, backward);
    } else {
        ls_conv2d_cuda_direct_weights(device, p, a->weight, a->workspace);
        ls_conv2d_cuda_direct(device, p, forward, backward);
    }
}

static void forward(const ls_conv2d_args *a, const ls_shards *shards, int first, int last,
                    const ls_lane *lane, bool rounded) {
    ls_conv2d_cuda_product p = product_of(a, false, rounded);
    ls_conv2d_cuda_forward args = {.in = ls_cuda_prologue_of(&a->in), .bias = a->out.bias, .y = a->y};
    if (a->in.stored) {
        ls_elementwise_forward_cuda(lane->device, &args.in, (int)shards->start[first],
                                    (int)shards->start[last], a->in.stored, false);
        args.plain = a->in.stored;
    } else if (ls_prologue_is_identity(&a->in)) {
        args.plain = a->in.x;
    }
    multiply(a, shards, first, last, lane->device, &p, &args, NULL);
    if (!a->out.sums) return;
    ls_cuda_batchnorm_sums sums = {.pixels = (int)(a->out_height * a->out_width),
                                   .width = (int)a->out_width,
                                   .channels = (int)a->outputs,
                                   .x = a->y,
                                   .sums = a->out.sums,
                                   .cut = a->out.cut != NULL};
    if (sums.cut) sums.forward = ls_cuda_batchnorm_cut_of(a->out.cut);
    const ls_cuda_shards s = ls_cuda_shards_of(shards, first, last);
    ls_batchnorm_sums_cuda(lane->device, &sums, &s);
}

static const float *gradient_of_y(const ls_conv2d_args *a) {
    return a->dy.stored ? a->dy.stored : a->dy.dz;
}

static void backward(const ls_conv2d_args *a, const ls_shards *shards, int first, int last,
                     const ls_lane *lane, bool rounded) {
    if (a->dy.stored) {
        const ls_cuda_grad_prologue dy = ls_cuda_grad_prologue_of(&a->dy);
        ls_elementwise_gradient_cuda(lane->device, &dy, false, (int)shards->start[first],
                                     (int)shards->start[last], a->dy.stored, false);
    }
    if (!a->dx.dz && !a->dx.dresidual) return;
    ls_conv2d_cuda_product p = product_of(a, true, rounded);
    const ls_conv2d_cuda_backward args = {gradient_of_y(a), ls_cuda_prologue_of(&a->in),
                                          ls_cuda_grad_epilogue_of(&a->dx)};
    multiply(a, shards, first, last, lane->device, &p, NULL, &args);
    ls_take_grad_epilogue_sums(&args.in, &a->dx, shards, first, last, lane);
}

/* --- weight gradient --------------------------------------------------------------------------- */

/* Floats of prepared weights of either direction, in front of all else in the workspace. */
static int64_t weights_size(const ls_conv2d_args *a) {
    const ls_conv2d_cuda_product forth = product_of(a, false, false), back = product_of(a, true, false);
    const int64_t most = larger(ls_conv2d_cuda_weights_size(&forth), ls_conv2d_cuda_weights_size(&back));
    return divide_up(most, 64) * 64;
}

static ls_conv2d_cuda_gradient gradient_of(const ls_conv2d_args *a, bool rounded) {
    return (ls_conv2d_cuda_gradient){.height = (int)a->height,
                                     .width = (int)a->width,
                                     .inputs = (int)a->inputs,
                                     .out_height = (int)a->out_height,
                                     .out_width = (int)a->out_width,
                                     .outputs = (int)a->outputs,
                                     .kernel_h = (int)a->kernel_h,
                                     .kernel_w = (int)a->kernel_w,
                                     .stride = (int)a->stride,
                                     .pad = (int)a->pad,
                                     .tile = (int)winograd_tile(a),
                                     .rounded = rounded,
                                     .x = a->in.stored ? a->in.stored : a->in.x,
                                     .dy = gradient_of_y(a),
                                     .dweight = a->dweight,
                                     .dbias = a->dbias,
                                     .node_stride = a->node_stride};
}

/* All of it is one part: a device shares it out itself. */
static int64_t weight_grad_parts(const ls_conv2d_args *a) {
    (void)a;
    return 1;
}

static void weight_grad(const ls_conv2d_args *a, const ls_shards *shards, int64_t first, int64_t last,
                        const ls_lane *lane, bool rounded) {
    if (first == last) return;
    ls_conv2d_cuda_gradient g = gradient_of(a, rounded);
    g.room = (float *)a->workspace + weights_size(a);
    const ls_cuda_shards s = ls_cuda_shards_of(shards, 0, shards->count);
    ls_conv2d_cuda_nodes nodes = {.count = shards->node_count};
    for (int i = 0; i < nodes.count; i++) {
        nodes.first[i] = shards->node[i].first - shards->first;
        nodes.shards[i] = shards->node[i].count;
    }
    ls_conv2d_cuda_add_gradient(lane->device, &g, &s, &nodes);
}

static size_t workspace_bytes(const ls_conv2d_args *a, int shards, int64_t rows, bool gradient) {
    const ls_conv2d_cuda_gradient g = gradient_of(a, false);
    const int64_t room = gradient ? ls_conv2d_cuda_gradient_room(&g, shards, rows) : 0;
    return (size_t)(weights_size(a) + room) * sizeof(float);
}

static size_t scratch_bytes(const ls_conv2d_args *a, int64_t rows_per_shard) {
    (void)a, (void)rows_per_shard;
    return 0;
}

/* --- the tables -------------------------------------------------------------------------------- */

#define TABLE(table, precision, rounded)                                                                     \
    static void precision##_forward(const ls_conv2d_args *a, const ls_shards *shards, int first, int last,   \
                                    const ls_lane *lane) {                                                   \
        forward(a, shards, first, last, lane, rounded);                                                      \
    }                                                                                                        \
    static void precision##_backward(const ls_conv2d_args *a, const ls_shards *shards, int first, int last,  \
                                     const ls_lane *lane) {                                                  \
        backward(a, shards, first, last, lane, rounded);                                                     \
    }                                                                                                        \
    static void precision##_weight_grad(const ls_conv2d_args *a, const ls_shards *shards, int64_t first,     \
                                        int64_t last, const ls_lane *lane) {                                 \
        weight_grad(a, shards, first, last, lane, rounded);                                                  \
    }                                                                                                        \
    const ls_conv2d_kernels table = {.folds = ls_cuda_folds_cheap,                                           \
                                     .scratch_bytes = scratch_bytes,                                         \
                                     .workspace_bytes = workspace_bytes,                                     \
                                     .forward = precision##_forward,                                         \
                                     .backward = precision##_backward,                                       \
                                     .weight_grad_parts = weight_grad_parts,                                 \
                                     .weight_grad = precision##_weight_grad,                                 \
                                     .makes_cuts = true};

TABLE(ls_conv2d_cuda, fp32, false)
TABLE(ls_conv2d_bf16_cuda, bf16, true)

#include "layers/conv2d/conv2d.h"

#include "layers/conv2d/conv2d_layout.h"
#include "layers/initialise.h"

/* --- the op
 * ------------------------------------------------------------------------------------------------------- */

typedef struct conv2d_state {
    int64_t stride, pad;
    int winograd; /* 0, 2, 4: the largest tiles */
    bool downward;
    void *shard_gradients, *workspace; /* as the kernels want them; the graph's */
} conv2d_state;

const ls_conv2d_kernels *ls_conv2d_kernels_for(const ls_backend *backend, const ls_conv2d_args *args) {
    const bool bf16 = backend->precision == LS_PRECISION_BF16;
    if (backend->tensor_cores) {
        const ls_conv2d_kernels *tensor = bf16 ? &ls_conv2d_tensor_bf16_cuda : &ls_conv2d_tensor_tf32_cuda;
        if (tensor->fits(args)) return tensor;
    }
    if (backend->device) return bf16 ? &ls_conv2d_bf16_cuda : &ls_conv2d_cuda;
    if (backend->dtype == LS_FP64) return &ls_conv2d_ref_f64;
#ifdef __x86_64__
    if (bf16 && backend->instruction_set >= LS_AMX) return &ls_conv2d_bf16_amx;
    if (bf16 && backend->instruction_set >= LS_AVX512_BF16 && winograd_tile(args) == 0)
        return &ls_conv2d_vector_bf16_avx512;
    if (bf16 && backend->instruction_set >= LS_AVX512) return &ls_conv2d_vector_rounded_avx512;
    if (bf16 && backend->instruction_set >= LS_AVX2) return &ls_conv2d_vector_bf16_avx2;
    if (backend->instruction_set >= LS_AVX512) return &ls_conv2d_vector_avx512;
    if (backend->instruction_set == LS_AVX2) return &ls_conv2d_vector_avx2;
#endif
    (void)args;
    return bf16 ? &ls_conv2d_vector_bf16_f32 : &ls_conv2d_vector_f32;
}

/* The shapes alone: what scratch_bytes and parts need, before anything has an address. */
static ls_conv2d_args geometry(const ls_op *op) {
    const conv2d_state *state = op->state;
    const int64_t *x = op->in[0]->shape, *w = op->in[1]->shape, *y = op->out->shape;
    return (ls_conv2d_args){.height = x[0],
                            .width = x[1],
                            .inputs = x[2],
                            .out_height = y[0],
                            .out_width = y[1],
                            .outputs = y[2],
                            .kernel_h = w[2],
                            .kernel_w = w[3],
                            .stride = state->stride,
                            .pad = state->pad,
                            .winograd = state->winograd};
}

static const ls_conv2d_kernels *kernels_for(const ls_op *op) {
    const ls_conv2d_args args = geometry(op);
    return ls_conv2d_kernels_for(ls_graph_backend(op->graph), &args);
}

static ls_conv2d_args arguments(const ls_op *op, const ls_run *run) {
    ls_conv2d_args args = geometry(op);
    args.weight = op->in[1]->value;
    args.in = ls_op_prologue(op, run);
    args.out = ls_op_epilogue(op, run);
    args.out.bias = op->in[2] ? op->in[2]->value : NULL;
    args.y = op->out->value;
    args.dy = ls_op_grad_prologue(op);
    args.dx = ls_op_grad_epilogue(op, run);
    args.dweight = op->in[1]->grad;
    args.dbias = op->in[2] ? op->in[2]->grad : NULL;
    args.node_stride = ls_graph_parameters(op->graph)->summed;
    args.shard_gradients = ((const conv2d_state *)op->state)->shard_gradients;
    args.workspace = ((const conv2d_state *)op->state)->workspace;
    args.downward = ((const conv2d_state *)op->state)->downward;
    return args;
}

static void forward(ls_op *op, const ls_run *run, int first, int last, const ls_lane *lane) {
    ls_conv2d_args args = arguments(op, run);
    kernels_for(op)->forward(&args, run->shards, first, last, lane);
}

static void backward(ls_op *op, const ls_run *run, int first, int last, const ls_lane *lane) {
    ls_conv2d_args args = arguments(op, run);
    kernels_for(op)->backward(&args, run->shards, first, last, lane);
}

static bool backward_sums_weights(const ls_op *op) {
    return kernels_for(op)->shard_gradient_elements;
}

static int64_t parts(const ls_op *op) {
    ls_conv2d_args args = geometry(op);
    return kernels_for(op)->weight_grad_parts(&args);
}

static bool weight_grad(ls_op *op, const ls_run *run, int64_t first, int64_t last, const ls_lane *lane) {
    ls_conv2d_args args = arguments(op, run);
    kernels_for(op)->weight_grad(&args, run->shards, first, last, lane);
    return true;
}

static bool together(const ls_op *op) {
    return kernels_for(op)->weight_grads;
}

/* Those of one table after the other. */
static void weight_grads(ls_op *const *ops, int count, const ls_run *run, const ls_lane *lane) {
    enum { BATCH = 64 };
    ls_conv2d_args args[BATCH];
    const ls_conv2d_args *list[BATCH];
    for (int first = 0, n; first < count; first += n) {
        const ls_conv2d_kernels *kernels = kernels_for(ops[first]);
        for (n = 0; n < BATCH && first + n < count && kernels_for(ops[first + n]) == kernels; n++) {
            args[n] = arguments(ops[first + n], run);
            list[n] = &args[n];
        }
        kernels->weight_grads(list, n, run->shards, lane);
    }
}

static bool narrow(const ls_op *op) {
    return kernels_for(op)->narrow;
}

static bool makes_cuts(const ls_op *op) {
    return kernels_for(op)->makes_cuts;
}

static size_t scratch_bytes(const ls_op *op, int64_t rows_per_shard) {
    ls_conv2d_args args = geometry(op);
    return kernels_for(op)->scratch_bytes(&args, rows_per_shard);
}

static bool folds(const ls_op *op, const ls_activation *act) {
    const ls_conv2d_kernels *kernels = kernels_for(op);
    return kernels->folds && kernels->folds(act);
}

static const void *any_kernels(const ls_op *op) {
    return kernels_for(op);
}

static const ls_op_class conv2d_class = {
    .name = "conv2d",
    .kernels = any_kernels,
    .kept = LS_KEEPS_INPUTS,
    .loads_prologue = true,
    .folds = folds,
    .loads_join = true,
    .stores_sums = true,
    .forward = forward,
    .backward = backward,
    .backward_sums_weights = backward_sums_weights,
    .parts = parts,
    .weight_grad = weight_grad,
    .together = together,
    .weight_grads = weight_grads,
    .narrow = narrow,
    .makes_cuts = makes_cuts,
    .scratch = scratch_bytes,
};

/* Every other convolution goes through the shards from the last to the first. */
static bool goes_downward(const ls_graph *graph) {
    bool downward = false;
    for (int i = 0; i < ls_graph_op_count(graph); i++)
        if (ls_graph_op(graph, i)->class == &conv2d_class) downward = !downward;
    return downward;
}

/* The sums of every shard, which wait for the others'. */
static void *allocate_shard_gradients(ls_graph *graph, const ls_conv2d_args *args) {
    const ls_backend *backend = ls_graph_backend(graph);
    const ls_conv2d_kernels *kernels = ls_conv2d_kernels_for(backend, args);
    if (!kernels->shard_gradient_elements || ls_graph_purpose(graph) != LS_TRAINING) return NULL;
    const int64_t elements = ls_graph_shards(graph)->count * kernels->shard_gradient_elements(args);
    return ls_graph_allocate(graph, (size_t)elements * ls_dtype_size(backend->dtype),
                             "weight gradients of the shards");
}

static void *allocate_workspace(ls_graph *graph, const ls_conv2d_args *args) {
    const ls_conv2d_kernels *kernels = ls_conv2d_kernels_for(ls_graph_backend(graph), args);
    if (!kernels->workspace_bytes) return NULL;
    return ls_graph_allocate(graph,
                             kernels->workspace_bytes(args, ls_graph_shards(graph)->count,
                                                      ls_graph_rows(graph),
                                                      ls_graph_purpose(graph) == LS_TRAINING),
                             "workspace of a convolution");
}

ls_tensor *ls_conv2d_by(ls_graph *graph, ls_tensor *x, ls_tensor *weight, ls_tensor *bias, int64_t stride,
                        int64_t pad, int winograd) {
    if (!x || !weight) return NULL;
    char shape[64], kernel[64];
    ls_shape_text(x->dims, x->shape, shape, sizeof shape);
    ls_shape_text(weight->dims, weight->shape, kernel, sizeof kernel);
    if (x->dims != 3 || weight->dims != 4 || weight->shape[1] != x->shape[2] || stride < 1 || pad < 0)
        return ls_graph_fail(graph, LS_USAGE, "conv2d: input %s for a weight of %s, stride %lld, pad %lld",
                             shape, kernel, (long long)stride, (long long)pad);
    int64_t height = x->shape[0] + 2 * pad - weight->shape[2],
            width = x->shape[1] + 2 * pad - weight->shape[3];
    if (height < 0 || width < 0)
        return ls_graph_fail(graph, LS_USAGE, "conv2d: kernel %s is larger than the padded input %s", kernel,
                             shape);
    conv2d_state *state;
    ls_status status = ls_calloc(&state, 1, sizeof *state, "a convolution");
    if (status != LS_OK) return ls_graph_give_up(graph, status);
    const int64_t out[] = {height / stride + 1, width / stride + 1, weight->shape[0]};
    ls_tensor y = {.shape = {out[0], out[1], out[2]}};
    *state =
        (conv2d_state){.stride = stride, .pad = pad, .downward = goes_downward(graph), .winograd = winograd};
    ls_op op = {.graph = graph, .class = &conv2d_class, .in = {x, weight, bias}, .out = &y, .state = state};
    const ls_conv2d_args args = geometry(&op);
    state->shard_gradients = allocate_shard_gradients(graph, &args);
    state->workspace = allocate_workspace(graph, &args);
    op.out = NULL;
    return ls_graph_add(graph, &op, 3, out);
}

ls_tensor *ls_conv2d(ls_graph *graph, ls_tensor *x, ls_tensor *weight, ls_tensor *bias, int64_t stride,
                     int64_t pad) {
    return ls_conv2d_by(graph, x, weight, bias, stride, pad, 4);
}

/* --- the layer
 * ---------------------------------------------------------------------------------------------------- */

/* In the order of the key's choices. */
typedef enum conv2d_choice { BY_F4X4, BY_F2X2, DIRECTLY } conv2d_choice;

typedef struct ls_conv2d_settings {
    int64_t channels, kernel, stride, pad;
    bool bias;
    ls_initialisation init;
    conv2d_choice convolution;
    char *name;
} ls_conv2d_settings;

static const ls_key keys[] = {
    LS_LAYER_KEY(ls_conv2d_settings, INT, channels, NULL, 1, 1 << 16, NULL, "number of output channels"),
    LS_LAYER_KEY(ls_conv2d_settings, INT, kernel, "3", 1, 1024, NULL, "height and width of the kernel"),
    LS_LAYER_KEY(ls_conv2d_settings, INT, stride, "1", 1, 1024, NULL, "step of the kernel"),
    LS_LAYER_KEY(ls_conv2d_settings, INT, pad, "0", 0, 1024, NULL, "zeros around the image"),
    LS_LAYER_KEY(ls_conv2d_settings, BOOL, bias, "true", 0, 0, NULL, "add a bias"),
    LS_LAYER_KEY(ls_conv2d_settings, CHOICE, init, "kaiming", 0, 0, LS_INITIALISATION_CHOICES,
                 "initial weights"),
    LS_LAYER_KEY(ls_conv2d_settings, CHOICE, convolution, "f4x4", 0, 0, "f4x4|f2x2|direct",
                 "3x3 with stride 1: Winograd's F(4x4) where it has fewer products, F(2x2), or direct sums"),
    LS_LAYER_NAME_KEY(ls_conv2d_settings),
};

static ls_status declare(ls_layer *layer, ls_parameters *parameters) {
    const ls_conv2d_settings *s = layer->settings;
    char text[64];
    ls_shape_text(layer->in_dims, layer->in, text, sizeof text);
    if (layer->in_dims != 3)
        return ls_fail(LS_USAGE, "conv2d of %s: expected height x width x channels", text);
    int64_t height = layer->in[0] + 2 * s->pad - s->kernel, width = layer->in[1] + 2 * s->pad - s->kernel;
    if (height < 0 || width < 0)
        return ls_fail(LS_USAGE, "conv2d of %s: a kernel of %lld with pad %lld does not fit", text,
                       (long long)s->kernel, (long long)s->pad);
    int64_t shape[4] = {s->channels, layer->in[2], s->kernel, s->kernel};
    layer->out_dims = 3;
    layer->out[0] = height / s->stride + 1;
    layer->out[1] = width / s->stride + 1;
    layer->out[2] = s->channels;
    LS_TRY(ls_parameters_add(parameters, layer->name, "weight", LS_LAYOUT_CONV2D, 4, shape, true,
                             &layer->parameter[0]));
    if (!s->bias) return LS_OK;
    return ls_parameters_add(parameters, layer->name, "bias", LS_LAYOUT_VECTOR, 1, shape, true,
                             &layer->parameter[1]);
}

static ls_status initialise(const ls_layer *layer, ls_parameters *parameters, uint64_t seed) {
    const ls_conv2d_settings *settings = layer->settings;
    ls_initialisation how = settings->init;
    LS_TRY(ls_initialise_weight(parameters, layer->parameter[0], how, seed));
    if (!settings->bias) return LS_OK;
    return ls_initialise_bias(parameters, layer->parameter[1], layer->parameter[0], how, seed);
}

static ls_tensor *apply(const ls_layer *layer, ls_graph *graph, ls_tensor *x) {
    static const int tiles[] = {[BY_F4X4] = 4, [BY_F2X2] = 2, [DIRECTLY] = 0};
    const ls_conv2d_settings *settings = layer->settings;
    ls_tensor *weight = ls_graph_parameter(graph, layer->parameter[0]);
    ls_tensor *bias = settings->bias ? ls_graph_parameter(graph, layer->parameter[1]) : NULL;
    return ls_conv2d_by(graph, x, weight, bias, settings->stride, settings->pad,
                        tiles[settings->convolution]);
}

const ls_layer_class ls_conv2d_layer = {
    .name = "conv2d",
    .keys = {keys, sizeof keys / sizeof *keys},
    .settings_size = sizeof(ls_conv2d_settings),
    .declare = declare,
    .initialise = initialise,
    .apply = apply,
};

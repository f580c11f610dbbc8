#include "layers/dense/dense.h"

#include "layers/batchnorm/batchnorm.h"
#include "layers/initialise.h"

/* --- the op
 * ------------------------------------------------------------------------------------------------------- */

const ls_dense_kernels *ls_dense_kernels_for(const ls_backend *backend) {
    const bool bf16 = backend->precision == LS_PRECISION_BF16;
    if (backend->device) return bf16 ? &ls_dense_bf16_cuda : &ls_dense_cuda;
    if (backend->dtype == LS_FP64) return &ls_dense_ref_f64;
#ifdef __x86_64__
    if (bf16 && backend->instruction_set >= LS_AMX) return &ls_dense_vector_bf16_amx;
    if (bf16 && backend->instruction_set >= LS_AVX512_BF16) return &ls_dense_vector_bf16_avx512;
    if (bf16 && backend->instruction_set >= LS_AVX512) return &ls_dense_vector_rounded_avx512;
    if (bf16 && backend->instruction_set >= LS_AVX2) return &ls_dense_vector_bf16_avx2;
    if (backend->instruction_set >= LS_AVX512) return &ls_dense_vector_avx512;
    if (backend->instruction_set == LS_AVX2) return &ls_dense_vector_avx2;
#endif
    return bf16 ? &ls_dense_ref_bf16_f32 : &ls_dense_ref_f32;
}

static const ls_dense_kernels *kernels_for(const ls_op *op) {
    return ls_dense_kernels_for(ls_graph_backend(op->graph));
}

/* A dense layer sees each sample as one vector, whatever shape it had. */
static int64_t inputs_of(const ls_op *op) {
    return ls_tensor_pixels(op->in[0]) * ls_tensor_channels(op->in[0]);
}

/* The shapes alone: what is asked before anything has an address. */
static ls_dense_args geometry(const ls_op *op) {
    const ls_tensor *x = op->in[0];
    return (ls_dense_args){.inputs = inputs_of(op),
                           .outputs = ls_tensor_channels(op->out),
                           .in = {.pixels = ls_tensor_pixels(x), .channels = ls_tensor_channels(x)}};
}

static ls_dense_args arguments(const ls_op *op, const ls_run *run) {
    ls_dense_args args = {
        .inputs = inputs_of(op),
        .outputs = ls_tensor_channels(op->out),
        .weight = op->in[1]->value,
        .in = ls_op_prologue(op, run),
        .out = ls_op_epilogue(op, run),
        .y = op->out->value,
        .dy = ls_op_grad_prologue(op),
        .dx = ls_op_grad_epilogue(op, run),
        .dweight = op->in[1]->grad,
        .dbias = op->in[2] ? op->in[2]->grad : NULL,
        .node_stride = ls_graph_parameters(op->graph)->summed,
        .packed = op->factors,
    };
    args.out.bias = op->in[2] ? op->in[2]->value : NULL;
    return args;
}

static void forward(ls_op *op, const ls_run *run, int first, int last, const ls_lane *lane) {
    ls_dense_args args = arguments(op, run);
    kernels_for(op)->forward(&args, run->shards, first, last, lane);
}

/* The shards that the weight gradient is over: the rank's own, or those of all ranks. */
static const ls_shards *summed_shards(const ls_op *op, const ls_run *run) {
    return op->all_shards ? run->all : run->shards;
}

static void backward(ls_op *op, const ls_run *run, int first, int last, const ls_lane *lane) {
    const ls_dense_kernels *kernels = kernels_for(op);
    ls_dense_args args = arguments(op, run);
    kernels->backward(&args, run->shards, first, last, lane);
    if (args.packed) kernels->pack(&args, run->shards, first, last, summed_shards(op, run), lane);
}

static size_t factor_bytes(const ls_op *op, int64_t rows, int shards) {
    const ls_dense_args args = geometry(op);
    const ls_dense_kernels *kernels = kernels_for(op);
    return kernels->packed_bytes ? kernels->packed_bytes(&args, rows, shards) : 0;
}

static int64_t parts(const ls_op *op) {
    const ls_dense_args args = geometry(op);
    return kernels_for(op)->weight_grad_parts(&args);
}

static bool weight_grad(ls_op *op, const ls_run *run, int64_t first, int64_t last, const ls_lane *lane) {
    ls_dense_args args = arguments(op, run);
    const size_t x_before = ls_op_bytes_before(op, run, op->in[0]),
                 y_before = ls_op_bytes_before(op, run, op->out);
    args.in.x = (const char *)args.in.x - x_before;
    args.dy.dz = (const char *)args.dy.dz - y_before;
    if (args.in.stored) args.in.stored = (char *)args.in.stored - x_before;
    if (args.dy.stored) args.dy.stored = (char *)args.dy.stored - y_before;
    return kernels_for(op)->weight_grad(&args, summed_shards(op, run), first, last, lane);
}

static bool together(const ls_op *op) {
    return kernels_for(op)->weight_grads != NULL;
}

static void weight_grads(ls_op *const *ops, int count, const ls_run *run, const ls_lane *lane) {
    enum { BATCH = 16 };
    ls_dense_args args[BATCH];
    const ls_dense_args *list[BATCH];
    for (int first = 0, n; first < count; first += n) {
        for (n = 0; n < BATCH && first + n < count; n++) {
            args[n] = arguments(ops[first + n], run);
            list[n] = &args[n];
        }
        kernels_for(ops[first])->weight_grads(list, n, run->shards, lane);
    }
}

static size_t scratch_bytes(const ls_op *op, int64_t rows_per_shard) {
    const ls_dense_args args = geometry(op);
    (void)rows_per_shard;
    return kernels_for(op)->scratch_bytes(&args, op->all_shards ? ls_graph_shards(op->graph)->batch
                                                                : ls_graph_rows(op->graph));
}

static bool folds(const ls_op *op, const ls_activation *act) {
    const ls_dense_kernels *kernels = kernels_for(op);
    return kernels->folds && kernels->folds(act);
}

/* A counter of a GPU for each tile of columns. */
static bool makes_cuts(const ls_op *op) {
    const ls_dense_args args = geometry(op);
    return kernels_for(op)->makes_cuts && args.inputs <= LS_BATCHNORM_MOST_AT_ONCE &&
           args.outputs <= LS_BATCHNORM_MOST_AT_ONCE;
}

static const void *any_kernels(const ls_op *op) {
    return kernels_for(op);
}

static const ls_op_class dense_class = {
    .name = "dense",
    .kernels = any_kernels,
    .kept = LS_KEEPS_INPUTS,
    .loads_prologue = true,
    .folds = folds,
    .stores_sums = true,
    .makes_cuts = makes_cuts,
    .forward = forward,
    .backward = backward,
    .parts = parts,
    .weight_grad = weight_grad,
    .together = together,
    .weight_grads = weight_grads,
    .factor_bytes = factor_bytes,
    .scratch = scratch_bytes,
};

ls_tensor *ls_dense(ls_graph *graph, ls_tensor *x, ls_tensor *weight, ls_tensor *bias) {
    if (!x || !weight) return NULL;
    int64_t inputs = ls_tensor_pixels(x) * ls_tensor_channels(x);
    if (weight->dims != 2 || weight->shape[1] != inputs)
        return ls_graph_fail(graph, LS_USAGE, "dense: %lld inputs for a weight of %lldx%lld",
                             (long long)inputs, (long long)weight->shape[0], (long long)weight->shape[1]);
    ls_op op = {.class = &dense_class, .in = {x, weight, bias}};
    return ls_graph_add(graph, &op, 1, &weight->shape[0]);
}

/* --- the layer
 * ---------------------------------------------------------------------------------------------------- */

typedef struct ls_dense_settings {
    int64_t units;
    bool bias;
    ls_initialisation init;
    char *name;
} ls_dense_settings;

static const ls_key keys[] = {
    LS_LAYER_KEY(ls_dense_settings, INT, units, NULL, 1, 1 << 20, NULL, "number of outputs"),
    LS_LAYER_KEY(ls_dense_settings, BOOL, bias, "true", 0, 0, NULL, "add a bias"),
    LS_LAYER_KEY(ls_dense_settings, CHOICE, init, "xavier", 0, 0, LS_INITIALISATION_CHOICES,
                 "initial weights"),
    LS_LAYER_NAME_KEY(ls_dense_settings),
};

static ls_status declare(ls_layer *layer, ls_parameters *parameters) {
    const ls_dense_settings *settings = layer->settings;
    int64_t inputs = 1;
    for (int i = 0; i < layer->in_dims; i++) inputs *= layer->in[i];
    int64_t shape[2] = {settings->units, inputs};
    layer->out_dims = 1;
    layer->out[0] = settings->units;
    LS_TRY(ls_parameters_add(parameters, layer->name, "weight", LS_LAYOUT_DENSE, 2, shape, true,
                             &layer->parameter[0]));
    if (!settings->bias) return LS_OK;
    return ls_parameters_add(parameters, layer->name, "bias", LS_LAYOUT_VECTOR, 1, shape, true,
                             &layer->parameter[1]);
}

static ls_status initialise(const ls_layer *layer, ls_parameters *parameters, uint64_t seed) {
    const ls_dense_settings *settings = layer->settings;
    ls_initialisation how = settings->init;
    LS_TRY(ls_initialise_weight(parameters, layer->parameter[0], how, seed));
    if (!settings->bias) return LS_OK;
    return ls_initialise_bias(parameters, layer->parameter[1], layer->parameter[0], how, seed);
}

static ls_tensor *apply(const ls_layer *layer, ls_graph *graph, ls_tensor *x) {
    const ls_dense_settings *settings = layer->settings;
    ls_tensor *weight = ls_graph_parameter(graph, layer->parameter[0]);
    ls_tensor *bias = settings->bias ? ls_graph_parameter(graph, layer->parameter[1]) : NULL;
    return ls_dense(graph, x, weight, bias);
}

const ls_layer_class ls_dense_layer = {
    .name = "dense",
    .keys = {keys, sizeof keys / sizeof *keys},
    .settings_size = sizeof(ls_dense_settings),
    .declare = declare,
    .initialise = initialise,
    .apply = apply,
};

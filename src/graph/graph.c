#include "graph/internal.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "core/vector.h"

void ls_partial_nodes(const ls_partial *p, int nodes, double *to, int64_t stride, const ls_lane *lane) {
    const ls_vector_kernels *vectors = ls_vectors_of_doubles(lane);
    if (!p->nodes) {
        vectors->tree(p->shards, p->length, p->sums, to, stride, lane);
        return;
    }
    for (int n = 0; n < nodes; n++)
        vectors->copy((size_t)p->length * sizeof *to, p->nodes + n * p->length, to + n * stride, lane);
}

static ls_status sum_single_node(void *self, const ls_partial *partials, int count, const ls_lane *lane) {
    (void)self;
    for (int i = 0; i < count; i++) ls_partial_nodes(&partials[i], 1, partials[i].out, 0, lane);
    return LS_OK;
}

const ls_reducer ls_reducer_local = {sum_single_node, NULL};

ls_status ls_graph_create(ls_graph_mode mode, ls_purpose purpose, const ls_backend *backend,
                          ls_parameters *parameters, const ls_shards *shards, const ls_run *run,
                          const ls_reducer *reducer, ls_graph **out) {
    ls_graph *graph;
    *out = NULL;
    LS_TRY(ls_calloc(&graph, 1, sizeof *graph, "a graph"));
    graph->mode = mode;
    graph->purpose = purpose;
    graph->backend = backend;
    graph->lane.device = backend->device;
    graph->parameters = parameters;
    graph->shards = shards;
    graph->run = run;
    graph->reducer = *reducer;
    ls_status status = ls_calloc(&graph->parameter_tensors, (size_t)parameters->count,
                                 sizeof *graph->parameter_tensors, "a graph's parameters");
    if (status != LS_OK) {
        free(graph);
        return status;
    }
    *out = graph;
    return LS_OK;
}

/* What an eager graph of its own runs on. */
typedef struct eager_context {
    ls_parameters parameters;
    ls_shards shards;
    ls_run run;
} eager_context;

ls_status ls_eager_create(ls_dtype dtype, ls_graph **out) {
    const ls_backend *backend;
    eager_context *context;
    *out = NULL;
    LS_TRY(ls_backend_find(dtype, &backend));
    LS_TRY(ls_calloc(&context, 1, sizeof *context, "a graph"));
    context->run.shards = &context->shards;
    ls_status status = ls_shards_create(&context->shards, 1, 0, 1, 1);
    if (status == LS_OK)
        status = ls_graph_create(LS_EAGER, LS_TRAINING, backend, &context->parameters, &context->shards,
                                 &context->run, &ls_reducer_local, out);
    if (status != LS_OK) {
        free(context);
        return status;
    }
    (*out)->owned = context;
    return LS_OK;
}

static void op_destroy(ls_op *op) {
    if (!op) return;
    for (int k = 0; k < LS_MAX_INPUTS; k++) free(op->reread[k]);
    free(op->state);
    free(op->out);
    free(op);
}

/* The tensor that counts its readers: for a parameter the one that all ops share. */
static ls_tensor *counted(const ls_graph *graph, ls_tensor *tensor) {
    return tensor->parameter < 0 ? tensor : graph->parameter_tensors[tensor->parameter];
}

void ls_graph_clear(ls_graph *graph, int first) {
    if (first < 0) first = 0;
    for (int i = first; i < graph->op_count; i++)
        for (int k = 0; k < LS_MAX_INPUTS && graph->ops[i]->in[k]; k++)
            counted(graph, graph->ops[i]->in[k])->consumers--;
    for (int i = first; i < graph->op_count; i++) op_destroy(graph->ops[i]);
    if (first < graph->op_count) graph->op_count = first;
    for (struct ls_allocation **at = &graph->allocations; *at;) {
        struct ls_allocation *a = *at;
        if (a->op < first) {
            at = &a->next;
            continue;
        }
        *at = a->next;
        graph->backend->release(graph->backend, a->memory);
        free(a);
    }
}

void ls_graph_destroy(ls_graph **out) {
    ls_graph *graph = *out;
    if (!graph) return;
    ls_graph_clear(graph, 0);
    free(graph->ops);
    for (int i = 0; i < graph->parameters->count; i++) free(graph->parameter_tensors[i]);
    free(graph->parameter_tensors);
    ls_shared_parameters_release(graph);
    graph->backend->release(graph->backend, graph->lane.scratch);
    free(graph->owned);
    free(graph);
    *out = NULL;
}

void ls_graph_set_reducer(ls_graph *graph, ls_reducer reducer) {
    graph->reducer = reducer;
}
ls_status ls_graph_status(const ls_graph *graph) {
    return graph->status;
}
ls_purpose ls_graph_purpose(const ls_graph *graph) {
    return graph->purpose;
}
const ls_backend *ls_graph_backend(const ls_graph *graph) {
    return graph->backend;
}
ls_parameters *ls_graph_parameters(const ls_graph *graph) {
    return graph->parameters;
}
const ls_shards *ls_graph_shards(const ls_graph *graph) {
    return graph->shards;
}
int ls_graph_op_count(const ls_graph *graph) {
    return graph->op_count;
}
int64_t ls_graph_pass(const ls_graph *graph) {
    return graph->pass;
}
ls_op *ls_graph_op(const ls_graph *graph, int index) {
    return graph->ops[index];
}

ls_tensor *ls_graph_fail(ls_graph *graph, ls_status status, const char *format, ...) {
    if (graph->status != LS_OK) return NULL;
    va_list args;
    va_start(args, format);
    graph->status = ls_vfail(status, format, args);
    va_end(args);
    return NULL;
}

ls_tensor *ls_graph_give_up(ls_graph *graph, ls_status status) {
    if (graph->status == LS_OK) graph->status = status;
    return NULL;
}

static void *allocate_for(ls_graph *graph, int op, size_t size, const char *what) {
    struct ls_allocation *allocation;
    if (graph->status != LS_OK) return NULL;
    graph->status = ls_calloc(&allocation, 1, sizeof *allocation, what);
    if (graph->status != LS_OK) return NULL;
    graph->status = graph->backend->allocate(graph->backend, &allocation->memory, size, what);
    if (graph->status != LS_OK) {
        free(allocation);
        return NULL;
    }
    allocation->op = op;
    allocation->next = graph->allocations;
    graph->allocations = allocation;
    return allocation->memory;
}

/* Called before the op that wants it is on the tape. */
void *ls_graph_allocate(ls_graph *graph, size_t size, const char *what) {
    return allocate_for(graph, graph->op_count, size, what);
}

int64_t ls_tensor_channels(const ls_tensor *tensor) {
    return tensor->dims > 0 ? tensor->shape[tensor->dims - 1] : 1;
}

int64_t ls_tensor_pixels(const ls_tensor *tensor) {
    int64_t pixels = 1;
    for (int i = 0; i < tensor->dims - 1; i++) pixels *= tensor->shape[i];
    return pixels;
}

int64_t ls_tensor_width(const ls_tensor *tensor) {
    return tensor->dims > 1 ? tensor->shape[tensor->dims - 2] : 1;
}

const char *ls_shape_text(int dims, const int64_t *shape, char *text, size_t size) {
    size_t used = 0;
    snprintf(text, size, "%s", dims > 0 ? "" : "scalar");
    for (int i = 0; i < dims && used < size; i++) {
        int n = snprintf(text + used, size - used, "%s%lld", i ? "x" : "", (long long)shape[i]);
        if (n < 0) break;
        used += (size_t)n;
    }
    return text;
}

int64_t ls_graph_rows(const ls_graph *graph) {
    const ls_shards *shards = graph->shards;
    return (shards->count * shards->batch + shards->total - 1) / shards->total;
}

size_t ls_tensor_bytes(const ls_tensor *tensor) {
    const ls_graph *graph = tensor->graph;
    int64_t elements = ls_tensor_pixels(tensor) * ls_tensor_channels(tensor);
    return (size_t)(tensor->batched ? elements * ls_graph_rows(graph) : elements) *
           (tensor->narrow ? sizeof(uint16_t) : ls_dtype_size(graph->backend->dtype));
}

ls_tensor *ls_graph_parameter(ls_graph *graph, int index) {
    if (graph->status != LS_OK) return NULL;
    ls_tensor *tensor = graph->parameter_tensors[index];
    if (tensor) return tensor;
    graph->status = ls_calloc(&tensor, 1, sizeof *tensor, "a tensor");
    if (graph->status != LS_OK) return NULL;
    const ls_parameter *parameter = &graph->parameters->list[index];
    *tensor = (ls_tensor){.graph = graph,
                          .dims = parameter->dims,
                          .requires_grad = graph->purpose != LS_ATTACKING,
                          .parameter = index};
    memcpy(tensor->shape, parameter->shape, sizeof parameter->shape);
    tensor->value = ls_arena_at(graph->parameters, graph->parameters->value, parameter->offset);
    tensor->grad = ls_parameter_gradient(graph->parameters, parameter);
    graph->parameter_tensors[index] = tensor;
    return tensor;
}

ls_tensor *ls_tensor_base(ls_tensor *tensor) {
    while (tensor->producer && tensor->producer->class->view) tensor = tensor->producer->in[0];
    return tensor;
}

bool ls_op_has_gradient(const ls_op *op) {
    for (int k = 0; k < LS_MAX_INPUTS && op->in[k]; k++)
        if (op->in[k]->parameter < 0 && op->in[k]->requires_grad) return true;
    return false;
}

bool ls_op_packs_factors(const ls_op *op) {
    return op->class->factor_bytes && op->graph->purpose == LS_TRAINING &&
           op->class->factor_bytes(op, 1, 1) > 0;
}

bool ls_op_backward_sums_weights(const ls_op *op) {
    return op->graph->purpose == LS_TRAINING && op->class->backward_sums_weights &&
           op->class->backward_sums_weights(op);
}

ls_partial ls_op_partial(const ls_op *op, const ls_run *run, bool grad) {
    return grad ? (ls_partial){.out = op->grad_reduced,
                               .length = op->grad_sum_length,
                               .sums = op->grad_sums,
                               .shards = run->shards}
                : (ls_partial){
                      .out = op->reduced, .length = op->sum_length, .sums = op->sums, .shards = run->shards};
}

void ls_op_sum_nodes(const ls_op *op, const ls_run *run, const ls_lane *lane) {
    if (op->class->sums_nodes && op->class->sums_nodes(op)) return;
    const ls_partial partial = ls_op_partial(op, run, false);
    ls_partial_nodes(&partial, run->shards->node_count, op->nodes, op->sum_length, lane);
}

/* --- eager ----------------------------------------------------------------------------------------- */

static ls_status reduce_now(ls_op *op, bool grad) {
    const ls_graph *graph = op->graph;
    const ls_partial partial = ls_op_partial(op, graph->run, grad);
    return graph->reducer.sum(graph->reducer.self, &partial, 1, &graph->lane);
}

/* Scratch for one op on the whole range of shards, kept for the next. */
static ls_status eager_scratch(ls_op *op) {
    ls_graph *graph = op->graph;
    int64_t rows = (graph->shards->batch + graph->shards->total - 1) / graph->shards->total;
    size_t size = op->class->scratch ? op->class->scratch(op, rows) : 0;
    if (size <= graph->scratch_size) return LS_OK;
    graph->backend->release(graph->backend, graph->lane.scratch);
    graph->lane.scratch = NULL;
    graph->scratch_size = 0;
    LS_TRY(graph->backend->allocate(graph->backend, &graph->lane.scratch, size, "scratch memory"));
    graph->scratch_size = size;
    return LS_OK;
}

static ls_status run_forward(ls_op *op) {
    const ls_run *run = op->graph->run;
    int count = run->shards->count;
    if (op->class->view) {
        op->out->value = op->in[0]->value;
        return LS_OK;
    }
    op->out->value = allocate_for(op->graph, op->index, ls_tensor_bytes(op->out), op->class->name);
    LS_TRY(op->graph->status);
    LS_TRY(eager_scratch(op));
    const ls_lane *lane = &op->graph->lane;
    if (op->class->sums && op->sum_length > 0) op->class->sums(op, run, 0, count, lane);
    if (op->class->cut) {
        if (op->sum_length > 0) LS_TRY(reduce_now(op, false));
        op->class->cut(op, run, lane);
    }
    if (op->class->forward) op->class->forward(op, run, 0, count, lane);
    if (op->sum_length == 0 || op->class->cut) return LS_OK;
    ls_op_sum_nodes(op, run, lane);
    const ls_partial partial = {.nodes = op->nodes, .out = op->reduced, .length = op->sum_length};
    return op->graph->reducer.sum(op->graph->reducer.self, &partial, 1, lane);
}

static bool is_leaf(const ls_tensor *base) {
    return !base->producer->in[0];
}

/* Memory for the gradient that an op reads or writes as that of `tensor`. *add: there is something to add to,
 * of this pass or, for a leaf, of an earlier one. */
static ls_status open_gradient(ls_tensor *tensor, bool *add) {
    ls_graph *graph = tensor->graph;
    ls_tensor *base = ls_tensor_base(tensor);
    *add = base->grad && (base->pass == graph->pass || is_leaf(base));
    if (!base->grad)
        base->grad = allocate_for(graph, base->producer->index, ls_tensor_bytes(base), "a gradient");
    LS_TRY(graph->status);
    base->pass = graph->pass;
    for (; tensor != base; tensor = tensor->producer->in[0]) tensor->grad = base->grad;
    return LS_OK;
}

static ls_status open_input_gradients(ls_op *op) {
    for (int k = 0; k < LS_MAX_INPUTS && op->in[k]; k++)
        if (op->in[k]->parameter < 0 && op->in[k]->requires_grad)
            LS_TRY(open_gradient(op->in[k], &op->accumulate[k]));
    return LS_OK;
}

static ls_status open_factors(ls_op *op) {
    const ls_graph *graph = op->graph;
    if (op->factors || !ls_op_packs_factors(op)) return LS_OK;
    size_t bytes = op->class->factor_bytes(op, ls_graph_rows(graph), graph->shards->count);
    op->factors = allocate_for(op->graph, op->index, bytes, "factors of a weight gradient");
    return graph->status;
}

static ls_status run_backward(ls_op *op) {
    const ls_run *run = op->graph->run;
    int count = run->shards->count;
    if (op->class->view) return LS_OK; /* the gradient is already where it belongs */
    LS_TRY(eager_scratch(op));
    const ls_lane *lane = &op->graph->lane;
    if (op->class->grad_sums && op->grad_sum_length > 0) {
        op->class->grad_sums(op, run, 0, count, lane);
        LS_TRY(reduce_now(op, true));
        op->class->grad_cut(op, run, lane);
    }
    LS_TRY(open_input_gradients(op));
    LS_TRY(open_factors(op));
    if (op->class->backward && (ls_op_has_gradient(op) || ls_op_backward_sums_weights(op) || op->factors))
        op->class->backward(op, run, 0, count, lane);
    if (op->class->weight_grad && op->graph->purpose != LS_ATTACKING)
        op->class->weight_grad(op, run, 0, op->class->parts(op), lane);
    return LS_OK;
}

/* The gradient of the tensor that ls_backward() starts from: 1 on every element. */
static ls_status seed_gradient(ls_tensor *tensor) {
    ls_graph *graph = tensor->graph;
    const ls_vector_kernels *vectors = LS_KERNELS_OF(graph->backend, ls_vector_ref);
    const size_t bytes = ls_tensor_bytes(tensor);
    const int64_t count = (int64_t)(bytes / ls_dtype_size(graph->backend->dtype));
    bool add;
    LS_TRY(open_gradient(tensor, &add));
    if (!add) {
        vectors->fill(count, 1, tensor->grad, &graph->lane);
        return LS_OK;
    }
    void *ones = allocate_for(graph, tensor->producer->index, bytes, "a gradient");
    LS_TRY(graph->status);
    vectors->fill(count, 1, ones, &graph->lane);
    vectors->add(count, ones, tensor->grad, &graph->lane);
    return LS_OK;
}

/* Does the tensor that this pass began with depend on the op, and on something before it? */
static bool takes_part(const void *graph, const ls_op *op) {
    return op->out->requires_grad && op->in[0] &&
           ls_tensor_base(op->out)->pass == ((const ls_graph *)graph)->pass;
}

ls_status ls_backward(ls_tensor *tensor) {
    if (!tensor) return LS_USAGE;
    ls_graph *graph = tensor->graph;
    if (!tensor->producer || !tensor->requires_grad)
        ls_graph_fail(graph, LS_USAGE, "backward: the tensor %s",
                      tensor->producer ? "depends on nothing that requires a gradient" : "is a parameter");
    LS_TRY(graph->status);
    graph->pass++;
    graph->status = seed_gradient(tensor);
    for (int i = tensor->producer->index; i >= 0 && graph->status == LS_OK; i--) {
        if (takes_part(graph, graph->ops[i])) graph->status = run_backward(graph->ops[i]);
    }
    if (graph->status == LS_OK) ls_shared_parameters_add(graph, takes_part, graph, &graph->lane);
    return graph->status;
}

/* --- the tape -------------------------------------------------------------------------------------- */

static void *doubles(ls_graph *graph, int64_t count, int64_t vectors) {
    if (count == 0) return NULL;
    return allocate_for(graph, graph->op_count - 1, (size_t)(count * vectors) * sizeof(double),
                        "partial sums");
}

static void allocate_sums(ls_op *op) {
    ls_graph *graph = op->graph;
    int64_t shards = graph->shards->count, nodes = graph->shards->node_count;
    op->sums = doubles(graph, op->sum_length, shards);
    if (!op->class->cut) op->nodes = doubles(graph, op->sum_length, nodes);
    op->reduced = doubles(graph, op->sum_length, 1);
    op->grad_sums = doubles(graph, op->grad_sum_length, shards);
    op->grad_reduced = doubles(graph, op->grad_sum_length, 1);
}

static ls_status make_room(ls_graph *graph) {
    if (graph->op_count < graph->op_capacity) return LS_OK;
    ls_op **bigger;
    int capacity = graph->op_capacity ? 2 * graph->op_capacity : 64;
    LS_TRY(ls_calloc(&bigger, (size_t)capacity, sizeof(ls_op *), "the tape"));
    if (graph->ops) memcpy(bigger, graph->ops, (size_t)graph->op_count * sizeof(ls_op *));
    free(graph->ops);
    graph->ops = bigger;
    graph->op_capacity = capacity;
    return LS_OK;
}

/* The one place that refuses what a GPU has no kernels for. */
static ls_status check_kernels(const ls_op *op) {
    const ls_op_class *class = op->class;
    if (!op->graph->backend->device || class->view || (class->kernels && class->kernels(op))) return LS_OK;
    return ls_fail(LS_USAGE, "layer %s has no CUDA kernels yet; device=cpu trains it", class->name);
}

ls_tensor *ls_graph_add(ls_graph *graph, const ls_op *like, int dims, const int64_t *shape) {
    ls_op *op = NULL;
    if (graph->mode == LS_RECORD && graph->op_count == LS_MAX_OPS)
        ls_graph_fail(graph, LS_USAGE, "the network has more than %d operations", LS_MAX_OPS);
    if (graph->mode == LS_RECORD && like->class->unbatched)
        ls_graph_fail(graph, LS_USAGE,
                      "%s: a tensor without samples, on a graph recorded for a plan; expected an "
                      "eager one",
                      like->class->name);
    if (graph->status == LS_OK) graph->status = make_room(graph);
    if (graph->status == LS_OK) graph->status = ls_calloc(&op, 1, sizeof *op, like->class->name);
    if (graph->status != LS_OK) {
        free(like->state);
        return NULL;
    }
    *op = *like;
    op->graph = graph;
    op->index = graph->op_count;
    graph->ops[graph->op_count++] = op;
    graph->status = ls_calloc(&op->out, 1, sizeof *op->out, "a tensor");
    if (graph->status != LS_OK) return NULL;
    *op->out = (ls_tensor){
        .graph = graph, .batched = !like->class->unbatched, .dims = dims, .producer = op, .parameter = -1};
    if (dims > 0) memcpy(op->out->shape, shape, (size_t)dims * sizeof *shape);
    for (int i = 0; i < LS_MAX_INPUTS && op->in[i]; i++) {
        counted(graph, op->in[i])->consumers++;
        if (op->in[i]->requires_grad) op->out->requires_grad = true;
        if (graph->status == LS_OK && op->in[i]->parameter >= 0 && graph->purpose == LS_TRAINING)
            graph->status = ls_shared_parameter_read(op, i);
    }
    if (graph->status == LS_OK) graph->status = check_kernels(op);
    if (graph->status != LS_OK) return NULL;
    op->fusion.source = op->in[0];
    if (graph->purpose != LS_TRAINING) op->grad_sum_length = 0;
    allocate_sums(op);
    if (graph->mode == LS_EAGER && graph->status == LS_OK) graph->status = run_forward(op);
    return graph->status == LS_OK ? op->out : NULL;
}

#include "dist/gradient.h"

#include <limits.h>
#include <stdlib.h>

struct ls_gradient {
    ls_comm *comm;
    ls_parameters *parameters;
    const ls_backend *backend;
    ls_gradient_options options;
    ls_window *window; /* NULL: the ranks send messages */
    ls_sharing sharing;
    ls_tree_sum_sizes sizes;
    ls_tree_sum *sum;
    ls_plan *plan;
    ls_team *team;
};

static size_t sharing_bytes(const ls_gradient *g) {
    return ls_sharing_bytes(g->parameters, g->sizes.dtype, g->options.batch, g->options.shards,
                            g->comm->ranks_on_host);
}

static size_t host_nodes_bytes(const ls_gradient *g) {
    return ls_tree_sum_host_nodes(g->comm, g->options.shards, &g->sizes);
}

/* Unless they lie in the memory of a device, all arenas lie in memory that the ranks of a host share: in each
 * rank's segment its gradients; in the common region values, the sum of the gradients and moments, behind them
 * what the host's ranks have added together, where there are other hosts, and what weight gradients over all
 * shards are made of. */
static ls_status create_window(ls_gradient *g) {
    const size_t arenas = (size_t)(2 + g->options.moments) * ls_tree_sum_arena(&g->sizes);
    const ls_window_sizes sizes = {.message = LS_TREE_SUM_MESSAGE,
                                   .segment =
                                       ls_tree_sum_segment(g->options.shards, g->comm->size, &g->sizes),
                                   .common = arenas + host_nodes_bytes(g) + sharing_bytes(g)};
    const bool shares = g->options.window && g->backend->host_memory;
    return shares ? ls_window_create(g->comm, &sizes, &g->window) : LS_OK;
}

static ls_status allocate(ls_gradient *g) {
    const int moments = g->options.moments;
    const ls_comm *comm = g->comm;
    ls_shards shards, joint; /* of this rank and of its host */
    LS_TRY(ls_shards_create(&shards, g->options.shards, comm->rank, comm->size, g->options.batch));
    LS_TRY(ls_shards_create_joint(&joint, g->options.shards, comm->host_first[comm->host],
                                  comm->host_first[comm->host + 1], comm->size, g->options.batch));
    if (!g->window) return ls_parameters_allocate(g->parameters, g->backend, moments, shards.node_count);
    const size_t arena = ls_tree_sum_arena(&g->sizes);
    char *common = ls_window_common(g->window);
    const ls_lent_arenas lent = {.gradient = ls_window_segment(g->window, comm->rank),
                                 .value = common,
                                 .reduced = common + arena,
                                 .moment1 = moments > 0 ? common + 2 * arena : NULL,
                                 .moment2 = moments > 1 ? common + 3 * arena : NULL,
                                 .keep = comm->host_rank != 0};
    char *behind = common + (size_t)(2 + moments) * arena;
    g->sizes.host_nodes = comm->hosts > 1 ? behind : NULL;
    g->sharing = (ls_sharing){.memory = behind + host_nodes_bytes(g),
                              .bytes = sharing_bytes(g),
                              .rank = comm->host_rank,
                              .ranks = comm->ranks_on_host,
                              .row = shards.offset - joint.offset,
                              .nodes = g->sizes.host_nodes};
    return ls_parameters_borrow(g->parameters, g->backend, &lent, shards.node_count);
}

ls_status ls_gradient_create(ls_comm *comm, ls_parameters *parameters, const ls_backend *backend,
                             const ls_gradient_options *options, ls_gradient **out) {
    ls_gradient *g;
    *out = NULL;
    LS_TRY(ls_comm_agree(comm, ls_calloc(&g, 1, sizeof *g, "the sum of the gradients")));
    ls_parameters_lay_out(parameters);
    *g = (ls_gradient){.comm = comm,
                       .parameters = parameters,
                       .backend = backend,
                       .options = *options,
                       .sizes = {.summed = parameters->summed,
                                 .total = parameters->total,
                                 .dtype = backend->dtype,
                                 .instruction_set = backend->instruction_set,
                                 .backend = backend}};
    ls_status status = create_window(g);
    if (status == LS_OK) status = ls_comm_agree(comm, allocate(g));
    *out = g; /* also after a failure: parameters may lie in its window */
    return status;
}

void ls_gradient_destroy(ls_gradient **gradient) {
    ls_gradient *g = *gradient;
    if (!g) return;
    ls_tree_sum_destroy(&g->sum);
    ls_window_destroy(&g->window);
    free(g);
    *gradient = NULL;
}

void ls_gradient_join(const ls_gradient *g, ls_graph *training) {
    ls_graph_share(training, &g->sharing);
}

static bool is_ready(void *self, int stage) {
    return ls_tree_sum_is_ready(((const ls_gradient *)self)->sum, stage);
}

static ls_status passed(void *self, int stage) {
    return ls_tree_sum_passed(((ls_gradient *)self)->sum, stage);
}

/* The buckets in which gradients set out to other hosts: neighbours, the first of them a weight, of 64 KiB
 * and more, which is long for a message but short for a network. In the order of the backward pass; dense
 * layers come last, since ranks that share memory make their gradients after all others. `buckets` has room for
 * one a parameter. Returns how many there are. */
static int find_buckets(const ls_gradient *g, const ls_plan *plan, ls_bucket *buckets) {
    enum { LEAST = 1 << 14 }; /* elements */
    const ls_parameters *p = g->parameters;
    int64_t end = g->sizes.summed;
    int count = 0, stage = 0;
    bool dense = false, dense_of[2] = {false, true};
    for (int pass = 0; pass < 2; pass++, end = g->sizes.summed)
        for (int i = p->count - 1; i >= 0; i--) {
            const ls_parameter *q = &p->list[i];
            if (!q->summed) continue;
            const int written = q->all_shards || q->host_shards ? INT_MAX : ls_plan_stage_of(plan, i);
            if (written > stage) stage = written;
            dense = dense || q->layout == LS_LAYOUT_DENSE;
            const bool ends = q->offset == 0 || q->layout == LS_LAYOUT_DENSE ||
                              (q->layout != LS_LAYOUT_VECTOR && end - q->offset >= LEAST);
            if (!ends) continue;
            if (dense == dense_of[pass]) buckets[count++] = (ls_bucket){{q->offset, end}, stage};
            end = q->offset;
            stage = 0;
            dense = false;
        }
    return count;
}

/* Where the plan computes gradients over all shards, there is nothing to add. */
ls_status ls_gradient_prepare(ls_gradient *g, ls_plan *plan, const ls_shards *shards, ls_team *team,
                              int64_t doubles) {
    const ls_parameters *p = g->parameters;
    ls_tree_sum_sizes sizes = g->sizes;
    ls_slice *complete;
    LS_TRY(ls_calloc(&complete, (size_t)p->count, sizeof *complete, "the sum of the gradients"));
    for (int i = 0; i < p->count; i++)
        if (p->list[i].all_shards || p->list[i].host_shards)
            complete[sizes.complete_count++] =
                (ls_slice){p->list[i].offset, p->list[i].offset + p->list[i].count};
    ls_bucket *buckets = NULL;
    ls_status status = ls_calloc(&buckets, (size_t)p->count, sizeof *buckets, "the sum of the gradients");
    if (status == LS_OK) {
        sizes.buckets = buckets;
        sizes.bucket_count = find_buckets(g, plan, buckets);
    }
    sizes.complete = complete;
    sizes.doubles = doubles;
    g->plan = plan;
    g->team = team;
    if (status == LS_OK) status = ls_tree_sum_create(g->comm, g->window, shards, team, &sizes, &g->sum);
    free(complete);
    free(buckets);
    if (g->comm->hosts > 1 && g->window) ls_plan_listen(plan, (ls_plan_listener){is_ready, passed, g});
    return status;
}

ls_reducer ls_gradient_reducer(ls_gradient *g) {
    return g->sum ? ls_tree_sum_reducer(g->sum) : ls_reducer_local;
}

ls_slice ls_gradient_slice(const ls_gradient *g) {
    return ls_tree_sum_slice(g->sum);
}

ls_status ls_gradient_add_totals(ls_gradient *g, const ls_partial *totals, int count, const ls_lane *lane) {
    return ls_tree_sum_totals(g->sum, totals, count, lane);
}

ls_status ls_gradient_add(ls_gradient *g, const ls_run *run, const ls_observer *observer, bool *finite) {
    ls_observe(observer, 0, LS_WORK_GRADIENT_SUM, NULL, true);
    LS_TRY(ls_tree_sum_passed(g->sum, INT_MAX - 1)); /* all stages are over, and the totals added */
    ls_observe(observer, 0, LS_WORK_GRADIENT_SUM, NULL, false);
    *finite = ls_plan_run_all_shards(g->plan, run, g->team);
    ls_observe(observer, 0, LS_WORK_GRADIENT_SUM, NULL, true);
    LS_TRY(ls_tree_sum_gradient(g->sum, g->parameters->gradient, g->parameters->reduced));
    ls_observe(observer, 0, LS_WORK_GRADIENT_SUM, NULL, false);
    return LS_OK;
}

ls_status ls_gradient_drop(ls_gradient *g) {
    return ls_tree_sum_drop(g->sum);
}

ls_status ls_gradient_agree(ls_gradient *g, bool own, bool *all) {
    int64_t lowest;
    LS_TRY(ls_tree_sum_lowest(g->sum, own, &lowest));
    *all = lowest > 0;
    return LS_OK;
}

ls_status ls_gradient_published(ls_gradient *g) {
    return ls_tree_sum_updated(g->sum);
}

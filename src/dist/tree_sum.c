#include "dist/tree_sum.h"

#include <limits.h>
#include <stdlib.h>
#include <string.h>

#include "core/vector.h"
#include "dist/merge.h"

struct ls_tree_sum {
    ls_comm *comm;
    ls_window *window;     /* NULL: messages */
    ls_crossing *crossing; /* NULL: all ranks are on one host, or send messages */
    const ls_shards *shards;
    ls_team *team;
    ls_tree_sum_sizes sizes;
    ls_node *nodes; /* of all ranks, in the order of shards */
    int node_count;
    ls_merges merges;
    int *nodes_of;                                                  /* [ranks] how many each has */
    int most_own;                                                   /* nodes of the rank that has most */
    int *counts, *displacements, *send_counts, *send_displacements; /* [ranks] bytes, of the call at hand */
    double *send, *received, *result; /* [own nodes][doubles], [all nodes][doubles], [doubles] */
    const void **operands;            /* [all nodes] where they lie */
    char *packed;                     /* [ranks][own nodes][slice], where a rank owns more than one node */
    char *slices;                     /* [all nodes][own slice] */
    void *arena;                      /* where the call at hand puts its sum .. */
    ls_slice own;                     /* .. and which slice of it */
    ls_slice *complete;               /* sizes.complete, owned */
    const ls_backend *backend;        /* NULL: all that is added lies in the host's memory; else */
    double *staged;                   /* [own nodes][doubles], in its memory .. */
    char *gradient, *reduced;         /* .. and [own nodes][summed], [summed] on the host */
};

static void find_nodes(ls_tree_sum *sum) {
    int total = sum->shards->total, size = sum->comm->size;
    for (int r = 0; r < size; r++) {
        int first = (int)((int64_t)r * total / size), last = (int)((int64_t)(r + 1) * total / size);
        ls_node own[LS_MAX_NODES];
        sum->nodes_of[r] = ls_shards_nodes(total, first, last - first, own);
        memcpy(sum->nodes + sum->node_count, own, (size_t)sum->nodes_of[r] * sizeof *own);
        sum->node_count += sum->nodes_of[r];
        if (sum->nodes_of[r] > sum->most_own) sum->most_own = sum->nodes_of[r];
    }
    ls_merges_find(&sum->merges, sum->nodes, sum->node_count);
}

/* Rank r's slice of the gradient, by messages. */
static ls_slice slice_of_rank(const ls_tree_sum *sum, int r) {
    return ls_slice_of(sum->sizes.summed, r, sum->comm->size);
}

/* In a window: what this rank updates, and adds where all ranks are on one host. */
static ls_slice own_slice(const ls_tree_sum *sum) {
    return ls_slice_of(sum->sizes.total, sum->comm->host_rank, sum->comm->ranks_on_host);
}

/* Counts and displacements of messages are int: what any rank packs, receives and gathers must fit. */
static bool fits_messages(const ls_tree_sum *sum) {
    uint64_t element = ls_dtype_size(sum->sizes.dtype), all = (uint64_t)sum->node_count;
    uint64_t slice = (uint64_t)sum->sizes.summed / (uint64_t)sum->comm->size + LS_SLICE_ALIGNMENT;
    if (all * (uint64_t)sum->sizes.doubles * sizeof(double) > INT_MAX) return false;
    return sum->window || ((uint64_t)sum->most_own * (uint64_t)sum->sizes.summed * element <= INT_MAX &&
                           all * slice * element <= INT_MAX);
}

/* Buffers for the messages that the gradient goes by. */
static ls_status allocate_messages(ls_tree_sum *sum) {
    size_t element = ls_dtype_size(sum->sizes.dtype), own = (size_t)sum->nodes_of[sum->comm->rank];
    ls_slice slice = slice_of_rank(sum, sum->comm->rank);
    LS_TRY(ls_aligned_alloc(&sum->slices,
                            (size_t)sum->node_count * (size_t)(slice.last - slice.first) * element,
                            "the sum of gradients"));
    if (own == 1) return LS_OK;
    return ls_aligned_alloc(&sum->packed, own * (size_t)sum->sizes.summed * element, "the sum of gradients");
}

/* What goes between a device and the host. */
static ls_status allocate_staging(ls_tree_sum *sum) {
    const ls_backend *backend = sum->sizes.backend;
    const size_t own = (size_t)sum->nodes_of[sum->comm->rank],
                 gradient = (size_t)sum->sizes.summed * ls_dtype_size(sum->sizes.dtype);
    if (!backend || backend->host_memory) return LS_OK;
    sum->backend = backend;
    LS_TRY(backend->allocate(backend, &sum->staged, own * (size_t)sum->sizes.doubles * sizeof *sum->staged,
                             "the tree sum"));
    if (sum->comm->size == 1) return LS_OK;
    LS_TRY(backend->allocate_host(backend, &sum->gradient, own * gradient, "the sum of gradients"));
    return backend->allocate_host(backend, &sum->reduced, gradient, "the sum of gradients");
}

static ls_status create_crossing(ls_tree_sum *sum) {
    const ls_tree_sum_sizes *sizes = &sum->sizes;
    const bool alone = sum->comm->ranks_on_host == 1;
    const ls_crossing_sizes crossing = {.doubles = sizes->doubles,
                                        .summed = sizes->summed,
                                        .dtype = sizes->dtype,
                                        .instruction_set = sizes->instruction_set,
                                        .added = sizes->complete,
                                        .added_count = sizes->complete_count,
                                        .buckets = sizes->buckets,
                                        .bucket_count = sizes->bucket_count,
                                        .nodes = alone ? ls_window_segment(sum->window, sum->comm->rank)
                                                       : sizes->host_nodes};
    return ls_crossing_create(sum->comm, sum->window, sum->shards->total, sum->team, &crossing,
                              &sum->crossing);
}

static ls_status allocate(ls_tree_sum *sum) {
    size_t ranks = (size_t)sum->comm->size, doubles = (size_t)sum->sizes.doubles * sizeof(double);
    LS_TRY(ls_calloc(&sum->nodes, (size_t)sum->shards->total, sizeof *sum->nodes, "the tree sum"));
    LS_TRY(ls_calloc(&sum->nodes_of, 5 * ranks, sizeof *sum->nodes_of, "the tree sum"));
    sum->counts = sum->nodes_of + ranks;
    sum->displacements = sum->counts + ranks;
    sum->send_counts = sum->displacements + ranks;
    sum->send_displacements = sum->send_counts + ranks;
    find_nodes(sum);
    size_t own = (size_t)sum->nodes_of[sum->comm->rank], all = (size_t)sum->node_count;
    if (!fits_messages(sum))
        return ls_fail(LS_USAGE, "the model is too large for one message: %lld gradients in %d tree nodes",
                       (long long)sum->sizes.summed, sum->node_count);
    LS_TRY(allocate_staging(sum));
    size_t complete = (size_t)sum->sizes.complete_count;
    LS_TRY(ls_calloc(&sum->complete, complete, sizeof *sum->complete, "the tree sum"));
    if (complete > 0) memcpy(sum->complete, sum->sizes.complete, complete * sizeof *sum->complete);
    sum->sizes.complete = sum->complete;
    LS_TRY(ls_calloc(&sum->operands, all, sizeof *sum->operands, "the tree sum"));
    LS_TRY(ls_aligned_alloc(&sum->result, doubles, "the tree sum"));
    LS_TRY(ls_aligned_alloc(&sum->send, own * doubles, "the tree sum"));
    LS_TRY(ls_aligned_alloc(&sum->received, all * doubles, "the tree sum"));
    if (!sum->window) return ranks == 1 ? LS_OK : allocate_messages(sum);
    return sum->comm->hosts > 1 ? create_crossing(sum) : LS_OK;
}

ls_status ls_tree_sum_create(ls_comm *comm, ls_window *window, const ls_shards *shards, ls_team *team,
                             const ls_tree_sum_sizes *sizes, ls_tree_sum **out) {
    ls_tree_sum *sum;
    *out = NULL;
    LS_TRY(ls_calloc(&sum, 1, sizeof *sum, "the tree sum"));
    *sum = (ls_tree_sum){.comm = comm, .window = window, .shards = shards, .team = team, .sizes = *sizes};
    ls_status status = allocate(sum);
    if (status != LS_OK)
        ls_tree_sum_destroy(&sum);
    else
        *out = sum;
    return status;
}

void ls_tree_sum_destroy(ls_tree_sum **out) {
    ls_tree_sum *sum = *out;
    if (!sum) return;
    ls_crossing_destroy(&sum->crossing);
    free(sum->nodes);
    free(sum->nodes_of);
    free(sum->operands);
    free(sum->result);
    free(sum->send);
    free(sum->received);
    free(sum->packed);
    free(sum->slices);
    free(sum->complete);
    if (sum->backend) {
        sum->backend->release(sum->backend, sum->staged);
        sum->backend->release_host(sum->backend, sum->gradient);
        sum->backend->release_host(sum->backend, sum->reduced);
    }
    free(sum);
    *out = NULL;
}

size_t ls_tree_sum_segment(int shards, int ranks, const ls_tree_sum_sizes *sizes) {
    int64_t most = 0;
    for (int64_t r = 0; r < ranks; r++) {
        int64_t first = r * shards / ranks, last = (r + 1) * shards / ranks;
        ls_node own[LS_MAX_NODES];
        int nodes = ls_shards_nodes(shards, (int)first, (int)(last - first), own);
        if (nodes > most) most = nodes;
    }
    return (size_t)(most * sizes->summed + sizes->total - sizes->summed) * ls_dtype_size(sizes->dtype);
}

size_t ls_tree_sum_arena(const ls_tree_sum_sizes *sizes) {
    int64_t lines = (sizes->total + LS_SLICE_ALIGNMENT - 1) / LS_SLICE_ALIGNMENT;
    return (size_t)(lines * LS_SLICE_ALIGNMENT) * ls_dtype_size(sizes->dtype);
}

size_t ls_tree_sum_host_nodes(const ls_comm *comm, int shards, const ls_tree_sum_sizes *sizes) {
    ls_node nodes[LS_MAX_NODES];
    if (comm->hosts == 1) return 0;
    size_t most = 0;
    for (int h = 0; h < comm->hosts; h++) {
        const size_t count = (size_t)ls_crossing_nodes(comm, h, shards, nodes);
        if (count > most) most = count;
    }
    return (most * (size_t)sizes->summed * ls_dtype_size(sizes->dtype) + 63) / 64 * 64;
}

/* --- small vectors of doubles ------------------------------------------------------------------------- */

static bool on_device(const ls_lane *lane) {
    return lane && lane->device;
}

/* The partials' vectors of each own node, one after the other, of `length` in all; `to`: the host's. */
static ls_status join(const ls_tree_sum *sum, const ls_partial *partials, int count, int64_t length,
                      double *to, const ls_lane *lane) {
    const int own = sum->nodes_of[sum->comm->rank];
    double *at = on_device(lane) ? sum->staged : to;
    for (int i = 0; i < count; at += partials[i].length, i++)
        ls_partial_nodes(&partials[i], own, at, length, lane);
    if (!on_device(lane)) return LS_OK;
    return sum->backend->download(sum->backend, to, sum->staged, (size_t)(own * length) * sizeof *to);
}

/* The sum, on the host, to where the partials want it. */
static ls_status spread(const ls_tree_sum *sum, const ls_partial *partials, int count, int64_t length,
                        const ls_lane *lane) {
    const ls_vector_kernels *vectors = ls_vectors_of_doubles(lane);
    const double *result = on_device(lane) ? sum->staged : sum->result;
    if (on_device(lane))
        LS_TRY(sum->backend->upload(sum->backend, sum->staged, sum->result, (size_t)length * sizeof *result));
    for (int i = 0; i < count; result += partials[i].length, i++)
        vectors->copy((size_t)partials[i].length * sizeof *result, result, partials[i].out, lane);
    return LS_OK;
}

/* Finds where the nodes lie, rank by rank, when those of rank r begin at `at`; returns the end of what is
 * filled in. */
static const void **locate(const ls_tree_sum *sum, const void **operand, int r, const void *at,
                           size_t stride) {
    for (int n = 0; n < sum->nodes_of[r]; n++) *operand++ = (const char *)at + (size_t)n * stride;
    return operand;
}

static ls_status exchange_in_window(ls_tree_sum *sum, const ls_partial *partials, int count, int64_t length,
                                    const ls_lane *lane) {
    const void **operand = sum->operands;
    LS_TRY(join(sum, partials, count, length, ls_window_outgoing(sum->window), lane));
    LS_TRY(ls_window_exchange(sum->window));
    for (int r = 0; r < sum->comm->size; r++)
        operand =
            locate(sum, operand, r, ls_window_incoming(sum->window, r), (size_t)length * sizeof(double));
    return LS_OK;
}

/* Over several hosts, whose ranks have windows; the sum comes out at once. */
static ls_status add_over_hosts(ls_tree_sum *sum, const ls_partial *partials, int count, int64_t length,
                                const ls_lane *lane) {
    LS_TRY(join(sum, partials, count, length, ls_window_outgoing(sum->window), lane));
    return ls_crossing_add_vectors(sum->crossing, length, sum->result);
}

static ls_status exchange_messages(ls_tree_sum *sum, const ls_partial *partials, int count, int64_t length,
                                   const ls_lane *lane) {
    const void **operand = sum->operands;
    int at = 0;
    LS_TRY(join(sum, partials, count, length, sum->send, lane));
    for (int r = 0; r < sum->comm->size; r++) {
        sum->counts[r] = sum->nodes_of[r] * (int)length * (int)sizeof(double);
        sum->displacements[r] = at;
        operand = locate(sum, operand, r, (char *)sum->received + at, (size_t)length * sizeof(double));
        at += sum->counts[r];
    }
    return sum->comm->class->allgather(sum->comm, sum->send, sum->received, sum->counts, sum->displacements);
}

/* One rank of a device: nothing leaves it. */
static void add_alone(const ls_partial *partials, int count, const ls_lane *lane) {
    for (int i = 0; i < count; i++) ls_partial_nodes(&partials[i], 1, partials[i].out, 0, lane);
}

static ls_status sum_partials(void *self, const ls_partial *partials, int count, const ls_lane *lane) {
    ls_tree_sum *sum = self;
    if (on_device(lane) && sum->comm->size == 1) {
        add_alone(partials, count, lane);
        return LS_OK;
    }
    int64_t length = 0;
    for (int i = 0; i < count; i++) length += partials[i].length;
    if (length > sum->sizes.doubles)
        return ls_fail(LS_INTERNAL, "a cut of %lld doubles: room for %lld", (long long)length,
                       (long long)sum->sizes.doubles);
    size_t largest = (size_t)(sum->most_own * length) * sizeof(double);
    const bool fits = sum->window && largest <= ls_window_capacity(sum->window);
    if (fits && sum->crossing) {
        LS_TRY(add_over_hosts(sum, partials, count, length, lane));
    } else {
        LS_TRY(fits ? exchange_in_window(sum, partials, count, length, lane)
                    : exchange_messages(sum, partials, count, length, lane));
        ls_merges_add(&sum->merges, LS_FP64, LS_PORTABLE, sum->operands, length, sum->result);
    }
    return spread(sum, partials, count, length, lane);
}

ls_reducer ls_tree_sum_reducer(ls_tree_sum *sum) {
    return (ls_reducer){sum_partials, sum};
}

/* --- the gradient ------------------------------------------------------------------------------------- */

static void *element_of(const ls_tree_sum *sum, const void *arena, int64_t i) {
    return (char *)(uintptr_t)arena + (size_t)i * ls_dtype_size(sum->sizes.dtype);
}

/* One thread's share of adding the own slice of all nodes: nodes and sum->arena begin at the slice by
 * messages, and at element 0 in a window. */
static void add_own(void *argument, int member) {
    const ls_tree_sum *sum = argument;
    const void *operands[LS_MAX_SHARDS];
    const int64_t at = sum->window ? sum->own.first : 0;
    int64_t first, last;
    ls_team_split(sum->own.last - sum->own.first, member, ls_team_size(sum->team), &first, &last);
    for (int n = 0; n < sum->node_count; n++) operands[n] = element_of(sum, sum->operands[n], at + first);
    ls_merges_add(&sum->merges, sum->sizes.dtype, sum->sizes.instruction_set, operands, last - first,
                  element_of(sum, sum->arena, at + first));
}

/* By messages: copies each destination's slice of all own nodes together; one node needs no copy. */
static const void *pack(ls_tree_sum *sum, const char *gradient) {
    size_t element = ls_dtype_size(sum->sizes.dtype);
    int64_t own = sum->nodes_of[sum->comm->rank];
    int at = 0;
    for (int r = 0; r < sum->comm->size; r++) {
        ls_slice slice = slice_of_rank(sum, r);
        size_t bytes = (size_t)(slice.last - slice.first) * element;
        sum->send_displacements[r] = own == 1 ? (int)((size_t)slice.first * element) : at;
        sum->send_counts[r] = (int)((size_t)own * bytes);
        for (int64_t n = 0; own > 1 && n < own; n++, at += (int)bytes)
            memcpy(sum->packed + at, gradient + (size_t)(n * sum->sizes.summed + slice.first) * element,
                   bytes);
    }
    return own == 1 ? (const void *)gradient : sum->packed;
}

static ls_status exchange_slices(ls_tree_sum *sum, const char *gradient) {
    const void **operand = sum->operands;
    size_t bytes = (size_t)(sum->own.last - sum->own.first) * ls_dtype_size(sum->sizes.dtype);
    int at = 0;
    for (int r = 0; r < sum->comm->size; r++) {
        sum->counts[r] = sum->nodes_of[r] * (int)bytes;
        sum->displacements[r] = at;
        operand = locate(sum, operand, r, sum->slices + at, bytes);
        at += sum->counts[r];
    }
    const void *send = pack(sum, gradient);
    return sum->comm->class->alltoall(sum->comm, send, sum->send_counts, sum->send_displacements, sum->slices,
                                      sum->counts, sum->displacements);
}

static ls_status gather_slices(ls_tree_sum *sum, char *reduced) {
    size_t element = ls_dtype_size(sum->sizes.dtype);
    for (int r = 0; r < sum->comm->size; r++) {
        ls_slice slice = slice_of_rank(sum, r);
        sum->counts[r] = (int)((size_t)(slice.last - slice.first) * element);
        sum->displacements[r] = (int)((size_t)slice.first * element);
    }
    return sum->comm->class->allgather(sum->comm, sum->slices, reduced, sum->counts, sum->displacements);
}

/* What is not summed over nodes lies behind them all. */
static void copy_rest(const ls_tree_sum *sum, const void *gradient, void *reduced, ls_slice slice) {
    const int64_t summed = sum->sizes.summed, first = slice.first > summed ? slice.first : summed;
    const int64_t shift = (sum->nodes_of[sum->comm->rank] - 1) * summed;
    if (first < slice.last && reduced != gradient)
        memcpy(element_of(sum, reduced, first), element_of(sum, gradient, first + shift),
               (size_t)(slice.last - first) * ls_dtype_size(sum->sizes.dtype));
}

static ls_status add_by_messages(ls_tree_sum *sum, const void *gradient, void *reduced) {
    sum->own = slice_of_rank(sum, sum->comm->rank);
    LS_TRY(exchange_slices(sum, gradient));
    sum->arena = sum->slices;
    ls_team_run(sum->team, add_own, sum);
    return gather_slices(sum, reduced);
}

/* The gradients of all ranks have been there since the exchange of the totals. */
static ls_status add_in_window(ls_tree_sum *sum, const void *gradient, void *reduced) {
    const void **operand = sum->operands;
    const size_t node = (size_t)sum->sizes.summed * ls_dtype_size(sum->sizes.dtype);
    if (gradient != ls_window_segment(sum->window, sum->comm->rank))
        return ls_fail(LS_INTERNAL, "the gradient does not lie in the window");
    for (int r = 0; r < sum->comm->size; r++)
        operand = locate(sum, operand, r, ls_window_segment(sum->window, r), node);
    sum->arena = reduced;
    for (int i = 0; i <= sum->sizes.complete_count; i++) { /* what lies between those that are complete */
        sum->own = own_slice(sum);
        const int64_t first = i > 0 ? sum->complete[i - 1].last : 0;
        const int64_t last = i < sum->sizes.complete_count ? sum->complete[i].first : sum->sizes.summed;
        if (sum->own.first < first) sum->own.first = first;
        if (sum->own.last > last) sum->own.last = last;
        if (sum->own.first < sum->own.last) ls_team_run(sum->team, add_own, sum);
    }
    return LS_OK;
}

ls_status ls_tree_sum_totals(ls_tree_sum *sum, const ls_partial *totals, int count, const ls_lane *lane) {
    return sum_partials(sum, totals, count, lane);
}

ls_slice ls_tree_sum_slice(const ls_tree_sum *sum) {
    return sum->window ? own_slice(sum) : (ls_slice){0, sum->sizes.total};
}

bool ls_tree_sum_is_ready(const ls_tree_sum *sum, int stage) {
    return sum->crossing && ls_crossing_is_ready(sum->crossing, stage);
}

ls_status ls_tree_sum_passed(ls_tree_sum *sum, int stage) {
    return sum->crossing ? ls_crossing_passed(sum->crossing, stage) : LS_OK;
}

ls_status ls_tree_sum_drop(ls_tree_sum *sum) {
    return sum->crossing ? ls_crossing_drop(sum->crossing) : LS_OK;
}

/* The device's, which are added on the host as those of its own. */
static ls_status add_staged(ls_tree_sum *sum, const void *gradient, void *reduced) {
    const ls_backend *backend = sum->backend;
    const size_t own = (size_t)sum->nodes_of[sum->comm->rank], element = ls_dtype_size(sum->sizes.dtype),
                 summed = (size_t)sum->sizes.summed * element,
                 rest = (size_t)(sum->sizes.total - sum->sizes.summed) * element;
    const ls_lane lane = {.device = backend->device};
    if (sum->comm->size == 1) return LS_OK; /* one node, whose gradient is the sum */
    LS_TRY(backend->download(backend, sum->gradient, gradient, own * summed));
    LS_TRY(add_by_messages(sum, sum->gradient, sum->reduced));
    LS_TRY(backend->upload(backend, reduced, sum->reduced, summed));
    if (reduced != gradient)
        ls_vectors_of_doubles(&lane)->copy(rest, (const char *)gradient + own * summed,
                                           (char *)reduced + summed, &lane);
    return LS_OK;
}

ls_status ls_tree_sum_gradient(ls_tree_sum *sum, void *gradient, void *reduced) {
    if (sum->backend) return add_staged(sum, gradient, reduced);
    copy_rest(sum, gradient, reduced, ls_tree_sum_slice(sum));
    if (sum->comm->size == 1) return LS_OK;
    if (sum->crossing) return ls_crossing_add_gradient(sum->crossing, reduced);
    return sum->window ? add_in_window(sum, gradient, reduced) : add_by_messages(sum, gradient, reduced);
}

/* --- what follows in the window ----------------------------------------------------------------------- */

ls_status ls_tree_sum_lowest(ls_tree_sum *sum, int64_t own, int64_t *lowest) {
    *lowest = own;
    if (!sum->window) return LS_OK;
    memcpy(ls_window_outgoing(sum->window), &own, sizeof own);
    LS_TRY(ls_window_exchange(sum->window));
    const int first = sum->comm->host_first[sum->comm->host];
    for (int r = first; r < first + sum->comm->ranks_on_host; r++) {
        int64_t theirs;
        memcpy(&theirs, ls_window_incoming(sum->window, r), sizeof theirs);
        if (theirs < *lowest) *lowest = theirs;
    }
    return LS_OK;
}

ls_status ls_tree_sum_updated(ls_tree_sum *sum) {
    return sum->window ? ls_window_exchange(sum->window) : LS_OK;
}

#include "dist/tree_sum.h"

#include <limits.h>
#include <stdlib.h>
#include <string.h>

/* Slices of the gradient begin on cache lines in both precisions. */
enum { SLICE_ALIGNMENT = 16 };

struct ls_tree_sum {
    ls_comm *comm;
    const ls_shards *shards;
    ls_team *team;
    ls_node *nodes;   /* of all ranks, in the order of shards */
    int node_count;
    int *nodes_of;    /* [ranks] how many each has */
    int *counts, *displacements, *send_counts, *send_displacements; /* [ranks] bytes, of the call at hand */
    double *send, *received; /* [own nodes][doubles], [all nodes][doubles] */
    int64_t doubles;
    ls_dtype dtype;
    int64_t elements;
    char *packed;     /* [ranks][own nodes][slice], where a rank owns more than one node */
    char *slices;     /* [all nodes][own slice] */
};

/* The order in which a list of nodes that covers all shards is added: merge(a, b) says `a += b` for entries a and b. */
typedef struct ls_merge {
    int into, from;
} ls_merge;

/* Fills merges (at most count - 1) for these nodes; the root ends in entry 0. Two neighbours are merged when they are the
 * halves of one subtree, as soon as both are there. */
static int merge_order(const ls_node *nodes, int count, ls_merge *merges) {
    ls_node pending[LS_MAX_SHARDS];
    int entry[LS_MAX_SHARDS], depth = 0, n = 0;
    for (int i = 0; i < count; i++) {
        ls_node node = nodes[i];
        int at = i;
        while (depth > 0 && pending[depth - 1].count == node.count &&
               pending[depth - 1].first % (2 * node.count) == 0) {
            depth--;
            merges[n++] = (ls_merge){entry[depth], at};
            node = (ls_node){pending[depth].first, 2 * node.count};
            at = entry[depth];
        }
        pending[depth] = node;
        entry[depth++] = at;
    }
    return n;
}

static void find_nodes(ls_tree_sum *sum) {
    int total = sum->shards->total, size = sum->comm->size;
    for (int r = 0; r < size; r++) {
        int first = (int)((int64_t)r * total / size), last = (int)((int64_t)(r + 1) * total / size);
        ls_node own[LS_MAX_NODES];
        sum->nodes_of[r] = ls_shards_nodes(total, first, last - first, own);
        memcpy(sum->nodes + sum->node_count, own, (size_t)sum->nodes_of[r] * sizeof *own);
        sum->node_count += sum->nodes_of[r];
    }
}

/* Rank r's slice of the gradient: [*first, *last). */
static void slice_of(const ls_tree_sum *sum, int r, int64_t *first, int64_t *last) {
    int64_t lines = (sum->elements + SLICE_ALIGNMENT - 1) / SLICE_ALIGNMENT;
    ls_team_split(lines, r, sum->comm->size, first, last);
    *first *= SLICE_ALIGNMENT;
    *last = *last * SLICE_ALIGNMENT < sum->elements ? *last * SLICE_ALIGNMENT : sum->elements;
}

/* Counts and displacements of messages are int: what any rank packs, receives and gathers must fit. */
static bool fits_messages(const ls_tree_sum *sum) {
    uint64_t element = ls_dtype_size(sum->dtype), all = (uint64_t)sum->node_count, most_own = 0;
    uint64_t slice = (uint64_t)sum->elements / (uint64_t)sum->comm->size + SLICE_ALIGNMENT;
    for (int r = 0; r < sum->comm->size; r++)
        if ((uint64_t)sum->nodes_of[r] > most_own) most_own = (uint64_t)sum->nodes_of[r];
    return all * (uint64_t)sum->doubles * sizeof(double) <= INT_MAX &&
           most_own * (uint64_t)sum->elements * element <= INT_MAX && all * slice * element <= INT_MAX;
}

static ls_status allocate(ls_tree_sum *sum) {
    size_t ranks = (size_t)sum->comm->size, element = ls_dtype_size(sum->dtype);
    int64_t first, last;
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
                       (long long)sum->elements, sum->node_count);
    LS_TRY(ls_aligned_alloc(&sum->send, own * (size_t)sum->doubles * sizeof(double), "the tree sum"));
    LS_TRY(ls_aligned_alloc(&sum->received, all * (size_t)sum->doubles * sizeof(double), "the tree sum"));
    if (ranks == 1) return LS_OK;
    slice_of(sum, sum->comm->rank, &first, &last);
    LS_TRY(ls_aligned_alloc(&sum->slices, all * (size_t)(last - first) * element, "the sum of gradients"));
    if (own == 1) return LS_OK;
    return ls_aligned_alloc(&sum->packed, own * (size_t)sum->elements * element, "the sum of gradients");
}

ls_status ls_tree_sum_create(ls_comm *comm, const ls_shards *shards, ls_team *team, int64_t doubles, int64_t elements,
                             ls_dtype dtype, ls_tree_sum **out) {
    ls_tree_sum *sum;
    *out = NULL;
    LS_TRY(ls_calloc(&sum, 1, sizeof *sum, "the tree sum"));
    *sum = (ls_tree_sum){.comm = comm, .shards = shards, .team = team, .doubles = doubles, .elements = elements,
                         .dtype = dtype};
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
    free(sum->nodes);
    free(sum->nodes_of);
    free(sum->send);
    free(sum->received);
    free(sum->packed);
    free(sum->slices);
    free(sum);
    *out = NULL;
}

/* --- small vectors of doubles --------------------------------------------------------------------------------------- */

static ls_status exchange_doubles(ls_tree_sum *sum, int64_t length) {
    int at = 0;
    for (int r = 0; r < sum->comm->size; r++) {
        sum->counts[r] = sum->nodes_of[r] * (int)length * (int)sizeof(double);
        sum->displacements[r] = at;
        at += sum->counts[r];
    }
    return sum->comm->class->allgather(sum->comm, sum->send, sum->received, sum->counts, sum->displacements);
}

static ls_status sum_partials(void *self, const ls_partial *partials, int count) {
    ls_tree_sum *sum = self;
    ls_merge merges[LS_MAX_SHARDS];
    int64_t length = 0, own = sum->nodes_of[sum->comm->rank];
    for (int i = 0; i < count; i++) length += partials[i].length;
    if (length > sum->doubles)
        return ls_fail(LS_INTERNAL, "a cut of %lld doubles: room for %lld", (long long)length, (long long)sum->doubles);
    double *to = sum->send;
    for (int64_t n = 0; n < own; n++)
        for (int i = 0; i < count; to += partials[i].length, i++)
            memcpy(to, partials[i].nodes + n * partials[i].length, (size_t)partials[i].length * sizeof *to);
    LS_TRY(exchange_doubles(sum, length));
    int merge_count = merge_order(sum->nodes, sum->node_count, merges);
    for (int m = 0; m < merge_count; m++) {
        double *into = sum->received + merges[m].into * length;
        const double *from = sum->received + merges[m].from * length;
        for (int64_t j = 0; j < length; j++) into[j] += from[j];
    }
    const double *result = sum->received;
    for (int i = 0; i < count; result += partials[i].length, i++)
        memcpy(partials[i].out, result, (size_t)partials[i].length * sizeof *result);
    return LS_OK;
}

ls_reducer ls_tree_sum_reducer(ls_tree_sum *sum) { return (ls_reducer){sum_partials, sum}; }

/* --- the gradient --------------------------------------------------------------------------------------------------- */

/* Copies each destination's slice of all own nodes together; one node needs no copy. */
static const void *pack(ls_tree_sum *sum, const char *gradient) {
    size_t element = ls_dtype_size(sum->dtype);
    int64_t own = sum->nodes_of[sum->comm->rank];
    int at = 0;
    for (int r = 0; r < sum->comm->size; r++) {
        int64_t first, last;
        slice_of(sum, r, &first, &last);
        size_t bytes = (size_t)(last - first) * element;
        sum->send_displacements[r] = own == 1 ? (int)((size_t)first * element) : at;
        sum->send_counts[r] = (int)((size_t)own * bytes);
        for (int64_t n = 0; own > 1 && n < own; n++, at += (int)bytes)
            memcpy(sum->packed + at, gradient + (size_t)(n * sum->elements + first) * element, bytes);
    }
    return own == 1 ? (const void *)gradient : sum->packed;
}

static ls_status exchange_slices(ls_tree_sum *sum, const char *gradient) {
    size_t element = ls_dtype_size(sum->dtype);
    int64_t first, last;
    int at = 0;
    slice_of(sum, sum->comm->rank, &first, &last);
    for (int r = 0; r < sum->comm->size; r++) {
        sum->counts[r] = sum->nodes_of[r] * (int)((size_t)(last - first) * element);
        sum->displacements[r] = at;
        at += sum->counts[r];
    }
    const void *send = pack(sum, gradient);
    return sum->comm->class->alltoall(sum->comm, send, sum->send_counts, sum->send_displacements, sum->slices,
                                      sum->counts, sum->displacements);
}

static ls_status gather_slices(ls_tree_sum *sum, char *gradient) {
    size_t element = ls_dtype_size(sum->dtype);
    for (int r = 0; r < sum->comm->size; r++) {
        int64_t first, last;
        slice_of(sum, r, &first, &last);
        sum->counts[r] = (int)((size_t)(last - first) * element);
        sum->displacements[r] = (int)((size_t)first * element);
    }
    return sum->comm->class->allgather(sum->comm, sum->slices, gradient, sum->counts, sum->displacements);
}

static void add_f32(float *into, const float *from, int64_t count) {
    for (int64_t i = 0; i < count; i++) into[i] += from[i];
}

static void add_f64(double *into, const double *from, int64_t count) {
    for (int64_t i = 0; i < count; i++) into[i] += from[i];
}

/* One thread's share of the own slice: a block at a time through all merges, so that it stays in the first-level cache. */
static void add_slices(void *argument, int member) {
    enum { BLOCK = 1024 };
    ls_tree_sum *sum = argument;
    ls_merge merges[LS_MAX_SHARDS];
    int merge_count = merge_order(sum->nodes, sum->node_count, merges);
    int64_t first, last, begin, end;
    slice_of(sum, sum->comm->rank, &first, &last);
    int64_t length = last - first;
    ls_team_split(length, member, ls_team_size(sum->team), &begin, &end);
    for (int64_t at = begin; at < end; at += BLOCK) {
        int64_t count = end - at < BLOCK ? end - at : BLOCK;
        for (int m = 0; m < merge_count; m++) {
            int64_t into = merges[m].into * length + at, from = merges[m].from * length + at;
            if (sum->dtype == LS_FP64)
                add_f64((double *)(void *)sum->slices + into, (double *)(void *)sum->slices + from, count);
            else
                add_f32((float *)(void *)sum->slices + into, (float *)(void *)sum->slices + from, count);
        }
    }
}

ls_status ls_tree_sum_gradient(ls_tree_sum *sum, void *gradient, const ls_partial *tail) {
    LS_TRY(sum_partials(sum, tail, 1));
    if (sum->comm->size == 1) return LS_OK;
    LS_TRY(exchange_slices(sum, gradient));
    ls_team_run(sum->team, add_slices, sum);
    return gather_slices(sum, gradient);
}

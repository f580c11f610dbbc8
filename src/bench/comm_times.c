#include "bench/comm_times.h"

#include <stdlib.h>

#include "core/clock.h"
#include "dist/allreduce.h"
#include "dist/tree_sum.h"
#include "train/trainer.h"

/* What is summed: on each rank a vector for each of its nodes; and a plain vector for MPI, the rank's sum of
 * those. */
typedef struct sums {
    ls_comm *comm;
    ls_shards shards;
    bool with_window;
    ls_window *window; /* NULL: messages */
    ls_tree_sum *tree;
    ls_dtype dtype; /* of the gradient; at a cut doubles */
    ls_instruction_set instruction_set;
    bool cut;
    int64_t length;
    void *nodes; /* [nodes][length]; a gradient lies in the window */
    void *sum;   /* [length] of a gradient; in the window's common region */
    void *plain; /* [length]; at a cut also where the sum comes out */
    double totals[LS_MAX_NODES * LS_STEP_TOTALS];
    double *tree_seconds, *allreduce_seconds; /* [repeats] */
} sums;

static void put(void *at, ls_dtype dtype, int64_t i, double value) {
    if (dtype == LS_FP64)
        ((double *)at)[i] = value;
    else
        ((float *)at)[i] = (float)value;
}

static double get(const void *at, ls_dtype dtype, int64_t i) {
    return dtype == LS_FP64 ? ((const double *)at)[i] : (double)((const float *)at)[i];
}

/* Of element i in repetition n, for each shard; over all shards the sum stays far below 2^24. */
static double part(int64_t i, int64_t n) {
    return (double)((i + n) % 31);
}

/* Writes anew what the call at hand sums, and nothing else: whichever of the two had been written last would
 * lie nearer to the core. */
static void write_nodes(sums *s, int64_t n) {
    for (int node = 0; node < s->shards.node_count; node++)
        for (int64_t i = 0; i < s->length; i++)
            put(s->nodes, s->dtype, node * s->length + i, s->shards.node[node].count * part(i, n));
}

static void write_plain(sums *s, int64_t n) {
    for (int64_t i = 0; i < s->length; i++) put(s->plain, s->dtype, i, s->shards.count * part(i, n));
}

static ls_status check(const sums *s, const void *sum, int64_t n, const char *what) {
    for (int64_t i = 0; i < s->length; i++)
        if (get(sum, s->dtype, i) != s->shards.total * part(i, n))
            return ls_fail(LS_INTERNAL, "%s: element %lld is %g; expected %g", what, (long long)i,
                           get(sum, s->dtype, i), s->shards.total * part(i, n));
    return LS_OK;
}

static ls_status run_tree(sums *s) {
    double out[LS_STEP_TOTALS];
    const ls_reducer reducer = ls_tree_sum_reducer(s->tree);
    if (!s->cut) {
        LS_TRY(
            ls_tree_sum_totals(s->tree, &(ls_partial){s->totals, out, LS_STEP_TOTALS, NULL, NULL}, 1, NULL));
        LS_TRY(ls_tree_sum_gradient(s->tree, s->nodes, s->sum));
        return ls_tree_sum_updated(s->tree); /* from here on all ranks see all of it */
    }
    return reducer.sum(reducer.self, &(ls_partial){s->nodes, s->plain, s->length, NULL, NULL}, 1, NULL);
}

/* One of the two, from where all ranks are there. */
static ls_status time_one(sums *s, bool tree, int64_t n, double *seconds) {
    double all[LS_MAX_SHARDS]; /* of ranks there are no more than shards */
    if (tree)
        write_nodes(s, n);
    else
        write_plain(s, n);
    LS_TRY(ls_comm_agree(s->comm, LS_OK));
    const double begin = ls_clock();
    LS_TRY(tree ? run_tree(s) : ls_allreduce(s->comm, s->plain, s->length, s->dtype));
    const double own = ls_clock() - begin;
    const void *sum = tree && !s->cut ? s->sum : s->plain;
    LS_TRY(ls_comm_agree(s->comm, check(s, sum, n, tree ? "the sum over nodes" : "MPI_Allreduce")));
    LS_TRY(ls_comm_allgather_equal(s->comm, &own, sizeof own, all));
    *seconds = ls_spread_of(all, s->comm->size).max;
    return LS_OK;
}

/* A call of each before the first that counts: MPI sets up what it needs then. */
static ls_status time_both(sums *s, int64_t repeats, ls_comm_times *times) {
    double first;
    s->comm->phase = "timing sums";
    LS_TRY(time_one(s, true, repeats, &first));
    LS_TRY(time_one(s, false, repeats, &first));
    for (int64_t n = 0; n < repeats; n++) {
        LS_TRY(time_one(s, true, n, &s->tree_seconds[n]));
        LS_TRY(time_one(s, false, n, &s->allreduce_seconds[n]));
    }
    times->bytes = s->length * (int64_t)ls_dtype_size(s->dtype);
    times->tree = ls_spread_of(s->tree_seconds, repeats);
    times->allreduce = ls_spread_of(s->allreduce_seconds, repeats);
    return LS_OK;
}

static ls_tree_sum_sizes sizes_of(const sums *s) {
    const int64_t elements = s->cut ? 0 : s->length;
    return (ls_tree_sum_sizes){.doubles = s->cut ? s->length : LS_STEP_TOTALS,
                               .summed = elements,
                               .total = elements,
                               .dtype = s->dtype,
                               .instruction_set = s->instruction_set};
}

/* As in training. Collective. */
static ls_status create_window(sums *s, int shards) {
    const ls_tree_sum_sizes sizes = sizes_of(s);
    const ls_window_sizes bytes = {.message = LS_TREE_SUM_MESSAGE,
                                   .segment = ls_tree_sum_segment(shards, s->comm->size, &sizes),
                                   .common = ls_tree_sum_arena(&sizes) +
                                             ls_tree_sum_host_nodes(s->comm, shards, &sizes)};
    return s->with_window ? ls_window_create(s->comm, &bytes, &s->window) : LS_OK;
}

static ls_status allocate_nodes(sums *s) {
    const size_t bytes = (size_t)s->shards.node_count * (size_t)s->length * ls_dtype_size(s->dtype);
    if (!s->window || s->cut) {
        LS_TRY(ls_aligned_alloc(&s->nodes, bytes, "a vector to sum"));
        s->sum = s->nodes; /* what all shards make in one node is the sum */
        return s->comm->size == 1 ? LS_OK : ls_aligned_alloc(&s->sum, bytes, "a vector to sum");
    }
    s->nodes = ls_window_segment(s->window, s->comm->rank);
    s->sum = ls_window_common(s->window);
    return LS_OK;
}

static ls_status allocate(sums *s, ls_team *team, int shards, int64_t repeats) {
    const size_t element = ls_dtype_size(s->dtype), length = (size_t)s->length;
    ls_tree_sum_sizes sizes = sizes_of(s);
    if (s->window) sizes.host_nodes = (char *)ls_window_common(s->window) + ls_tree_sum_arena(&sizes);
    LS_TRY(ls_shards_create(&s->shards, shards, s->comm->rank, s->comm->size, shards));
    LS_TRY(allocate_nodes(s));
    LS_TRY(ls_aligned_alloc(&s->plain, length * element, "a vector to sum"));
    LS_TRY(ls_calloc(&s->tree_seconds, (size_t)repeats, sizeof(double), "the times"));
    LS_TRY(ls_calloc(&s->allreduce_seconds, (size_t)repeats, sizeof(double), "the times"));
    return ls_tree_sum_create(s->comm, s->window, &s->shards, team, &sizes, &s->tree);
}

static ls_status run(sums *s, ls_team *team, int shards, int64_t repeats, ls_comm_times *times) {
    LS_TRY(create_window(s, shards));
    ls_status status = ls_comm_agree(s->comm, allocate(s, team, shards, repeats));
    if (status == LS_OK) status = time_both(s, repeats, times);
    ls_tree_sum_destroy(&s->tree);
    if (!s->window || s->cut) {
        if (s->sum != s->nodes) free(s->sum);
        free(s->nodes);
    }
    ls_window_destroy(&s->window);
    free(s->plain);
    free(s->tree_seconds);
    free(s->allreduce_seconds);
    return status;
}

ls_status ls_time_gradient_sum(ls_comm *comm, bool window, ls_team *team, int shards, int64_t elements,
                               const ls_backend *backend, int64_t repeats, ls_comm_times *times) {
    sums s = {.comm = comm,
              .with_window = window,
              .dtype = backend->dtype,
              .instruction_set = backend->instruction_set,
              .length = elements};
    return run(&s, team, shards, repeats, times);
}

ls_status ls_time_cut_sum(ls_comm *comm, bool window, ls_team *team, int shards, int64_t length,
                          int64_t repeats, ls_comm_times *times) {
    sums s = {.comm = comm, .with_window = window, .dtype = LS_FP64, .cut = true, .length = length};
    return run(&s, team, shards, repeats, times);
}

ls_comm_fit ls_comm_fit_of(const ls_comm_times *times, int count) {
    double s0 = 0, s1 = 0, s2 = 0, t0 = 0, t1 = 0;
    for (int i = 0; i < count; i++) {
        const double n = (double)times[i].bytes, t = times[i].tree.median, weight = 1 / (t * t);
        s0 += weight;
        s1 += weight * n;
        s2 += weight * n * n;
        t0 += weight * t;
        t1 += weight * n * t;
    }
    const double determinant = s0 * s2 - s1 * s1; /* 0 where all sizes are the same */
    const double latency = determinant > 0 ? (t0 * s2 - t1 * s1) / determinant : 0;
    const double per_byte = determinant > 0 ? (s0 * t1 - s1 * t0) / determinant : 0;
    if (per_byte <= 0) return (ls_comm_fit){t0 / s0, 0};
    return latency > 0 ? (ls_comm_fit){latency, per_byte} : (ls_comm_fit){0, t1 / s2};
}

/* What others do, to be measured against: the real program with every sum over ranks made by MPI_Allreduce,
 * in whatever order MPI likes, put in by the linker (-Wl,--wrap). With one shard a thread (shards = ranks,
 * threads=1) and window=false there is then no tree left; its bits depend on the number of ranks.
 * experiments/bench/bits_cost.py times it. */
#include "dist/allreduce.h"
#include "dist/tree_sum.h"

static ls_comm *comm;
static int64_t summed;
static ls_dtype dtype;

ls_status __real_ls_tree_sum_create(ls_comm *with, ls_window *window, const ls_shards *shards, ls_team *team,
                                    const ls_tree_sum_sizes *sizes, ls_tree_sum **sum);
ls_status __wrap_ls_tree_sum_create(ls_comm *with, ls_window *window, const ls_shards *shards, ls_team *team,
                                    const ls_tree_sum_sizes *sizes, ls_tree_sum **sum);
ls_status __wrap_ls_tree_sum_create(ls_comm *with, ls_window *window, const ls_shards *shards, ls_team *team,
                                    const ls_tree_sum_sizes *sizes, ls_tree_sum **sum) {
    if (window || shards->node_count != 1)
        return ls_fail(LS_USAGE,
                       "with MPI_Allreduce: expected window=false and ranks that own one node each");
    comm = with;
    summed = sizes->summed;
    dtype = sizes->dtype;
    return __real_ls_tree_sum_create(with, window, shards, team, sizes, sum);
}

static ls_status sum_vectors(void *self, const ls_partial *partials, int count, const ls_lane *lane) {
    (void)self;
    for (int i = 0; i < count; i++) {
        ls_partial_nodes(&partials[i], 1, partials[i].out, 0, lane);
        LS_TRY(ls_allreduce(comm, partials[i].out, partials[i].length, LS_FP64));
    }
    return LS_OK;
}

ls_reducer __wrap_ls_tree_sum_reducer(ls_tree_sum *sum);
ls_reducer __wrap_ls_tree_sum_reducer(ls_tree_sum *sum) {
    return (ls_reducer){sum_vectors, sum};
}

ls_status __wrap_ls_tree_sum_totals(ls_tree_sum *sum, const ls_partial *words, int count,
                                    const ls_lane *lane);
ls_status __wrap_ls_tree_sum_totals(ls_tree_sum *sum, const ls_partial *words, int count,
                                    const ls_lane *lane) {
    return sum_vectors(sum, words, count, lane);
}

ls_status __real_ls_tree_sum_gradient(ls_tree_sum *sum, void *gradient, void *reduced);
ls_status __wrap_ls_tree_sum_gradient(ls_tree_sum *sum, void *gradient, void *reduced);
ls_status __wrap_ls_tree_sum_gradient(ls_tree_sum *sum, void *gradient, void *reduced) {
    if (comm->size == 1) return __real_ls_tree_sum_gradient(sum, gradient, reduced);
    if (reduced != gradient) return ls_fail(LS_INTERNAL, "a gradient of several nodes");
    return ls_allreduce(comm, gradient, summed, dtype);
}

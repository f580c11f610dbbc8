/* Residual joins in plans: what has a pass of its own, in which order pieces come that share an activation,
 * and that no gradient is read once another one has taken its place. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <string.h>

#include <cmocka.h>

#include "graph/planner.h"
#include "graph/replica.h"
#include "layers/conv2d/conv2d.h"

enum { SHARDS = 16, BATCH = 33, RANDOM_GRAPHS = 60, MOST_OPS = 256 };

static void start(replica *r, const network_case *network, ls_dtype dtype, ls_purpose purpose, bool fuse) {
    replica_create(r, network, cpu_backend(dtype), SHARDS, 0, 1, BATCH);
    replica_plan(r, purpose, fuse, 2);
}

static void each_network(void (*check)(const network_case *network, ls_dtype dtype, ls_purpose purpose,
                                       bool fuse)) {
    static const ls_purpose purposes[] = {LS_TRAINING, LS_EVALUATING, LS_ATTACKING};
    for (int way = 0; way < 12; way++) {
        const ls_dtype dtype =
            way % 2 ? LS_FP64 : LS_FP32; /* kernels that store dy in place, and that do not */
        for (int i = 0; i < network_case_count; i++)
            check(&network_cases[i], dtype, purposes[way / 4], way / 2 % 2);
        for (uint32_t seed = 1; seed <= RANDOM_GRAPHS; seed++) {
            network_case network = seed % 2 ? random_vectors : random_images;
            network.seed = seed;
            check(&network, dtype, purposes[way / 4], way / 2 % 2);
        }
    }
}

/* --- passes ---------------------------------------------------------------------------------------- */

static void count_passes(const char *network, ls_purpose purpose, int passes, int shared) {
    replica r;
    start(&r, network_case_named(network), LS_FP32, purpose, true);
    for (int i = 0; i < r.plan->shard_count; i++) {
        const ls_piece *piece = &r.plan->shard_pieces[i];
        const ls_op_class *class = piece->op->class;
        if (piece->kind != LS_PIECE_FORWARD) continue;
        passes -= class->elementwise;
        shared -= piece->op->fusion.shared != NULL;
    }
    assert_int_equal(passes, 0);
    assert_int_equal(shared, 0);
    replica_destroy(&r);
}

/* Only an activation that something else than a convolution reads first has a pass of its own. */
static void test_passes(void **state) {
    (void)state;
    count_passes("residual blocks", LS_TRAINING, 1, 2);
    count_passes("residual blocks", LS_EVALUATING, 1, 2);
    count_passes("residual blocks, no affine, tanh", LS_TRAINING, 1, 2);
    count_passes("shared activations", LS_TRAINING, 2, 2);
}

/* --- order ----------------------------------------------------------------------------------------- */

static int position(const ls_plan *plan, const ls_op *op, ls_piece_kind kind) {
    for (int i = 0; i < plan->shard_count; i++)
        if (plan->shard_pieces[i].op == op && plan->shard_pieces[i].kind == kind) return i;
    return -1;
}

/* The one that loads it comes first on the way there and last on the way back. */
static void check_order(const network_case *network, ls_dtype dtype, ls_purpose purpose, bool fuse) {
    replica r;
    start(&r, network, dtype, purpose, fuse);
    for (int i = 0; i < ls_graph_op_count(r.graph); i++) {
        const ls_op *loader = ls_graph_op(r.graph, i), *shared = loader->fusion.shared;
        bool added = false;
        if (!shared) continue;
        assert_true(fuse);
        assert_true(loader->in[0] == shared->out);
        assert_int_equal(position(r.plan, shared, LS_PIECE_FORWARD), -1);
        assert_int_equal(position(r.plan, shared, LS_PIECE_BACKWARD), -1);
        for (int j = 0; j < r.plan->shard_count; j++) {
            const ls_piece *piece = &r.plan->shard_pieces[j];
            bool reads = false;
            for (int k = 0; k < LS_MAX_INPUTS; k++) reads |= piece->op->in[k] == shared->out;
            reads |= piece->op->fusion.residual == shared->out;
            if (!reads || piece->op == loader) continue;
            if (piece->kind == LS_PIECE_FORWARD || piece->kind == LS_PIECE_SUMS)
                assert_true(j > position(r.plan, loader, LS_PIECE_FORWARD));
            if (piece->kind != LS_PIECE_BACKWARD) continue;
            assert_true(j < position(r.plan, loader, LS_PIECE_BACKWARD));
            for (int k = 0; k < LS_MAX_INPUTS; k++) added |= ls_gradient_target(piece->op, k) == shared->out;
        }
        assert_true((loader->fusion.others == shared->out) == added);
    }
    replica_destroy(&r);
}

static void test_order(void **state) {
    (void)state;
    each_network(check_order);
}

/* --- gradients at one place ------------------------------------------------------------------------ */

/* Which gradients lie where, by the op in whose output's memory: those that were written there last. */
typedef struct places {
    const char *name;
    const ls_plan *plan;
    const ls_tensor *at[MOST_OPS][2];
} places;

static const ls_tensor **place_of(places *p, ls_tensor *tensor) {
    return p->at[ls_plan_gradient_place(p->plan, tensor)->producer->index];
}

static void expect_there(places *p, ls_tensor *tensor) {
    const ls_tensor **at = place_of(p, tensor);
    if (at[0] != tensor && at[1] != tensor)
        fail_msg("%s: the gradient of operation %d (%s) is read when it is not there", p->name,
                 tensor->producer->index, tensor->producer->class->name);
}

static void backward_piece(places *p, const ls_op *op) {
    const ls_fusion *f = &op->fusion;
    ls_tensor *from = f->grad_norm ? f->grad_norm->out : op->out;
    ls_tensor *first = ls_gradient_target(op, 0);
    const bool loss = op->index == ls_graph_op_count(op->graph) - 1;
    if (!loss) expect_there(p, ls_tensor_base(from));
    if (f->others) expect_there(p, f->others);
    /* for its weight gradient; the plan must not count on what was there */
    if (f->grad_norm && !(op->class->backward_sums_weights && op->class->backward_sums_weights(op)))
        memset(place_of(p, from), 0, sizeof p->at[0]);
    for (int k = 0; k < LS_MAX_INPUTS; k++) {
        ls_tensor *target = ls_gradient_target(op, k);
        if (!target) continue;
        if (op->accumulate[k]) expect_there(p, target);
        const ls_tensor **at = place_of(p, target);
        if (k == 1 && first && first != target && place_of(p, first) == at) { /* one value for both */
            assert_false(op->accumulate[1]);
            at[1] = target;
        } else {
            at[0] = target;
            at[1] = NULL;
        }
    }
}

static void check_places(const network_case *network, ls_dtype dtype, ls_purpose purpose, bool fuse) {
    replica r;
    start(&r, network, dtype, purpose, fuse);
    places p = {.name = network->name, .plan = r.plan};
    assert_true(ls_graph_op_count(r.graph) <= MOST_OPS);
    for (int i = 0; i < r.plan->shard_count; i++) {
        const ls_piece *piece = &r.plan->shard_pieces[i];
        if (piece->kind == LS_PIECE_GRAD_SUMS) expect_there(&p, piece->op->out);
        if (piece->kind == LS_PIECE_BACKWARD) backward_piece(&p, piece->op);
    }
    replica_destroy(&r);
}

static void test_places(void **state) {
    (void)state;
    each_network(check_places);
}

/* In a chain of blocks the gradient of every join's branches, and of the activation behind it, is one. */
static void test_one_place(void **state) {
    replica r;
    int joins = 0, shared = 0;
    (void)state;
    start(&r, network_case_named("residual blocks"), LS_FP32, LS_TRAINING, true);
    for (int i = 0; i < r.plan->shard_count; i++) {
        const ls_op *op = r.plan->shard_pieces[i].op;
        if (r.plan->shard_pieces[i].kind != LS_PIECE_BACKWARD || !op->fusion.residual) continue;
        const void *dz = ls_gradient_target(op, 0)->grad;
        const bool joint = ls_conv2d_kernels_for(r.backend, &(ls_conv2d_args){0})->shard_gradient_elements;
        joins++;
        shared += op->fusion.others != NULL;
        assert_ptr_equal(dz, op->fusion.others ? op->fusion.others->grad : op->out->grad);
        assert_true((ls_gradient_target(op, 1)->grad == dz) == joint);
    }
    assert_int_equal(joins, 2);
    assert_int_equal(shared, 1);
    replica_destroy(&r);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_passes),
        cmocka_unit_test(test_order),
        cmocka_unit_test(test_places),
        cmocka_unit_test(test_one_place),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}

/* The planner: how many cuts it needs, how it shares memory, and what it does with graphs that it cannot lay
 * out. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "graph/planner.h"
#include "graph/replica.h"
#include "layers/dense/dense.h"
#include "layers/elementwise.h"
#include "layers/input/input.h"
#include "layers/softmax_cross_entropy/softmax_cross_entropy.h"

enum { SHARDS = 16, BATCH = 33, RANDOM_GRAPHS = 40 };

static void start(replica *r, const char *network, ls_purpose purpose, bool fuse) {
    replica_create(r, network_case_named(network), cpu_backend(LS_FP32), SHARDS, 0, 1, BATCH);
    replica_plan(r, purpose, fuse, 2);
}

/* --- cuts ------------------------------------------------------------------------------------------ */

static void check_cuts(const char *network, ls_purpose purpose, bool fuse, int forward, int backward) {
    int stages_with_cut[2] = {0, 0};
    replica r;
    start(&r, network, purpose, fuse);
    for (int s = 0; s < r.plan->stage_count; s++) {
        const ls_stage *stage = &r.plan->stages[s];
        if (stage->cut_count > 0) stages_with_cut[r.plan->cuts[stage->cut_first].grad]++;
    }
    assert_int_equal(stages_with_cut[0], forward);
    assert_int_equal(stages_with_cut[1], backward);
    assert_int_equal(r.plan->stage_count, forward + backward + 1);
    replica_destroy(&r);
}

static void test_cuts(void **state) {
    (void)state;
    for (int fuse = 0; fuse < 2; fuse++) {
        check_cuts("mlp, no affine", LS_TRAINING, fuse, 3, 2);
        check_cuts("mlp", LS_TRAINING, fuse, 3,
                   3); /* scale and shift of the first BatchNorm have gradients */
        check_cuts("mlp", LS_COLLECTING, fuse, 3, 0);
        check_cuts("dense-relu-dense", LS_TRAINING, fuse, 0, 0);
    }
}

/* Fused, the published MLP is three dense layers, a BatchNorm's sums over the input, and the loss. */
static void test_pieces(void **state) {
    int passes = 0;
    replica r;
    (void)state;
    start(&r, "mlp, no affine", LS_TRAINING, true);
    for (int i = 0; i < r.plan->shard_count; i++) {
        const ls_op_class *class = r.plan->shard_pieces[i].op->class;
        if (class->elementwise || (class->norm && r.plan->shard_pieces[i].kind != LS_PIECE_SUMS))
            fail_msg("%s has a pass of its own", class->name);
        passes++;
    }
    /* input, sums, 3 dense and the loss forward; the loss and 3 dense backward, the lowest for the gradient
     * of its output alone */
    assert_int_equal(passes, 10);
    assert_int_equal(r.plan->part_count, 3);
    replica_destroy(&r);
}

/* --- memory ---------------------------------------------------------------------------------------- */

static void check_buffers(const ls_plan *plan) {
    for (int i = 0; i < plan->buffer_count; i++) {
        const ls_buffer *a = &plan->buffers[i];
        assert_int_equal(a->offset % 64, 0);
        assert_true(a->offset + a->size <= plan->memory_size);
        assert_ptr_equal(*a->slot, (char *)plan->memory + a->offset);
        for (int j = 0; j < i; j++) {
            const ls_buffer *b = &plan->buffers[j];
            bool together = a->birth <= b->death && b->birth <= a->death;
            bool overlap = a->offset < b->offset + b->size && b->offset < a->offset + a->size;
            if (together && overlap) fail_msg("buffers %d and %d share memory at the same time", j, i);
        }
    }
}

/* Returns the size of all buffers, shared or not. */
static size_t check_memory(const network_case *network, ls_purpose purpose, bool fuse) {
    size_t planned, unshared;
    replica r;
    replica_create(&r, network, cpu_backend(LS_FP32), SHARDS, 0, 1, BATCH);
    replica_plan(&r, purpose, fuse, 2);
    check_buffers(r.plan);
    ls_plan_memory(r.plan, &planned, &unshared);
    assert_true(planned <= unshared);
    if (strncmp(network->name, "mlp", 3) == 0 && purpose == LS_TRAINING) assert_true(planned < unshared);
    for (int i = 0; i < ls_graph_op_count(r.graph) && purpose != LS_TRAINING; i++) {
        assert_null(ls_graph_op(r.graph, i)->out->grad);
        assert_null(ls_graph_op(r.graph, i)->fusion.stored);
    }
    replica_destroy(&r);
    return unshared;
}

static void check_memory_of_all(const network_case *network) {
    for (int fuse = 0; fuse < 2; fuse++) {
        size_t training = check_memory(network, LS_TRAINING, fuse);
        size_t evaluating = check_memory(network, LS_EVALUATING, fuse);
        assert_true(evaluating < training);
        check_memory(network, LS_COLLECTING, fuse);
    }
}

static void test_memory(void **state) {
    (void)state;
    for (int i = 0; i < network_case_count; i++) check_memory_of_all(&network_cases[i]);
    for (uint32_t seed = 1; seed <= RANDOM_GRAPHS; seed++) {
        network_case network = seed % 2 ? random_vectors : random_images;
        network.seed = seed;
        check_memory_of_all(&network);
    }
}

/* What only a sum reads is given up before the backward pass, which begins behind the first cut. */
static void test_kept(void **state) {
    replica r;
    int adds = 0;
    (void)state;
    start(&r, "residual, join first", LS_TRAINING, true);
    for (int i = 0; i < ls_graph_op_count(r.graph); i++) {
        ls_op *op = ls_graph_op(r.graph, i);
        if (strcmp(op->class->name, "add") != 0) continue;
        adds++;
        for (int b = 0; b < r.plan->buffer_count; b++)
            if (r.plan->buffers[b].slot == &op->in[0]->value) assert_int_equal(r.plan->buffers[b].death, 0);
    }
    assert_int_equal(adds, 1);
    replica_destroy(&r);
}

/* --- odd graphs ------------------------------------------------------------------------------------ */

static void test_cycle(void **state) {
    replica r;
    (void)state;
    replica_create(&r, network_case_named("mlp"), cpu_backend(LS_FP32), SHARDS, 0, 1, BATCH);
    assert_int_equal(replica_record(&r, LS_TRAINING), LS_OK);
    /* the first dense layer reads its own result */
    ls_op *dense = ls_graph_op(r.graph, 2);
    assert_string_equal(dense->class->name, "dense");
    dense->in[0] = ls_graph_op(r.graph, 4)->out;
    assert_int_equal(ls_plan_create(r.graph, false, 1, &r.plan), LS_INTERNAL);
    assert_null(r.plan);
    assert_non_null(strstr(ls_error_message(), "dense"));
    replica_destroy(&r);
}

static void test_failed_graph(void **state) {
    replica r;
    ls_plan *plan;
    (void)state;
    replica_create(&r, network_case_named("mlp"), cpu_backend(LS_FP32), SHARDS, 0, 1, BATCH);
    assert_int_equal(replica_record(&r, LS_TRAINING), LS_OK);
    ls_tensor *image = ls_graph_op(r.graph, 0)->out;
    int last = r.network->parameters.count - 2; /* the weight of the last layer, which wants 19 inputs */
    assert_null(ls_dense(r.graph, image, ls_graph_parameter(r.graph, last), NULL));
    assert_int_equal(ls_graph_status(r.graph), LS_USAGE);
    assert_non_null(strstr(ls_error_message(), "35 inputs for a weight of 5x19"));
    /* a graph that has failed stays so, and takes no more ops */
    int count = ls_graph_op_count(r.graph);
    assert_null(ls_softmax_cross_entropy(r.graph, image, 0, false));
    assert_null(ls_activate(r.graph, image, (ls_activation){.class = &ls_relu_activation}));
    assert_null(ls_input(r.graph, 3, 3, true, NULL));
    assert_int_equal(ls_graph_op_count(r.graph), count);
    assert_int_equal(ls_plan_create(r.graph, true, 1, &plan), LS_USAGE);
    assert_null(plan);
    replica_destroy(&r);
}

/* Runs a network of which the output of layer `at` (-1: none) has a second reader whose result nobody wants.
 */
static outcome run_with_dead_branch(const char *network, int at, bool eager, bool fuse) {
    replica r;
    ls_shards shards;
    replica_create(&r, network_case_named(network), cpu_backend(LS_FP32), SHARDS, 0, 1, BATCH);
    for (int i = 0; i < BATCH; i++) r.sample[i] = (uint32_t)i;
    assert_int_equal(ls_shards_create(&shards, SHARDS, 0, 1, BATCH), LS_OK);
    ls_run run = {
        .shards = &shards, .data = &r.data, .sample = r.sample, .seed = REPLICA_SEED, .epoch = 1, .step = 1};
    assert_int_equal(ls_graph_create(eager ? LS_EAGER : LS_RECORD, LS_TRAINING, r.backend,
                                     &r.network->parameters, &shards, &run, &r.reducer, &r.graph),
                     LS_OK);
    ls_tensor *x = ls_input(r.graph, r.data.height, r.data.width, true, NULL), *branch = NULL;
    for (int i = 0; i < r.network->count; i++) {
        x = r.network->layers[i].class->apply(&r.network->layers[i], r.graph, x);
        if (i == at) branch = x;
    }
    /* behind the layers, so that dropout, which counts the ops before it, draws the same masks with and
     * without */
    ls_activate(r.graph, ls_activate(r.graph, branch, (ls_activation){.class = &ls_tanh_activation}),
                (ls_activation){.class = &ls_relu_activation});
    ls_tensor *loss = ls_softmax_cross_entropy(r.graph, x, 1e-8, false);
    assert_non_null(loss);
    if (eager) {
        assert_int_equal(ls_backward(loss), LS_OK);
    } else {
        assert_int_equal(ls_plan_create(r.graph, fuse, 1, &r.plan), LS_OK);
        assert_int_equal(ls_team_create(1, &r.team), LS_OK);
        replica_poison(&r);
        assert_int_equal(ls_plan_run(r.plan, &run, r.team), LS_OK);
    }
    outcome o = replica_outcome(&r);
    replica_destroy(&r);
    return o;
}

static void check_dead_branches(const char *network) {
    replica r;
    replica_create(&r, network_case_named(network), cpu_backend(LS_FP32), SHARDS, 0, 1, BATCH);
    outcome want = run_with_dead_branch(network, -1, true, false);
    for (int at = -1; at < r.network->count; at++)
        for (int way = 0; way < 3; way++) {
            static const char *const ways[] = {"eager", "planned", "fused"};
            char what[64];
            snprintf(what, sizeof what, "%s, dead branch at %d, %s", network, at, ways[way]);
            outcome got = run_with_dead_branch(network, at, way == 0, way == 2);
            expect_same_outcome(what, &r, &got, &want);
            outcome_free(&got);
        }
    outcome_free(&want);
    replica_destroy(&r);
}

static void test_dead_branch(void **state) {
    (void)state;
    check_dead_branches("chain for branches");
    check_dead_branches("residual blocks");
}

/* --- every allocation fails once ------------------------------------------------------------------- */

static long until_failure = -1; /* allocations that still succeed; below 0: all */

static bool fails_now(void) {
    return until_failure >= 0 && until_failure-- == 0;
}

void *__real_calloc(size_t count, size_t size);
void *__wrap_calloc(size_t count, size_t size);
void *__real_aligned_alloc(size_t alignment, size_t size);
void *__wrap_aligned_alloc(size_t alignment, size_t size);

void *__wrap_calloc(size_t count, size_t size) {
    return fails_now() ? NULL : __real_calloc(count, size);
}

void *__wrap_aligned_alloc(size_t alignment, size_t size) {
    return fails_now() ? NULL : __real_aligned_alloc(alignment, size);
}

static ls_status plan_once(replica *r) {
    LS_TRY(replica_record(r, LS_TRAINING));
    return ls_plan_create(r->graph, true, 2, &r->plan);
}

static ls_status run_once(replica *r) {
    return replica_try_run_eager(r, LS_TRAINING, BATCH, 0);
}

static ls_status create_team(replica *r) {
    return ls_team_create(3, &r->team);
}

/* Calls work with its n-th allocation failing, for every n, until there is none. */
static void check_failures(const char *network, ls_status (*work)(replica *)) {
    for (long n = 0;; n++) {
        replica r;
        replica_create(&r, network_case_named(network), cpu_backend(LS_FP32), SHARDS, 0, 1, BATCH);
        until_failure = n;
        ls_status status = work(&r);
        bool failed = until_failure < 0;
        until_failure = -1;
        if (failed) assert_int_equal(status, LS_INTERNAL);
        if (failed) assert_non_null(strstr(ls_error_message(), "out of memory"));
        if (!failed) assert_int_equal(status, LS_OK);
        replica_destroy(&r);
        if (!failed) return;
        assert_true(n < 10000);
    }
}

static void test_out_of_memory(void **state) {
    (void)state;
    check_failures("mlp", plan_once);
    check_failures("mlp", run_once);
    check_failures("conv, flatten", plan_once);
    check_failures("conv, flatten", run_once);
    check_failures("residual blocks", plan_once);
    check_failures("dense", create_team);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_cuts),        cmocka_unit_test(test_pieces),
        cmocka_unit_test(test_memory),      cmocka_unit_test(test_kept),
        cmocka_unit_test(test_cycle),       cmocka_unit_test(test_failed_graph),
        cmocka_unit_test(test_dead_branch), cmocka_unit_test(test_out_of_memory),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}

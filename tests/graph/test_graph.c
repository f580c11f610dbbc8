/* Eager, planned and fused runs of one graph give the same bits: loss, gradients, statistics. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

#include "check/probe.h"
#include "graph/replica.h"
#include "layers/elementwise.h"

enum { STEPS = 4, RANDOM_GRAPHS = 100 };

/* Batch sizes of the steps: a full one, a shorter one as at the end of an epoch, a full one again. */
static const int64_t batches[][STEPS] = {{32, 32, 7, 32}, {33, 18, 33, 33}, {5, 5, 3, 5}};
enum { BATCH_KINDS = sizeof batches / sizeof *batches };

/* Runs without a backward pass leave the gradients as they are, and here the statistics too. */
static void check_forward(replica *r, const network_case *network, ls_purpose purpose, int64_t batch) {
    replica_run_eager(r, purpose, batch, 1);
    outcome want = replica_outcome(r);
    for (int fuse = 0; fuse < 2; fuse++) {
        char what[256];
        snprintf(what, sizeof what, "%s, %s, %s", network->name, fuse ? "fused" : "planned",
                 purpose == LS_EVALUATING ? "evaluating" : "collecting");
        replica_plan(r, purpose, fuse, 2);
        replica_run(r, batch, 1);
        outcome got = replica_outcome(r);
        expect_same_outcome(what, r, &got, &want);
        outcome_free(&got);
    }
    outcome_free(&want);
}

static void check_case(const network_case *network, ls_dtype dtype, int total, const int64_t *batch) {
    static const struct {
        const char *name;
        bool fuse;
        int threads;
    } ways[] = {
        {"planned", false, 1},       {"planned, 2 threads", false, 2}, {"planned, 3 threads", false, 3},
        {"planned, fused", true, 1}, {"fused, 2 threads", true, 2},    {"fused, 3 threads", true, 3}};
    outcome want[STEPS];
    replica r;
    replica_create(&r, network, cpu_backend(dtype), total, 0, 1, batch[0]);
    replica_reset(&r);
    for (uint32_t step = 0; step < STEPS; step++) {
        replica_run_eager(&r, LS_TRAINING, batch[step], step);
        want[step] = replica_outcome(&r);
    }
    for (size_t way = 0; way < sizeof ways / sizeof *ways; way++) {
        replica_reset(&r);
        replica_plan(&r, LS_TRAINING, ways[way].fuse, ways[way].threads);
        for (uint32_t step = 0; step < STEPS; step++) {
            char what[256];
            snprintf(what, sizeof what, "%s, fp%d, %d shards, step %u of %lld, %s", network->name,
                     dtype == LS_FP64 ? 64 : 32, total, (unsigned)step, (long long)batch[step],
                     ways[way].name);
            replica_run(&r, batch[step], step);
            outcome got = replica_outcome(&r);
            expect_same_outcome(what, &r, &got, &want[step]);
            outcome_free(&got);
        }
    }
    check_forward(&r, network, LS_EVALUATING, batch[0]);
    check_forward(&r, network, LS_COLLECTING, batch[0]);
    replica_destroy(&r);
    for (int step = 0; step < STEPS; step++) outcome_free(&want[step]);
}

static void check_all(ls_dtype dtype, int total) {
    for (int i = 0; i < network_case_count; i++)
        for (int b = 0; b < BATCH_KINDS; b++) check_case(&network_cases[i], dtype, total, batches[b]);
}

static void test_fp32(void **state) {
    (void)state;
    check_all(LS_FP32, 16);
}

static void test_fp32_one_shard(void **state) {
    (void)state;
    check_all(LS_FP32, 1);
}

static void test_fp64(void **state) {
    (void)state;
    check_all(LS_FP64, 16);
}

/* Every tier gives the bits of the portable one. */
static void test_tiers(void **state) {
    (void)state;
    for (int i = 0; i < network_case_count; i++) {
        outcome want = {0};
        for (int set = LS_PORTABLE; set <= LS_AVX512 && set <= (int)ls_instruction_set_supported(); set++) {
            char what[256];
            const ls_backend *backend;
            replica r;
            assert_int_equal(ls_backend_find_for(LS_PRECISION_FP32, (ls_instruction_set)set, &backend),
                             LS_OK);
            replica_create(&r, &network_cases[i], backend, 16, 0, 1, batches[0][0]);
            replica_reset(&r);
            replica_run_eager(&r, LS_TRAINING, batches[0][0], 1);
            outcome got = replica_outcome(&r);
            snprintf(what, sizeof what, "%s, %s", network_cases[i].name,
                     ls_instruction_set_name((ls_instruction_set)set));
            if (set == LS_PORTABLE)
                want = got;
            else {
                expect_same_outcome(what, &r, &got, &want);
                outcome_free(&got);
            }
            replica_destroy(&r);
        }
        outcome_free(&want);
    }
}

/* Is the layer type in that list of a configuration: a whole word? */
static bool is_in(const char *layers, const char *name) {
    static const char *const letters = "abcdefghijklmnopqrstuvwxyz_0123456789";
    const size_t length = strlen(name);
    for (const char *at = layers + strcspn(layers, letters); *at; at += strcspn(at, letters)) {
        const size_t word = strspn(at, letters);
        if (word == length && strncmp(at, name, word) == 0) return true;
        at += word;
    }
    return false;
}

/* All layer types are in the networks; test_activations has those that are activations. */
static void test_every_layer(void **state) {
    (void)state;
    for (int i = 0; i < ls_layer_class_count; i++) {
        const ls_layer_class *class = ls_layer_classes[i];
        bool found = class->declare == ls_layer_declare_same_shape;
        for (int k = 0; k < network_case_count; k++) found |= is_in(network_cases[k].layers, class->name);
        if (!found) fail_msg("layer %s: expected it in a network of tests/graph/networks.c", class->name);
    }
}

static void test_random_graphs(void **state) {
    (void)state;
    for (uint32_t seed = 1; seed <= RANDOM_GRAPHS; seed++) {
        const network_case *const kinds[] = {&random_vectors, &random_images};
        for (int k = 0; k < 2; k++) {
            char name[64];
            network_case network = *kinds[k];
            snprintf(name, sizeof name, "%s %u", network.name, (unsigned)seed);
            network.name = name;
            network.seed = seed;
            check_case(&network, seed % 4 == 0 ? LS_FP64 : LS_FP32, 16, batches[seed % BATCH_KINDS]);
        }
    }
}

/* Each dropout of a graph has a mask of its own, and another one at every step. */
static void test_dropout_masks(void **state) {
    enum { ELEMENTS = 1000 };
    static double ones[ELEMENTS];
    static float first[ELEMENTS];
    const int64_t shape = ELEMENTS;
    const uint32_t sample = 3;
    ls_parameters none = {0};
    ls_shards shards;
    (void)state;
    for (int i = 0; i < ELEMENTS; i++) ones[i] = 1;
    assert_int_equal(ls_shards_create(&shards, 1, 0, 1, 1), LS_OK);
    for (uint32_t step = 0; step < 2; step++) {
        ls_graph *graph;
        ls_run run = {.shards = &shards, .sample = &sample, .seed = REPLICA_SEED, .step = step};
        assert_int_equal(ls_graph_create(LS_EAGER, LS_TRAINING, cpu_backend(LS_FP32), &none, &shards, &run,
                                         &ls_reducer_local, &graph),
                         LS_OK);
        ls_tensor *x = ls_leaf(graph, 1, &shape, ones, false);
        const float *a = ls_dropout(graph, x, 0.75)->value, *b = ls_dropout(graph, x, 0.75)->value;
        int kept = 0, both = 0, again = 0;
        for (int i = 0; i < ELEMENTS; i++) {
            assert_true(a[i] == 0 || a[i] == (float)(1 / 0.75));
            kept += a[i] != 0;
            both += a[i] != 0 && b[i] != 0;
            again += a[i] != 0 && first[i] != 0;
        }
        /* 750 of 1000 are kept and 562.5 by two masks, with standard deviations of 13.7 and 15.7: six of them
         */
        assert_in_range(kept, 668, 832);
        assert_in_range(both, 469, 656);
        if (step > 0) assert_in_range(again, 469, 656);
        memcpy(first, a, sizeof first);
        ls_graph_destroy(&graph);
    }
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_fp32),          cmocka_unit_test(test_fp32_one_shard),
        cmocka_unit_test(test_fp64),          cmocka_unit_test(test_random_graphs),
        cmocka_unit_test(test_dropout_masks), cmocka_unit_test(test_tiers),
        cmocka_unit_test(test_every_layer),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}

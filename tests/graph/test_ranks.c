/* Any number of ranks gives the same bits: a rank is a thread here (exchange.h). With LS_EMULATED_AMX in
 * AMX's tier of bf16, on emulated tiles (tests/amx). */
#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#ifdef LS_EMULATED_AMX
#include "amx/emulated_tiles.h"
#endif
#include "graph/exchange.h"
#include "graph/replica.h"

enum { SHARDS = 16, STEPS = 3, RANDOM_GRAPHS = 24 };

/* How ranks run: SHARED is a plan with weight gradients over the shards of all of them (graph/sharing.c). */
typedef enum way { EAGER, PLANNED, SHARED, WAYS } way;
static const char *const way_names[WAYS] = {"eager", "planned", "shared"};

typedef struct world {
    exchange exchange;
    way way;
    void *reduced, *own_reduced[EXCHANGE_RANKS]; /* the arena that all write, and what each had before */
    void *factors;
    const int64_t *batches;
    uint32_t step;
    replica ranks[EXCHANGE_RANKS];
} world;

static double loss_value(const void *argument, int rank, int node, int64_t element) {
    const ls_op *loss = replica_loss(&((const world *)argument)->ranks[rank]);
    return loss->nodes[node * loss->sum_length + element];
}

static double gradient_value(const void *argument, int rank, int node, int64_t element) {
    const ls_parameters *p = &((const world *)argument)->ranks[rank].network->parameters;
    int64_t at = node * p->summed + element;
    return p->backend->dtype == LS_FP64 ? ((const double *)p->gradient)[at]
                                        : (double)((const float *)p->gradient)[at];
}

/* Memory full of NaN. */
static void *poisoned(size_t size) {
    void *memory = aligned_alloc(64, (size + 64) / 64 * 64);
    assert_non_null(memory);
    return memset(memory, 0xff, (size + 64) / 64 * 64);
}

static void world_share(world *w, ls_dtype dtype, int size) {
    const ls_parameters *p = &w->ranks[0].network->parameters;
    const size_t bytes = ls_sharing_bytes(p, dtype, w->batches[0], SHARDS, size);
    w->reduced = poisoned((size_t)p->total * ls_dtype_size(dtype));
    w->factors = poisoned(bytes);
    for (int r = 0; r < size; r++) {
        w->ranks[r].sharing = (ls_sharing){.memory = w->factors, .bytes = bytes, .rank = r, .ranks = size};
        w->own_reduced[r] = w->ranks[r].network->parameters.reduced;
        w->ranks[r].network->parameters.reduced = w->reduced;
    }
}

static void world_create(world *w, const network_case *network, const ls_backend *backend, int size, way how,
                         const int64_t *batches) {
    const ls_shards *shards[EXCHANGE_RANKS] = {NULL};
    *w = (world){.way = how, .batches = batches};
    for (int r = 0; r < size; r++) {
        replica_create(&w->ranks[r], network, backend, SHARDS, r, size, batches[0]);
        shards[r] = &w->ranks[r].shards;
    }
    exchange_create(&w->exchange, size, shards);
    if (how == SHARED) world_share(w, backend->dtype, size);
    for (int r = 0; r < size; r++) {
        w->ranks[r].reducer = exchange_reducer(&w->exchange, r);
        if (how != EAGER) replica_plan(&w->ranks[r], LS_TRAINING, true, 1 + r % 2);
    }
}

static void world_destroy(world *w) {
    for (int r = 0; r < w->exchange.size; r++) {
        if (w->way == SHARED) w->ranks[r].network->parameters.reduced = w->own_reduced[r];
        replica_destroy(&w->ranks[r]);
    }
    exchange_destroy(&w->exchange);
    free(w->reduced);
    free(w->factors);
}

static ls_status run_rank(void *argument, int r) {
    world *w = argument;
    int64_t batch = w->batches[w->step];
    return w->way == EAGER ? replica_try_run_eager(&w->ranks[r], LS_TRAINING, batch, w->step)
                           : replica_try_run(&w->ranks[r], batch, w->step);
}

static ls_status run_all_shards(void *argument, int r) {
    world *w = argument;
    return replica_try_run_whole(&w->ranks[r], w->batches[w->step], w->step);
}

static void world_step(world *w, uint32_t step) {
    w->step = step;
    exchange_run(&w->exchange, run_rank, w);
    if (w->way == SHARED) exchange_run(&w->exchange, run_all_shards, w);
}

/* Gradients that are over all shards already, in the shared arena. */
static void copy_whole(const world *w, const ls_parameters *p, outcome *o) {
    const size_t element = ls_dtype_size(p->backend->dtype);
    for (int i = 0; i < p->count; i++)
        if (w->way == SHARED && p->list[i].all_shards)
            memcpy(o->gradient + (size_t)p->list[i].offset * element,
                   (const char *)w->reduced + (size_t)p->list[i].offset * element,
                   (size_t)p->list[i].count * element);
}

/* The outcome as one rank would have it: sums over all nodes, and rank r's own copy of what each rank has
 * whole. */
static outcome world_outcome(const world *w, int r) {
    const replica *own = &w->ranks[r];
    const ls_parameters *p = &own->network->parameters;
    size_t element = ls_dtype_size(p->backend->dtype);
    bool fp32 = p->backend->dtype == LS_FP32;
    outcome o = replica_outcome(own);
    for (int i = 0; i < 2; i++) o.loss[i] = exchange_sum(&w->exchange, false, loss_value, w, i);
    for (int64_t i = 0; i < p->summed; i++) {
        double sum = exchange_sum(&w->exchange, fp32, gradient_value, w, i);
        if (fp32)
            ((float *)(void *)o.gradient)[i] = (float)sum;
        else
            ((double *)(void *)o.gradient)[i] = sum;
    }
    copy_whole(w, p, &o);
    const char *own_region = (const char *)p->gradient + (size_t)(p->nodes * p->summed) * element;
    memcpy(o.gradient + (size_t)p->summed * element, own_region, (size_t)(p->total - p->summed) * element);
    return o;
}

/* --- cases ----------------------------------------------------------------------------------------- */

static const int sizes[] = {1, 2, 3, 5, 8, 16};
static const int64_t batches[][STEPS] = {{33, 18, 33}, {5, 3, 5}};

static void check_case(const network_case *network, const ls_backend *backend, const int64_t *batch,
                       way how) {
    outcome want[STEPS];
    replica single;
    replica_create(&single, network, backend, SHARDS, 0, 1, batch[0]);
    for (uint32_t step = 0; step < STEPS; step++) {
        replica_run_eager(&single, LS_TRAINING, batch[step], step);
        want[step] = replica_outcome(&single);
    }
    for (size_t i = 0; i < sizeof sizes / sizeof *sizes; i++) {
        world w;
        world_create(&w, network, backend, sizes[i], how, batch);
        if (strcmp(network->name, "mlp") == 0) /* or nothing would be tested */
            assert_int_equal(w.ranks[0].network->parameters.list[0].all_shards ||
                                 w.ranks[0].network->parameters.list[2].all_shards,
                             how == SHARED || (how == PLANNED && sizes[i] == 1));
        for (uint32_t step = 0; step < STEPS; step++) {
            world_step(&w, step);
            for (int r = 0; r<w.exchange.size; r += w.exchange.size> 1 ? w.exchange.size - 1 : 1) {
                char what[256];
                snprintf(what, sizeof what, "%s, fp%d, rank %d of %d, step %u of %lld, %s", network->name,
                         backend->dtype == LS_FP64 ? 64 : 32, r, w.exchange.size, (unsigned)step,
                         (long long)batch[step], way_names[how]);
                outcome got = world_outcome(&w, r);
                expect_same_outcome(what, &single, &got, &want[step]);
                outcome_free(&got);
            }
        }
        world_destroy(&w);
    }
    for (int step = 0; step < STEPS; step++) outcome_free(&want[step]);
    replica_destroy(&single);
}

#ifdef LS_EMULATED_AMX

/* Convolutions of which some are computed on tiles and some are not, a residual block, dense layers. */
static const network_case small_cnn = {
    "cnn", 6, 7, 4,
    .layers = "[{conv2d: {channels: 16, pad: 1}}, batchnorm, relu, {residual: {body: [{conv2d: {channels: "
              "16, pad: 1}}, "
              "batchnorm, relu, {conv2d: {channels: 16, pad: 1}}, batchnorm]}}, relu, "
              "{conv2d: {channels: 32, pad: 1}}, batchnorm, relu, {conv2d: {channels: 32, pad: 0}}, "
              "batchnorm, tanh, "
              "{dropout: {rate: 0.3}}, {dense: {units: 37}}, relu, {dense: {units: 4}}]"};

static void test_tiles(void **state) {
    (void)state;
    const ls_backend *amx;
    assert_int_equal(ls_backend_find_for(LS_PRECISION_BF16, LS_AMX, &amx), LS_OK);
    for (int b = 0; b < 2; b++) {
        check_case(network_case_named("wide"), amx, batches[b], b ? EAGER : PLANNED);
        check_case(network_case_named("wide"), amx, batches[b], SHARED);
        check_case(&small_cnn, amx, batches[b], b ? PLANNED : EAGER);
        check_case(&small_cnn, amx, batches[b], SHARED);
    }
    assert_true(emulated_tile_products() > 0); /* of this thread: the single rank's */
}

int main(void) {
    const struct CMUnitTest tests[] = {cmocka_unit_test(test_tiles)};
    if (ls_instruction_set_supported() < LS_AVX512_BF16) return 77; /* skipped */
    return cmocka_run_group_tests(tests, NULL, NULL);
}

#else

static void test_planned(void **state) {
    (void)state;
    for (int i = 0; i < network_case_count; i++)
        check_case(&network_cases[i], cpu_backend(LS_FP32), batches[i % 2], PLANNED);
    check_case(network_case_named("mlp"), cpu_backend(LS_FP32), batches[1], PLANNED);
    check_case(network_case_named("conv"), cpu_backend(LS_FP32), batches[0], PLANNED);
    check_case(network_case_named("conv"), cpu_backend(LS_FP32), batches[1], PLANNED);
}

static void test_shared(void **state) {
    (void)state;
    for (int i = 0; i < network_case_count; i++)
        check_case(&network_cases[i], cpu_backend(LS_FP32), batches[(i + 1) % 2], SHARED);
    check_case(network_case_named("mlp"), cpu_backend(LS_FP64), batches[0], SHARED);
}

/* A gradient that overflows though the loss does not: a rank that has computed any of it says so. The last
 * one computes all, since it comes first. */
static void test_not_finite(void **state) {
    static const double scale[] = {0x1p-120, 0x1p100, 0x1p100}; /* of the three layers' weights */
    static const network_case network = {
        "overflow", 4, 3, 3,
        .layers = "[{dense: {units: 40, bias: false}}, relu, {dense: {units: 20, bias: false}}, relu, "
                  "{dense: {units: 3, bias: false}}]"};
    (void)state;
    for (size_t i = 0; i < sizeof sizes / sizeof *sizes; i++) {
        world w;
        bool found = false;
        world_create(&w, &network, cpu_backend(LS_FP32), sizes[i], sizes[i] > 1 ? SHARED : PLANNED,
                     batches[0]);
        for (int r = 0; r < sizes[i]; r++) {
            ls_parameters *p = &w.ranks[r].network->parameters;
            for (int k = 0; k < p->count; k++)
                for (int64_t e = 0; e < p->list[k].count; e++)
                    ((float *)p->value)[p->list[k].offset + e] = (float)scale[k] * (float)(1 + (e + k) % 3);
        }
        exchange_run(&w.exchange, run_rank, &w);
        for (int r = sizes[i] - 1; r >= 0; r--) found |= run_all_shards(&w, r) == LS_NOT_FINITE;
        assert_true(found);
        for (int r = 0; r < sizes[i]; r++) assert_true(isfinite(loss_value(&w, r, 0, 0)));
        world_destroy(&w);
    }
}

static void test_random_graphs(void **state) {
    (void)state;
    for (uint32_t seed = 1; seed <= RANDOM_GRAPHS; seed++) {
        network_case network = seed % 2 ? random_vectors : random_images;
        network.seed = seed;
        check_case(&network, cpu_backend(LS_FP32), batches[seed / 2 % 2], seed % 8 == 0 ? EAGER : PLANNED);
        check_case(&network, cpu_backend(LS_FP32), batches[seed / 2 % 2], SHARED);
    }
}

static void test_planned_fp64(void **state) {
    (void)state;
    check_case(network_case_named("mlp"), cpu_backend(LS_FP64), batches[0], PLANNED);
    check_case(network_case_named("conv"), cpu_backend(LS_FP64), batches[1], PLANNED);
}

static void test_eager(void **state) {
    (void)state;
    check_case(network_case_named("mlp"), cpu_backend(LS_FP32), batches[0], EAGER);
    check_case(network_case_named("mlp"), cpu_backend(LS_FP32), batches[1], EAGER);
    check_case(network_case_named("conv"), cpu_backend(LS_FP32), batches[1], EAGER);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_planned),       cmocka_unit_test(test_shared),
        cmocka_unit_test(test_random_graphs), cmocka_unit_test(test_planned_fp64),
        cmocka_unit_test(test_eager),         cmocka_unit_test(test_not_finite),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}

#endif

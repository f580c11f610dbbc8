/* One replica of a small network under test: as any rank of any number of ranks, run eagerly or from a plan.
 */
#ifndef LOCKSTEP_TESTS_GRAPH_REPLICA_H
#define LOCKSTEP_TESTS_GRAPH_REPLICA_H

#include "core/team.h"
#include "graph/op.h"
#include "graph/plan.h"
#include "model/network.h"

/* A network and the images it is for; `layers` is the YAML list of the configuration. */
typedef struct network_case {
    const char *name;
    int height, width, classes;
    const char *layers;
    ls_tensor *(*wire)(const ls_network *network, ls_graph *graph,
                       ls_tensor *x); /* NULL: one layer after another */
    uint32_t seed;                    /* above 0: random_graph() instead */
} network_case;

/* Wires layers that keep the shape they get at random: tensors with any number of readers, sums of tensors,
 * chains, dead ends. The first layer reads x, the last one gives the result; those between come in any order,
 * or not at all. */
ls_tensor *random_graph(uint32_t seed, const ls_network *network, ls_graph *graph, ls_tensor *x);

/* The layers of random graphs: of vectors, and of images. */
extern const network_case random_vectors, random_images;

/* MLPs and small convolution nets: complete chains of BatchNorm, activation and dropout, and such with links
 * missing. */
extern const network_case network_cases[];
extern const int network_case_count;
/* The first case of that name. */
const network_case *network_case_named(const char *name);

typedef struct replica {
    const network_case *which;
    const ls_backend *backend;
    ls_network *network;
    ls_dataset data;
    ls_shards shards;   /* of the largest batch */
    uint32_t *sample;   /* [largest batch] */
    ls_shards all;      /* of all ranks, in the batch at hand */
    ls_sharing sharing; /* of the next plan, with other replicas; none unless somebody sets it */
    ls_reducer reducer;
    ls_graph *graph; /* of the plan, or of the last eager step */
    ls_plan *plan;
    ls_team *team;
} replica;

enum { REPLICA_SAMPLES = 64, REPLICA_SEED = 20240607 };

/* The network with its parameters set to fixed numbers, as rank `rank` of `size` with `total` shards and
 * batches of up to `batch` samples. Everything fails the test that can fail. */
void replica_create(replica *r, const network_case *network, const ls_backend *backend, int total, int rank,
                    int size, int64_t batch);
/* Parameters and statistics as after replica_create, and gradients full of NaN. */
void replica_reset(replica *r);
/* Frees all of it. */
void replica_destroy(replica *r);

/* Puts the network and the loss on a new graph; returns the status of the graph. */
ls_status replica_record(replica *r, ls_purpose purpose);
/* The same with a plan of it, for so many threads. */
void replica_plan(replica *r, ls_purpose purpose, bool fuse, int threads);

/* Fills the plan's buffers with NaN, since a plan must not read what it has not written; replica_plan does
 * so. */
void replica_poison(replica *r);

/* One step on `batch` samples that depend on `step`: with the plan, or eagerly (training: forward and
 * backward). */
void replica_run(replica *r, int64_t batch, uint32_t step);
void replica_run_eager(replica *r, ls_purpose purpose, int64_t batch, uint32_t step);

/* The same for threads of a test: hand the status back and fail nothing. */
ls_status replica_try_run(replica *r, int64_t batch, uint32_t step);
/* What a plan with `sharing` has left, once all replicas have run. */
ls_status replica_try_run_whole(replica *r, int64_t batch, uint32_t step);
ls_status replica_try_run_eager(replica *r, ls_purpose purpose, int64_t batch, uint32_t step);

/* The loss, the last op of the graph. */
const ls_op *replica_loss(const replica *r);

/* What a step leaves behind: loss sums, gradients and statistics, as bytes. */
typedef struct outcome {
    double loss[2];
    size_t gradient_bytes, statistics_bytes;
    char *gradient, *statistics;
} outcome;

/* Of a replica that is all ranks; freed by outcome_free. */
outcome replica_outcome(const replica *r);
void outcome_free(outcome *o);
/* Fails with `what` unless both are equal to the bit. */
void expect_same_outcome(const char *what, const replica *r, const outcome *got, const outcome *want);

/* The backend of that precision; fails the test if there is none. */
const ls_backend *cpu_backend(ls_dtype dtype);

#endif

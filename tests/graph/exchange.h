/* Ranks as threads of one process: what they would send goes through memory, and their sums are added by a
 * recursion over the complete binary tree that shares nothing with the library. */
#ifndef LOCKSTEP_TESTS_GRAPH_EXCHANGE_H
#define LOCKSTEP_TESTS_GRAPH_EXCHANGE_H

#include <pthread.h>

#include "graph/graph.h"

enum { EXCHANGE_RANKS = 16, EXCHANGE_PARTIALS = 64 };

typedef struct exchange exchange;

typedef struct exchange_member {
    exchange *exchange;
    const ls_shards *shards;
    double *nodes[EXCHANGE_PARTIALS]; /* of the reduction at hand */
    int count;
} exchange_member;

struct exchange {
    int size;
    pthread_barrier_t barrier;
    exchange_member members[EXCHANGE_RANKS];
};

/* For `size` ranks; shards[r] are rank r's and must outlive it. */
void exchange_create(exchange *e, int size, const ls_shards *const *shards);
void exchange_destroy(exchange *e);

/* The reducer of a rank's graph: collective over the threads of all ranks. Ends the test program if the ranks
 * do not sum the same things, since they would wait for one another for ever. */
ls_reducer exchange_reducer(exchange *e, int rank);

/* Runs work(argument, rank) on a thread for each rank; fails the test unless all return LS_OK. */
void exchange_run(const exchange *e, ls_status (*work)(void *argument, int rank), void *argument);

/* One element of a vector that every rank has for each of its nodes. */
typedef double (*exchange_value)(const void *argument, int rank, int node, int64_t element);

/* Its sum over all shards: halves added left to right, down to the nodes that ranks have; rounded to fp32
 * after every addition if that is the vector's type. */
double exchange_sum(const exchange *e, bool fp32, exchange_value value, const void *argument,
                    int64_t element);

#endif

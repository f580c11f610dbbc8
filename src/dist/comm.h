/* Communication moves bytes between ranks; every addition is ours (tree_sum.h). A small table of functions
 * chosen at run time by name: `self` (one rank) and `mpi`.
 *
 * All calls are collective and called by one thread per rank. Waiting has a deadline: a rank that waits
 * longer than the time-out fails with LS_STUCK, naming step and phase; that failure is not known to the
 * others. */
#ifndef LOCKSTEP_DIST_COMM_H
#define LOCKSTEP_DIST_COMM_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "core/status.h"

typedef struct ls_comm ls_comm;

/* What the ranks of one host wait for in memory that they share (dist/window.h). */
typedef struct ls_wait {
    void *self;
    bool (*over)(void *self);
    bool (*arrived)(void *self, int rank);     /* who is missing is named */
    void (*sleep)(void *self, double seconds); /* until it may be over, and at most so long */
} ls_wait;

/* Which messages are waited for together: those of the collective at hand, or those that are under way
 * meanwhile, while ranks compute and other collectives come and go. */
typedef enum ls_channel { LS_AT_HAND, LS_MEANWHILE, LS_CHANNELS } ls_channel;

typedef struct ls_comm_class {
    const char *name;
    /* every rank's bytes to every rank: send[0 .. counts[rank]) arrives at recv + displacements[rank] */
    ls_status (*allgather)(ls_comm *comm, const void *send, void *recv, const int *counts,
                           const int *displacements);
    /* a piece of `send` to each rank, and a piece from each */
    ls_status (*alltoall)(ls_comm *comm, const void *send, const int *send_counts,
                          const int *send_displacements, void *recv, const int *recv_counts,
                          const int *recv_displacements);
    ls_status (*broadcast)(ls_comm *comm, void *data, size_t size, int root);

    /* A collective of messages between any ranks: all ranks begin it; each posts what it is sent and what it
     * sends, several to one rank in the order in which that rank posts them; and completes. NULL, as all that
     * follows but `destroy`: never asked for. */
    ls_status (*begin)(ls_comm *comm, ls_channel channel);
    ls_status (*receive)(ls_comm *comm, ls_channel channel, void *data, size_t bytes, int source);
    ls_status (*send)(ls_comm *comm, ls_channel channel, const void *data, size_t bytes, int destination);
    ls_status (*complete)(ls_comm *comm, ls_channel channel);
    /* waits as for messages, inside of a collective that has begun, with all that is said of them here */
    ls_status (*wait)(ls_comm *comm, const ls_wait *wait);
    void (*destroy)(ls_comm *comm);
    /* ends all ranks at once with this exit code; only main() calls it */
    void (*abort)(ls_comm *comm, int code);
} ls_comm_class;

struct ls_comm {
    const ls_comm_class *class;
    int rank, size;
    int ranks_on_host, host_rank; /* of this host: how many, and which of them this is */
    int hosts, host;              /* how many, and which of them this is */
    const int *host_first;        /* [hosts + 1] the first rank of each; ranks of a host follow one another */
    const char *const *host_name; /* [hosts]; NULL where there is one */
    double timeout;               /* seconds */
    double wait_seconds;          /* spent in calls so far */
    uint64_t step;                /* for messages: set by the trainer */
    const char *phase;
    bool agreed; /* the failure at hand is known to all ranks */
    /* called again and again while this rank waits for others, who may never come; must be quick, and call
     * nothing of the communicator. NULL: nothing */
    void (*on_wait)(void *self);
    void *on_wait_self;
    void *state;
};

/* One rank, by itself. */
ls_status ls_comm_create_self(ls_comm **comm);
/* The ranks of MPI_COMM_WORLD, numbered host by host; initialises MPI (funneled) unless somebody has. LS_USAGE:
 * this process was launched as one of several, but MPI sees one alone. */
ls_status ls_comm_create_mpi(ls_comm **comm);
/* By name: "self", "mpi", or "auto": mpi where a launcher has started this process as one of several, or
 * mpirun it alone; else self. */
ls_status ls_comm_create(const char *name, ls_comm **comm);
/* Is this process in the start of MPI, which may end it (cli/start.c)? For signal and exit handlers. */
bool ls_comm_is_starting(void);
/* Collective. Safe twice. */
void ls_comm_destroy(ls_comm **comm);

/* The host of that rank. Local. */
int ls_comm_host_of(const ls_comm *comm, int rank);

ls_status ls_comm_broadcast(ls_comm *comm, void *data, size_t size, int root);
/* count equal contributions of `size` bytes: recv [size of comm][size]. */
ls_status ls_comm_allgather_equal(ls_comm *comm, const void *send, size_t size, void *recv);

/* Collective: do all ranks have LS_OK? If not, all return the status of the lowest rank that failed, with its
 * message and rank, and comm->agreed is set. Called before a collective that a failed rank would not reach.
 */
ls_status ls_comm_agree(ls_comm *comm, ls_status status);

/* Marks a failure as one that every rank comes to by itself, from numbers that are the same everywhere. */
ls_status ls_comm_everywhere(ls_comm *comm, ls_status status);

#endif

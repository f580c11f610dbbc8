/* What the files of the MPI communicator share: moving bytes (comm_mpi.c), and waiting for them
 * (comm_mpi_wait.c). */
#ifndef LOCKSTEP_DIST_COMM_MPI_H
#define LOCKSTEP_DIST_COMM_MPI_H

#include <mpi.h>

#include "dist/comm.h"

/* Turns an MPI error into a status with MPI's own text. MPI_COMM_WORLD returns errors instead of aborting. */
#define LS_MPI(call)                                                                                         \
    do {                                                                                                     \
        int ls_mpi_error_ = (call);                                                                          \
        if (ls_mpi_error_ != MPI_SUCCESS) return ls_mpi_failure(#call, ls_mpi_error_);                       \
    } while (0)

ls_status ls_mpi_failure(const char *call, int error);

/* Every collective is made of direct messages between pairs of ranks: all of them are under way at once,
 * which is one round even where ranks take turns on a core, and a rank that waits knows for whom. The tag is
 * made of the step and the number of the collective (and, of those at hand, the size of the message), so that
 * the messages of a rank that skipped one, whose count is short, do not pass for those of another; a longer
 * message in a shorter one's place would even be written over the end of its buffer. */
typedef struct ls_mpi_channel {
    MPI_Comm comm;   /* of its own: tags of one channel mean nothing in another */
    unsigned number; /* collectives begun */
    uint64_t step;   /* in which the last one began */
    int count, room; /* messages under way; places for them */
    MPI_Request *requests;
    int *source; /* [count] whose message it is; -1: this rank's own */
} ls_mpi_channel;

typedef struct ls_mpi_state {
    bool initialised_here;
    bool yield; /* ranks of this host share its cores; with more ranks than cores a waiting rank must not hold
                   one */
    ls_mpi_channel channels[LS_CHANNELS];
    const ls_wait *wait;   /* what is waited for, where it is not messages; else */
    ls_channel waited_for; /* those of this channel */
    struct ls_beats *beats;
    int *host_first;
    const char **host_name;
    char (*names)[MPI_MAX_PROCESSOR_NAME]; /* [ranks] of the host of each */
} ls_mpi_state;

/* MPI promises tags up to 32767. The last one is for what ranks say of themselves, those below for messages.
 */
enum { LS_MPI_TAGS = 32767 };

/* Where the ranks are: numbers them host by host, and sets what ls_comm says of hosts. The communicator of all
 * ranks goes to `all`. Collective. */
ls_status ls_mpi_find_hosts(ls_comm *comm, MPI_Comm *all);

/* What the ranks have said of themselves: who is alive, and where it waits. Local. */
ls_status ls_mpi_beats_create(ls_comm *comm);
/* Before MPI ends; takes in what is still under way. Safe twice, and after a failure of the above. */
void ls_mpi_beats_destroy(ls_comm *comm);

/* Waits for all messages of a channel. LS_STUCK names who is missing. */
ls_status ls_mpi_complete(ls_comm *comm, ls_channel channel);
/* Waits for what ranks that share memory do in it. */
ls_status ls_mpi_wait(ls_comm *comm, const ls_wait *wait);

#endif

/* Memory that all ranks of a host see: a segment that each rank fills and all read, a region that they share,
 * and exchanges of small messages, by which they know when the rest may be read or written. Each host of a run
 * has one; what goes from host to host goes by messages (dist/crossing.h).
 *
 * In exchange k every rank writes its message, and goes on when all have. Messages of two exchanges are kept,
 * so one that is ahead never writes over what others still read. What a rank wrote anywhere in the window
 * before an exchange, all see after it; so of everything in here, one rank writes between two exchanges, or
 * any number read.
 *
 * Ranks that wait sleep in the kernel after a short while, where there are more of them than cores at once.
 */
#ifndef LOCKSTEP_DIST_WINDOW_H
#define LOCKSTEP_DIST_WINDOW_H

#include "dist/comm.h"

typedef struct ls_window ls_window;

typedef struct ls_window_sizes {
    size_t message; /* bytes, at most, of a rank's message in an exchange */
    size_t segment; /* of each rank's own segment */
    size_t common;  /* of the region that all share */
} ls_window_sizes;

/* *window is NULL with one rank in all, or where the ranks of any host cannot be given memory: then all go on
 * by messages, and rank 0 has warned in the second case. Zeroed; cache lines are never shared between parts.
 * Collective, agreed. */
ls_status ls_window_create(ls_comm *comm, const ls_window_sizes *sizes, ls_window **window);
/* The same in `memory`, which all ranks of the host see, aligned to 64 bytes and zeroed, of ls_window_bytes()
 * bytes; it must outlive the window. Local. */
ls_status ls_window_create_in(ls_comm *comm, const ls_window_sizes *sizes, void *memory, ls_window **window);
size_t ls_window_bytes(int ranks, const ls_window_sizes *sizes);
/* Local; safe twice. */
void ls_window_destroy(ls_window **window);

/* Ranks are named by their number in the communicator; they are of this host. */
void *ls_window_segment(const ls_window *window, int rank);
void *ls_window_common(const ls_window *window);

/* Bytes that a message may have. */
size_t ls_window_capacity(const ls_window *window);
/* Where this rank's next message is to be written. */
void *ls_window_outgoing(const ls_window *window);
/* All messages of the ranks of this host are exchanged. Collective over all hosts, on one thread; LS_STUCK as
 * any call (dist/comm.h). */
ls_status ls_window_exchange(ls_window *window);
/* The same in two parts, inside of a collective that has begun, so that the first rank of the host can do
 * something in between, such as speak with other hosts. The first part returns on that rank when all messages
 * are there, and on the others at once; it may write over its own message. The second returns on all when that
 * rank has come to it. */
ls_status ls_window_gather(ls_window *window);
ls_status ls_window_release(ls_window *window);
/* The message of that rank in the last exchange, until the next one begins. */
const void *ls_window_incoming(const ls_window *window, int rank);

#endif

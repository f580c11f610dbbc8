/* Memory that all ranks of a run see, where all of them are on one node: a segment that each rank fills and
 * all read, a region that they share, and exchanges of small messages, by which they know when the rest may
 * be read or written.
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

/* *window is NULL where the ranks do not share a node's memory, or cannot be given some: then they go on by
 * messages, and rank 0 has warned in the second case. Zeroed; cache lines are never shared between parts.
 * Collective, agreed. */
ls_status ls_window_create(ls_comm *comm, const ls_window_sizes *sizes, ls_window **window);
/* The same in `memory`, which all ranks see, aligned to 64 bytes and zeroed, of ls_window_bytes() bytes; it
 * must outlive the window. Local. */
ls_status ls_window_create_in(ls_comm *comm, const ls_window_sizes *sizes, void *memory, ls_window **window);
size_t ls_window_bytes(int ranks, const ls_window_sizes *sizes);
/* Local; safe twice. */
void ls_window_destroy(ls_window **window);

void *ls_window_segment(const ls_window *window, int rank);
void *ls_window_common(const ls_window *window);

/* Bytes that a message may have. */
size_t ls_window_capacity(const ls_window *window);
/* Where this rank's next message is to be written. */
void *ls_window_outgoing(const ls_window *window);
/* All ranks' messages are exchanged. Collective, on one thread; LS_STUCK as any call (dist/comm.h). */
ls_status ls_window_exchange(ls_window *window);
/* The message of that rank in the last exchange, until the next one begins. */
const void *ls_window_incoming(const ls_window *window, int rank);

#endif

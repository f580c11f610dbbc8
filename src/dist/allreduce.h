/* MPI's own sum over ranks: what the tree sum (tree_sum.h) is measured against, and nothing else. Its order
 * of additions is the library's. */
#ifndef LOCKSTEP_DIST_ALLREDUCE_H
#define LOCKSTEP_DIST_ALLREDUCE_H

#include <stdint.h>

#include "core/backend.h"
#include "dist/comm.h"

/* Replaces data [count] by its sum over all ranks (MPI_Allreduce, in place). Waits without a deadline; on a
 * communicator that is not MPI there is nothing to add. Collective. */
ls_status ls_allreduce(ls_comm *comm, void *data, int64_t count, ls_dtype dtype);

#endif

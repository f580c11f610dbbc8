/* Do all ranks hold the same model? Any difference is a fault, not rounding. */
#ifndef LOCKSTEP_DIST_REPLICA_H
#define LOCKSTEP_DIST_REPLICA_H

#include "dist/comm.h"

/* Compares one hash over all ranks. LS_REPLICAS_DIFFER names the ranks that do not hold what most hold, the
 * same message on every rank. Collective. */
ls_status ls_replica_check(ls_comm *comm, uint64_t hash);
/* The same of what the ranks of a host share, where there are several hosts: each rank has taken its part of a
 * sum. Collective. */
ls_status ls_replica_check_hosts(ls_comm *comm, uint64_t part);

#endif

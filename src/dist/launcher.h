/* What a launcher (mpirun, srun) says of the processes it started, in their environment: before MPI has
 * started, and where it has started each process as if it were alone. Local. */
#ifndef LOCKSTEP_DIST_LAUNCHER_H
#define LOCKSTEP_DIST_LAUNCHER_H

#include <stdbool.h>

/* Was this process started by one, as one of several or by mpirun? The shell of an allocation of Slurm, its
 * batch script and a step of one task are alone, whatever else their variables say. */
bool ls_launcher_is_there(void);

/* How many processes it says it started, by the first of its variables that is there, whose name goes to
 * *variable; 0: none says. */
long ls_launcher_ranks(const char **variable);

/* The rank of this process; -1: none says. */
long ls_launcher_rank(void);

#endif

#include "dist/allreduce.h"

#include <limits.h>
#include <mpi.h>
#include <string.h>

ls_status ls_allreduce(ls_comm *comm, void *data, int64_t count, ls_dtype dtype) {
    if (strcmp(comm->class->name, "mpi") != 0) return LS_OK;
    if (count > INT_MAX)
        return ls_fail(LS_USAGE, "MPI_Allreduce of %lld elements: expected fewer", (long long)count);
    if (MPI_Allreduce(MPI_IN_PLACE, data, (int)count, dtype == LS_FP64 ? MPI_DOUBLE : MPI_FLOAT, MPI_SUM,
                      MPI_COMM_WORLD) != MPI_SUCCESS)
        return ls_fail(LS_INTERNAL, "MPI_Allreduce failed");
    return LS_OK;
}

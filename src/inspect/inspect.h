/* The verbs that look into files: `lockstep inspect` and `lockstep diff`. They read on one process, without
 * MPI, and trust nothing that stands in a file: the seal first, then a fixed list of names, types and shapes
 * (io/hdf5.h). */
#ifndef LOCKSTEP_INSPECT_INSPECT_H
#define LOCKSTEP_INSPECT_INSPECT_H

#include <stdbool.h>
#include <stdio.h>

#include "core/status.h"

/* What a checkpoint, a metrics.h5 or a run folder (its metrics and its newest good checkpoint) holds, for
 * people or as one JSON object. LS_BAD_DATA with the file's name: not there, damaged, or its fingerprint is
 * not that of its tensors. */
ls_status ls_inspect(const char *path, bool json, FILE *out);

/* Gives a checkpoint, metrics.h5 or a file of eval or attack that another program has written to its seal again,
 * if every value is as HDF5's checksums say and the fingerprint is that of the tensors, and says so on `out`.
 * LS_BAD_DATA with the file's name otherwise, which stays as it is; LS_OUTPUT: it cannot be replaced. */
ls_status ls_reseal(const char *path, FILE *out);

/* Compares two runs (folders or metrics.h5) or two checkpoints and says on `out` what differs first.
 * LS_DIFFERENT, without a message: they differ, or one goes further than the other. Only numbers decide;
 * another configuration that made the same numbers is noted. LS_USAGE: a run and a checkpoint; LS_BAD_DATA as
 * above. */
ls_status ls_diff(const char *a, const char *b, FILE *out);

#endif

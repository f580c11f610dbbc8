/* The state of a model as records under PyTorch's names, for checkpoints, and the fingerprint over it.
 *
 * Fingerprint: XXH3-64 over the fingerprints of all tensors in checkpoint order and the step; that of a
 * tensor is XXH3-64 over its name, shape and little-endian values in PyTorch's layout. Nothing of padding,
 * kernel layout, ranks or time. */
#ifndef LOCKSTEP_MODEL_STATE_H
#define LOCKSTEP_MODEL_STATE_H

#include "graph/parameters.h"
#include "io/checkpoint.h"

/* The records of a model, with memory of their own for the exported values:
 *
 *   model/<name>                                       parameters
 *   model/<layer>.running_mean, .running_var,
 *     .num_batches_tracked                             as PyTorch's BatchNorm has them
 *   optimizer/m/<name>, optimizer/v/<name>             moments
 *   batchnorm/<layer>                                  float64, [1 + 3 channels] */
typedef struct ls_state {
    ls_record *records;
    int count;
    char **paths;
    uint64_t *hashes; /* [count] by ls_state_fingerprint */
} ls_state;

/* Lays out the records of these parameters; values are undefined until ls_state_export(). Local. */
ls_status ls_state_create(const ls_parameters *parameters, ls_state *state);
void ls_state_destroy(ls_state *state);

/* Bytes of a record's values. */
size_t ls_record_bytes(const ls_record *record);

/* Parameters, moments and statistics into the records; where backend memory is the host's it cannot fail. */
ls_status ls_state_export(const ls_parameters *parameters, ls_state *state);
/* And back; the derived records (running_mean, ..) are not read. */
ls_status ls_state_import(ls_parameters *parameters, const ls_state *state);

/* The path of the first exported tensor of the model itself (parameters and statistics, not moments) that holds
 * a value which is not finite; NULL: none. */
const char *ls_state_not_finite(const ls_state *state);

/* The fingerprint of exported records, and of each into state->hashes. */
uint64_t ls_state_fingerprint(ls_state *state, uint64_t step);

/* A cheap number made of the arenas and statistics as they lie in memory, the same on ranks whose replicas are
 * the same: the step plus a sum of all their bits, in any order (core/vector.h). Any one flipped bit shows. */
uint64_t ls_replica_hash(const ls_parameters *parameters, uint64_t step);
/* What arenas that ranks share add to such a sum, which the above leaves out: elements [first, last) of each; 0
 * where nothing is shared. */
uint64_t ls_replica_hash_shared(const ls_parameters *parameters, int64_t first, int64_t last);

#endif

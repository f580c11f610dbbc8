/* Checkpoints: one HDF5 file that is either whole or not there.
 *
 * Layout (format version 1), readable with h5py and h5dump:
 *   /model/<name>          the model's state under PyTorch's names and shapes (state_dict)
 *   /optimizer/m/<name>, /optimizer/v/<name>    moments, likewise
 *   /batchnorm/<name>      float64 accumulators of the BatchNorm statistics
 *   /history/..            the metrics so far
 *   /progress              attributes of the header below
 *   /config                attribute "yaml": the resolved configuration
 * The file begins with a 512-byte HDF5 user block: magic, format version, length and XXH3-128 of everything behind it. */
#ifndef LOCKSTEP_IO_CHECKPOINT_H
#define LOCKSTEP_IO_CHECKPOINT_H

#include <stdbool.h>
#include <stdint.h>

#include "core/status.h"

typedef enum ls_record_type { LS_RECORD_F32, LS_RECORD_F64, LS_RECORD_I64, LS_RECORD_U64 } ls_record_type;

/* One array of a file: a path below the root ("model/1.weight"; groups are made as needed), type, shape and data. */
typedef struct ls_record {
    const char *path;
    ls_record_type type;
    int dims; /* 0: a scalar */
    int64_t shape[4];
    void *data;
} ls_record;

typedef struct ls_progress_mark {
    uint64_t step;            /* optimizer steps done */
    uint64_t epoch;           /* epochs done */
    uint64_t batch_in_epoch;  /* batches done of the epoch at hand */
    uint64_t seed;
    uint64_t data_digest;     /* XXH3-64 of the data's bytes */
    uint64_t fingerprint;     /* of the state at `step` */
    bool finished;            /* the run has come to its end */
} ls_progress_mark;

/* Writes FOLDER/checkpoint-<step>.h5: temporary file in the same folder, HDF5 format V110, chunked with Fletcher32,
 * object times off, sealed, fsync, read back and verified, rename, fsync of the folder. *path (if not NULL) receives
 * the name, owned by the caller. LS_OUTPUT with path and reason; then older files are as they were and the temporary
 * file is gone. Local; rank 0 calls it. */
ls_status ls_checkpoint_write(const char *folder, const ls_progress_mark *mark, const char *config_yaml,
                              const ls_record *records, int count, char **path);

/* An open checkpoint, verified against its seal before HDF5 parses a byte. */
typedef struct ls_checkpoint ls_checkpoint;

/* LS_BAD_DATA: not a checkpoint of ours, truncated, or not what was sealed. Trusts nothing: no filter plug-ins, hard
 * links only, exact types. */
ls_status ls_checkpoint_open(const char *path, ls_checkpoint **checkpoint);
void ls_checkpoint_close(ls_checkpoint **checkpoint);
const ls_progress_mark *ls_checkpoint_mark(const ls_checkpoint *checkpoint);
const char *ls_checkpoint_config(const ls_checkpoint *checkpoint);

/* Reads one record; record->path, type, dims and shape say what is expected and must match exactly, record->data has
 * room for it. LS_BAD_DATA with file, path and both shapes otherwise. */
ls_status ls_checkpoint_read(const ls_checkpoint *checkpoint, ls_record *record);

/* Length of a 1-d record, for those whose length the model does not give (history); -1 if it is not there. */
int64_t ls_checkpoint_length(const ls_checkpoint *checkpoint, const char *path);

#endif

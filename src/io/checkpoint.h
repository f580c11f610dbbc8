/* Checkpoints: one HDF5 file that is either whole or not there.
 *
 * Layout (format version 1), readable with h5py and h5dump, equal to the byte for equal content:
 *   /model/<name>          the model's state under PyTorch's names and shapes (state_dict), in its order
 *   /optimizer/m/<name>, /optimizer/v/<name>    moments, likewise
 *   /batchnorm/<name>      float64 accumulators of the BatchNorm statistics
 *   /history/..            the metrics so far (metrics.h)
 *   /provenance/..         of these, what depends on time; h5diff --exclude-path /provenance leaves it out
 *   /progress              the header below as attributes (uint64)
 *   /config/yaml           the resolved configuration: a dataset, one string (attributes would end at 64 KiB)
 * The file begins with a 512-byte HDF5 user block: magic, kind, format version, length and XXH3-128 of
 * everything behind it (seal.h). hdf5.h says how files are written and what is refused when they are read.
 *
 * PyTorch, where m is the same network:
 *   with h5py.File(path) as file:
 *       state = {name: torch.as_tensor(data[()]) for name, data in file["model"].items()}
 *   m.load_state_dict(state, strict=True) */
#ifndef LOCKSTEP_IO_CHECKPOINT_H
#define LOCKSTEP_IO_CHECKPOINT_H

#include <stdbool.h>
#include <stdint.h>

#include "core/status.h"
#include "io/record.h"

typedef struct ls_progress_mark {
    uint64_t step;           /* optimizer steps done */
    uint64_t epoch;          /* epochs done */
    uint64_t batch_in_epoch; /* batches done of the epoch at hand */
    uint64_t seed;
    uint64_t data_digest;            /* XXH3-64 of the data's bytes */
    uint64_t fingerprint;            /* of the state at `step` */
    bool finished;                   /* the run has come to its end */
    uint64_t instruction_set;        /* ls_instruction_set of the kernels that made it */
    uint64_t height, width, classes; /* of the data: with the configuration they give the model's shapes */
} ls_progress_mark;

/* Counters of a checkpoint stay below 2^53, so that every tool shows them exactly. */
#define LS_PROGRESS_LIMIT (((uint64_t)1 << 53) - 1)

/* Writes FOLDER/checkpoint-<step>.h5 (atomic_file.h): built and sealed in memory, temporary file in the same
 * folder, fsync, read back and compared, rename, fsync of the folder. *path (if not NULL) receives the name,
 * freed with free(). LS_OUTPUT with path and reason; then older files are as they were and the temporary file
 * is gone. LS_INTERNAL: out of memory, or records that make no file (a name twice, over 4 GiB). Local; rank 0
 * calls it. */
ls_status ls_checkpoint_write(const char *folder, const ls_progress_mark *mark, const char *config_yaml,
                              const ls_record *records, int count, char **path);
/* The same, as a file of that name. */
ls_status ls_checkpoint_write_file(const char *path, const ls_progress_mark *mark, const char *config_yaml,
                                   const ls_record *records, int count);

/* The step of a file name "checkpoint-<step>.h5", written as ls_checkpoint_write does; false for any other
 * name. */
bool ls_checkpoint_step_of(const char *name, uint64_t *step);

/* An open checkpoint, verified against its seal before HDF5 parses a byte. */
typedef struct ls_checkpoint ls_checkpoint;

/* LS_BAD_DATA: not a checkpoint of ours, truncated, or not what was sealed; "PATH: .. found .., expected ..".
 * Holds the whole file in memory until closed. Local. */
ls_status ls_checkpoint_open(const char *path, ls_checkpoint **checkpoint);
void ls_checkpoint_close(ls_checkpoint **checkpoint);
const char *ls_checkpoint_path(const ls_checkpoint *checkpoint);
const ls_progress_mark *ls_checkpoint_mark(const ls_checkpoint *checkpoint);
const char *ls_checkpoint_config(const ls_checkpoint *checkpoint);
/* Bytes of the file: what it describes is not larger. */
uint64_t ls_checkpoint_size(const ls_checkpoint *checkpoint);

/* LS_BAD_DATA: HDF5 cannot read all that is in it, so that another one is to be looked for. */
ls_status ls_checkpoint_check(const ls_checkpoint *checkpoint);

/* Reads one record; record->path, type, dims and shape say what is expected and must match exactly,
 * record->data has room for it. LS_BAD_DATA with file, path and both shapes otherwise. */
ls_status ls_checkpoint_read(const ls_checkpoint *checkpoint, ls_record *record);
/* Likewise many, up to the first that fails: faster than one after the other. */
ls_status ls_checkpoint_read_all(const ls_checkpoint *checkpoint, ls_record *records, int count);

/* Length of a 1-d record, for those whose length the model does not give (history); never more than fits the
 * file. -1 if it is not there, or not such a record. */
int64_t ls_checkpoint_length(const ls_checkpoint *checkpoint, const char *path);

#endif

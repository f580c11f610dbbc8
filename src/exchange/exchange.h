/* A model's way out of lockstep and in: `lockstep export` and `lockstep import`. Both work on one process,
 * without MPI. */
#ifndef LOCKSTEP_EXCHANGE_EXCHANGE_H
#define LOCKSTEP_EXCHANGE_EXCHANGE_H

#include <stdio.h>

#include "core/status.h"
#include "io/output.h"

/* Writes the model group of a checkpoint (PyTorch's state_dict) to a file, whole or not at all, and says so
 * on `out`. `format`: "safetensors", NULL likewise: 8 bytes of header length, a JSON header, the values in C
 * order. LS_BAD_DATA: no good checkpoint; LS_OUTPUT: the file cannot be written; LS_USAGE: another format; and
 * as ls_output_check(). */
ls_status ls_export(const char *checkpoint, const char *format, const ls_output *output, FILE *out);

/* Writes a checkpoint of step 0 that holds a PyTorch state_dict, saved as HDF5 with one dataset a tensor in
 * the root or in the group "model", under the network and data of a configuration: `output` is the file, or
 * a folder that gets checkpoint-0.h5; `force` replaces one that is there. Nothing of the state file is trusted.
 *
 * Names may have "module." or "_orig_mod." in front, as DistributedDataParallel and torch.compile put it.
 * Floating-point numbers of other sizes, integers of other sizes for counts, the other byte order and gzip are
 * converted by HDF5, and each such way of storing is told on `out` in a line. What overflows is not finite and
 * refused.
 *
 * Statistics of BatchNorms: exponential ones are PyTorch's own. Cumulative ones become those of
 * num_batches_tracked batches that all had this mean and variance; of a data set, those of one element, which
 * stand until training collects its own. Evaluation uses the mean and variance that were given in each case.
 *
 * LS_USAGE: the configuration; LS_BAD_DATA: the state file (all tensors that are missing, unexpected or of
 * another type or shape are named on
 * standard error, a line each) or the data; LS_BUSY: the output is there; LS_OUTPUT. */
ls_status ls_import(const char *config, const char *state, const char *output, bool force,
                    const char *const *overrides, int override_count, FILE *out);

#endif

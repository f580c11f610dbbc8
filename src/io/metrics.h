/* metrics.h5: what a run measured, kept in memory and rewritten atomically (atomic_file.h), so that readers
 * can open it at any time. NeXus attributes let viewers (H5Web, silx view) plot it. Sealed like a checkpoint.
 *
 *   /epoch (NXdata)  epoch, train_loss, train_accuracy, validation_loss, validation_accuracy, learning_rate
 *   /step  (NXdata)  step, loss, accuracy, learning_rate
 *   /tests (NXdata)  epoch, loss, accuracy: on the test set, after every test_interval epochs
 *   /trail           step [n], fingerprint [n] (uint64), tensors [n][t] (uint64), names (one string, a name a
 * line) /test            attributes loss, accuracy (once known): at the end /config/yaml     the
 * configuration, one string /provenance      everything about time, host and ranks: arrays seconds,
 * images_per_second, communication_share by epoch, and each fact as one string
 *
 * h5diff --exclude-path /provenance of two equal runs is clean. Texts are of fixed length. */
#ifndef LOCKSTEP_IO_METRICS_H
#define LOCKSTEP_IO_METRICS_H

#include <stdbool.h>
#include <stdint.h>

#include "core/status.h"
#include "io/checkpoint.h"

typedef struct ls_metrics ls_metrics;

typedef struct ls_step_row {
    uint64_t step; /* 1, 2, .. */
    double loss, accuracy, learning_rate;
} ls_step_row;

typedef struct ls_epoch_row {
    uint64_t epoch; /* 1, 2, .. */
    double train_loss, train_accuracy;
    double validation_loss, validation_accuracy; /* NaN without a validation set */
    double learning_rate;
    /* provenance: of the epoch with its evaluations; of its training steps alone; part of the former */
    double seconds, images_per_second, communication_share;
} ls_epoch_row;

typedef struct ls_test_row {
    uint64_t epoch; /* 1, 2, .. */
    double loss, accuracy;
} ls_test_row;

/* A name and a value for /provenance. Bytes of a value that are no plain text are shown as '?'. */
typedef struct ls_fact {
    const char *name, *value;
} ls_fact;

/* Starts an empty history for FOLDER/metrics.h5; writes nothing yet. tensor_names: of the trail's columns. */
ls_status ls_metrics_create(const char *folder, const char *config_yaml, const ls_fact *facts, int fact_count,
                            const char *const *tensor_names, int tensor_count, ls_metrics **metrics);
void ls_metrics_destroy(ls_metrics **metrics);

ls_status ls_metrics_add_step(ls_metrics *metrics, const ls_step_row *row);
ls_status ls_metrics_add_epoch(ls_metrics *metrics, const ls_epoch_row *row);
ls_status ls_metrics_add_test(ls_metrics *metrics, const ls_test_row *row);
ls_status ls_metrics_add_trail(ls_metrics *metrics, uint64_t step, uint64_t fingerprint,
                               const uint64_t *tensors);
/* Epochs that have a row. */
int64_t ls_metrics_epochs(const ls_metrics *metrics);
/* The result at the end. */
void ls_metrics_set_test(ls_metrics *metrics, double loss, double accuracy);
/* Forgets it: a run that had ended goes on. */
void ls_metrics_clear_test(ls_metrics *metrics);

/* Writes the file; unless `now`, at most once every 2 seconds (monotonic clock), and less often once writing
 * would take more than 2 % of the time. LS_OUTPUT with path and reason; the older file is then as it was. */
ls_status ls_metrics_write(ls_metrics *metrics, int now);
/* Has anything been added since it was last written? */
bool ls_metrics_unwritten(const ls_metrics *metrics);

/* Everything that restore needs, as records for a checkpoint: "history/epoch/train_loss", ..,
 * "history/trail/tensors", "history/test/loss" (length 0 or 1), and "provenance/seconds", .. . The array
 * belongs to the metrics and is valid until the next ls_metrics_add_.., ls_metrics_set_test or
 * ls_metrics_restore. */
ls_status ls_metrics_records(ls_metrics *metrics, const ls_record **records, int *count);
/* Replaces the history by a checkpoint's. LS_BAD_DATA with path if it is not there whole; then nothing has
 * changed. */
ls_status ls_metrics_restore(ls_metrics *metrics, const ls_checkpoint *checkpoint);

#endif

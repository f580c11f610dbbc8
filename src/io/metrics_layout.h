/* The columns of metrics.h5, for those who write it, read it and compare it. */
#ifndef LOCKSTEP_IO_METRICS_LAYOUT_H
#define LOCKSTEP_IO_METRICS_LAYOUT_H

#include <stdbool.h>
#include <stddef.h>

#include "io/metrics.h"

#define LS_METRICS_KIND "metrics"
#define LS_HISTORY      "history/"

enum {
    LS_METRICS_VERSION = 1,
    LS_STEP_COLUMNS = 4,
    LS_EPOCH_COLUMNS = 9,
    LS_TEST_ROW_COLUMNS = 3,
    LS_TRAIL_COLUMNS = 3,
    LS_TEST_COLUMNS = 2,
    LS_METRICS_COLUMNS_MAX = LS_EPOCH_COLUMNS
};

/* The facts of /provenance that a run writes, and that are read back, in the order in which they are shown.
 */
typedef enum ls_fact_name {
    LS_FACT_CONFIG,
    LS_FACT_DATA_SET,
    LS_FACT_DATA_FOLDER,
    LS_FACT_DATA_DIGEST,
    LS_FACT_HOST,
    LS_FACT_STARTED,
    LS_FACT_RANKS,
    LS_FACT_THREADS,
    LS_FACT_COMM,
    LS_FACT_BACKEND,
    LS_FACT_LOCKSTEP,
    LS_FACT_INSTRUCTION_SET,
    LS_FACT_COMPILER,
    LS_FACT_GIT,
    LS_FACT_MPI,
    LS_FACT_HDF5,
    LS_FACT_BITS,
    LS_FACTS
} ls_fact_name;
extern const char *const ls_fact_names[LS_FACTS];

/* A column's path is the one in a checkpoint; metrics.h5 has it without "history/". All values are 8 bytes
 * wide; the first column of each table counts (u64). */
typedef struct ls_metrics_column {
    const char *path;
    ls_record_type type;
    size_t offset; /* in the row's struct: ls_step_row, ls_epoch_row, ls_test_row */
} ls_metrics_column;

extern const ls_metrics_column ls_step_columns[LS_STEP_COLUMNS], ls_epoch_columns[LS_EPOCH_COLUMNS];
extern const ls_metrics_column ls_test_columns[LS_TEST_ROW_COLUMNS];
/* The last column is as wide as the model has tensors. */
extern const ls_metrics_column ls_trail_columns[LS_TRAIL_COLUMNS];

/* "train_loss"; does it depend on time and host?; the path in metrics.h5. */
const char *ls_metrics_column_name(const ls_metrics_column *column);
bool ls_metrics_column_is_provenance(const ls_metrics_column *column);
const char *ls_metrics_column_path(const ls_metrics_column *column);

#endif

#include "io/metrics_layout.h"

#include <stddef.h>
#include <string.h>

const char *const ls_fact_names[LS_FACTS] = {
    [LS_FACT_CONFIG] = "config",
    [LS_FACT_DATA_SET] = "data_set",
    [LS_FACT_DATA_FOLDER] = "data_folder",
    [LS_FACT_DATA_DIGEST] = "data_digest",
    [LS_FACT_HOST] = "host",
    [LS_FACT_STARTED] = "started",
    [LS_FACT_RANKS] = "ranks",
    [LS_FACT_THREADS] = "threads",
    [LS_FACT_COMM] = "comm",
    [LS_FACT_BACKEND] = "backend",
    [LS_FACT_LOCKSTEP] = "lockstep",
    [LS_FACT_INSTRUCTION_SET] = "instruction_set",
    [LS_FACT_COMPILER] = "compiler",
    [LS_FACT_GIT] = "git",
    [LS_FACT_MPI] = "mpi",
    [LS_FACT_HDF5] = "hdf5",
    [LS_FACT_BITS] = "bits",
};

const ls_metrics_column ls_step_columns[LS_STEP_COLUMNS] = {
    {LS_HISTORY "step/step", LS_RECORD_U64, offsetof(ls_step_row, step)},
    {LS_HISTORY "step/loss", LS_RECORD_F64, offsetof(ls_step_row, loss)},
    {LS_HISTORY "step/accuracy", LS_RECORD_F64, offsetof(ls_step_row, accuracy)},
    {LS_HISTORY "step/learning_rate", LS_RECORD_F64, offsetof(ls_step_row, learning_rate)},
};

const ls_metrics_column ls_epoch_columns[LS_EPOCH_COLUMNS] = {
    {LS_HISTORY "epoch/epoch", LS_RECORD_U64, offsetof(ls_epoch_row, epoch)},
    {LS_HISTORY "epoch/train_loss", LS_RECORD_F64, offsetof(ls_epoch_row, train_loss)},
    {LS_HISTORY "epoch/train_accuracy", LS_RECORD_F64, offsetof(ls_epoch_row, train_accuracy)},
    {LS_HISTORY "epoch/validation_loss", LS_RECORD_F64, offsetof(ls_epoch_row, validation_loss)},
    {LS_HISTORY "epoch/validation_accuracy", LS_RECORD_F64, offsetof(ls_epoch_row, validation_accuracy)},
    {LS_HISTORY "epoch/learning_rate", LS_RECORD_F64, offsetof(ls_epoch_row, learning_rate)},
    {"provenance/seconds", LS_RECORD_F64, offsetof(ls_epoch_row, seconds)},
    {"provenance/images_per_second", LS_RECORD_F64, offsetof(ls_epoch_row, images_per_second)},
    {"provenance/communication_share", LS_RECORD_F64, offsetof(ls_epoch_row, communication_share)},
};

const ls_metrics_column ls_test_columns[LS_TEST_ROW_COLUMNS] = {
    {LS_HISTORY "tests/epoch", LS_RECORD_U64, offsetof(ls_test_row, epoch)},
    {LS_HISTORY "tests/loss", LS_RECORD_F64, offsetof(ls_test_row, loss)},
    {LS_HISTORY "tests/accuracy", LS_RECORD_F64, offsetof(ls_test_row, accuracy)},
};

/* The last column is as wide as the model has tensors. */
const ls_metrics_column ls_trail_columns[LS_TRAIL_COLUMNS] = {
    {LS_HISTORY "trail/step", LS_RECORD_U64, 0},
    {LS_HISTORY "trail/fingerprint", LS_RECORD_U64, 0},
    {LS_HISTORY "trail/tensors", LS_RECORD_U64, 0},
};

const char *ls_metrics_column_name(const ls_metrics_column *column) {
    return strrchr(column->path, '/') + 1;
}

bool ls_metrics_column_is_provenance(const ls_metrics_column *column) {
    return strncmp(column->path, "provenance/", strlen("provenance/")) == 0;
}

const char *ls_metrics_column_path(const ls_metrics_column *column) {
    size_t skipped = strlen(LS_HISTORY);
    return strncmp(column->path, LS_HISTORY, skipped) == 0 ? column->path + skipped : column->path;
}

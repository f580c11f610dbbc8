/* metrics.h5 read back, for programs that look into runs: inspect, diff. Trusts nothing: the seal first, then
 * only the names below, hard links, exact types, sizes that fit the file (hdf5.h). */
#ifndef LOCKSTEP_IO_METRICS_FILE_H
#define LOCKSTEP_IO_METRICS_FILE_H

#include <stdbool.h>
#include <stdint.h>

#include "core/status.h"
#include "io/metrics_layout.h"

/* Columns of the trail: a tensor each. Rows are in the order of their steps, which increase. */
typedef struct ls_trail {
    int64_t length, tensors;
    uint64_t *step, *fingerprint; /* [length] */
    uint64_t *hash;               /* [length][tensors] */
    const char **names;           /* [tensors] */
} ls_trail;

typedef struct ls_metrics_file {
    char *path, *config;
    uint64_t size; /* bytes */
    ls_step_row *steps;
    ls_epoch_row *epochs;
    ls_test_row *tests;
    int64_t step_count, epoch_count, test_count;
    bool has_test;
    double test_loss, test_accuracy;
    ls_trail trail;
    char *names;           /* what trail.names point into */
    char *facts[LS_FACTS]; /* NULL: the file has none */
} ls_metrics_file;

/* LS_BAD_DATA "PATH: .. found .., expected ..": no such file, damaged, not metrics of ours. Local. */
ls_status ls_metrics_file_read(const char *path, ls_metrics_file **metrics);
void ls_metrics_file_destroy(ls_metrics_file **metrics);

/* A fact by its name; NULL if the file has none. */
const char *ls_metrics_file_fact(const ls_metrics_file *metrics, const char *name);

#endif

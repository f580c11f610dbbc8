/* The comparisons that diff is made of. Each says on `out` what it found and sets *different where numbers
 * differ or one side goes further; a failure is one of memory or of a file. Internal to src/inspect. */
#ifndef LOCKSTEP_INSPECT_COMPARE_H
#define LOCKSTEP_INSPECT_COMPARE_H

#include <stdio.h>

#include "inspect/subject.h"

/* A configuration as it stands in a file. */
typedef struct ls_config_text {
    const char *path, *yaml;
} ls_config_text;

/* Names the keys of the result that differ, with both values. LS_BAD_DATA: a text is no configuration. */
ls_status ls_compare_configs(const ls_config_text *a, const ls_config_text *b, FILE *out);

/* Trails, steps, epochs, test results. */
void ls_compare_runs(const ls_metrics_file *a, const ls_metrics_file *b, FILE *out, bool *different);

/* Tensors: names and shapes, and of one step the values in units in the last place. */
ls_status ls_compare_models(const ls_saved_model *a, const ls_saved_model *b, FILE *out, bool *different);

#endif

/* What a run's record says about where and how it was made: /provenance of metrics.h5. */
#ifndef LOCKSTEP_TRAIN_FACTS_H
#define LOCKSTEP_TRAIN_FACTS_H

#include <stdio.h>

#include "io/metrics_layout.h"
#include "train/trainer.h"

enum { LS_FACT_TEXT = 512 };

typedef struct ls_facts {
    ls_fact list[LS_FACTS];
    char text[LS_FACTS][LS_FACT_TEXT];
    int count;
} ls_facts;

ls_status ls_facts_collect(const ls_trainer *trainer, const char *config_path, ls_facts *facts);

/* "lockstep 0.1.0 (git 1234567)", and the versions of bits, MPI, HDF5, compiler and the instruction set that
 * kernels use here, a line each. */
void ls_version_print(FILE *out);

#endif

/* What a model makes of each sample, known to all ranks: gathered by the sample's place in the batch, so that
 * nothing depends on the number of ranks. All functions are collective. */
#ifndef LOCKSTEP_TRAIN_OUTCOMES_H
#define LOCKSTEP_TRAIN_OUTCOMES_H

#include "train/trainer.h"

typedef struct ls_outcome {
    double loss;        /* clipped as in training */
    double probability; /* of the predicted class */
    int64_t predicted;  /* the first of the largest logits */
} ls_outcome;

/* Runs a program on samples[begin, begin + count) of a set and adds the batch's sums to *score; count is at
 * most the program's batch. LS_STOPPED, agreed: a signal came to some rank. */
ls_status ls_run_batch(ls_trainer *trainer, ls_program *program, const ls_dataset *set,
                       const uint32_t *samples, int64_t begin, int64_t count, ls_score *score);

/* The outcomes [count] of the batch that the program has just run. */
ls_status ls_gather_outcomes(ls_trainer *trainer, const ls_program *program, ls_outcome *outcomes);

/* ls_evaluate() with the outcomes [count] of all samples. */
ls_status ls_evaluate_each(ls_trainer *trainer, const ls_dataset *set, const uint32_t *samples, int64_t count,
                           ls_score *score, ls_outcome *outcomes);

#endif

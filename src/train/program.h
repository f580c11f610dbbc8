/* Programs: the run's network and loss on a graph of their own, planned for one purpose. */
#ifndef LOCKSTEP_TRAIN_PROGRAM_H
#define LOCKSTEP_TRAIN_PROGRAM_H

#include "layers/input/input.h"
#include "train/trainer.h"

/* For batches of up to `batch` samples. With a perturbation (or NULL), which must outlive the program, the
 * input is that of an attack. The input is the graph's op 0. Local. */
ls_status ls_program_create(ls_trainer *trainer, ls_purpose purpose, int64_t batch,
                            const ls_perturbation *perturbation, ls_program *program);
/* Sets its batch to the first `count` of these samples of the whole batch's: every rank takes its own of them. */
ls_status ls_program_select(const ls_trainer *trainer, ls_program *program, const uint32_t *samples,
                            int64_t count);
/* Sets its batch to one of so many samples, which it is given otherwise. */
void ls_program_resize(ls_program *program, int64_t count);
/* Safe twice. */
void ls_program_destroy(ls_program *program);

#endif

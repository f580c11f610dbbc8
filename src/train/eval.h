/* The verbs that look at a checkpoint's model. Both are collective: any number of ranks prints and writes the
 * same. A signal (signals.h) stops them after the batch at hand with LS_STOPPED; then nothing is printed or
 * written.
 *
 * eval --output, a file of kind "evaluation": groups /validation and /test with attributes samples, loss,
 * accuracy, uncertainty, confusion_axes; confusion [true][predicted]; of each sample (index in its file) sample, class,
 * predicted, probability (of the predicted class), loss; the same of the worst mistakes under worst/, with
 * their images [height][width], 0..1.
 *
 * attack --output, a file of kind "attack": /curve with attribute samples and epsilon, loss, accuracy of each
 * epsilon; /examples with sample, class, original, perturbation (signs), adversarial
 * [epsilon][example][height][width], predicted and probability [epsilon][example]; images 0..1. */
#ifndef LOCKSTEP_TRAIN_EVAL_H
#define LOCKSTEP_TRAIN_EVAL_H

#include <stdio.h>

#include "core/keys.h"
#include "dist/comm.h"
#include "io/json.h"
#include "io/output.h"
#include "train/restore.h"

/* What to look at, and how to say what was found. */
typedef struct ls_look {
    const char *checkpoint;
    const char *const
        *overrides; /* KEY=VALUE: keys of the run (data, threads, eval_batch), and those of the verb */
    int override_count;
    bool json;
    /* HDF5 file; one of the same kind is replaced without being forced */
    ls_output output;
} ls_look;

/* Loss, accuracy, confusion and the worst mistakes on the validation and the test samples. */
ls_status ls_eval(ls_comm *comm, const ls_look *look);

/* The fast gradient sign method (Goodfellow, Shlens, Szegedy, 2015): x' = clip(x + epsilon sign(dL/dx), 0, 1)
 * in units of the 0..1 image, L the loss of the model in evaluation mode; loss and accuracy on x' against
 * epsilon. */
ls_status ls_attack(ls_comm *comm, const ls_look *look);

/* Keys of attack alone. */
extern const ls_key_table ls_attack_keys;

/* Members of an open object: which checkpoint on which data. */
void ls_restored_write_json(const ls_restored *restored, ls_json *json);

#endif

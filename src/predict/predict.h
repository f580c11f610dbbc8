/* A trained model in a program: a data set is read, a checkpoint is loaded, images are classified.
 *
 *     ls_dataset set;
 *     ls_model *model;
 *     ls_status status = ls_dataset_read("data/mnist", NULL, &set);
 *     if (status == LS_OK) status = ls_model_load("runs/quickstart/checkpoint-5880.h5", 1, &model);
 *     if (status == LS_OK) status = ls_model_classify(model, set.images, set.count, classes, probabilities);
 *
 * examples/classify.c is a whole program. What fails returns a status, and ls_error_message() says what was
 * found and what was expected. No MPI is started. All functions are local; one thread at a time reads files
 * or uses a model, different models may be used by different threads. */
#ifndef LOCKSTEP_PREDICT_H
#define LOCKSTEP_PREDICT_H

#include <stdint.h>

#include "core/dataset.h"
#include "core/status.h"

/* Reads a data set, as `data=FOLDER` names it (io/reader.h: the formats): of its training and its test part
 * the bytes [count][height][width] and a label of each image. Either may be NULL; the sets are the caller's, to
 * be freed by ls_dataset_destroy(). `classes` is that of the training part in both. LS_BAD_DATA: files that are
 * missing, damaged, or do not belong together; then both sets are empty. */
ls_status ls_dataset_read(const char *folder, ls_dataset *training, ls_dataset *test);

/* A model in evaluation mode, ready to run: its memory is allocated once. */
typedef struct ls_model ls_model;

/* Loads a checkpoint (checkpoint-<step>.h5 of a run folder, or what `lockstep import` made), its seal and its
 * fingerprint verified, for `threads` threads, 1 or more. It computes with the instructions that LOCKSTEP_ISA
 * says, or the processor's best. LS_BAD_DATA: no good checkpoint; LS_USAGE: no such threads or instructions;
 * LS_INTERNAL: out of memory. *model is NULL then, else the caller's. */
ls_status ls_model_load(const char *path, int threads, ls_model **model);
/* Safe twice. */
void ls_model_destroy(ls_model **model);

/* What a model is. */
typedef struct ls_model_facts {
    int height, width, classes; /* of the images that it takes, and of its answers */
    int64_t parameters;
    uint64_t step, epoch;    /* of the training, when it was saved */
    uint64_t fingerprint;    /* of its tensors: what the run has printed */
    const char *config;      /* the resolved configuration, YAML; the model's */
    const char *computes_by; /* instructions: "avx512" */
} ls_model_facts;
ls_model_facts ls_model_describe(const ls_model *model);

/* Classifies `count` images, bytes [count][height][width], 0 .. 255, as they are in files: what the network
 * takes (pixels: unit, or bytes) it is given. classes [count] (the most probable one, the first of several)
 * and probabilities [count][classes of the model] are filled; either may be NULL. The answer for an image has
 * the same bits whatever other images come with it, for any number of threads, and as `lockstep eval` has
 * them. LS_USAGE: a negative count; LS_NOT_FINITE: an image (by its number) whose probabilities are not
 * finite, as those of a model that has diverged. */
ls_status ls_model_classify(ls_model *model, const uint8_t *images, int64_t count, int *classes,
                            double *probabilities);

#endif

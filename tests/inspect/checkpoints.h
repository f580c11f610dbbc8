/* Small checkpoints and metrics, made for the tests of inspect and diff, and what the verbs say of them. */
#ifndef LOCKSTEP_TESTS_INSPECT_CHECKPOINTS_H
#define LOCKSTEP_TESTS_INSPECT_CHECKPOINTS_H

#include "io/checkpoint.h"
#include "model/state.h"

/* A network of images of 3 x 4 pixels: flatten, batchnorm, dense of 5, relu, dense of 2. */
extern const char made_config[];

/* A model with its initial parameters for seed 1, exported; `yaml` must be a configuration. */
typedef struct made_model {
    struct ls_network *network;
    ls_state state;
    ls_progress_mark mark; /* of step 7; the fingerprint is that of the state */
    char yaml[4096];
} made_model;

void make_model(made_model *model, const char *yaml);
void free_model(made_model *model);
/* Record of that path, which must be there. */
ls_record *made_record(made_model *model, const char *path);
/* Fingerprints what the records hold now and writes FOLDER/checkpoint-<step>.h5, FOLDER = scratch folder. */
void write_model(made_model *model);

/* Run the verbs and keep what they print, until the next call. */
ls_status diff_of(const char *a, const char *b);
ls_status inspect_of(const char *path, int json);
const char *printed(void);
/* Fails the test unless that text holds `part`, or the last message does. */
void assert_printed(const char *part);
void assert_not_printed(const char *part);
void assert_message(const char *part);

#endif

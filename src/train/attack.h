/* The parts of the fast gradient sign method: the attack itself (attack.c), its keys (attack_keys.c) and what
 * is said of it (attack_report.c). */
#ifndef LOCKSTEP_TRAIN_ATTACK_H
#define LOCKSTEP_TRAIN_ATTACK_H

#include "layers/input/input.h"
#include "train/eval.h"
#include "train/outcomes.h"
#include "train/result_file.h"

typedef struct ls_attack_options {
    double epsilon[LS_MAX_EPSILONS]; /* increasing */
    int count;
    int64_t samples;  /* of the test set, from its first on; 0: all */
    int64_t examples; /* classes of which an image is kept */
} ls_attack_options;

/* Takes the keys of the attack out of the overrides and copies the others to rest[], which has room for all.
 * LS_USAGE. */
ls_status ls_attack_options_read(const ls_look *look, ls_attack_options *options, const char **rest,
                                 int *rest_count);

/* The first sample of a class that is recognised as it is, and what becomes of it. */
typedef struct ls_attack_example {
    int64_t sample; /* -1: none */
    int8_t *sign;   /* [height][width]; owned */
    int64_t predicted[LS_MAX_EPSILONS];
    double probability[LS_MAX_EPSILONS]; /* of the predicted class */
} ls_attack_example;

typedef struct ls_attack_result {
    const ls_restored *restored;
    ls_attack_options options;
    int64_t samples;
    ls_score score[LS_MAX_EPSILONS];
    ls_attack_example *examples; /* [example_count], by class; owned */
    int64_t example_count;
} ls_attack_result;

void ls_attack_print_text(const ls_attack_result *result);
void ls_attack_print_json(const ls_attack_result *result);
ls_status ls_attack_write_file(const ls_attack_result *result, const char *path);

#endif

/* How a model does on a set of samples: in all, by class, and where it is most wrong. */
#ifndef LOCKSTEP_TRAIN_SCORES_H
#define LOCKSTEP_TRAIN_SCORES_H

#include "io/hdf5.h"
#include "io/json.h"
#include "train/outcomes.h"
#include "train/result_file.h"

typedef struct ls_scores {
    const char *name; /* "validation", "test" */
    const ls_dataset *set;
    const uint32_t *samples; /* [count] indices in the set */
    int64_t count;
    ls_outcome *outcomes; /* [count]; owned */
    ls_score total;
    int64_t classes;
    int64_t *confusion; /* [true class][predicted class]; owned */
    int64_t
        worst[LS_WORST_MISTAKES]; /* positions in the list: wrong, largest loss first, then smallest index */
    int worst_count;
} ls_scores;

/* Evaluates the samples [count] of a set; set and samples must outlive the scores. Collective, the same on
 * every rank. */
ls_status ls_scores_collect(ls_trainer *trainer, const char *name, const ls_dataset *set,
                            const uint32_t *samples, int64_t count, ls_scores *scores);
void ls_scores_destroy(ls_scores *scores);

/* The standard deviation of `correct` of n right answers as an estimate: sqrt(a (1 - a) / n), a = correct /
 * n. */
double ls_accuracy_uncertainty(double correct, int64_t n);

/* Samples of a true class, by counts [true class][predicted class]; the diagonal holds those that were
 * recognised. */
int64_t ls_confusion_samples(const int64_t *confusion, int64_t classes, int64_t class);
/* The keys "classes", "confusion_axes" and "confusion" of the object at hand. */
void ls_confusion_json(ls_json *json, const int64_t *confusion, int64_t classes);

/* One line; then, for people, everything else. Nothing where there are no samples. */
void ls_scores_print_line(const ls_scores *scores, FILE *out);
void ls_scores_print_details(const ls_scores *scores, FILE *out);
/* An object under the set's name; null where there are no samples. */
void ls_scores_write_json(const ls_scores *scores, ls_json *json);
/* A group of that name (eval.h); none where there are no samples. */
ls_status ls_scores_write_hdf5(const ls_scores *scores, ls_h5_file *file);

#endif

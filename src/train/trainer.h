/* A training run: what it is made of, and the step. The order of reading: setup.c puts it together, step.c is
 * one step from top to bottom, evaluate.c measures, train.c is the loop around them. */
#ifndef LOCKSTEP_TRAIN_TRAINER_H
#define LOCKSTEP_TRAIN_TRAINER_H

#include <math.h>

#include "core/elementary.h"
#include "core/team.h"
#include "dist/comm.h"
#include "dist/gradient.h"
#include "graph/op.h"
#include "graph/plan.h"
#include "io/config.h"
#include "model/network.h"
#include "model/optimizer.h"
#include "model/schedule.h"
#include "model/state.h"
#include "train/data.h"
#include "train/options.h"
#include "train/update.h"

/* One graph with its plan, for one purpose. */
typedef struct ls_program {
    ls_graph *graph;
    ls_plan *plan;
    const ls_op *loss;
    ls_shards shards;
    ls_shards all;    /* of a rank that had them all, where the plan shares memory with other ranks */
    uint32_t *sample; /* [local rows of the largest batch], in backend memory */
} ls_program;

/* Loss and correct answers, summed over samples. */
typedef struct ls_score {
    double loss, correct;
    int64_t count;
} ls_score;

/* sum / count; NaN of nothing. */
static inline double ls_mean(double sum, int64_t count) {
    return count > 0 ? ls_one_nan(sum / (double)count) : (double)NAN;
}

/* Words that ride along with the sum of a batch over all ranks. */
enum { LS_TOTAL_LOSS, LS_TOTAL_CORRECT, LS_TOTAL_STOP, LS_TOTAL_TROUBLE, LS_STEP_TOTALS };

/* What a step leaves to be read, the same on every rank. */
typedef struct ls_step_record {
    double sums[LS_STEP_TOTALS];
    double rate; /* learning rate */
    ls_verdict verdict;
    int parameter; /* the first one whose gradient is not finite, or -1 */
} ls_step_record;

typedef struct ls_trainer {
    ls_comm *comm;
    ls_config *config;
    ls_options options;
    ls_data data;
    const ls_backend *backend;
    const ls_backend *gpu;  /* that, if it is a device's, which is owned; else NULL */
    char why_device[512];   /* for people: which device, and why */
    ls_dataset train, test; /* those of `data`, in backend memory */
    ls_team *team;
    ls_lane lane; /* of what is not a plan's, on the calling thread */
    ls_network *network;
    ls_optimizer optimizer;
    ls_schedule schedule;
    ls_program training, evaluating, collecting; /* collecting only with `statistics: dataset` */
    ls_gradient *gradient;
    ls_updater *updater;
    struct ls_device_step *device_step; /* NULL: the host takes part in every step */
    /* a device may go ahead of `step`: between the steps of which the options say that the state is looked at
     * (checks, checkpoints, trail, ends of epochs) nobody does */
    bool ahead;
    ls_state state;            /* the state as records: fingerprints, checkpoints */
    uint32_t *order;           /* [ls_trainer_epoch_samples()] samples of the epoch at hand, in order */
    uint32_t *permutation;     /* [data.training] the one that these come from .. */
    int64_t permutation_index; /* .. which is this of the endless row of them; -1: none yet */
    int64_t step, epoch, batch_in_epoch; /* done so far; epoch counts finished ones */
    ls_score epoch_score;                /* of the epoch at hand */
    ls_score batch_score;                /* of the last batch */
    double batch_rate;                   /* its learning rate */
    ls_step_record record;               /* of the step that was launched last */
    double *flags;                       /* [nodes][2] what this rank knows alone, in the sum of a batch */
    double *losses;   /* [nodes][2] the loss's sums, of a batch, brought to the host from elsewhere */
    bool stop_agreed; /* a signal came to some rank, and all know */
    const ls_observer *observer; /* of the steps, with the training plan; NULL: nobody */
    ls_status trouble; /* a failure that only this rank knows of, agreed with the next batch's sum */
} ls_trainer;

/* Sets up everything that trains and evaluates: network, initial state, plans, buffers. config and comm must
 * outlive the trainer. Collective; every failure is agreed. */
ls_status ls_trainer_create(ls_comm *comm, ls_config *config, ls_trainer **trainer);
/* The same on data that are there already, the same on every rank, and are taken over, also on failure. */
ls_status ls_trainer_create_on(ls_comm *comm, ls_config *config, ls_data *data, ls_trainer **trainer);
void ls_trainer_destroy(ls_trainer **trainer);

/* One of the trainer's sets as its plans read it. */
const ls_dataset *ls_trainer_placed(const ls_trainer *trainer, const ls_dataset *set);

int64_t ls_trainer_epoch_samples(const ls_trainer *trainer);
int64_t ls_trainer_batches_per_epoch(const ls_trainer *trainer);
/* Of batch `number` (0, 1, ..) of an epoch; the last one may be smaller. */
int64_t ls_trainer_batch_samples(const ls_trainer *trainer, int64_t number);

/* What rides along with the sum of the batch that the program has run: its loss and correct answers, and what
 * this rank knows alone, a signal (signals.h) or a trouble: totals that are to be added, into sums
 * [LS_STEP_TOTALS], all on the host. Waits for the program. Valid until the next call.
 * Local. */
ls_status ls_trainer_totals(ls_trainer *trainer, const ls_program *program, double *sums,
                            ls_partial totals[2]);
/* What that sum says to all ranks: the score of the batch of so many samples, and whether to stop
 * (stop_agreed). Local. */
void ls_trainer_score(ls_trainer *trainer, int64_t samples, const double *sums, ls_score *batch);
/* And a trouble, which is returned everywhere. Collective. */
ls_status ls_trainer_take_totals(ls_trainer *trainer, const ls_program *program, const double *sums,
                                 ls_score *batch);

/* One optimizer step on the next batch of the epoch; begins a new epoch's order where the last one has ended.
 * What one rank knows alone (a signal, trainer->trouble) is known to all at its end: stop_agreed is set in
 * the same step everywhere, and a trouble is returned everywhere. LS_NOT_FINITE names step and tensor;
 * LS_REPLICAS_DIFFER the rank. Collective. */
ls_status ls_train_step(ls_trainer *trainer);
/* The same in two halves: begins a step, which the CPU runs to its end; then waits for the record of the
 * first that was begun and acts on it. On a GPU several may be begun before (train/device_step.h), as
 * ls_train_step() does where the trainer may be `ahead`. */
ls_status ls_train_launch(ls_trainer *trainer);
ls_status ls_train_take(ls_trainer *trainer);

/* Watches every step from now on, to the pieces of its plan; NULL: nobody does. The observer must outlive
 * them. Local. */
void ls_trainer_observe(ls_trainer *trainer, const ls_observer *observer);

/* Are the parameters and moments what the last update has left, and do all ranks hold the same of what each
 * has by itself? Every check_interval steps, and before anything is saved: a fault must not get into a
 * checkpoint. Nothing with check_interval=0. LS_REPLICAS_DIFFER names the rank. Collective. */
ls_status ls_trainer_check_replicas(ls_trainer *trainer);

/* Puts the epoch's samples in order: at its begin, and after a resume in its middle. */
void ls_trainer_order_epoch(ls_trainer *trainer);
/* That, and its score, of which there is none yet. */
void ls_trainer_begin_epoch(ls_trainer *trainer);

/* Loss and accuracy over the samples [count] (indices) of a set, each counted once, in evaluation mode.
 * LS_STOPPED, agreed: given up after a batch in which a signal came to some rank. Collective. */
ls_status ls_evaluate(ls_trainer *trainer, const ls_dataset *set, const uint32_t *samples, int64_t count,
                      ls_score *score);

/* The same of the whole test set. Collective. */
ls_status ls_evaluate_test(ls_trainer *trainer, ls_score *score);

/* Before evaluations: collects the statistics of BatchNorms with `statistics: dataset` in a pass over the
 * training samples; otherwise nothing. LS_STOPPED as above; they are then what they were. Collective. */
ls_status ls_collect_statistics(ls_trainer *trainer);

/* The fingerprint of the state now; the tensors' own are in trainer->state.hashes. Local. */
uint64_t ls_trainer_fingerprint(ls_trainer *trainer);

/* Every rank takes over the state that rank 0 has read into its records, and the place in the run.
 * Collective. */
ls_status ls_trainer_resume(ls_trainer *trainer, const ls_progress_mark *mark, const ls_score *epoch_score);

#endif

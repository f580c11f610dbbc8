/* The table of a run's options: parser, help and record all come from it. */
#include "train/options.h"

#define ROW(type_, effect_, member_, initial_, min_, max_, choices_, help_)                                  \
    {.name = #member_,                                                                                       \
     .type = LS_KEY_##type_,                                                                                 \
     .effect = LS_KEY_##effect_,                                                                             \
     .offset = offsetof(ls_options, member_),                                                                \
     .initial = (initial_),                                                                                  \
     .min = (min_),                                                                                          \
     .max = (max_),                                                                                          \
     .choices = (choices_),                                                                                  \
     .help = (help_)},
#define INT(effect, member, initial, min, max, help)  ROW(INT, effect, member, initial, min, max, NULL, help)
#define REAL(effect, member, initial, min, max, help) ROW(REAL, effect, member, initial, min, max, NULL, help)
#define BOOL(effect, member, initial, help)           ROW(BOOL, effect, member, initial, 0, 0, NULL, help)
#define TEXT(effect, member, initial, help)           ROW(STRING, effect, member, initial, 0, 0, NULL, help)
#define LIST(effect, member, initial, min, max, help)                                                        \
    ROW(INT_LIST, effect, member, initial, min, max, NULL, help)
#define CHOICE(effect, member, initial, choices, help)                                                       \
    ROW(CHOICE, effect, member, initial, 0, 0, choices, help)

/* RUN: may change when a run is resumed, since the numbers that training produces stay the same. Where the
 * data lies is such a key: what it holds is checked by its digest. eval_batch is not: the last bits of
 * evaluation sums depend on it. Limits: seeds are exact in a double; epochs and steps fit the 32-bit counters
 * of the random numbers. */
/* clang-format off */
static const ls_key rows[] = {
    TEXT(RUN, data, "", "folder with the four IDX files; empty: search the usual places")
    INT(RESULT, split, "50000", 1, 1e9, "training samples; the rest of the training files validate")
    CHOICE(RESULT, pixels, "unit", "unit|bytes", "pixels scaled to 0..1, or left at 0..255")

    REAL(RESULT, augment, "0", 0, 1, "probability that a training sample is augmented")
    REAL(RESULT, rotation, "45", 0, 180, "largest rotation of an augmented sample, degrees either way")
    REAL(RESULT, brightness, "0.2", 0, 1, "brightness factor is uniform in 1-b .. 1+b")
    REAL(RESULT, contrast, "0.2", 0, 1, "contrast factor is uniform in 1-c .. 1+c")
    REAL(RESULT, contrast_probability, "1", 0, 1, "probability that an augmented sample's contrast changes")

    INT(RESULT, seed, "1", 0, 0x1p53, "seed of all random numbers")
    INT(RUN, epochs, "30", 1, 1e6, "passes over the training samples, or parts of it: samples_per_epoch")
    INT(RESULT, samples_per_epoch, "0", 0, 1e9,
        "training samples of an epoch, fresh ones until all have had their turn; 0: all")
    INT(RUN, steps, "0", 0, 4294967295.0, "stop after this many optimizer steps; 0: no limit")
    INT(RESULT, batch, "256", 1, 0x1p20, "samples per optimizer step, over all ranks")
    INT(RESULT, shards, "16", 1, 256, "parts a batch is cut into; at most so many ranks")
    CHOICE(RESULT, precision, "fp32", "fp32|fp64|bf16",
           "floating-point type of training; bf16: of the factors of products, else fp32")
    REAL(RESULT, loss_clip, "1e-8", 0, 0.5, "probabilities below this count as this in the loss")
    CHOICE(RESULT, clip_gradient, "ignored", "ignored|damped",
           "gradient p - y, or that times p/(p + clip) where p is clipped")

    CHOICE(RESULT, optimizer, "adam", "sgd|momentum|adam", "rule of the parameter updates")
    REAL(RESULT, lr, "0.001", 0, 1000, "learning rate")
    REAL(RESULT, momentum, "0.9", 0, LS_KEY_BELOW_ONE, "momentum: share of the last update that is kept")
    REAL(RESULT, beta1, "0.9", 0, LS_KEY_BELOW_ONE, "adam: decay of the mean of gradients")
    REAL(RESULT, beta2, "0.999", 0, LS_KEY_BELOW_ONE, "adam: decay of the mean of squared gradients")
    REAL(RESULT, epsilon, "1e-8", LS_KEY_ABOVE_ZERO, 1, "adam: added to the denominator")
    BOOL(RESULT, epsilon_inside, "false", "adam: sqrt(v + epsilon) instead of sqrt(v) + epsilon")
    REAL(RESULT, decay_power, "0", 0, 10, "learning rate / t^p at step t; 0: no decay")
    REAL(RESULT, l2_mean, "0", 0, 1e6, "factor of the mean of squared parameters in the loss")
    REAL(RESULT, weight_decay, "0", 0, 1e6, "factor of the parameter that is added to its gradient")
    CHOICE(RESULT, schedule, "constant", "constant|multistep|exponential",
           "learning rate times gamma: never, at milestones, or every epoch")
    LIST(RESULT, milestones, "[]", 1, 4294967295.0, "multistep: the steps at which the learning rate falls")
    REAL(RESULT, gamma, "0.1", LS_KEY_ABOVE_ZERO, 1, "factor of the learning rate in the schedule")

    TEXT(RUN, output, "", "run folder; empty: runs/NAME of the configuration")
    BOOL(RUN, overwrite, "false", "replace a run that the folder already holds")
    INT(RUN, threads, "1", 1, 256, "threads per rank")
    INT(RESULT, eval_batch, "1000", 1, 0x1p20, "samples per evaluation step, over all ranks")
    INT(RUN, test_interval, "0", 0, 1e6, "epochs between evaluations of the test set; 0: only at the end")
    INT(RUN, check_interval, "100", 0, 1e9, "steps between checks that replicas are equal and no bit has flipped; 0: never")
    INT(RUN, checkpoint_interval, "0", 0, 1e9, "steps between checkpoints; 0: only at the end")
    INT(RUN, keep, "3", 1, 1e6, "newest checkpoints that are kept, beside the best by validation")
    TEXT(RUN, resume, "none", "go on from a checkpoint: none, auto (the newest good one of the run folder), or a file")
    INT(RUN, trail_interval, "0", 0, 1e9, "steps between fingerprints in the trail; 0: none")
    REAL(RUN, timeout, "300", 0.1, 1e6, "seconds that a rank waits for the others")
    CHOICE(RUN, comm, "auto", "auto|self|mpi", "communication between ranks")
    BOOL(RUN, window, "true", "ranks of one node share parameters, moments and the update (same bits), instead of sending messages")
    BOOL(RUN, fuse, "true", "fuse layers into the kernels beside them (same bits)")
    CHOICE(RUN, memory, "check", "check|ignore", "refuse a network that takes more memory than there is, or try it")
    CHOICE(RUN, progress, "auto", "auto|bar|line|none", "how progress is shown on the terminal")
};
/* clang-format on */

const ls_key_table ls_option_keys = {rows, sizeof rows / sizeof *rows};

/* The table of a run's options: parser, help and record all come from it. */
#include "train/options.h"

#include <stdio.h>
#include <string.h>

/* The last argument: what else the row says, at least where its member is. */
#define ROW(type_, effect_, member_, initial_, min_, max_, choices_, help_, ...)                             \
    {.name = #member_,                                                                                       \
     .type = LS_KEY_##type_,                                                                                 \
     .effect = LS_KEY_##effect_,                                                                             \
     .initial = (initial_),                                                                                  \
     .min = (min_),                                                                                          \
     .max = (max_),                                                                                          \
     .choices = (choices_),                                                                                  \
     .help = (help_),                                                                                        \
     __VA_ARGS__},
#define AT(member) .offset = offsetof(ls_options, member)
#define INT(effect, member, initial, min, max, help)                                                         \
    ROW(INT, effect, member, initial, min, max, NULL, help, AT(member))
#define REAL(effect, member, initial, min, max, help)                                                        \
    ROW(REAL, effect, member, initial, min, max, NULL, help, AT(member))
#define BOOL(effect, member, initial, help) ROW(BOOL, effect, member, initial, 0, 0, NULL, help, AT(member))
#define PATH(effect, member, initial, help)                                                                  \
    ROW(STRING, effect, member, initial, 0, 0, NULL, help, AT(member), .path = true)
#define CHOICE(effect, member, initial, choices, help)                                                       \
    ROW(CHOICE, effect, member, initial, 0, 0, choices, help, AT(member))
/* The choices are classes, each with keys of its own. */
#define CLASS(effect, member, initial, classes_, help)                                                       \
    ROW(CHOICE, effect, member, initial, 0, 0, NULL, help, AT(member), .classes = &(classes_))
/* Read only where another key is above 0, or has one of these choices. */
#define WHEN_ABOVE_ZERO(key, member) AT(member), .when = {#key, NULL, NULL}
#define WHEN(key, chosen, member)    AT(member), .when = {#key, chosen, NULL}

/* All but RESULT may change when a run is resumed, since the numbers that training produces stay the same. Where the
 * data lies is such a key: what it holds is checked by its digest. eval_batch is not: the last bits of
 * evaluation sums depend on it. Limits: seeds are exact in a double; epochs and steps fit the 32-bit counters
 * of the random numbers. */
/* clang-format off */
static const ls_key rows[] = {
    PATH(RUN, data, "", "folder with the four IDX files; empty: search the usual places")
    INT(RESULT, split, "50000", 1, 1e9, "training samples; the rest of the training files validate")
    CHOICE(RESULT, pixels, "unit", "unit|bytes", "pixels scaled to 0..1, or left at 0..255")

    REAL(RESULT, augment, "0", 0, 1, "probability that a training sample is augmented")
    ROW(REAL, RESULT, rotation, "45", 0, 180, NULL, "largest rotation of an augmented sample, degrees either way",
        WHEN_ABOVE_ZERO(augment, rotation))
    ROW(REAL, RESULT, brightness, "0.2", 0, 1, NULL, "brightness factor is uniform in 1-b .. 1+b",
        WHEN_ABOVE_ZERO(augment, brightness))
    ROW(REAL, RESULT, contrast, "0.2", 0, 1, NULL, "contrast factor is uniform in 1-c .. 1+c",
        WHEN_ABOVE_ZERO(augment, contrast))
    ROW(REAL, RESULT, contrast_probability, "1", 0, 1, NULL, "probability that an augmented sample's contrast changes",
        WHEN_ABOVE_ZERO(contrast, contrast_probability))

    INT(RESULT, seed, "1", 0, 0x1p53, "seed of all random numbers")
    INT(TRAIN, epochs, "30", 1, 1e6, "passes over the training samples, or parts of it: samples_per_epoch")
    INT(RESULT, samples_per_epoch, "0", 0, 1e9,
        "training samples of an epoch, fresh ones until all have had their turn; 0: all")
    INT(TRAIN, steps, "0", 0, 4294967295.0, "stop after this many optimizer steps; 0: no limit")
    INT(RESULT, batch, "256", 1, 0x1p20, "samples per optimizer step, over all ranks")
    INT(RESULT, shards, "16", 1, 256, "parts a batch is cut into; at most so many ranks")
    CHOICE(RESULT, precision, "fp32", "fp32|fp64|bf16|tf32",
           "floating-point type of training; bf16, tf32: of the factors of products, else fp32; tf32: on GPUs alone")
    REAL(RESULT, loss_clip, "1e-8", 0, 0.5, "probabilities below this count as this in the loss")
    ROW(CHOICE, RESULT, clip_gradient, "ignored", 0, 0, "ignored|damped",
        "gradient p - y, or that times p/(p + clip) where p is clipped", WHEN_ABOVE_ZERO(loss_clip, clip_gradient))

    CLASS(RESULT, optimizer, "adam", ls_optimizers, "rule of the parameter updates")
    REAL(RESULT, lr, "0.001", 0, 1000, "learning rate")
    REAL(RESULT, decay_power, "0", 0, 10, "learning rate / t^p at step t; 0: no decay")
    INT(RESULT, warmup, "0", 0, 4294967295.0, "steps in which the learning rate rises in equal parts to its schedule's; 0: none")
    REAL(RESULT, l2_mean, "0", 0, 1e6, "factor of the mean of squared parameters in the loss; recorded losses are without it")
    REAL(RESULT, weight_decay, "0", 0, 1e6, "factor of the parameter that is added to its gradient")
    CLASS(RESULT, schedule, "constant", ls_schedules,
          "course of the learning rate, as a factor of lr")

    PATH(TRAIN, output, "", "run folder; empty: runs/NAME of the configuration")
    BOOL(TRAIN, overwrite, "false", "replace a run that the folder already holds")
    INT(RUN, threads, "1", 1, 256, "threads per rank")
    INT(RESULT, eval_batch, "1000", 1, 0x1p20, "samples per evaluation step, over all ranks")
    INT(TRAIN, test_interval, "0", 0, 1e6, "epochs between evaluations of the test set; 0: only at the end")
    INT(STEPS, check_interval, "100", 0, 1e9, "steps between checks that replicas are equal and no bit has flipped; 0: never")
    INT(TRAIN, checkpoint_interval, "0", 0, 1e9, "steps between checkpoints; 0: only at the end")
    INT(TRAIN, keep, "3", 1, 1e6, "newest checkpoints that are kept, beside the best by validation")
    PATH(TRAIN, resume, "none", "go on from a checkpoint: none, auto (the newest good one of the run folder), or a file")
    INT(TRAIN, trail_interval, "0", 0, 1e9, "steps between fingerprints in the trail; 0: none")
    ROW(REAL, RUN, timeout, "300", 0.1, 1e6, NULL, "seconds that a rank waits for the others",
        WHEN(comm, "auto|mpi", timeout))
    CHOICE(RUN, device, "auto", "auto|cpu|cuda", "what computes: a GPU each rank where there are (auto), the processor, or a GPU")
    ROW(CHOICE, RUN, record, "auto", 0, 0, "auto|off", "on a GPU, record what a step begins and replay it (same bits), or begin it each time",
        WHEN(device, "auto|cuda", record))
    CHOICE(RUN, comm, "auto", "auto|self|mpi", "communication between ranks")
    ROW(BOOL, RUN, window, "true", 0, 0, NULL, "ranks of one host share parameters, moments and the update (same bits), instead of sending messages",
        WHEN(comm, "auto|mpi", window))
    BOOL(RUN, fuse, "true", "fuse layers into the kernels beside them (same bits)")
    CHOICE(RUN, memory, "check", "check|ignore", "refuse a network that takes more memory than there is, or try it")
    CHOICE(TRAIN, progress, "auto", "auto|bar|line|none", "how progress is shown on the terminal")
};
/* clang-format on */

const ls_key_table ls_option_keys = {rows, sizeof rows / sizeof *rows};

/* The key that an override sets, or the one whose part it sets. */
static const char *name_of(const char *override, char name[LS_NAME_MAX]) {
    snprintf(name, LS_NAME_MAX, "%.*s", (int)strcspn(override, "=."), override);
    return name;
}

ls_status ls_options_check_bench(const char *const *overrides, int count) {
    char name[LS_NAME_MAX];
    for (int i = 0; i < count; i++) {
        const ls_key *key = ls_key_find(&ls_option_keys, name_of(overrides[i], name));
        if (key && key->effect == LS_KEY_TRAIN)
            return ls_fail(
                LS_USAGE,
                "command line: %s: %s is read by train alone; bench takes all other keys, and its own",
                overrides[i], name);
    }
    return LS_OK;
}

/* Of what a checkpoint does not fix. */
static bool is_read_by_look(const ls_key *key) {
    return key->effect == LS_KEY_RUN || strcmp(key->name, "eval_batch") == 0;
}

/* "data, threads and comm" */
static void list_read_by_look(char *text, size_t size) {
    const char *last = NULL;
    size_t at = 0;
    for (int i = 0; i < ls_option_keys.count; i++) {
        if (!is_read_by_look(&rows[i])) continue;
        if (last && at < size) at += (size_t)snprintf(text + at, size - at, "%s%s", at ? ", " : "", last);
        last = rows[i].name;
    }
    if (at < size) snprintf(text + at, size - at, " and %s", last);
}

/* Keys that nobody knows are left to the configuration, which finds the nearest name. */
ls_status ls_options_check_look(const char *verb, const ls_key_table *run_keys, const char *const *overrides,
                                int count) {
    char name[LS_NAME_MAX], taken[256];
    for (int i = 0; i < count; i++) {
        const ls_key *key = ls_key_find(run_keys, name_of(overrides[i], name));
        bool layers = strcmp(name, "network") == 0 || strcmp(name, "defaults") == 0;
        if (!layers && (!key || is_read_by_look(key))) continue;
        list_read_by_look(taken, sizeof taken);
        return ls_fail(LS_USAGE, "command line: %s: %s is %s; %s takes %s", overrides[i], name,
                       layers || key->effect == LS_KEY_RESULT ? "the checkpoint's" : "read by training alone",
                       verb, taken);
    }
    return LS_OK;
}

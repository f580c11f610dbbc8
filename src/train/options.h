/* The options of a run: one struct, one table (options.c) that parses, documents and records it. */
#ifndef LOCKSTEP_TRAIN_OPTIONS_H
#define LOCKSTEP_TRAIN_OPTIONS_H

#include "core/backend.h"
#include "core/keys.h"
#include "model/optimizer.h"
#include "model/schedule.h"

typedef enum ls_pixels { LS_PIXELS_UNIT, LS_PIXELS_BYTES } ls_pixels;
typedef enum ls_clip_gradient { LS_CLIP_IGNORED, LS_CLIP_DAMPED } ls_clip_gradient;
typedef enum ls_progress_kind {
    LS_PROGRESS_AUTO,
    LS_PROGRESS_BAR,
    LS_PROGRESS_LINE,
    LS_PROGRESS_NONE
} ls_progress_kind;
typedef enum ls_memory_kind { LS_MEMORY_CHECK, LS_MEMORY_IGNORE } ls_memory_kind;
typedef enum ls_device_kind { LS_DEVICE_AUTO, LS_DEVICE_CPU, LS_DEVICE_CUDA } ls_device_kind;
typedef enum ls_record_kind { LS_RECORD_AUTO, LS_RECORD_OFF } ls_record_kind;
typedef enum ls_comm_kind { LS_COMM_AUTO, LS_COMM_SELF, LS_COMM_MPI } ls_comm_kind;

typedef struct ls_options {
    /* data */
    char *data;    /* folder with the four IDX files; "" : search */
    int64_t split; /* training samples; the rest of the training files validate */
    int pixels;    /* ls_pixels: unit = 0..1, bytes = 0..255 */
    /* augmentation, per sample and on the fly */
    double augment;              /* probability that a sample is augmented at all */
    double rotation;             /* degrees, uniform in [-r, r] */
    double brightness;           /* factor uniform in [1-b, 1+b] */
    double contrast;             /* factor uniform in [1-c, 1+c] .. */
    double contrast_probability; /* .. with this probability */
    /* training */
    int64_t seed, epochs, samples_per_epoch, steps, batch, shards;
    int precision;     /* ls_precision */
    double loss_clip;  /* probabilities below count as this in the loss */
    int clip_gradient; /* ls_clip_gradient */
    int optimizer;     /* place in ls_optimizers; its own keys: ls_optimizer_read() */
    double lr;
    double decay_power;  /* lr / t^p */
    int64_t warmup;      /* steps in which the rate rises from lr / warmup */
    double l2_mean;      /* lambda x mean of the squares of all parameters, added to the loss */
    double weight_decay; /* as in PyTorch: added to the gradient */
    int schedule;        /* place in ls_schedules; its own keys: ls_schedule_read() */
    /* the run */
    char *output; /* run folder; "": runs/NAME */
    bool overwrite;
    int64_t threads, eval_batch, test_interval, check_interval, trail_interval;
    int64_t checkpoint_interval, keep;
    char *resume;   /* "none", "auto" or a file */
    double timeout; /* seconds a rank waits for the others */
    int device;     /* ls_device_kind */
    int record;     /* ls_record_kind */
    int comm;       /* ls_comm_kind */
    bool window;
    bool fuse;
    int memory;   /* ls_memory_kind */
    int progress; /* ls_progress_kind */
} ls_options;

/* Without the keys of optimizers and schedules: ls_keys_unfold() adds them. */
extern const ls_key_table ls_option_keys;

/* Of the words KEY=VALUE behind a verb: LS_USAGE where one sets a key of a run that the verb does not read. What a file
 * sets is for train, and passed over by others. */
ls_status ls_options_check_bench(const char *const *overrides, int count);
/* The same for a verb that looks at a checkpoint, on which the model and the split of the samples depend: else the
 * scores would be of something else. `run_keys`: all, with those of classes. */
ls_status ls_options_check_look(const char *verb, const ls_key_table *run_keys, const char *const *overrides,
                                int count);

#endif

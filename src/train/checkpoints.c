#include "train/checkpoints.h"

#include <dirent.h>
#include <errno.h>
#include <inttypes.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "core/log.h"
#include "train/recorded_config.h"

/* --- the files of a folder ------------------------------------------------------------------------- */

typedef struct step_list {
    uint64_t *steps; /* newest first */
    int count, capacity;
} step_list;

static int newest_first(const void *a, const void *b) {
    uint64_t x = *(const uint64_t *)a, y = *(const uint64_t *)b;
    return x < y ? 1 : x > y ? -1 : 0;
}

static ls_status append(step_list *list, uint64_t step) {
    if (list->count == list->capacity) {
        int wanted = list->capacity ? 2 * list->capacity : 16;
        uint64_t *bigger = realloc(list->steps, (size_t)wanted * sizeof *bigger);
        if (!bigger) return ls_fail(LS_INTERNAL, "out of memory for a list of checkpoints");
        list->steps = bigger;
        list->capacity = wanted;
    }
    list->steps[list->count++] = step;
    return LS_OK;
}

static ls_status list_steps(const char *folder, step_list *list) {
    DIR *stream = opendir(folder);
    ls_status status = LS_OK;
    *list = (step_list){0};
    if (!stream) return ls_fail(LS_OUTPUT, "%s: cannot be read: %s", folder, strerror(errno));
    while (status == LS_OK) {
        uint64_t step;
        errno = 0;
        const struct dirent *entry = readdir(stream);
        if (!entry) {
            if (errno != 0) status = ls_fail(LS_OUTPUT, "%s: cannot be read: %s", folder, strerror(errno));
            break;
        }
        if (ls_checkpoint_step_of(entry->d_name, &step)) status = append(list, step);
    }
    if (closedir(stream) != 0 && status == LS_OK)
        status = ls_fail(LS_OUTPUT, "%s: cannot be read: %s", folder, strerror(errno));
    if (list->count > 0) qsort(list->steps, (size_t)list->count, sizeof *list->steps, newest_first);
    return status;
}

ls_status ls_checkpoints_path(const char *folder, uint64_t step, char **path) {
    size_t size = strlen(folder) + 48;
    LS_TRY(ls_calloc(path, size, 1, "a path"));
    snprintf(*path, size, "%s/checkpoint-%" PRIu64 ".h5", folder, step);
    return LS_OK;
}

ls_status ls_checkpoints_list(const char *folder, uint64_t **steps, int *count) {
    step_list list;
    ls_status status = list_steps(folder, &list);
    *steps = list.steps;
    *count = list.count;
    return status;
}

/* --- saving ---------------------------------------------------------------------------------------- */

/* Only after a new one stands whole; so there is never a moment without a good one. */
static ls_status prune(const char *folder, int64_t keep, uint64_t best, uint64_t written) {
    step_list list;
    ls_status status = list_steps(folder, &list);
    for (int i = 0, kept = 0; i < list.count && status == LS_OK; i++) {
        char *path;
        if (list.steps[i] > written)
            continue; /* passed over when the run was resumed, so it does not count */
        if (list.steps[i] == written || kept < keep || list.steps[i] == best) {
            kept++;
            continue;
        }
        status = ls_checkpoints_path(folder, list.steps[i], &path);
        if (status != LS_OK) break;
        if (unlink(path) != 0 && errno != ENOENT)
            status = ls_fail(LS_OUTPUT, "%s: cannot be removed: %s", path, strerror(errno));
        free(path);
    }
    free(list.steps);
    return status;
}

ls_status ls_checkpoints_save(const char *folder, ls_trainer *t, const char *config_yaml, ls_metrics *metrics,
                              const ls_best *best, bool finished) {
    const ls_record *history;
    ls_record *all;
    int history_count, count = t->state.count;
    double score[3] = {t->epoch_score.loss, t->epoch_score.correct, (double)t->epoch_score.count};
    double best_values[2] = {best->step, best->loss};
    ls_progress_mark mark = {.step = (uint64_t)t->step,
                             .epoch = (uint64_t)t->epoch,
                             .batch_in_epoch = (uint64_t)t->batch_in_epoch,
                             .seed = (uint64_t)t->options.seed,
                             .data_digest = t->data.digest,
                             .fingerprint = ls_trainer_fingerprint(t),
                             .finished = finished,
                             .instruction_set = t->backend->instruction_set,
                             .height = (uint64_t)t->data.train.height,
                             .width = (uint64_t)t->data.train.width,
                             .classes = (uint64_t)t->data.train.classes};
    /* it would take the place of those that a run can go on from */
    const char *bad = ls_state_not_finite(&t->state);
    if (bad)
        return ls_fail(LS_NOT_FINITE, "step %" PRIu64 ": %s is not finite: no checkpoint is written",
                       mark.step, bad);
    LS_TRY(ls_metrics_records(metrics, &history, &history_count));
    LS_TRY(ls_calloc(&all, (size_t)(count + history_count + 2), sizeof *all, "a checkpoint"));
    memcpy(all, t->state.records, (size_t)count * sizeof *all);
    memcpy(all + count, history, (size_t)history_count * sizeof *all);
    count += history_count;
    all[count++] = (ls_record){"progress/epoch_score", LS_RECORD_F64, 1, {3}, score};
    all[count++] = (ls_record){"progress/best", LS_RECORD_F64, 1, {2}, best_values};
    ls_status status = ls_checkpoint_write(folder, &mark, config_yaml, all, count, NULL);
    free(all);
    LS_TRY(status);
    return prune(folder, t->options.keep, (uint64_t)best->step, mark.step);
}

/* --- resuming -------------------------------------------------------------------------------------- */

static ls_status find_newest(const char *folder, ls_checkpoint **checkpoint) {
    step_list list;
    ls_status status = list_steps(folder, &list);
    for (int i = 0; i < list.count && status == LS_OK && !*checkpoint; i++) {
        char *path;
        status = ls_checkpoints_path(folder, list.steps[i], &path);
        if (status != LS_OK) break;
        ls_status opened = ls_checkpoint_open(path, checkpoint);
        if (opened == LS_OK) opened = ls_checkpoint_check(*checkpoint);
        if (opened != LS_OK) ls_checkpoint_close(checkpoint);
        if (opened == LS_BAD_DATA)
            ls_log(LS_LOG_WARNING, "passed over: %s", ls_error_message());
        else
            status = opened; /* not the file's fault: no reason to go back further */
        free(path);
    }
    if (status == LS_OK && list.count > 0 && !*checkpoint)
        status = ls_fail(LS_BAD_DATA, "%s: none of its %d checkpoints is usable; nothing was changed", folder,
                         list.count);
    free(list.steps);
    return status;
}

ls_status ls_checkpoints_find(const char *folder, const char *resume, ls_checkpoint **checkpoint) {
    *checkpoint = NULL;
    if (strcmp(resume, "auto") != 0) return ls_checkpoint_open(resume, checkpoint);
    if (access(folder, F_OK) != 0) return LS_OK; /* nothing yet */
    return find_newest(folder, checkpoint);
}

static ls_status compare_config(const ls_checkpoint *checkpoint, const char *own) {
    char *theirs;
    LS_TRY(ls_recorded_config(ls_checkpoint_config(checkpoint), &theirs));
    ls_status status = ls_recorded_config_compare(ls_checkpoint_path(checkpoint), theirs, own);
    free(theirs);
    return status;
}

static ls_status check_mark(const ls_checkpoint *checkpoint, const ls_trainer *t) {
    const ls_progress_mark *mark = ls_checkpoint_mark(checkpoint);
    uint64_t batches = (uint64_t)ls_trainer_batches_per_epoch(t);
    if (mark->data_digest != t->data.digest)
        return ls_fail(LS_BAD_DATA, "%s was trained on other data: digest %016" PRIx64 "; %s has %016" PRIx64,
                       ls_checkpoint_path(checkpoint), mark->data_digest, t->data.folder, t->data.digest);
    if (mark->step > UINT32_MAX || mark->epoch > mark->step || mark->batch_in_epoch >= batches ||
        mark->step != mark->epoch * batches + mark->batch_in_epoch)
        return ls_fail(LS_BAD_DATA,
                       "%s: step %" PRIu64 " is not batch %" PRIu64 " of epoch %" PRIu64 " at %" PRIu64
                       " batches an epoch",
                       ls_checkpoint_path(checkpoint), mark->step, mark->batch_in_epoch, mark->epoch,
                       batches);
    /* Portable C, AVX2 and AVX-512 have the same bits; the tiers of bf16 above them have not quite. */
    if (mark->instruction_set != t->backend->instruction_set &&
        (mark->instruction_set > LS_AVX512 || t->backend->instruction_set > LS_AVX512))
        ls_log(
            LS_LOG_WARNING,
            "%s was made with %s instructions, the run goes on with %s: the bits will not be those of a run "
            "on one of them",
            ls_checkpoint_path(checkpoint),
            ls_instruction_set_name((ls_instruction_set)mark->instruction_set),
            ls_instruction_set_name(t->backend->instruction_set));
    return LS_OK;
}

/* A count that was stored as a double: what a file says is not to be cast before it is known to fit. */
static bool is_count(double value) {
    return value >= 0 && value <= (double)LS_PROGRESS_LIMIT && value == floor(value);
}

ls_status ls_checkpoints_load(const ls_checkpoint *checkpoint, ls_trainer *t, const char *config_yaml,
                              ls_metrics *metrics, ls_resumed *resumed) {
    double score[3], best[2];
    LS_TRY(compare_config(checkpoint, config_yaml));
    LS_TRY(check_mark(checkpoint, t));
    LS_TRY(ls_checkpoint_read_all(checkpoint, t->state.records, t->state.count));
    LS_TRY(
        ls_checkpoint_read(checkpoint, &(ls_record){"progress/epoch_score", LS_RECORD_F64, 1, {3}, score}));
    LS_TRY(ls_checkpoint_read(checkpoint, &(ls_record){"progress/best", LS_RECORD_F64, 1, {2}, best}));
    if (!is_count(score[2]) || !is_count(best[0]) || isnan(best[1]))
        return ls_fail(
            LS_BAD_DATA,
            "%s: progress/epoch_score and progress/best: found %g samples and best step %g, expected "
            "counts",
            ls_checkpoint_path(checkpoint), score[2], best[0]);
    *resumed = (ls_resumed){.mark = *ls_checkpoint_mark(checkpoint),
                            .epoch_score = {score[0], score[1], (int64_t)score[2]},
                            .best = {best[0], best[1]}};
    if (ls_state_fingerprint(&t->state, resumed->mark.step) != resumed->mark.fingerprint)
        return ls_fail(LS_BAD_DATA, "%s: the state does not have the fingerprint that was stored with it",
                       ls_checkpoint_path(checkpoint));
    const char *bad = ls_state_not_finite(&t->state);
    if (bad)
        return ls_fail(LS_NOT_FINITE, "%s: %s holds values that are not finite: no run can go on from it",
                       ls_checkpoint_path(checkpoint), bad);
    LS_TRY(ls_metrics_restore(metrics, checkpoint));
    resumed->evaluation_due =
        resumed->mark.batch_in_epoch == 0 && (uint64_t)ls_metrics_epochs(metrics) < resumed->mark.epoch;
    return LS_OK;
}

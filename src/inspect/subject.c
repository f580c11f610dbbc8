#include "inspect/subject.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "io/seal.h"
#include "train/checkpoints.h"

static bool ends_with(const char *text, const char *end) {
    size_t length = strlen(text), ending = strlen(end);
    return length >= ending && strcmp(text + length - ending, end) == 0;
}

/* By the kind that its seal names; what has no seal is left to the reader that its name suggests, for the
 * message. */
static ls_status kind_of_file(const char *path, ls_subject_kind *kind) {
    unsigned char head[LS_SEAL_SIZE] = {0};
    int fd = open(path, O_RDONLY | O_NONBLOCK | O_CLOEXEC);
    if (fd < 0) return ls_fail(LS_BAD_DATA, "%s: cannot open: %s", path, strerror(errno));
    ssize_t got = read(fd, head, sizeof head);
    if (close(fd) != 0) return ls_fail(LS_BAD_DATA, "%s: cannot close: %s", path, strerror(errno));
    bool sealed = got == (ssize_t)sizeof head;
    bool metrics = sealed && ls_seal_is(head, "metrics"),
         checkpoint = sealed && ls_seal_is(head, "checkpoint");
    *kind = metrics || (!checkpoint && ends_with(path, "metrics.h5")) ? LS_SUBJECT_METRICS
                                                                      : LS_SUBJECT_CHECKPOINT;
    if (sealed && ls_seal_is(head, LS_EVALUATION_KIND)) *kind = LS_SUBJECT_EVALUATION;
    if (sealed && ls_seal_is(head, LS_ATTACK_KIND)) *kind = LS_SUBJECT_ATTACK;
    return LS_OK;
}

static ls_status read_metrics(ls_subject *subject) {
    struct stat info;
    char *path;
    size_t size = strlen(subject->path) + sizeof "/metrics.h5";
    LS_TRY(ls_calloc(&path, size, 1, "a path"));
    snprintf(path, size, "%s/metrics.h5", subject->path);
    ls_status status = LS_OK;
    if (stat(path, &info) == 0 || errno != ENOENT) status = ls_metrics_file_read(path, &subject->metrics);
    free(path);
    return status;
}

static ls_status read_run(ls_subject *subject) {
    ls_checkpoint *checkpoint = NULL;
    LS_TRY(read_metrics(subject));
    ls_status status = ls_checkpoints_find(subject->path, "auto", &checkpoint);
    if (status == LS_OUTPUT) { /* a folder that cannot be listed is bad input here */
        char why[1024];
        snprintf(why, sizeof why, "%s", ls_error_message());
        status = ls_fail(LS_BAD_DATA, "%s", why);
    }
    LS_TRY(status);
    if (checkpoint) return ls_saved_model_read(checkpoint, &subject->model);
    if (subject->metrics) return LS_OK;
    return ls_fail(LS_BAD_DATA, "%s: found neither metrics.h5 nor a checkpoint, expected the folder of a run",
                   subject->path);
}

ls_status ls_subject_read(const char *path, ls_subject *subject) {
    struct stat info;
    ls_status status;
    *subject = (ls_subject){.path = path, .kind = LS_SUBJECT_RUN};
    if (stat(path, &info) != 0) return ls_fail(LS_BAD_DATA, "%s: cannot open: %s", path, strerror(errno));
    if (S_ISDIR(info.st_mode)) {
        status = read_run(subject);
    } else {
        status = kind_of_file(path, &subject->kind);
        if (status == LS_OK && subject->kind == LS_SUBJECT_METRICS)
            status = ls_metrics_file_read(path, &subject->metrics);
        else if (status == LS_OK && subject->kind == LS_SUBJECT_EVALUATION)
            status = ls_saved_result_open(path, LS_EVALUATION_KIND, &subject->result);
        else if (status == LS_OK && subject->kind == LS_SUBJECT_ATTACK)
            status = ls_saved_result_open(path, LS_ATTACK_KIND, &subject->result);
        else if (status == LS_OK)
            status = ls_saved_model_open(path, &subject->model);
    }
    if (status != LS_OK) ls_subject_destroy(subject);
    return status;
}

void ls_subject_destroy(ls_subject *subject) {
    ls_metrics_file_destroy(&subject->metrics);
    ls_saved_model_destroy(&subject->model);
    ls_saved_result_destroy(&subject->result);
}

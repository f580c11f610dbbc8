#include "io/checkpoint.h"

#include <errno.h>
#include <inttypes.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "core/instruction_set.h"
#include "io/hdf5.h"

#define KIND "checkpoint"
enum { FORMAT_VERSION = 1 };

struct ls_checkpoint {
    ls_h5_file *file;
    ls_progress_mark mark;
    char *config;
};

/* The attributes of /progress. */
static const struct field {
    const char *name;
    size_t offset;
    uint64_t limit;
} fields[] = {
    {"step", offsetof(ls_progress_mark, step), LS_PROGRESS_LIMIT},
    {"epoch", offsetof(ls_progress_mark, epoch), LS_PROGRESS_LIMIT},
    {"batch_in_epoch", offsetof(ls_progress_mark, batch_in_epoch), LS_PROGRESS_LIMIT},
    {"seed", offsetof(ls_progress_mark, seed), UINT64_MAX},
    {"data_digest", offsetof(ls_progress_mark, data_digest), UINT64_MAX},
    {"fingerprint", offsetof(ls_progress_mark, fingerprint), UINT64_MAX},
    {"instruction_set", offsetof(ls_progress_mark, instruction_set), LS_AMX},
    {"height", offsetof(ls_progress_mark, height), INT32_MAX},
    {"width", offsetof(ls_progress_mark, width), INT32_MAX},
    {"classes", offsetof(ls_progress_mark, classes), 256}, /* a label is a byte */
};
enum { FIELD_COUNT = sizeof fields / sizeof *fields };

bool ls_checkpoint_step_of(const char *name, uint64_t *step) {
    static const char prefix[] = "checkpoint-";
    char canonical[64], *end;
    if (strncmp(name, prefix, sizeof prefix - 1) != 0 || name[sizeof prefix - 1] < '0' ||
        name[sizeof prefix - 1] > '9')
        return false;
    errno = 0;
    *step = strtoull(name + sizeof prefix - 1, &end, 10);
    snprintf(canonical, sizeof canonical, "checkpoint-%" PRIu64 ".h5", *step);
    return errno == 0 && strcmp(name, canonical) == 0;
}

static ls_status write_progress(ls_h5_file *file, const ls_progress_mark *mark) {
    LS_TRY(ls_h5_group(file, "progress"));
    for (int i = 0; i < FIELD_COUNT; i++) {
        uint64_t value;
        memcpy(&value, (const char *)mark + fields[i].offset, sizeof value);
        if (value > fields[i].limit)
            return ls_fail(LS_INTERNAL, "%s: %s is %" PRIu64 ", at most %" PRIu64 " is stored", file->path,
                           fields[i].name, value, fields[i].limit);
        LS_TRY(ls_h5_attribute_u64(file, "progress", fields[i].name, value));
    }
    return ls_h5_attribute_u64(file, "progress", "finished", mark->finished);
}

static ls_status read_progress(const ls_h5_file *file, ls_progress_mark *mark) {
    uint64_t value;
    for (int i = 0; i < FIELD_COUNT; i++) {
        LS_TRY(ls_h5_read_u64(file, "progress", fields[i].name, fields[i].limit, &value));
        memcpy((char *)mark + fields[i].offset, &value, sizeof value);
    }
    LS_TRY(ls_h5_read_u64(file, "progress", "finished", 1, &value));
    mark->finished = value == 1;
    return LS_OK;
}

static ls_status write_content(ls_h5_file *file, const ls_progress_mark *mark, const char *config_yaml,
                               const ls_record *records, int count) {
    LS_TRY(ls_h5_attribute_text(file, "", "format", "lockstep " KIND));
    LS_TRY(ls_h5_attribute_u64(file, "", "format_version", FORMAT_VERSION));
    LS_TRY(write_progress(file, mark));
    LS_TRY(ls_h5_write_text(file, "config/yaml", config_yaml));
    for (int i = 0; i < count; i++) LS_TRY(ls_h5_write_record(file, &records[i]));
    return LS_OK;
}

ls_status ls_checkpoint_write_file(const char *path, const ls_progress_mark *mark, const char *config_yaml,
                                   const ls_record *records, int count) {
    ls_h5_file *file = NULL;
    ls_status status = LS_OK;
    LS_TRY_GOTO(status, done, ls_h5_create(path, &file));
    LS_TRY_GOTO(status, done, write_content(file, mark, config_yaml, records, count));
    status = ls_h5_commit(file, KIND, FORMAT_VERSION);
done:
    ls_h5_discard(&file);
    return status;
}

ls_status ls_checkpoint_write(const char *folder, const ls_progress_mark *mark, const char *config_yaml,
                              const ls_record *records, int count, char **path) {
    char *name = NULL;
    size_t length = strlen(folder) + 64;
    if (path) *path = NULL;
    LS_TRY(ls_calloc(&name, length, 1, "the name of a checkpoint"));
    snprintf(name, length, "%s/checkpoint-%" PRIu64 ".h5", folder, mark->step);
    ls_status status = ls_checkpoint_write_file(name, mark, config_yaml, records, count);
    if (path && status == LS_OK) {
        *path = name;
        name = NULL;
    }
    free(name);
    return status;
}

ls_status ls_checkpoint_open(const char *path, ls_checkpoint **checkpoint) {
    ls_status status = LS_OK;
    *checkpoint = NULL;
    LS_TRY(ls_calloc(checkpoint, 1, sizeof **checkpoint, "a checkpoint"));
    LS_TRY_GOTO(status, failed, ls_h5_open(path, KIND, FORMAT_VERSION, &(*checkpoint)->file));
    LS_TRY_GOTO(status, failed, read_progress((*checkpoint)->file, &(*checkpoint)->mark));
    LS_TRY_GOTO(status, failed, ls_h5_read_text((*checkpoint)->file, "config/yaml", &(*checkpoint)->config));
    return LS_OK;
failed:
    ls_checkpoint_close(checkpoint);
    return status;
}

void ls_checkpoint_close(ls_checkpoint **checkpoint) {
    if (!*checkpoint) return;
    ls_h5_discard(&(*checkpoint)->file);
    free((*checkpoint)->config);
    free(*checkpoint);
    *checkpoint = NULL;
}

const char *ls_checkpoint_path(const ls_checkpoint *checkpoint) {
    return checkpoint->file->path;
}

const ls_progress_mark *ls_checkpoint_mark(const ls_checkpoint *checkpoint) {
    return &checkpoint->mark;
}

const char *ls_checkpoint_config(const ls_checkpoint *checkpoint) {
    return checkpoint->config;
}

uint64_t ls_checkpoint_size(const ls_checkpoint *checkpoint) {
    return checkpoint->file->image.size;
}

ls_status ls_checkpoint_check(const ls_checkpoint *checkpoint) {
    return ls_h5_check_whole(checkpoint->file);
}

ls_status ls_checkpoint_read(const ls_checkpoint *checkpoint, ls_record *record) {
    return ls_h5_read_record(checkpoint->file, record);
}

ls_status ls_checkpoint_read_all(const ls_checkpoint *checkpoint, ls_record *records, int count) {
    return ls_h5_read_records(checkpoint->file, records, count);
}

int64_t ls_checkpoint_length(const ls_checkpoint *checkpoint, const char *path) {
    return ls_h5_length(checkpoint->file, path);
}

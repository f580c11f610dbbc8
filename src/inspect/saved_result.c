#include "inspect/saved_result.h"

#include <inttypes.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "io/hdf5.h"

enum { MOST_CLASSES = 256 }; /* a label is a byte */

static ls_status read_share(const ls_h5_file *file, const char *group, const char *name, double most,
                            double *value) {
    int there;
    LS_TRY(ls_h5_read_f64(file, group, name, value, &there));
    if (there && *value >= 0 && *value <= most) return LS_OK;
    return ls_fail(LS_BAD_DATA, "%s: %s: attribute %s: found %s, expected a number from 0 to %g", file->path,
                   group, name, there ? "another one" : "none", most);
}

/* An array whose shape is known by now. */
static ls_status read_array(const ls_h5_file *file, const char *group, const char *name, ls_record record) {
    char path[128];
    snprintf(path, sizeof path, "%s/%s", group, name);
    record.path = path;
    return ls_h5_read_record(file, &record);
}

static ls_status check_classes(const ls_h5_file *file, const char *group, const int64_t *class, int64_t count,
                               int64_t classes) {
    for (int64_t i = 0; i < count; i++)
        if (class[i] < 0 || class[i] >= classes)
            return ls_fail(LS_BAD_DATA, "%s: %s: found class %" PRId64 ", expected one of %" PRId64,
                           file->path, group, class[i], classes);
    return LS_OK;
}

/* --- evaluation ------------------------------------------------------------------------------------ */

static ls_status read_confusion(const ls_h5_file *file, ls_saved_part *part) {
    char path[64];
    int64_t shape[4];
    uint64_t sum = 0;
    snprintf(path, sizeof path, "%s/confusion", part->name);
    if (ls_h5_shape(file, path, shape) != 2 || shape[0] != shape[1] || shape[0] < 1 ||
        shape[0] > MOST_CLASSES)
        return ls_fail(LS_BAD_DATA, "%s: %s: found no matrix of at most %d classes", file->path, path,
                       MOST_CLASSES);
    part->classes = shape[0];
    int64_t cells = shape[0] * shape[0];
    LS_TRY(ls_calloc(&part->confusion, (size_t)cells, sizeof *part->confusion, "a confusion matrix"));
    LS_TRY(read_array(file, part->name, "confusion",
                      (ls_record){NULL, LS_RECORD_I64, 2, {shape[0], shape[0]}, part->confusion}));
    for (int64_t i = 0; i < cells; i++) {
        if (part->confusion[i] < 0 || (uint64_t)part->confusion[i] > part->samples - sum)
            return ls_fail(LS_BAD_DATA, "%s: %s: found counts that are not those of %" PRIu64 " samples",
                           file->path, path, part->samples);
        sum += (uint64_t)part->confusion[i];
    }
    if (sum == part->samples) return LS_OK;
    return ls_fail(LS_BAD_DATA, "%s: %s: found %" PRIu64 " samples, expected %" PRIu64, file->path, path, sum,
                   part->samples);
}

static ls_status read_worst(const ls_h5_file *file, ls_saved_part *part) {
    char group[64], path[80];
    snprintf(group, sizeof group, "%s/worst", part->name);
    snprintf(path, sizeof path, "%s/sample", group);
    part->worst = ls_h5_length(file, path);
    if (part->worst < 0 || part->worst > LS_WORST_MISTAKES)
        return ls_fail(LS_BAD_DATA, "%s: %s: found no array of at most %d numbers", file->path, path,
                       LS_WORST_MISTAKES);
    const struct {
        const char *name;
        ls_record_type type;
        void *data;
    } columns[] = {{"sample", LS_RECORD_I64, part->sample},
                   {"class", LS_RECORD_I64, part->class},
                   {"predicted", LS_RECORD_I64, part->predicted},
                   {"probability", LS_RECORD_F64, part->probability},
                   {"loss", LS_RECORD_F64, part->mistake_loss}};
    for (size_t i = 0; i < sizeof columns / sizeof *columns; i++)
        LS_TRY(read_array(file, group, columns[i].name,
                          (ls_record){NULL, columns[i].type, 1, {part->worst}, columns[i].data}));
    LS_TRY(check_classes(file, group, part->class, part->worst, part->classes));
    return check_classes(file, group, part->predicted, part->worst, part->classes);
}

static ls_status read_evaluation(const ls_h5_file *file, ls_saved_result *result) {
    static const char *const names[LS_SAVED_PARTS] = {"validation", "test"};
    for (int i = 0; i < LS_SAVED_PARTS; i++) {
        ls_saved_part *part = &result->parts[i];
        part->name = names[i];
        int there;
        LS_TRY(ls_h5_has(file, part->name, &there));
        part->there = there != 0;
        if (!part->there) continue;
        LS_TRY(ls_h5_read_u64(file, part->name, "samples", UINT32_MAX, &part->samples));
        LS_TRY(read_share(file, part->name, "loss", HUGE_VAL, &part->loss));
        LS_TRY(read_share(file, part->name, "accuracy", 1, &part->accuracy));
        LS_TRY(read_share(file, part->name, "uncertainty", 1, &part->uncertainty));
        LS_TRY(read_confusion(file, part));
        LS_TRY(read_worst(file, part));
    }
    return LS_OK;
}

/* --- attack ---------------------------------------------------------------------------------------- */

static ls_status read_attack(const ls_h5_file *file, ls_saved_result *r) {
    LS_TRY(ls_h5_read_u64(file, "curve", "samples", UINT32_MAX, &r->samples));
    r->epsilons = ls_h5_length(file, "curve/epsilon");
    r->examples = ls_h5_length(file, "examples/sample");
    if (r->epsilons < 1 || r->epsilons > LS_MAX_EPSILONS)
        return ls_fail(LS_BAD_DATA, "%s: curve/epsilon: found no array of 1 to %d numbers", file->path,
                       LS_MAX_EPSILONS);
    if (r->examples < 0 || r->examples > MOST_CLASSES)
        return ls_fail(LS_BAD_DATA, "%s: examples/sample: found no array of at most %d numbers", file->path,
                       MOST_CLASSES);
    size_t examples = (size_t)r->examples, epsilons = (size_t)r->epsilons;
    LS_TRY(ls_calloc(&r->sample, examples, sizeof *r->sample, "examples"));
    LS_TRY(ls_calloc(&r->class, examples, sizeof *r->class, "examples"));
    LS_TRY(ls_calloc(&r->predicted, epsilons * examples, sizeof *r->predicted, "examples"));
    LS_TRY(
        read_array(file, "curve", "epsilon", (ls_record){NULL, LS_RECORD_F64, 1, {r->epsilons}, r->epsilon}));
    LS_TRY(read_array(file, "curve", "loss", (ls_record){NULL, LS_RECORD_F64, 1, {r->epsilons}, r->loss}));
    LS_TRY(read_array(file, "curve", "accuracy",
                      (ls_record){NULL, LS_RECORD_F64, 1, {r->epsilons}, r->accuracy}));
    LS_TRY(read_array(file, "examples", "sample",
                      (ls_record){NULL, LS_RECORD_I64, 1, {r->examples}, r->sample}));
    LS_TRY(
        read_array(file, "examples", "class", (ls_record){NULL, LS_RECORD_I64, 1, {r->examples}, r->class}));
    LS_TRY(read_array(file, "examples", "predicted",
                      (ls_record){NULL, LS_RECORD_I64, 2, {r->epsilons, r->examples}, r->predicted}));
    LS_TRY(check_classes(file, "examples", r->class, r->examples, MOST_CLASSES));
    return check_classes(file, "examples", r->predicted, r->epsilons * r->examples, MOST_CLASSES);
}

/* --- the file -------------------------------------------------------------------------------------- */

static ls_status read_all(const ls_h5_file *file, ls_saved_result *result) {
    result->size = file->image.size;
    LS_TRY(ls_strdup(&result->path, file->path));
    LS_TRY(ls_h5_read_u64(file, "", "step", UINT32_MAX, &result->step));
    LS_TRY(ls_h5_read_u64(file, "", "fingerprint", UINT64_MAX, &result->fingerprint));
    LS_TRY(ls_h5_read_u64(file, "", "data_digest", UINT64_MAX, &result->data_digest));
    LS_TRY(ls_h5_read_text(file, "config/yaml", &result->config));
    return strcmp(result->kind, LS_ATTACK_KIND) == 0 ? read_attack(file, result)
                                                     : read_evaluation(file, result);
}

ls_status ls_saved_result_open(const char *path, const char *kind, ls_saved_result **result) {
    ls_h5_file *file = NULL;
    *result = NULL;
    ls_status status = ls_h5_open(path, kind, LS_RESULT_FILE_VERSION, &file);
    if (status == LS_OK) status = ls_calloc(result, 1, sizeof **result, "what a verb found out");
    if (status == LS_OK) {
        (*result)->kind = kind;
        status = read_all(file, *result);
    }
    ls_h5_discard(&file);
    if (status != LS_OK) ls_saved_result_destroy(result);
    return status;
}

void ls_saved_result_destroy(ls_saved_result **result) {
    ls_saved_result *r = *result;
    if (!r) return;
    for (int i = 0; i < LS_SAVED_PARTS; i++) free(r->parts[i].confusion);
    free(r->sample);
    free(r->class);
    free(r->predicted);
    free(r->config);
    free(r->path);
    free(r);
    *result = NULL;
}

/* Scores for programs: JSON and HDF5. */
#include <stdlib.h>

#include "train/scores.h"

/* --- JSON ----------------------------------------------------------------------------------------------- */

void ls_confusion_json(ls_json *json, const int64_t *confusion, int64_t classes) {
    ls_json_begin(json, "classes", '[');
    for (int64_t c = 0; c < classes; c++) {
        int64_t n = ls_confusion_samples(confusion, classes, c);
        double correct = (double)confusion[c * classes + c];
        ls_json_begin(json, NULL, '{');
        ls_json_count(json, "class", (uint64_t)c);
        ls_json_count(json, "samples", (uint64_t)n);
        ls_json_real(json, "accuracy", correct / (double)n); /* null where n is 0 */
        ls_json_real(json, "uncertainty", ls_accuracy_uncertainty(correct, n));
        ls_json_end(json, '}');
    }
    ls_json_end(json, ']');
    ls_json_begin(json, "confusion_axes", '[');
    ls_json_text(json, NULL, "true class");
    ls_json_text(json, NULL, "predicted class");
    ls_json_end(json, ']');
    ls_json_begin(json, "confusion", '[');
    for (int64_t c = 0; c < classes; c++) {
        ls_json_begin(json, NULL, '[');
        for (int64_t k = 0; k < classes; k++) ls_json_count(json, NULL, (uint64_t)confusion[c * classes + k]);
        ls_json_end(json, ']');
    }
    ls_json_end(json, ']');
}

static void write_worst(const ls_scores *s, ls_json *json) {
    ls_json_begin(json, "worst_mistakes", '[');
    for (int i = 0; i < s->worst_count; i++) {
        const ls_outcome *o = &s->outcomes[s->worst[i]];
        uint32_t sample = s->samples[s->worst[i]];
        ls_json_begin(json, NULL, '{');
        ls_json_count(json, "sample", sample);
        ls_json_count(json, "class", s->set->labels[sample]);
        ls_json_count(json, "predicted", (uint64_t)o->predicted);
        ls_json_real(json, "probability", o->probability);
        ls_json_real(json, "loss", o->loss);
        ls_json_end(json, '}');
    }
    ls_json_end(json, ']');
}

void ls_scores_write_json(const ls_scores *s, ls_json *json) {
    double n = (double)s->count;
    if (s->count == 0) {
        ls_json_null(json, s->name);
        return;
    }
    ls_json_begin(json, s->name, '{');
    ls_json_count(json, "samples", (uint64_t)s->count);
    ls_json_real(json, "loss", s->total.loss / n);
    ls_json_real(json, "accuracy", s->total.correct / n);
    ls_json_real(json, "uncertainty", ls_accuracy_uncertainty(s->total.correct, s->count));
    ls_confusion_json(json, s->confusion, s->classes);
    write_worst(s, json);
    ls_json_end(json, '}');
}

/* --- HDF5 ----------------------------------------------------------------------------------------------- */

/* Columns over samples, in memory as they are stored. */
typedef struct columns {
    int64_t *sample, *class, *predicted; /* [count] */
    double *probability, *loss;
} columns;

static ls_status write_columns(const ls_scores *s, const char *group, const columns *c, int64_t count,
                               ls_h5_file *file) {
    const struct {
        const char *name;
        ls_record_type type;
        void *data;
    } list[] = {{"sample", LS_RECORD_I64, c->sample},
                {"class", LS_RECORD_I64, c->class},
                {"predicted", LS_RECORD_I64, c->predicted},
                {"probability", LS_RECORD_F64, c->probability},
                {"loss", LS_RECORD_F64, c->loss}};
    for (size_t i = 0; i < sizeof list / sizeof *list; i++) {
        char path[128];
        snprintf(path, sizeof path, "%s%s/%s", s->name, group, list[i].name);
        ls_record record = {path, list[i].type, 1, {count}, list[i].data};
        LS_TRY(ls_h5_write_record(file, &record));
    }
    return LS_OK;
}

/* The samples at these positions (NULL: all of them, in order). */
static ls_status write_samples(const ls_scores *s, const char *group, const int64_t *positions, int64_t count,
                               ls_h5_file *file) {
    char *block;
    size_t column = (size_t)count * sizeof(int64_t);
    _Static_assert(sizeof(double) == sizeof(int64_t), "columns of one width");
    LS_TRY(ls_calloc(&block, 5, column, "a file of scores"));
    columns c = {(void *)block, (void *)(block + column), (void *)(block + 2 * column),
                 (void *)(block + 3 * column), (void *)(block + 4 * column)};
    for (int64_t i = 0; i < count; i++) {
        int64_t at = positions ? positions[i] : i;
        c.sample[i] = s->samples[at];
        c.class[i] = s->set->labels[s->samples[at]];
        c.predicted[i] = s->outcomes[at].predicted;
        c.probability[i] = s->outcomes[at].probability;
        c.loss[i] = s->outcomes[at].loss;
    }
    ls_status status = write_columns(s, group, &c, count, file);
    free(block);
    return status;
}

/* The images of the worst mistakes, 0..1. */
static ls_status write_images(const ls_scores *s, ls_h5_file *file) {
    int64_t pixels = (int64_t)s->set->height * s->set->width;
    char path[64];
    float *images;
    LS_TRY(ls_calloc(&images, (size_t)(s->worst_count * pixels), sizeof *images, "a file of scores"));
    for (int64_t i = 0; i < s->worst_count * pixels; i++)
        images[i] = (float)s->set->images[s->samples[s->worst[i / pixels]] * pixels + i % pixels] / 255;
    snprintf(path, sizeof path, "%s/worst/image", s->name);
    ls_record record = {path, LS_RECORD_F32, 3, {s->worst_count, s->set->height, s->set->width}, images};
    ls_status status = ls_h5_write_record(file, &record);
    free(images);
    return status;
}

ls_status ls_scores_write_hdf5(const ls_scores *s, ls_h5_file *file) {
    char path[64];
    double n = (double)s->count;
    if (s->count == 0) return LS_OK;
    LS_TRY(ls_h5_group(file, s->name));
    LS_TRY(ls_h5_attribute_u64(file, s->name, "samples", (uint64_t)s->count));
    LS_TRY(ls_h5_attribute_f64(file, s->name, "loss", s->total.loss / n));
    LS_TRY(ls_h5_attribute_f64(file, s->name, "accuracy", s->total.correct / n));
    LS_TRY(ls_h5_attribute_f64(file, s->name, "uncertainty",
                               ls_accuracy_uncertainty(s->total.correct, s->count)));
    LS_TRY(ls_h5_attribute_text(file, s->name, "confusion_axes", "[true class][predicted class]"));
    snprintf(path, sizeof path, "%s/confusion", s->name);
    ls_record confusion = {path, LS_RECORD_I64, 2, {s->classes, s->classes}, s->confusion};
    LS_TRY(ls_h5_write_record(file, &confusion));
    LS_TRY(write_samples(s, "", NULL, s->count, file));
    LS_TRY(write_samples(s, "/worst", s->worst, s->worst_count, file));
    return write_images(s, file);
}

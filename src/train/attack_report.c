/* What an attack found out: a table, JSON, HDF5. */
#include <stdlib.h>
#include <string.h>

#include "train/attack.h"
#include "train/result_file.h"
#include "train/scores.h"

void ls_attack_print_text(const ls_attack_result *r) {
    const ls_data *data = &r->restored->trainer->data;
    double n = (double)r->samples;
    if (r->restored->other_data)
        printf("note: %s was trained on other data than %s (%s)\n", r->restored->path, data->folder,
               data->name);
    printf("fast gradient sign method, %lld test samples\n", (long long)r->samples);
    printf("  epsilon       loss  accuracy\n");
    for (int i = 0; i < r->options.count; i++)
        printf("%9g  %9.6f  %.4f +- %.4f\n", r->options.epsilon[i], r->score[i].loss / n,
               r->score[i].correct / n, ls_accuracy_uncertainty(r->score[i].correct, r->samples));
}

void ls_attack_print_json(const ls_attack_result *r) {
    ls_json json = {.out = stdout};
    double n = (double)r->samples;
    ls_json_begin(&json, NULL, '{');
    ls_restored_write_json(r->restored, &json);
    ls_json_text(&json, "attack", "fast gradient sign method");
    ls_json_count(&json, "samples", (uint64_t)r->samples);
    ls_json_begin(&json, "curve", '[');
    for (int i = 0; i < r->options.count; i++) {
        ls_json_begin(&json, NULL, '{');
        ls_json_real(&json, "epsilon", r->options.epsilon[i]);
        ls_json_real(&json, "loss", r->score[i].loss / n);
        ls_json_real(&json, "accuracy", r->score[i].correct / n);
        ls_json_real(&json, "uncertainty", ls_accuracy_uncertainty(r->score[i].correct, r->samples));
        ls_json_end(&json, '}');
    }
    ls_json_end(&json, ']');
    ls_json_end(&json, '}');
    putchar('\n');
}

/* --- HDF5 ----------------------------------------------------------------------------------------------- */

static ls_status write_curve(const ls_attack_result *r, ls_h5_file *file) {
    double epsilon[LS_MAX_EPSILONS], loss[LS_MAX_EPSILONS], accuracy[LS_MAX_EPSILONS], n = (double)r->samples;
    for (int i = 0; i < r->options.count; i++) {
        epsilon[i] = r->options.epsilon[i];
        loss[i] = r->score[i].loss / n;
        accuracy[i] = r->score[i].correct / n;
    }
    LS_TRY(ls_h5_group(file, "curve"));
    LS_TRY(ls_h5_attribute_u64(file, "curve", "samples", (uint64_t)r->samples));
    LS_TRY(ls_h5_write_record(file,
                              &(ls_record){"curve/epsilon", LS_RECORD_F64, 1, {r->options.count}, epsilon}));
    LS_TRY(ls_h5_write_record(file, &(ls_record){"curve/loss", LS_RECORD_F64, 1, {r->options.count}, loss}));
    return ls_h5_write_record(file,
                              &(ls_record){"curve/accuracy", LS_RECORD_F64, 1, {r->options.count}, accuracy});
}

/* The examples that there are, in memory as they are stored; [count] first where there is no [epsilon]. */
typedef struct arrays {
    int64_t count, pixels;
    int64_t *sample, *class, *predicted;          /* the last: [epsilon][count] */
    double *probability;                          /* [epsilon][count] */
    float *original, *perturbation, *adversarial; /* [pixels]; the last: [epsilon][count][pixels] */
} arrays;

static ls_status allocate(const ls_attack_result *r, arrays *a) {
    size_t count = (size_t)a->count, images = count * (size_t)a->pixels, epsilons = (size_t)r->options.count;
    LS_TRY(ls_calloc(&a->sample, count, sizeof *a->sample, "examples"));
    LS_TRY(ls_calloc(&a->class, count, sizeof *a->class, "examples"));
    LS_TRY(ls_calloc(&a->predicted, epsilons * count, sizeof *a->predicted, "examples"));
    LS_TRY(ls_calloc(&a->probability, epsilons * count, sizeof *a->probability, "examples"));
    LS_TRY(ls_calloc(&a->original, images, sizeof *a->original, "examples"));
    LS_TRY(ls_calloc(&a->perturbation, images, sizeof *a->perturbation, "examples"));
    return ls_calloc(&a->adversarial, epsilons * images, sizeof *a->adversarial, "examples");
}

static void release(arrays *a) {
    void *all[] = {a->sample,   a->class,        a->predicted,  a->probability,
                   a->original, a->perturbation, a->adversarial};
    for (size_t i = 0; i < sizeof all / sizeof *all; i++) free(all[i]);
}

/* Puts an example in place k; adversarial images are made as the network's input makes them. */
static void fill(const ls_attack_result *r, const ls_attack_example *example, int64_t k, arrays *a) {
    const ls_dataset *set = &r->restored->trainer->data.test;
    const uint8_t *image = set->images + example->sample * a->pixels;
    a->sample[k] = example->sample;
    a->class[k] = set->labels[example->sample];
    ls_input_ref_f32.convert(image, a->pixels, true, a->original, k * a->pixels);
    for (int64_t i = 0; i < a->pixels; i++) a->perturbation[k * a->pixels + i] = example->sign[i];
    for (int e = 0; e < r->options.count; e++) {
        int64_t at = e * a->count + k;
        a->predicted[at] = example->predicted[e];
        a->probability[at] = example->probability[e];
        ls_input_ref_f32.convert(image, a->pixels, true, a->adversarial, at * a->pixels);
        ls_input_ref_f32.perturb(example->sign, r->options.epsilon[e], a->pixels, true, a->adversarial,
                                 at * a->pixels);
    }
}

static ls_status write_arrays(const ls_attack_result *r, const arrays *a, ls_h5_file *file) {
    const ls_dataset *set = &r->restored->trainer->data.test;
    int64_t height = set->height, width = set->width, epsilons = r->options.count, count = a->count;
    const ls_record records[] = {
        {"examples/sample", LS_RECORD_I64, 1, {count}, a->sample},
        {"examples/class", LS_RECORD_I64, 1, {count}, a->class},
        {"examples/original", LS_RECORD_F32, 3, {count, height, width}, a->original},
        {"examples/perturbation", LS_RECORD_F32, 3, {count, height, width}, a->perturbation},
        {"examples/adversarial", LS_RECORD_F32, 4, {epsilons, count, height, width}, a->adversarial},
        {"examples/predicted", LS_RECORD_I64, 2, {epsilons, count}, a->predicted},
        {"examples/probability", LS_RECORD_F64, 2, {epsilons, count}, a->probability},
    };
    for (size_t i = 0; i < sizeof records / sizeof *records; i++)
        LS_TRY(ls_h5_write_record(file, &records[i]));
    return LS_OK;
}

static ls_status write_examples(const ls_attack_result *r, ls_h5_file *file) {
    const ls_dataset *set = &r->restored->trainer->data.test;
    arrays a = {.pixels = (int64_t)set->height * set->width};
    for (int64_t i = 0; i < r->example_count; i++) a.count += r->examples[i].sample >= 0;
    ls_status status = allocate(r, &a);
    for (int64_t i = 0, k = 0; i < r->example_count && status == LS_OK; i++)
        if (r->examples[i].sample >= 0) fill(r, &r->examples[i], k++, &a);
    if (status == LS_OK) status = write_arrays(r, &a, file);
    release(&a);
    return status;
}

ls_status ls_attack_write_file(const ls_attack_result *r, const char *path) {
    ls_h5_file *file;
    LS_TRY(ls_result_file_create(path, LS_ATTACK_KIND, r->restored, &file));
    ls_status status = write_curve(r, file);
    if (status == LS_OK) status = write_examples(r, file);
    if (status == LS_OK) status = ls_result_file_commit(file, LS_ATTACK_KIND);
    ls_h5_discard(&file);
    return status;
}

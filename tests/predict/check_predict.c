/* The public functions on a run that the program has trained and evaluated:
 * check_predict CHECKPOINT DATA EVAL.h5 SCRATCH_FILE. Its answers must be those of `lockstep eval`, to the
 * bit. */
#include <hdf5.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "inspect/saved_model.h"
#include "predict/predict.h"

#define EXPECT(condition)                                                                                    \
    do {                                                                                                     \
        if (!(condition)) {                                                                                  \
            fprintf(stderr, "%s:%d: not so: %s (%s)\n", __FILE__, __LINE__, #condition, ls_error_message()); \
            exit(1);                                                                                         \
        }                                                                                                    \
    } while (0)

typedef struct answers {
    int64_t *predicted;
    double *probability; /* of the predicted class */
} answers;

static void read_column(hid_t file, const char *path, hid_t type, int64_t count, void *out) {
    hsize_t length;
    hid_t set = H5Dopen2(file, path, H5P_DEFAULT);
    EXPECT(set >= 0);
    hid_t space = H5Dget_space(set);
    EXPECT(H5Sget_simple_extent_dims(space, &length, NULL) == 1 && (int64_t)length == count);
    EXPECT(H5Dread(set, type, H5S_ALL, H5S_ALL, H5P_DEFAULT, out) >= 0);
    EXPECT(H5Sclose(space) >= 0 && H5Dclose(set) >= 0);
}

/* What eval wrote, by the samples' numbers, which are 0, 1, .. there. */
static answers read_evaluation(const char *path, int64_t count) {
    answers a;
    hid_t file = H5Fopen(path, H5F_ACC_RDONLY, H5P_DEFAULT);
    EXPECT(file >= 0);
    EXPECT(ls_calloc(&a.predicted, (size_t)count, sizeof *a.predicted, "answers") == LS_OK);
    EXPECT(ls_calloc(&a.probability, (size_t)count, sizeof *a.probability, "answers") == LS_OK);
    read_column(file, "test/predicted", H5T_NATIVE_INT64, count, a.predicted);
    read_column(file, "test/probability", H5T_NATIVE_DOUBLE, count, a.probability);
    EXPECT(H5Fclose(file) >= 0);
    return a;
}

/* In pieces of so many images, on so many threads. */
static void check_answers(const char *checkpoint, const ls_dataset *set, const answers *expected, int threads,
                          int64_t piece) {
    ls_model *model;
    EXPECT(ls_model_load(checkpoint, threads, &model) == LS_OK);
    const int64_t width = ls_model_describe(model).classes, pixels = set->height * set->width;
    int *class;
    double *p;
    EXPECT(ls_calloc(&class, (size_t)set->count, sizeof *class, "classes") == LS_OK);
    EXPECT(ls_calloc(&p, (size_t)(set->count * width), sizeof *p, "probabilities") == LS_OK);
    for (int64_t i = 0; i < set->count; i += piece)
        EXPECT(ls_model_classify(model, set->images + i * pixels,
                                 set->count - i < piece ? set->count - i : piece, class + i,
                                 p + i * width) == LS_OK);
    for (int64_t i = 0; i < set->count; i++) {
        double sum = 0;
        EXPECT(class[i] == expected->predicted[i]);
        EXPECT(memcmp(&p[i * width + class[i]], &expected->probability[i], sizeof *p) == 0);
        for (int64_t k = 0; k < width; k++) sum += p[i * width + k];
        EXPECT(fabs(sum - 1) < 1e-5);
    }
    free(class);
    free(p);
    ls_model_destroy(&model);
    ls_model_destroy(&model);
}

static void check_refusals(const char *checkpoint, const ls_dataset *set) {
    ls_model *model = (ls_model *)(void *)&model;
    ls_dataset none;
    EXPECT(ls_model_load(checkpoint, 0, &model) == LS_USAGE && !model &&
           strstr(ls_error_message(), "found 0"));
    EXPECT(ls_model_load("nowhere.h5", 1, &model) == LS_BAD_DATA && !model &&
           strstr(ls_error_message(), "nowhere.h5"));
    EXPECT(ls_dataset_read("nowhere", NULL, &none) == LS_BAD_DATA && !none.images && !none.labels);
    EXPECT(ls_model_load(checkpoint, 1, &model) == LS_OK);
    EXPECT(ls_model_classify(model, set->images, 0, NULL, NULL) == LS_OK);
    EXPECT(ls_model_classify(model, set->images, 3, NULL, NULL) == LS_OK);
    EXPECT(ls_model_classify(model, set->images, -1, NULL, NULL) == LS_USAGE);
    ls_model_destroy(&model);
}

static void check_damaged(const char *checkpoint, const char *scratch) {
    ls_model *model;
    int byte;
    FILE *in = fopen(checkpoint, "rb"), *out = fopen(scratch, "wb");
    EXPECT(in && out);
    for (long i = 0; (byte = getc(in)) != EOF; i++) EXPECT(putc(i == 9000 ? byte ^ 1 : byte, out) != EOF);
    EXPECT(fclose(in) == 0 && fclose(out) == 0);
    EXPECT(ls_model_load(scratch, 1, &model) == LS_BAD_DATA && !model && strstr(ls_error_message(), scratch));
    EXPECT(remove(scratch) == 0);
}

/* The same model with one number that is not: in the last layer's bias. */
static void check_not_finite(const char *checkpoint, const ls_dataset *set, const char *scratch) {
    ls_saved_model *saved;
    ls_model *model;
    ls_record *bias = NULL;
    EXPECT(ls_saved_model_open(checkpoint, &saved) == LS_OK);
    for (int i = 0; i < saved->state.count; i++) {
        const char *path = saved->state.records[i].path;
        if (strncmp(path, "model/", 6) == 0 && strstr(path, ".bias")) bias = &saved->state.records[i];
    }
    EXPECT(bias && bias->type == LS_RECORD_F32);
    ((float *)bias->data)[0] = NAN;
    ls_progress_mark mark = *saved->mark;
    mark.fingerprint = ls_state_fingerprint(&saved->state, mark.step);
    EXPECT(ls_checkpoint_write_file(scratch, &mark, saved->yaml, saved->state.records, saved->state.count) ==
           LS_OK);
    ls_saved_model_destroy(&saved);
    EXPECT(ls_model_load(scratch, 1, &model) == LS_OK);
    EXPECT(ls_model_classify(model, set->images, 5, NULL, NULL) == LS_NOT_FINITE &&
           strstr(ls_error_message(), "image 0"));
    ls_model_destroy(&model);
    EXPECT(remove(scratch) == 0);
}

int main(int argc, char **argv) {
    ls_dataset set, training;
    if (argc != 5) return 2;
    EXPECT(ls_dataset_read(argv[2], &training, NULL) == LS_OK && training.images && training.labels);
    EXPECT(ls_dataset_read(argv[2], NULL, &set) == LS_OK);
    EXPECT(set.classes == training.classes && set.height == training.height && set.width == training.width);
    answers expected = read_evaluation(argv[3], set.count);
    check_answers(argv[1], &set, &expected, 1, set.count);
    check_answers(argv[1], &set, &expected, 3, 7);
    check_answers(argv[1], &set, &expected, 2, 257);
    check_refusals(argv[1], &set);
    check_damaged(argv[1], argv[4]);
    check_not_finite(argv[1], &set, argv[4]);
    free(expected.predicted);
    free(expected.probability);
    ls_dataset_destroy(&set);
    ls_dataset_destroy(&training);
    return 0;
}

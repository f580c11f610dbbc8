/* Loads a model that lockstep has trained and classifies the test images of a data set: prints the answer to
 * one of them, and how many are right.
 *
 *     cc classify.c $(pkg-config --cflags --libs lockstep) -o classify
 *     ./classify runs/quickstart/checkpoint-5880.h5 data/mnist 7 */
#include <lockstep.h>
#include <stdio.h>
#include <stdlib.h>

int main(int argc, char **argv) {
    if (argc != 4) return fprintf(stderr, "usage: classify CHECKPOINT FOLDER NUMBER\n"), 2;
    ls_model *model = NULL;
    ls_dataset set = {0};
    int *answer = NULL;
    ls_status status = ls_model_load(argv[1], 2, &model);
    if (status == LS_OK) status = ls_dataset_read(argv[2], NULL, &set);
    if (status == LS_OK) {
        ls_model_facts facts = ls_model_describe(model);
        if (set.height != facts.height || set.width != facts.width)
            status = ls_fail(LS_BAD_DATA, "%s: found images of %d x %d, expected %d x %d", argv[2],
                             set.height, set.width, facts.height, facts.width);
        if (status == LS_OK) status = ls_calloc(&answer, (size_t)set.count, sizeof *answer, "the answers");
        if (status == LS_OK) status = ls_model_classify(model, set.images, set.count, answer, NULL);
    }
    long long chosen = atoll(argv[3]), right = 0;
    for (int64_t i = 0; status == LS_OK && i < set.count; i++) right += answer[i] == set.labels[i];
    if (status == LS_OK && chosen >= 0 && chosen < set.count)
        printf("image %lld: a %d, taken for %d\n", chosen, set.labels[chosen], answer[chosen]);
    if (status == LS_OK) printf("%lld of %lld are right\n", right, (long long)set.count);
    if (status != LS_OK) fprintf(stderr, "%s\n", ls_error_message());
    free(answer);
    ls_dataset_destroy(&set);
    ls_model_destroy(&model);
    return (int)status;
}

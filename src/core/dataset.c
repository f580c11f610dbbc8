#include "core/dataset.h"

#include <stdlib.h>

void ls_dataset_destroy(ls_dataset *set) {
    free(set->images);
    free(set->labels);
    *set = (ls_dataset){0};
}

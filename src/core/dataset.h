/* A labelled set of images in memory, as bytes: what the readers fill and the input layer reads. */
#ifndef LOCKSTEP_CORE_DATASET_H
#define LOCKSTEP_CORE_DATASET_H

#include <stdint.h>

typedef struct ls_dataset {
    uint8_t *images; /* [count][height][width], one channel, 0..255; owned */
    uint8_t *labels; /* [count], 0 .. classes-1; owned */
    int64_t count;
    int height, width;
    int classes; /* largest label + 1, over the training set */
} ls_dataset;

/* Frees what the set owns and zeroes it; safe twice. */
void ls_dataset_destroy(ls_dataset *set);

#endif

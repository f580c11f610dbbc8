/* The data of a run: read by rank 0, held by all, cut into training and validation samples. */
#ifndef LOCKSTEP_TRAIN_DATA_H
#define LOCKSTEP_TRAIN_DATA_H

#include "core/dataset.h"
#include "core/rng.h"
#include "dist/comm.h"

typedef struct ls_data {
    char *folder;
    const char *name; /* "MNIST", "Fashion-MNIST" or "unknown", by digest */
    uint64_t digest;  /* XXH3-64 of sizes, images and labels of both sets */
    ls_dataset train, test;
    uint32_t
        *split; /* a permutation of the training files' samples: first those to train on, then the others */
    int64_t training, validation;
} ls_data;

/* Finds the folder (`folder` unless empty, then LOCKSTEP_DATA, data/mnist, Debian's dataset-fashion-mnist),
 * reads it on rank 0 and sends it to all; cuts off `split` training samples by a permutation of (seed,
 * LS_RNG_SPLIT). LS_BAD_DATA on all ranks: unreadable data, nothing found; LS_USAGE: split is larger than the
 * set. Collective. */
ls_status ls_data_load(ls_comm *comm, const char *folder, int64_t split, uint64_t seed, ls_data *data);
void ls_data_destroy(ls_data *data);

/* The sizes of the training files in the folder that ls_data_load() would take, and its name, owned by the
 * caller; no image is read. Local. */
ls_status ls_data_sizes(const char *folder, ls_dataset *sizes, char **found);

/* Shuffles items by (seed, purpose, time): Fisher and Yates, drawn from the counter alone. */
void ls_shuffle(uint64_t seed, ls_rng_purpose purpose, uint32_t time, uint32_t *items, int64_t count);

#endif

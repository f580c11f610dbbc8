/* How much memory a network takes, before any of it is taken: what `lockstep inspect CONFIG` prints, and what a
 * run is refused for where there is less. */
#ifndef LOCKSTEP_TRAIN_MEMORY_H
#define LOCKSTEP_TRAIN_MEMORY_H

#include "dist/comm.h"
#include "train/preview.h"

/* Bytes on rank 0 of so many, which has the most shards. */
typedef struct ls_memory {
    size_t state; /* parameters and moments: ranks of one host may share them */
    size_t gradients, training, evaluating;
    size_t moved;  /* no memory: what a training step's passes read and write of activations and gradients */
    size_t images; /* the training images and their labels, on a device; the host's are not counted */
} ls_memory;

static inline size_t ls_memory_sum(const ls_memory *m) {
    return m->state + m->gradients + m->training + m->evaluating + m->images;
}

/* Of the configuration's network on so many ranks, on the host, or on_device on a GPU, which need not be
 * there; the program must hold CUDA (ls_backend_cuda_exists()). LS_USAGE as ls_preview_create(), and for what
 * a GPU has no kernels for. Local. */
ls_status ls_memory_estimate(const ls_config *config, bool on_device, int ranks, ls_memory *memory);

/* LS_INTERNAL, with both numbers: the ranks of some node need more than it has, and the configuration does not
 * say memory=ignore. Where no data is found, nothing is said: reading it will fail; nor for device=cuda.
 * Collective, agreed. */
ls_status ls_memory_check(ls_comm *comm, const ls_config *config);
/* The same for the GPU of each rank, which other ranks of its node may share, against what was free on it when
 * it was opened. Collective, agreed. */
ls_status ls_memory_check_device(ls_comm *comm, const ls_config *config, const ls_backend *gpu);

#endif

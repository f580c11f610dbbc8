/* The update on GPUs. The list: a new optimizer is a line here; one that is not in it is refused on a device. */
#ifndef LOCKSTEP_MODEL_OPTIMIZERS_CUDA_H
#define LOCKSTEP_MODEL_OPTIMIZERS_CUDA_H

#include <stdint.h>

#include "core/now.h"

#define LS_CUDA_OPTIMIZERS(X)                                                                                \
    X(sgd)                                                                                                   \
    X(momentum)                                                                                              \
    X(adam)                                                                                                  \
    X(adamw)                                                                                                 \
    X(rmsprop)

#ifdef __cplusplus
extern "C" {
#endif
struct ls_device;

enum { LS_CUDA_UPDATE_DECAY = 7 };

typedef struct ls_cuda_update {
    int64_t count; /* above 0 */
    float *w, *m, *v;
    const float *g;
    ls_now_inputs in;         /* what changes from step to step; read in `now` where that is not NULL */
    ls_now *now;              /* and the update is not made where its verdict says no */
    uint64_t *before, *after; /* += sums of bits, modulo 2^32 */
} ls_cuda_update;

#define LS_CUDA_LAUNCHER(name)                                                                               \
    void ls_##name##_update_launch(struct ls_device *device, const ls_cuda_update *u);
LS_CUDA_OPTIMIZERS(LS_CUDA_LAUNCHER)
#undef LS_CUDA_LAUNCHER

/* *word += the sum of the bits, modulo 2^32 */
void ls_bit_sum_launch(struct ls_device *device, int64_t count, const float *x, uint64_t *word);
#ifdef __cplusplus
}
#endif

#endif

/* The end of a step that a device takes by itself: is it to be taken? */
#ifndef LOCKSTEP_TRAIN_STEP_CUDA_H
#define LOCKSTEP_TRAIN_STEP_CUDA_H

#include "core/now.h"

/* Elements of a parameter in the arenas. */
typedef struct ls_cuda_range {
    int64_t first, last;
} ls_cuda_range;

typedef struct ls_cuda_judgement {
    int64_t count;
    const float *gradient; /* [count] over all shards; what lies between parameters is finite */
    const double *losses;  /* the batch's loss and right answers */
    int parameters;
    const ls_cuda_range *ranges; /* [parameters] */
    ls_now *now;
} ls_cuda_judgement;

#ifdef __cplusplus
extern "C" {
#define LS_CUDA_IF_THERE
#else
#include "core/device_cuda.h"
#endif
struct ls_device;
/* Looks at loss and gradient, and fills in now->left but for what the update leaves. Once a step is not
 * taken, none is. */
void ls_judge_cuda(struct ls_device *device, const ls_cuda_judgement *args) LS_CUDA_IF_THERE;
#ifdef __cplusplus
}
#endif

#endif

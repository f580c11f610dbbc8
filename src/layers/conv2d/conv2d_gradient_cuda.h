/* Weight gradients by Winograd's algorithm, for conv2d_weights_cuda.cu. */
#ifndef LOCKSTEP_LAYERS_CONV2D_GRADIENT_CUDA_H
#define LOCKSTEP_LAYERS_CONV2D_GRADIENT_CUDA_H

#include "layers/conv2d/conv2d_cuda.h"

/* Floats that it takes of g->room. */
int64_t ls_conv2d_cuda_winograd_room(const ls_conv2d_cuda_gradient *g, int shards);

/* The weight gradients of the shards [shards][9][inputs][outputs], in g->room. */
const float *ls_conv2d_cuda_winograd_gradient(struct ls_device *device, const ls_conv2d_cuda_gradient *g,
                                              const ls_cuda_shards *shards);

#endif

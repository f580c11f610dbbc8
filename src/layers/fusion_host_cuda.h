/* For the C side of CUDA's kernel tables: from the arguments of a table to those of its launchers. Local. */
#ifndef LOCKSTEP_LAYERS_FUSION_HOST_CUDA_H
#define LOCKSTEP_LAYERS_FUSION_HOST_CUDA_H

#include "graph/fusion.h"
#include "layers/fusion_args_cuda.h"

/* Local shards [first, last). */
ls_cuda_shards ls_cuda_shards_of(const ls_shards *shards, int first, int last);
ls_cuda_prologue ls_cuda_prologue_of(const ls_prologue *p);
ls_cuda_grad_prologue ls_cuda_grad_prologue_of(const ls_grad_prologue *p);
ls_cuda_grad_epilogue ls_cuda_grad_epilogue_of(const ls_grad_epilogue *e);

/* The activation's place in the list of layers/activations_cuda.h; LS_CUDA_NO_ACTIVATION for one that is not
 * in it, or for none. */
int ls_cuda_activation_kind_of(const ls_activation_class *class);

/* For ls_op_class.folds of products: those of ls_activations::cheap_ones. */
bool ls_cuda_folds_cheap(const ls_activation *act);

#endif

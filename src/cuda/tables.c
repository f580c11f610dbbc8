/* A weak name takes nothing out of a static library: here they are not. */
#define LS_STRONG_TABLES
#include "cuda/tables.h"

#include "core/vector.h"
#include "layers/average_pool/average_pool.h"
#include "layers/batchnorm/batchnorm.h"
#include "layers/conv2d/conv2d.h"
#include "layers/dense/dense.h"
#include "layers/elementwise.h"
#include "layers/flatten/flatten.h"
#include "layers/global_average_pool/global_average_pool.h"
#include "layers/input/input.h"
#include "layers/instance_norm/instance_norm.h"
#include "layers/max_pool/max_pool.h"
#include "layers/residual/residual.h"
#include "layers/softmax_cross_entropy/softmax_cross_entropy.h"
#include "model/optimizer.h"
#include "model/optimizers_cuda.h"

#define DECLARE(name) extern const ls_update_kernels ls_##name##_update_cuda;
#define TABLE(name)   &ls_##name##_update_cuda,
LS_CUDA_OPTIMIZERS(DECLARE)

const void *const ls_cuda_tables[] = {
    LS_CUDA_OPTIMIZERS(TABLE) & ls_bit_sum_ref_cuda,
    &ls_vector_ref_cuda,       &ls_vector_doubles_cuda,    &ls_add_ref_cuda,
    &ls_average_pool_ref_cuda, &ls_batchnorm_ref_cuda,     &ls_dense_bf16_cuda,
    &ls_dense_cuda,            &ls_conv2d_cuda,            &ls_conv2d_bf16_cuda,
    &ls_elementwise_ref_cuda,  &ls_flatten_ref_cuda,       &ls_global_average_pool_ref_cuda,
    &ls_input_ref_cuda,        &ls_instance_norm_ref_cuda, &ls_max_pool_ref_cuda,
    &ls_softmax_ref_cuda,
};

/* Launchers of the table core/vector.h for GPUs; `wide`: elements are doubles. Nothing may be NULL; counts are
 * above 0. */
#ifndef LOCKSTEP_CORE_VECTOR_CUDA_H
#define LOCKSTEP_CORE_VECTOR_CUDA_H

#include <stdbool.h>
#include <stdint.h>

#include "core/shards.h"

#ifdef __cplusplus
extern "C" {
#endif
struct ls_device;
void ls_tree_cuda(struct ls_device *device, const ls_shards *shards, int64_t length, double *sums,
                  double *nodes, int64_t stride);
void ls_fill_cuda(struct ls_device *device, bool wide, int64_t count, double value, void *to);
void ls_add_cuda(struct ls_device *device, bool wide, int64_t count, const void *from, void *to);
/* *word is set to 1 if one of them is not finite, and otherwise left */
void ls_finite_cuda(struct ls_device *device, bool wide, int64_t count, const void *x, uint64_t *word);
/* *word += the sum of the bits */
void ls_bits_cuda(struct ls_device *device, bool wide, int64_t count, const void *x, uint64_t first,
                  uint64_t *word);
#ifdef __cplusplus
}
#endif

#endif

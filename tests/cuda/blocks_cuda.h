/* Kernels that try what blocks share (core/last_block_cuda.h). */
#ifndef LOCKSTEP_TESTS_BLOCKS_CUDA_H
#define LOCKSTEP_TESTS_BLOCKS_CUDA_H

#ifdef __cplusplus
extern "C" {
#endif
struct ls_device;
/* part[b] = b + 1 for each block b; the last block of all adds what it finds there, in order, into *sum, and
 * into *turns 1. */
void ls_sum_of_blocks_cuda(struct ls_device *device, int blocks, int threads, double *part, double *sum,
                           double *turns);
#ifdef __cplusplus
}
#endif

#endif

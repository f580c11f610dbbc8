/* The one header of a .cu file: what nvcc and the emulation on the CPU (tests/cuda) write differently, and the
 * few helpers that kernels share.
 *
 *   LS_LAUNCH(device, kernel, grid, block, shared, args..)   on the device's stream; grid is not empty; a
 *       template with several arguments in brackets: LS_LAUNCH(d, (k<4, 2>), ..). `shared`: bytes of DYN_SHARED.
 *   LS_SHARED(float, tile, [16][17]);    shared memory of a block; inside the kernel, before any branch
 *   DYN_SHARED(float, tile);             the same, of the size that the launch gives
 *
 * Kernels and what else a file keeps to itself stand in an unnamed namespace, launchers in extern "C".
 *
 * Compiled with -fmad=false and without fast math: a * b + c rounds twice, as on the CPU, and a fused
 * multiply-add is written fmaf() or fma(). What else a kernel keeps to, so that it runs emulated and its bits do
 * not depend on the grid: every thread of a block comes to every barrier; shuffles and votes name their mask,
 * whose lanes all come; loops stride over the grid; no atomics but of integers; no inline PTX. */
#ifndef LOCKSTEP_CORE_KERNEL_CUDA_H
#define LOCKSTEP_CORE_KERNEL_CUDA_H

#include <cuda_runtime.h>
#include <math.h>
#include <stddef.h>
#include <stdint.h>

#include "core/device_cuda.h"

enum { LS_WARP = 32 };

#ifdef __CUDACC__
#define UNROLL                      _Pragma("unroll")
#define LS_SHARED(type, name, dims) __shared__ type name dims
#define DYN_SHARED(type, name)                                                                               \
    extern __shared__ __align__(128) unsigned char ls_dynamic_shared[];                                      \
    type *name = (type *)ls_dynamic_shared
#define LS_LAUNCH(device, kernel, grid, block, shared, ...)                                                  \
    do {                                                                                                     \
        int ls_error = ls_allow_shared((const void *)(kernel), (shared));                                    \
        if (ls_error == (int)cudaSuccess) {                                                                  \
            (kernel)<<<(grid), (block), (shared), (cudaStream_t)ls_device_stream(device)>>>(__VA_ARGS__);    \
            ls_error = (int)cudaGetLastError();                                                              \
        }                                                                                                    \
        ls_device_launched((device), #kernel, ls_error);                                                     \
    } while (0)

/* More than 48 KiB have to be asked for. */
static inline int ls_allow_shared(const void *kernel, size_t bytes) {
    if (bytes <= 48 * 1024) return (int)cudaSuccess;
    return (int)cudaFuncSetAttribute(kernel, cudaFuncAttributeMaxDynamicSharedMemorySize, (int)bytes);
}
#endif

/* Blocks of `threads` for n items, at least one and not more than a large GPU runs at once. */
static inline dim3 ls_blocks(int64_t n, int threads) {
    const int64_t most = 2112, blocks = (n + threads - 1) / threads; /* 16 for each of 132 processors */
    return dim3((unsigned)(blocks < 1 ? 1 : blocks > most ? most : blocks));
}

/* Item of this thread, and how far apart its items are. */
__device__ static inline int64_t ls_thread() {
    return (int64_t)blockIdx.x * blockDim.x + threadIdx.x;
}
__device__ static inline int64_t ls_stride() {
    return (int64_t)gridDim.x * blockDim.x;
}

#endif

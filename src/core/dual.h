/* Sources that the CPU and CUDA's kernels share. They keep to what is C and C++ alike, and to +, -, *, / and
 * square roots, so that there is one definition of the bits. Their functions are marked:
 *
 *   LS_DUAL          external on the CPU, of the file in a kernel
 *   LS_DUAL_INLINE   of the file in both
 *   LS_DUAL_TABLE    a constant array of the file */
#ifndef LOCKSTEP_CORE_DUAL_H
#define LOCKSTEP_CORE_DUAL_H

#ifdef LS_FOR_CUDA /* defined by the headers *_cuda.h that include such a source */
#define LS_DUAL        static __device__ inline
#define LS_DUAL_INLINE static __device__ inline
#define LS_DUAL_TABLE  static __device__ const
#else
#define LS_DUAL
#define LS_DUAL_INLINE static inline
#define LS_DUAL_TABLE  static const
#endif

#endif

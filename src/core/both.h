/* Functions that define bits are written once, for the host and for GPUs: LS_BOTH stands before the result type
 * of each, after `static inline`. */
#ifndef LOCKSTEP_CORE_BOTH_H
#define LOCKSTEP_CORE_BOTH_H

#ifdef __CUDACC__
#define LS_BOTH __host__ __device__
#else
#define LS_BOTH
#endif

#endif

/* The tables of kernels that there are for GPUs: a new one is a line in tables.c. */
#ifndef LOCKSTEP_CUDA_TABLES_H
#define LOCKSTEP_CUDA_TABLES_H

extern const void *const ls_cuda_tables[];

#endif

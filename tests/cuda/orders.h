/* Kernels tested in several orders of threads and blocks: what differs between them lacks a barrier. */
#ifndef LOCKSTEP_TESTS_CUDA_ORDERS_H
#define LOCKSTEP_TESTS_CUDA_ORDERS_H

#include "core/backend.h"
#include "core/lane.h"

enum { ORDERS = 4 };
/* Order i of ORDERS: forward, reverse, two shuffles. */
void set_order(int i);

/* The back end of the emulated GPU, made at the first call; lives as long as the program. */
const ls_backend *emulated_backend(void);
ls_lane emulated_lane(void);

/* Device memory with so many bytes of the host's; and back, freed. Both end the test on a failure. */
void *to_device(const void *host, size_t size);
void from_device(void *host, void *memory, size_t size);
/* The same, left there. */
void read_device(void *host, const void *memory, size_t size);
void free_device(void *memory);

#endif

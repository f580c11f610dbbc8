/* What tests say to the emulation (emulated_runtime.cpp), and ask it. */
#ifndef LOCKSTEP_TESTS_CUDA_EMULATED_H
#define LOCKSTEP_TESTS_CUDA_EMULATED_H

#include <stdbool.h>
#include <stdint.h>

#ifdef __cplusplus
extern "C" {
#endif

/* In which order the threads of a block, and the blocks, run from now on. LOCKSTEP_EMULATED_ORDER says the same
 * for programs: forward, reverse, or a number above 0 that seeds the shuffle. */
typedef enum ls_emulated_order {
    LS_EMULATED_FORWARD,
    LS_EMULATED_REVERSE,
    LS_EMULATED_SHUFFLED
} ls_emulated_order;
void ls_emulated_set_order(ls_emulated_order order, uint64_t seed);

/* The allocation of that number from now on (0: the next one), of device or page-locked memory, fails; below 0:
 * none. LOCKSTEP_EMULATED_FAIL=N says the same for programs. */
void ls_emulated_fail_allocation(int64_t number);

/* Allocations so far, those not freed, launches. */
uint64_t ls_emulated_allocations(void);
int64_t ls_emulated_live(void);
uint64_t ls_emulated_launches(void);

/* Of the last recording that was ended (cudaStreamEndCapture): how much work it holds, and a number that is
 * the same for recordings of the same kernels with the same arguments; 0 where the compiler cannot tell. */
int64_t ls_emulated_recorded_work(void);
uint64_t ls_emulated_recorded_hash(void);
/* Replays so far. */
uint64_t ls_emulated_replays(void);

/* Called with what is wrong in a kernel, instead of ending the program. The kernel is then given up. NULL: ends. */
void ls_emulated_on_fault(void (*f)(const char *what));

#ifdef __cplusplus
}
#endif

#endif

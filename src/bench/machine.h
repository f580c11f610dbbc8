/* What Linux says of the machine and of this process. */
#ifndef LOCKSTEP_BENCH_MACHINE_H
#define LOCKSTEP_BENCH_MACHINE_H

#include <stdbool.h>
#include <stddef.h>

/* The processor's name, "unknown" where nothing says it. */
const char *ls_machine_processor(char *text, size_t size);

/* Bytes of the last cache of the first processor; 32 MiB where nothing says it. */
size_t ls_machine_last_cache(void);

/* The most memory this process has had at once since its start or ls_memory_forget_peak(), in bytes; NaN
 * where the system does not say. false: it could not forget. */
double ls_memory_peak(void);
bool ls_memory_forget_peak(void);

/* Processor time of all threads of this process so far, and of the calling thread alone, in seconds. */
double ls_processor_seconds(void);
double ls_thread_seconds(void);

#endif

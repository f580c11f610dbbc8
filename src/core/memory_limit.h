/* How much memory this process may have: that of the machine, or less where a control group (cgroup, version 1 or 2)
 * says so, as in containers and the jobs of a cluster. Local. */
#ifndef LOCKSTEP_CORE_MEMORY_LIMIT_H
#define LOCKSTEP_CORE_MEMORY_LIMIT_H

#include <stdint.h>

typedef struct ls_memory_limit {
    uint64_t bytes;  /* UINT64_MAX: unknown */
    const char *who; /* sets it: "the machine" or "its control group"; static */
} ls_memory_limit;

/* What the system says. What cannot be read sets no limit. */
ls_memory_limit ls_memory_limit_find(void);
/* The same for a machine of so many bytes whose /proc and /sys lie under the folder `root` ("": the system's own). */
ls_memory_limit ls_memory_limit_of(const char *root, uint64_t machine);

#endif

#include "dist/launcher.h"

#include <errno.h>
#include <stddef.h>
#include <stdlib.h>

/* Of Open MPI, of PMIx (which has none for the number of ranks), of MPICH's process manager, of a step of
 * Slurm, and of a batch script of Slurm, where there is no rank. */
static const struct {
    const char *ranks, *rank;
} variables[] = {{"OMPI_COMM_WORLD_SIZE", "OMPI_COMM_WORLD_RANK"},
                 {NULL, "PMIX_RANK"},
                 {"PMI_SIZE", "PMI_RANK"},
                 {"SLURM_STEP_NUM_TASKS", "SLURM_PROCID"},
                 {"SLURM_NTASKS", NULL}};

enum { COUNT = sizeof variables / sizeof *variables };

/* -1: not there, or no number */
static long number(const char *variable) {
    const char *text = variable ? getenv(variable) : NULL;
    char *end;
    if (!text) return -1;
    errno = 0;
    long n = strtol(text, &end, 10);
    return errno == 0 && end != text && !*end ? n : -1;
}

long ls_launcher_ranks(const char **variable) {
    for (int i = 0; i < COUNT; i++) {
        long n = number(variables[i].ranks);
        if (n < 0) continue;
        *variable = variables[i].ranks;
        return n;
    }
    return 0;
}

long ls_launcher_rank(void) {
    for (int i = 0; i < COUNT; i++) {
        long n = number(variables[i].rank);
        if (n >= 0) return n;
    }
    return -1;
}

bool ls_launcher_is_there(void) {
    if (getenv("OMPI_COMM_WORLD_SIZE") || getenv("PMIX_RANK") || getenv("PMI_SIZE")) return true;
    return getenv("SLURM_PROCID") && number("SLURM_STEP_NUM_TASKS") > 1;
}

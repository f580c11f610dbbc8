/* MPI that cannot start (a step of Slurm without PMI, no sockets, no memory) ends the process by itself, with
 * words and an exit code of its own. Here it gets a line that says what to do, and a documented code. */
#define _GNU_SOURCE /* syscall */
#include <stdlib.h>
#include <string.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "cli/verbs.h"
#include "dist/launcher.h"

/* Takes the place of the C library's in the whole program, libraries too: Open MPI calls it where MPI_Init
 * fails. There is no other way to be asked: an error handler may be set only once MPI has started (before MPI 4),
 * and whether it will start cannot be known from outside. It changes what happens in this process during MPI_Init
 * alone: what MPI or the reader of files forks has another number, exit() and its handlers do not come by here
 * (hence end_a_start()), and sanitizers end the process by a system call of their own. */
void _exit(int code) {
    static const char words[] =
        "lockstep: error: MPI cannot start here, as it says above; comm=self runs this "
        "process alone, several ranks need mpirun or srun --mpi=pmix\n";
    if (ls_comm_is_starting() && code != LS_STUCK) {
        if (ls_launcher_rank() <= 0) {
            ssize_t told = write(STDERR_FILENO, words, strlen(words));
            (void)told;
        }
        code = LS_INTERNAL;
    }
    for (;;) syscall(SYS_exit_group, code);
}

static void end_a_start(void) {
    if (ls_comm_is_starting()) _exit(LS_INTERNAL);
}

ls_status ls_watch_start(void) {
    if (atexit(end_a_start) == 0) return LS_OK;
    return ls_fail(LS_INTERNAL, "atexit: no memory");
}

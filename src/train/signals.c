#define _XOPEN_SOURCE 700 /* SA_RESTART */
#include "train/signals.h"

#include <errno.h>
#include <signal.h>
#include <stdatomic.h>
#include <stddef.h>
#include <string.h>
#include <unistd.h>

/* A handler may run on any thread: of what it may touch, a lock-free atomic is what other threads may read.
 */
static atomic_int stop_wanted = 0;
#if ATOMIC_INT_LOCK_FREE != 2
#error "signal handlers need a lock-free int"
#endif

static void request_stop(int number) {
    static const char limit[] = "lockstep: warning: the limit of processor time is reached (ulimit -t)\n";
    const int error = errno;
    if (number == SIGXCPU && atomic_load(&stop_wanted) == 0) {
        ssize_t told = write(STDERR_FILENO, limit, sizeof limit - 1);
        (void)told;
    }
    atomic_store(&stop_wanted, 1);
    /* the next SIGINT has its default effect */
    if (number == SIGINT) signal(SIGINT, SIG_DFL);
    errno = error;
}

/* nohup ignores SIGHUP before it starts a program: that stays. */
static bool is_ignored(int number) {
    struct sigaction now;
    return sigaction(number, NULL, &now) == 0 && now.sa_handler == SIG_IGN;
}

ls_status ls_signals_install(void) {
    static const int numbers[] = {SIGUSR1, SIGTERM, SIGINT, SIGXCPU, SIGHUP};
    struct sigaction action = {.sa_handler = request_stop, .sa_flags = SA_RESTART};
    sigemptyset(&action.sa_mask);
    for (size_t i = 0; i < sizeof numbers / sizeof *numbers; i++)
        if ((numbers[i] != SIGHUP || !is_ignored(SIGHUP)) && sigaction(numbers[i], &action, NULL) != 0)
            return ls_fail(LS_INTERNAL, "signal %d: no handler can be set: %s", numbers[i], strerror(errno));
    return LS_OK;
}

bool ls_signals_stop_wanted(void) {
    return atomic_load(&stop_wanted) != 0;
}

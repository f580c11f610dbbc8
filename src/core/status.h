/* Status codes, the message of the last failure, and the macros that check calls.
 *
 * Every function that can fail returns ls_status. The one that finds the fault calls ls_fail() with a message
 * that names the file, the value and what was expected; everybody above passes the status on with LS_TRY.
 * main() prints the message once and exits with the status, which is the process's exit code. */
#ifndef LOCKSTEP_CORE_STATUS_H
#define LOCKSTEP_CORE_STATUS_H

#include <stdarg.h>
#include <stddef.h>

/* The one list of exit codes (README, "Exit codes"). 77 is left to CTest, where it means "skipped". */
#define LS_STATUS_LIST(X)                                                                                    \
    X(LS_OK, 0, "done")                                                                                      \
    X(LS_DIFFERENT, 1, "a difference was found")                                                             \
    X(LS_USAGE, 2, "usage or configuration")                                                                 \
    X(LS_INTERNAL, 70, "internal error, out of memory, a failed system call, or MPI that cannot start")      \
    X(LS_NOT_FINITE, 71, "the loss, a gradient or the model is not finite")                                  \
    X(LS_BUSY, 73, "a run folder is in use or holds a run, or a file to write is there already")             \
    X(LS_OUTPUT, 74, "output cannot be written")                                                             \
    X(LS_STOPPED, 75, "stopped on request; training wrote a checkpoint")                                     \
    X(LS_STUCK, 76, "a rank is stuck")                                                                       \
    X(LS_BAD_DATA, 78, "bad data, or no usable checkpoint")                                                  \
    X(LS_REPLICAS_DIFFER, 79, "the replicas of the model differ")

typedef enum ls_status {
#define X(name, code, text) name = code,
    LS_STATUS_LIST(X)
#undef X
} ls_status;

/* The text of a status, as in the list above; never NULL. */
const char *ls_status_text(ls_status status);

/* Records a message for the calling thread and returns status. The message has no trailing newline. */
ls_status ls_fail(ls_status status, const char *format, ...) __attribute__((format(printf, 2, 3)));
ls_status ls_vfail(ls_status status, const char *format, va_list args) __attribute__((format(printf, 2, 0)));

/* The message of the calling thread's last ls_fail(), "" if none. Valid until that thread's next ls_fail().
 */
const char *ls_error_message(void);

#define LS_TRY(call)                                                                                         \
    do {                                                                                                     \
        ls_status ls_try_status_ = (call);                                                                   \
        if (ls_try_status_ != LS_OK) return ls_try_status_;                                                  \
    } while (0)

/* As LS_TRY, for functions with something to release: keeps the status in `status` and jumps to `label`. */
#define LS_TRY_GOTO(status, label, call)                                                                     \
    do {                                                                                                     \
        (status) = (call);                                                                                   \
        if ((status) != LS_OK) goto label;                                                                   \
    } while (0)

/* Allocates count * size zeroed bytes into *out (NULL for 0 bytes); LS_INTERNAL names `what` and the size. */
ls_status ls_calloc(void *out, size_t count, size_t size, const char *what);

/* Allocates `size` bytes aligned to 64, zeroed; freed with free(). */
ls_status ls_aligned_alloc(void *out, size_t size, const char *what);

/* A copy of text in memory of its own; freed with free(). */
ls_status ls_strdup(char **out, const char *text);

#endif

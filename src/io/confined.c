#define _GNU_SOURCE /* vfork, memfd_create, strsignal */
#include "io/confined.h"

#include <errno.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <fcntl.h>
#include <time.h>
#include <unistd.h>

#include "io/hdf5.h"

#ifndef MFD_EXEC
#define MFD_EXEC 0x10u /* Linux 6.3: says what was understood before */
#endif

extern char **environ;

struct ls_confined {
    pid_t pid; /* 0: it has ended */
    int socket;
    ls_limits limits;
    char *path;
    char end[160]; /* how, for every question that still comes */
};

ls_limits ls_limits_for(uint64_t size) {
    /* Reading takes about 1 s of processor time for 1 GiB, and the file's bytes, its largest array and HDF5's
     * small change in memory; programs and their libraries are mapped in some 100 MiB. */
    const uint64_t mib = 1 << 20;
    unsigned seconds = 10 + (unsigned)(size / (16 * mib));
    return (ls_limits){.memory = 512 * mib + 4 * size, .cpu_seconds = seconds, .patience = 60 + 4 * seconds};
}

/* ---- start ---- */

static int write_program(int fd, const char *data, size_t size) {
    while (size > 0) {
        ssize_t written = write(fd, data, size);
        if (written < 0 && errno == EINTR) continue;
        if (written < 0) return -1;
        data += written;
        size -= (size_t)written;
    }
    return 0;
}

/* A file in memory that holds the program. Signals are blocked: one that says that files may not be as large
 * (SIGXFSZ) is taken back. */
static int program_file(const void *program, size_t size) {
    int fd = memfd_create("lockstep-confined", MFD_CLOEXEC | MFD_EXEC);
    if (fd < 0 && errno == EINVAL) fd = memfd_create("lockstep-confined", MFD_CLOEXEC);
    if (fd < 0 || write_program(fd, program, size) == 0) return fd;
    int why = errno;
    sigset_t too_large;
    sigemptyset(&too_large);
    sigaddset(&too_large, SIGXFSZ);
    if (why == EFBIG) (void)sigtimedwait(&too_large, NULL, &(struct timespec){0, 0});
    (void)close(fd);
    errno = why;
    return -1;
}

/* The child shares our memory until it has become the program: system calls only. 0 or errno. */
static int start_program(int program, int socket, const ls_limits *limits, pid_t *pid) {
    char words[3][32];
    volatile int failure = 0;
    snprintf(words[0], sizeof words[0], "%d", socket);
    snprintf(words[1], sizeof words[1], "%llu", (unsigned long long)limits->memory);
    snprintf(words[2], sizeof words[2], "%u", limits->cpu_seconds);
    char *const arguments[] = {"lockstep-confined", words[0], words[1], words[2], NULL};
    *pid = vfork();
    if (*pid == 0) {
        if (fcntl(socket, F_SETFD, 0) == 0)
            syscall(SYS_execveat, program, "", arguments, environ, AT_EMPTY_PATH);
        failure = errno;
        _exit(127);
    }
    if (*pid < 0) return errno;
    if (failure != 0) (void)waitpid(*pid, NULL, 0);
    return failure;
}

/* 0 or errno. */
static int start(const void *program, size_t size, ls_confined *child) {
    int pair[2];
    if (socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, pair) != 0) return errno;
    int fd = program_file(program, size);
    int failure = fd < 0 ? errno : start_program(fd, pair[1], &child->limits, &child->pid);
    if (fd >= 0) (void)close(fd);
    (void)close(pair[1]);
    child->socket = pair[0];
    if (failure != 0) child->pid = 0;
    return failure;
}

ls_status ls_confined_start(const void *program, size_t size, const char *path, const ls_limits *limits,
                            ls_confined **child, const char **reason) {
    sigset_t all, before;
    *child = NULL;
    *reason = NULL;
    LS_TRY(ls_calloc(child, 1, sizeof **child, "a child process"));
    (*child)->socket = -1;
    (*child)->limits = *limits;
    ls_status status = ls_strdup(&(*child)->path, path);
    if (status == LS_OK) {
        /* No handler of ours may run in the child while it shares our memory. */
        sigfillset(&all);
        (void)pthread_sigmask(SIG_SETMASK, &all, &before);
        int failure = start(program, size, *child);
        (void)pthread_sigmask(SIG_SETMASK, &before, NULL);
        if (failure == 0) return LS_OK;
        *reason = strerror(failure);
    }
    ls_confined_end(child);
    return status;
}

/* ---- end ---- */

static void close_socket(ls_confined *child) {
    if (child->socket >= 0) (void)close(child->socket);
    child->socket = -1;
}

/* Waits for the child to end; -1 where somebody else has waited for it. */
static int wait_for(ls_confined *child) {
    int how = 0;
    pid_t got;
    do got = waitpid(child->pid, &how, 0);
    while (got < 0 && errno == EINTR);
    child->pid = 0;
    return got < 0 ? -1 : how;
}

void ls_confined_end(ls_confined **child) {
    if (!*child) return;
    close_socket(*child);
    if ((*child)->pid > 0) {
        (void)kill((*child)->pid, SIGKILL);
        (void)wait_for(*child);
    }
    free((*child)->path);
    free(*child);
    *child = NULL;
}

/* The child says no more. */
static ls_status lost(ls_confined *child, int silent) {
    char *end = child->end;
    const size_t size = sizeof child->end;
    close_socket(child);
    if (child->pid > 0) {
        if (silent) (void)kill(child->pid, SIGKILL);
        int how = wait_for(child);
        if (silent)
            snprintf(end, size, "HDF5 did not come to an end within %u s", child->limits.patience);
        else if (how == -1)
            snprintf(end, size, "HDF5 broke off");
        else if (WIFSIGNALED(how) && WTERMSIG(how) == SIGXCPU)
            snprintf(end, size, "HDF5 took more than %u s of processor time", child->limits.cpu_seconds);
        else if (WIFSIGNALED(how) && WTERMSIG(how) == SIGKILL)
            snprintf(end, size, "the process that read it was killed, for want of memory or by somebody");
        else if (WIFSIGNALED(how))
            snprintf(end, size, "HDF5 crashed (%s)", strsignal(WTERMSIG(how)));
        else
            snprintf(end, size, "HDF5 broke off (exit code %d)", WEXITSTATUS(how));
    }
    return ls_fail(LS_BAD_DATA, "%s: damaged, or made to do harm: %s", child->path, end);
}

/* ---- bytes ---- */

/* Waits until the socket is ready. Only seconds count in which we ran ourselves: a process that was stopped
 * and continued finds one more. */
static int wait_ready(const ls_confined *child, short what) {
    for (unsigned waited = 0; waited <= child->limits.patience;) {
        struct pollfd ready = {child->socket, what, 0};
        int count = poll(&ready, 1, 1000);
        if (count > 0) return 0;
        if (count < 0 && errno != EINTR) return -1;
        if (count == 0) waited++;
    }
    return -1;
}

static ls_status send_all(ls_confined *child, const void *data, size_t size) {
    const char *at = data;
    while (size > 0) {
        ssize_t sent = send(child->socket, at, size, MSG_NOSIGNAL | MSG_DONTWAIT);
        if (sent < 0 && errno == EINTR) continue;
        if (sent < 0 && errno != EAGAIN) return lost(child, 0);
        if (sent < 0 && wait_ready(child, POLLOUT) != 0) return lost(child, 1);
        if (sent > 0) {
            at += sent;
            size -= (size_t)sent;
        }
    }
    return LS_OK;
}

ls_status ls_confined_receive(ls_confined *child, void *data, size_t size) {
    char *at = data;
    if (child->socket < 0) return lost(child, 0);
    while (size > 0) {
        ssize_t got = recv(child->socket, at, size, MSG_DONTWAIT);
        if (got < 0 && errno == EINTR) continue;
        if (got == 0 || (got < 0 && errno != EAGAIN)) return lost(child, 0);
        if (got < 0 && wait_ready(child, POLLIN) != 0) return lost(child, 1);
        if (got > 0) {
            at += got;
            size -= (size_t)got;
        }
    }
    return LS_OK;
}

/* ---- questions ---- */

/* What the child says is believed no more than the file. */
static ls_status receive_message(ls_confined *child, const ls_answer *answer) {
    char text[1024];
    if (answer->size >= sizeof text)
        return ls_fail(LS_BAD_DATA, "%s: damaged, or made to do harm: its reader speaks nonsense",
                       child->path);
    LS_TRY(ls_confined_receive(child, text, (size_t)answer->size));
    text[answer->size] = '\0';
    if (strlen(text) != answer->size || !ls_h5_text_ok(text, (size_t)answer->size))
        snprintf(text, sizeof text, "%s: damaged, with names that are no text", child->path);
    return ls_fail(answer->status == LS_INTERNAL ? LS_INTERNAL : LS_BAD_DATA, "%s", text);
}

ls_status ls_confined_send(ls_confined *child, const ls_question *question, const void *bytes) {
    if (child->socket < 0) return lost(child, 0);
    LS_TRY(send_all(child, question, sizeof *question));
    return send_all(child, bytes, (size_t)question->size);
}

ls_status ls_confined_answer(ls_confined *child, ls_answer *answer) {
    LS_TRY(ls_confined_receive(child, answer, sizeof *answer));
    return answer->status == LS_OK ? LS_OK : receive_message(child, answer);
}

ls_status ls_confined_ask(ls_confined *child, const ls_question *question, const void *bytes,
                          ls_answer *answer) {
    LS_TRY(ls_confined_send(child, question, bytes));
    return ls_confined_answer(child, answer);
}

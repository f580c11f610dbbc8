/* A confined child that tries what it must not be able to: the program of confined_main.c, in which the linker
 * turns questions that no file is asked here. */
#define _GNU_SOURCE /* fork's kin, MAP_ANONYMOUS */
#include "io/confined_trials.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/futex.h>
#include <netinet/in.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

void __wrap_ls_confined_serve(const ls_h5_file *file, const ls_question *question, ls_answer *answer,
                              ls_buffer *data);
void __real_ls_confined_serve(const ls_h5_file *file, const ls_question *question, ls_answer *answer,
                              ls_buffer *data);

static void *volatile kept;

/* What a system call gives, and under bits the error; 0 if it succeeds. */
static long attempt(int trial, const char *path) {
    static int word;
    struct sockaddr_in address = {.sin_family = AF_INET, .sin_port = htons(80)};
    char byte;
    switch (trial) {
    case TRY_OPEN: return open(path, O_RDONLY);
    case TRY_CREATE: return open(path, O_WRONLY | O_CREAT, 0600);
    case TRY_REMOVE: return unlink(path);
    case TRY_STAT: return access(path, F_OK);
    case TRY_READ_OTHER: return read(STDIN_FILENO, &byte, 1);
    case TRY_WRITE_OTHER: return write(STDERR_FILENO, "x", 1);
    case TRY_SOCKET: return socket(AF_INET, SOCK_STREAM, 0);
    case TRY_UNIX_SOCKET: return socket(AF_UNIX, SOCK_STREAM, 0);
    case TRY_CONNECT: return connect(atoi(path), (struct sockaddr *)&address, sizeof address);
    case TRY_SEND_ELSEWHERE: return send(atoi(path), "x", 1, 0);
    case TRY_FORK: return fork();
    case TRY_CLONE: return syscall(SYS_clone, SIGCHLD, NULL, NULL, NULL, 0);
    case TRY_EXEC: return execl("/bin/true", "true", (char *)NULL);
    case TRY_KILL: return kill(getppid(), 0);
    case TRY_CODE:
        return mmap(NULL, 4096, PROT_READ | PROT_EXEC, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0) == MAP_FAILED ? -1
                                                                                                         : 0;
    case TRY_MEMORY: return (kept = malloc((size_t)1 << 30)) ? 0 : -1;
    case TRY_CRASH: raise(SIGSEGV); return 0;
    case TRY_SPIN:
        for (;;) kept = &word;
    case TRY_SILENCE: return syscall(SYS_futex, &word, FUTEX_WAIT, 0, NULL, NULL, 0);
    default: return 0;
    }
}

void __wrap_ls_confined_serve(const ls_h5_file *file, const ls_question *question, ls_answer *answer,
                              ls_buffer *data) {
    if (question->what < LS_ASKS) {
        __real_ls_confined_serve(file, question, answer, data);
        return;
    }
    *answer = (ls_answer){0};
    errno = 0;
    if (attempt(question->what, question->path) < 0) answer->bits = (uint64_t)errno;
}

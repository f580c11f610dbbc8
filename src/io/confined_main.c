/* The program of the confined child: gives everything away, then parses one file (confined.h).
 * Arguments: the number of its socket, the limit of its address space in bytes, of its processor time in s. */
#define _GNU_SOURCE /* syscall, __rlimit_resource_t */
#include <errno.h>
#include <signal.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/syscall.h>
#include <sys/uio.h>
#include <unistd.h>
#ifdef LS_HAVE_SECCOMP
#include <seccomp.h>
#endif

#include "io/confined.h"
#include "io/hdf5_parse.h"

#if defined __SANITIZE_ADDRESS__ || defined __SANITIZE_THREAD__
enum { SANITIZED = 1 };
#elif defined __has_feature
#if __has_feature(address_sanitizer) || __has_feature(thread_sanitizer)
enum { SANITIZED = 1 };
#else
enum { SANITIZED = 0 };
#endif
#else
enum { SANITIZED = 0 };
#endif

/* ---- what is given away ---- */

/* Of what was inherited only the socket stays. */
static void close_files(int socket) {
#ifdef SYS_close_range
    if ((socket == 0 || syscall(SYS_close_range, 0, (unsigned)socket - 1, 0) == 0) &&
        syscall(SYS_close_range, (unsigned)socket + 1, ~0u, 0) == 0)
        return;
#endif
    struct rlimit files;
    rlim_t most = 1 << 16;
    if (getrlimit(RLIMIT_NOFILE, &files) == 0 && files.rlim_cur < most) most = files.rlim_cur;
    for (int fd = 0; (rlim_t)fd < most; fd++)
        if (fd != socket) (void)close(fd);
}

/* Who stops the run stops our parent, whose end we notice; a signal meant for it must not look as if the file
 * were bad. */
static void reset_signals(void) {
    static const int fatal[] = {SIGSEGV, SIGBUS, SIGILL, SIGFPE, SIGABRT, SIGPIPE, SIGXCPU, SIGXFSZ, SIGSYS};
    static const int not_ours[] = {SIGHUP, SIGINT, SIGQUIT, SIGTERM, SIGUSR1, SIGUSR2, SIGALRM};
    sigset_t none;
    for (size_t i = 0; !SANITIZED && i < sizeof fatal / sizeof *fatal; i++) (void)signal(fatal[i], SIG_DFL);
    for (size_t i = 0; i < sizeof not_ours / sizeof *not_ours; i++) (void)signal(not_ours[i], SIG_IGN);
    sigemptyset(&none);
    (void)sigprocmask(SIG_SETMASK, &none, NULL);
}

/* Lower than it is, if it is higher. */
static int set_limit(__rlimit_resource_t what, rlim_t soft, rlim_t hard) {
    struct rlimit now;
    if (getrlimit(what, &now) != 0) return 0;
    if (now.rlim_max < hard) hard = now.rlim_max;
    if (hard < soft) soft = hard;
    return setrlimit(what, &(struct rlimit){soft, hard}) == 0;
}

/* `memory`: sanitizers map terabytes of which they use little, so with them it has no limit. */
static int set_limits(rlim_t memory, rlim_t seconds) {
    int set = prctl(PR_SET_DUMPABLE, 0, 0, 0, 0) == 0 && set_limit(RLIMIT_CORE, 0, 0);
    set = set && set_limit(RLIMIT_NOFILE, 0, 0) && set_limit(RLIMIT_NPROC, 0, 0);
    set = set && set_limit(RLIMIT_FSIZE, 0, 0) && set_limit(RLIMIT_CPU, seconds, seconds + 1);
    return set && (SANITIZED || set_limit(RLIMIT_AS, memory, memory));
}

#ifdef LS_HAVE_SECCOMP
/* Memory that holds data, time, an end of our own, and the socket. All else fails with EPERM: a C library
 * that tries more than these in passing goes on. */
static int refuse_system_calls(int socket) {
    static const int allowed[] = {SCMP_SYS(brk),          SCMP_SYS(munmap),      SCMP_SYS(mremap),
                                  SCMP_SYS(madvise),      SCMP_SYS(futex),       SCMP_SYS(clock_gettime),
                                  SCMP_SYS(gettimeofday), SCMP_SYS(time),        SCMP_SYS(getpid),
                                  SCMP_SYS(gettid),       SCMP_SYS(getrandom),   SCMP_SYS(sched_yield),
                                  SCMP_SYS(exit),         SCMP_SYS(exit_group),  SCMP_SYS(rt_sigprocmask),
                                  SCMP_SYS(rt_sigreturn), SCMP_SYS(sigaltstack), SCMP_SYS(restart_syscall)};
    const scmp_datum_t end = (scmp_datum_t)socket, self = (scmp_datum_t)getpid();
    scmp_filter_ctx filter = seccomp_init(SCMP_ACT_ERRNO(EPERM));
    if (!filter) return 0;
    /* Threads, if a sanitizer has one, too; a kernel that cannot do that has us alone. */
    (void)seccomp_attr_set(filter, SCMP_FLTATR_CTL_TSYNC, 1);
    int failed = 0;
    for (size_t i = 0; i < sizeof allowed / sizeof *allowed; i++)
        failed |= seccomp_rule_add(filter, SCMP_ACT_ALLOW, allowed[i], 0);
    if (SANITIZED) /* the thread sanitizer's own thread sleeps */
        failed |= seccomp_rule_add(filter, SCMP_ACT_ALLOW, SCMP_SYS(nanosleep), 0) |
                  seccomp_rule_add(filter, SCMP_ACT_ALLOW, SCMP_SYS(clock_nanosleep), 0);
    failed |= seccomp_rule_add(filter, SCMP_ACT_ALLOW, SCMP_SYS(read), 1, SCMP_A0(SCMP_CMP_EQ, end, 0));
    failed |= seccomp_rule_add(filter, SCMP_ACT_ALLOW, SCMP_SYS(writev), 1, SCMP_A0(SCMP_CMP_EQ, end, 0));
    failed |= seccomp_rule_add(filter, SCMP_ACT_ALLOW, SCMP_SYS(tgkill), 1, SCMP_A0(SCMP_CMP_EQ, self, 0));
    failed |=
        seccomp_rule_add(filter, SCMP_ACT_ALLOW, SCMP_SYS(mmap), 2, SCMP_A2(SCMP_CMP_MASKED_EQ, PROT_EXEC, 0),
                         SCMP_A3(SCMP_CMP_MASKED_EQ, MAP_ANONYMOUS, MAP_ANONYMOUS));
    failed |= seccomp_rule_add(filter, SCMP_ACT_ALLOW, SCMP_SYS(mprotect), 1,
                               SCMP_A2(SCMP_CMP_MASKED_EQ, PROT_EXEC, 0));
    int confined = !failed && seccomp_load(filter) == 0;
    seccomp_release(filter);
    return confined;
}
#else
static int refuse_system_calls(int socket) {
    (void)socket;
    return 0;
}
#endif

#ifdef LS_CONFINED_STATIC
void *__wrap_dlopen(const char *path, int mode);

/* A program without shared libraries cannot load any: the linker turns HDF5's call for filters of others here,
 * which it is told not to make (ls_h5_start()). */
void *__wrap_dlopen(const char *path, int mode) {
    (void)path;
    (void)mode;
    return NULL;
}
#endif

/* ---- questions ---- */

typedef struct child {
    int socket, confined;
    ls_h5_file *file;
    ls_buffer data;
} child;

/* Ends the process where the other end is closed. */
static void read_all(int socket, void *data, size_t size) {
    for (char *at = data; size > 0;) {
        ssize_t got = read(socket, at, size);
        if (got < 0 && errno == EINTR) continue;
        if (got <= 0) _exit(0);
        at += got;
        size -= (size_t)got;
    }
}

/* Both parts at once, so that the other end wakes up once. */
static void write_both(int socket, const void *head, size_t head_size, const void *data, size_t size) {
    struct iovec parts[2] = {{(void *)head, head_size}, {(void *)data, size}};
    while (parts[0].iov_len + parts[1].iov_len > 0) {
        ssize_t written = writev(socket, parts, 2);
        if (written < 0 && errno == EINTR) continue;
        if (written < 0) _exit(0);
        for (int i = 0; i < 2; i++) {
            size_t done = (size_t)written < parts[i].iov_len ? (size_t)written : parts[i].iov_len;
            parts[i].iov_base = (char *)parts[i].iov_base + done;
            parts[i].iov_len -= done;
            written -= (ssize_t)done;
        }
    }
}

static ls_status open_file(int socket, const ls_question *question, ls_h5_file **file) {
    struct rlimit memory;
    unsigned char *image = malloc((size_t)question->size);
    if (!image) {
        if (getrlimit(RLIMIT_AS, &memory) != 0) memory.rlim_cur = 0;
        return ls_fail(LS_INTERNAL, "%s: out of memory: %llu bytes, within a limit of %llu", question->path,
                       (unsigned long long)question->size, (unsigned long long)memory.rlim_cur);
    }
    read_all(socket, image, (size_t)question->size);
    ls_status status = ls_parse_open(question->path, image, (size_t)question->size, file);
    return status == LS_OK ? LS_OK : LS_BAD_DATA;
}

static void write_answer(const child *me, ls_answer *answer) {
    answer->confined = me->confined;
    const char *bytes = answer->status == LS_OK ? me->data.data : ls_error_message();
    if (answer->status != LS_OK) answer->size = strnlen(bytes, 1000);
    write_both(me->socket, answer, sizeof *answer, bytes, (size_t)answer->size);
}

/* 0 if the answer is a failure. */
static int answer_question(child *me, const ls_question *question) {
    ls_answer answer;
    ls_confined_serve(me->file, question, &answer, &me->data);
    /* The limits leave room for any file of ours: a shortage of memory is the file's fault. */
    if (answer.status != LS_OK) answer.status = LS_BAD_DATA;
    write_answer(me, &answer);
    return answer.status == LS_OK;
}

static void answer_records(child *me, const ls_question *all) {
    ls_answer answer = {.status = LS_BAD_DATA};
    char *questions = malloc((size_t)all->size);
    if (!questions) {
        (void)ls_fail(LS_BAD_DATA, "%s: out of memory: %llu bytes of questions", me->file->path,
                      (unsigned long long)all->size);
        write_answer(me, &answer);
        return;
    }
    read_all(me->socket, questions, (size_t)all->size);
    for (size_t at = 0; at < all->size;) {
        ls_question question = {0};
        size_t left = (size_t)all->size - at;
        memcpy(&question, questions + at, left < sizeof question ? left : sizeof question);
        at += ls_question_bytes(&question);
        if (!answer_question(me, &question)) break;
    }
    free(questions);
}

static void answer_questions(child *me) {
    for (;;) {
        ls_question question;
        ls_answer answer = {0};
        read_all(me->socket, &question, sizeof question);
        if (question.what == LS_ASK_OPEN && !me->file) {
            answer.status = (int32_t)open_file(me->socket, &question, &me->file);
            write_answer(me, &answer);
        } else if (question.what == LS_ASK_RECORDS && me->file) {
            answer_records(me, &question);
        } else {
            (void)answer_question(me, &question);
        }
    }
}

int main(int argc, char **argv) {
    if (argc != 4) {
        fprintf(stderr, "lockstep-confined: part of lockstep, of no use by itself\n");
        return LS_USAGE;
    }
    const int socket = (int)strtol(argv[1], NULL, 10);
    const rlim_t memory = (rlim_t)strtoull(argv[2], NULL, 10), seconds = (rlim_t)strtoull(argv[3], NULL, 10);
    (void)prctl(PR_SET_NAME, "lockstep-reader", 0, 0, 0);
    reset_signals();
    close_files(socket);
    int limited = set_limits(memory, seconds);
    answer_questions(&(child){.socket = socket, .confined = refuse_system_calls(socket) && limited});
    return 0;
}

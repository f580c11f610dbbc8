#define _GNU_SOURCE /* memfd_create, syscall */
#include "dist/window.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <linux/futex.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

#include "core/log.h"

enum { LINE = 64, PAGE = 4096 };

/* What ranks wait for and sleep on: the last exchange that has come so far. */
typedef struct progress {
    _Alignas(LINE) _Atomic uint32_t round;
    _Atomic uint32_t sleepers;
} progress;

/* At the window's beginning. The rank that arrives last moves `complete` on; in an exchange of two parts it
 * moves `gathered` on, for the first rank, which moves on `complete`. */
typedef struct control {
    _Alignas(LINE) _Atomic uint64_t arrivals; /* of all ranks in all exchanges */
    progress gathered, complete;
} control;

/* At the beginning of each rank's part: the last exchange to which it has come, only to say who is missing.
 */
typedef struct arrival {
    _Alignas(LINE) _Atomic uint32_t round;
} arrival;

struct ls_window {
    ls_comm *comm;
    int first, ranks;      /* of this host */
    ls_window_sizes sizes; /* rounded up */
    control *control;
    char *parts, *common; /* [ranks][part], after the control */
    uint32_t round;       /* the last exchange begun */
    void *mapped;         /* NULL: memory of somebody else */
};

static size_t round_up(size_t size, size_t unit) {
    return (size + unit - 1) / unit * unit;
}

/* A rank's part: its arrival, two messages, its segment; on pages of its own, so that they lie in memory near
 * it. */
static size_t part_bytes(const ls_window_sizes *sizes) {
    return round_up(sizeof(arrival) + 2 * sizes->message + sizes->segment, PAGE);
}

static ls_window_sizes rounded(const ls_window_sizes *sizes) {
    return (ls_window_sizes){round_up(sizes->message, LINE), round_up(sizes->segment, LINE),
                             round_up(sizes->common, PAGE)};
}

size_t ls_window_bytes(int ranks, const ls_window_sizes *wanted) {
    ls_window_sizes sizes = rounded(wanted);
    return PAGE + (size_t)ranks * part_bytes(&sizes) + sizes.common;
}

ls_status ls_window_create_in(ls_comm *comm, const ls_window_sizes *wanted, void *memory,
                              ls_window **window) {
    LS_TRY(ls_calloc(window, 1, sizeof **window, "the window"));
    **window = (ls_window){.comm = comm,
                           .first = comm->host_first[comm->host],
                           .ranks = comm->ranks_on_host,
                           .sizes = rounded(wanted),
                           .control = memory,
                           .parts = (char *)memory + PAGE};
    (*window)->common = (*window)->parts + (size_t)comm->ranks_on_host * part_bytes(&(*window)->sizes);
    return LS_OK;
}

/* --- making it ---------------------------------------------------------------------------------------- */

/* A file without a name, which goes away with the processes however they end, and which no small /dev/shm
 * limits. Ranks find it under the process of their host's first rank; device and inode say whether it is that
 * one (ranks may be in containers). */
typedef struct shared_file {
    long pid;
    int descriptor; /* -1: none */
    dev_t device;
    ino_t inode;
} shared_file;

static ls_status make_file(size_t size, shared_file *file) {
    struct stat about;
    int fd = memfd_create("lockstep", MFD_CLOEXEC);
    if (fd < 0) return ls_fail(LS_INTERNAL, "memfd_create: %s", strerror(errno));
    if (size > LLONG_MAX || ftruncate(fd, (off_t)size) != 0 || fstat(fd, &about) != 0) {
        ls_status status = ls_fail(LS_INTERNAL, "%zu bytes of shared memory: %s", size, strerror(errno));
        close(fd);
        return status;
    }
    *file = (shared_file){(long)getpid(), fd, about.st_dev, about.st_ino};
    return LS_OK;
}

static ls_status open_file(const shared_file *file, int *fd) {
    char path[64];
    struct stat about;
    snprintf(path, sizeof path, "/proc/%ld/fd/%d", file->pid, file->descriptor);
    *fd = open(path, O_RDWR | O_CLOEXEC);
    if (*fd < 0) return ls_fail(LS_INTERNAL, "%s: %s", path, strerror(errno));
    if (fstat(*fd, &about) == 0 && about.st_dev == file->device && about.st_ino == file->inode) return LS_OK;
    close(*fd);
    *fd = -1;
    return ls_fail(LS_INTERNAL, "%s: not the memory of the first rank here", path);
}

static ls_status map(int fd, size_t size, void **memory) {
    *memory = mmap(NULL, size, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
    if (*memory != MAP_FAILED) return LS_OK;
    *memory = NULL;
    return ls_fail(LS_INTERNAL, "%zu bytes of shared memory: %s", size, strerror(errno));
}

/* The first rank of each host makes a file, whose places all ranks are told: `files` [ranks]. */
static ls_status make_files(ls_comm *comm, size_t size, shared_file *files) {
    shared_file own = {.descriptor = -1};
    ls_status status = ls_comm_agree(comm, comm->host_rank == 0 ? make_file(size, &own) : LS_OK);
    if (status == LS_OK) status = ls_comm_allgather_equal(comm, &own, sizeof own, files);
    if (status != LS_OK && own.descriptor >= 0) close(own.descriptor);
    return status;
}

/* The others open it; it is closed when all have it mapped or know that some rank has not. */
static ls_status open_files(ls_comm *comm, size_t size, const shared_file *files, void **memory) {
    const shared_file *file = &files[comm->host_first[comm->host]];
    int fd = file->descriptor;
    ls_status status = comm->host_rank == 0 ? LS_OK : open_file(file, &fd);
    if (status == LS_OK) status = map(fd, size, memory);
    status = ls_comm_agree(comm, status);
    if (fd >= 0) close(fd);
    if (status != LS_OK && *memory) munmap(*memory, size);
    return status;
}

static ls_status map_together(ls_comm *comm, size_t size, void **memory) {
    shared_file *files;
    *memory = NULL;
    LS_TRY(ls_comm_agree(comm, ls_calloc(&files, (size_t)comm->size, sizeof *files, "the window")));
    ls_status status = make_files(comm, size, files);
    if (status == LS_OK) status = open_files(comm, size, files, memory);
    free(files);
    return status;
}

ls_status ls_window_create(ls_comm *comm, const ls_window_sizes *sizes, ls_window **window) {
    void *memory;
    size_t size = ls_window_bytes(comm->ranks_on_host, sizes);
    *window = NULL;
    if (comm->size == 1 || !comm->class->wait) return LS_OK;
    ls_status status = map_together(comm, size, &memory);
    if (status != LS_OK && comm->agreed) {
        if (comm->rank == 0)
            ls_log(LS_LOG_WARNING, "no memory that the ranks share, so they send messages: %s",
                   ls_error_message());
        comm->agreed = false;
        return LS_OK;
    }
    LS_TRY(status);
    status = ls_window_create_in(comm, sizes, memory, window);
    if (status == LS_OK)
        (*window)->mapped = memory;
    else
        munmap(memory, size);
    status = ls_comm_agree(comm, status);
    if (status != LS_OK) ls_window_destroy(window);
    return status;
}

void ls_window_destroy(ls_window **out) {
    ls_window *w = *out;
    if (!w) return;
    if (w->mapped) munmap(w->mapped, ls_window_bytes(w->ranks, &w->sizes));
    free(w);
    *out = NULL;
}

/* --- using it ----------------------------------------------------------------------------------------- */

static char *part(const ls_window *w, int rank) {
    return w->parts + (size_t)(rank - w->first) * part_bytes(&w->sizes);
}

static char *message(const ls_window *w, int rank, uint32_t round) {
    return part(w, rank) + sizeof(arrival) + round % 2 * w->sizes.message;
}

void *ls_window_segment(const ls_window *w, int rank) {
    return part(w, rank) + sizeof(arrival) + 2 * w->sizes.message;
}

void *ls_window_common(const ls_window *w) {
    return w->common;
}

size_t ls_window_capacity(const ls_window *w) {
    return w->sizes.message;
}

void *ls_window_outgoing(const ls_window *w) {
    return message(w, w->comm->rank, w->round + 1);
}

const void *ls_window_incoming(const ls_window *w, int rank) {
    return message(w, rank, w->round);
}

static bool is_complete(void *self) {
    const ls_window *w = self;
    return atomic_load_explicit(&w->control->complete.round, memory_order_acquire) == w->round;
}

static bool is_gathered(void *self) {
    const ls_window *w = self;
    return atomic_load_explicit(&w->control->gathered.round, memory_order_acquire) == w->round;
}

/* Of ranks of other hosts nothing is known here, nor waited for. */
static bool has_arrived(void *self, int rank) {
    const ls_window *w = self;
    if (rank < w->first || rank >= w->first + w->ranks) return true;
    const arrival *a = (const void *)part(w, rank);
    /* it may be one ahead already, and the numbers go round */
    return atomic_load_explicit(&a->round, memory_order_relaxed) - w->round <= 1;
}

static void sleep_until(progress *p, uint32_t before, double seconds) {
    struct timespec most = {(time_t)seconds, (long)((seconds - (double)(time_t)seconds) * 1e9)};
    atomic_fetch_add(&p->sleepers, 1);
    /* returns at once if the round has moved on; why it returns at all, the caller finds out by looking */
    syscall(SYS_futex, &p->round, FUTEX_WAIT, before, &most, NULL, 0);
    atomic_fetch_sub(&p->sleepers, 1);
}

static void sleep_until_complete(void *self, double seconds) {
    const ls_window *w = self;
    sleep_until(&w->control->complete, w->round - 1, seconds);
}

/* Exchanges of one part do not move `gathered` on: it stands where the last one of two parts left it. */
static void sleep_until_gathered(void *self, double seconds) {
    const ls_window *w = self;
    const uint32_t now = atomic_load(&w->control->gathered.round);
    if (now != w->round) sleep_until(&w->control->gathered, now, seconds);
}

static void move_on(progress *p, uint32_t round) {
    atomic_store(&p->round, round);
    /* one that is about to sleep has counted itself, or will find that the round has moved on */
    if (atomic_load(&p->sleepers) > 0) syscall(SYS_futex, &p->round, FUTEX_WAKE, INT_MAX, NULL, NULL, 0);
}

/* Says that this rank has come to the next exchange; whoever is the last moves `p` on. */
static void arrive(ls_window *w, progress *p) {
    arrival *own = (void *)part(w, w->comm->rank);
    w->round++;
    atomic_store_explicit(&own->round, w->round, memory_order_relaxed);
    uint64_t arrivals = atomic_fetch_add_explicit(&w->control->arrivals, 1, memory_order_acq_rel) + 1;
    if (arrivals % (uint64_t)w->ranks == 0) move_on(p, w->round);
}

ls_status ls_window_exchange(ls_window *w) {
    LS_TRY(w->comm->class->begin(w->comm, LS_AT_HAND));
    arrive(w, &w->control->complete);
    return w->comm->class->wait(w->comm, &(ls_wait){w, is_complete, has_arrived, sleep_until_complete});
}

ls_status ls_window_gather(ls_window *w) {
    arrive(w, &w->control->gathered);
    if (w->comm->rank != w->first) return LS_OK;
    return w->comm->class->wait(w->comm, &(ls_wait){w, is_gathered, has_arrived, sleep_until_gathered});
}

ls_status ls_window_release(ls_window *w) {
    if (w->comm->rank == w->first) {
        move_on(&w->control->complete, w->round);
        return LS_OK;
    }
    return w->comm->class->wait(w->comm, &(ls_wait){w, is_complete, has_arrived, sleep_until_complete});
}

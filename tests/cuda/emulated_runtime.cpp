/* CUDA's runtime and the execution of kernels, on one thread of the CPU.
 *
 * Device memory is one range of addresses that is closed (PROT_NONE) but while a stream runs: the host that touches it
 * crashes, as it would with a GPU. Streams are lists of work, run when the host waits. Threads of a block are
 * fibers: a stack each, from a pool; one that ends without a barrier leaves its stack to the next.
 *
 * Reported with the kernel's name, and the end of the program: a barrier that part of the block does not reach, one
 * after some threads have returned, a mask without its own lane, lanes of a mask in different operations, a float4 or the
 * like at an address that is no multiple of its size. Environment:
 * LOCKSTEP_EMULATED_ORDER, LOCKSTEP_EMULATED_FAIL (emulated.h), LOCKSTEP_EMULATED_DEVICES (how many; 0: no GPU, -1: no
 * driver; default 1), LOCKSTEP_EMULATED_MEMORY (MiB, default 4096), LOCKSTEP_EMULATED_CAPABILITY (default 90: 9.0), LOCKSTEP_EMULATED_KERNELS (file to which the
 * names of launched kernels are added at the end), LOCKSTEP_EMULATED_LAUNCHES (file to which it is added how often each
 * was launched). */
#include <cerrno>
#include <climits>
#include <cstdio>
#include <sys/mman.h>
#include <unistd.h>
#ifndef __x86_64__
#include <ucontext.h>
#endif

#include "cuda_runtime.h"
#include "core/mma_cuda.h"
#include "emulated.h"

#if defined __SANITIZE_ADDRESS__
#define LS_ASAN 1
#include <sanitizer/asan_interface.h>
#include <sanitizer/common_interface_defs.h>
#else
#define LS_ASAN 0
#endif
#if defined __SANITIZE_THREAD__
#define LS_TSAN 1
#include <sanitizer/tsan_interface.h>
#else
#define LS_TSAN 0
#endif
#define UNWATCHED __attribute__((no_sanitize("thread"), no_sanitize("address"), noinline))

uint3 threadIdx, blockIdx;
dim3 blockDim, gridDim;

#ifdef __x86_64__
extern "C" void ls_emulated_switch(void **save, void *to);
#endif

namespace {

enum { MOST_THREADS = 1024, WARP = 32, STACK = 128 * 1024, GUARD = 4096, SHARED = 64 * 1024, KEYS = 64,
       DYNAMIC = 99 * 1024 /* of compute capability 8.6 and 8.9 */ };

const char *kernel_name = "";
void (*on_fault)(const char *);
ls_emulated_order order = LS_EMULATED_FORWARD;
uint64_t seed = 1, launches, allocations;
int64_t fail_at = -1, live_allocations;

UNWATCHED uint64_t random_word() {
    seed ^= seed << 13;
    seed ^= seed >> 7;
    seed ^= seed << 17;
    return seed;
}

/* --- fibers ----------------------------------------------------------------------------------------------- */

#ifdef __x86_64__
struct context {
    void *stack_pointer;
};
__asm__(".text\n.type ls_emulated_switch,@function\nls_emulated_switch:\n"
        "pushq %rbp\npushq %rbx\npushq %r12\npushq %r13\npushq %r14\npushq %r15\n"
        "movq %rsp,(%rdi)\nmovq %rsi,%rsp\n"
        "popq %r15\npopq %r14\npopq %r13\npopq %r12\npopq %rbx\npopq %rbp\nret\n"
        ".size ls_emulated_switch,.-ls_emulated_switch\n");
UNWATCHED void make_context(context &c, char *stack, size_t size, void (*f)()) {
    void **p = (void **)(((uintptr_t)stack + size) & ~(uintptr_t)15);
    *--p = nullptr;
    *--p = (void *)f;
    for (int i = 0; i < 6; i++) *--p = nullptr;
    c.stack_pointer = p;
}
UNWATCHED void swap_context(context &from, context &to) {
    ls_emulated_switch(&from.stack_pointer, to.stack_pointer);
}
#else
struct context {
    ucontext_t u;
};
void make_context(context &c, char *stack, size_t size, void (*f)()) {
    getcontext(&c.u);
    c.u.uc_stack.ss_sp = stack;
    c.u.uc_stack.ss_size = size;
    c.u.uc_link = nullptr;
    makecontext(&c.u, f, 0);
}
void swap_context(context &from, context &to) {
    swapcontext(&from.u, &to.u);
}
#endif

enum state : uint8_t { IDLE, READY, AT_BARRIER, IN_WARP, DONE };

struct thread {
    state st;
    uint8_t operation, source;
    int fiber, predicate;
    unsigned mask;
    uint64_t value, result;
};
struct fiber {
    context c;
    int thread;
    void *fake, *tsan;
};
struct slot { /* a shared array */
    const void *key;
    size_t offset;
};

struct engine {
    thread t[MOST_THREADS];
    fiber f[MOST_THREADS];
    context main;
    char *stacks;
    int free_fibers[MOST_THREADS], free_count;
    int threads, current, next, live, arrived;
    int turn[MOST_THREADS];
    alignas(128) char shared[SHARED];
    slot slots[KEYS];
    int slot_count;
    size_t shared_used;
    char *dynamic;
    size_t dynamic_size;
    void (*call)(void *);
    void *body;
    bool running, given_up;
    int any, every, count;
    ls_emulated_vote vote;
    void *main_fake, *main_tsan;
    const void *main_bottom;
    size_t main_size;
    int phase;
    char barrier_tag[2], warp_tag[MOST_THREADS / WARP]; /* for the thread sanitizer: what barriers order */
} e;

UNWATCHED void set_current(int t) {
    e.current = t;
    const unsigned u = (unsigned)t;
    threadIdx = {u % blockDim.x, u / blockDim.x % blockDim.y, u / (blockDim.x * blockDim.y)};
}

/* What happened before `release` of a tag is before what comes after its `acquire`. */
UNWATCHED void release_tag(void *tag) {
    (void)tag;
#if LS_TSAN
    __tsan_release(tag);
#endif
}
UNWATCHED void acquire_tag(void *tag) {
    (void)tag;
#if LS_TSAN
    __tsan_acquire(tag);
#endif
}

UNWATCHED void entered() {
#if LS_ASAN
    const void *bottom;
    size_t size;
    __sanitizer_finish_switch_fiber(e.f[e.t[e.current].fiber].fake, &bottom, &size);
    if (!e.main_bottom) e.main_bottom = bottom, e.main_size = size;
#endif
}

UNWATCHED void to_main() {
    fiber &f = e.f[e.t[e.current].fiber];
#if LS_ASAN
    __sanitizer_start_switch_fiber(&f.fake, e.main_bottom, e.main_size);
#endif
#if LS_TSAN
    __tsan_switch_to_fiber(e.main_tsan, __tsan_switch_to_fiber_no_sync);
#endif
    swap_context(f.c, e.main);
    entered();
}

UNWATCHED void to_fiber(int i) {
    fiber &f = e.f[i];
    set_current(f.thread);
#if LS_ASAN
    __sanitizer_start_switch_fiber(&e.main_fake, e.stacks + (size_t)i * STACK + GUARD, STACK - GUARD);
#endif
#if LS_TSAN
    __tsan_switch_to_fiber(f.tsan, __tsan_switch_to_fiber_no_sync);
#endif
    swap_context(e.main, f.c);
#if LS_ASAN
    __sanitizer_finish_switch_fiber(e.main_fake, nullptr, nullptr);
#endif
}

/* A fault ends the program, or gives the kernel up: then no thread of it runs again. */
UNWATCHED void fault(const char *what) {
    char text[512];
    std::snprintf(text, sizeof text, "%s, block (%u,%u,%u): %s", kernel_name, blockIdx.x, blockIdx.y,
                  blockIdx.z, what);
    if (!on_fault) {
        std::fprintf(stderr, "emulated GPU: %s\n", text);
        std::abort();
    }
    on_fault(text);
    e.given_up = true;
}

UNWATCHED void run_fiber() {
    entered();
    for (;;) {
        acquire_tag(&e.running);
        e.call(e.body);
        release_tag(&e.live);
        e.t[e.current].st = DONE;
        e.live--;
#if !LS_TSAN
        if (e.next < e.threads && !e.given_up) { /* this stack is the next thread's */
            const int i = e.t[e.current].fiber, t = e.turn[e.next++];
            e.t[t].st = READY;
            e.t[t].fiber = i;
            e.f[i].thread = t;
            set_current(t);
            continue;
        }
#endif
        to_main();
    }
}

UNWATCHED int new_fiber(int t) {
    const int i = e.free_fibers[--e.free_count];
    fiber &f = e.f[i];
    f.thread = t;
    f.fake = nullptr;
    make_context(f.c, e.stacks + (size_t)i * STACK + GUARD, STACK - GUARD, run_fiber);
#if LS_TSAN
    if (!f.tsan) f.tsan = __tsan_create_fiber(0);
#endif
    e.t[t].fiber = i;
    e.t[t].st = READY;
    return i;
}

/* --- barriers and warps ----------------------------------------------------------------------------------- */

UNWATCHED void release_barrier() {
    e.vote = {e.any, e.every, e.count};
    e.any = e.count = 0;
    e.every = 1;
    e.arrived = 0;
    e.phase ^= 1;
    for (int i = 0; i < e.threads; i++)
        if (e.t[i].st == AT_BARRIER) e.t[i].st = READY;
}

/* Can the lanes that this waiting one names go on? Those that have returned do not take part. */
UNWATCHED bool warp_completes(int t) {
    const thread &a = e.t[t];
    const int base = t & ~(WARP - 1), lanes = e.threads - base < WARP ? e.threads - base : WARP;
    unsigned active = 0, ballot = 0;
    for (int l = 0; l < lanes; l++) {
        const thread &b = e.t[base + l];
        if (!(a.mask >> l & 1) || b.st == DONE) continue;
        if (b.st != IN_WARP || b.mask != a.mask) return false;
        if (b.operation != a.operation) {
            fault("lanes of one mask are in different warp operations");
            return false;
        }
        active |= 1u << l;
        if (b.predicate) ballot |= 1u << l;
    }
    if (a.operation == LS_EMULATED_TOGETHER) { /* of core/mma_cuda.h */
        ls_emulated::together *lane[WARP];
        if (active != ~0u) {
            fault("a product of a warp without all its lanes");
            return false;
        }
        for (int l = 0; l < WARP; l++) lane[l] = (ls_emulated::together *)(uintptr_t)e.t[base + l].value;
        lane[0]->run(lane);
    }
    for (int l = 0; l < lanes; l++) {
        thread &b = e.t[base + l];
        if (!(active >> l & 1)) continue;
        b.result = a.operation == LS_EMULATED_BALLOT ? ballot
                   : active >> b.source & 1          ? e.t[base + b.source].value
                                                     : UINT64_MAX; /* undefined: a NaN */
    }
    for (int l = 0; l < lanes; l++)
        if (active >> l & 1) e.t[base + l].st = READY;
    return true;
}

/* --- blocks ----------------------------------------------------------------------------------------------- */

UNWATCHED void start_block() {
    e.threads = (int)(blockDim.x * blockDim.y * blockDim.z);
    e.live = e.threads;
    e.next = e.arrived = e.any = e.count = 0;
    e.every = 1;
    e.slot_count = 0;
    e.shared_used = 0;
    e.free_count = MOST_THREADS;
    for (int i = 0; i < MOST_THREADS; i++) e.free_fibers[i] = MOST_THREADS - 1 - i;
    for (int i = 0; i < e.threads; i++) {
        e.t[i].st = IDLE;
        e.turn[i] = order == LS_EMULATED_REVERSE ? e.threads - 1 - i : i;
    }
    for (int i = e.threads - 1; order == LS_EMULATED_SHUFFLED && i > 0; i--) {
        const int j = (int)(random_word() % (unsigned)(i + 1)), swapped = e.turn[i];
        e.turn[i] = e.turn[j];
        e.turn[j] = swapped;
    }
    if (e.dynamic_size > 0) std::memset(e.dynamic, 0xff, e.dynamic_size);
}

UNWATCHED void run_block() {
    start_block();
    release_tag(&e.running);
    while (e.next < e.threads && !e.given_up) to_fiber(new_fiber(e.turn[e.next++]));
    while (e.live > 0 && !e.given_up) {
        bool any = false;
        for (int i = 0; i < e.threads && !e.given_up; i++)
            if (e.t[e.turn[i]].st == READY) any = true, to_fiber(e.t[e.turn[i]].fiber);
        if (any) continue;
        for (int i = 0; i < e.threads && !e.given_up; i++) /* after some lanes have returned */
            if (e.t[i].st == IN_WARP && warp_completes(i)) any = true;
        if (any || e.given_up) continue;
        fault(e.arrived == e.live ? "threads wait at a barrier, others have returned without it"
                                  : "a deadlock: threads wait at a barrier, others in a warp operation");
    }
    acquire_tag(&e.live);
}

bool prepare_stacks() {
    if (e.stacks) return true;
    void *memory = mmap(nullptr, (size_t)MOST_THREADS * STACK, PROT_READ | PROT_WRITE,
                        MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
    if (memory == MAP_FAILED) return false;
    e.stacks = (char *)memory;
    for (int i = 0; i < MOST_THREADS; i++)
        if (mprotect(e.stacks + (size_t)i * STACK, GUARD, PROT_NONE) != 0) return false;
    return true;
}

/* --- the list of kernels ---------------------------------------------------------------------------------- */

struct name {
    name *next;
    uint64_t launches;
    char text[256];
} * names;

void write_names() {
    const char *path = std::getenv("LOCKSTEP_EMULATED_KERNELS"),
               *counts_path = std::getenv("LOCKSTEP_EMULATED_LAUNCHES");
    std::FILE *file = path ? std::fopen(path, "a") : nullptr,
              *counts = counts_path ? std::fopen(counts_path, "a") : nullptr;
    for (name *n = names; file && n; n = n->next) std::fprintf(file, "%s\n", n->text);
    for (name *n = names; counts && n; n = n->next)
        std::fprintf(counts, "%llu %s\n", (unsigned long long)n->launches, n->text);
    if (file) std::fclose(file);
    if (counts) std::fclose(counts);
}

void note_name(const char *kernel) {
    for (name *n = names; n; n = n->next)
        if (std::strcmp(n->text, kernel) == 0) {
            n->launches++;
            return;
        }
    name *n = (name *)std::calloc(1, sizeof *n);
    if (!n) return;
    if (!names) std::atexit(write_names);
    std::snprintf(n->text, sizeof n->text, "%s", kernel);
    n->launches = 1;
    n->next = names;
    names = n;
}

/* --- streams ---------------------------------------------------------------------------------------------- */

enum work_kind { LAUNCH, COPY, SET, MARK, REPLAY };

struct work {
    work *next;
    work_kind kind;
    const char *kernel;
    dim3 grid, block;
    size_t size; /* shared bytes, or those to copy or to set */
    void (*call)(void *);
    void *body, *to;
    const void *from;
    int value;
    size_t arguments, at; /* of a launch: bytes of its arguments, and where in the body */
    ls_emulated_event *event;
    ls_emulated_exec *exec;
};

} // namespace

struct ls_emulated_event {
    bool done;
};

/* What was recorded. */
struct ls_emulated_graph {
    work *first, **last;
};
struct ls_emulated_exec {
    work *first;
};

struct ls_emulated_stream {
    work *first, **last;
    ls_emulated_stream *next;
    ls_emulated_graph *recording; /* NULL: it runs what it is given */
    bool spoilt;                  /* something came in between that no recording can hold */
};

namespace {

uint64_t replays, recorded_hash;
int64_t recorded_work;

ls_emulated_stream *streams;
cudaError_t last_error = cudaSuccess, sticky = cudaSuccess;

cudaError_t fail(cudaError_t error) {
    return last_error = error;
}

void run_launch(const work *w) {
    kernel_name = w->kernel;
    gridDim = w->grid;
    blockDim = w->block;
    e.call = w->call;
    e.body = w->body;
    e.dynamic_size = w->size;
    e.dynamic = w->size > 0 ? (char *)std::aligned_alloc(128, (w->size + 127) / 128 * 128) : nullptr;
    e.given_up = false;
    e.running = true;
#if LS_TSAN
    e.main_tsan = __tsan_get_current_fiber();
#endif
    const uint64_t blocks = (uint64_t)w->grid.x * w->grid.y * w->grid.z;
    for (uint64_t k = 0; k < blocks && !e.given_up; k++) {
        const uint64_t b = order == LS_EMULATED_REVERSE ? blocks - 1 - k : k;
        blockIdx = {(unsigned)(b % w->grid.x), (unsigned)(b / w->grid.x % w->grid.y),
                    (unsigned)(b / ((uint64_t)w->grid.x * w->grid.y))};
        run_block();
    }
    e.running = false;
    std::free(e.dynamic);
    if (e.given_up) sticky = cudaErrorLaunchFailure;
}

/* --- memory ----------------------------------------------------------------------------------------------- */

/* Pieces of the arena, in the order of addresses. */
struct piece {
    piece *next;
    size_t offset, size;
    bool used;
};

struct arena {
    char *base;
    size_t size, used, top; /* in all, given out, highest byte ever given out */
    piece *pieces;
} arena_;

enum { PIECE = 4096 }; /* so that the end of what is out of bounds is often closed */

size_t page() {
    static size_t bytes = (size_t)sysconf(_SC_PAGESIZE);
    return bytes;
}

int64_t number_of(const char *variable, int64_t otherwise) {
    const char *text = std::getenv(variable);
    char *end;
    if (!text || !*text) return otherwise;
    const long long value = std::strtoll(text, &end, 10);
    return *end ? otherwise : value;
}

void read_environment() {
    static bool done;
    if (done) return;
    done = true;
    const char *text = std::getenv("LOCKSTEP_EMULATED_ORDER");
    if (text && std::strcmp(text, "reverse") == 0) order = LS_EMULATED_REVERSE;
    if (number_of("LOCKSTEP_EMULATED_ORDER", 0) > 0)
        order = LS_EMULATED_SHUFFLED, seed = (uint64_t)number_of("LOCKSTEP_EMULATED_ORDER", 1);
    fail_at = number_of("LOCKSTEP_EMULATED_FAIL", -1);
}

bool create_arena() {
    if (arena_.base) return true;
    arena_.size = (size_t)number_of("LOCKSTEP_EMULATED_MEMORY", 4096) << 20;
    void *memory = mmap(nullptr, arena_.size, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
    if (memory == MAP_FAILED) return false;
    arena_.base = (char *)memory;
    arena_.pieces = (piece *)std::calloc(1, sizeof(piece));
    if (!arena_.pieces) return false;
    arena_.pieces->size = arena_.size;
    return true;
}

void protect(int how) {
    const size_t size = (arena_.top + page() - 1) / page() * page();
    if (size == 0 || mprotect(arena_.base, size, how) == 0) return;
    std::perror("emulated GPU: mprotect");
    std::abort();
}

/* Is all of it device memory that is given out? */
bool is_device(const void *memory, size_t size) {
    const char *at = (const char *)memory;
    if (!arena_.base || at < arena_.base || at >= arena_.base + arena_.size) return false;
    const size_t offset = (size_t)(at - arena_.base);
    for (const piece *p = arena_.pieces; p; p = p->next)
        if (p->used && p->offset <= offset && offset + size <= p->offset + p->size) return true;
    return false;
}

bool may_be_device(const void *memory) {
    const char *at = (const char *)memory;
    return arena_.base && at >= arena_.base && at < arena_.base + arena_.size;
}

bool split(piece *p, size_t size) {
    if (p->size == size) return true;
    piece *rest = (piece *)std::calloc(1, sizeof *rest);
    if (!rest) return false;
    *rest = {p->next, p->offset + size, p->size - size, false};
    p->next = rest;
    p->size = size;
    return true;
}

void merge_free() {
    for (piece *p = arena_.pieces; p;) {
        piece *next = p->next;
        if (p->used || !next || next->used) {
            p = next;
            continue;
        }
        p->size += next->size;
        p->next = next->next;
        std::free(next);
    }
}

bool allocation_fails() {
    allocations++;
    return fail_at >= 0 && fail_at-- == 0;
}

/* Page-locked memory of the host. */
struct pinned {
    pinned *next;
    char *memory;
    size_t size;
} * pinned_;

bool is_pinned(const void *memory, size_t size) {
    const char *at = (const char *)memory;
    for (const pinned *p = pinned_; p; p = p->next)
        if (at >= p->memory && at + size <= p->memory + p->size) return true;
    return false;
}

/* --- running ---------------------------------------------------------------------------------------------- */

void run_work(const work *w) {
    switch (w->kind) {
    case LAUNCH: run_launch(w); break;
    case COPY: std::memmove(w->to, w->from, w->size); break;
    case SET: std::memset(w->to, w->value, w->size); break;
    case MARK: w->event->done = true; break;
    case REPLAY:
        for (const work *r = w->exec->first; r && sticky == cudaSuccess; r = r->next) run_work(r);
        break;
    }
}

void free_work(work *w) {
    while (w) {
        work *next = w->next;
        std::free(w->body);
        std::free(w);
        w = next;
    }
}

/* What a stream holds, up to an event. */
void run_stream(ls_emulated_stream *s, const ls_emulated_event *until) {
    while (s->first && !(until && until->done)) {
        work *w = s->first;
        s->first = w->next;
        if (!s->first) s->last = &s->first;
        if (sticky == cudaSuccess) run_work(w);
        w->next = nullptr;
        free_work(w);
    }
}

/* Everything that any stream holds, up to an event (or NULL). */
void run_all(const ls_emulated_event *until) {
    bool any = false;
    for (ls_emulated_stream *s = streams; s; s = s->next) any |= s->first != nullptr;
    if (!any) return;
    protect(PROT_READ | PROT_WRITE);
    for (ls_emulated_stream *s = streams; s; s = s->next) run_stream(s, until);
    protect(PROT_NONE);
}

/* Is there a recording, which what is called now ends? It is lost. */
bool breaks_recording() {
    bool any = false;
    for (ls_emulated_stream *s = streams; s; s = s->next)
        if (s->recording) any = s->spoilt = true;
    return any;
}

void mix(uint64_t &hash, const void *bytes, size_t size) {
    for (size_t i = 0; i < size; i++) hash = (hash ^ ((const unsigned char *)bytes)[i]) * 0x100000001b3u;
}

uint64_t hash_of(const work *w) {
    uint64_t hash = 0xcbf29ce484222325u;
    for (; w; w = w->next) {
        const uint64_t numbers[] = {
            (uint64_t)w->kind, w->grid.x,  w->grid.y, w->grid.z,       w->block.x,
            w->block.y,        w->block.z, w->size,   (uint64_t)w->to, w->body ? 0 : (uint64_t)w->from,
            (uint64_t)w->value};
        mix(hash, numbers, sizeof numbers);
        if (w->kind == LAUNCH) {
            mix(hash, w->kernel, std::strlen(w->kernel));
            mix(hash, (const char *)w->body + w->at, w->arguments);
        }
    }
    return hash;
}

cudaError_t append(ls_emulated_stream *stream, const work &like) {
    work *w = (work *)std::malloc(sizeof *w);
    if (!stream) {
        const bool broken = breaks_recording();
        std::free(w);
        std::free(like.body);
        return fail(broken ? cudaErrorStreamCaptureImplicit : cudaErrorInvalidResourceHandle);
    }
    if (!w) return std::free(like.body), fail(cudaErrorMemoryAllocation);
    *w = like;
    w->next = nullptr;
    work ***last = stream->recording ? &stream->recording->last : &stream->last;
    **last = w;
    *last = &w->next;
    if (stream->recording && (like.kind == MARK || like.kind == REPLAY || (like.kind == COPY && like.body))) {
        stream->spoilt = true; /* no use of it: an event, a replay, memory of the host that may be gone */
        return fail(cudaErrorStreamCaptureUnsupported);
    }
    return sticky == cudaSuccess ? cudaSuccess : fail(sticky);
}

int devices() {
    return (int)number_of("LOCKSTEP_EMULATED_DEVICES", 1);
}

} // namespace

/* --- what kernels and launches call ------------------------------------------------------------------------ */

extern "C" {

UNWATCHED void *ls_emulated_shared(const void *key, size_t size) {
    for (int i = 0; i < e.slot_count; i++)
        if (e.slots[i].key == key) return e.shared + e.slots[i].offset;
    if (e.slot_count == KEYS || e.shared_used + size > 48 * 1024) {
        fault("more than 48 KiB of shared memory, or too many arrays of it");
        to_main();
    }
    const size_t offset = e.shared_used;
    e.slots[e.slot_count++] = {key, offset};
    e.shared_used += (size + 127) / 128 * 128;
    std::memset(e.shared + offset, 0xff, size);
    return e.shared + offset;
}

UNWATCHED void ls_emulated_misaligned(uintptr_t address, int size) {
    char what[128];
    std::snprintf(what, sizeof what, "%d bytes at once at address %#llx, which is no multiple of that", size,
                  (unsigned long long)address);
    fault(what);
    to_main();
}

void *ls_emulated_dynamic(void) {
    return e.dynamic;
}

int ls_emulated_lane(void) {
    return e.current & (WARP - 1);
}

UNWATCHED ls_emulated_vote ls_emulated_barrier(int predicate) {
    thread &t = e.t[e.current];
    if (e.live != e.threads) {
        fault("a barrier after some threads of the block have returned");
        to_main();
    }
    t.st = AT_BARRIER;
    e.any |= predicate != 0;
    e.every &= predicate != 0;
    e.count += predicate != 0;
    void *tag = &e.barrier_tag[e.phase];
    release_tag(tag);
    if (++e.arrived == e.live) {
        release_barrier();
        t.st = READY;
    } else {
        to_main();
    }
    acquire_tag(tag);
    return e.vote;
}

UNWATCHED uint64_t ls_emulated_warp(int operation, unsigned mask, uint64_t value, int source, int predicate) {
    const int self = e.current;
    thread &t = e.t[self];
    if (!(mask >> (self & (WARP - 1)) & 1)) {
        fault("a warp operation with a mask that leaves its own lane out");
        to_main();
    }
    t.operation = (uint8_t)operation;
    t.mask = mask;
    t.value = value;
    t.source = (uint8_t)source;
    t.predicate = predicate;
    t.st = IN_WARP;
    void *tag = &e.warp_tag[self / WARP];
    release_tag(tag);
    if (!warp_completes(self)) to_main();
    acquire_tag(tag);
    return e.t[self].result;
}

cudaError_t ls_emulated_enqueue(const char *kernel, dim3 grid, dim3 block, size_t shared, cudaStream_t stream,
                                void (*call)(void *), void *body, size_t size, size_t at) {
    const uint64_t threads = (uint64_t)block.x * block.y * block.z;
    if (!grid.x || !grid.y || !grid.z || grid.x > INT_MAX || grid.y > 65535 || grid.z > 65535 ||
        threads == 0 || threads > MOST_THREADS || shared > DYNAMIC || !prepare_stacks()) {
        std::free(body);
        return fail(cudaErrorInvalidConfiguration);
    }
    if (!stream || !stream->recording) launches++, note_name(kernel);
    work w = {};
    w.kind = LAUNCH;
    w.kernel = kernel;
    w.grid = grid;
    w.block = block;
    w.size = shared;
    w.call = call;
    w.body = body;
    w.arguments = size;
    w.at = at;
    return append(stream, w);
}

/* --- the runtime -------------------------------------------------------------------------------------------- */

cudaError_t cudaGetDeviceCount(int *count) {
    read_environment();
    *count = devices() < 0 ? 0 : devices();
    return devices() < 0    ? fail(cudaErrorInsufficientDriver)
           : devices() == 0 ? fail(cudaErrorNoDevice)
                            : cudaSuccess;
}
cudaError_t cudaSetDevice(int device) {
    return device >= 0 && device < devices() ? cudaSuccess : fail(cudaErrorInvalidValue);
}
cudaError_t cudaDriverGetVersion(int *version) {
    *version = CUDART_VERSION;
    return cudaSuccess;
}
cudaError_t cudaRuntimeGetVersion(int *version) {
    *version = CUDART_VERSION;
    return cudaSuccess;
}
cudaError_t cudaGetDeviceProperties(struct cudaDeviceProp *properties, int device) {
    std::memset(properties, 0, sizeof *properties);
    std::snprintf(properties->name, sizeof properties->name, "emulated GPU");
    const int capability = (int)number_of("LOCKSTEP_EMULATED_CAPABILITY", 90);
    properties->major = capability / 10;
    properties->minor = capability % 10;
    properties->multiProcessorCount = 2;
    return cudaSetDevice(device);
}
cudaError_t cudaDeviceGetPCIBusId(char *bus, int length, int device) {
    std::snprintf(bus, (size_t)length, "0000:%02x:00.0", (unsigned)device & 0xffu);
    return cudaSuccess;
}
cudaError_t cudaMemGetInfo(size_t *available, size_t *total) {
    if (!create_arena()) return fail(cudaErrorMemoryAllocation);
    *total = arena_.size;
    *available = arena_.size - arena_.used;
    return cudaSuccess;
}

cudaError_t cudaStreamCreateWithFlags(cudaStream_t *stream, unsigned flags) {
    (void)flags;
    ls_emulated_stream *s = (ls_emulated_stream *)std::calloc(1, sizeof *s);
    *stream = s;
    if (!s) return fail(cudaErrorMemoryAllocation);
    s->last = &s->first;
    s->next = streams;
    streams = s;
    return cudaSuccess;
}
cudaError_t cudaStreamDestroy(cudaStream_t stream) {
    if (breaks_recording()) return fail(cudaErrorStreamCaptureUnsupported);
    run_all(nullptr);
    for (ls_emulated_stream **s = &streams; *s; s = &(*s)->next)
        if (*s == stream) {
            *s = stream->next;
            std::free(stream);
            return cudaSuccess;
        }
    return fail(cudaErrorInvalidResourceHandle);
}
cudaError_t cudaStreamSynchronize(cudaStream_t stream) {
    (void)stream;
    if (breaks_recording()) return fail(cudaErrorStreamCaptureUnsupported);
    run_all(nullptr);
    return sticky == cudaSuccess ? cudaSuccess : fail(sticky);
}

/* Filled with ones: floats that are NaN. */
cudaError_t cudaMalloc(void **memory, size_t size) {
    const size_t rounded = (size + PIECE - 1) / PIECE * PIECE;
    *memory = nullptr;
    if (breaks_recording()) return fail(cudaErrorStreamCaptureUnsupported);
    if (allocation_fails() || !create_arena()) return fail(cudaErrorMemoryAllocation);
    for (piece *p = arena_.pieces; p; p = p->next) {
        if (p->used || p->size < rounded || !split(p, rounded)) continue;
        p->used = true;
        arena_.used += rounded;
        if (p->offset + rounded > arena_.top) arena_.top = p->offset + rounded;
        *memory = arena_.base + p->offset;
        live_allocations++;
        protect(PROT_READ | PROT_WRITE);
        std::memset(*memory, 0xff, rounded);
        protect(PROT_NONE);
        return cudaSuccess;
    }
    return fail(cudaErrorMemoryAllocation);
}
cudaError_t cudaFree(void *memory) {
    if (breaks_recording()) return fail(cudaErrorStreamCaptureUnsupported);
    run_all(nullptr);
    if (!memory) return cudaSuccess;
    for (piece *p = arena_.pieces; p; p = p->next)
        if (p->used && arena_.base + p->offset == memory) {
            p->used = false;
            arena_.used -= p->size;
            live_allocations--;
            merge_free();
            return cudaSuccess;
        }
    return fail(cudaErrorInvalidValue);
}
cudaError_t cudaHostAlloc(void **memory, size_t size, unsigned flags) {
    (void)flags;
    *memory = nullptr;
    if (breaks_recording()) return fail(cudaErrorStreamCaptureUnsupported);
    if (allocation_fails()) return fail(cudaErrorMemoryAllocation);
    pinned *p = (pinned *)std::calloc(1, sizeof *p);
    *memory = std::aligned_alloc(4096, (size + 4095) / 4096 * 4096);
    if (!*memory || !p)
        return std::free(p), std::free(*memory), *memory = nullptr, fail(cudaErrorMemoryAllocation);
    *p = {pinned_, (char *)*memory, size};
    pinned_ = p;
    std::memset(*memory, 0xff, size);
    live_allocations++;
    return cudaSuccess;
}
cudaError_t cudaFreeHost(void *memory) {
    if (breaks_recording()) return fail(cudaErrorStreamCaptureUnsupported);
    run_all(nullptr);
    if (!memory) return cudaSuccess;
    for (pinned **at = &pinned_; *at; at = &(*at)->next)
        if ((*at)->memory == memory) {
            pinned *p = *at;
            *at = p->next;
            std::free(p);
            std::free(memory);
            live_allocations--;
            return cudaSuccess;
        }
    return fail(cudaErrorInvalidValue);
}

/* Page-locked memory is read when the stream runs, all other memory of the host at once. Either is written when the
 * stream runs. */
cudaError_t cudaMemcpyAsync(void *to, const void *from, size_t size, enum cudaMemcpyKind kind,
                            cudaStream_t stream) {
    const bool to_device = kind == cudaMemcpyHostToDevice || kind == cudaMemcpyDeviceToDevice,
               from_device = kind == cudaMemcpyDeviceToHost || kind == cudaMemcpyDeviceToDevice;
    if (may_be_device(to) != to_device || may_be_device(from) != from_device)
        return fail(cudaErrorInvalidMemcpyDirection);
    if ((to_device && !is_device(to, size)) || (from_device && !is_device(from, size)))
        return fail(cudaErrorInvalidValue);
    work w = {};
    w.kind = COPY;
    w.to = to;
    w.from = from;
    w.size = size;
    if (!from_device && !is_pinned(from, size)) {
        w.body = std::malloc(size > 0 ? size : 1);
        if (!w.body) return fail(cudaErrorMemoryAllocation);
        std::memcpy(w.body, from, size);
        w.from = w.body;
    }
    return append(stream, w);
}
cudaError_t cudaMemsetAsync(void *memory, int value, size_t size, cudaStream_t stream) {
    if (!is_device(memory, size)) return fail(cudaErrorInvalidValue);
    work w = {};
    w.kind = SET;
    w.to = memory;
    w.value = value;
    w.size = size;
    return append(stream, w);
}

/* --- events and recordings -------------------------------------------------------------------------------- */

cudaError_t cudaEventCreateWithFlags(cudaEvent_t *event, unsigned flags) {
    (void)flags;
    *event = (ls_emulated_event *)std::calloc(1, sizeof **event);
    return *event ? cudaSuccess : fail(cudaErrorMemoryAllocation);
}
cudaError_t cudaEventDestroy(cudaEvent_t event) {
    run_all(nullptr);
    std::free(event);
    return cudaSuccess;
}
cudaError_t cudaEventRecord(cudaEvent_t event, cudaStream_t stream) {
    work w = {};
    w.kind = MARK;
    w.event = event;
    event->done = false;
    return append(stream, w);
}
/* Runs what came before the event, and nothing behind it. */
cudaError_t cudaEventSynchronize(cudaEvent_t event) {
    if (breaks_recording()) return fail(cudaErrorStreamCaptureUnsupported);
    run_all(event);
    return sticky == cudaSuccess ? cudaSuccess : fail(sticky);
}

cudaError_t cudaStreamBeginCapture(cudaStream_t stream, enum cudaStreamCaptureMode mode) {
    (void)mode;
    if (!stream || stream->recording) return fail(cudaErrorInvalidValue);
    stream->recording = (ls_emulated_graph *)std::calloc(1, sizeof *stream->recording);
    if (!stream->recording) return fail(cudaErrorMemoryAllocation);
    stream->recording->last = &stream->recording->first;
    stream->spoilt = false;
    return cudaSuccess;
}
cudaError_t cudaStreamEndCapture(cudaStream_t stream, cudaGraph_t *graph) {
    *graph = nullptr;
    if (!stream || !stream->recording) return fail(cudaErrorInvalidValue);
    ls_emulated_graph *g = stream->recording;
    stream->recording = nullptr;
    if (stream->spoilt) return (void)cudaGraphDestroy(g), fail(cudaErrorStreamCaptureInvalidated);
    *graph = g;
    recorded_work = 0;
    for (const work *w = g->first; w; w = w->next) recorded_work++;
    recorded_hash = LS_EMULATED_CLEARS_PADDING ? hash_of(g->first) : 0;
    return cudaSuccess;
}
cudaError_t cudaGraphDestroy(cudaGraph_t graph) {
    if (graph) free_work(graph->first);
    std::free(graph);
    return cudaSuccess;
}
/* What is executed takes the work over: the graph is empty afterwards. */
cudaError_t cudaGraphInstantiateWithFlags(cudaGraphExec_t *exec, cudaGraph_t graph,
                                          unsigned long long flags) {
    *exec = nullptr;
    if (!graph || flags != 0) return fail(cudaErrorInvalidValue);
    *exec = (ls_emulated_exec *)std::calloc(1, sizeof **exec);
    if (!*exec) return fail(cudaErrorMemoryAllocation);
    (*exec)->first = graph->first;
    *graph = {nullptr, &graph->first};
    return cudaSuccess;
}
cudaError_t cudaGraphLaunch(cudaGraphExec_t exec, cudaStream_t stream) {
    work w = {};
    w.kind = REPLAY;
    w.exec = exec;
    replays++;
    for (const work *r = exec->first; r; r = r->next)
        if (r->kind == LAUNCH) launches++, note_name(r->kernel);
    return append(stream, w);
}
cudaError_t cudaGraphExecDestroy(cudaGraphExec_t exec) {
    run_all(nullptr);
    if (exec) free_work(exec->first);
    std::free(exec);
    return cudaSuccess;
}

cudaError_t cudaGetLastError(void) {
    const cudaError_t error = last_error;
    last_error = sticky;
    return error;
}
const char *cudaGetErrorString(cudaError_t error) {
    switch (error) {
    case cudaSuccess: return "no error";
    case cudaErrorInvalidValue: return "invalid argument";
    case cudaErrorMemoryAllocation: return "out of memory";
    case cudaErrorInvalidConfiguration: return "invalid configuration argument";
    case cudaErrorInvalidMemcpyDirection: return "invalid copy direction for memcpy";
    case cudaErrorInsufficientDriver: return "CUDA driver version is insufficient for CUDA runtime version";
    case cudaErrorNoDevice: return "no CUDA-capable device is detected";
    case cudaErrorInvalidResourceHandle: return "invalid resource handle";
    case cudaErrorIllegalAddress: return "an illegal memory access was encountered";
    case cudaErrorLaunchFailure: return "unspecified launch failure";
    case cudaErrorStreamCaptureUnsupported: return "operation not permitted when stream is capturing";
    case cudaErrorStreamCaptureInvalidated: return "operation failed due to a previous error during capture";
    case cudaErrorStreamCaptureImplicit:
        return "operation would make the legacy stream depend on a capturing blocking stream";
    }
    return "an unknown error";
}

/* --- what tests say ----------------------------------------------------------------------------------------- */

void ls_emulated_set_order(ls_emulated_order wanted, uint64_t with_seed) {
    order = wanted;
    seed = with_seed > 0 ? with_seed : 1;
}
void ls_emulated_fail_allocation(int64_t number) {
    fail_at = number;
}
uint64_t ls_emulated_allocations(void) {
    return allocations;
}
int64_t ls_emulated_live(void) {
    return live_allocations;
}
uint64_t ls_emulated_launches(void) {
    return launches;
}
int64_t ls_emulated_recorded_work(void) {
    return recorded_work;
}
uint64_t ls_emulated_recorded_hash(void) {
    return recorded_hash;
}
uint64_t ls_emulated_replays(void) {
    return replays;
}
void ls_emulated_on_fault(void (*f)(const char *what)) {
    on_fault = f;
}
}

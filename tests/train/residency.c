/* Who touches backend memory? Linked into the program by tests/train/CMakeLists.txt: all that a backend
 * allocates lies in one stretch of address space, which is closed (PROT_NONE) but inside functions of kernel
 * tables and inside the backend's own copies. Whoever else reads or writes it faults, is noted by name, and
 * finds it open until the next kernel has returned. When the program ends, the names are added to the file
 * that LS_RESIDENCY_LIST says. On x86-64 with one thread and one rank.
 *
 * A kernel table is a constant whose name ends with a tier (core/real.h), and its functions are the entries
 * that point at a function. They are found in the program's own table of symbols and replaced by gates: a
 * gate opens the memory, puts `kernel_leaves` in place of the return address, and goes on to the kernel, with
 * its arguments as they are. */
#define _GNU_SOURCE
#include <elf.h>
#include <errno.h>
#include <fcntl.h>
#include <link.h>
#include <signal.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <ucontext.h>
#include <unistd.h>

#include "core/backend.h"

enum { PAGE = 4096, MOST_DEPTH = 64, MOST_NAMES = 512, GATE = 32, MOST_GATES = 2048, STACK_WORDS = 4096 };

#define ROOM ((size_t)8 << 30) /* of address space; memory is taken where it is touched */

static char *room;
static size_t used;
static bool closed;
static long kernels;

static void must(bool good, const char *what) {
    if (good) return;
    fprintf(stderr, "residency: %s: %s\n", what, strerror(errno));
    _exit(99);
}

static void set_closed(bool close) {
    if (close == closed) return;
    if (used > 0) must(mprotect(room, used, close ? PROT_NONE : PROT_READ | PROT_WRITE) == 0, "mprotect");
    closed = close;
}

/* --- the backend ------------------------------------------------------------------------------------------ */

static ls_status allocate(const ls_backend *backend, void *out, size_t size, const char *what) {
    char *memory = size > 0 ? room + used : NULL;
    const bool was = closed;
    (void)backend, (void)what;
    must(used + size + PAGE <= ROOM, "no room left");
    set_closed(false);
    used += (size + PAGE - 1) / PAGE * PAGE;
    if (size > 0) must(mprotect(room, used, PROT_READ | PROT_WRITE) == 0, "mprotect");
    set_closed(was);
    memcpy(out, &memory, sizeof memory);
    return LS_OK;
}

static void release(const ls_backend *backend, void *memory) {
    (void)backend, (void)memory; /* stays closed: whoever uses it later is found too */
}

static ls_status copy(const ls_backend *backend, void *to, const void *from, size_t size) {
    const bool was = closed;
    (void)backend;
    set_closed(false);
    memcpy(to, from, size);
    set_closed(was);
    return LS_OK;
}

ls_status __real_ls_backend_find_for(ls_precision precision, ls_instruction_set set,
                                     const ls_backend **backend);
ls_status __wrap_ls_backend_find_for(ls_precision precision, ls_instruction_set set,
                                     const ls_backend **backend);

ls_status __wrap_ls_backend_find_for(ls_precision precision, ls_instruction_set set,
                                     const ls_backend **backend) {
    static ls_backend far;
    LS_TRY(__real_ls_backend_find_for(precision, set, backend));
    far = **backend;
    far.host_memory = false;
    far.allocate = allocate;
    far.release = release;
    far.upload = far.download = copy;
    *backend = &far;
    set_closed(true);
    return LS_OK;
}

/* --- the program's symbols -------------------------------------------------------------------------------- */

static const ElfW(Sym) * symbols;
static size_t symbol_count;
static const char *names;
static uintptr_t base;

static int find_base(struct dl_phdr_info *info, size_t size, void *unused) {
    (void)size, (void)unused;
    base = info->dlpi_addr;
    return 1; /* the first is the program */
}

static void read_symbols(void) {
    const int file = open("/proc/self/exe", O_RDONLY);
    const off_t size = file >= 0 ? lseek(file, 0, SEEK_END) : -1;
    must(size > 0, "/proc/self/exe");
    const char *image = mmap(NULL, (size_t)size, PROT_READ, MAP_PRIVATE, file, 0);
    must(image != MAP_FAILED, "/proc/self/exe");
    const ElfW(Ehdr) *head = (const void *)image;
    const ElfW(Shdr) *sections = (const void *)(image + head->e_shoff);
    for (int i = 0; i < head->e_shnum; i++)
        if (sections[i].sh_type == SHT_SYMTAB) {
            symbols = (const void *)(image + sections[i].sh_offset);
            symbol_count = sections[i].sh_size / sizeof *symbols;
            names = image + sections[sections[i].sh_link].sh_offset;
        }
    must(symbols, "the program has no symbols");
    dl_iterate_phdr(find_base, NULL);
}

/* The function of the program that this address is in; NULL: none. */
static const ElfW(Sym) * function_at(uintptr_t address, bool at_its_begin) {
    for (size_t i = 0; i < symbol_count; i++) {
        const ElfW(Sym) *s = &symbols[i];
        const uintptr_t begin = base + s->st_value;
        if (ELF64_ST_TYPE(s->st_info) != STT_FUNC || s->st_size == 0) continue;
        if (at_its_begin ? address == begin : address >= begin && address < begin + s->st_size) return s;
    }
    return NULL;
}

/* --- gates ------------------------------------------------------------------------------------------------ */

static uintptr_t return_to[MOST_DEPTH];
static int depth;

void kernel_begins(uintptr_t caller);
uintptr_t kernel_ends(void);
void kernel_enters(void);

void kernel_begins(uintptr_t caller) {
    must(depth < MOST_DEPTH, "kernels in kernels");
    return_to[depth++] = caller;
    kernels++;
    set_closed(false);
}

uintptr_t kernel_ends(void) {
    if (--depth == 0) set_closed(true);
    return return_to[depth];
}

/* r11: the kernel. All registers that may hold arguments or results are kept. */
__asm__(".text\n"
        "kernel_enters:\n"
        "  push %rdi; push %rsi; push %rdx; push %rcx; push %r8; push %r9; push %rax; push %r11\n"
        "  sub $136, %rsp\n"
        "  movups %xmm0, (%rsp); movups %xmm1, 16(%rsp); movups %xmm2, 32(%rsp); movups %xmm3, 48(%rsp)\n"
        "  movups %xmm4, 64(%rsp); movups %xmm5, 80(%rsp); movups %xmm6, 96(%rsp); movups %xmm7, 112(%rsp)\n"
        "  mov 200(%rsp), %rdi\n"
        "  call kernel_begins\n"
        "  movups (%rsp), %xmm0; movups 16(%rsp), %xmm1; movups 32(%rsp), %xmm2; movups 48(%rsp), %xmm3\n"
        "  movups 64(%rsp), %xmm4; movups 80(%rsp), %xmm5; movups 96(%rsp), %xmm6; movups 112(%rsp), %xmm7\n"
        "  add $136, %rsp\n"
        "  pop %r11; pop %rax; pop %r9; pop %r8; pop %rcx; pop %rdx; pop %rsi; pop %rdi\n"
        "  lea kernel_leaves(%rip), %r10\n"
        "  mov %r10, (%rsp)\n"
        "  jmp *%r11\n"
        "kernel_leaves:\n"
        "  sub $8, %rsp\n"
        "  push %rax; push %rdx\n"
        "  sub $40, %rsp\n"
        "  movups %xmm0, (%rsp); movups %xmm1, 16(%rsp)\n"
        "  call kernel_ends\n"
        "  mov %rax, 56(%rsp)\n"
        "  movups (%rsp), %xmm0; movups 16(%rsp), %xmm1\n"
        "  add $40, %rsp\n"
        "  pop %rdx; pop %rax\n"
        "  ret\n");

static unsigned char *gates;
static size_t gate_count;

static uintptr_t gate_to(uintptr_t kernel) {
    must(gate_count < MOST_GATES, "too many kernels");
    unsigned char *gate = gates + GATE * gate_count++, *at = gate;
    const uintptr_t enters = (uintptr_t)kernel_enters;
    *at++ = 0x49, *at++ = 0xBB, memcpy(at, &kernel, 8), at += 8; /* mov kernel, %r11 */
    *at++ = 0x49, *at++ = 0xBA, memcpy(at, &enters, 8), at += 8; /* mov kernel_enters, %r10 */
    *at++ = 0x41, *at++ = 0xFF, *at++ = 0xE2;                    /* jmp *%r10 */
    return (uintptr_t)gate;
}

static bool named_by_tier(const char *name) {
    static const char *const tiers[] = {"_f32", "_f64", "_avx2", "_avx512", "_amx"};
    const size_t length = strlen(name);
    for (size_t i = 0; strncmp(name, "ls_", 3) == 0 && i < sizeof tiers / sizeof *tiers; i++) {
        const size_t end = strlen(tiers[i]);
        if (length > end && strcmp(name + length - end, tiers[i]) == 0) return true;
    }
    return false;
}

/* The tables are constants of a position-independent program: their pages are made writable again. */
static void put_gates(void) {
    gates =
        mmap(NULL, GATE * MOST_GATES, PROT_READ | PROT_WRITE | PROT_EXEC, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    must(gates != MAP_FAILED, "gates");
    for (size_t i = 0; i < symbol_count; i++) {
        const ElfW(Sym) *s = &symbols[i];
        if (ELF64_ST_TYPE(s->st_info) != STT_OBJECT || !named_by_tier(names + s->st_name)) continue;
        uintptr_t *entry = (uintptr_t *)(base + s->st_value), from = (uintptr_t)entry / PAGE * PAGE;
        must(mprotect((void *)from, (uintptr_t)entry + s->st_size - from, PROT_READ | PROT_WRITE) == 0,
             "mprotect");
        for (size_t k = 0; k < s->st_size / sizeof *entry; k++)
            if (function_at(entry[k], true)) entry[k] = gate_to(entry[k]);
    }
    must(gate_count > 0, "no kernel tables found");
}

/* --- offenders -------------------------------------------------------------------------------------------- */

static const char *offenders[MOST_NAMES];
static int offender_count;

static void note(const char *name) {
    for (int i = 0; i < offender_count; i++)
        if (offenders[i] == name) return;
    if (offender_count < MOST_NAMES) offenders[offender_count++] = name;
}

/* Of a library's function (memcpy) the one that has called it: the first address on the stack that is one of the
 * program. */
static const char *who(const ucontext_t *context) {
    const ElfW(Sym) *f = function_at((uintptr_t)context->uc_mcontext.gregs[REG_RIP], false);
    const uintptr_t *stack = (const uintptr_t *)context->uc_mcontext.gregs[REG_RSP];
    for (int i = 0; !f && i < STACK_WORDS; i++) f = function_at(stack[i], false);
    return f ? names + f->st_name : "somebody";
}

static void fault(int signal, siginfo_t *info, void *context) {
    const char *at = info->si_addr;
    if (!closed || at < room || at >= room + used) {
        struct sigaction standard = {.sa_handler = SIG_DFL};
        sigaction(signal, &standard, NULL);
        return;
    }
    note(who(context));
    set_closed(false);
}

/* --- begin and end ---------------------------------------------------------------------------------------- */

static volatile char *last_allocated;

/* What the test must find, or it finds nothing. */
__attribute__((noinline)) static void touches_on_purpose(void) {
    last_allocated = room;
    *last_allocated = *last_allocated;
}

static void report(void) {
    const char *path = getenv("LS_RESIDENCY_LIST");
    if (used > 0) {
        set_closed(true);
        touches_on_purpose();
    }
    FILE *file = path ? fopen(path, "a") : NULL;
    must(file, "LS_RESIDENCY_LIST");
    for (int i = 0; i < offender_count; i++) fprintf(file, "%s\n", offenders[i]);
    fprintf(stderr, "residency: %ld calls of kernels, %zu bytes\n", kernels, used);
    must(fclose(file) == 0, path);
}

__attribute__((constructor)) static void begin(void) {
    static char other_stack[1 << 16];
    struct sigaction action = {.sa_sigaction = fault, .sa_flags = SA_SIGINFO | SA_ONSTACK};
    must(sigaltstack(&(stack_t){.ss_sp = other_stack, .ss_size = sizeof other_stack}, NULL) == 0,
         "sigaltstack");
    must(sigaction(SIGSEGV, &action, NULL) == 0, "sigaction");
    room = mmap(NULL, ROOM, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
    must(room != MAP_FAILED, "address space");
    read_symbols();
    put_gates();
    must(atexit(report) == 0, "atexit");
}

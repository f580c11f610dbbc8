#define _DEFAULT_SOURCE /* madvise */
#include "core/status.h"

#include <stdio.h>
#include <stdlib.h>
#include <stdint.h>
#include <string.h>
#ifdef __linux__
#include <sys/mman.h>
#endif

static _Thread_local char message[2048];

const char *ls_status_text(ls_status status) {
    switch (status) {
#define X(name, code, text)                                                                                  \
    case name: return text;
        LS_STATUS_LIST(X)
#undef X
    }
    return "unknown status";
}

ls_status ls_vfail(ls_status status, const char *format, va_list args) {
    vsnprintf(message, sizeof message, format, args);
    return status;
}

ls_status ls_fail(ls_status status, const char *format, ...) {
    va_list args;
    va_start(args, format);
    ls_vfail(status, format, args);
    va_end(args);
    return status;
}

const char *ls_error_message(void) {
    return message;
}

ls_status ls_calloc(void *out, size_t count, size_t size, const char *what) {
    void *memory = NULL;
    if (count > 0 && size > 0) {
        memory = calloc(count, size);
        if (!memory) return ls_fail(LS_INTERNAL, "out of memory: %zu x %zu bytes for %s", count, size, what);
    }
    memcpy(out, &memory, sizeof memory);
    return LS_OK;
}

/* Kernels that walk through memory miss the TLB less in pages of this size: asked for from half a page on. */
enum { HUGE_PAGE = 1 << 21 };

static void ask_for_huge_pages(void *memory, size_t size) {
#ifdef MADV_HUGEPAGE
    (void)madvise(memory, size, MADV_HUGEPAGE); /* EINVAL: a kernel without them, which is as good */
#else
    (void)memory, (void)size;
#endif
}

ls_status ls_aligned_alloc(void *out, size_t size, const char *what) {
    void *memory = NULL;
    if (size > SIZE_MAX - (HUGE_PAGE - 1))
        return ls_fail(LS_INTERNAL, "out of memory: %zu bytes for %s", size, what);
    if (size > 0) {
        const size_t alignment = size >= HUGE_PAGE / 2 ? HUGE_PAGE : 64;
        size = (size + alignment - 1) / alignment * alignment;
        memory = aligned_alloc(alignment, size);
        if (!memory) return ls_fail(LS_INTERNAL, "out of memory: %zu bytes for %s", size, what);
        if (alignment == HUGE_PAGE) ask_for_huge_pages(memory, size);
        memset(memory, 0, size);
    }
    memcpy(out, &memory, sizeof memory);
    return LS_OK;
}

ls_status ls_strdup(char **out, const char *text) {
    *out = strdup(text);
    return *out ? LS_OK : ls_fail(LS_INTERNAL, "out of memory: %zu bytes for a string", strlen(text) + 1);
}

#include "core/backend.h"

#include <stdint.h>
#include <stdlib.h>
#include <string.h>

static ls_status allocate(const ls_backend *backend, void *out, size_t size, const char *what) {
    (void)backend;
    return ls_aligned_alloc(out, size, what);
}

static void release(const ls_backend *backend, void *memory) {
    (void)backend;
    free(memory);
}

static ls_status copy(const ls_backend *backend, void *to, const void *from, size_t size) {
    (void)backend;
    if (size > 0) memcpy(to, from, size);
    return LS_OK;
}

/* A kernel is done when it returns. */
static ls_status finish(const ls_backend *backend) {
    (void)backend;
    return LS_OK;
}

#define CPU(set, precision, dtype)                                                                           \
    {                                                                                                        \
        "cpu", set, precision, dtype, true, NULL, false, allocate, release, allocate, release, copy, copy,   \
            finish                                                                                           \
    }

/* Of one precision in ascending order. */
static const ls_backend backends[] = {
    CPU(LS_PORTABLE, LS_PRECISION_FP32, LS_FP32), CPU(LS_AVX2, LS_PRECISION_FP32, LS_FP32),
    CPU(LS_AVX512, LS_PRECISION_FP32, LS_FP32),   CPU(LS_PORTABLE, LS_PRECISION_FP64, LS_FP64),
    CPU(LS_PORTABLE, LS_PRECISION_BF16, LS_FP32), CPU(LS_AVX2, LS_PRECISION_BF16, LS_FP32),
    CPU(LS_AVX512, LS_PRECISION_BF16, LS_FP32),   CPU(LS_AVX512_BF16, LS_PRECISION_BF16, LS_FP32),
    CPU(LS_AMX, LS_PRECISION_BF16, LS_FP32),
};

ls_status ls_backend_find_for(ls_precision precision, ls_instruction_set set, const ls_backend **backend) {
    *backend = NULL;
    if (precision == LS_PRECISION_TF32)
        return ls_fail(LS_USAGE,
                       "precision=tf32 is computed by tensor cores of a GPU alone (device=cuda); on the "
                       "processor there are fp32, fp64 and bf16");
    for (size_t i = 0; i < sizeof backends / sizeof *backends; i++)
        if (backends[i].precision == precision && backends[i].instruction_set <= set) *backend = &backends[i];
    return *backend ? LS_OK : ls_fail(LS_INTERNAL, "no kernels for precision %d", (int)precision);
}

ls_status ls_backend_find(ls_dtype dtype, const ls_backend **backend) {
    ls_instruction_set set;
    LS_TRY(ls_instruction_set_choose(&set));
    return ls_backend_find_for(dtype == LS_FP64 ? LS_PRECISION_FP64 : LS_PRECISION_FP32, set, backend);
}

ls_status ls_backend_place(const ls_backend *backend, const void *host, size_t size, const char *what,
                           void *memory) {
    void *placed = NULL;
    if (backend->host_memory) {
        memcpy(memory, &host, sizeof host);
        return LS_OK;
    }
    ls_status status = backend->allocate(backend, &placed, size, what);
    if (status == LS_OK) status = backend->upload(backend, placed, host, size);
    memcpy(memory, &placed, sizeof placed);
    return status;
}

void ls_backend_remove(const ls_backend *backend, const void *host, const void *memory) {
    if (memory != host) backend->release(backend, (void *)(uintptr_t)memory);
}

ls_status ls_backend_open(const ls_backend *backend, const void *memory, size_t size, void *host) {
    void *opened = (void *)(uintptr_t)memory;
    ls_status status = LS_OK;
    if (!backend->host_memory) {
        status = ls_aligned_alloc(&opened, size, "a copy for the host");
        if (status == LS_OK) status = backend->download(backend, opened, memory, size);
    }
    memcpy(host, &opened, sizeof opened);
    return status;
}

ls_status ls_backend_close(const ls_backend *backend, void *memory, size_t size, void *host, bool changed) {
    ls_status status = LS_OK;
    if (host == memory || !host) return LS_OK;
    if (changed) status = backend->upload(backend, memory, host, size);
    free(host);
    return status;
}

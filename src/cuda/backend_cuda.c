#include "cuda/backend_cuda.h"

#include <stdlib.h>

#include "cuda/tables.h"

static ls_status allocate(const ls_backend *backend, void *out, size_t size, const char *what) {
    return ls_device_allocate(backend->device, out, size, what);
}

static void release(const ls_backend *backend, void *memory) {
    ls_device_release(backend->device, memory);
}

static ls_status allocate_host(const ls_backend *backend, void *out, size_t size, const char *what) {
    return ls_device_allocate_host(backend->device, out, size, what);
}

static void release_host(const ls_backend *backend, void *memory) {
    ls_device_release_host(backend->device, memory);
}

static ls_status upload(const ls_backend *backend, void *memory, const void *host, size_t size) {
    return ls_device_upload(backend->device, memory, host, size);
}

static ls_status download(const ls_backend *backend, void *host, const void *memory, size_t size) {
    return ls_device_download(backend->device, host, memory, size);
}

static ls_status finish(const ls_backend *backend) {
    return ls_device_finish(backend->device);
}

/* The instance, and what keeps the tables in the program: a table that only a weak reference names would stay
 * in a library of objects. */
typedef struct cuda_backend {
    ls_backend backend;
    const void *const *tables;
} cuda_backend;

ls_status ls_backend_cuda_create(struct ls_device *device, ls_precision precision, ls_instruction_set set,
                                 const ls_backend **out) {
    cuda_backend *b = NULL;
    *out = NULL;
    ls_status status = LS_OK;
    if (precision == LS_PRECISION_FP64)
        status = ls_fail(LS_USAGE, "device=cuda computes in precision fp32 and bf16");
    if (status == LS_OK) status = ls_calloc(&b, 1, sizeof *b, "a back end");
    if (status != LS_OK) {
        ls_device_destroy(&device);
        return status;
    }
    *b = (cuda_backend){.backend = {.name = "cuda",
                                    /* AMX's tiles have bits of their own, which these kernels do not have */
                                    .instruction_set = set < LS_AVX512_BF16 ? set : LS_AVX512_BF16,
                                    .precision = precision,
                                    .dtype = ls_precision_dtype(precision),
                                    .device = device,
                                    .allocate = allocate,
                                    .release = release,
                                    .allocate_host = allocate_host,
                                    .release_host = release_host,
                                    .upload = upload,
                                    .download = download,
                                    .finish = finish},
                        .tables = ls_cuda_tables};
    *out = &b->backend;
    return LS_OK;
}

void ls_backend_cuda_destroy(const ls_backend **backend) {
    cuda_backend *b = (cuda_backend *)(uintptr_t)*backend; /* its first member */
    if (!b) return;
    ls_device_destroy(&b->backend.device);
    free(b);
    *backend = NULL;
}

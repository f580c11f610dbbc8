#include "core/backend_cuda.h"

#include "core/device_cuda.h"

#include <stdlib.h>

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

ls_status ls_backend_cuda_create(struct ls_device *device, ls_precision precision, ls_instruction_set set,
                                 const ls_backend **out) {
    ls_backend *b = NULL;
    *out = NULL;
    ls_status status = LS_OK;
    const ls_device_facts *facts = ls_device_facts_of(device);
    const bool tensor_cores = facts->architecture >= 80; /* with products in bf16 and tf32 */
    if (precision == LS_PRECISION_FP64)
        status = ls_fail(LS_USAGE, "device=cuda computes in precision fp32, bf16 and tf32");
    if (precision == LS_PRECISION_TF32 && !tensor_cores)
        status =
            ls_fail(LS_USAGE, "precision=tf32 takes a GPU of compute capability 8.0 or above; %s has %d.%d",
                    facts->name, facts->architecture / 10, facts->architecture % 10);
    if (status == LS_OK) status = ls_calloc(&b, 1, sizeof *b, "a back end");
    if (status != LS_OK) {
        ls_device_destroy(&device);
        return status;
    }
    *b = (ls_backend){.name = "cuda",
                      /* AMX's tiles have bits of their own, which these kernels do not have */
                      .instruction_set = set < LS_AVX512_BF16 ? set : LS_AVX512_BF16,
                      .precision = precision,
                      .dtype = ls_precision_dtype(precision),
                      .device = device,
                      .tensor_cores = tensor_cores && precision != LS_PRECISION_FP32,
                      .allocate = allocate,
                      .release = release,
                      .allocate_host = allocate_host,
                      .release_host = release_host,
                      .upload = upload,
                      .download = download,
                      .finish = finish};
    *out = b;
    return LS_OK;
}

void ls_backend_cuda_destroy(const ls_backend **backend) {
    ls_backend *b = (ls_backend *)(uintptr_t)*backend; /* made here, so not constant */
    if (!b) return;
    ls_device_destroy(&b->device);
    free(b);
    *backend = NULL;
}

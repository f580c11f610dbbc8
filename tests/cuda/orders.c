#include "orders.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>

#include <cmocka.h>

#include "core/backend_cuda.h"
#include "core/device_cuda.h"
#include "emulated.h"

/* With LS_CUDA the test runs on a GPU, which has an order of its own. */
void set_order(int i) {
#ifdef LS_CUDA
    (void)i;
#else
    static const ls_emulated_order orders[ORDERS] = {LS_EMULATED_FORWARD, LS_EMULATED_REVERSE,
                                                     LS_EMULATED_SHUFFLED, LS_EMULATED_SHUFFLED};
    ls_emulated_set_order(orders[i], (uint64_t)i + 7);
#endif
}

static void expect(ls_status status) {
    if (status != LS_OK) fail_msg("%s", ls_error_message());
}

const ls_backend *emulated_backend(void) {
    static const ls_backend *backend;
    struct ls_device *device;
    if (backend) return backend;
#ifdef LS_CUDA
    if (ls_device_create(0, &device) != LS_OK) {
        fprintf(stderr, "skipped: %s\n", ls_error_message());
        exit(77);
    }
#else
    expect(ls_device_create(0, &device));
#endif
    expect(ls_backend_cuda_create(device, LS_PRECISION_FP32, LS_PORTABLE, &backend));
    return backend;
}

ls_lane emulated_lane(void) {
    return (ls_lane){.device = emulated_backend()->device};
}

void *to_device(const void *host, size_t size) {
    const ls_backend *backend = emulated_backend();
    void *memory;
    expect(backend->allocate(backend, &memory, size, "a test"));
    expect(backend->upload(backend, memory, host, size));
    return memory;
}

void read_device(void *host, const void *memory, size_t size) {
    const ls_backend *backend = emulated_backend();
    expect(backend->download(backend, host, memory, size));
}

void free_device(void *memory) {
    emulated_backend()->release(emulated_backend(), memory);
}

void from_device(void *host, void *memory, size_t size) {
    read_device(host, memory, size);
    free_device(memory);
}

#include "train/device.h"

#include <stdio.h>
#include <stdlib.h>

#include "core/backend_cuda.h"

static ls_status check_program(void) {
    if (ls_backend_cuda_exists()) return LS_OK;
    return ls_fail(LS_USAGE, "this program was built without CUDA (LOCKSTEP_CUDA, see CONTRIBUTING.md)");
}

/* This rank's GPU, if it can be had. */
static ls_status open_device(const ls_comm *comm, ls_precision precision, ls_instruction_set set,
                             const ls_backend **backend) {
    struct ls_device *device;
    LS_TRY(check_program());
    if (precision == LS_PRECISION_FP64)
        return ls_fail(LS_USAGE, "precision fp64 is computed on the processor alone");
    LS_TRY(ls_device_create(comm->host_rank, &device));
    return ls_backend_cuda_create(device, precision, set, backend);
}

static void describe(const ls_backend *backend, char *why, size_t size) {
    const ls_device_facts *f = ls_device_facts_of(backend->device);
    snprintf(why, size, "%s, %s, compute capability %d.%d, %.0f MiB, driver for CUDA %d.%d", f->name, f->bus,
             f->architecture / 10, f->architecture % 10, (double)f->memory / (1 << 20), f->driver / 1000,
             f->driver % 1000 / 10);
}

/* What tensor cores compute has the bits of their generation. Collective. */
static ls_status check_architectures(ls_comm *comm, const ls_backend *backend) {
    const int own = backend->tensor_cores ? ls_device_facts_of(backend->device)->architecture : 0;
    int *all;
    LS_TRY(ls_comm_agree(comm, ls_calloc(&all, (size_t)comm->size, sizeof *all, "the GPUs' architectures")));
    ls_status status = ls_comm_allgather_equal(comm, &own, sizeof own, all);
    for (int r = 0; status == LS_OK && r < comm->size; r++)
        if (all[r] != all[0])
            status = ls_fail(
                LS_USAGE,
                "tensor cores of rank 0 have compute capability %d.%d, those of rank %d %d.%d: their sums "
                "differ; train on equal GPUs, or with precision=fp32",
                all[0] / 10, all[0] % 10, r, all[r] / 10, all[r] % 10);
    free(all);
    return status;
}

ls_status ls_device_choose(ls_comm *comm, ls_device_kind wanted, ls_precision precision,
                           ls_instruction_set set, char *why, size_t size, const ls_backend **backend) {
    *backend = NULL;
    if (wanted == LS_DEVICE_AUTO && !ls_backend_cuda_exists()) wanted = LS_DEVICE_CPU; /* no news */
    *why = 0;
    if (wanted == LS_DEVICE_CPU) return LS_OK;
    const ls_status own = open_device(comm, precision, set, backend);
    if (own != LS_OK && wanted == LS_DEVICE_CUDA) {
        char text[512];
        snprintf(text, sizeof text, "%s", ls_error_message());
        (void)ls_fail(own, "device=cuda: %s", text);
    }
    const ls_status status = ls_comm_agree(comm, own);
    if (status == LS_OK) {
        const ls_status equal = check_architectures(comm, *backend);
        if (equal != LS_OK) {
            ls_device_give_back(backend);
            return equal;
        }
        describe(*backend, why, size);
        return LS_OK;
    }
    ls_device_give_back(backend);
    if (wanted == LS_DEVICE_CUDA) return status;
    comm->agreed = false; /* no failure, but the reason */
    snprintf(why, size, "cpu: %s", ls_error_message());
    return LS_OK;
}

void ls_device_give_back(const ls_backend **backend) {
    if (*backend) ls_backend_cuda_destroy(backend);
}

ls_status ls_device_look(ls_device_facts *facts) {
    struct ls_device *device;
    LS_TRY(check_program());
    LS_TRY(ls_device_create(0, &device));
    *facts = *ls_device_facts_of(device);
    ls_device_destroy(&device);
    return LS_OK;
}

/* Where the numbers live and who computes on them: a small table of functions chosen at run time by name. A
 * layer's kernels for a back end stand in the layer's own folder (ls_dense_kernels_for and its like pick
 * them). */
#ifndef LOCKSTEP_CORE_BACKEND_H
#define LOCKSTEP_CORE_BACKEND_H

#include <stdbool.h>
#include <stddef.h>

#include "core/instruction_set.h"
#include "core/status.h"

/* Element type of parameters, activations and gradients. */
typedef enum ls_dtype { LS_FP32, LS_FP64 } ls_dtype;

static inline size_t ls_dtype_size(ls_dtype dtype) {
    return dtype == LS_FP64 ? 8 : 4;
}

/* How training computes. In bf16 every product of a dense or convolution layer, forward and backward, rounds
 * its two factors to bf16 (to nearest, ties to even) and adds in fp32; everything else, master weights too,
 * is fp32, but on a GPU with tensor cores images, which are kept in bf16 there where their kernels can. tf32,
 * the same with factors of 11 bits, is for such GPUs alone. */
typedef enum ls_precision {
    LS_PRECISION_FP32,
    LS_PRECISION_FP64,
    LS_PRECISION_BF16,
    LS_PRECISION_TF32
} ls_precision;

static inline ls_dtype ls_precision_dtype(ls_precision precision) {
    return precision == LS_PRECISION_FP64 ? LS_FP64 : LS_FP32;
}

struct ls_device;

/* A back end: where numbers lie, and which kernels compute on them. What allocate() gives is *backend memory*:
 * kernel tables alone read and write it (core/lane.h), and these functions copy from and to it. */
typedef struct ls_backend ls_backend;
struct ls_backend {
    const char *name;                   /* for people */
    ls_instruction_set instruction_set; /* of the kernels */
    ls_precision precision;
    ls_dtype dtype;           /* ls_precision_dtype(precision) */
    bool host_memory;         /* backend memory is the host's own: the functions below copy nothing */
    struct ls_device *device; /* NULL: the CPU */
    bool tensor_cores;        /* of the device, for products in bf16 and tf32 (core/mma_cuda.h) */
    /* Backend memory, aligned to 64 bytes and zeroed; `what` names it in the message of a failure
     * (LS_INTERNAL). */
    ls_status (*allocate)(const ls_backend *backend, void *out, size_t size, const char *what);
    void (*release)(const ls_backend *backend, void *memory);
    /* Host memory that copies to and from backend memory reach fast, likewise. */
    ls_status (*allocate_host)(const ls_backend *backend, void *out, size_t size, const char *what);
    void (*release_host)(const ls_backend *backend, void *memory);
    /* Between host and backend memory, in the order of what was begun before. The host's side is free again,
     * or filled, on return; the rest of what was begun need not be done. */
    ls_status (*upload)(const ls_backend *backend, void *memory, const void *host, size_t size);
    ls_status (*download)(const ls_backend *backend, void *host, const void *memory, size_t size);
    /* Waits for all that was begun; the first failure since the last call. */
    ls_status (*finish)(const ls_backend *backend);
};

/* Are images kept in bf16 by kernels of this back end that can? */
static inline bool ls_backend_stores_bf16(const ls_backend *backend) {
    return backend->tensor_cores && backend->precision == LS_PRECISION_BF16;
}

/* The back end of this machine's processors for fp32 or fp64, with the kernels of the tier that
 * ls_instruction_set_choose() gives. LS_USAGE: a wrong LOCKSTEP_ISA. It lives as long as the program. */
ls_status ls_backend_find(ls_dtype dtype, const ls_backend **backend);
/* The same for a precision, with the kernels of a given tier, which the processor must have, or the highest
 * below it that differs: in fp64 always the portable ones. */
ls_status ls_backend_find_for(ls_precision precision, ls_instruction_set set, const ls_backend **backend);

/* Backend memory that holds what the host's does, to be read: that of the host itself where it may be. */
ls_status ls_backend_place(const ls_backend *backend, const void *host, size_t size, const char *what,
                           void *memory);
void ls_backend_remove(const ls_backend *backend, const void *host, const void *memory);
/* Opens backend memory to the host: *host is that memory, or a copy of it. ls_backend_close() gives it back,
 * with what the host has written there if `changed`; it is called after a failure to open as well. */
ls_status ls_backend_open(const ls_backend *backend, const void *memory, size_t size, void *host);
ls_status ls_backend_close(const ls_backend *backend, void *memory, size_t size, void *host, bool changed);

/* Of a name that a program without CUDA does not have: its address is then NULL. */
#ifdef LS_CUDA /* the library has it, and linkers are to take it from there */
#define LS_CUDA_IF_THERE
#else
#define LS_CUDA_IF_THERE __attribute__((weak))
#endif

/* A table of kernels exists once for each tier (core/real.h), and for GPUs (NAME_cuda) in a program with
 * CUDA. LS_KERNELS declares all of them, LS_KERNELS_CPU those of an op that may have none for GPUs;
 * LS_KERNELS_OF picks the one for a back end: NULL where there is none, which ls_graph_add() finds. */
#define LS_KERNELS_CUDA(type, name) extern const type name##_cuda LS_CUDA_IF_THERE
#define LS_KERNELS(type, name)                                                                               \
    LS_KERNELS_TIERS(type, name);                                                                            \
    LS_KERNELS_CUDA(type, name)
#define LS_KERNELS_CPU(type, name)                                                                           \
    LS_KERNELS_TIERS(type, name);                                                                            \
    extern const type name##_cuda __attribute__((weak))
#ifdef __x86_64__
#define LS_KERNELS_TIERS(type, name) extern const type name##_f32, name##_f64, name##_avx2, name##_avx512
#define LS_KERNELS_OF(backend, name)                                                                         \
    ((backend)->device                         ? &name##_cuda                                                \
     : (backend)->dtype == LS_FP64             ? &name##_f64                                                 \
     : (backend)->instruction_set >= LS_AVX512 ? &name##_avx512                                              \
     : (backend)->instruction_set == LS_AVX2   ? &name##_avx2                                                \
                                               : &name##_f32)
#else
#define LS_KERNELS_TIERS(type, name) extern const type name##_f32, name##_f64
#define LS_KERNELS_OF(backend, name)                                                                         \
    ((backend)->device ? &name##_cuda : (backend)->dtype == LS_FP64 ? &name##_f64 : &name##_f32)
#endif

#endif

/* Where the numbers live and who computes on them: a small table of functions chosen at run time by name. A
 * layer's kernels for a back end stand in the layer's own folder (ls_dense_kernels_for and its like pick
 * them). */
#ifndef LOCKSTEP_CORE_BACKEND_H
#define LOCKSTEP_CORE_BACKEND_H

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
 * is fp32. */
typedef enum ls_precision { LS_PRECISION_FP32, LS_PRECISION_FP64, LS_PRECISION_BF16 } ls_precision;

static inline ls_dtype ls_precision_dtype(ls_precision precision) {
    return precision == LS_PRECISION_FP64 ? LS_FP64 : LS_FP32;
}

typedef struct ls_backend {
    const char *name;                   /* "cpu" */
    ls_instruction_set instruction_set; /* of the kernels */
    ls_precision precision;
    ls_dtype dtype; /* ls_precision_dtype(precision) */
    /* Device memory, aligned to 64 bytes and zeroed; `what` names it in the message of a failure
     * (LS_INTERNAL). */
    ls_status (*allocate)(void *out, size_t size, const char *what);
    void (*release)(void *memory);
    /* Between host and device memory, in stream order; on the CPU a memcpy. */
    void (*upload)(void *device, const void *host, size_t size);
    void (*download)(void *host, const void *device, size_t size);
} ls_backend;

/* The back end of that name for fp32 or fp64, with the kernels of the tier that ls_instruction_set_choose()
 * gives. LS_USAGE: no such back end, or a wrong LOCKSTEP_ISA. */
ls_status ls_backend_find(const char *name, ls_dtype dtype, const ls_backend **backend);
/* The same for a precision, with the kernels of a given tier, which the processor must have, or the highest
 * below it that differs: in fp64 always the portable ones. */
ls_status ls_backend_find_for(const char *name, ls_precision precision, ls_instruction_set set,
                              const ls_backend **backend);

/* A table of kernels exists once for each tier (core/real.h): LS_KERNELS declares all, LS_KERNELS_OF picks
 * the one for a back end. */
#ifdef __x86_64__
#define LS_KERNELS(type, name) extern const type name##_f32, name##_f64, name##_avx2, name##_avx512
#define LS_KERNELS_OF(backend, name)                                                                         \
    ((backend)->dtype == LS_FP64               ? &name##_f64                                                 \
     : (backend)->instruction_set >= LS_AVX512 ? &name##_avx512                                              \
     : (backend)->instruction_set == LS_AVX2   ? &name##_avx2                                                \
                                               : &name##_f32)
#else
#define LS_KERNELS(type, name)       extern const type name##_f32, name##_f64
#define LS_KERNELS_OF(backend, name) ((backend)->dtype == LS_FP64 ? &name##_f64 : &name##_f32)
#endif

#endif

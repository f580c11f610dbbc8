/* Where the numbers live and who computes on them: a small table of functions chosen at run time by name. A layer's
 * kernels for a back end stand in the layer's own folder (ls_dense_kernels_for and its like pick them). */
#ifndef LOCKSTEP_CORE_BACKEND_H
#define LOCKSTEP_CORE_BACKEND_H

#include <stddef.h>

#include "core/instruction_set.h"
#include "core/status.h"

/* Element type of parameters, activations and gradients. */
typedef enum ls_dtype { LS_FP32, LS_FP64 } ls_dtype;

static inline size_t ls_dtype_size(ls_dtype dtype) { return dtype == LS_FP64 ? 8 : 4; }

typedef struct ls_backend {
    const char *name;            /* "cpu" */
    ls_instruction_set instruction_set; /* of the kernels */
    ls_dtype dtype;
    /* Device memory, aligned to 64 bytes and zeroed; `what` names it in the message of a failure (LS_INTERNAL). */
    ls_status (*allocate)(void *out, size_t size, const char *what);
    void (*release)(void *memory);
    /* Between host and device memory, in stream order; on the CPU a memcpy. */
    void (*upload)(void *device, const void *host, size_t size);
    void (*download)(void *host, const void *device, size_t size);
} ls_backend;

/* The back end of that name for elements of this type, with the kernels of the tier that ls_instruction_set_choose()
 * gives; in fp64 they are the portable ones on every processor. LS_USAGE: no such back end, or a wrong LOCKSTEP_ISA. */
ls_status ls_backend_find(const char *name, ls_dtype dtype, const ls_backend **backend);
/* The same with the kernels of a given tier, which the processor must have. */
ls_status ls_backend_find_for(const char *name, ls_dtype dtype, ls_instruction_set set, const ls_backend **backend);

/* A table of kernels exists once for each tier (core/real.h): LS_KERNELS declares all, LS_KERNELS_OF picks the one for a
 * back end. */
#ifdef __x86_64__
#define LS_KERNELS(type, name) extern const type name##_f32, name##_f64, name##_avx2, name##_avx512
#define LS_KERNELS_OF(backend, name)                           \
    ((backend)->dtype == LS_FP64                 ? &name##_f64    \
     : (backend)->instruction_set == LS_AVX512 ? &name##_avx512 \
     : (backend)->instruction_set == LS_AVX2   ? &name##_avx2   \
                                               : &name##_f32)
#else
#define LS_KERNELS(type, name) extern const type name##_f32, name##_f64
#define LS_KERNELS_OF(backend, name) ((backend)->dtype == LS_FP64 ? &name##_f64 : &name##_f32)
#endif

#endif

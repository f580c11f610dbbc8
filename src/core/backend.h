/* Where the numbers live and who computes on them: a small table of functions chosen at run time by name. A layer's
 * kernels for a back end stand in the layer's own folder (ls_dense_kernels_for and its like pick them). */
#ifndef LOCKSTEP_CORE_BACKEND_H
#define LOCKSTEP_CORE_BACKEND_H

#include <stddef.h>

#include "core/status.h"

/* Element type of parameters, activations and gradients. */
typedef enum ls_dtype { LS_FP32, LS_FP64 } ls_dtype;

static inline size_t ls_dtype_size(ls_dtype dtype) { return dtype == LS_FP64 ? 8 : 4; }

typedef struct ls_backend {
    const char *name;            /* "cpu" */
    const char *instruction_set; /* of the kernels: "portable" */
    ls_dtype dtype;
    /* Device memory, aligned to 64 bytes and zeroed; `what` names it in the message of a failure (LS_INTERNAL). */
    ls_status (*allocate)(void *out, size_t size, const char *what);
    void (*release)(void *memory);
    /* Between host and device memory, in stream order; on the CPU a memcpy. */
    void (*upload)(void *device, const void *host, size_t size);
    void (*download)(void *host, const void *device, size_t size);
} ls_backend;

/* The back end of that name for elements of this type. LS_USAGE: no such back end. */
ls_status ls_backend_find(const char *name, ls_dtype dtype, const ls_backend **backend);

#endif

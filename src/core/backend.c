#include "core/backend.h"

#include <stdlib.h>
#include <string.h>

static void host_copy(void *to, const void *from, size_t size) { memcpy(to, from, size); }

static const ls_backend backends[] = {
    {"cpu", "portable", LS_FP32, ls_aligned_alloc, free, host_copy, host_copy},
    {"cpu", "portable", LS_FP64, ls_aligned_alloc, free, host_copy, host_copy},
};

ls_status ls_backend_find(const char *name, ls_dtype dtype, const ls_backend **backend) {
    for (size_t i = 0; i < sizeof backends / sizeof *backends; i++) {
        if (strcmp(backends[i].name, name) == 0 && backends[i].dtype == dtype) {
            *backend = &backends[i];
            return LS_OK;
        }
    }
    return ls_fail(LS_USAGE, "backend=%s: not in this build; expected cpu", name);
}

#include "core/backend.h"

#include <stdlib.h>
#include <string.h>

static void host_copy(void *to, const void *from, size_t size) { memcpy(to, from, size); }

#define HOST_MEMORY ls_aligned_alloc, free, host_copy, host_copy

static const ls_backend backends[] = {
    {"cpu", LS_PORTABLE, LS_FP32, HOST_MEMORY},
    {"cpu", LS_AVX2, LS_FP32, HOST_MEMORY},
    {"cpu", LS_AVX512, LS_FP32, HOST_MEMORY},
    {"cpu", LS_PORTABLE, LS_FP64, HOST_MEMORY},
};

ls_status ls_backend_find_for(const char *name, ls_dtype dtype, ls_instruction_set set, const ls_backend **backend) {
    if (dtype == LS_FP64) set = LS_PORTABLE;
    for (size_t i = 0; i < sizeof backends / sizeof *backends; i++) {
        const ls_backend *b = &backends[i];
        if (strcmp(b->name, name) == 0 && b->dtype == dtype && b->instruction_set == set) {
            *backend = b;
            return LS_OK;
        }
    }
    return ls_fail(LS_USAGE, "backend=%s: not in this build; expected cpu", name);
}

ls_status ls_backend_find(const char *name, ls_dtype dtype, const ls_backend **backend) {
    ls_instruction_set set;
    LS_TRY(ls_instruction_set_choose(&set));
    return ls_backend_find_for(name, dtype, set, backend);
}

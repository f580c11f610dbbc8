#include "core/backend.h"

#include <stdlib.h>
#include <string.h>

static void host_copy(void *to, const void *from, size_t size) {
    memcpy(to, from, size);
}

#define HOST_MEMORY ls_aligned_alloc, free, host_copy, host_copy

/* Of one precision in ascending order. */
static const ls_backend backends[] = {
    {"cpu", LS_PORTABLE, LS_PRECISION_FP32, LS_FP32, HOST_MEMORY},
    {"cpu", LS_AVX2, LS_PRECISION_FP32, LS_FP32, HOST_MEMORY},
    {"cpu", LS_AVX512, LS_PRECISION_FP32, LS_FP32, HOST_MEMORY},
    {"cpu", LS_PORTABLE, LS_PRECISION_FP64, LS_FP64, HOST_MEMORY},
    {"cpu", LS_PORTABLE, LS_PRECISION_BF16, LS_FP32, HOST_MEMORY},
    {"cpu", LS_AVX2, LS_PRECISION_BF16, LS_FP32, HOST_MEMORY},
    {"cpu", LS_AVX512, LS_PRECISION_BF16, LS_FP32, HOST_MEMORY},
    {"cpu", LS_AVX512_BF16, LS_PRECISION_BF16, LS_FP32, HOST_MEMORY},
    {"cpu", LS_AMX, LS_PRECISION_BF16, LS_FP32, HOST_MEMORY},
};

ls_status ls_backend_find_for(const char *name, ls_precision precision, ls_instruction_set set,
                              const ls_backend **backend) {
    *backend = NULL;
    for (size_t i = 0; i < sizeof backends / sizeof *backends; i++) {
        const ls_backend *b = &backends[i];
        if (strcmp(b->name, name) == 0 && b->precision == precision && b->instruction_set <= set)
            *backend = b;
    }
    return *backend ? LS_OK : ls_fail(LS_USAGE, "backend=%s: not in this build; expected cpu", name);
}

ls_status ls_backend_find(const char *name, ls_dtype dtype, const ls_backend **backend) {
    ls_instruction_set set;
    LS_TRY(ls_instruction_set_choose(&set));
    return ls_backend_find_for(name, dtype == LS_FP64 ? LS_PRECISION_FP64 : LS_PRECISION_FP32, set, backend);
}

#include "core/instruction_set.h"

#include <stdlib.h>
#include <string.h>

static const char *const names[] = {"portable", "avx2", "avx512", "avx512_bf16"};
enum { TIERS = sizeof names / sizeof *names };

const char *ls_instruction_set_name(ls_instruction_set set) { return names[set]; }

ls_instruction_set ls_instruction_set_supported(void) {
#ifdef __x86_64__
    if (!__builtin_cpu_supports("avx2") || !__builtin_cpu_supports("fma")) return LS_PORTABLE;
    if (!__builtin_cpu_supports("avx512f") || !__builtin_cpu_supports("avx512bw") ||
        !__builtin_cpu_supports("avx512dq") || !__builtin_cpu_supports("avx512vl"))
        return LS_AVX2;
    return __builtin_cpu_supports("avx512bf16") ? LS_AVX512_BF16 : LS_AVX512;
#else
    return LS_PORTABLE;
#endif
}

ls_status ls_instruction_set_choose(ls_instruction_set *set) {
    const char *wanted = getenv("LOCKSTEP_ISA");
    *set = ls_instruction_set_supported();
    if (!wanted || !*wanted) return LS_OK;
    for (int i = 0; i < TIERS; i++) {
        if (strcmp(wanted, names[i]) != 0) continue;
        if (i > (int)*set)
            return ls_fail(LS_USAGE, "LOCKSTEP_ISA=%s: this processor has at most %s", wanted, names[*set]);
        *set = (ls_instruction_set)i;
        return LS_OK;
    }
    return ls_fail(LS_USAGE, "LOCKSTEP_ISA: found \"%s\", expected portable, avx2, avx512 or avx512_bf16", wanted);
}

#define _GNU_SOURCE /* syscall */
#include "core/instruction_set.h"

#include <stdbool.h>
#include <stdlib.h>
#include <string.h>

#ifdef __x86_64__
#include <cpuid.h>
#endif
#if defined __x86_64__ && defined __linux__
#include <sys/syscall.h>
#include <unistd.h>
#endif

static const char *const names[] = {"portable", "avx2", "avx512", "avx512_bf16", "amx"};
enum { TIERS = sizeof names / sizeof *names };

const char *ls_instruction_set_name(ls_instruction_set set) {
    return names[set];
}

#ifdef __x86_64__

#ifdef __linux__

/* Does the system save these states of the processor (XCR0) for every thread? */
static bool system_saves(unsigned states) {
    unsigned a, b, c, d, low, high;
    enum { OSXSAVE = 1 << 27 };
    if (!__get_cpuid(1, &a, &b, &c, &d) || !(c & OSXSAVE)) return false;
    __asm__ volatile("xgetbv" : "=a"(low), "=d"(high) : "c"(0));
    (void)high;
    return (low & states) == states;
}

/* Tiles and bf16 on them (CPUID 7, EDX bits 24 and 22), their configuration and data saved (XCR0 bits 17 and
 * 18), and leave to use them, which Linux wants to be asked for (ARCH_REQ_XCOMP_PERM for the data,
 * Documentation/arch/x86/xstate.rst): it grants it to the whole process, again and again. */
static bool has_amx(void) {
    enum {
        TILE = 1 << 24,
        BF16 = 1 << 22,
        STATES = 1 << 17 | 1 << 18,
        REQUEST_PERMISSION = 0x1023,
        TILE_DATA = 18
    };
    unsigned a, b, c, d;
    if (!__get_cpuid_count(7, 0, &a, &b, &c, &d) || (d & (TILE | BF16)) != (TILE | BF16)) return false;
    return system_saves(STATES) && syscall(SYS_arch_prctl, REQUEST_PERMISSION, TILE_DATA) == 0;
}

#else

static bool has_amx(void) {
    return false;
}

#endif

ls_instruction_set ls_instruction_set_supported(void) {
    if (!__builtin_cpu_supports("avx2") || !__builtin_cpu_supports("fma")) return LS_PORTABLE;
    if (!__builtin_cpu_supports("avx512f") || !__builtin_cpu_supports("avx512bw") ||
        !__builtin_cpu_supports("avx512dq") || !__builtin_cpu_supports("avx512vl"))
        return LS_AVX2;
    if (!__builtin_cpu_supports("avx512bf16")) return LS_AVX512;
    return has_amx() ? LS_AMX : LS_AVX512_BF16;
}

static bool is_intel(void) {
    unsigned a, b, c, d;
    return __get_cpuid(0, &a, &b, &c, &d) && b == signature_INTEL_ebx && c == signature_INTEL_ecx &&
           d == signature_INTEL_edx;
}

#else

ls_instruction_set ls_instruction_set_supported(void) {
    return LS_PORTABLE;
}

static bool is_intel(void) {
    return false;
}

#endif

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
    return ls_fail(LS_USAGE,
                   "LOCKSTEP_ISA: found \"%s\", expected portable, avx2, avx512, avx512_bf16 or amx", wanted);
}

ls_status ls_instruction_set_choose_bf16(ls_instruction_set *set, const char **why) {
    static const char *const reasons[] = {
        [LS_PORTABLE] = "factors rounded, no vector instructions",
        [LS_AVX2] = "factors rounded, multiply-adds of fp32",
        [LS_AVX512] = "factors rounded, multiply-adds of fp32; no dot product of pairs",
        [LS_AVX512_BF16] = "dot product of pairs; no AMX",
        [LS_AMX] = "products of tiles"};
    const char *wanted = getenv("LOCKSTEP_ISA");
    LS_TRY(ls_instruction_set_choose(set));
    *why = reasons[*set];
    if (wanted && *wanted) {
        *why = "as LOCKSTEP_ISA says";
    } else if (*set == LS_AVX512_BF16 && is_intel()) {
        *set = LS_AVX512;
        *why = "factors rounded, multiply-adds of fp32: Intel's dot product of pairs is no faster; no AMX";
    }
    return LS_OK;
}

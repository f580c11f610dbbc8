/* The tiers of instructions that kernels exist for, chosen once at run time. A binary holds all of them;
 * there is no -march=native. All have the same bits but AMX, whose tiles add pairs apart from each other, and
 * AVX512_BF16, which takes denormals for 0 (layers/dense/dense.h, layers/conv2d/conv2d.h). */
#ifndef LOCKSTEP_CORE_INSTRUCTION_SET_H
#define LOCKSTEP_CORE_INSTRUCTION_SET_H

#include "core/status.h"

/* In ascending order: a processor that has one has all before it. */
typedef enum ls_instruction_set {
    LS_PORTABLE,    /* plain C for the baseline of the architecture */
    LS_AVX2,        /* AVX2 and FMA */
    LS_AVX512,      /* AVX-512 F, BW, DQ and VL */
    LS_AVX512_BF16, /* and the dot product of pairs of bf16 numbers; for fp32 the same as AVX-512 */
    LS_AMX          /* and AMX's products of tiles of bf16 (core/tiles.h); for fp32 the same as AVX-512 */
} ls_instruction_set;

/* "portable", "avx2", "avx512", "avx512_bf16", "amx" */
const char *ls_instruction_set_name(ls_instruction_set set);

/* The highest tier that this processor and operating system have. AMX counts only where the system grants
 * this process the use of its tiles, for which Linux is asked here (once, for all threads); nowhere else is
 * it used. */
ls_instruction_set ls_instruction_set_supported(void);

/* The tier to use: what LOCKSTEP_ISA says, otherwise the highest. LS_USAGE: LOCKSTEP_ISA names none, or one
 * that is not supported here. */
ls_status ls_instruction_set_choose(ls_instruction_set *set);

/* The same for products of bf16 factors: where LOCKSTEP_ISA does not say, AMX; without it AVX-512's dot
 * product of pairs, but on processors of Intel multiply-adds of AVX-512 on rounded factors, which are no
 * slower there: they have two units for multiply-adds, and one for the dot product. The bits of these two
 * tiers are the same (denormals apart: layers/conv2d/conv2d.h). why: a few words for people. */
ls_status ls_instruction_set_choose_bf16(ls_instruction_set *set, const char **why);

#endif

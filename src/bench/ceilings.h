/* What the machine can do at best, measured on all threads of all ranks at once, in the same run as what is
 * compared with it. Rates are sums over ranks. */
#ifndef LOCKSTEP_BENCH_CEILINGS_H
#define LOCKSTEP_BENCH_CEILINGS_H

#include "bench/spread.h"
#include "core/backend.h"
#include "core/instruction_set.h"
#include "core/team.h"
#include "dist/comm.h"

/* Runs a loop of independent multiply-adds on registers `rounds` times and returns how many operations that
 * was. */
typedef double (*ls_register_loop)(int64_t rounds);

/* The loop of the highest tier that this processor has of those up to avx512, whatever the kernels use, and
 * that tier; in the portable one the multiply-adds are those of core/fused.h, in fp64 a product and a sum.
 * Local. */
ls_register_loop ls_fma_loop(ls_dtype dtype, ls_instruction_set *set);
/* The same on pairs of bf16, and on AMX tiles of them; NULL: this machine has none (core/instruction_set.h).
 * Local. */
ls_register_loop ls_bf16_loop(void);
ls_register_loop ls_amx_loop(void);

enum { LS_CEILING_BURSTS = 5, LS_CEILING_SERIES = 8 };

/* Bursts so far, a series at a time: the first before the work, the last after it. */
typedef struct ls_ceiling {
    double bursts[LS_CEILING_SERIES * LS_CEILING_BURSTS], median[LS_CEILING_SERIES];
    int series;
} ls_ceiling;

typedef struct ls_ceilings {
    ls_comm *comm;
    ls_team *team;
    int64_t copy_mib; /* of all ranks of a host together; 0: by the last cache */
    ls_register_loop fma, bf16, amx;
    ls_instruction_set fma_set;
    int64_t fma_rounds, bf16_rounds, amx_rounds; /* in one burst */
    ls_ceiling fma_flops, bf16_flops, amx_flops; /* operations a second */
    ls_ceiling fma_core, bf16_core, amx_core;    /* operations a second of processor time, mean over ranks: of
                                                    one    core, whoever else wants it */
    ls_ceiling copy;                             /* bytes a second, read and written ones */
} ls_ceilings;

/* For loops of this type of element. Collective. */
ls_status ls_ceilings_create(ls_comm *comm, int threads, ls_dtype dtype, int64_t copy_mib,
                             ls_ceilings *ceilings);
void ls_ceilings_destroy(ls_ceilings *ceilings);

/* A series of bursts of arithmetic of about 10 ms each; of copies between arrays of four times the last
 * cache, which are allocated and freed here. The series beyond the last that there is room for is left out.
 * Collective. */
ls_status ls_ceilings_measure_registers(ls_ceilings *ceilings);
ls_status ls_ceilings_measure_copy(ls_ceilings *ceilings);

/* Over all bursts. */
ls_spread ls_ceiling_spread(const ls_ceiling *ceiling);

/* The member "ceilings". */
void ls_ceilings_write(const ls_ceilings *ceilings, ls_json *json);

#endif

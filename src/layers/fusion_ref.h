/* The prologues and epilogues in plain C, one row range at a time: the specification that every kernel is
 * tested against, and what the reference kernels call. Compiled for fp32 and, with LS_F64, for fp64
 * (core/real.h). Every element is computed by the same operations in the same order whether it is fused or
 * not. */
#ifndef LOCKSTEP_LAYERS_FUSION_REF_H
#define LOCKSTEP_LAYERS_FUSION_REF_H

#include "core/real.h"
#include "graph/fusion.h"

/* x' of rows [row, row + rows) into out [rows][pixels][channels]; stores into p->stored as well where it is
 * set (out may be that place). */
void LS_TIER_NAME(ls_prologue_rows)(const ls_prologue *p, int64_t row, int64_t rows, real *out);

/* Adds the bias to `rows` rows y [pixels][channels] of local shard `shard`, and them to its sums, which must
 * be zeroed before the shard's first row; rows come in order. Without sums the shard does not matter. */
void LS_TIER_NAME(ls_epilogue_rows)(const ls_epilogue *e, int shard, int64_t rows, real *y);

/* dy of rows [row, row + rows) into out (may be p->stored's or dz's rows). */
void LS_TIER_NAME(ls_grad_prologue_rows)(const ls_grad_prologue *p, int64_t row, int64_t rows, real *out);

/* Takes dx' [rows][pixels][channels] of rows [row, row + rows) of local shard `shard` (-1: no sums) back
 * through the forward prologue and stores it; dx, without others, may be the very place where dz goes. What
 * accumulates adds this gradient alone; sums are of the values then stored, so of the totals, with x - mean
 * rounded to `real` first. The sums must be zeroed before a shard's first row; rows come in order. */
void LS_TIER_NAME(ls_grad_epilogue_rows)(const ls_prologue *p, const ls_grad_epilogue *e, int shard,
                                         int64_t row, int64_t rows, const real *dx);

#endif

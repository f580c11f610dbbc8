/* One source, two precisions. Reference kernels are written with `real` and compiled twice: as they are for
 * fp32 and with LS_F64 defined for fp64, which the gradient checks and `precision: fp64` use.
 * LS_NAME(dense_forward_ref) becomes dense_forward_ref_f32 or dense_forward_ref_f64. */
#ifndef LOCKSTEP_CORE_REAL_H
#define LOCKSTEP_CORE_REAL_H

#ifdef LS_F64
typedef double real;
#define LS_NAME(name) name##_f64
#else
typedef float real;
#define LS_NAME(name) name##_f32
#endif

#endif

/* Launchers of the table layers/batchnorm/batchnorm.h for GPUs, and the sums of a BatchNorm for others who
 * store its input or its gradient. */
#ifndef LOCKSTEP_LAYERS_BATCHNORM_CUDA_H
#define LOCKSTEP_LAYERS_BATCHNORM_CUDA_H

#include "layers/fusion_args_cuda.h"

/* ls_batchnorm_cut, and what it names */
typedef struct ls_cuda_batchnorm_cut {
    bool evaluates, trains, attacks; /* of the purpose */
    int channels, kind;              /* ls_statistics_kind */
    double momentum;
    double *values; /* of the statistics */
    const double *sums;
    double elements, eps;
    const float *gamma, *beta;
    double *mean, *variance;
    float *out_mean, *out_scale, *out_shift, *out_a;
    const struct ls_now *now;
} ls_cuda_batchnorm_cut;

typedef struct ls_cuda_batchnorm_grad_cut {
    int channels;
    const double *sums, *variance;
    double eps, elements;
    const float *gamma;
    float *a, *b, *c, *dgamma, *dbeta;
} ls_cuda_batchnorm_grad_cut;

/* What sums are of: an activation [rows][pixels][channels] whose lines have `width` pixels. */
typedef struct ls_cuda_batchnorm_sums {
    int pixels, width, channels;
    bool narrow_x, narrow_dz; /* stored in bf16 */
    const void *x, *dz;
    const float *mean;             /* gradient sums: of dz and dz (x - mean), or dz x where mean is NULL */
    double *sums;                  /* [local shards][2][channels] */
    bool cut;                      /* and the cut is made of them, as all shards are here: */
    ls_cuda_batchnorm_cut forward; /* where dz is NULL, */
    ls_cuda_batchnorm_grad_cut backward; /* and where it is not */
} ls_cuda_batchnorm_sums;

/* Where a kernel that stores what a BatchNorm's sums are of leaves them, without a launch of their own. */
typedef struct ls_cuda_image_sums {
    double *images; /* [rows][2][channels] */
    double *sums;   /* [local shards][2][channels], or NULL: none are wanted */
    bool cut;       /* all shards are here: its last block makes the cut as well */
} ls_cuda_image_sums;

#ifdef __cplusplus
extern "C" {
#endif
struct ls_device;
/* of x and x x where dz is NULL */
void ls_batchnorm_sums_cuda(struct ls_device *device, const ls_cuda_batchnorm_sums *args,
                            const ls_cuda_shards *shards);
/* The sums of a gradient epilogue whose values have been stored, those of the residual from dz where it has no
 * place of its own, and the cuts (or NULL). None where it asks for none. */
void ls_grad_epilogue_sums_cuda(struct ls_device *device, const ls_cuda_prologue *p,
                                const ls_cuda_grad_epilogue *e, const ls_cuda_shards *shards,
                                const ls_cuda_batchnorm_grad_cut *cut,
                                const ls_cuda_batchnorm_grad_cut *residual_cut);
/* Those of dz alone, for a kernel that takes them itself. */
ls_cuda_batchnorm_sums ls_grad_epilogue_batchnorm_sums(const ls_cuda_prologue *p,
                                                       const ls_cuda_grad_epilogue *e,
                                                       const ls_cuda_batchnorm_grad_cut *cut);
void ls_batchnorm_cut_cuda(struct ls_device *device, const ls_cuda_batchnorm_cut *args);
void ls_batchnorm_grad_cut_cuda(struct ls_device *device, const ls_cuda_batchnorm_grad_cut *args);
#ifdef __cplusplus
}
#else
#include "layers/batchnorm/batchnorm.h"

ls_cuda_batchnorm_cut ls_cuda_batchnorm_cut_of(const ls_batchnorm_cut *args);
ls_cuda_batchnorm_grad_cut ls_cuda_batchnorm_grad_cut_of(const ls_batchnorm_grad_cut *args);
/* The sums of dx's epilogue, as stored through the prologue `in`, and the cuts that it names. */
void ls_take_grad_epilogue_sums(const ls_cuda_prologue *in, const ls_grad_epilogue *dx,
                                const ls_shards *shards, int first, int last, const ls_lane *lane);
#endif

#endif

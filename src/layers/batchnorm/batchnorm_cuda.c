/* The table of layers/batchnorm/batchnorm.h for GPUs. */
#include "layers/batchnorm/batchnorm_cuda.h"

#include "layers/batchnorm/batchnorm.h"
#include "layers/fusion_host_cuda.h"

ls_cuda_batchnorm_cut ls_cuda_batchnorm_cut_of(const ls_batchnorm_cut *a) {
    return (ls_cuda_batchnorm_cut){.evaluates = ls_purpose_evaluates(a->purpose),
                                   .trains = a->purpose == LS_TRAINING,
                                   .attacks = a->purpose == LS_ATTACKING,
                                   .channels = (int)a->channels,
                                   .kind = a->statistics->kind,
                                   .momentum = a->statistics->momentum,
                                   .values = a->statistics->values,
                                   .sums = a->sums,
                                   .elements = a->elements,
                                   .eps = a->eps,
                                   .gamma = a->gamma,
                                   .beta = a->beta,
                                   .mean = a->mean,
                                   .variance = a->variance,
                                   .out_mean = a->out.mean,
                                   .out_scale = a->out.scale,
                                   .out_shift = a->out.shift,
                                   .out_a = a->out.a,
                                   .now = a->now};
}

ls_cuda_batchnorm_grad_cut ls_cuda_batchnorm_grad_cut_of(const ls_batchnorm_grad_cut *g) {
    return (ls_cuda_batchnorm_grad_cut){.channels = (int)g->channels,
                                        .sums = g->sums,
                                        .variance = g->variance,
                                        .eps = g->eps,
                                        .elements = g->elements,
                                        .gamma = g->gamma,
                                        .a = g->out.a,
                                        .b = g->out.b,
                                        .c = g->out.c,
                                        .dgamma = g->dgamma,
                                        .dbeta = g->dbeta};
}

static void take_sums(const ls_batchnorm_input *in, const void *dz, const ls_shards *shards, int first,
                      int last, double *sums_of_shards, const ls_lane *lane) {
    ls_cuda_batchnorm_sums args = {.pixels = (int)in->pixels,
                                   .width = (int)in->width,
                                   .channels = (int)in->channels,
                                   .narrow_x = in->narrow_x,
                                   .narrow_dz = in->narrow_dz,
                                   .x = in->x,
                                   .dz = dz,
                                   .mean = in->mean,
                                   .sums = sums_of_shards};
    const ls_cuda_shards s = ls_cuda_shards_of(shards, first, last);
    args.cut = dz ? in->grad_cut != NULL : in->cut != NULL;
    if (args.cut && dz) args.backward = ls_cuda_batchnorm_grad_cut_of(in->grad_cut);
    if (args.cut && !dz) args.forward = ls_cuda_batchnorm_cut_of(in->cut);
    ls_batchnorm_sums_cuda(lane->device, &args, &s);
}

static void sums(const ls_batchnorm_input *in, const ls_shards *shards, int first, int last,
                 double *sums_of_shards, const ls_lane *lane) {
    take_sums(in, NULL, shards, first, last, sums_of_shards, lane);
}

static void grad_sums(const ls_batchnorm_input *in, const ls_shards *shards, int first, int last,
                      double *sums_of_shards, const ls_lane *lane) {
    take_sums(in, in->dz, shards, first, last, sums_of_shards, lane);
}

void ls_take_grad_epilogue_sums(const ls_cuda_prologue *in, const ls_grad_epilogue *dx,
                                const ls_shards *shards, int first, int last, const ls_lane *lane) {
    const ls_cuda_grad_epilogue e = ls_cuda_grad_epilogue_of(dx);
    const ls_cuda_shards s = ls_cuda_shards_of(shards, first, last);
    ls_cuda_batchnorm_grad_cut cut, residual_cut;
    if (dx->cut) cut = ls_cuda_batchnorm_grad_cut_of(dx->cut);
    if (dx->residual_cut) residual_cut = ls_cuda_batchnorm_grad_cut_of(dx->residual_cut);
    ls_grad_epilogue_sums_cuda(lane->device, in, &e, &s, dx->cut ? &cut : NULL,
                               dx->residual_cut ? &residual_cut : NULL);
}

static void cut(const ls_batchnorm_cut *a, const ls_lane *lane) {
    const ls_cuda_batchnorm_cut args = ls_cuda_batchnorm_cut_of(a);
    ls_batchnorm_cut_cuda(lane->device, &args);
}

static void grad_cut(const ls_batchnorm_grad_cut *g, const ls_lane *lane) {
    const ls_cuda_batchnorm_grad_cut args = ls_cuda_batchnorm_grad_cut_of(g);
    ls_batchnorm_grad_cut_cuda(lane->device, &args);
}

const ls_batchnorm_kernels ls_batchnorm_ref_cuda = {sums, grad_sums, cut, grad_cut};

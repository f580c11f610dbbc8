/* The table of layers/elementwise.h for GPUs. */
#include "layers/elementwise.h"
#include "layers/elementwise_cuda.h"
#include "layers/activations_cuda.h"
#include "layers/batchnorm/batchnorm_cuda.h"
#include "layers/fusion_host_cuda.h"

static void forward(const ls_prologue *in, const ls_shards *shards, int first, int last, void *out,
                    const ls_lane *lane) {
    const ls_cuda_prologue p = ls_cuda_prologue_of(in);
    ls_elementwise_forward_cuda(lane->device, &p, (int)shards->start[first], (int)shards->start[last], out,
                                in->narrow);
}

static void backward(const ls_prologue *in, const ls_grad_epilogue *dx, const ls_shards *shards, int first,
                     int last, const void *gradient, const ls_lane *lane) {
    const ls_cuda_prologue p = ls_cuda_prologue_of(in);
    const ls_cuda_grad_epilogue e = ls_cuda_grad_epilogue_of(dx);
    if ((e.sums || e.residual_sums) && ls_elementwise_takes_sums(in->pixels, in->width, in->channels)) {
        const int64_t each = 2 * ls_shards_rows(shards) * in->channels;
        double *room = lane->scratch;
        ls_cuda_elementwise_sums sums = {
            .sums = {room, e.sums, dx->cut != NULL},
            .residual_sums = {room + each, e.residual_sums, dx->residual_cut != NULL},
            .shards = ls_cuda_shards_of(shards, first, last)};
        if (dx->cut) sums.norm = ls_cuda_batchnorm_grad_cut_of(dx->cut);
        if (dx->residual_cut) sums.residual_norm = ls_cuda_batchnorm_grad_cut_of(dx->residual_cut);
        ls_elementwise_backward_sums_cuda(lane->device, &p, &e, &sums, gradient, in->narrow);
        return;
    }
    ls_elementwise_backward_cuda(lane->device, &p, &e, (int)shards->start[first], (int)shards->start[last],
                                 gradient, in->narrow);
    ls_take_grad_epilogue_sums(&p, dx, shards, first, last, lane);
}

static void normalised_gradient(const ls_grad_prologue *dy, bool accumulate, const ls_shards *shards,
                                int first, int last, void *out, const ls_lane *lane) {
    const ls_cuda_grad_prologue p = ls_cuda_grad_prologue_of(dy);
    ls_elementwise_gradient_cuda(lane->device, &p, accumulate, (int)shards->start[first],
                                 (int)shards->start[last], out, dy->narrow_y);
}

static bool knows(const ls_activation *act) {
    return ls_cuda_activation_kind_of(act->class) != LS_CUDA_NO_ACTIVATION;
}

static size_t cut_bytes(int64_t pixels, int64_t width, int64_t channels, int64_t rows) {
    return ls_elementwise_takes_sums(pixels, width, channels) ? (size_t)(4 * rows * channels) * sizeof(double)
                                                              : 0;
}

const ls_elementwise_kernels ls_elementwise_ref_cuda = {forward, backward, normalised_gradient, knows,
                                                        cut_bytes};

/* Where the products of the convolution's kernels get an element of an image, and where they put one. `light`:
 * so few instructions that there may be many copies of them in a kernel. */
#ifndef LOCKSTEP_LAYERS_CONV2D_PRODUCTS_CUDA_H
#define LOCKSTEP_LAYERS_CONV2D_PRODUCTS_CUDA_H

#include "core/kernel_cuda.h"
#include "layers/conv2d/conv2d_cuda.h"
#include "layers/fusion_cuda.h"

using ls_activations::cheap_ones;

__host__ __device__ static inline int divide_up(int a, int b) {
    return (a + b - 1) / b;
}

/* An array [rows][elements]. */
struct plain_load {
    static constexpr bool light = true;
    const float *from;
    int elements;
    bool rounded;
    __device__ float operator()(int row, int e, int channel) const {
        (void)channel;
        return ls_factor(from[(size_t)row * elements + e], rounded);
    }
};

/* Through a prologue. */
struct fused_load {
    static constexpr bool light = false;
    ls_cuda_prologue in;
    bool rounded;
    __device__ float operator()(int row, int e, int channel) const {
        return ls_factor(ls_prologue_values<cheap_ones, 1>(in, row, e, channel).v[0], rounded);
    }
};

struct output_store {
    static constexpr bool light = true;
    float *y;
    const float *bias;
    int elements;
    __device__ void operator()(int row, int e, int channel, float sum) const {
        y[(size_t)row * elements + e] = bias ? sum + bias[channel] : sum;
    }
};

/* Back through the prologue. */
struct gradient_store {
    static constexpr bool light = false;
    ls_cuda_prologue in;
    ls_cuda_grad_epilogue out;
    __device__ void operator()(int row, int e, int channel, float sum) const {
        ls_grad_epilogue_values<cheap_ones, 1>(in, out, row, e, channel, {{sum}});
    }
};

/* Calls multiply(load, store) with what this product loads from and stores to: dx' where `backward` is set. */
template <class Multiply>
static void with_load_and_store(const ls_conv2d_cuda_product *p, const ls_conv2d_cuda_forward *forward,
                                const ls_conv2d_cuda_backward *backward, const Multiply &multiply) {
    const int from = p->from_height * p->from_width * p->terms;
    const int to = p->to_height * p->to_width * p->columns;
    if (backward) {
        multiply(plain_load{backward->dy, from, p->rounded}, gradient_store{backward->in, backward->out});
        return;
    }
    const output_store store = {forward->y, forward->bias, to};
    if (forward->plain)
        multiply(plain_load{forward->plain, from, p->rounded}, store);
    else
        multiply(fused_load{forward->in, p->rounded}, store);
}

#endif

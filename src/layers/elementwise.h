/* Ops that work element by element and mix nothing: what activations and dropout are when they are not folded
 * into a load. They run the very prologues and epilogues that the fused kernels run. */
#ifndef LOCKSTEP_LAYERS_ELEMENTWISE_H
#define LOCKSTEP_LAYERS_ELEMENTWISE_H

#include "core/shards.h"
#include "graph/op.h"

typedef struct ls_elementwise_kernels {
    /* out = x' for the rows of shards [first, last), as narrow as the prologue's x' */
    void (*forward)(const ls_prologue *in, const ls_shards *shards, int first, int last, void *out,
                    const ls_lane *lane);
    /* takes dx', as narrow as x', back through the prologue and stores it as the epilogue says; zeroes and
     * fills the shards' sums, whose room is in the lane's scratch */
    void (*backward)(const ls_prologue *in, const ls_grad_epilogue *dx, const ls_shards *shards, int first,
                     int last, const void *gradient, const ls_lane *lane);
    /* out = a dz + b (y - mean) + c, or out += that; as narrow as y */
    void (*normalised_gradient)(const ls_grad_prologue *dy, bool accumulate, const ls_shards *shards,
                                int first, int last, void *out, const ls_lane *lane);
    /* Is that activation among those of forward() and backward()? */
    bool (*knows)(const ls_activation *act);
    /* Bytes of the lane's scratch with which backward() takes the sums of so many rows in one pass, and makes
     * the cuts that it is asked for (ls_op_class::makes_cuts); 0, or NULL: it does not. */
    size_t (*cut_bytes)(int64_t pixels, int64_t width, int64_t channels, int64_t rows);
} ls_elementwise_kernels;

LS_KERNELS(ls_elementwise_kernels, ls_elementwise_ref);
const ls_elementwise_kernels *ls_elementwise_kernels_for(const ls_backend *backend);

/* Those of layers/activations/, for programs and for kernels that know one; ls_leaky_relu_activation has its
 * slope as the parameter. */
extern const ls_activation_class ls_relu_activation, ls_leaky_relu_activation, ls_tanh_activation,
    ls_sigmoid_activation, ls_silu_activation, ls_gelu_activation, ls_gelu_tanh_activation;

/* y = act(x), of any shape. LS_USAGE: the back end has no kernels of this activation. */
ls_tensor *ls_activate(ls_graph *graph, ls_tensor *x, ls_activation act);

/* Inverted dropout: keeps an element with probability `keep` and multiplies it by 1 / keep; the identity
 * outside training. The mask is a function of (seed, step, sample, this op, element). */
ls_tensor *ls_dropout(ls_graph *graph, ls_tensor *x, double keep);

#endif

/* The update on GPUs, from the sources of the CPU's optimizers: the same function for an element, the same bits. */
#include "core/dual_cuda.h"

#include "core/last_block_cuda.h"
#include "model/optimizer_rule.h"
#include "model/optimizers_cuda.h"

namespace {

typedef float real;
enum { LS_UPDATE_DECAY = LS_CUDA_UPDATE_DECAY };
#include "model/optimizers/adam.h"
namespace sgd {
#include "model/optimizers/sgd.c"
}
namespace momentum {
#include "model/optimizers/momentum.c"
}
namespace adam {
#include "model/optimizers/adam.c"
}
namespace adamw {
#include "model/optimizers/adamw.c"
}
namespace rmsprop {
#include "model/optimizers/rmsprop.c"
}

enum { THREADS = 256 };

/* Adds what each thread has to *word, whose upper half stays 0; integers: in any order. All threads come. */
__device__ inline void add_bits(unsigned bits, unsigned *block, uint64_t *word) {
    if (threadIdx.x == 0) *block = 0;
    __syncthreads();
    atomicAdd(block, bits);
    __syncthreads();
    if (threadIdx.x == 0) atomicAdd((unsigned *)word, *block);
}

/* What the update before has left must be what this one has found; the last block looks. */
__device__ inline void compare_bits(ls_now *now) {
    const bool flipped = now->state.guarded && (uint32_t)now->left.before != (uint32_t)now->state.guard;
    now->left.flipped = flipped;
    if (flipped) now->state.halted = 1;
    now->state.guard = now->left.after;
}

template <class RULE>
__global__ void __launch_bounds__(THREADS) k_update(ls_cuda_update u, unsigned *counter) {
    LS_SHARED(unsigned, block, [2]);
    if (u.now && u.now->left.verdict != LS_VERDICT_TAKEN) return;
    const ls_now_inputs in = u.now ? u.now->in : u.in;
    unsigned before = 0, after = 0;
    for (int64_t i = ls_thread(); i < u.count; i += ls_stride()) {
        float w = u.w[i], m = RULE::moments > 0 ? u.m[i] : 0, v = RULE::moments > 1 ? u.v[i] : 0;
        before += __float_as_uint(w) + __float_as_uint(m) + __float_as_uint(v);
        w -= in.rate * RULE::apply(in.scalars, w, u.g[i] + in.decay * w, &m, &v);
        after += __float_as_uint(w) + __float_as_uint(m) + __float_as_uint(v);
        u.w[i] = w;
        if (RULE::moments > 0) u.m[i] = m;
        if (RULE::moments > 1) u.v[i] = v;
    }
    add_bits(before, &block[0], u.before);
    add_bits(after, &block[1], u.after);
    if (u.now && ls_last_block(counter, gridDim.x) && threadIdx.x == 0) compare_bits(u.now);
}

__global__ void __launch_bounds__(THREADS) k_bit_sum(int64_t count, const float *x, uint64_t *word) {
    LS_SHARED(unsigned, block, [1]);
    unsigned sum = 0;
    for (int64_t i = ls_thread(); i < count; i += ls_stride()) sum += __float_as_uint(x[i]);
    add_bits(sum, &block[0], word);
}

} // namespace

extern "C" {
#define LAUNCHER(name)                                                                                       \
    void ls_##name##_update_launch(struct ls_device *device, const ls_cuda_update *u) {                      \
        LS_LAUNCH(device, k_update<name::name>, ls_blocks(u->count, THREADS), THREADS, 0, *u,                \
                  ls_device_counters(device));                                                               \
    }
LS_CUDA_OPTIMIZERS(LAUNCHER)

void ls_bit_sum_launch(struct ls_device *device, int64_t count, const float *x, uint64_t *word) {
    LS_LAUNCH(device, k_bit_sum, ls_blocks(count, THREADS), THREADS, 0, count, x, word);
}
}

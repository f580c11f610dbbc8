/* One pass over the gradient, whose last block comes to the verdict. */
#include "core/last_block_cuda.h"

#include "train/step_cuda.h"

namespace {

enum { THREADS = 256 };

__device__ inline bool is_finite(float x) {
    return (__float_as_uint(x) & 0x7f800000u) != 0x7f800000u;
}
__device__ inline bool is_finite(double x) {
    return ((uint64_t)__double_as_longlong(x) & 0x7ff0000000000000u) != 0x7ff0000000000000u;
}

__device__ inline int parameter_of(const ls_cuda_judgement &j, int64_t element) {
    int i = 0;
    while (i + 1 < j.parameters && !(j.ranges[i].first <= element && element < j.ranges[i].last)) i++;
    return i;
}

/* `lowest`: the first parameter whose gradient is not finite, or INT32_MAX. */
__device__ inline ls_verdict verdict_of(const ls_now *now, double loss, int lowest) {
    if (now->state.halted) return LS_VERDICT_TROUBLE;
    if (!is_finite(loss)) return LS_VERDICT_LOSS;
    return lowest < INT32_MAX ? LS_VERDICT_GRADIENT : LS_VERDICT_TAKEN;
}

__global__ void __launch_bounds__(THREADS) k_judge(ls_cuda_judgement j, unsigned *counter) {
    for (int64_t i = ls_thread(); i < j.count; i += ls_stride())
        if (!is_finite(j.gradient[i])) atomicMin(&j.now->state.lowest, (int32_t)parameter_of(j, i));
    if (!ls_last_block(counter, gridDim.x) || threadIdx.x > 0) return;
    const int lowest = atomicExch(&j.now->state.lowest, (int32_t)INT32_MAX);
    const ls_verdict verdict = verdict_of(j.now, j.losses[0], lowest);
    ls_now_left left = {};
    left.loss = j.losses[0];
    left.correct = j.losses[1];
    left.step = j.now->in.step;
    left.verdict = verdict;
    left.parameter = lowest < INT32_MAX ? lowest : -1;
    j.now->left = left;
    if (verdict != LS_VERDICT_TAKEN) j.now->state.halted = 1;
}

} // namespace

extern "C" void ls_judge_cuda(struct ls_device *device, const ls_cuda_judgement *args) {
    LS_LAUNCH(device, k_judge, ls_blocks(args->count, THREADS), THREADS, 0, *args,
              ls_device_counters(device));
}

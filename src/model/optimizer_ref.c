/* Bits added up as integers, of elements that are not updated. */
#include "model/optimizer_rule.h"

static uint64_t sum(int64_t count, const void *elements, const ls_lane *lane) {
    (void)lane;
    const real *x = elements;
    ls_real_bits sum = 0;
    for (int64_t i = 0; i < count; i++) sum += ls_bits_of(x[i]);
    return sum;
}

const ls_bit_sum_kernels LS_NAME(ls_bit_sum_ref) = {sum};

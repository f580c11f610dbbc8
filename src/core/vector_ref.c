#include <string.h>

#include "core/real.h"
#include "core/vector.h"

#ifdef LS_F64
typedef uint64_t real_bits;
#define EXPONENT UINT64_C(0x7ff0000000000000)
#else
typedef uint32_t real_bits;
#define EXPONENT 0x7f800000u
#endif

static inline real_bits bits_of(const real *x) {
    real_bits bits;
    memcpy(&bits, x, sizeof bits);
    return bits;
}

static void tree(const ls_shards *shards, int64_t length, double *sums, double *nodes, int64_t stride,
                 const ls_lane *lane) {
    (void)lane;
    for (int n = 0; n < shards->node_count; n++) {
        ls_node node = shards->node[n];
        double *leaves = sums + (node.first - shards->first) * length;
        int depth = 0;
        /* pending[d] lives where the first leaf of its subtree stood */
        int pending[LS_MAX_TREE_DEPTH];
        for (int i = 0; i < node.count; i++) {
            int at = i;
            for (int m = ls_tree_merges(i); m > 0; m--) {
                int left = pending[--depth];
                double *into = leaves + left * length;
                const double *from = leaves + at * length;
                for (int64_t j = 0; j < length; j++) into[j] += from[j];
                at = left;
            }
            pending[depth++] = at;
        }
        memcpy(nodes + n * stride, leaves + pending[0] * length, (size_t)length * sizeof *nodes);
    }
}

static void fill(int64_t count, double value, void *to, const ls_lane *lane) {
    real *x = to;
    (void)lane;
    for (int64_t i = 0; i < count; i++) x[i] = (real)value;
}

static void add(int64_t count, const void *from, void *to, const ls_lane *lane) {
    const real *x = from;
    real *sum = to;
    (void)lane;
    for (int64_t i = 0; i < count; i++) sum[i] += x[i];
}

static void copy(size_t bytes, const void *from, void *to, const ls_lane *lane) {
    (void)lane;
    if (bytes > 0) memcpy(to, from, bytes);
}

/* A number is not finite when its exponent is all ones; on integers, so that the loop vectorises. */
static bool finite(int64_t count, const void *x, const ls_lane *lane) {
    const real *numbers = x;
    real_bits bad = 0;
    (void)lane;
    for (int64_t i = 0; i < count; i++) bad |= (bits_of(numbers + i) & EXPONENT) + (EXPONENT & -EXPONENT);
    return !(bad >> (8 * sizeof bad - 1));
}

static uint64_t bits(int64_t count, const void *x, uint64_t first, const ls_lane *lane) {
    const real *numbers = x;
    uint64_t sum = 0;
    (void)lane;
    for (int64_t i = 0; i < count; i++) sum += (2 * (first + (uint64_t)i) + 1) * bits_of(numbers + i);
    return sum;
}

const ls_vector_kernels LS_NAME(ls_vector_ref) = {tree, fill, add, copy, finite, bits};

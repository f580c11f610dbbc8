#include <string.h>

#include "core/finite.h"
#include "core/real.h"
#include "core/vector.h"

#ifdef LS_F64
typedef uint64_t real_bits;
#define ALL_FINITE ls_all_finite_f64
#else
typedef uint32_t real_bits;
#define ALL_FINITE ls_all_finite_f32
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

static bool finite(int64_t count, const void *x, const ls_lane *lane) {
    (void)lane;
    return ALL_FINITE(x, count);
}

static uint64_t bits(int64_t count, const void *x, uint64_t first, const ls_lane *lane) {
    const real *numbers = x;
    uint64_t sum = 0;
    (void)lane;
    for (int64_t i = 0; i < count; i++) sum += (2 * (first + (uint64_t)i) + 1) * bits_of(numbers + i);
    return sum;
}

const ls_vector_kernels LS_NAME(ls_vector_ref) = {tree, fill, add, copy, finite, bits};

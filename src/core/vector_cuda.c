/* The table of core/vector.h for GPUs. */
#include "core/vector.h"
#include "core/vector_cuda.h"
#include "core/device_cuda.h"

static void tree(const ls_shards *shards, int64_t length, double *sums, double *nodes, int64_t stride,
                 const ls_lane *lane) {
    if (length > 0) ls_tree_cuda(lane->device, shards, length, sums, nodes, stride);
}

static void copy(size_t bytes, const void *from, void *to, const ls_lane *lane) {
    ls_device_copy(lane->device, to, from, bytes);
}

/* The functions for elements of one type; after a failure, which is noted, the results mean nothing. */
#define VECTORS(suffix, wide)                                                                                \
    static void fill_##suffix(int64_t count, double value, void *to, const ls_lane *lane) {                  \
        if (count > 0) ls_fill_cuda(lane->device, wide, count, value, to);                                   \
    }                                                                                                        \
    static void add_##suffix(int64_t count, const void *from, void *to, const ls_lane *lane) {               \
        if (count > 0) ls_add_cuda(lane->device, wide, count, from, to);                                     \
    }                                                                                                        \
    static bool finite_##suffix(int64_t count, const void *x, const ls_lane *lane) {                         \
        if (count == 0) return true;                                                                         \
        ls_finite_cuda(lane->device, wide, count, x, ls_device_words(lane->device));                         \
        return ls_device_read(lane->device)[0] == 0;                                                         \
    }                                                                                                        \
    static uint64_t bits_##suffix(int64_t count, const void *x, uint64_t first, const ls_lane *lane) {       \
        if (count == 0) return 0;                                                                            \
        ls_bits_cuda(lane->device, wide, count, x, first, ls_device_words(lane->device));                    \
        return ls_device_read(lane->device)[0];                                                              \
    }

VECTORS(floats, false)
VECTORS(doubles, true)

const ls_vector_kernels ls_vector_ref_cuda = {tree, fill_floats,   add_floats,
                                              copy, finite_floats, bits_floats};
const ls_vector_kernels ls_vector_doubles_cuda = {tree, fill_doubles,   add_doubles,
                                                  copy, finite_doubles, bits_doubles};

#include "dist/merge.h"

#include <string.h>

/* Two neighbours are merged when they are the halves of one subtree, as soon as both are there. What is
 * pending lies at its own depth of the stack, or where it came from as long as nothing was added to it. */
void ls_merges_find(ls_merges *merges, const ls_node *nodes, int count) {
    ls_node pending[LS_MAX_SHARDS];
    int operand[LS_MAX_SHARDS], depth = 0;
    merges->count = 0;
    for (int i = 0; i < count; i++) {
        ls_node node = nodes[i];
        int at = i;
        while (depth > 0 && pending[depth - 1].count == node.count &&
               pending[depth - 1].first % (2 * node.count) == 0) {
            depth--;
            merges->merge[merges->count++] = (ls_merge){operand[depth], at, depth};
            node = (ls_node){pending[depth].first, 2 * node.count};
            at = ~depth;
        }
        pending[depth] = node;
        operand[depth++] = at;
    }
}

static ls_merges_function *function_for(ls_dtype dtype, ls_instruction_set set) {
    if (dtype == LS_FP64) return ls_merges_add_ref_f64;
#ifdef __x86_64__
    if (set >= LS_AVX512) return ls_merges_add_ref_avx512;
    if (set == LS_AVX2) return ls_merges_add_ref_avx2;
#endif
    return ls_merges_add_ref_f32;
}

void ls_merges_add(const ls_merges *merges, ls_dtype dtype, ls_instruction_set set, const void *const *node,
                   int64_t length, void *out) {
    if (length == 0) return;
    if (merges->count == 0) {
        if (out != node[0]) memcpy(out, node[0], (size_t)length * ls_dtype_size(dtype));
    } else {
        function_for(dtype, set)(merges, node, length, out);
    }
}

/* for each block: for each merge: left + right, from the nodes or the stack, to the stack; the last one to
 * `out`. The stack, a block for each level of the tree that is pending (four for 8 ranks), stays in the
 * first-level cache, so that every node is read once and the sum written once.
 *
 * What another rank has just written comes out of its core's cache, line by line, each of which takes as long
 * as a hundred additions: the next block's lines are asked for all at once, while this one is added. */
#include "core/real.h"
#include "dist/merge.h"

enum { BLOCK = 256, LINE = 64 / sizeof(real) };

static void fetch(int64_t count, const real *from) {
    for (int64_t i = 0; i < count; i += LINE) __builtin_prefetch(from + i);
}

static void add(int64_t count, const real *left, const real *right, real *to) {
    for (int64_t i = 0; i < count; i++) to[i] = left[i] + right[i];
}

void LS_NAME(ls_merges_add_ref)(const ls_merges *merges, const void *const *node, int64_t length, void *out) {
    real stack[LS_MAX_TREE_DEPTH][BLOCK];
    for (int64_t at = 0; at < length; at += BLOCK) {
        const int64_t next = at + BLOCK, count = length < next ? length - at : BLOCK;
        for (int n = 0; next < length && n <= merges->count; n++)
            fetch(length - next < BLOCK ? length - next : BLOCK, (const real *)node[n] + next);
        for (int m = 0; m < merges->count; m++) {
            ls_merge merge = merges->merge[m];
            const real *left = merge.left < 0 ? stack[~merge.left] : (const real *)node[merge.left] + at;
            const real *right = merge.right < 0 ? stack[~merge.right] : (const real *)node[merge.right] + at;
            add(count, left, right, m + 1 == merges->count ? (real *)out + at : stack[merge.to]);
        }
    }
}

#include "core/shards.h"

int ls_shards_nodes(int total, int first, int count, ls_node nodes[LS_MAX_NODES]) {
    int n = 0, s = first, end = first + count;
    while (s < end) {
        int size = 1;
        while (size < total && s % (2 * size) == 0 && s + 2 * size <= end) size *= 2;
        nodes[n++] = (ls_node){s, size};
        s += size;
    }
    return n;
}

ls_status ls_shards_create(ls_shards *shards, int total, int rank, int size, int64_t batch) {
    return ls_shards_create_joint(shards, total, rank, rank + 1, size, batch);
}

ls_status ls_shards_create_joint(ls_shards *shards, int total, int rank, int end, int size, int64_t batch) {
    *shards = (ls_shards){0};
    if (total < 1 || total > LS_MAX_SHARDS || (total & (total - 1)))
        return ls_fail(LS_USAGE, "shards=%d: expected a power of two from 1 to %d", total, LS_MAX_SHARDS);
    if (size > total)
        return ls_fail(
            LS_USAGE, "%d ranks for %d shards: a rank needs a shard; start at most %d ranks or set shards=%d",
            size, total, total, size <= 128 ? 1 << (32 - __builtin_clz((unsigned)size - 1)) : LS_MAX_SHARDS);
    shards->total = total;
    shards->first = (int)((int64_t)rank * total / size);
    shards->count = (int)((int64_t)end * total / size) - shards->first;
    shards->node_count = ls_shards_nodes(total, shards->first, shards->count, shards->node);
    ls_shards_set_batch(shards, batch);
    return LS_OK;
}

void ls_shards_set_batch(ls_shards *shards, int64_t batch) {
    shards->batch = batch;
    shards->offset = shards->first * batch / shards->total;
    for (int i = 0; i <= shards->count; i++)
        shards->start[i] = (shards->first + i) * batch / shards->total - shards->offset;
}

/* Shards and the tree: every number of shards and ranks. */
#include <setjmp.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "core/shards.h"
#include "core/vector.h"

enum { LENGTH = 3, MOST_BATCH = 40 };

/* --- who owns what --------------------------------------------------------------------------------- */

/* Nodes tile the rank's shards from left to right, are aligned powers of two, and none could be larger. */
static void check_nodes(const ls_shards *s) {
    int at = s->first, end = s->first + s->count;
    assert_in_range(s->node_count, 1, LS_MAX_NODES);
    for (int n = 0; n < s->node_count; n++) {
        ls_node node = s->node[n];
        assert_int_equal(node.first, at);
        assert_true(node.count >= 1 && (node.count & (node.count - 1)) == 0);
        assert_int_equal(node.first % node.count, 0);
        int parent = node.first / (2 * node.count) * 2 * node.count;
        assert_false(2 * node.count <= s->total && parent >= s->first && parent + 2 * node.count <= end);
        at += node.count;
    }
    assert_int_equal(at, end);
}

static void test_ownership(void **state) {
    (void)state;
    for (int total = 1; total <= LS_MAX_SHARDS; total *= 2)
        for (int size = 1; size <= total; size++) {
            int at = 0;
            for (int rank = 0; rank < size; rank++) {
                ls_shards s;
                assert_int_equal(ls_shards_create(&s, total, rank, size, 1), LS_OK);
                assert_int_equal(s.total, total);
                assert_int_equal(s.first, at);
                assert_in_range(s.count, total / size, (total + size - 1) / size);
                check_nodes(&s);
                at += s.count;
            }
            assert_int_equal(at, total);
        }
}

/* Sample b belongs to one shard whatever the number of ranks: floor(s B / V) <= b < floor((s + 1) B / V). */
static void check_batch(int total, int size, int64_t batch) {
    int64_t at = 0;
    for (int rank = 0; rank < size; rank++) {
        ls_shards s, again;
        assert_int_equal(ls_shards_create(&s, total, rank, size, batch), LS_OK);
        assert_int_equal(s.offset, at);
        assert_int_equal(s.start[0], 0);
        for (int i = 0; i < s.count; i++) {
            assert_int_equal(s.offset + s.start[i], (s.first + i) * batch / total);
            assert_int_equal(s.offset + s.start[i + 1], (s.first + i + 1) * batch / total);
        }
        at += ls_shards_rows(&s);
        assert_int_equal(ls_shards_create(&again, total, rank, size, 17), LS_OK);
        ls_shards_set_batch(&again, batch);
        assert_int_equal(again.batch, batch);
        assert_int_equal(again.offset, s.offset);
        assert_memory_equal(again.start, s.start, (size_t)(s.count + 1) * sizeof *s.start);
    }
    assert_int_equal(at, batch);
}

static void test_batches(void **state) {
    (void)state;
    for (int total = 1; total <= LS_MAX_SHARDS; total *= 2)
        for (int size = 1; size <= total; size += size < 20 ? 1 : 17)
            for (int64_t batch = 0; batch <= MOST_BATCH; batch++) check_batch(total, size, batch);
    check_batch(16, 5, 60000);
    check_batch(256, 7, INT64_C(1) << 20);
}

static void test_refusals(void **state) {
    ls_shards s;
    (void)state;
    for (int total = -1; total <= LS_MAX_SHARDS + 2; total++) {
        bool good = total >= 1 && total <= LS_MAX_SHARDS && (total & (total - 1)) == 0;
        assert_int_equal(ls_shards_create(&s, total, 0, 1, 10), good ? LS_OK : LS_USAGE);
    }
    assert_int_equal(ls_shards_create(&s, 512, 0, 1, 10), LS_USAGE);
    for (int size = 17; size <= 300; size++) {
        int suggested;
        assert_int_equal(ls_shards_create(&s, 16, 0, size, 10), LS_USAGE);
        const char *text = strstr(ls_error_message(), "set shards=");
        assert_non_null(text);
        assert_int_equal(sscanf(text, "set shards=%d", &suggested), 1);
        assert_true(suggested >= size || size > LS_MAX_SHARDS);
    }
}

/* --- the tree -------------------------------------------------------------------------------------- */

/* Numbers whose sum depends on the order. */
static double leaf(int shard, int64_t j) {
    uint64_t x = (uint64_t)shard * 0x9e3779b97f4a7c15u + (uint64_t)j * 0xbf58476d1ce4e5b9u;
    x ^= x >> 29;
    x *= 0x94d049bb133111ebu;
    return (double)(int64_t)(x ^ (x >> 32)) * (x & 1 ? 0x1p-40 : 0x1p-63);
}

static double recursive_sum(int first, int count, int64_t j) {
    if (count == 1) return leaf(first, j);
    return recursive_sum(first, count / 2, j) + recursive_sum(first + count / 2, count / 2, j);
}

static void check_tree(int total, int rank, int size) {
    static double partial[LS_MAX_SHARDS * LENGTH], nodes[LS_MAX_NODES * LENGTH];
    ls_shards s;
    assert_int_equal(ls_shards_create(&s, total, rank, size, total), LS_OK);
    for (int i = 0; i < s.count; i++)
        for (int64_t j = 0; j < LENGTH; j++) partial[i * LENGTH + j] = leaf(s.first + i, j);
    ls_vector_ref_f32.tree(&s, LENGTH, partial, nodes, LENGTH, NULL);
    for (int n = 0; n < s.node_count; n++)
        for (int64_t j = 0; j < LENGTH; j++) {
            double expected = recursive_sum(s.node[n].first, s.node[n].count, j), got = nodes[n * LENGTH + j];
            if (memcmp(&got, &expected, sizeof got) != 0)
                fail_msg("%d shards, rank %d of %d, node %d: %.17g, expected %.17g", total, rank, size, n,
                         got, expected);
        }
}

static void test_tree_sums(void **state) {
    (void)state;
    for (int total = 1; total <= LS_MAX_SHARDS; total *= 2)
        for (int size = 1; size <= total; size++)
            for (int rank = 0; rank < size; rank++) check_tree(total, rank, size);
}

/* The leaves are such that an order from left to right is told from the tree. */
static void test_order_matters(void **state) {
    double sequential = 0;
    (void)state;
    for (int i = 0; i < 16; i++) sequential += leaf(i, 0);
    assert_true(sequential != recursive_sum(0, 16, 0));
}

/* The walk of shards.h keeps as many sums pending as i + 1 has ones. */
static void test_merges(void **state) {
    int depth = 0;
    (void)state;
    for (int i = 0; i < LS_MAX_SHARDS; i++) {
        depth += 1 - ls_tree_merges(i);
        assert_int_equal(depth, __builtin_popcount((unsigned)i + 1));
        assert_in_range(depth + ls_tree_merges(i), 1, LS_MAX_TREE_DEPTH);
    }
    assert_int_equal(depth, 1);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_ownership),     cmocka_unit_test(test_batches),
        cmocka_unit_test(test_refusals),      cmocka_unit_test(test_tree_sums),
        cmocka_unit_test(test_order_matters), cmocka_unit_test(test_merges),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}

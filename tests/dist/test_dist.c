/* Communication, the tree sum and the comparison of replicas, on as many ranks as mpirun starts. Every rank
 * runs the same tests and knows what has to come out: the expected sums come from a recursion over the
 * complete binary tree that shares nothing with the library. */
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <cmocka.h>

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <time.h>
#include <unistd.h>

#include "core/clock.h"
#include "core/rng.h"
#include "dist/replica.h"
#include "dist/tree_sum.h"

static ls_comm *comm;

#define EXPECT_OK(call)                                                                                      \
    do {                                                                                                     \
        if ((call) != LS_OK) fail_msg("%s: %s", #call, ls_error_message());                                  \
    } while (0)

static void pause_for(double seconds) {
    struct timespec time = {(time_t)seconds, (long)((seconds - (double)(time_t)seconds) * 1e9)};
    nanosleep(&time, NULL);
}

static uint32_t random_word(uint32_t a, uint32_t b, uint32_t c) {
    ls_rng rng = ls_rng_stream(4711, LS_RNG_TEST, a, b, 0);
    uint32_t words[4];
    ls_rng_block(&rng, c, words);
    return words[0];
}

/* --- messages ----------------------------------------------------------------------------------------- */

static void broadcasts(void **state) {
    (void)state;
    static const size_t sizes[] = {0, 1, 7, 4096, 1000003};
    for (int root = 0; root < comm->size; root++)
        for (size_t s = 0; s < sizeof sizes / sizeof *sizes; s++) {
            uint8_t *data = calloc(sizes[s] + 1, 1);
            assert_non_null(data);
            for (size_t i = 0; comm->rank == root && i < sizes[s]; i++)
                data[i] = (uint8_t)(i * 7 + (size_t)root);
            EXPECT_OK(ls_comm_broadcast(comm, data, sizes[s], root));
            for (size_t i = 0; i < sizes[s]; i++)
                if (data[i] != (uint8_t)(i * 7 + (size_t)root)) fail_msg("byte %zu from rank %d", i, root);
            assert_int_equal(data[sizes[s]], 0);
            free(data);
        }
}

static void gathers(void **state) {
    (void)state;
    uint64_t own = 1000 + (uint64_t)comm->rank, *all = calloc((size_t)comm->size, sizeof *all);
    assert_non_null(all);
    EXPECT_OK(ls_comm_allgather_equal(comm, &own, sizeof own, all));
    for (int r = 0; r < comm->size; r++) assert_int_equal(all[r], 1000 + r);
    free(all);
}

/* A rank that is late by less than the time-out is waited for, and what the waiting ranks tell one another
 * meanwhile does not get between the messages. */
static void late_rank(void **state) {
    (void)state;
    double timeout = comm->timeout;
    comm->timeout = 4;
    for (int round = 0; round < 2; round++) {
        int late = round % comm->size;
        if (comm->rank == late) pause_for(1.2);
        gathers(NULL);
        gathers(NULL);
    }
    comm->timeout = timeout;
}

/* The same in shared memory, where ranks sleep; the message of the one that is late is seen by all. */
static void late_in_window(void **state) {
    (void)state;
    ls_window *window;
    double timeout = comm->timeout;
    EXPECT_OK(ls_window_create(comm, &(ls_window_sizes){64, 64, 64}, &window));
    if (!window) return;
    comm->timeout = 4;
    for (int round = 0; round < 3; round++) {
        int own = 100 * round + comm->rank;
        if (comm->rank == round % comm->size) pause_for(1.2);
        memcpy(ls_window_outgoing(window), &own, sizeof own);
        EXPECT_OK(ls_window_exchange(window));
        for (int r = comm->host_first[comm->host]; r < comm->host_first[comm->host + 1]; r++)
            assert_int_equal(*(const int *)ls_window_incoming(window, r), 100 * round + r);
        gathers(NULL); /* messages in between */
    }
    comm->timeout = timeout;
    ls_window_destroy(&window);
}

static long address_space(void) {
    long pages = 0;
    FILE *file = fopen("/proc/self/statm", "r");
    if (!file || fscanf(file, "%ld", &pages) != 1) pages = 0;
    if (file) fclose(file);
    return pages * sysconf(_SC_PAGESIZE);
}

/* Where one rank cannot have the memory, nobody does, and all go on. */
static void refused_window(void **state) {
    (void)state;
    enum { ROOM = 1 << 24 };
    ls_window *window = (ls_window *)(uintptr_t)1;
    struct rlimit before, less;
    if (comm->size < 2) return;
    assert_int_equal(getrlimit(RLIMIT_AS, &before), 0);
    less = before;
    less.rlim_cur = (rlim_t)address_space() + ROOM;
    if (comm->rank == comm->size - 1) assert_int_equal(setrlimit(RLIMIT_AS, &less), 0);
    ls_status status = ls_window_create(comm, &(ls_window_sizes){64, 8 * (size_t)ROOM, 64}, &window);
    assert_int_equal(setrlimit(RLIMIT_AS, &before), 0);
    EXPECT_OK(status);
    assert_null(window);
    assert_false(comm->agreed);
    /* more than any machine has: rank 0 cannot make it */
    EXPECT_OK(ls_window_create(comm, &(ls_window_sizes){64, (size_t)1 << 50, 64}, &window));
    assert_null(window);
    assert_false(comm->agreed);
    gathers(NULL);
}

/* --- agreement ---------------------------------------------------------------------------------------- */

/* The ranks in the mask fail, each with its own text; rank r's status is one of two. */
static void check_agreement(unsigned mask) {
    char text[64], expected[64] = "";
    ls_status status = LS_OK, should = LS_OK;
    for (int r = comm->size - 1; r >= 0; r--) {
        if (!(mask >> r & 1)) continue;
        should = r % 2 ? LS_BAD_DATA : LS_OUTPUT;
        if (r == 0) snprintf(expected, sizeof expected, "file 0 is gone");
        if (r > 0) snprintf(expected, sizeof expected, "rank %d: file %d is gone", r, r);
    }
    snprintf(text, sizeof text, "file %d is gone", comm->rank);
    if (mask >> comm->rank & 1) status = ls_fail(comm->rank % 2 ? LS_BAD_DATA : LS_OUTPUT, "%s", text);
    comm->agreed = false;
    assert_int_equal(ls_comm_agree(comm, status), should);
    assert_int_equal(comm->agreed, should != LS_OK || (comm->size == 1 && comm->agreed));
    if (should != LS_OK) assert_string_equal(ls_error_message(), expected);
}

static void agreement(void **state) {
    (void)state;
    unsigned all = (1u << comm->size) - 1;
    check_agreement(0);
    for (int r = 0; r < comm->size; r++) check_agreement(1u << r);
    for (int r = 0; r < comm->size; r++) check_agreement(all & ~((1u << r) - 1)); /* r and all above */
    check_agreement(0);
    /* a text longer than a message is cut, not lost */
    char text[2000];
    memset(text, 'x', sizeof text - 1);
    text[sizeof text - 1] = '\0';
    assert_int_equal(ls_comm_agree(comm, ls_fail(LS_USAGE, "%s", text)), LS_USAGE);
    assert_in_range(strlen(ls_error_message()), 1000, sizeof text);
    comm->agreed = false;
}

/* --- replicas ----------------------------------------------------------------------------------------- */

/* The message without the hosts that it names behind ranks. */
static void without_hosts(const char *message, char *out, size_t size) {
    static const char host[] = " of host ";
    size_t used = 0;
    while (*message && used + 1 < size) {
        if (strncmp(message, host, sizeof host - 1) == 0) {
            message += sizeof host - 1;
            message += strcspn(message, ", ");
        } else {
            out[used++] = *message++;
        }
    }
    out[used] = '\0';
}

/* Ranks of the mask hold something else, each something of its own or all the same. */
static void check_replicas(unsigned mask, bool same, const char *named) {
    uint64_t hash = 0xabcdef;
    char expected[96], said[256];
    if (mask >> comm->rank & 1) hash = same ? 5 : 100 + (uint64_t)comm->rank;
    comm->agreed = false;
    comm->step = 12;
    ls_status status = ls_replica_check(comm, hash);
    if (!named) {
        assert_int_equal(status, LS_OK);
        return;
    }
    assert_int_equal(status, LS_REPLICAS_DIFFER);
    assert_true(comm->agreed);
    snprintf(expected, sizeof expected, "step 12: the replicas differ: rank %s does not hold", named);
    without_hosts(ls_error_message(), said, sizeof said);
    if (strncmp(said, expected, strlen(expected)) != 0)
        fail_msg("found '%s', expected '%s..'", ls_error_message(), expected);
    assert_int_equal(strstr(ls_error_message(), "of host ") != NULL, comm->hosts > 1);
    assert_int_equal(strstr(ls_error_message(), "either may be at fault") != NULL, comm->size == 2);
    comm->agreed = false;
}

static void replicas(void **state) {
    (void)state;
    check_replicas(0, false, NULL);
    if (comm->size < 2) return; /* one rank has nobody to compare with */
    if (comm->size == 2) {
        check_replicas(2, false, "1");
        return;
    }
    for (int r = 0; r < comm->size; r++) {
        char name[16];
        snprintf(name, sizeof name, "%d", r);
        check_replicas(1u << r, false, name);
    }
    if (comm->size >= 5) {
        check_replicas(1u << 1 | 1u << 4, false, "1, 4");
        check_replicas(1u << 0 | 1u << 3, true, "0, 3");
    }
    check_replicas(0, false, NULL);
}

/* --- the tree sum ------------------------------------------------------------------------------------- */

typedef struct sum_case {
    int total; /* shards */
    int threads;
    ls_dtype dtype;
    int64_t elements;
    uint32_t vector; /* which of several vectors; vectors of doubles are never rounded to fp32 */
    ls_instruction_set instruction_set;
} sum_case;

/* What the owner of shards first .. first+count-1 holds for them: numbers of every size, so that every
 * addition rounds. */
static double node_value(const sum_case *c, int first, int count, int64_t element) {
    uint32_t word = random_word((uint32_t)(first * 1000 + count), c->vector, (uint32_t)element);
    double value = ((double)(word >> 8) - 8388608.0) / 8388608.0 * (double)(1u << word % 20);
    value += (double)(word & 0xff) * 1e-9;
    return c->vector == 0 && c->dtype == LS_FP32 ? (double)(float)value : value;
}

static bool one_rank_has(const sum_case *c, int first, int count) {
    for (int64_t r = 0; r < comm->size; r++)
        if (first >= r * c->total / comm->size && first + count <= (r + 1) * c->total / comm->size)
            return true;
    return false;
}

/* The sum by halves, down to what one rank has. */
static double tree(const sum_case *c, int first, int count, int64_t element) {
    if (one_rank_has(c, first, count)) return node_value(c, first, count, element);
    double left = tree(c, first, count / 2, element), right = tree(c, first + count / 2, count / 2, element);
    return c->vector == 0 && c->dtype == LS_FP32 ? (double)((float)left + (float)right) : left + right;
}

static void put(const sum_case *c, void *vector, int64_t i, double value) {
    if (c->dtype == LS_FP64)
        ((double *)vector)[i] = value;
    else
        ((float *)vector)[i] = (float)value;
}

static double get(const sum_case *c, const void *vector, int64_t i) {
    return c->dtype == LS_FP64 ? ((const double *)vector)[i] : (double)((const float *)vector)[i];
}

static void fill(const sum_case *c, const ls_shards *shards, double *nodes, int64_t length) {
    for (int n = 0; n < shards->node_count; n++)
        for (int64_t i = 0; i < length; i++)
            nodes[n * length + i] = node_value(c, shards->node[n].first, shards->node[n].count, i);
}

static void expect_sum(const sum_case *c, const char *what, int64_t i, double found) {
    double expected = tree(c, 0, c->total, i);
    if (memcmp(&found, &expected, sizeof found) != 0)
        fail_msg("%s %lld of %lld, %d shards, %d threads, %s: found %.17g, expected %.17g", what,
                 (long long)i, (long long)c->elements, c->total, c->threads,
                 c->dtype == LS_FP64 ? "fp64" : "fp32", found, expected);
}

enum { WORDS = 3, FIRST = 5, SECOND = 0, THIRD = 40, NOT_SUMMED = 37 };

/* Each rank writes its slice of what they share; all are to see all of it. */
static void check_updated(const sum_case *c, ls_tree_sum *sum, ls_slice slice, void *arena) {
    int64_t total = c->elements + NOT_SUMMED;
    for (int64_t i = slice.first; i < slice.last; i++) put(c, arena, i, (double)(i % 8191) + 0.5);
    EXPECT_OK(ls_tree_sum_updated(sum));
    for (int64_t i = 0; i < total; i++)
        if (get(c, arena, i) != (double)(i % 8191) + 0.5) fail_msg("element %lld", (long long)i);
}

/* Those that are computed over all shards at once, in a window. */
static int whole_slices(const sum_case *c, ls_slice slices[2]) {
    slices[0] = (ls_slice){c->elements / 5, c->elements / 4};
    slices[1] = (ls_slice){c->elements / 2, c->elements - c->elements / 7};
    return 2;
}

static bool is_whole(const sum_case *c, int64_t i) {
    ls_slice slices[2];
    bool inside = false;
    for (int s = whole_slices(c, slices) - 1; s >= 0; s--)
        inside |= i >= slices[s].first && i < slices[s].last;
    return inside;
}

/* Of a gradient that is not summed over nodes, which every rank has by itself. */
static double rest(int64_t i) {
    return (double)(1 + i % 29);
}

static void fill_gradient(const sum_case *c, const ls_shards *shards, void *gradient) {
    for (int n = 0; n < shards->node_count; n++)
        for (int64_t i = 0; i < c->elements; i++)
            put(c, gradient, n * c->elements + i,
                node_value(c, shards->node[n].first, shards->node[n].count, i));
    for (int64_t i = 0; i < NOT_SUMMED; i++) put(c, gradient, shards->node_count * c->elements + i, rest(i));
}

static void *allocate_elements(const sum_case *c, int64_t count) {
    void *elements = aligned_alloc(64, ((size_t)count * ls_dtype_size(c->dtype) + 64) / 64 * 64);
    assert_non_null(elements);
    return elements;
}

/* What the plan has added already: over all ranks, or with several hosts over those of this one. Any rank of a
 * host may have computed any of these elements. */
static void fill_whole(const sum_case *c, void *reduced, void *host_nodes) {
    ls_node nodes[LS_MAX_NODES];
    const int count = ls_crossing_nodes(comm, comm->host, c->total, nodes);
    for (int64_t i = comm->host_rank; i < c->elements; i += comm->ranks_on_host) {
        if (!is_whole(c, i)) continue;
        if (comm->hosts == 1) put(c, reduced, i, -(double)(i % 8191));
        for (int n = 0; comm->hosts > 1 && n < count; n++)
            put(c, host_nodes, n * c->elements + i, tree(c, nodes[n].first, nodes[n].count, i));
    }
}

/* The step's words and the gradient: the rank's slice of the sum, which is all of it without a window. */
static void check_gradient(const sum_case *c, ls_window *window, void *host_nodes, ls_tree_sum *sum,
                           const ls_shards *shards) {
    const ls_slice slice = ls_tree_sum_slice(sum);
    int64_t lowest = -1, total = c->elements + NOT_SUMMED;
    sum_case doubles = *c;
    double word_nodes[LS_MAX_NODES * WORDS], words[WORDS] = {0};
    void *gradient = window ? ls_window_segment(window, comm->rank)
                            : allocate_elements(c, shards->node_count * c->elements + NOT_SUMMED);
    void *reduced = window                   ? ls_window_common(window)
                    : shards->node_count > 1 ? allocate_elements(c, total)
                                             : gradient;
    fill_gradient(c, shards, gradient);
    doubles.vector = 1;
    fill(&doubles, shards, word_nodes, WORDS);
    EXPECT_OK(ls_tree_sum_totals(sum, &(ls_partial){word_nodes, words, WORDS, NULL, NULL}, 1, NULL));
    for (int64_t i = 0; i < WORDS; i++) expect_sum(&doubles, "words", i, words[i]);
    if (window) fill_whole(c, reduced, host_nodes);
    EXPECT_OK(ls_tree_sum_gradient(sum, gradient, reduced));
    if (window)
        assert_in_range(slice.last - slice.first, 0, total / comm->ranks_on_host + 16);
    else
        assert_true(slice.first == 0 && slice.last == total);
    EXPECT_OK(
        ls_tree_sum_lowest(sum, window ? 100 + (comm->host_rank + 2) % comm->ranks_on_host : 100, &lowest));
    assert_int_equal(lowest, 100);
    for (int64_t i = slice.first; i < slice.last && i < c->elements; i++)
        if (window && comm->hosts == 1 && is_whole(c, i))
            assert_true(get(c, reduced, i) == -(double)(i % 8191));
        else
            expect_sum(c, "gradient", i, get(c, reduced, i));
    for (int64_t i = slice.first; i < slice.last; i++)
        if (i >= c->elements) assert_true(get(c, reduced, i) == rest(i - c->elements));
    if (window)
        check_updated(c, sum, slice, reduced);
    else
        EXPECT_OK(ls_tree_sum_updated(sum));
    if (!window && reduced != gradient) free(reduced);
    if (!window) free(gradient);
}

static void check_reducer(const sum_case *c, ls_tree_sum *sum, const ls_shards *shards) {
    static const int64_t lengths[] = {FIRST, SECOND, THIRD};
    double nodes[3][LS_MAX_NODES * THIRD], out[3][THIRD];
    ls_partial partials[3];
    sum_case vector = *c;
    for (int p = 0; p < 3; p++) {
        vector.vector = 2 + (uint32_t)p;
        fill(&vector, shards, nodes[p], lengths[p]);
        partials[p] = (ls_partial){nodes[p], out[p], lengths[p], NULL, NULL};
    }
    ls_reducer reducer = ls_tree_sum_reducer(sum);
    EXPECT_OK(reducer.sum(reducer.self, partials, 3, NULL));
    for (int p = 0; p < 3; p++) {
        vector.vector = 2 + (uint32_t)p;
        for (int64_t i = 0; i < lengths[p]; i++) expect_sum(&vector, "vector", i, out[p][i]);
    }
    double more[1] = {0};
    ls_partial large = {more, more, FIRST + SECOND + THIRD + 1, NULL, NULL};
    assert_int_equal(reducer.sum(reducer.self, &large, 1, NULL), LS_INTERNAL);
}

static void check_sums(const sum_case *c, bool with_window) {
    enum { MESSAGE = 128 }; /* too short for the reducer's vectors, which then go by MPI */
    ls_shards shards;
    ls_team *team;
    ls_tree_sum *sum;
    ls_window *window = NULL;
    ls_slice whole[2];
    ls_tree_sum_sizes sizes = {.doubles = FIRST + SECOND + THIRD,
                               .summed = c->elements,
                               .total = c->elements + NOT_SUMMED,
                               .dtype = c->dtype,
                               .instruction_set = c->instruction_set,
                               .complete = whole,
                               .complete_count = whole_slices(c, whole)};
    ls_window_sizes bytes = {MESSAGE, ls_tree_sum_segment(c->total, comm->size, &sizes),
                             ls_tree_sum_arena(&sizes) + ls_tree_sum_host_nodes(comm, c->total, &sizes)};
    EXPECT_OK(ls_shards_create(&shards, c->total, comm->rank, comm->size, c->total));
    EXPECT_OK(ls_team_create(c->threads, &team));
    if (with_window) EXPECT_OK(ls_window_create(comm, &bytes, &window));
    assert_int_equal(window != NULL, with_window && comm->size > 1);
    if (window)
        sizes.host_nodes = comm->ranks_on_host > 1
                               ? (char *)ls_window_common(window) + ls_tree_sum_arena(&sizes)
                               : ls_window_segment(window, comm->rank);
    EXPECT_OK(ls_tree_sum_create(comm, window, &shards, team, &sizes, &sum));
    for (int again = 0; again < 2; again++) { /* buffers are used again */
        check_gradient(c, window, sizes.host_nodes, sum, &shards);
        check_reducer(c, sum, &shards);
    }
    ls_tree_sum_destroy(&sum);
    ls_tree_sum_destroy(&sum);
    ls_window_destroy(&window);
    ls_window_destroy(&window);
    ls_team_destroy(&team);
}

/* Lengths around the slices' alignment and the blocks of the adding loop; fewer elements than ranks, which
 * leaves some ranks with an empty slice. */
static void sums(void **state) {
    (void)state;
    static const int totals[] = {8, 16, 64};
    static const int64_t lengths[] = {1, 3, 15, 16, 17, 33, 127, 1000, 2500, 9000};
    for (size_t t = 0; t < sizeof totals / sizeof *totals; t++)
        for (size_t l = 0; l < sizeof lengths / sizeof *lengths; l++)
            for (int threads = 1; threads <= 5; threads += 2) {
                const int tiers = (int)ls_instruction_set_supported() + 1;
                for (int window = 0; window < 2; window++) {
                    sum_case c = {.total = totals[t],
                                  .threads = threads,
                                  .dtype = LS_FP32,
                                  .elements = lengths[l],
                                  .instruction_set = (ls_instruction_set)((int)(l + t) % tiers)};
                    check_sums(&c, window);
                    c.dtype = LS_FP64;
                    check_sums(&c, window);
                }
            }
}

/* --- a rank that is stuck ----------------------------------------------------------------------------- */

static void expect_stuck(ls_status status, double waited) {
    char expected[128];
    assert_int_equal(status, LS_STUCK);
    assert_true(waited > 1.5 && waited < 6);
    snprintf(expected, sizeof expected, "rank %d has waited ", comm->rank);
    assert_int_equal(strncmp(ls_error_message(), expected, strlen(expected)), 0);
    if (!strstr(ls_error_message(), "in step 77, being tested")) fail_msg("%s", ls_error_message());
    /* Rank 0 gives up first, and speaks for all; to those after it, it is silent, too. */
    const int host = ls_comm_host_of(comm, 1);
    snprintf(expected, sizeof expected, "1%s%s, which is silent", comm->host_name ? " of host " : "",
             comm->host_name ? comm->host_name[host] : "");
    if (comm->rank > 0) strcpy(expected, comm->hosts > 1 ? "1 of host " : "1, ");
    const char *found = strstr(ls_error_message(), expected);
    if (!found || (comm->rank == 0 && strncmp(found - 5, "rank ", 5) != 0))
        fail_msg("%s", ls_error_message());
}

static void set_up_stuck(void) {
    comm->timeout = 1.6;
    comm->step = 77;
    comm->phase = "being tested";
    if (comm->rank == 1) pause_for(6);
}

/* Rank 1 comes only when the others have given up on it, and finds that all have been there. */
static void stuck_in_window(void **state) {
    (void)state;
    ls_window *window;
    if (comm->size < 2 || comm->hosts > 1) skip(); /* hosts' windows do not wait for one another */
    EXPECT_OK(ls_window_create(comm, &(ls_window_sizes){64, 64, 64}, &window));
    assert_non_null(window);
    set_up_stuck();
    double began = ls_clock();
    ls_status status = ls_window_exchange(window);
    double waited = ls_clock() - began;
    comm->timeout = 60;
    if (comm->rank == 1)
        assert_int_equal(status, LS_OK);
    else
        expect_stuck(status, waited);
    ls_window_destroy(&window);
    gathers(NULL); /* all are here again */
}

/* The last test: rank 1 comes only when the others have given up on it. The message that it then sends finds
 * its place in `all`, so that MPI can be left in order. */
static void stuck_rank(void **state) {
    (void)state;
    static int own, all[64], counts[64], places[64];
    if (comm->size < 2) return;
    for (int r = 0; r < comm->size; r++) {
        counts[r] = sizeof own;
        places[r] = r * (int)sizeof own;
    }
    set_up_stuck();
    double began = ls_clock();
    ls_status status = comm->class->allgather(comm, &own, all, counts, places);
    double waited = ls_clock() - began;
    comm->timeout = 60; /* the end of MPI waits for rank 1, too */
    if (comm->rank == 1)
        assert_int_equal(status, LS_OK); /* the others' messages have long been there */
    else
        expect_stuck(status, waited);
}

int main(int argc, char **argv) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(broadcasts),     cmocka_unit_test(gathers),        cmocka_unit_test(late_rank),
        cmocka_unit_test(agreement),      cmocka_unit_test(replicas),       cmocka_unit_test(sums),
        cmocka_unit_test(late_in_window), cmocka_unit_test(refused_window), cmocka_unit_test(stuck_in_window),
        cmocka_unit_test(stuck_rank),
    };
    if (argc != 2 || ls_comm_create(argv[1], &comm) != LS_OK) {
        fprintf(stderr, "usage: test_dist self|mpi; %s\n", ls_error_message());
        return 2;
    }
    comm->timeout = 60; /* a rank that failed an assertion is missed at last */
    int failures = cmocka_run_group_tests(tests, NULL, NULL);
    comm->timeout = 60; /* MPI's end waits for the rank that was late, and has a deadline too */
    if (failures > 0 && comm->size > 1) comm->class->abort(comm, failures);
    ls_comm_destroy(&comm);
    ls_comm_destroy(&comm);
    return failures;
}

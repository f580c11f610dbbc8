#include "twins.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "core/rng.h"
#include "orders.h"

/* Bytes around each array of the device that no kernel may write; read, they are NaN. */
enum { MOST = 64, FENCE = 256 };
static twin all[MOST];
static int count_of_all;
static uint32_t seed_of_all;

/* An array of no elements has a place too. */
static size_t at_least_some(size_t bytes) {
    return bytes > 0 ? bytes : 16;
}

static void *memory(size_t bytes) {
    void *m = calloc(1, at_least_some(bytes));
    assert_non_null(m);
    return m;
}

static twin keep(void *host, size_t bytes) {
    const size_t size = bytes + 2 * FENCE;
    char *fenced = memory(size);
    assert_true(count_of_all < MOST);
    memset(fenced, 0xFF, size);
    memcpy(fenced + FENCE, host, bytes);
    char *device = to_device(fenced, size);
    free(fenced);
    return all[count_of_all++] = (twin){{host, device + FENCE}, bytes};
}

/* Ends the life of an array. */
static void drop(const twin *t) {
    const size_t size = t->bytes + 2 * FENCE;
    unsigned char *got = memory(size);
    from_device(got, (char *)t->on[DEVICE] - FENCE, size);
    for (size_t i = 0; i < FENCE; i++)
        if (got[i] != 0xFF || got[FENCE + t->bytes + i] != 0xFF)
            fail_msg("a kernel has written outside an array of %zu bytes", t->bytes);
    free(got);
    free(t->on[HOST]);
}

twin twin_of(const void *host, size_t bytes) {
    void *m = memory(bytes);
    memcpy(m, host, bytes);
    return keep(m, bytes);
}

static uint32_t *words_of(int64_t count) {
    const ls_rng rng = ls_rng_stream(seed_of_all, LS_RNG_TEST, 1, 0, (uint32_t)count_of_all);
    uint32_t *words = memory((size_t)(count + 3) / 4 * 4 * sizeof *words);
    for (int64_t i = 0; i < count; i += 4) ls_rng_block(&rng, (uint32_t)(i / 4), words + i);
    return words;
}

twin random_twin(int64_t count, double scale) {
    uint32_t *words = words_of(count);
    float *x = memory((size_t)count * sizeof *x);
    for (int64_t i = 0; i < count; i++)
        x[i] = words[i] % 8 == 0 ? 0 : (float)((2 * ls_rng_unit(words[i]) - 1) * scale);
    free(words);
    return keep(x, (size_t)count * sizeof *x);
}

twin integer_twin(int64_t count, uint32_t below, size_t size) {
    uint32_t *words = words_of(count);
    for (int64_t i = 0; i < count; i++) {
        const uint32_t v = words[i] % below;
        if (size == 1)
            ((uint8_t *)words)[i] = (uint8_t)v; /* behind the word that was read */
        else
            words[i] = v;
    }
    return keep(words, (size_t)count * size);
}

twin room_twin(int64_t count, size_t size) {
    void *m = memory((size_t)count * size);
    memset(m, 0xFF, (size_t)count * size);
    return keep(m, (size_t)count * size);
}

void check_twin(const twin *t, const char *what) {
    unsigned char *got = memory(t->bytes);
    const unsigned char *want = t->on[HOST];
    read_device(got, t->on[DEVICE], t->bytes);
    for (size_t i = 0; i < t->bytes; i++)
        if (got[i] != want[i]) fail_msg("%s: byte %zu of %zu differs", what, i, t->bytes);
    free(got);
}

void begin_twins(uint32_t seed) {
    assert_int_equal(count_of_all, 0);
    seed_of_all = seed;
}

void free_twins(void) {
    while (count_of_all > 0) drop(&all[--count_of_all]);
}

const cut cuts[CUTS] = {
    {16, 0, 1, 32}, {16, 0, 1, 1}, {16, 0, 1, 5}, {16, 0, 1, 33}, {1, 0, 1, 7},   {4, 1, 2, 13},
    {16, 1, 3, 31}, {8, 0, 2, 64}, {2, 1, 2, 1},  {16, 2, 5, 47}, {32, 0, 1, 40}, {2, 0, 2, 1},
};

ls_shards shards_of(const cut *c) {
    ls_shards shards;
    assert_int_equal(ls_shards_create(&shards, c->total, c->rank, c->size, c->batch), LS_OK);
    return shards;
}

/* The order of the samples: pieces of an endless row of permutations, a function of seed and epoch. */
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <cmocka.h>

#include "train/trainer.h"

#include <string.h>

enum { SAMPLES = 50, EPOCHS = 12 };

typedef struct fixture {
    uint32_t split[SAMPLES], permutation[SAMPLES], order[SAMPLES];
    ls_trainer trainer;
} fixture;

static void create(fixture *f, int64_t samples_per_epoch) {
    memset(f, 0, sizeof *f);
    for (uint32_t i = 0; i < SAMPLES; i++) f->split[i] = 100 + 3 * i;
    f->trainer.options.seed = 7;
    f->trainer.options.samples_per_epoch = samples_per_epoch;
    f->trainer.options.batch = 4;
    f->trainer.data.split = f->split;
    f->trainer.data.training = SAMPLES;
    f->trainer.order = f->order;
    f->trainer.permutation = f->permutation;
    f->trainer.permutation_index = -1;
}

static void order(fixture *f, int64_t epoch) {
    f->trainer.epoch = epoch;
    ls_trainer_order_epoch(&f->trainer);
}

/* By default an epoch is one permutation, drawn by its number. */
static void whole_set(void **state) {
    (void)state;
    fixture f;
    create(&f, 0);
    assert_int_equal(ls_trainer_epoch_samples(&f.trainer), SAMPLES);
    assert_int_equal(ls_trainer_batches_per_epoch(&f.trainer), 13);
    for (int64_t epoch = 0; epoch < 3; epoch++) {
        uint32_t want[SAMPLES];
        memcpy(want, f.split, sizeof want);
        ls_shuffle(7, LS_RNG_ORDER, (uint32_t)epoch, want, SAMPLES);
        order(&f, epoch);
        assert_memory_equal(f.order, want, sizeof want);
    }
}

/* Short epochs: no sample comes again before all have come; pieces of 12 of 50 run over the ends. */
static void fresh_samples(void **state) {
    (void)state;
    static const int64_t sizes[] = {1, 12, 25, 49, 50};
    for (size_t s = 0; s < sizeof sizes / sizeof *sizes; s++) {
        fixture f;
        int drawn = 0, times[SAMPLES] = {0};
        create(&f, sizes[s]);
        assert_int_equal(ls_trainer_batches_per_epoch(&f.trainer), (sizes[s] + 3) / 4);
        for (int64_t epoch = 0; epoch < 120; epoch++) {
            order(&f, epoch);
            for (int64_t i = 0; i < sizes[s]; i++, drawn++) {
                int sample = (int)(f.order[i] - 100) / 3;
                assert_int_equal(times[sample], drawn / SAMPLES);
                times[sample]++;
            }
        }
    }
}

/* A run that resumes knows the epoch alone. */
static void any_epoch_at_once(void **state) {
    (void)state;
    fixture run, resumed;
    create(&run, 12);
    for (int64_t epoch = 0; epoch < EPOCHS; epoch++) {
        order(&run, epoch);
        create(&resumed, 12);
        order(&resumed, epoch);
        assert_memory_equal(run.order, resumed.order, 12 * sizeof *run.order);
    }
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(whole_set),
        cmocka_unit_test(fresh_samples),
        cmocka_unit_test(any_epoch_at_once),
    };
    return cmocka_run_group_tests_name("order of samples", tests, NULL, NULL);
}

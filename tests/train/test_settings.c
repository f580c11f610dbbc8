/* What each key of an optimizer and a schedule does, in the trainer: six steps of one dense layer on the full
 * batch in fp64, against the same six steps in double, by the formulas of tests/model/formulas.c. Every
 * optimizer with every schedule, and each key that either of them has, set to something else than its
 * default. */
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <cmocka.h>

#include "core/key_words.h"
#include "model/formulas.h"
#include "train/trainer.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum {
    HEIGHT = 2,
    WIDTH = 3,
    PIXELS = HEIGHT * WIDTH,
    CLASSES = 3,
    SAMPLES = 12,
    STEPS = 6,
    WORDS = 10 + 2 * KEY_WORDS
};
enum { WEIGHTS = CLASSES * PIXELS, PARAMETERS = WEIGHTS + CLASSES };

/* --- the same, by hand ------------------------------------------------------------------------------- */

/* The numbers of every run, and their documented defaults; lr has none. */
typedef struct numbers {
    double lr, decay_power, warmup, l2_mean, weight_decay;
} numbers;
static const numbers defaults = {.lr = 0.5};

#define AT(name, value)                                                                                      \
    { #name, value, offsetof(numbers, name) }
static const struct {
    const char *key, *other; /* another value than the default */
    size_t offset;
} common[] = {AT(lr, "0.125"), AT(decay_power, "0.5"), AT(warmup, "3"), AT(l2_mean, "3"),
              AT(weight_decay, "0.25")};
enum { COMMON = sizeof common / sizeof *common };

/* What is trained with, and which one of its keys has another value than usual: -1 for none. */
typedef struct choice {
    const ls_key_class *optimizer, *schedule;
    int common_key, optimizer_key, schedule_key;
} choice;

/* The same choice, for the formulas. */
typedef struct settings {
    ls_optimizer optimizer;
    ls_schedule schedule;
    numbers of_run;
} settings;

typedef struct model {
    double w[PARAMETERS], m[PARAMETERS], v[PARAMETERS]; /* weights [class][pixel], then biases */
    double rate, loss, correct;                         /* of the last step */
} model;

static uint8_t pixel(int sample, int i) {
    return (uint8_t)(1 + (37 * sample + 91 * i + 13 * sample * i) % 255);
}

static int label(int sample) {
    return (sample * sample + sample / 3) % CLASSES;
}

/* Gradient of the mean cross entropy; sets loss and correct answers. */
static void differentiate(model *x, double g[PARAMETERS]) {
    memset(g, 0, PARAMETERS * sizeof *g);
    x->loss = x->correct = 0;
    for (int n = 0; n < SAMPLES; n++) {
        double z[CLASSES], sum = 0;
        int best = 0;
        for (int c = 0; c < CLASSES; c++) {
            z[c] = x->w[WEIGHTS + c];
            for (int i = 0; i < PIXELS; i++) z[c] += x->w[c * PIXELS + i] * pixel(n, i) / 255;
            sum += exp(z[c]);
            if (z[c] > z[best]) best = c;
        }
        x->loss -= (z[label(n)] - log(sum)) / SAMPLES;
        x->correct += best == label(n);
        for (int c = 0; c < CLASSES; c++) {
            const double d = (exp(z[c]) / sum - (c == label(n))) / SAMPLES;
            g[WEIGHTS + c] += d;
            for (int i = 0; i < PIXELS; i++) g[c * PIXELS + i] += d * pixel(n, i) / 255;
        }
    }
}

static void step_by_hand(model *x, const settings *s, int step) {
    const numbers *n = &s->of_run;
    double g[PARAMETERS];
    differentiate(x, g);
    /* an epoch is a step here */
    x->rate = n->lr * formula_factor(&s->schedule, step, step) / pow(step + 1, n->decay_power);
    if (n->warmup > 0) x->rate *= fmin(1, (step + 1) / n->warmup);
    for (int i = 0; i < PARAMETERS; i++)
        x->w[i] -= x->rate * formula_direction(&s->optimizer, (uint64_t)step + 1, PARAMETERS, x->w[i], g[i],
                                               &x->m[i], &x->v[i]);
}

/* --- the trainer ------------------------------------------------------------------------------------- */

static void make_data(ls_data *data) {
    *data = (ls_data){.name = "made", .training = SAMPLES, .folder = strdup("memory")};
    ls_dataset *sets[] = {&data->train, &data->test};
    for (int k = 0; k < 2; k++) {
        *sets[k] = (ls_dataset){.count = SAMPLES, .height = HEIGHT, .width = WIDTH, .classes = CLASSES};
        sets[k]->images = malloc(SAMPLES * PIXELS);
        sets[k]->labels = malloc(SAMPLES);
        assert_true(sets[k]->images && sets[k]->labels);
        for (int n = 0; n < SAMPLES; n++) {
            sets[k]->labels[n] = (uint8_t)label(n);
            for (int i = 0; i < PIXELS; i++) sets[k]->images[n * PIXELS + i] = pixel(n, i);
        }
    }
    data->split = malloc(SAMPLES * sizeof *data->split);
    assert_non_null(data->split);
    for (uint32_t i = 0; i < SAMPLES; i++) data->split[i] = i;
}

static ls_trainer *create(ls_comm *comm, const char *const *words, int count, ls_config **config) {
    static ls_layer_keys layers[LS_LAYER_CLASSES_MAX];
    ls_trainer *trainer;
    ls_data data;
    ls_network_layer_keys(layers);
    if (ls_config_load(NULL, words, count, &ls_option_keys, layers, ls_layer_class_count, config) != LS_OK)
        fail_msg("%s", ls_error_message());
    make_data(&data);
    if (ls_trainer_create_on(comm, *config, &data, &trainer) != LS_OK) fail_msg("%s", ls_error_message());
    return trainer;
}

static void parameters_of(ls_trainer *t, double w[PARAMETERS]) {
    ls_trainer_fingerprint(t); /* brings the records up to date */
    assert_int_equal(ls_record_bytes(&t->state.records[0]), WEIGHTS * sizeof *w);
    assert_int_equal(ls_record_bytes(&t->state.records[1]), CLASSES * sizeof *w);
    memcpy(w, t->state.records[0].data, WEIGHTS * sizeof *w);
    memcpy(w + WEIGHTS, t->state.records[1].data, CLASSES * sizeof *w);
}

static void assert_near(const char *what, const char *const *words, int count, int step, double found,
                        double expected) {
    char all[512] = "";
    if (fabs(found - expected) <= 1e-12 * fmax(1, fabs(expected))) return;
    for (int i = 0; i < count; i++) snprintf(all + strlen(all), sizeof all - strlen(all), " %s", words[i]);
    fail_msg("%s after step %d: %.17g, expected %.17g, with%s", what, step + 1, found, expected, all);
}

/* The words of a choice, behind those that all runs have; sets what the formulas need. */
static int take(const choice *c, settings *s, key_words own[2], char text[3][64], const char **words,
                int count) {
    *s = (settings){.of_run = defaults};
    key_words_of(c->optimizer, c->optimizer_key, &own[0]);
    key_words_of(c->schedule, c->schedule_key, &own[1]);
    assert_int_equal(ls_optimizer_create(c->optimizer->name, own[0].words, own[0].count, &s->optimizer),
                     LS_OK);
    assert_int_equal(ls_schedule_create(c->schedule->name, own[1].words, own[1].count, &s->schedule), LS_OK);
    snprintf(text[0], sizeof text[0], "optimizer=%s", c->optimizer->name);
    snprintf(text[1], sizeof text[1], "schedule=%s", c->schedule->name);
    words[count++] = text[0];
    words[count++] = text[1];
    for (int list = 0; list < 2; list++)
        for (int i = 0; i < own[list].count; i++) words[count++] = own[list].words[i];
    if (c->common_key != 0) words[count++] = "lr=0.5";
    if (c->common_key >= 0) {
        const double number = strtod(common[c->common_key].other, NULL);
        memcpy((char *)&s->of_run + common[c->common_key].offset, &number, sizeof number);
        snprintf(text[2], sizeof text[2], "%s=%s", common[c->common_key].key, common[c->common_key].other);
        words[count++] = text[2];
    }
    s->optimizer.l2_mean = s->of_run.l2_mean;
    s->optimizer.weight_decay = s->of_run.weight_decay;
    return count;
}

/* Trains by a choice and by hand; the parameters by hand go to `last`. */
static void compare(const choice *c, double last[PARAMETERS]) {
    char text[3][64];
    key_words own[2];
    const char *words[WORDS] = {
        "precision=fp64", "batch=12", "split=12", "shards=4", "network=[flatten, {dense: {units: 3}}]",
        "loss_clip=0", /* the loss by hand has none, and some optimizers' first steps are long */
    };
    settings s;
    model x = {0};
    double w[PARAMETERS];
    ls_comm *comm;
    ls_config *config;
    const int count = take(c, &s, own, text, words, 6);
    assert_int_equal(ls_comm_create_self(&comm), LS_OK);
    ls_trainer *t = create(comm, words, count, &config);
    parameters_of(t, x.w);
    for (int step = 0; step < STEPS; step++) {
        if (ls_train_step(t) != LS_OK) fail_msg("%s", ls_error_message());
        step_by_hand(&x, &s, step);
        parameters_of(t, w);
        for (int i = 0; i < PARAMETERS; i++) assert_near("a parameter", words, count, step, w[i], x.w[i]);
        /* what is recorded: the rate that was used, and the loss without the L2 term */
        assert_near("the rate", words, count, step, t->batch_rate, x.rate);
        assert_near("the loss", words, count, step, t->batch_score.loss / SAMPLES, x.loss);
        assert_near("right answers", words, count, step, t->batch_score.correct, x.correct);
        assert_int_equal(t->batch_score.count, SAMPLES);
    }
    memcpy(last, x.w, sizeof x.w);
    ls_optimizer_destroy(&s.optimizer);
    ls_schedule_destroy(&s.schedule);
    ls_trainer_destroy(&t);
    ls_config_destroy(&config);
    ls_comm_destroy(&comm);
}

/* The key that this choice sets makes a difference. */
static void compare_with(const char *key, const choice *c, const double usual[PARAMETERS]) {
    double last[PARAMETERS], difference = 0;
    compare(c, last);
    for (int i = 0; i < PARAMETERS; i++) difference = fmax(difference, fabs(last[i] - usual[i]));
    if (!(difference > 1e-6))
        fail_msg("%s does not matter for %s, %s", key, c->optimizer->name, c->schedule->name);
}

static void every_key(void **state) {
    (void)state;
    for (int o = 0; o < ls_optimizers.count; o++)
        for (int s = 0; s < ls_schedules.count; s++) {
            const choice plain = {ls_optimizers.list[o], ls_schedules.list[s], -1, -1, -1};
            double usual[PARAMETERS];
            compare(&plain, usual);
            for (int i = 0; i < COMMON; i++) {
                choice c = plain;
                c.common_key = i;
                compare_with(common[i].key, &c, usual);
            }
            for (int i = 0; i < plain.optimizer->keys.count; i++) {
                choice c = plain;
                c.optimizer_key = i;
                compare_with(plain.optimizer->keys.keys[i].name, &c, usual);
            }
            for (int i = 0; i < plain.schedule->keys.count; i++) {
                choice c = plain;
                c.schedule_key = i;
                compare_with(plain.schedule->keys.keys[i].name, &c, usual);
            }
        }
}

/* Steps and epochs are not the same: what PyTorch's MultiStepLR and ExponentialLR say of 3 steps an epoch. */
static void rates(void **state) {
    static const char *const falls[] = {"milestones=[2, 4]", "gamma=0.5"}, *const epochs[] = {"gamma=0.25"},
                             *const four[] = {"horizon=4"}, *const floor[] = {"horizon=4", "floor=0.5"},
                             *const cycle[] = {"horizon=5", "peak=0.6", "start_divisor=4", "end_divisor=2"};
    const struct {
        const char *name;
        const char *const *words;
        int count;
        double decay_power, expected[6];
        int64_t warmup;
    } cases[] = {
        {"constant", NULL, 0, 0, {8, 8, 8, 8, 8, 8}, 0},
        {"constant", NULL, 0, 1, {8, 4, 8.0 / 3, 2, 8.0 / 5, 8.0 / 6}, 0},
        {"multistep", falls, 2, 0, {8, 8, 4, 4, 2, 2}, 0},
        {"exponential", epochs, 1, 0, {8, 8, 8, 2, 2, 2}, 0},
        {"exponential", epochs, 1, 2, {8, 2, 8.0 / 9, 2.0 / 16, 2.0 / 25, 2.0 / 36}, 0},
        {"constant", NULL, 0, 0, {2, 4, 6, 8, 8, 8}, 4},
        {"multistep", falls, 2, 0, {2, 4, 3, 4, 2, 2}, 4},
        {"cosine", four, 1, 0, {8, 4 + 2 * sqrt(2), 4, 4 - 2 * sqrt(2), 0, 0}, 0},
        {"cosine", floor, 2, 0, {8, 6 + sqrt(2), 6, 6 - sqrt(2), 4, 4}, 0},
        {"linear", four, 1, 0, {8, 6, 4, 2, 0, 0}, 0},
        {"linear", floor, 2, 0, {8, 7, 6, 5, 4, 4}, 0},
        {"one_cycle", cycle, 4, 0, {2, 5, 8, 4.5, 1, 1}, 0},
    };
    (void)state;
    for (size_t c = 0; c < sizeof cases / sizeof *cases; c++) {
        ls_schedule schedule;
        assert_int_equal(ls_schedule_create(cases[c].name, cases[c].words, cases[c].count, &schedule), LS_OK);
        schedule.lr = 8;
        schedule.decay_power = cases[c].decay_power;
        schedule.warmup = cases[c].warmup;
        for (int step = 0; step < 6; step++)
            assert_true(fabs(ls_schedule_rate(&schedule, step, step / 3) - cases[c].expected[step]) < 1e-14);
        ls_schedule_destroy(&schedule);
    }
}

int main(void) {
    const struct CMUnitTest tests[] = {cmocka_unit_test(every_key), cmocka_unit_test(rates)};
    return cmocka_run_group_tests_name("settings", tests, NULL, NULL);
}

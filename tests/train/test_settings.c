/* What each key of an optimizer and a schedule does, in the trainer: six steps of one dense layer on the full
 * batch in fp64, against the same six steps written out here in double. Every optimizer with every schedule, and
 * each key that either of them has, set to something else than its default. */
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <cmocka.h>

#include "train/trainer.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { HEIGHT = 2, WIDTH = 3, PIXELS = HEIGHT * WIDTH, CLASSES = 3, SAMPLES = 12, STEPS = 6, WORDS = 12 };
enum { WEIGHTS = CLASSES * PIXELS, PARAMETERS = WEIGHTS + CLASSES };

static const uint8_t first_milestone = 2, second_milestone = 4;
#define MILESTONES "[2, 4]"
static const double horizon = 5;
#define HORIZON "5"

/* --- the same, by hand ------------------------------------------------------------------------------- */

/* The numbers that a configuration sets, and their documented defaults. */
typedef struct numbers {
    double lr, decay_power, warmup, l2_mean, weight_decay, momentum, nesterov, beta1, beta2, alpha, epsilon,
        epsilon_inside, gamma, floor, peak, start_divisor, end_divisor;
} numbers;
static const numbers defaults = {.lr = 0.5,
                                 .momentum = 0.9,
                                 .beta1 = 0.9,
                                 .beta2 = 0.999,
                                 .alpha = 0.99,
                                 .epsilon = 1e-8,
                                 .gamma = 0.1,
                                 .peak = 0.3,
                                 .start_divisor = 25,
                                 .end_divisor = 1e4};

#define AT(name, value)                                                                                      \
    { #name, value, offsetof(numbers, name) }
static const struct {
    const char *key, *other; /* another value than the default */
    size_t offset;
} keys[] = {
    AT(lr, "0.125"),          AT(decay_power, "0.5"), AT(l2_mean, "3"),
    AT(weight_decay, "0.25"), AT(momentum, "0.5"),    AT(beta1, "0.5"),
    AT(beta2, "0.75"),        AT(epsilon, "0.125"),   AT(epsilon_inside, "true"),
    AT(gamma, "0.5"),         AT(warmup, "3"),        AT(nesterov, "true"),
    AT(alpha, "0.5"),         AT(floor, "0.25"),      AT(peak, "0.75"),
    AT(start_divisor, "4"),   AT(end_divisor, "2"),
};
enum { KEYS = sizeof keys / sizeof *keys };

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

static double schedule_factor(const char *schedule, const numbers *s, int step) {
    if (strcmp(schedule, "constant") == 0) return 1;
    if (strcmp(schedule, "exponential") == 0) return pow(s->gamma, step); /* an epoch is a step here */
    if (strcmp(schedule, "multistep") == 0)
        return pow(s->gamma, (step >= first_milestone) + (step >= second_milestone));
    const double way = fmin(step, horizon) / horizon;
    if (strcmp(schedule, "cosine") == 0) return s->floor + (1 - s->floor) * (1 + cos(acos(-1) * way)) / 2;
    if (strcmp(schedule, "linear") == 0) return 1 - (1 - s->floor) * way;
    if (strcmp(schedule, "one_cycle") == 0) {
        const double first = 1 / s->start_divisor, last = first / s->end_divisor, top = s->peak * horizon - 1;
        const double up = step / top, down = fmin((step - top) / (horizon - 1 - top), 1);
        return step <= top ? 1 + (first - 1) / 2 * (1 + cos(acos(-1) * up))
                           : last + (1 - last) / 2 * (1 + cos(acos(-1) * down));
    }
    fail_msg("schedule %s: its formula is missing in this test", schedule);
    return 0;
}

static void update(model *x, const char *optimizer, const numbers *s, int t, int i, double g) {
    if (strcmp(optimizer, "sgd") == 0) {
        x->w[i] -= x->rate * g;
    } else if (strcmp(optimizer, "momentum") == 0) {
        x->m[i] = s->momentum * x->m[i] + g;
        x->w[i] -= x->rate * (s->nesterov > 0 ? g + s->momentum * x->m[i] : x->m[i]);
    } else if (strcmp(optimizer, "rmsprop") == 0) {
        x->v[i] = s->alpha * x->v[i] + (1 - s->alpha) * g * g;
        x->w[i] -= x->rate * g / (sqrt(x->v[i]) + s->epsilon);
    } else if (strcmp(optimizer, "adam") == 0 || strcmp(optimizer, "adamw") == 0) {
        x->m[i] = s->beta1 * x->m[i] + (1 - s->beta1) * g;
        x->v[i] = s->beta2 * x->v[i] + (1 - s->beta2) * g * g;
        const double m = x->m[i] / (1 - pow(s->beta1, t)), v = x->v[i] / (1 - pow(s->beta2, t));
        if (strcmp(optimizer, "adamw") == 0) x->w[i] *= 1 - x->rate * s->weight_decay;
        x->w[i] -= x->rate * m / (s->epsilon_inside > 0 ? sqrt(v + s->epsilon) : sqrt(v) + s->epsilon);
    } else {
        fail_msg("optimizer %s: its formula is missing in this test", optimizer);
    }
}

static void step_by_hand(model *x, const char *optimizer, const char *schedule, const numbers *s, int step) {
    double g[PARAMETERS];
    differentiate(x, g);
    const double in_gradient = strcmp(optimizer, "adamw") == 0 ? 0 : s->weight_decay;
    x->rate = s->lr * schedule_factor(schedule, s, step) / pow(step + 1, s->decay_power);
    if (s->warmup > 0) x->rate *= fmin(1, (step + 1) / s->warmup);
    for (int i = 0; i < PARAMETERS; i++)
        update(x, optimizer, s, step + 1, i, g[i] + (2 * s->l2_mean / PARAMETERS + in_gradient) * x->w[i]);
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

static bool takes(const char *schedule, const char *key) {
    return ls_key_find(&ls_key_class_find(&ls_schedules, schedule)->keys, key) != NULL;
}

/* Trains by these words and by hand; the parameters by hand go to `last`. */
static void compare(const char *optimizer, const char *schedule, const char *key, const char *value,
                    double last[PARAMETERS]) {
    char own[3][64];
    const char *words[WORDS] = {
        "precision=fp64", "batch=12", "split=12", "shards=4", "network=[flatten, {dense: {units: 3}}]",
        "loss_clip=0", /* the loss by hand has none, and some optimizers' first steps are long */
        own[0],           own[1]};
    int count = 8;
    numbers s = defaults;
    model x = {0};
    double w[PARAMETERS];
    snprintf(own[0], sizeof own[0], "optimizer=%s", optimizer);
    snprintf(own[1], sizeof own[1], "schedule=%s", schedule);
    if (strcmp(schedule, "multistep") == 0) words[count++] = "milestones=" MILESTONES;
    if (takes(schedule, "horizon")) words[count++] = "horizon=" HORIZON;
    if (!key || strcmp(key, "lr") != 0) words[count++] = "lr=0.5";
    for (int i = 0; i < KEYS && key; i++) {
        if (strcmp(keys[i].key, key) != 0) continue;
        const double number = strcmp(value, "true") == 0 ? 1 : strtod(value, NULL);
        memcpy((char *)&s + keys[i].offset, &number, sizeof number);
        snprintf(own[2], sizeof own[2], "%s=%s", key, value);
        words[count++] = own[2];
    }
    ls_comm *comm;
    ls_config *config;
    assert_int_equal(ls_comm_create_self(&comm), LS_OK);
    ls_trainer *t = create(comm, words, count, &config);
    parameters_of(t, x.w);
    for (int step = 0; step < STEPS; step++) {
        if (ls_train_step(t) != LS_OK) fail_msg("%s", ls_error_message());
        step_by_hand(&x, optimizer, schedule, &s, step);
        parameters_of(t, w);
        for (int i = 0; i < PARAMETERS; i++) assert_near("a parameter", words, count, step, w[i], x.w[i]);
        /* what is recorded: the rate that was used, and the loss without the L2 term */
        assert_near("the rate", words, count, step, t->batch_rate, x.rate);
        assert_near("the loss", words, count, step, t->batch_score.loss / SAMPLES, x.loss);
        assert_near("right answers", words, count, step, t->batch_score.correct, x.correct);
        assert_int_equal(t->batch_score.count, SAMPLES);
    }
    memcpy(last, x.w, sizeof x.w);
    ls_trainer_destroy(&t);
    ls_config_destroy(&config);
    ls_comm_destroy(&comm);
}

static const char *other_value(const char *key) {
    for (int i = 0; i < KEYS; i++)
        if (strcmp(keys[i].key, key) == 0) return keys[i].other;
    fail_msg("key %s: another value and its formula are missing in this test", key);
    return NULL;
}

static void compare_with(const char *optimizer, const char *schedule, const char *key,
                         const double usual[PARAMETERS]) {
    double last[PARAMETERS], difference = 0;
    if (strcmp(key, "milestones") == 0 || strcmp(key, "horizon") == 0) return; /* always given */
    compare(optimizer, schedule, key, other_value(key), last);
    for (int i = 0; i < PARAMETERS; i++) difference = fmax(difference, fabs(last[i] - usual[i]));
    if (!(difference > 1e-6)) fail_msg("%s does not matter for %s, %s", key, optimizer, schedule);
}

static void every_key(void **state) {
    static const char *const common[] = {"lr", "decay_power", "warmup", "l2_mean", "weight_decay"};
    (void)state;
    for (int o = 0; o < ls_optimizers.count; o++)
        for (int s = 0; s < ls_schedules.count; s++) {
            const ls_key_class *optimizer = ls_optimizers.list[o], *schedule = ls_schedules.list[s];
            double usual[PARAMETERS];
            compare(optimizer->name, schedule->name, NULL, NULL, usual);
            for (int i = 0; i < 5; i++) compare_with(optimizer->name, schedule->name, common[i], usual);
            for (int i = 0; i < optimizer->keys.count; i++)
                compare_with(optimizer->name, schedule->name, optimizer->keys.keys[i].name, usual);
            for (int i = 0; i < schedule->keys.count; i++)
                compare_with(optimizer->name, schedule->name, schedule->keys.keys[i].name, usual);
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

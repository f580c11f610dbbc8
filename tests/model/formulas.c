#include "model/formulas.h"

#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <string.h>

#include <cmocka.h>

/* --- the values of keys ------------------------------------------------------------------------------- */

static const void *member(const ls_key *key, const void *settings) {
    return (const char *)settings + key->offset;
}

static const ls_key *key_of(const ls_key_class *class, const char *name) {
    const ls_key *key = ls_key_find(&class->keys, name);
    if (!key) fail_msg("%s has no key %s", class->name, name);
    return key;
}

/* Of a number, a switch (0 or 1), or a choice (its place). */
static double value_of(const ls_key_class *class, const void *settings, const char *name) {
    const ls_key *key = key_of(class, name);
    switch (key->type) {
    case LS_KEY_REAL: return *(const double *)member(key, settings);
    case LS_KEY_INT: return (double)*(const int64_t *)member(key, settings);
    case LS_KEY_BOOL: return *(const bool *)member(key, settings);
    case LS_KEY_CHOICE: return *(const int *)member(key, settings);
    default: fail_msg("%s: its key %s is no number", class->name, name); return 0;
    }
}

static const ls_int_list *list_of(const ls_key_class *class, const void *settings, const char *name) {
    const ls_key *key = key_of(class, name);
    if (key->type != LS_KEY_INT_LIST) fail_msg("%s: its key %s is no list", class->name, name);
    return member(key, settings);
}

/* --- formulas ----------------------------------------------------------------------------------------- */

/* Of a horizon and a peak with a way up. */
static double one_cycle(const ls_key_class *class, const void *s, double step) {
    const double first = 1 / value_of(class, s, "start_divisor"),
                 last = first / value_of(class, s, "end_divisor");
    const double horizon = value_of(class, s, "horizon"), top = value_of(class, s, "peak") * horizon - 1;
    const double up = step / top, down = fmin((step - top) / (horizon - 1 - top), 1);
    assert_true(top > 0);
    return step <= top ? 1 + (first - 1) / 2 * (1 + cos(acos(-1) * up))
                       : last + (1 - last) / 2 * (1 + cos(acos(-1) * down));
}

double formula_factor(const ls_schedule *schedule, int64_t step, int64_t epoch) {
    const ls_key_class *class = &schedule->class->choice;
    const void *s = schedule->settings;
    if (strcmp(class->name, "constant") == 0) return 1;
    if (strcmp(class->name, "exponential") == 0) return pow(value_of(class, s, "gamma"), (double)epoch);
    if (strcmp(class->name, "multistep") == 0) {
        const ls_int_list *milestones = list_of(class, s, "milestones");
        int falls = 0;
        for (int i = 0; i < milestones->count; i++) falls += step >= milestones->value[i];
        return pow(value_of(class, s, "gamma"), falls);
    }
    if (strcmp(class->name, "cosine") == 0 || strcmp(class->name, "linear") == 0) {
        const double floor = value_of(class, s, "floor"), horizon = value_of(class, s, "horizon");
        const double way = fmin((double)step, horizon) / horizon;
        const double left = strcmp(class->name, "cosine") == 0 ? (1 + cos(acos(-1) * way)) / 2 : 1 - way;
        return floor + (1 - floor) * left;
    }
    if (strcmp(class->name, "one_cycle") == 0) return one_cycle(class, s, (double)step);
    fail_msg("schedule %s: its formula is missing in tests/model/formulas.c", class->name);
    return 0;
}

static double adam(const ls_key_class *class, const void *s, uint64_t step, double g, bool inside, double *m,
                   double *v) {
    const double beta1 = value_of(class, s, "beta1"), beta2 = value_of(class, s, "beta2");
    const double epsilon = value_of(class, s, "epsilon");
    *m = beta1 * *m + (1 - beta1) * g;
    *v = beta2 * *v + (1 - beta2) * g * g;
    const double mean = *m / (1 - pow(beta1, (double)step)), square = *v / (1 - pow(beta2, (double)step));
    return mean / (inside ? sqrt(square + epsilon) : sqrt(square) + epsilon);
}

double formula_direction(const ls_optimizer *optimizer, uint64_t step, double parameters, double w, double g,
                         double *m, double *v) {
    const ls_key_class *class = &optimizer->class->choice;
    const void *s = optimizer->settings;
    const double l2 = 2 * optimizer->l2_mean / parameters * w, decay = optimizer->weight_decay * w;
    if (strcmp(class->name, "adamw") == 0) return adam(class, s, step, g + l2, false, m, v) + decay;
    g += l2 + decay;
    if (strcmp(class->name, "sgd") == 0) return g;
    if (strcmp(class->name, "momentum") == 0) {
        const double momentum = value_of(class, s, "momentum");
        *m = momentum * *m + g;
        return value_of(class, s, "nesterov") > 0 ? g + momentum * *m : *m;
    }
    if (strcmp(class->name, "adam") == 0)
        return adam(class, s, step, g, value_of(class, s, "epsilon_inside") > 0, m, v);
    if (strcmp(class->name, "rmsprop") == 0) {
        const double alpha = value_of(class, s, "alpha");
        *v = alpha * *v + (1 - alpha) * g * g;
        return g / (sqrt(*v) + value_of(class, s, "epsilon"));
    }
    fail_msg("optimizer %s: its formula is missing in tests/model/formulas.c", class->name);
    return 0;
}

/* Two runs: the rows of their metrics, and the first step of their trails at which the fingerprints differ.
 */
#include <inttypes.h>
#include <math.h>
#include <string.h>

#include "core/elementary.h"
#include "inspect/compare.h"
#include "io/metrics_layout.h"

/* --- trails ---------------------------------------------------------------------------------------- */

typedef struct trail_match {
    int64_t common; /* steps that both have */
    bool named;     /* the same tensors */
    bool differs;
    uint64_t step, before; /* the first that differs; the common one before it, 0: none */
    int64_t tensor;        /* the first that differs there; -1: only the fingerprint */
} trail_match;

static bool same_tensors(const ls_trail *a, const ls_trail *b) {
    bool same = a->tensors == b->tensors;
    for (int64_t i = 0; same && i < a->tensors; i++) same = strcmp(a->names[i], b->names[i]) == 0;
    return same;
}

static int64_t first_tensor(const ls_trail *a, int64_t row_a, const ls_trail *b, int64_t row_b) {
    for (int64_t i = 0; i < a->tensors; i++)
        if (a->hash[row_a * a->tensors + i] != b->hash[row_b * b->tensors + i]) return i;
    return -1;
}

/* Walks along both trails, whose steps increase, and stops at the first common step that differs. */
static trail_match compare_trails(const ls_trail *a, const ls_trail *b) {
    trail_match m = {.named = same_tensors(a, b)};
    for (int64_t i = 0, j = 0; m.named && !m.differs && i < a->length && j < b->length;) {
        if (a->step[i] != b->step[j]) {
            a->step[i] < b->step[j] ? i++ : j++;
            continue;
        }
        m.tensor = first_tensor(a, i, b, j);
        m.differs = m.tensor >= 0 || a->fingerprint[i] != b->fingerprint[j];
        if (!m.differs) m.before = a->step[i];
        m.step = a->step[i];
        m.common++;
        i++, j++;
    }
    return m;
}

/* Says why the trails cannot decide; true if they can. */
static bool trails_usable(const ls_metrics_file *a, const ls_metrics_file *b, const trail_match *m,
                          FILE *out) {
    static const char only[] = "only losses and accuracies could be compared";
    if (a->trail.length == 0 || b->trail.length == 0)
        fprintf(out, "trail: %s (trail_interval=0): %s\n",
                a->trail.length > 0   ? "B has none"
                : b->trail.length > 0 ? "A has none"
                                      : "neither run has one",
                only);
    else if (!m->named)
        fprintf(out, "trail: the runs have different tensors: %s\n", only);
    else if (m->common == 0)
        fprintf(out, "trail: no step is in both (other trail_interval): %s\n", only);
    else
        return true;
    return false;
}

static void print_trail_difference(const ls_trail *trail, const trail_match *m, FILE *out) {
    fprintf(out, "different: first at step %" PRIu64 ", %s%s", m->step,
            m->tensor >= 0 ? "tensor " : "the fingerprint", m->tensor >= 0 ? trail->names[m->tensor] : "");
    if (m->before > 0)
        fprintf(out, " (equal at step %" PRIu64 ")\n", m->before);
    else
        fprintf(out, " (the first step to compare)\n");
}

/* --- rows ------------------------------------------------------------------------------------------ */

typedef struct table {
    const ls_metrics_column *columns;
    int column_count;
    size_t row_size;
    const char *what;
} table;

static const table step_table = {ls_step_columns, LS_STEP_COLUMNS, sizeof(ls_step_row), "step"};
static const table test_table = {ls_test_columns, LS_TEST_ROW_COLUMNS, sizeof(ls_test_row), "test"};
static const table epoch_table = {ls_epoch_columns, LS_EPOCH_COLUMNS, sizeof(ls_epoch_row), "epoch"};

static double real_at(const table *t, const void *rows, int64_t row, int column) {
    double value;
    memcpy(&value, (const char *)rows + (size_t)row * t->row_size + t->columns[column].offset, sizeof value);
    return value;
}

static uint64_t counter_at(const table *t, const void *rows, int64_t row) {
    uint64_t value;
    memcpy(&value, (const char *)rows + (size_t)row * t->row_size + t->columns[0].offset, sizeof value);
    return value;
}

/* Bits, so that -0 is not 0; but NaN, which stands for "not measured", is NaN. */
static bool same_real(double a, double b) {
    return (isnan(a) && isnan(b)) || memcmp(&a, &b, sizeof a) == 0;
}

static bool same_cell(const table *t, const void *a, const void *b, int64_t row, int column) {
    if (ls_metrics_column_is_provenance(&t->columns[column])) return true;
    if (column == 0) return counter_at(t, a, row) == counter_at(t, b, row);
    return same_real(real_at(t, a, row, column), real_at(t, b, row, column));
}

static void print_row_difference(const table *t, const void *a, const void *b, int64_t row, FILE *out) {
    fprintf(out, "%s rows: first difference in %s %" PRIu64 ":", t->what,
            ls_metrics_column_name(&t->columns[0]), counter_at(t, a, row));
    for (int i = 0; i < t->column_count; i++) {
        if (same_cell(t, a, b, row, i)) continue;
        if (i == 0)
            fprintf(out, " the other is %" PRIu64, counter_at(t, b, row));
        else
            fprintf(out, " %s %.17g | %.17g", ls_metrics_column_name(&t->columns[i]),
                    ls_one_nan(real_at(t, a, row, i)), ls_one_nan(real_at(t, b, row, i)));
    }
    fprintf(out, "\n");
}

/* True if the first `count` rows are equal. */
static bool compare_rows(const table *t, const void *a, const void *b, int64_t count, FILE *out) {
    for (int64_t row = 0; row < count; row++)
        for (int i = 0; i < t->column_count; i++)
            if (!same_cell(t, a, b, row, i)) {
                print_row_difference(t, a, b, row, out);
                return false;
            }
    return true;
}

/* Tests at the epochs that both have: how often a run is tested may differ. True if they are equal. */
static bool compare_test_rows(const ls_metrics_file *a, const ls_metrics_file *b, FILE *out) {
    for (int64_t i = 0, j = 0; i < a->test_count && j < b->test_count;) {
        const ls_test_row *x = &a->tests[i], *y = &b->tests[j];
        if (x->epoch == y->epoch && !compare_rows(&test_table, x, y, 1, out)) return false;
        i += x->epoch <= y->epoch;
        j += y->epoch <= x->epoch;
    }
    return true;
}

static bool compare_tests(const ls_metrics_file *a, const ls_metrics_file *b, FILE *out) {
    if (same_real(a->test_loss, b->test_loss) && same_real(a->test_accuracy, b->test_accuracy)) return true;
    fprintf(out, "test: loss %.17g | %.17g accuracy %.17g | %.17g\n", ls_one_nan(a->test_loss),
            ls_one_nan(b->test_loss), ls_one_nan(a->test_accuracy), ls_one_nan(b->test_accuracy));
    return false;
}

/* --- runs ------------------------------------------------------------------------------------------ */

static int64_t smaller(int64_t a, int64_t b) {
    return a < b ? a : b;
}

/* Equal in all that both have: says over how much, and whether one has more. */
static void conclude_equal(const ls_metrics_file *a, const ls_metrics_file *b, const trail_match *trail,
                           bool by_trail, FILE *out, bool *different) {
    int64_t steps = smaller(a->step_count, b->step_count), epochs = smaller(a->epoch_count, b->epoch_count);
    bool same_length =
        a->step_count == b->step_count && a->epoch_count == b->epoch_count && a->has_test == b->has_test;
    bool longer_is_a = a->step_count != b->step_count     ? a->step_count > b->step_count
                       : a->epoch_count != b->epoch_count ? a->epoch_count > b->epoch_count
                                                          : a->has_test;
    fprintf(out, "%s: losses and accuracies of %" PRId64 " steps and %" PRId64 " epochs",
            same_length ? "equal" : "equal as far as both go", steps, epochs);
    if (by_trail)
        fprintf(out, ", %" PRId64 " tensors at %" PRId64 " steps of the trail", a->trail.tensors,
                trail->common);
    if (a->has_test && b->has_test && same_length) fprintf(out, ", the test result");
    fprintf(out, "\n");
    if (same_length) return;
    const ls_metrics_file *longer = longer_is_a ? a : b;
    fprintf(out, "different: %s goes further, to %" PRId64 " steps, %" PRId64 " epochs and %s test result\n",
            longer_is_a ? "A" : "B", longer->step_count, longer->epoch_count, longer->has_test ? "a" : "no");
    *different = true;
}

void ls_compare_runs(const ls_metrics_file *a, const ls_metrics_file *b, FILE *out, bool *different) {
    trail_match trail = compare_trails(&a->trail, &b->trail);
    bool by_trail = trails_usable(a, b, &trail, out);
    bool rows = compare_rows(&step_table, a->steps, b->steps, smaller(a->step_count, b->step_count), out);
    rows = compare_rows(&epoch_table, a->epochs, b->epochs, smaller(a->epoch_count, b->epoch_count), out) &&
           rows;
    rows = compare_test_rows(a, b, out) && rows;
    if (a->has_test && b->has_test && a->step_count == b->step_count) rows = compare_tests(a, b, out) && rows;

    if (by_trail && trail.differs)
        print_trail_difference(&a->trail, &trail, out);
    else if (!rows)
        fprintf(out, "different: in the rows above%s\n", by_trail ? ", though the trails are equal" : "");
    else if (a->trail.length > 0 && b->trail.length > 0 && !trail.named)
        fprintf(out, "different: in their tensors, though the rows are equal\n");
    else {
        conclude_equal(a, b, &trail, by_trail, out, different);
        return;
    }
    *different = true;
}

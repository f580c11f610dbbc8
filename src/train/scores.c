#include "train/scores.h"

#include <math.h>
#include <stdlib.h>

double ls_accuracy_uncertainty(double correct, int64_t n) {
    double accuracy = correct / (double)n;
    return sqrt(accuracy * (1 - accuracy) / (double)n);
}

static int64_t label_of(const ls_scores *s, int64_t position) {
    return s->set->labels[s->samples[position]];
}

/* Is position a a worse mistake than position b? */
static bool worse(const ls_scores *s, int64_t a, int64_t b) {
    double loss_a = s->outcomes[a].loss, loss_b = s->outcomes[b].loss;
    return loss_a != loss_b ? loss_a > loss_b : s->samples[a] < s->samples[b];
}

/* Puts a mistake into the list of the worst, which stays in order. */
static void note_mistake(ls_scores *s, int64_t position) {
    int at = s->worst_count;
    if (at == LS_WORST_MISTAKES && !worse(s, position, s->worst[--at])) return;
    if (s->worst_count < LS_WORST_MISTAKES) s->worst_count++;
    for (; at > 0 && worse(s, position, s->worst[at - 1]); at--) s->worst[at] = s->worst[at - 1];
    s->worst[at] = position;
}

static void count_samples(ls_scores *s) {
    for (int64_t i = 0; i < s->count; i++) {
        int64_t label = label_of(s, i), predicted = s->outcomes[i].predicted;
        s->confusion[label * s->classes + predicted]++;
        if (label != predicted) note_mistake(s, i);
    }
}

ls_status ls_scores_collect(ls_trainer *t, const char *name, const ls_dataset *set, const uint32_t *samples,
                            int64_t count, ls_scores *s) {
    int64_t classes = ls_tensor_channels(t->evaluating.loss->in[0]);
    *s = (ls_scores){.name = name, .set = set, .samples = samples, .count = count, .classes = classes};
    ls_status status =
        ls_calloc(&s->outcomes, (size_t)count, sizeof *s->outcomes, "the results of all samples");
    if (status == LS_OK)
        status = ls_calloc(&s->confusion, (size_t)(classes * classes), sizeof *s->confusion,
                           "the confusion matrix");
    status = ls_comm_agree(t->comm, status);
    if (status == LS_OK) status = ls_evaluate_each(t, set, samples, count, &s->total, s->outcomes);
    if (status != LS_OK)
        ls_scores_destroy(s);
    else
        count_samples(s);
    return status;
}

void ls_scores_destroy(ls_scores *s) {
    free(s->outcomes);
    free(s->confusion);
    *s = (ls_scores){0};
}

int64_t ls_confusion_samples(const int64_t *confusion, int64_t classes, int64_t class) {
    int64_t sum = 0;
    for (int64_t k = 0; k < classes; k++) sum += confusion[class * classes + k];
    return sum;
}

/* --- for people ----------------------------------------------------------------------------------------- */

void ls_scores_print_line(const ls_scores *s, FILE *out) {
    if (s->count == 0) return;
    double n = (double)s->count;
    fprintf(out, "%-10s %6lld samples  loss %.6f  accuracy %.4f +- %.4f\n", s->name, (long long)s->count,
            s->total.loss / n, s->total.correct / n, ls_accuracy_uncertainty(s->total.correct, s->count));
}

/* A matrix that is wider than a terminal helps nobody: of many classes only their accuracies are printed. */
enum { MOST_COLUMNS = 20 };

static void print_classes(const ls_scores *s, FILE *out) {
    int64_t columns = s->classes <= MOST_COLUMNS ? s->classes : 0;
    fprintf(out, "\n%s, %s\n  class", s->name,
            columns ? "a row for each true class, a column for each predicted one" : "by true class");
    for (int64_t k = 0; k < columns; k++) fprintf(out, "%6lld", (long long)k);
    fprintf(out, "  samples  accuracy\n");
    for (int64_t class = 0; class < s->classes; class ++) {
        int64_t n = ls_confusion_samples(s->confusion, s->classes, class);
        double correct = (double)s->confusion[class * s->classes + class];
        fprintf(out, "  %5lld", (long long)class);
        for (int64_t k = 0; k < columns; k++)
            fprintf(out, "%6lld", (long long)s->confusion[class * s->classes + k]);
        if (n == 0)
            fprintf(out, "  %7d  -\n", 0);
        else
            fprintf(out, "  %7lld  %.4f +- %.4f\n", (long long)n, correct / (double)n,
                    ls_accuracy_uncertainty(correct, n));
    }
}

static void print_worst(const ls_scores *s, FILE *out) {
    fprintf(out, "\n%s, the worst mistakes%s\n", s->name, s->worst_count ? "" : ": none");
    if (s->worst_count) fprintf(out, "  sample  class  predicted  probability     loss\n");
    for (int i = 0; i < s->worst_count; i++) {
        const ls_outcome *o = &s->outcomes[s->worst[i]];
        fprintf(out, "  %6lld  %5lld  %9lld  %11.6f  %7.4f\n", (long long)s->samples[s->worst[i]],
                (long long)label_of(s, s->worst[i]), (long long)o->predicted, o->probability, o->loss);
    }
}

void ls_scores_print_details(const ls_scores *s, FILE *out) {
    if (s->count == 0) return;
    print_classes(s, out);
    print_worst(s, out);
}

#include "train/progress.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "core/clock.h"

enum { ETA_TEXT = 48 };

/* Is standard output a terminal that somebody looks at? Under mpirun every rank has a pseudo-terminal for its
 * output, whatever mpirun's own goes to; on the launch node mpirun is the parent, and its output tells. */
static bool on_terminal(void) {
    char path[64], target[256];
    if (!getenv("OMPI_COMM_WORLD_SIZE")) return isatty(STDOUT_FILENO) == 1;
    snprintf(path, sizeof path, "/proc/%ld/fd/1", (long)getppid());
    ssize_t length = readlink(path, target, sizeof target - 1);
    if (length < 0) return false;
    target[length] = '\0';
    return strncmp(target, "/dev/pts/", 9) == 0 || strncmp(target, "/dev/tty", 8) == 0;
}

void ls_progress_begin(ls_progress *p, const ls_trainer *t, int64_t resumed) {
    *p = (ls_progress){.kind = t->options.progress,
                       .first_step = t->step,
                       .waited = t->comm->wait_seconds,
                       .resumed = resumed};
    if (p->kind == LS_PROGRESS_AUTO) p->kind = on_terminal() ? LS_PROGRESS_BAR : LS_PROGRESS_LINE;
    if (t->comm->rank != 0) p->kind = LS_PROGRESS_NONE;
    p->begin = p->epoch_begin = ls_clock();
}

/* Steps that the run will have taken at its end. */
static int64_t last_step(const ls_trainer *t) {
    int64_t all = t->options.epochs * ls_trainer_batches_per_epoch(t);
    return t->options.steps > 0 && t->options.steps < all ? t->options.steps : all;
}

static const char *remaining(const ls_progress *p, const ls_trainer *t, char *text, size_t size) {
    double done = (double)(t->step - p->first_step), left = (double)(last_step(t) - t->step);
    double seconds = done > 0 ? (ls_clock() - p->begin) / done * left : 0;
    long s = (long)(seconds + 0.5);
    snprintf(text, size, "%02ld:%02ld:%02ld", s / 3600, s / 60 % 60, s % 60);
    return text;
}

void ls_progress_step(ls_progress *p, const ls_trainer *t) {
    enum { WIDTH = 30 };
    static const double redraw_seconds = 0.1;
    double now = ls_clock();
    if (p->kind != LS_PROGRESS_BAR || now - p->drawn < redraw_seconds || t->epoch_score.count == 0) return;
    char bar[WIDTH + 1], eta[ETA_TEXT];
    int64_t batches = ls_trainer_batches_per_epoch(t), done = t->batch_in_epoch ? t->batch_in_epoch : batches;
    int filled = (int)(done * WIDTH / batches);
    for (int i = 0; i < WIDTH; i++) bar[i] = i < filled ? '#' : '.';
    bar[WIDTH] = '\0';
    printf("\repoch %lld [%s] step %lld | loss %.4f acc %.4f | ETA %s ",
           (long long)(t->batch_in_epoch ? t->epoch + 1 : t->epoch), bar, (long long)t->step,
           t->epoch_score.loss / (double)t->epoch_score.count,
           t->epoch_score.correct / (double)t->epoch_score.count, remaining(p, t, eta, sizeof eta));
    fflush(stdout);
    p->drawn = now;
    p->bar_shown = true;
}

void ls_progress_trained(ls_progress *p) {
    p->trained = ls_clock();
}

void ls_progress_epoch(ls_progress *p, const ls_trainer *t, ls_epoch_row *row, const ls_test_row *test) {
    double now = ls_clock(), waited = t->comm->wait_seconds;
    char eta[ETA_TEXT], validation[64] = "", tested[64] = "";
    row->seconds = now - p->epoch_begin;
    const double training = p->trained - p->epoch_begin;
    row->images_per_second = training > 0 ? (double)(t->epoch_score.count - p->resumed) / training : 0;
    p->resumed = 0;
    row->communication_share = (waited - p->waited) / row->seconds;
    p->epoch_begin = now;
    p->waited = waited;
    if (p->kind == LS_PROGRESS_NONE) return;
    if (!isnan(row->validation_loss))
        snprintf(validation, sizeof validation, " | val loss %.4f acc %.4f", row->validation_loss,
                 row->validation_accuracy);
    if (test) snprintf(tested, sizeof tested, " | test loss %.4f acc %.4f", test->loss, test->accuracy);
    if (p->bar_shown) printf("\r\033[K");
    printf(
        "epoch %lld/%lld | train loss %.4f acc %.4f%s%s | lr %.2e | %.0f images/s | comm %.0f%% | ETA %s\n",
        (long long)row->epoch, (long long)t->options.epochs, row->train_loss, row->train_accuracy, validation,
        tested, row->learning_rate, row->images_per_second, 100 * row->communication_share,
        remaining(p, t, eta, sizeof eta));
    fflush(stdout);
    p->bar_shown = false;
}

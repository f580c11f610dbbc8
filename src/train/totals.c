/* What rides along with the sum of a batch over all ranks, of training or of evaluation. */
#include "layers/softmax_cross_entropy/softmax_cross_entropy.h"
#include "train/signals.h"
#include "train/trainer.h"

_Static_assert((int)LS_TOTAL_LOSS == (int)LS_LOSS_SUM && (int)LS_TOTAL_CORRECT == (int)LS_CORRECT_SUM &&
                   (int)LS_TOTAL_STOP == (int)LS_LOSS_SUMS,
               "the loss op's sums come first");

/* A flag is this rank's first node's; the other nodes' stay 0. */
ls_status ls_trainer_totals(ls_trainer *t, const ls_program *p, double *sums, ls_partial totals[2]) {
    const double *losses = p->loss->nodes;
    if (!t->backend->host_memory) {
        LS_TRY(t->backend->download(t->backend, t->losses, losses,
                                    (size_t)p->shards.node_count * LS_LOSS_SUMS * sizeof *losses));
        losses = t->losses;
    }
    t->flags[0] = ls_signals_stop_wanted();
    t->flags[1] = t->trouble != LS_OK;
    totals[0] = (ls_partial){.nodes = losses, .out = sums, .length = LS_LOSS_SUMS};
    totals[1] =
        (ls_partial){.nodes = t->flags, .out = sums + LS_LOSS_SUMS, .length = LS_STEP_TOTALS - LS_LOSS_SUMS};
    return LS_OK;
}

void ls_trainer_score(ls_trainer *t, int64_t samples, const double *sums, ls_score *batch) {
    *batch = (ls_score){sums[LS_TOTAL_LOSS], sums[LS_TOTAL_CORRECT], samples};
    t->stop_agreed = sums[LS_TOTAL_STOP] > 0;
}

ls_status ls_trainer_take_totals(ls_trainer *t, const ls_program *p, const double *sums, ls_score *batch) {
    ls_trainer_score(t, p->shards.batch, sums, batch);
    return sums[LS_TOTAL_TROUBLE] > 0 ? ls_comm_agree(t->comm, t->trouble) : LS_OK;
}

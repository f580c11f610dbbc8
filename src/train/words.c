/* What rides along with the sum of a batch over all ranks, of training or of evaluation. */
#include "layers/softmax_cross_entropy/softmax_cross_entropy.h"
#include "train/signals.h"
#include "train/trainer.h"

_Static_assert((int)LS_WORD_LOSS == (int)LS_LOSS_SUM && (int)LS_WORD_CORRECT == (int)LS_CORRECT_SUM &&
                   (int)LS_WORD_STOP == (int)LS_LOSS_SUMS,
               "the loss op's sums come first");

/* A flag is this rank's first node's; the other nodes' stay 0. */
void ls_trainer_words(ls_trainer *t, const ls_program *p, double *sums, ls_partial words[2]) {
    t->words[0] = ls_signals_stop_wanted();
    t->words[1] = t->trouble != LS_OK;
    words[0] = (ls_partial){.nodes = p->loss->nodes, .out = sums, .length = LS_LOSS_SUMS};
    words[1] =
        (ls_partial){.nodes = t->words, .out = sums + LS_LOSS_SUMS, .length = LS_STEP_WORDS - LS_LOSS_SUMS};
}

void ls_trainer_score(ls_trainer *t, const ls_program *p, const double *sums, ls_score *batch) {
    *batch = (ls_score){sums[LS_WORD_LOSS], sums[LS_WORD_CORRECT], p->shards.batch};
    t->stop_agreed = sums[LS_WORD_STOP] > 0;
}

ls_status ls_trainer_take_words(ls_trainer *t, const ls_program *p, const double *sums, ls_score *batch) {
    ls_trainer_score(t, p, sums, batch);
    return sums[LS_WORD_TROUBLE] > 0 ? ls_comm_agree(t->comm, t->trouble) : LS_OK;
}

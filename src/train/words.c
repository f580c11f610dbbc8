/* What rides along with the sum of a batch over all ranks, of training or of evaluation. */
#include <string.h>

#include "layers/softmax_cross_entropy/softmax_cross_entropy.h"
#include "train/signals.h"
#include "train/trainer.h"

ls_partial ls_trainer_words(ls_trainer *t, const ls_program *p, double *sums) {
    const double *loss = p->loss->nodes;
    double *words = t->words;
    int nodes = p->shards.node_count;
    memset(words, 0, (size_t)nodes * LS_STEP_WORDS * sizeof *words);
    for (int n = 0; n < nodes; n++) {
        words[n * LS_STEP_WORDS + LS_WORD_LOSS] = loss[n * LS_LOSS_SUMS + LS_LOSS_SUM];
        words[n * LS_STEP_WORDS + LS_WORD_CORRECT] = loss[n * LS_LOSS_SUMS + LS_CORRECT_SUM];
    }
    words[LS_WORD_STOP] = ls_signals_stop_wanted();
    words[LS_WORD_TROUBLE] = t->trouble != LS_OK;
    return (ls_partial){words, sums, LS_STEP_WORDS};
}

ls_status ls_trainer_take_words(ls_trainer *t, const ls_program *p, const double *sums, ls_score *batch) {
    *batch = (ls_score){sums[LS_WORD_LOSS], sums[LS_WORD_CORRECT], p->shards.batch};
    t->stop_agreed = sums[LS_WORD_STOP] > 0;
    return sums[LS_WORD_TROUBLE] > 0 ? ls_comm_agree(t->comm, t->trouble) : LS_OK;
}

/* What a run would be, before anything of size is read or allocated: its options, its network, and the sizes
 * of its data. So a network that cannot be is refused at once, and `lockstep inspect CONFIG` can tell what it
 * costs. */
#ifndef LOCKSTEP_TRAIN_PREVIEW_H
#define LOCKSTEP_TRAIN_PREVIEW_H

#include "core/dataset.h"
#include "io/config.h"
#include "model/network.h"
#include "train/options.h"

typedef struct ls_preview {
    ls_options options;
    ls_network *network; /* declared, not allocated; NULL: see ls_preview_create() */
    ls_dataset sizes;    /* of the training files: count, height, width, classes */
    char *folder; /* that they were read from; NULL: no data can be read, and MNIST's sizes are assumed */
} ls_preview;

/* Where no data is found, MNIST's sizes are assumed, if they may be; otherwise there is no network, and the
 * reader of the data will say why. LS_USAGE with file and line: a network that does not fit the data, or
 * MNIST's images where they are assumed, which the message then says; or one that cannot be trained on a batch
 * of the run. Local. */
ls_status ls_preview_create(const ls_config *config, bool assume, ls_preview *preview);
/* Safe twice. */
void ls_preview_destroy(ls_preview *preview);

/* Only whether it can be. */
ls_status ls_preview_check(const ls_config *config, bool assume);

#endif

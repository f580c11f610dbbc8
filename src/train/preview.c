#include "train/preview.h"

#include <stdio.h>
#include <stdlib.h>

#include "train/data.h"

enum { MNIST_SAMPLES = 60000, MNIST_SIZE = 28, MNIST_CLASSES = 10 };

/* Batches of so many samples, or a smaller last one that is reached: what the network can be trained on. */
static ls_status check_batches(const ls_options *o, const ls_network *network, int64_t samples, int64_t steps,
                               const char *of) {
    char why[1024];
    const int64_t last = samples % o->batch, batches = (samples + o->batch - 1) / o->batch;
    const bool whole = last == 0 || (steps > 0 && steps < batches);
    ls_status status = ls_network_check_batch(network, whole ? o->batch : last);
    if (status != LS_USAGE) return status;
    snprintf(why, sizeof why, "%s", ls_error_message());
    if (whole) return ls_fail(LS_USAGE, "%s (batch=%lld)", why, (long long)o->batch);
    return ls_fail(LS_USAGE, "%s (the last batch of %s: samples %lld, batch=%lld)", why, of,
                   (long long)samples, (long long)o->batch);
}

/* What is trained on, and where statistics are collected, which takes all training samples: those batches. */
static ls_status check_training(const ls_preview *p) {
    const ls_options *o = &p->options;
    const int64_t epoch = o->samples_per_epoch > 0 ? o->samples_per_epoch : o->split;
    LS_TRY(check_batches(o, p->network, epoch, o->steps, "an epoch"));
    if (!ls_network_collects(p->network)) return LS_OK;
    return check_batches(o, p->network, o->split, 0, "the collection of statistics");
}

static ls_status create_network(const ls_config *config, ls_preview *p) {
    ls_status status =
        ls_network_create(config, p->sizes.height, p->sizes.width, p->sizes.classes, &p->network);
    if (status == LS_OK) return check_training(p);
    if (status != LS_USAGE || p->folder) return status;
    char why[1024];
    snprintf(why, sizeof why, "%s", ls_error_message());
    return ls_fail(LS_USAGE, "%s (for images of %dx%d in %d classes, since no data is found)", why,
                   p->sizes.height, p->sizes.width, p->sizes.classes);
}

/* All but the network. */
static ls_status read_sizes(const ls_config *config, ls_preview *p) {
    *p = (ls_preview){0};
    LS_TRY(ls_config_settings(config, &p->options));
    if (ls_data_sizes(p->options.data, &p->sizes, &p->folder) != LS_OK)
        p->sizes = (ls_dataset){
            .count = MNIST_SAMPLES, .height = MNIST_SIZE, .width = MNIST_SIZE, .classes = MNIST_CLASSES};
    return LS_OK;
}

ls_status ls_preview_create(const ls_config *config, bool assume, ls_preview *p) {
    ls_status status = read_sizes(config, p);
    if (status == LS_OK && (assume || p->folder)) status = create_network(config, p);
    if (status != LS_OK) ls_preview_destroy(p);
    return status;
}

void ls_preview_destroy(ls_preview *p) {
    ls_network_destroy(&p->network);
    ls_keys_free(&ls_option_keys, &p->options);
    free(p->folder);
    *p = (ls_preview){0};
}

ls_status ls_preview_check(const ls_config *config, bool assume) {
    ls_preview p;
    LS_TRY(ls_preview_create(config, assume, &p));
    ls_preview_destroy(&p);
    return LS_OK;
}

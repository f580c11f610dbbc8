#include "train/outcomes.h"

#include <stdlib.h>

#include "layers/softmax_cross_entropy/softmax_cross_entropy.h"

/* The loss's tensors of the local rows, on the host. */
typedef struct host_rows {
    void *logits, *probabilities; /* [rows][classes] */
    void *loss;                   /* [rows] */
} host_rows;

static void free_rows(host_rows *host) {
    free(host->logits);
    free(host->probabilities);
    free(host->loss);
}

static ls_status download(const ls_backend *backend, void *host, const void *device, size_t size) {
    void **to = host;
    LS_TRY(ls_calloc(to, size, 1, "the results of a batch"));
    return backend->download(backend, *to, device, size);
}

static ls_status download_rows(const ls_backend *backend, const ls_program *p, int64_t rows,
                               host_rows *host) {
    const ls_tensor *logits = p->loss->in[0];
    size_t row = (size_t)ls_tensor_channels(logits) * ls_dtype_size(backend->dtype);
    LS_TRY(download(backend, &host->logits, logits->value, (size_t)rows * row));
    LS_TRY(download(backend, &host->probabilities, ls_softmax_probabilities(p->loss), (size_t)rows * row));
    return download(backend, &host->loss, p->loss->out->value, (size_t)rows * ls_dtype_size(backend->dtype));
}

static double number(ls_dtype dtype, const void *from, int64_t at) {
    return dtype == LS_FP64 ? ((const double *)from)[at] : (double)((const float *)from)[at];
}

static ls_outcome outcome_of(ls_dtype dtype, const host_rows *host, int64_t row, int64_t classes) {
    int64_t largest = row * classes;
    for (int64_t i = largest + 1; i < (row + 1) * classes; i++)
        if (number(dtype, host->logits, i) > number(dtype, host->logits, largest)) largest = i;
    return (ls_outcome){.loss = number(dtype, host->loss, row),
                        .probability = number(dtype, host->probabilities, largest),
                        .predicted = largest - row * classes};
}

/* Each rank's rows to their places in the batch. */
static ls_status gather(ls_comm *comm, const ls_shards *shards, const ls_outcome *own, ls_outcome *all) {
    int counts[LS_MAX_SHARDS], displacements[LS_MAX_SHARDS];
    for (int rank = 0; rank < comm->size; rank++) {
        ls_shards theirs;
        LS_TRY(ls_shards_create(&theirs, shards->total, rank, comm->size, shards->batch));
        counts[rank] = (int)((size_t)ls_shards_rows(&theirs) * sizeof *own);
        displacements[rank] = (int)((size_t)theirs.offset * sizeof *own);
    }
    return comm->class->allgather(comm, own, all, counts, displacements);
}

ls_status ls_gather_outcomes(ls_trainer *t, const ls_program *p, ls_outcome *outcomes) {
    int64_t rows = ls_shards_rows(&p->shards), classes = ls_tensor_channels(p->loss->in[0]);
    host_rows host = {0};
    ls_outcome *own = NULL;
    ls_status status = ls_calloc(&own, (size_t)rows, sizeof *own, "the results of a batch");
    if (status == LS_OK) status = download_rows(t->backend, p, rows, &host);
    for (int64_t row = 0; row < rows && status == LS_OK; row++)
        own[row] = outcome_of(t->backend->dtype, &host, row, classes);
    status = ls_comm_agree(t->comm, status);
    if (status == LS_OK) status = gather(t->comm, &p->shards, own, outcomes);
    free_rows(&host);
    free(own);
    return status;
}

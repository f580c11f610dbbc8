/* A result file (experiments/reproduction/results.py writes them) without the checkpoints of its run: trained
 * once more, from the seed to the end. */
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "io/json_read.h"
#include "train/audit.h"
#include "train/audited.h"

typedef struct result {
    char *config; /* all ranks */
    char fingerprint[17], digest[17];
    ls_metrics_file recorded; /* rank 0: the epochs of the history alone */
} result;

static ls_status take_hash(ls_json_file *file, const char *path, const char *key, char text[17]) {
    const char *found;
    LS_TRY(ls_json_text_of(file, key, &found));
    if (strlen(found) != 16 || found[strspn(found, "0123456789abcdef")])
        return ls_fail(LS_BAD_DATA, "%s: %s: expected 16 hexadecimal digits", path, key);
    memcpy(text, found, 17);
    return LS_OK;
}

/* The history as rows of epochs. */
static ls_status take_history(ls_json_file *file, const char *path, ls_metrics_file *m) {
    static const struct {
        const char *key;
        size_t offset;
    } columns[] = {{"train_loss", offsetof(ls_epoch_row, train_loss)},
                   {"train_accuracy", offsetof(ls_epoch_row, train_accuracy)},
                   {"validation_loss", offsetof(ls_epoch_row, validation_loss)},
                   {"validation_accuracy", offsetof(ls_epoch_row, validation_accuracy)},
                   {"learning_rate", offsetof(ls_epoch_row, learning_rate)}};
    for (size_t c = 0; c < sizeof columns / sizeof *columns; c++) {
        double *values;
        size_t count;
        LS_TRY(ls_json_reals_of(file, "history", columns[c].key, &values, &count));
        ls_status status = LS_OK;
        if (c == 0) {
            status = ls_calloc(&m->epochs, count, sizeof *m->epochs, "the history");
            m->epoch_count = (int64_t)count;
        }
        if (status == LS_OK && (int64_t)count != m->epoch_count)
            status = ls_fail(LS_BAD_DATA, "%s: history: %s has another length than train_loss", path,
                             columns[c].key);
        for (size_t i = 0; status == LS_OK && i < count; i++) {
            m->epochs[i].epoch = i + 1;
            memcpy((char *)&m->epochs[i] + columns[c].offset, &values[i], sizeof *values);
        }
        free(values);
        LS_TRY(status);
    }
    return LS_OK;
}

static ls_status take_test(ls_json_file *file, const char *path, ls_metrics_file *m) {
    double *values[2] = {NULL, NULL};
    size_t counts[2];
    ls_status status = ls_json_reals_of(file, "test", "loss_at_end", &values[0], &counts[0]);
    if (status == LS_OK) status = ls_json_reals_of(file, "test", "accuracy_at_end", &values[1], &counts[1]);
    if (status == LS_OK && (counts[0] != 1 || counts[1] != 1))
        status = ls_fail(LS_BAD_DATA, "%s: test: expected one loss_at_end and one accuracy_at_end", path);
    if (status == LS_OK) {
        m->has_test = true;
        m->test_loss = values[0][0];
        m->test_accuracy = values[1][0];
    }
    free(values[0]);
    free(values[1]);
    return status;
}

static ls_status read_result(const char *path, result *r) {
    ls_json_file *file;
    const char *config, *bits;
    LS_TRY(ls_json_read(path, &file));
    ls_status status = ls_json_text_of(file, "bits", &bits);
    if (status == LS_OK) status = ls_audit_check_bits(path, bits);
    if (status == LS_OK) status = ls_json_text_of(file, "config", &config);
    if (status == LS_OK) status = ls_strdup(&r->config, config);
    if (status == LS_OK) status = take_hash(file, path, "fingerprint", r->fingerprint);
    if (status == LS_OK) status = take_hash(file, path, "data_digest", r->digest);
    if (status == LS_OK) status = take_history(file, path, &r->recorded);
    if (status == LS_OK) status = take_test(file, path, &r->recorded);
    ls_json_close(&file);
    return status;
}

static ls_status send(ls_comm *comm, result *r) {
    uint64_t size = comm->rank == 0 ? strlen(r->config) + 1 : 0;
    LS_TRY(ls_comm_broadcast(comm, &size, sizeof size, 0));
    LS_TRY(
        ls_comm_agree(comm, comm->rank == 0 ? LS_OK : ls_calloc(&r->config, size, 1, "the configuration")));
    LS_TRY(ls_comm_broadcast(comm, r->config, size, 0));
    return ls_comm_broadcast(comm, r->digest, sizeof r->digest, 0);
}

static ls_status train_again(ls_comm *comm, const char *path, const result *r, ls_trainer *t) {
    ls_difference difference = {""};
    char digest[17], fingerprint[17];
    snprintf(digest, sizeof digest, "%016" PRIx64, t->data.digest);
    bool different = strcmp(digest, r->digest) != 0;
    if (different) {
        if (comm->rank == 0)
            printf("different: %s (%s) has digest %s, the run was trained on %s\n", t->data.folder,
                   t->data.name, digest, r->digest);
        return ls_comm_everywhere(comm, LS_DIFFERENT);
    }
    const int64_t all = t->options.epochs * ls_trainer_batches_per_epoch(t);
    const int64_t steps = t->options.steps > 0 && t->options.steps < all ? t->options.steps : all;
    const ls_stretch stretch = {(uint64_t)steps, false, true, true};
    LS_TRY(ls_replay(t, &stretch, comm->rank == 0 ? &r->recorded : NULL, &difference));
    if (comm->rank == 0) {
        snprintf(fingerprint, sizeof fingerprint, "%016" PRIx64, ls_trainer_fingerprint(t));
        if (strcmp(fingerprint, r->fingerprint) != 0)
            ls_differ(&difference, "the fingerprint: recorded %s, replayed %s", r->fingerprint, fingerprint);
        different = *difference.text != '\0';
        if (different)
            printf("%s: different: %s\n", path, difference.text);
        else
            printf("%s: steps 0-%lld: equal, fingerprint %s\n", path, (long long)steps, fingerprint);
    }
    LS_TRY(ls_comm_broadcast(comm, &different, sizeof different, 0));
    return different ? ls_comm_everywhere(comm, LS_DIFFERENT) : LS_OK;
}

ls_status ls_audit_result(ls_comm *comm, const ls_audit_request *request) {
    result r = {0};
    ls_audited audited = {0};
    ls_status status = LS_OK;
    if (request->segments != 0 || request->apart)
        status = ls_fail(LS_USAGE, "%s: --segments and --apart are for a run folder with checkpoints",
                         request->path);
    status = ls_comm_agree(comm, status);
    if (status == LS_OK)
        status = ls_comm_agree(comm, comm->rank == 0 ? read_result(request->path, &r) : LS_OK);
    if (status == LS_OK) status = send(comm, &r);
    if (status == LS_OK) status = ls_audited_create(comm, request->path, r.config, request, &audited);
    if (status == LS_OK) status = train_again(comm, request->path, &r, audited.trainer);
    ls_audited_destroy(&audited);
    free(r.recorded.epochs);
    free(r.config);
    return status;
}

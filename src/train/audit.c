#include "train/audit.h"

#include <inttypes.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>

#include "train/audited.h"
#include "train/checkpoints.h"
#include "train/recorded_config.h"
#include "train/signals.h"

/* From one known state to the next: the seed's (step 0) or a checkpoint's. */
typedef struct segment {
    uint64_t from;
    ls_stretch stretch;
    bool compared; /* there is a checkpoint at its end */
    bool chosen;
} segment;

typedef struct audit {
    ls_comm *comm;
    const ls_audit_request *request;
    char *config;              /* what the numbers depend on, canonical */
    ls_metrics_file *recorded; /* rank 0 of comm; NULL: unreadable */
    segment *segments;
    int count, differences; /* the latter of files */
    ls_audited audited;
    bool begun;     /* the trainer is no more as the seed made it */
    bool from_file; /* the state of step 0 is that of a checkpoint, as `import` leaves one */
} audit;

enum { PATIENCE = 1000000 }; /* seconds; the most that the key timeout takes */

/* What came of a segment. */
typedef struct verdict {
    ls_difference difference;
    double seconds;
    bool done;
} verdict;

/* --- what is there ------------------------------------------------------------------------------------- */

static void found_difference(audit *a, const char *format, ...) __attribute__((format(printf, 2, 3)));
static void found_difference(audit *a, const char *format, ...) {
    va_list args;
    va_start(args, format);
    vprintf(format, args);
    va_end(args);
    printf("\n");
    fflush(stdout);
    a->differences++;
}

static ls_status path_in(const char *folder, const char *name, char **path) {
    size_t size = strlen(folder) + strlen(name) + 2;
    LS_TRY(ls_calloc(path, size, 1, "a path"));
    snprintf(*path, size, "%s/%s", folder, name);
    return LS_OK;
}

static ls_status read_metrics(audit *a) {
    char *path;
    LS_TRY(path_in(a->request->path, "metrics.h5", &path));
    ls_status status = ls_metrics_file_read(path, &a->recorded);
    free(path);
    return status;
}

/* The first configuration is the one that counts; others are held against it. */
static ls_status take_config(audit *a, const char *whose, const char *text) {
    char *today;
    LS_TRY(ls_recorded_config(text, &today));
    if (!a->config) {
        a->config = today;
        return LS_OK;
    }
    if (ls_recorded_config_compare(whose, today, a->config) != LS_OK)
        found_difference(a, "different: %s", ls_error_message());
    free(today);
    return LS_OK;
}

/* config.yaml, and whether the run began with the seed's state: not where it went on from a file. */
static ls_status read_config_file(audit *a, bool *from_seed) {
    ls_layer_keys layers[LS_LAYER_CLASSES_MAX];
    ls_config *config = NULL;
    ls_options options = {0};
    char *path, *text = NULL;
    struct stat there;
    *from_seed = true;
    ls_network_layer_keys(layers);
    LS_TRY(path_in(a->request->path, "config.yaml", &path));
    if (stat(path, &there) != 0) {
        printf("note: no config.yaml\n");
        free(path);
        return LS_OK;
    }
    ls_status status = ls_config_load(path, NULL, 0, &ls_option_keys, layers, ls_layer_class_count, &config);
    if (status == LS_OK) status = ls_config_settings(config, &options);
    if (status == LS_OK)
        *from_seed = strcmp(options.resume, "none") == 0 || strcmp(options.resume, "auto") == 0;
    if (status == LS_OK) status = ls_config_resolve_result(config, &text);
    if (status == LS_OK) status = take_config(a, path, text);
    if (status == LS_USAGE) {
        found_difference(a, "different: %s", ls_error_message());
        status = LS_OK;
    }
    ls_keys_free(&ls_option_keys, &options);
    ls_config_destroy(&config);
    free(text);
    free(path);
    return status;
}

/* A segment that ends with this checkpoint; none where the file is not good. */
static ls_status add_checkpoint(audit *a, uint64_t step, uint64_t *from, bool *evaluate_first) {
    ls_checkpoint *checkpoint = NULL;
    char *path;
    LS_TRY(ls_checkpoints_path(a->request->path, step, &path));
    ls_status status = ls_checkpoint_open(path, &checkpoint);
    if (status == LS_OK) status = ls_checkpoint_check(checkpoint);
    if (status == LS_OK) status = take_config(a, path, ls_checkpoint_config(checkpoint));
    if (status == LS_OK) {
        const ls_progress_mark *mark = ls_checkpoint_mark(checkpoint);
        const bool evaluated =
            mark->batch_in_epoch > 0 ||
            (uint64_t)ls_checkpoint_length(checkpoint, "history/epoch/epoch") >= mark->epoch;
        if (*from != UINT64_MAX && step > *from)
            a->segments[a->count++] = (segment){.from = *from,
                                                .stretch = {step, *evaluate_first, evaluated, mark->finished},
                                                .compared = true,
                                                .chosen = true};
        *from = step;
        *evaluate_first = !evaluated;
    } else if (status == LS_BAD_DATA) {
        found_difference(a, "different: %s", ls_error_message());
        status = LS_OK;
    }
    ls_checkpoint_close(&checkpoint);
    free(path);
    return status;
}

/* Rank 0 looks at all files. */
static ls_status look(audit *a) {
    uint64_t *steps = NULL, from = UINT64_MAX;
    int count = 0;
    bool from_seed, evaluate_first = false;
    ls_status readable = read_metrics(a);
    if (readable == LS_OK && a->recorded)
        LS_TRY(ls_audit_check_bits(a->recorded->path, ls_metrics_file_fact(a->recorded, "bits")));
    if (readable == LS_BAD_DATA)
        found_difference(a, "different: %s", ls_error_message());
    else
        LS_TRY(readable);
    if (a->recorded) LS_TRY(take_config(a, a->recorded->path, a->recorded->config));
    ls_status status = read_config_file(a, &from_seed);
    if (status == LS_OK) status = ls_checkpoints_list(a->request->path, &steps, &count);
    if (status == LS_OK)
        status = ls_calloc(&a->segments, (size_t)count + 1, sizeof *a->segments, "the segments");
    a->from_file = count > 0 && steps[count - 1] == 0;
    if (from_seed && !a->from_file)
        from = 0;
    else if (!from_seed)
        printf(
            "note: the run began with a checkpoint; what comes before its first own one is not replayed\n");
    for (int i = count - 1; status == LS_OK && i >= 0; i--)
        status = add_checkpoint(a, steps[i], &from, &evaluate_first);
    free(steps);
    LS_TRY(status);
    /* a run that was cut off has rows behind its last checkpoint */
    if (a->recorded && from != UINT64_MAX && (uint64_t)a->recorded->step_count > from)
        a->segments[a->count++] =
            (segment){.from = from,
                      .stretch = {(uint64_t)a->recorded->step_count, evaluate_first, false, false},
                      .chosen = true};
    if (!a->config) return ls_fail(LS_BAD_DATA, "%s: holds no run that can be read", a->request->path);
    if (a->count == 0)
        return ls_fail(LS_BAD_DATA, "%s: found no two known states to replay between", a->request->path);
    if (a->recorded && a->recorded->step_count == 0)
        found_difference(a, "different: metrics.h5 has no rows of steps");
    return LS_OK;
}

/* --- which segments ------------------------------------------------------------------------------------ */

/* All segments but `wanted` of them are left out; each choice is as likely as any other. */
static void draw(audit *a, int64_t wanted) {
    struct timespec now;
    if (wanted == 0 || wanted >= a->count) return;
    clock_gettime(CLOCK_REALTIME, &now);
    uint64_t state = ((uint64_t)now.tv_nsec * 2654435761u + (uint64_t)now.tv_sec) | 1; /* not 0 */
    int left = (int)wanted;
    for (int i = 0; i < a->count; i++) {
        state ^= state << 13, state ^= state >> 7, state ^= state << 17; /* xorshift64 */
        a->segments[i].chosen = (int)(state % (uint64_t)(a->count - i)) < left;
        left -= a->segments[i].chosen;
    }
}

/* What rank 0 has found, to all. */
static ls_status share(audit *a) {
    ls_comm *comm = a->comm;
    int counts[2] = {a->count, a->differences};
    uint64_t size = a->config ? strlen(a->config) + 1 : 0;
    LS_TRY(ls_comm_broadcast(comm, counts, sizeof counts, 0));
    LS_TRY(ls_comm_broadcast(comm, &size, sizeof size, 0));
    ls_status status = LS_OK;
    if (comm->rank != 0) {
        a->count = counts[0];
        a->differences = counts[1];
        status = ls_calloc(&a->config, size, 1, "the configuration");
        if (status == LS_OK)
            status = ls_calloc(&a->segments, (size_t)a->count, sizeof *a->segments, "the segments");
    }
    LS_TRY(ls_comm_agree(comm, status));
    LS_TRY(ls_comm_broadcast(comm, a->config, size, 0));
    return ls_comm_broadcast(comm, a->segments, (size_t)a->count * sizeof *a->segments, 0);
}

/* --- one segment --------------------------------------------------------------------------------------- */

/* The trainer as the seed makes it. */
static ls_status begin(audit *a, ls_comm *comm) {
    if (a->audited.trainer && !a->begun) return LS_OK;
    ls_audited_destroy(&a->audited);
    a->begun = false;
    return ls_audited_create(comm, a->request->path, a->config, a->request, &a->audited);
}

/* A checkpoint's history is that of metrics.h5 until its step: the first column and row that are not. */
static void compare_history(ls_metrics *history, const ls_metrics_file *m, uint64_t step,
                            ls_difference *difference) {
    const struct {
        const ls_metrics_column *columns;
        int count;
        const void *rows;
        size_t size;
        int64_t length;
    } tables[] = {{ls_step_columns, LS_STEP_COLUMNS, m->steps, sizeof *m->steps, m->step_count},
                  {ls_epoch_columns, LS_EPOCH_COLUMNS, m->epochs, sizeof *m->epochs, m->epoch_count},
                  {ls_test_columns, LS_TEST_ROW_COLUMNS, m->tests, sizeof *m->tests, m->test_count}};
    const ls_record *records;
    int count;
    if (ls_metrics_records(history, &records, &count) != LS_OK) return; /* has nothing that fails */
    for (size_t t = 0; t < sizeof tables / sizeof *tables; t++) {
        for (int c = 0; c < tables[t].count; c++) {
            const ls_metrics_column *column = &tables[t].columns[c];
            const ls_record *record = records;
            while (record < records + count && strcmp(record->path, column->path) != 0) record++;
            if (record == records + count || ls_metrics_column_is_provenance(column)) continue;
            for (int64_t i = 0; i < record->shape[0]; i++) {
                const char *row = (const char *)tables[t].rows + (size_t)i * tables[t].size + column->offset;
                if (i < tables[t].length && memcmp((const char *)record->data + 8 * i, row, 8) == 0) continue;
                ls_differ(difference,
                          "checkpoint-%" PRIu64 ".h5: row %lld of its %s is not that of metrics.h5", step,
                          (long long)i + 1, column->path);
            }
        }
    }
}

/* Rank 0 reads a checkpoint into the trainer's records; with a difference, its history is compared too. */
static ls_status load(audit *a, uint64_t step, ls_resumed *resumed, ls_difference *difference) {
    ls_trainer *t = a->audited.trainer;
    ls_checkpoint *checkpoint = NULL;
    ls_metrics *history = NULL;
    const char **names;
    char *path;
    LS_TRY(ls_checkpoints_path(a->request->path, step, &path));
    ls_status status = ls_calloc(&names, (size_t)t->state.count, sizeof *names, "the metrics");
    for (int i = 0; status == LS_OK && i < t->state.count; i++) names[i] = t->state.records[i].path;
    if (status == LS_OK)
        status = ls_metrics_create(a->request->path, a->config, NULL, 0, names, t->state.count, &history);
    if (status == LS_OK) status = ls_checkpoint_open(path, &checkpoint);
    if (status == LS_OK) status = ls_checkpoints_load(checkpoint, t, a->config, history, resumed);
    if (status == LS_OK && difference && a->recorded) compare_history(history, a->recorded, step, difference);
    ls_checkpoint_close(&checkpoint);
    ls_metrics_destroy(&history);
    free(names);
    free(path);
    return status;
}

/* A file that does not hold what it should is a difference, on all ranks. */
static ls_status agree_on_file(ls_comm *comm, ls_status status, ls_difference *difference) {
    status = ls_comm_agree(comm, status);
    if (status != LS_BAD_DATA && status != LS_USAGE && status != LS_NOT_FINITE) return status;
    ls_differ(difference, "%s", ls_error_message());
    comm->agreed = false;
    return LS_OK;
}

static ls_status go_to(audit *a, ls_comm *comm, uint64_t step, ls_difference *difference) {
    ls_resumed resumed = {0};
    if (step == 0 || !a->audited.trainer) LS_TRY(begin(a, comm));
    if (step == 0 && !a->from_file) return LS_OK;
    a->begun = true;
    LS_TRY(agree_on_file(comm, comm->rank == 0 ? load(a, step, &resumed, NULL) : LS_OK, difference));
    if (*difference->text) return LS_OK;
    LS_TRY(ls_comm_broadcast(comm, &resumed, sizeof resumed, 0));
    LS_TRY(ls_trainer_resume(a->audited.trainer, &resumed.mark, &resumed.epoch_score));
    ls_trainer_order_epoch(a->audited.trainer);
    return LS_OK;
}

/* The state at hand and the one in the checkpoint. */
static ls_status compare_state(audit *a, uint64_t step, ls_difference *difference) {
    ls_trainer *t = a->audited.trainer;
    ls_resumed resumed;
    uint64_t *hashes;
    const uint64_t fingerprint = ls_trainer_fingerprint(t);
    LS_TRY(ls_calloc(&hashes, (size_t)t->state.count, sizeof *hashes, "fingerprints"));
    memcpy(hashes, t->state.hashes, (size_t)t->state.count * sizeof *hashes);
    ls_status status = load(a, step, &resumed, difference);
    if (status == LS_OK && resumed.mark.fingerprint != fingerprint) {
        for (int i = 0; i < t->state.count; i++)
            if (hashes[i] != t->state.hashes[i])
                ls_differ(difference,
                          "checkpoint-%" PRIu64 ".h5: %s differs from what %" PRIu64 " steps lead to", step,
                          t->state.records[i].path, step);
        ls_differ(difference, "checkpoint-%" PRIu64 ".h5: the fingerprint differs", step);
    }
    free(hashes);
    return status;
}

static ls_status audit_segment(audit *a, ls_comm *comm, const segment *s, verdict *v) {
    struct timespec start, end;
    clock_gettime(CLOCK_MONOTONIC, &start);
    LS_TRY(go_to(a, comm, s->from, &v->difference));
    if (!*v->difference.text) {
        a->begun = true;
        LS_TRY(
            ls_replay(a->audited.trainer, &s->stretch, comm->rank == 0 ? a->recorded : NULL, &v->difference));
        if (s->compared && (uint64_t)a->audited.trainer->step == s->stretch.to)
            LS_TRY(agree_on_file(comm,
                                 comm->rank == 0 ? compare_state(a, s->stretch.to, &v->difference) : LS_OK,
                                 &v->difference));
    }
    clock_gettime(CLOCK_MONOTONIC, &end);
    v->seconds = (double)(end.tv_sec - start.tv_sec) + 1e-9 * (double)(end.tv_nsec - start.tv_nsec);
    v->done = true;
    return LS_OK;
}

static void tell(const segment *s, const verdict *v) {
    printf("steps %" PRIu64 "-%" PRIu64 ": ", s->from, s->stretch.to);
    if (*v->difference.text)
        printf("different: %s\n", v->difference.text);
    else
        printf("equal (%.1f s)\n", v->seconds);
    fflush(stdout);
}

/* --- all of them --------------------------------------------------------------------------------------- */

/* All ranks on one segment after another, as they would train. */
static ls_status audit_together(audit *a, verdict *verdicts) {
    for (int i = 0; i < a->count; i++) {
        if (!a->segments[i].chosen) continue;
        LS_TRY(audit_segment(a, a->comm, &a->segments[i], &verdicts[i]));
        if (a->comm->rank == 0) tell(&a->segments[i], &verdicts[i]);
    }
    return LS_OK;
}

static uint64_t length_of(const segment *s) {
    return s->stretch.to - s->from;
}

/* Which rank takes which: the longest first, to the rank that has least to do. */
static ls_status assign(const audit *a, int *owner) {
    uint64_t *load;
    LS_TRY(ls_calloc(&load, (size_t)a->comm->size, sizeof *load, "the ranks' shares"));
    for (int i = 0; i < a->count; i++) owner[i] = -1;
    for (;;) {
        int longest = -1, least = 0;
        for (int i = 0; i < a->count; i++)
            if (a->segments[i].chosen && owner[i] < 0 &&
                (longest < 0 || length_of(&a->segments[i]) > length_of(&a->segments[longest])))
                longest = i;
        if (longest < 0) break;
        for (int r = 1; r < a->comm->size; r++)
            if (load[r] < load[least]) least = r;
        owner[longest] = least;
        load[least] += length_of(&a->segments[longest]);
    }
    free(load);
    return LS_OK;
}

static ls_status audit_own(audit *a, ls_comm *alone, const int *owner, verdict *verdicts) {
    if (a->comm->rank != 0) {
        ls_status readable = read_metrics(a); /* if it is not, rank 0 has said so */
        if (readable != LS_BAD_DATA) LS_TRY(readable);
    }
    for (int i = 0; i < a->count; i++)
        if (owner[i] == a->comm->rank) LS_TRY(audit_segment(a, alone, &a->segments[i], &verdicts[i]));
    return LS_OK;
}

/* Each rank by itself; rank 0 is told what the others found. */
static ls_status audit_apart(audit *a, verdict *verdicts) {
    int *owner = NULL;
    verdict *all = NULL;
    ls_comm *alone = NULL;
    const size_t size = (size_t)a->count * sizeof *verdicts;
    ls_status status = ls_calloc(&owner, (size_t)a->count, sizeof *owner, "the ranks' shares");
    if (status == LS_OK) status = ls_calloc(&all, (size_t)a->comm->size, size, "what the ranks found");
    if (status == LS_OK) status = assign(a, owner);
    if (status == LS_OK) status = ls_comm_create_self(&alone);
    LS_TRY_GOTO(status, done, ls_comm_agree(a->comm, status));
    a->comm->timeout = PATIENCE; /* a rank that still replays says nothing meanwhile */
    LS_TRY_GOTO(status, done, ls_comm_agree(a->comm, audit_own(a, alone, owner, verdicts)));
    LS_TRY_GOTO(status, done, ls_comm_allgather_equal(a->comm, verdicts, size, all));
    for (int i = 0; i < a->count; i++) {
        if (owner[i] < 0) continue;
        verdicts[i] = all[(size_t)owner[i] * (size_t)a->count + (size_t)i];
        if (a->comm->rank == 0) tell(&a->segments[i], &verdicts[i]);
    }
done:
    ls_audited_destroy(&a->audited); /* before the communicator that it is on */
    ls_comm_destroy(&alone);
    free(owner);
    free(all);
    return status;
}

/* On other data nothing can be equal. */
static ls_status check_data(audit *a) {
    char found[32];
    const char *digest = a->recorded ? ls_metrics_file_fact(a->recorded, "data_digest") : NULL;
    bool other = false;
    LS_TRY(begin(a, a->comm));
    const ls_data *data = &a->audited.trainer->data;
    snprintf(found, sizeof found, "%016" PRIx64, data->digest);
    if (digest && strcmp(digest, found) != 0) {
        found_difference(a, "different: %s (%s) has digest %s, the run was trained on %s", data->folder,
                         data->name, found, digest);
        other = true;
    }
    LS_TRY(ls_comm_broadcast(a->comm, &other, sizeof other, 0));
    return other ? ls_comm_everywhere(a->comm, LS_DIFFERENT) : LS_OK;
}

static ls_status conclude(const audit *a, const verdict *verdicts) {
    int replayed = 0, different = 0;
    for (int i = 0; i < a->count; i++) {
        replayed += verdicts[i].done;
        different += *verdicts[i].difference.text != '\0';
    }
    if (a->comm->rank != 0) return different + a->differences > 0 ? LS_DIFFERENT : LS_OK;
    if (different + a->differences == 0)
        printf("equal: %d of %d segments were replayed\n", replayed, a->count);
    else
        printf("different: %d of %d segments that were replayed, %d other difference%s\n", different,
               replayed, a->differences, a->differences == 1 ? "" : "s");
    return different + a->differences > 0 ? LS_DIFFERENT : LS_OK;
}

static ls_status audit_run(audit *a) {
    verdict *verdicts = NULL;
    LS_TRY(ls_comm_agree(a->comm, a->comm->rank == 0 ? look(a) : LS_OK));
    if (a->comm->rank == 0) draw(a, a->request->segments);
    LS_TRY(share(a));
    LS_TRY(check_data(a));
    LS_TRY(
        ls_comm_agree(a->comm, ls_calloc(&verdicts, (size_t)a->count, sizeof *verdicts, "what was found")));
    if (a->request->apart) ls_audited_destroy(&a->audited); /* each rank makes one of its own */
    ls_status status = a->request->apart ? audit_apart(a, verdicts) : audit_together(a, verdicts);
    if (status == LS_OK) {
        bool different = conclude(a, verdicts) == LS_DIFFERENT; /* rank 0 has seen the rows */
        status = ls_comm_broadcast(a->comm, &different, sizeof different, 0);
        if (status == LS_OK && different) status = LS_DIFFERENT;
    }
    free(verdicts);
    return status;
}

static bool is_folder(const char *path) {
    struct stat info;
    return stat(path, &info) == 0 && S_ISDIR(info.st_mode);
}

ls_status ls_audit(ls_comm *comm, const ls_audit_request *request) {
    audit a = {.comm = comm, .request = request};
    bool folder = is_folder(request->path);
    LS_TRY(ls_comm_agree(comm, ls_signals_install()));
    LS_TRY(ls_comm_broadcast(comm, &folder, sizeof folder, 0));
    if (!folder) return ls_audit_result(comm, request);
    ls_status status = audit_run(&a);
    ls_audited_destroy(&a.audited);
    ls_metrics_file_destroy(&a.recorded);
    free(a.segments);
    free(a.config);
    return status;
}

#include "model/state.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <xxhash.h>

#include "core/vector.h"
#include "layers/batchnorm/statistics.h"

#if __BYTE_ORDER__ != __ORDER_LITTLE_ENDIAN__
#error "fingerprints and checkpoints are defined over little-endian values"
#endif

enum { RECORDS_PER_STATISTICS = 3 };

size_t ls_record_bytes(const ls_record *record) {
    size_t count = 1;
    for (int i = 0; i < record->dims; i++) count *= (size_t)record->shape[i];
    return count * (record->type == LS_RECORD_F32 ? 4 : 8);
}

static ls_status add(ls_state *state, ls_record_type type, int dims, const int64_t *shape, const char *group,
                     const char *name, const char *suffix) {
    char path[2 * LS_NAME_MAX];
    ls_record *record = &state->records[state->count];
    snprintf(path, sizeof path, "%s/%s%s", group, name, suffix);
    LS_TRY(ls_strdup(&state->paths[state->count], path));
    *record = (ls_record){.path = state->paths[state->count], .type = type, .dims = dims};
    if (dims > 0) memcpy(record->shape, shape, (size_t)dims * sizeof *shape);
    state->count++;
    return ls_calloc(&record->data, 1, ls_record_bytes(record), path);
}

static ls_status add_parameters(const ls_parameters *p, ls_state *state, const char *group) {
    ls_record_type type = p->backend->dtype == LS_FP64 ? LS_RECORD_F64 : LS_RECORD_F32;
    for (int i = 0; i < p->count; i++)
        LS_TRY(add(state, type, p->list[i].dims, p->list[i].shape, group, p->list[i].name, ""));
    return LS_OK;
}

static ls_status add_all(const ls_parameters *p, ls_state *state) {
    ls_record_type type = p->backend->dtype == LS_FP64 ? LS_RECORD_F64 : LS_RECORD_F32;
    LS_TRY(add_parameters(p, state, "model"));
    for (int i = 0; i < p->statistics_count; i++) {
        const ls_statistics *s = &p->statistics[i];
        LS_TRY(add(state, type, 1, &s->channels, "model", s->name, ".running_mean"));
        LS_TRY(add(state, type, 1, &s->channels, "model", s->name, ".running_var"));
        LS_TRY(add(state, LS_RECORD_I64, 0, NULL, "model", s->name, ".num_batches_tracked"));
    }
    if (p->moment1) LS_TRY(add_parameters(p, state, "optimizer/m"));
    if (p->moment2) LS_TRY(add_parameters(p, state, "optimizer/v"));
    for (int i = 0; i < p->statistics_count; i++) {
        int64_t length = 1 + 3 * p->statistics[i].channels;
        LS_TRY(add(state, LS_RECORD_F64, 1, &length, "batchnorm", p->statistics[i].name, ""));
    }
    return LS_OK;
}

ls_status ls_state_create(const ls_parameters *parameters, ls_state *state) {
    size_t most =
        3 * (size_t)parameters->count + (RECORDS_PER_STATISTICS + 1) * (size_t)parameters->statistics_count;
    *state = (ls_state){0};
    ls_status status = ls_calloc(&state->records, most, sizeof *state->records, "the model's state");
    if (status == LS_OK) status = ls_calloc(&state->paths, most, sizeof *state->paths, "the model's state");
    if (status == LS_OK) status = ls_calloc(&state->hashes, most, sizeof *state->hashes, "the model's state");
    if (status == LS_OK) status = add_all(parameters, state);
    if (status != LS_OK) ls_state_destroy(state);
    return status;
}

void ls_state_destroy(ls_state *state) {
    for (int i = 0; i < state->count; i++) {
        free(state->records[i].data);
        free(state->paths[i]);
    }
    free(state->records);
    free(state->paths);
    free(state->hashes);
    *state = (ls_state){0};
}

/* PyTorch's view of the statistics: the mean and variance that evaluation uses. */
static void export_running(const ls_statistics *s, ls_dtype dtype,
                           ls_record records[RECORDS_PER_STATISTICS]) {
    for (int64_t c = 0; c < s->channels; c++) {
        double mean, variance;
        ls_statistics_evaluate(s, c, &mean, &variance);
        if (dtype == LS_FP64) {
            ((double *)records[0].data)[c] = mean;
            ((double *)records[1].data)[c] = variance;
        } else {
            ((float *)records[0].data)[c] = (float)mean;
            ((float *)records[1].data)[c] = (float)variance;
        }
    }
    /* `dataset` counts elements, not batches: PyTorch's counter has no meaning there */
    *(int64_t *)records[2].data = s->kind == LS_STATISTICS_DATASET ? 0 : (int64_t)s->values[0];
}

static ls_record *export_arena(const ls_parameters *p, const void *arena, ls_record *record) {
    for (int i = 0; arena && i < p->count; i++) ls_parameter_export(p, &p->list[i], arena, (record++)->data);
    return record;
}

static ls_status export_all(const ls_parameters *p, const ls_arenas *host, void *records) {
    ls_record *record = records;
    record = export_arena(p, host->value, record);
    for (int i = 0; i < p->statistics_count; i++, record += RECORDS_PER_STATISTICS) {
        const ls_statistics s = ls_arenas_statistics(p, host, i);
        export_running(&s, p->backend->dtype, record);
    }
    record = export_arena(p, host->moment1, record);
    record = export_arena(p, host->moment2, record);
    for (int i = 0; i < p->statistics_count; i++, record++)
        memcpy(record->data, ls_arenas_statistics(p, host, i).values, ls_record_bytes(record));
    return LS_OK;
}

ls_status ls_state_export(const ls_parameters *p, ls_state *state) {
    return ls_parameters_use(p, false, export_all, state->records);
}

/* Returns the record after the last. */
static const ls_record *import_arena(const ls_parameters *p, void *arena, const ls_record *record) {
    if (!arena) return record;
    for (int i = 0; !p->keeps && i < p->count; i++)
        ls_parameter_import(p, &p->list[i], arena, record[i].data);
    return record + p->count;
}

static ls_status import_all(const ls_parameters *p, const ls_arenas *host, void *records) {
    const ls_record *record = records;
    record = import_arena(p, host->value, record);
    record += RECORDS_PER_STATISTICS * p->statistics_count;
    record = import_arena(p, host->moment1, record);
    record = import_arena(p, host->moment2, record);
    for (int i = 0; i < p->statistics_count; i++, record++)
        memcpy(ls_arenas_statistics(p, host, i).values, record->data, ls_record_bytes(record));
    return LS_OK;
}

ls_status ls_state_import(ls_parameters *p, const ls_state *state) {
    return ls_parameters_use(p, true, import_all, state->records);
}

static bool is_finite(const ls_record *record) {
    int64_t count = 1;
    for (int d = 0; d < record->dims; d++) count *= record->shape[d];
    for (int64_t i = 0; i < count; i++)
        if ((record->type == LS_RECORD_F32 && !isfinite(((const float *)record->data)[i])) ||
            (record->type == LS_RECORD_F64 && !isfinite(((const double *)record->data)[i])))
            return false;
    return true;
}

const char *ls_state_not_finite(const ls_state *state) {
    for (int i = 0; i < state->count; i++)
        if (strncmp(state->records[i].path, "optimizer/", strlen("optimizer/")) != 0 &&
            !is_finite(&state->records[i]))
            return state->records[i].path;
    return NULL;
}

static uint64_t hash_record(const ls_record *record) {
    uint64_t head = XXH3_64bits(record->path, strlen(record->path) + 1);
    head = XXH3_64bits_withSeed(record->shape, (size_t)record->dims * sizeof *record->shape, head);
    return XXH3_64bits_withSeed(record->data, ls_record_bytes(record), head);
}

uint64_t ls_state_fingerprint(ls_state *state, uint64_t step) {
    for (int i = 0; i < state->count; i++) state->hashes[i] = hash_record(&state->records[i]);
    return XXH3_64bits_withSeed(state->hashes, (size_t)state->count * sizeof *state->hashes, step);
}

/* Of elements [first, last) of each arena. */
static uint64_t hash_arenas(const ls_parameters *p, int64_t first, int64_t last) {
    const ls_vector_kernels *vectors = LS_KERNELS_OF(p->backend, ls_vector_ref);
    const ls_lane lane = {.device = p->backend->device};
    void *arenas[] = {p->value, p->moment1, p->moment2};
    uint64_t hash = 0;
    for (int64_t i = 0; i < (int64_t)(sizeof arenas / sizeof *arenas); i++)
        if (arenas[i] && first < last)
            hash += vectors->bits(last - first, ls_arena_at(p, arenas[i], first),
                                  (uint64_t)(i * p->total + first), &lane);
    return hash;
}

uint64_t ls_replica_hash_shared(const ls_parameters *p, int64_t first, int64_t last) {
    return p->lent ? hash_arenas(p, first, last) : 0;
}

uint64_t ls_replica_hash(const ls_parameters *p, uint64_t step) {
    const ls_lane lane = {.device = p->backend->device};
    const uint64_t total = (uint64_t)p->total;
    const uint64_t hash = step + (p->lent ? 0 : hash_arenas(p, 0, p->total));
    return hash + ls_vectors_of_doubles(&lane)->bits((int64_t)ls_parameters_statistics(p),
                                                     p->statistics_values, 3 * total, &lane);
}

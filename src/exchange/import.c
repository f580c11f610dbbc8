/* `lockstep import`: a checkpoint of step 0 from the tensors of a PyTorch state_dict. */
#include <ctype.h>
#include <inttypes.h>
#include <math.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include "core/log.h"
#include "exchange/exchange.h"
#include "io/hdf5.h"
#include "io/metrics.h"
#include "layers/batchnorm/statistics.h"
#include "layers/layer.h"
#include "model/network.h"
#include "model/state.h"
#include "train/data.h"
#include "train/options.h"

/* Records of a BatchNorm in the model group: running_mean, running_var, num_batches_tracked. */
enum { PER_STATISTICS = 3 };

enum { MOST_CONVERSIONS = 64, MOST_WRAPPED = 64 /* letters of wrappers in front of a name */ };

static const char prefix[] = "model/";

/* Tensors that are stored in one other way than the network holds them. */
typedef struct conversion {
    ls_h5_shape_text found;
    const char *as, *first;
    int count;
} conversion;

typedef struct import {
    const char *state_path, *config_path;
    ls_layer_keys layers[LS_LAYER_CLASSES_MAX]; /* which the configuration keeps looking at */
    ls_config *config;
    ls_options options;
    ls_comm *comm;
    ls_data data;
    ls_network *network;
    ls_state state;
    ls_h5_file *file;
    const char *group; /* in which the tensors are: "" or "model/" */
    int expected;      /* the first records of the state, which the file must hold */
    char **found;      /* [expected]: the names under which the file has them, or NULL; owned */
    int problem_count;
    char wrapped[96]; /* the first name that a wrapper has changed */
    int wrapped_count;
    conversion conversions[MOST_CONVERSIONS];
    int conversion_count;
} import;

/* --- what does not fit ----------------------------------------------------------------------------- */

/* A file that has nothing to do with the network says so in this many lines. */
enum { MOST_PROBLEMS_TOLD = 1000 };

/* Names from the file may hold anything. */
static void printable(const char *text, char *out, size_t size) {
    size_t i = 0;
    for (; text[i] && i + 1 < size; i++) out[i] = isprint((unsigned char)text[i]) ? text[i] : '?';
    out[i] = '\0';
}

static void add_problem(import *in, const char *format, ...) __attribute__((format(printf, 2, 3)));
static void add_problem(import *in, const char *format, ...) {
    char text[512];
    va_list args;
    va_start(args, format);
    vsnprintf(text, sizeof text, format, args);
    va_end(args);
    if (in->problem_count++ < MOST_PROBLEMS_TOLD) ls_log(LS_LOG_ERROR, "%s: %s", in->state_path, text);
}

static const char *name_of(const ls_record *record) {
    return record->path + sizeof prefix - 1;
}

/* What PyTorch's wrappers put in front of every name: DistributedDataParallel, torch.compile. */
static const char *const wrappers[] = {"module.", "_orig_mod."};

static const char *unwrapped(const char *name) {
    for (size_t i = 0; i < sizeof wrappers / sizeof *wrappers; i++)
        if (strncmp(name, wrappers[i], strlen(wrappers[i])) == 0) return name + strlen(wrappers[i]);
    return NULL;
}

static int index_of(const import *in, const char *name) {
    for (int i = 0; i < in->expected; i++)
        if (strcmp(name, name_of(&in->state.records[i])) == 0) return i;
    return -1;
}

static ls_status check_name(void *client, const char *name) {
    import *in = client;
    char shown[96];
    int at = -1;
    for (const char *inner = name; inner && at < 0 && inner - name < MOST_WRAPPED; inner = unwrapped(inner))
        at = index_of(in, inner);
    printable(name, shown, sizeof shown);
    if (at < 0) {
        add_problem(in, "unexpected %s", shown);
    } else if (in->found[at]) {
        add_problem(in, "%s is there twice, as %s too", name_of(&in->state.records[at]), shown);
    } else {
        if (strcmp(name, name_of(&in->state.records[at])) != 0 && in->wrapped_count++ == 0)
            snprintf(in->wrapped, sizeof in->wrapped, "%s", shown);
        return ls_strdup(&in->found[at], name);
    }
    return LS_OK;
}

/* Notes that a tensor was stored in another way than the network holds it. */
static void note_conversion(import *in, const ls_record *record, const ls_h5_shape_text *found) {
    const char *as = ls_h5_type_name(record->type);
    int i = 0;
    while (i < in->conversion_count && (strcmp(in->conversions[i].found.text, found->text) != 0 ||
                                        strcmp(in->conversions[i].as, as) != 0))
        i++;
    if (i == MOST_CONVERSIONS) i--; /* there are not so many kinds */
    conversion *c = &in->conversions[i];
    if (i == in->conversion_count) {
        in->conversion_count++;
        c->first = name_of(record);
        c->as = as;
        c->found = *found;
    }
    c->count++;
}

/* One tensor of the shape of the record, and of its type or one that HDF5 converts to it. */
static ls_status read_tensor(import *in, ls_record *record) {
    char path[2 * LS_NAME_MAX + MOST_WRAPPED];
    ls_h5_shape_text stored;
    ls_record found = *record;
    const char *name = in->found[record - in->state.records];
    if (!name) {
        ls_h5_shape_text shape = ls_h5_describe(ls_h5_type_name(record->type), record->dims, record->shape);
        add_problem(in, "missing %s, %s", name_of(record), shape.text);
        return LS_OK;
    }
    snprintf(path, sizeof path, "%s%s", in->group, name);
    found.path = path;
    ls_status status = ls_h5_read_converted(in->file, &found, &stored);
    if (status == LS_OK && *stored.text) note_conversion(in, record, &stored);
    if (status != LS_BAD_DATA) return status;
    const char *why = ls_error_message();
    size_t file = strlen(in->state_path); /* the message begins with it, and so will the line */
    add_problem(in, "%s", strncmp(why, in->state_path, file) == 0 && why[file] == ':' ? why + file + 2 : why);
    return LS_OK;
}

static ls_status read_tensors(import *in) {
    LS_TRY(ls_calloc(&in->found, (size_t)in->expected, sizeof *in->found, "an import"));
    int nested;
    LS_TRY(ls_h5_has(in->file, "model", &nested));
    in->group = nested ? prefix : "";
    LS_TRY(ls_h5_visit_names(in->file, *in->group ? "model" : "", check_name, in));
    for (int i = 0; i < in->expected; i++) LS_TRY(read_tensor(in, &in->state.records[i]));
    if (in->problem_count == 0) return LS_OK;
    return ls_fail(LS_BAD_DATA, "%s: %d tensor%s not fit the network of %s", in->state_path,
                   in->problem_count, in->problem_count == 1 ? " does" : "s do", in->config_path);
}

/* --- values ---------------------------------------------------------------------------------------- */

static bool is_good(const ls_record *record, double least) {
    for (size_t i = 0; i < ls_record_bytes(record) / ls_h5_type_size(record->type); i++) {
        double value = record->type == LS_RECORD_F32 ? (double)((const float *)record->data)[i]
                                                     : ((const double *)record->data)[i];
        if (!isfinite(value) || value < least) return false;
    }
    return true;
}

static ls_status check_values(const import *in) {
    const ls_record *record = in->state.records;
    for (int i = 0; i < in->expected; i++, record++) {
        const char *dot = strrchr(record->path, '.');
        bool variance = i >= in->network->parameters.count && strcmp(dot, ".running_var") == 0;
        if (record->type != LS_RECORD_I64) {
            if (!is_good(record, variance ? 0 : -(double)INFINITY))
                return ls_fail(LS_BAD_DATA, "%s: %s: found a value that is %snot finite, expected numbers",
                               in->state_path, name_of(record), variance ? "negative or " : "");
        } else if (*(const int64_t *)record->data < 0 ||
                   *(const uint64_t *)record->data > LS_PROGRESS_LIMIT) {
            return ls_fail(LS_BAD_DATA, "%s: %s: found %" PRId64 " batches", in->state_path, name_of(record),
                           *(const int64_t *)record->data);
        }
    }
    return LS_OK;
}

static double value_of(const ls_record *record, int64_t i) {
    return record->type == LS_RECORD_F32 ? (double)((const float *)record->data)[i]
                                         : ((const double *)record->data)[i];
}

/* Accumulators (layers/batchnorm/statistics.h) that evaluate to the mean and variance in the records. */
static void set_statistics(const ls_statistics *s, const ls_record records[PER_STATISTICS]) {
    double n = (double)*(const int64_t *)records[2].data;
    double *first = s->values + 1, *second = first + s->channels, *third = second + s->channels;
    if (s->kind != LS_STATISTICS_EXPONENTIAL && n < 1) n = 1;
    if (s->kind == LS_STATISTICS_DATASET) n = 1;
    s->values[0] = n;
    for (int64_t c = 0; c < s->channels; c++) {
        double mean = value_of(&records[0], c), variance = value_of(&records[1], c);
        switch ((ls_statistics_kind)s->kind) {
        case LS_STATISTICS_EXPONENTIAL:
            first[c] = mean;
            second[c] = variance;
            break;
        case LS_STATISTICS_CUMULATIVE:
            first[c] = n * mean;
            second[c] = n * (mean * mean);
            third[c] = n * variance;
            break;
        case LS_STATISTICS_DATASET:
            first[c] = mean;
            second[c] = variance + mean * mean;
            break;
        }
    }
}

static ls_status fill_arenas(const ls_parameters *p, const ls_arenas *host, void *records) {
    const ls_record *record = records;
    for (int i = 0; i < p->count; i++) ls_parameter_import(p, &p->list[i], host->value, (record++)->data);
    for (int i = 0; i < p->statistics_count; i++, record += PER_STATISTICS) {
        const ls_statistics s = ls_arenas_statistics(p, host, i);
        set_statistics(&s, record);
    }
    return LS_OK;
}

/* Into the arenas, and out of them again as a checkpoint has them. */
static ls_status take_over(import *in) {
    const ls_parameters *p = &in->network->parameters;
    LS_TRY(ls_parameters_use(p, true, fill_arenas, in->state.records));
    return ls_state_export(p, &in->state);
}

static void explain_statistics(const import *in, FILE *out) {
    static const char *const lines[] = {
        NULL,
        "note: statistics: cumulative: running_mean and running_var count as those of num_batches_tracked "
        "equal batches",
        "note: statistics: dataset: running_mean and running_var stand until training collects its own"};
    const ls_parameters *p = &in->network->parameters;
    for (int kind = LS_STATISTICS_CUMULATIVE; kind <= LS_STATISTICS_DATASET; kind++)
        for (int i = 0; i < p->statistics_count; i++)
            if (p->statistics[i].kind == kind) {
                fprintf(out, "%s\n", lines[kind]);
                break;
            }
}

static void explain_reading(const import *in, FILE *out) {
    if (in->wrapped_count > 0) fprintf(out, "note: %s", in->wrapped);
    if (in->wrapped_count > 1) fprintf(out, " and %d more", in->wrapped_count - 1);
    if (in->wrapped_count > 0) fprintf(out, ": taken without what PyTorch's wrappers put in front\n");
    for (int i = 0; i < in->conversion_count; i++) {
        const conversion *c = &in->conversions[i];
        fprintf(out, "note: %s", c->first);
        if (c->count > 1) fprintf(out, " and %d more", c->count - 1);
        fprintf(out, ": found %s, converted to %s\n", c->found.text, c->as);
    }
}

/* --- the model ------------------------------------------------------------------------------------- */

static ls_status create_model(import *in) {
    const ls_options *o = &in->options;
    const ls_backend *backend;
    LS_TRY(ls_comm_create_self(&in->comm));
    LS_TRY(ls_data_load(in->comm, o->data, o->split, (uint64_t)o->seed, &in->data));
    LS_TRY(ls_network_create(in->config, in->data.train.height, in->data.train.width, in->data.train.classes,
                             &in->network));
    LS_TRY(ls_backend_find(ls_precision_dtype((ls_precision)o->precision), &backend));
    LS_TRY(ls_parameters_allocate(&in->network->parameters, backend, ls_optimizer_moments(o->optimizer), 1));
    LS_TRY(ls_network_initialise(in->network, (uint64_t)o->seed));
    LS_TRY(ls_state_create(&in->network->parameters, &in->state));
    in->expected = in->network->parameters.count + PER_STATISTICS * in->network->parameters.statistics_count;
    return LS_OK;
}

/* --- the checkpoint -------------------------------------------------------------------------------- */

/* The file that `output` means. */
static ls_status output_path(const import *in, const char *output, bool force, char **path) {
    struct stat info;
    size_t size = strlen(output) + 32;
    LS_TRY(ls_calloc(path, size, 1, "a path"));
    bool folder = stat(output, &info) == 0 && S_ISDIR(info.st_mode);
    snprintf(*path, size, folder ? "%s/checkpoint-0.h5" : "%s", output);
    LS_TRY(ls_output_check(&(ls_output){*path, in->state_path, force}, NULL));
    return ls_output_check(&(ls_output){*path, in->config_path, force}, NULL);
}

/* What a run that has not begun would save. */
static ls_status write_checkpoint(import *in, const char *path) {
    const ls_record *history;
    ls_record *all = NULL;
    ls_metrics *metrics = NULL;
    const char **names = NULL;
    char *yaml = NULL;
    int history_count, count = in->state.count;
    double score[3] = {0}, best[2] = {0, (double)INFINITY};
    ls_progress_mark mark = {.seed = (uint64_t)in->options.seed,
                             .data_digest = in->data.digest,
                             .fingerprint = ls_state_fingerprint(&in->state, 0),
                             .instruction_set = in->network->parameters.backend->instruction_set,
                             .height = (uint64_t)in->data.train.height,
                             .width = (uint64_t)in->data.train.width,
                             .classes = (uint64_t)in->data.train.classes};
    ls_status status = ls_config_resolve_result(in->config, &yaml);
    LS_TRY_GOTO(status, done, status);
    LS_TRY_GOTO(status, done, ls_calloc(&names, (size_t)count, sizeof *names, "a checkpoint"));
    for (int i = 0; i < count; i++) names[i] = in->state.records[i].path;
    LS_TRY_GOTO(status, done, ls_metrics_create(".", yaml, NULL, 0, names, count, &metrics));
    LS_TRY_GOTO(status, done, ls_metrics_records(metrics, &history, &history_count));
    LS_TRY_GOTO(status, done,
                ls_calloc(&all, (size_t)(count + history_count + 2), sizeof *all, "a checkpoint"));
    memcpy(all, in->state.records, (size_t)count * sizeof *all);
    memcpy(all + count, history, (size_t)history_count * sizeof *all);
    count += history_count;
    all[count++] = (ls_record){"progress/epoch_score", LS_RECORD_F64, 1, {3}, score};
    all[count++] = (ls_record){"progress/best", LS_RECORD_F64, 1, {2}, best};
    status = ls_checkpoint_write_file(path, &mark, yaml, all, count);
done:
    ls_metrics_destroy(&metrics);
    free(all);
    free(names);
    free(yaml);
    return status;
}

/* --- the verb -------------------------------------------------------------------------------------- */

static ls_status run(import *in, const char *output, bool force, const char *const *overrides,
                     int override_count, FILE *out) {
    char *path = NULL;
    ls_network_layer_keys(in->layers);
    LS_TRY(ls_config_load(in->config_path, overrides, override_count, &ls_option_keys, in->layers,
                          ls_layer_class_count, &in->config));
    LS_TRY(ls_config_settings(in->config, &in->options));
    LS_TRY(ls_h5_open_foreign(in->state_path, &in->file));
    ls_status status = output_path(in, output, force, &path);
    if (status == LS_OK) status = create_model(in);
    if (status == LS_OK) status = read_tensors(in);
    if (status == LS_OK) status = check_values(in);
    if (status == LS_OK) status = take_over(in);
    if (status == LS_OK) status = write_checkpoint(in, path);
    if (status == LS_OK) {
        explain_reading(in, out);
        explain_statistics(in, out);
        fprintf(out, "%s: %d tensors of %s\n", path, in->expected, in->state_path);
    }
    free(path);
    return status;
}

ls_status ls_import(const char *config, const char *state, const char *output, bool force,
                    const char *const *overrides, int override_count, FILE *out) {
import in = {.state_path = state, .config_path = config };
    ls_status status = run(&in, output, force, overrides, override_count, out);
    for (int i = 0; in.found && i < in.expected; i++) free(in.found[i]);
    free(in.found);
    ls_h5_discard(&in.file);
    ls_state_destroy(&in.state);
    ls_network_destroy(&in.network);
    ls_data_destroy(&in.data);
    ls_comm_destroy(&in.comm);
    ls_keys_free(&ls_option_keys, &in.options);
    ls_config_destroy(&in.config);
    return status;
}

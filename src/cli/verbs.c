/* What each verb does with the rest of the command line, and the table of all. */
#include "cli/verbs.h"

#include <limits.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "bench/bench.h"
#include "check/gradcheck.h"
#include "core/log.h"
#include "exchange/exchange.h"
#include "inspect/inspect.h"
#include "inspect/network_report.h"
#include "io/output.h"
#include "layers/layer.h"
#include "model/network.h"
#include "train/audit.h"
#include "train/eval.h"
#include "train/options.h"
#include "train/preview.h"
#include "train/train.h"

/* --- the end of every run -------------------------------------------------------------------------- */

int ls_end(ls_comm **comm, ls_status status) {
    bool agreed = !*comm || (*comm)->agreed || (*comm)->size == 1;
    ls_log_level level = status == LS_STOPPED ? LS_LOG_WARNING : LS_LOG_ERROR; /* the former was asked for */
    if (status != LS_OK && (!agreed || !*comm || (*comm)->rank == 0)) ls_log(level, "%s", ls_error_message());
    if (status != LS_OK && !agreed) (*comm)->class->abort(*comm, (int)status);
    ls_comm_destroy(comm);
    return (int)status;
}

ls_status ls_flush_output(void) {
    if (fflush(stdout) == 0 && !ferror(stdout)) return LS_OK;
    return ls_fail(LS_OUTPUT, "standard output cannot be written");
}

int ls_refuse(const char *format, ...) {
    ls_comm *comm = NULL;
    va_list args;
    va_start(args, format);
    ls_status status = ls_vfail(LS_USAGE, format, args);
    va_end(args);
    ls_status created = ls_comm_create("auto", &comm);
    return ls_end(&comm, created == LS_OK ? ls_comm_agree(comm, status) : created);
}

int ls_refuse_count(const ls_command_line *line) {
    const ls_verb *v = line->verb;
    int found = line->count - 1;
    return ls_refuse("%s: found %d argument%s; expected lockstep %s%s%.*s", v->name, found,
                     found == 1 ? "" : "s", v->name, *v->arguments ? " " : "",
                     (int)strcspn(v->arguments, "\n"), v->arguments);
}

/* --- verbs ----------------------------------------------------------------------------------------- */

/* Before anything is done for it. */
static ls_status check_trace(ls_comm *comm, const ls_command_line *line, const char *config_path) {
    const ls_output trace = {line->trace, config_path, line->force};
    return ls_comm_agree(comm, comm->rank == 0 ? ls_output_check(&trace, NULL) : LS_OK);
}

/* The file that --force is about, where an option names it. */
static int refuse_force(const ls_command_line *line, const char *option) {
    return ls_refuse("%s: --force is for the file of --%s, and none is given", line->verb->name, option);
}

static ls_status print_resolved(const ls_config *config) {
    char *yaml;
    LS_TRY(ls_config_resolve(config, &yaml));
    fputs(yaml, stdout);
    free(yaml);
    return ls_flush_output();
}

static int train(const ls_command_line *line) {
    ls_layer_keys layers[LS_LAYER_CLASSES_MAX];
    ls_config *config = NULL;
    ls_comm *comm = NULL;
    if (line->force && !line->trace) return refuse_force(line, "trace");
    signal(SIGPIPE, SIG_IGN); /* who reads the progress may go; the run goes on */
    ls_network_layer_keys(layers);
    const ls_start from = {line->word[1], line->word + 2, line->count - 2, layers};
    ls_status status = ls_start_verb(LS_OK, &from, &comm, &config);
    if (status == LS_OK)
        status = ls_comm_agree(comm, comm->rank == 0 ? ls_preview_check(config, line->dry_run) : LS_OK);
    if (status == LS_OK && !line->dry_run) status = check_trace(comm, line, line->word[1]);
    if (status == LS_OK && line->dry_run)
        status = ls_comm_agree(comm, comm->rank == 0 ? print_resolved(config) : LS_OK);
    else if (status == LS_OK)
        status = ls_train(comm, config, line->word[1], line->trace);
    ls_config_destroy(&config);
    return ls_end(&comm, status);
}

/* The keys that the communicator depends on, which is there before any other is read. */
static ls_status take_comm_keys(const char *const *words, int count, ls_options *o) {
    const ls_key keys[] = {*ls_key_find(&ls_option_keys, "comm"), *ls_key_find(&ls_option_keys, "timeout")};
    const ls_key_table table = {keys, sizeof keys / sizeof *keys};
    const char *rest[LS_MOST_WORDS];
    int rest_count;
    LS_TRY(ls_keys_set_defaults(&table, o));
    return ls_keys_take(&table, o, words, count, rest, &rest_count);
}

/* A verb that looks at a checkpoint's model. */
static int look_at(const ls_command_line *line, ls_status (*look)(ls_comm *comm, const ls_look *what)) {
    ls_comm *comm = NULL;
    ls_options o = {0};
    ls_look what = {line->word[1],
                    line->word + 2,
                    line->count - 2,
                    line->json,
                    {line->output, line->word[1], line->force}};
    if (line->force && !line->output) return refuse_force(line, "output");
    signal(SIGPIPE, SIG_IGN); /* who reads what is printed may go; what goes into a file is written */
    if (take_comm_keys(what.overrides, what.override_count, &o) != LS_OK) {
        char why[1024];
        snprintf(why, sizeof why, "%s", ls_error_message());
        return ls_refuse("%s", why);
    }
    ls_status status = ls_create_comm(&o, &comm);
    if (status == LS_OK) status = look(comm, &what);
    if (status == LS_OK) status = ls_comm_agree(comm, ls_flush_output());
    return ls_end(&comm, status);
}

static int eval(const ls_command_line *line) {
    return look_at(line, ls_eval);
}
static int attack(const ls_command_line *line) {
    return look_at(line, ls_attack);
}

/* LS_USAGE: no number above 0. */
static ls_status read_segments(const char *text, int64_t *segments) {
    char *end;
    *segments = 0;
    if (!text) return LS_OK;
    long long value = strtoll(text, &end, 10);
    if (end == text || *end || value < 1 || value > INT_MAX)
        return ls_fail(LS_USAGE, "audit: --segments: found '%s', expected a number above 0", text);
    *segments = value;
    return LS_OK;
}

static int audit(const ls_command_line *line) {
    ls_comm *comm = NULL;
    ls_options o = {0};
    ls_audit_request request = {.path = line->word[1],
                                .overrides = line->word + 2,
                                .override_count = line->count - 2,
                                .apart = line->apart};
    ls_status status = read_segments(line->segments, &request.segments);
    if (status == LS_OK) status = take_comm_keys(request.overrides, request.override_count, &o);
    if (status != LS_OK) {
        char why[1024];
        snprintf(why, sizeof why, "%s", ls_error_message());
        return ls_refuse("%s", why);
    }
    status = ls_create_comm(&o, &comm);
    if (status == LS_OK) status = ls_audit(comm, &request);
    if (status != LS_OK && status != LS_DIFFERENT) return ls_end(&comm, status);
    ls_status flushed = ls_comm_agree(comm, ls_flush_output());
    if (flushed != LS_OK) return ls_end(&comm, flushed);
    ls_comm_destroy(&comm);
    return (int)status; /* a difference is no failure: what it is stands on standard output */
}

static bool is_bench_kind(const char *word) {
    for (int i = 0; ls_bench_kinds[i]; i++)
        if (strcmp(ls_bench_kinds[i], word) == 0) return true;
    return false;
}

static int bench(const ls_command_line *line) {
    ls_layer_keys layers[LS_LAYER_CLASSES_MAX];
    ls_bench b = {.json = line->json, .trace = line->trace};
    const char *rest[LS_MOST_WORDS];
    int rest_count = 0;
    if (!is_bench_kind(line->word[1]))
        return ls_refuse("bench: unknown kind %s; expected lockstep bench %s", line->word[1],
                         line->verb->arguments);
    if (line->count < 3) return ls_refuse_count(line);
    if (line->trace && strcmp(line->word[1], "step") != 0)
        return ls_refuse("bench %s: takes no --trace", line->word[1]);
    if (line->force && !line->trace) return refuse_force(line, "trace");
    ls_network_layer_keys(layers);
    b.config_path = line->word[2];
    ls_status status = ls_keys_set_defaults(&ls_bench_keys, &b.options);
    if (status == LS_OK)
        status = ls_keys_take(&ls_bench_keys, &b.options, line->word + 3, line->count - 3, rest, &rest_count);
    if (status == LS_OK) status = ls_options_check_bench(rest, rest_count);
    const ls_start from = {b.config_path, rest, rest_count, layers};
    status = ls_start_verb(status, &from, &b.comm, &b.config);
    if (status == LS_OK) status = check_trace(b.comm, line, b.config_path);
    if (status == LS_OK) status = ls_bench_run(&b, line->word[1]);
    if (status == LS_OK) status = ls_comm_agree(b.comm, ls_flush_output());
    ls_config_destroy(&b.config);
    ls_keys_free(&ls_bench_keys, &b.options);
    return ls_end(&b.comm, status);
}

static int gradcheck(const ls_command_line *line) {
    (void)line;
    ls_comm *none = NULL;
    double worst;
    ls_status status = ls_gradcheck(stdout, &worst);
    return ls_end(&none, status == LS_OK ? ls_flush_output() : status);
}

static int inspect(const ls_command_line *line) {
    ls_comm *none = NULL;
    if (line->reseal) {
        if (line->json || line->count > 2)
            return ls_end(&none, ls_fail(LS_USAGE, "inspect: --reseal takes one file, and nothing else"));
        ls_status sealed = ls_reseal(line->word[1], stdout);
        return ls_end(&none, sealed == LS_OK ? ls_flush_output() : sealed);
    }
    if (ls_is_config_name(line->word[1])) {
        ls_status told =
            ls_report_network(line->word[1], line->word + 2, line->count - 2, line->json, stdout);
        return ls_end(&none, told == LS_OK ? ls_flush_output() : told);
    }
    if (line->count > 2) return ls_refuse_count(line);
    ls_status status = ls_inspect(line->word[1], line->json, stdout);
    return ls_end(&none, status == LS_OK ? ls_flush_output() : status);
}

/* A difference is no failure: what it is stands on standard output. */
static int diff(const ls_command_line *line) {
    ls_comm *none = NULL;
    ls_status status = ls_diff(line->word[1], line->word[2], stdout);
    if (status != LS_OK && status != LS_DIFFERENT) return ls_end(&none, status);
    ls_status flushed = ls_flush_output();
    return flushed == LS_OK ? (int)status : ls_end(&none, flushed);
}

static int export_model(const ls_command_line *line) {
    ls_comm *none = NULL;
    ls_status status = ls_export(line->word[1], line->format,
                                 &(ls_output){line->word[2], line->word[1], line->force}, stdout);
    return ls_end(&none, status == LS_OK ? ls_flush_output() : status);
}

static int import_state(const ls_command_line *line) {
    ls_comm *none = NULL;
    ls_status status = ls_import(line->word[1], line->word[2], line->word[3], line->force, line->word + 4,
                                 line->count - 4, stdout);
    return ls_end(&none, status == LS_OK ? ls_flush_output() : status);
}

/* --- all of them ----------------------------------------------------------------------------------- */

enum { MANY = LS_MOST_WORDS - 1 };

const ls_verb ls_verbs[] = {
    {"train", "CONFIG [KEY=VALUE ...]", 1, MANY, train,
     LS_TAKES(LS_OPTION_DRY_RUN) | LS_TAKES(LS_OPTION_TRACE) | LS_TAKES(LS_OPTION_FORCE)},
    {"eval", "CHECKPOINT [KEY=VALUE ...]", 1, MANY, eval,
     LS_TAKES(LS_OPTION_JSON) | LS_TAKES(LS_OPTION_OUTPUT) | LS_TAKES(LS_OPTION_FORCE)},
    {"attack", "CHECKPOINT [epsilon=0,0.05,..] [KEY=VALUE ...]", 1, MANY, attack,
     LS_TAKES(LS_OPTION_JSON) | LS_TAKES(LS_OPTION_OUTPUT) | LS_TAKES(LS_OPTION_FORCE)},
    {"inspect", "FILE|FOLDER\ninspect --reseal FILE\ninspect CONFIG [KEY=VALUE ...]", 1, MANY, inspect,
     LS_TAKES(LS_OPTION_JSON) | LS_TAKES(LS_OPTION_RESEAL)},
    {"diff", "A B", 2, 2, diff, 0},
    {"audit", "RUN|RESULT.json [KEY=VALUE ...]", 1, MANY, audit,
     LS_TAKES(LS_OPTION_SEGMENTS) | LS_TAKES(LS_OPTION_APART)},
    {"export", "CHECKPOINT FILE", 2, 2, export_model, LS_TAKES(LS_OPTION_FORMAT) | LS_TAKES(LS_OPTION_FORCE)},
    {"import", "CONFIG STATE.h5 FOLDER|FILE [KEY=VALUE ...]", 3, MANY, import_state,
     LS_TAKES(LS_OPTION_FORCE)},
    {"bench", "step|layers|comm|scaling CONFIG [KEY=VALUE ...]", 1, MANY, bench,
     LS_TAKES(LS_OPTION_JSON) | LS_TAKES(LS_OPTION_TRACE) | LS_TAKES(LS_OPTION_FORCE)},
    {"gradcheck", "", 0, 0, gradcheck, 0},
    {NULL, NULL, 0, 0, NULL, 0},
};

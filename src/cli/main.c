/* The command line: one binary, one verb, and the one place that exits. */
#include <argp.h>
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "bench/bench.h"
#include "check/gradcheck.h"
#include "core/log.h"
#include "exchange/exchange.h"
#include "inspect/inspect.h"
#include "inspect/network_report.h"
#include "layers/layer.h"
#include "model/network.h"
#include "train/eval.h"
#include "train/facts.h"
#include "train/options.h"
#include "train/preview.h"
#include "train/train.h"

enum { MOST_WORDS = 256 };

typedef struct command_line {
    const char *word[MOST_WORDS]; /* the verb and what follows it */
    int count;
    bool dry_run, json, verbose;
    const char *output;  /* file */
    const char *format;  /* export: of the file */
    const char *trace;   /* train, bench: file */
    const char *unknown; /* an option that the parser does not know */
} command_line;

/* --- the end of every run -------------------------------------------------------------------------- */

/* Prints a failure once: rank 0 speaks where all ranks know, else the rank itself, which then takes the others down. */
static int report(ls_comm **comm, ls_status status) {
    bool agreed = !*comm || (*comm)->agreed || (*comm)->size == 1;
    ls_log_level level = status == LS_STOPPED ? LS_LOG_WARNING : LS_LOG_ERROR; /* the former was asked for */
    if (status != LS_OK && (!agreed || !*comm || (*comm)->rank == 0)) ls_log(level, "%s", ls_error_message());
    if (status != LS_OK && !agreed) (*comm)->class->abort(*comm, (int)status);
    ls_comm_destroy(comm);
    return (int)status;
}

/* What was asked for must arrive: a full disk behind `lockstep --keys > FILE` is a failure. */
static ls_status flush_output(void) {
    if (fflush(stdout) == 0 && !ferror(stdout)) return LS_OK;
    return ls_fail(LS_OUTPUT, "standard output cannot be written");
}

static void exit_after_output(void) {
    ls_comm *none = NULL;
    exit(report(&none, flush_output()));
}

/* --- options --------------------------------------------------------------------------------------- */

enum { KEY_DRY_RUN = 256, KEY_KEYS, KEY_JSON, KEY_OUTPUT, KEY_FORMAT, KEY_TRACE };

static const struct argp_option options[] = {
    {"dry-run", KEY_DRY_RUN, NULL, 0, "train: print the resolved configuration and stop", 0},
    {"json", KEY_JSON, NULL, 0, "inspect, eval, attack, bench: print one JSON object", 0},
    {"output", KEY_OUTPUT, "FILE", 0, "eval, attack: write what was found into an HDF5 file", 0},
    {"format", KEY_FORMAT, "FORMAT", 0, "export: safetensors, the only one and the default", 0},
    {"trace", KEY_TRACE, "FILE", 0, "train, bench step: write a timeline of the first steps (Chrome trace format)", 0},
    {"keys", KEY_KEYS, NULL, 0, "print every key of a configuration and of each layer", 0},
    {"verbose", 'v', NULL, 0, "say more on standard error", 0},
    {"version", 'V', NULL, 0, "print versions: git commit, MPI, HDF5, instruction set", 0},
    {"help", '?', NULL, 0, "print this help", -1},
    {0},
};

static const char usage[] = "train CONFIG [KEY=VALUE ...]\n"
                            "eval CHECKPOINT [KEY=VALUE ...]\n"
                            "attack CHECKPOINT [epsilon=0,0.05,..] [KEY=VALUE ...]\n"
                            "inspect FILE|FOLDER\n"
                            "inspect CONFIG [KEY=VALUE ...]\n"
                            "diff A B\n"
                            "export CHECKPOINT FILE\n"
                            "import CONFIG STATE.h5 FOLDER|FILE [KEY=VALUE ...]\n"
                            "bench step|layers|comm|scaling CONFIG [KEY=VALUE ...]\n"
                            "gradcheck";

static const char about[] =
    "Trains neural networks on any number of MPI ranks, to the same bits."
    "\vCONFIG is a YAML file such as experiments/table1/row6-published.yaml; a KEY=VALUE overrides what it says:\n"
    "  mpirun -n 4 lockstep train experiments/table1/row6-published.yaml epochs=2 output=runs/try\n"
    "  lockstep eval runs/try/checkpoint-392.h5 --output runs/try/eval.h5\n"
    "  lockstep attack runs/try/checkpoint-392.h5 epsilon=0,0.1,0.2 --output runs/try/attack.h5\n"
    "  lockstep inspect runs/try\n"
    "  lockstep diff runs/try runs/again\n"
    "  lockstep export runs/try/checkpoint-392.h5 model.safetensors\n"
    "  lockstep import experiments/table1/row6-published.yaml state_dict.h5 runs/start.h5\n"
    "  mpirun -n 2 lockstep bench step experiments/table2/row1-stated.yaml threads=1 bench_steps=20\n"
    "  lockstep --keys lists the keys.\n"
    "inspect and diff take run folders, metrics.h5 files and checkpoints. diff exits with 0 if all numbers are equal, with 1 "
    "if not. export writes the model for PyTorch; import makes a checkpoint of step 0 of a PyTorch state_dict that was "
    "saved as HDF5, a dataset a tensor.";

static void print_keys(void) {
    printf("Keys of a run:\n");
    ls_keys_print_help(&ls_option_keys, stdout);
    for (int i = 0; i < ls_layer_class_count; i++) {
        printf("\nKeys of a %s layer:\n", ls_layer_classes[i]->name);
        ls_keys_print_help(&ls_layer_classes[i]->keys, stdout);
    }
    printf("\nKeys of a repeat, which stands for its layers written out:\n");
    ls_keys_print_help(&ls_config_repeat_keys, stdout);
    printf("\nKeys of attack:\n");
    ls_keys_print_help(&ls_attack_keys, stdout);
    printf("\nKeys of bench:\n");
    ls_keys_print_help(&ls_bench_keys, stdout);
    printf("\nExit codes:\n");
#define X(name, code, text) printf("  %3d  %s\n", code, text);
    LS_STATUS_LIST(X)
#undef X
}

static void print_help(const struct argp_state *state) {
    argp_help(state->root_argp, stdout, ARGP_HELP_SHORT_USAGE | ARGP_HELP_LONG | ARGP_HELP_DOC, state->name);
}

static error_t parse_option(int key, char *argument, struct argp_state *state) {
    command_line *line = state->input;
    switch (key) {
    case KEY_DRY_RUN: line->dry_run = true; return 0;
    case KEY_JSON: line->json = true; return 0;
    case KEY_OUTPUT: line->output = argument; return 0;
    case KEY_FORMAT: line->format = argument; return 0;
    case KEY_TRACE: line->trace = argument; return 0;
    case KEY_KEYS: print_keys(); exit_after_output(); return 0;
    case 'v': line->verbose = true; return 0;
    case 'V': ls_version_print(stdout); exit_after_output(); return 0;
    case '?': print_help(state); exit_after_output(); return 0;
    case ARGP_KEY_ARG:
        if (line->count == MOST_WORDS) return EINVAL;
        line->word[line->count++] = argument;
        return 0;
    case ARGP_KEY_ERROR: /* the parser stands behind the word, or on it where several short options are one word */
        if (line->count == MOST_WORDS) return 0;
        line->unknown = state->argv[state->argv[state->next - 1][0] == '-' ? state->next - 1 : state->next];
        return 0;
    default: return ARGP_ERR_UNKNOWN;
    }
}

/* --- verbs ----------------------------------------------------------------------------------------- */

/* A mistake on the command line, which every rank sees: told once. */
static ls_status refuse(const char *format, ...) __attribute__((format(printf, 1, 2)));
static ls_status refuse(const char *format, ...) {
    ls_comm *comm = NULL;
    va_list args;
    va_start(args, format);
    ls_status status = ls_vfail(LS_USAGE, format, args);
    va_end(args);
    ls_status created = ls_comm_create("auto", &comm);
    return report(&comm, created == LS_OK ? ls_comm_agree(comm, status) : created);
}

/* The communicator that the configuration asks for; one that cannot be read is agreed on the default one. */
static ls_status create_comm(const ls_config *config, ls_comm **comm) {
    static const char *const names[] = {"auto", "self", "mpi"}; /* ls_comm_kind */
    ls_options o = {0};
    if (!config) return ls_comm_create("auto", comm);
    ls_status status = ls_config_settings(config, &o);
    if (status == LS_OK) status = ls_comm_create(names[o.comm], comm);
    if (status == LS_OK) (*comm)->timeout = o.timeout;
    ls_keys_free(&ls_option_keys, &o);
    return status;
}

/* Every rank reads the configuration for itself; they must have read the same. */
static ls_status compare_config(ls_comm *comm, const ls_config *config) {
    char *own = NULL, *root = NULL;
    uint64_t size = 0;
    LS_TRY(ls_comm_agree(comm, ls_config_resolve(config, &own)));
    size = strlen(own) + 1;
    ls_status status = ls_comm_broadcast(comm, &size, sizeof size, 0);
    if (status == LS_OK) status = ls_comm_agree(comm, ls_calloc(&root, size, 1, "the configuration"));
    if (status == LS_OK) {
        if (comm->rank == 0) memcpy(root, own, size);
        status = ls_comm_broadcast(comm, root, size, 0);
    }
    if (status == LS_OK && strcmp(own, root) != 0)
        status = ls_fail(LS_USAGE, "this rank reads another configuration than rank 0");
    if (status == LS_OK || status == LS_USAGE) status = ls_comm_agree(comm, status);
    free(own);
    free(root);
    return status;
}

/* Sets up communication around a configuration that was read (or not: `status`), and agrees on it. */
static ls_status start(const ls_config *config, ls_status status, ls_comm **comm) {
    char why[1024];
    snprintf(why, sizeof why, "%s", ls_error_message());
    LS_TRY(create_comm(status == LS_OK ? config : NULL, comm));
    LS_TRY(ls_comm_agree(*comm, status == LS_OK ? LS_OK : ls_fail(status, "%s", why)));
    return compare_config(*comm, config);
}

static ls_status print_resolved(const ls_config *config) {
    char *yaml;
    LS_TRY(ls_config_resolve(config, &yaml));
    fputs(yaml, stdout);
    free(yaml);
    return flush_output();
}

static int train(const command_line *line) {
    ls_layer_keys layers[LS_LAYER_CLASSES_MAX];
    ls_config *config = NULL;
    ls_comm *comm = NULL;
    if (line->count < 2) return refuse("train: no configuration given; expected lockstep train CONFIG [KEY=VALUE ...]");
    signal(SIGPIPE, SIG_IGN); /* who reads the progress may go; the run goes on */
    ls_network_layer_keys(layers);
    ls_status status = ls_config_load(line->word[1], line->word + 2, line->count - 2, &ls_option_keys, layers,
                                      ls_layer_class_count, &config);
    status = start(config, status, &comm);
    if (status == LS_OK) status = ls_comm_agree(comm, comm->rank == 0 ? ls_preview_check(config, line->dry_run) : LS_OK);
    if (status == LS_OK && line->dry_run)
        status = ls_comm_agree(comm, comm->rank == 0 ? print_resolved(config) : LS_OK);
    else if (status == LS_OK)
        status = ls_train(comm, config, line->word[1], line->trace);
    ls_config_destroy(&config);
    return report(&comm, status);
}

/* A verb that looks at a checkpoint's model. */
static int look_at(const command_line *line, ls_status (*verb)(ls_comm *comm, const ls_look *look)) {
    ls_comm *comm = NULL;
    const char *name = line->word[0];
    if (line->count < 2)
        return refuse("%s: no checkpoint given; expected lockstep %s CHECKPOINT [KEY=VALUE ...]", name, name);
    ls_look look = {line->word[1], line->word + 2, line->count - 2, line->json, line->output};
    ls_status status = ls_comm_create("auto", &comm);
    if (status == LS_OK) status = verb(comm, &look);
    if (status == LS_OK) status = ls_comm_agree(comm, flush_output());
    return report(&comm, status);
}

static int eval(const command_line *line) { return look_at(line, ls_eval); }
static int attack(const command_line *line) { return look_at(line, ls_attack); }

static bool is_bench_kind(const char *word) {
    for (int i = 0; ls_bench_kinds[i]; i++)
        if (strcmp(ls_bench_kinds[i], word) == 0) return true;
    return false;
}

static int bench(const command_line *line) {
    ls_layer_keys layers[LS_LAYER_CLASSES_MAX];
    ls_bench b = {.json = line->json, .trace = line->trace};
    const char *rest[MOST_WORDS];
    int rest_count = 0;
    if (line->count < 2) return refuse("bench: no kind given; expected lockstep bench step|layers|comm|scaling CONFIG [KEY=VALUE ...]");
    if (!is_bench_kind(line->word[1]))
        return refuse("bench: unknown kind %s; expected lockstep bench step|layers|comm|scaling CONFIG [KEY=VALUE ...]", line->word[1]);
    if (line->count < 3) return refuse("bench: no configuration given; expected lockstep bench %s CONFIG [KEY=VALUE ...]",
                                       line->word[1]);
    if (line->trace && strcmp(line->word[1], "step") != 0) return refuse("bench %s: takes no --trace", line->word[1]);
    ls_network_layer_keys(layers);
    b.config_path = line->word[2];
    ls_status status = ls_keys_set_defaults(&ls_bench_keys, &b.options);
    if (status == LS_OK)
        status = ls_keys_take(&ls_bench_keys, &b.options, line->word + 3, line->count - 3, rest, &rest_count);
    if (status == LS_OK)
        status = ls_config_load(b.config_path, rest, rest_count, &ls_option_keys, layers, ls_layer_class_count, &b.config);
    status = start(b.config, status, &b.comm);
    if (status == LS_OK) status = ls_bench_run(&b, line->word[1]);
    if (status == LS_OK) status = ls_comm_agree(b.comm, flush_output());
    ls_config_destroy(&b.config);
    ls_keys_free(&ls_bench_keys, &b.options);
    return report(&b.comm, status);
}

static int gradcheck(const command_line *line) {
    ls_comm *none = NULL;
    double worst;
    if (line->count > 1) return refuse("gradcheck: takes no arguments; found %s", line->word[1]);
    ls_status status = ls_gradcheck(stdout, &worst);
    return report(&none, status == LS_OK ? flush_output() : status);
}

static int inspect(const command_line *line) {
    ls_comm *none = NULL;
    if (line->count > 1 && ls_is_config_name(line->word[1])) {
        if (line->json) return report(&none, ls_fail(LS_USAGE, "inspect: --json is for results, not for a configuration"));
        ls_status told = ls_report_network(line->word[1], line->word + 2, line->count - 2, stdout);
        return report(&none, told == LS_OK ? flush_output() : told);
    }
    if (line->count != 2)
        return report(&none, ls_fail(LS_USAGE, "inspect: found %d files; expected lockstep inspect FILE", line->count - 1));
    ls_status status = ls_inspect(line->word[1], line->json, stdout);
    return report(&none, status == LS_OK ? flush_output() : status);
}

/* A difference is no failure: what it is stands on standard output. */
static int diff(const command_line *line) {
    ls_comm *none = NULL;
    if (line->count != 3)
        return report(&none, ls_fail(LS_USAGE, "diff: found %d files; expected lockstep diff A B", line->count - 1));
    ls_status status = ls_diff(line->word[1], line->word[2], stdout);
    if (status != LS_OK && status != LS_DIFFERENT) return report(&none, status);
    ls_status flushed = flush_output();
    return flushed == LS_OK ? (int)status : report(&none, flushed);
}

static int export_model(const command_line *line) {
    ls_comm *none = NULL;
    if (line->count != 3)
        return report(&none, ls_fail(LS_USAGE, "export: found %d files; expected lockstep export CHECKPOINT FILE",
                                     line->count - 1));
    ls_status status = ls_export(line->word[1], line->format, line->word[2], stdout);
    return report(&none, status == LS_OK ? flush_output() : status);
}

static int import_state(const command_line *line) {
    ls_comm *none = NULL;
    if (line->count < 4)
        return report(&none, ls_fail(LS_USAGE, "import: found %d files; expected lockstep import CONFIG STATE.h5 "
                                               "FOLDER|FILE [KEY=VALUE ...]", line->count - 1));
    ls_status status = ls_import(line->word[1], line->word[2], line->word[3], line->word + 4, line->count - 4, stdout);
    return report(&none, status == LS_OK ? flush_output() : status);
}

/* Each verb and the options that it takes. */
enum { TAKES_DRY_RUN = 1, TAKES_JSON = 2, TAKES_OUTPUT = 4, TAKES_FORMAT = 8, TAKES_TRACE = 16 };
static const struct {
    const char *name;
    int (*run)(const command_line *line);
    int takes;
} verbs[] = {{"train", train, TAKES_DRY_RUN | TAKES_TRACE},
             {"eval", eval, TAKES_JSON | TAKES_OUTPUT},
             {"attack", attack, TAKES_JSON | TAKES_OUTPUT},
             {"inspect", inspect, TAKES_JSON},
             {"diff", diff, 0},
             {"export", export_model, TAKES_FORMAT},
             {"import", import_state, 0},
             {"bench", bench, TAKES_JSON | TAKES_TRACE},
             {"gradcheck", gradcheck, 0}};

/* An option that the verb does not take, or NULL. */
static const char *misplaced_option(const command_line *line, int takes) {
    if (line->dry_run && !(takes & TAKES_DRY_RUN)) return "--dry-run";
    if (line->json && !(takes & TAKES_JSON)) return "--json";
    if (line->output && !(takes & TAKES_OUTPUT)) return "--output";
    if (line->format && !(takes & TAKES_FORMAT)) return "--format";
    if (line->trace && !(takes & TAKES_TRACE)) return "--trace";
    return NULL;
}

/* A standard stream that is closed would be the number of the next file or socket that opens, and text for people would
 * go there. */
static void open_standard_streams(void) {
    for (int fd = STDIN_FILENO; fd <= STDERR_FILENO; fd++)
        if (fcntl(fd, F_GETFD) < 0 && open("/dev/null", fd == STDIN_FILENO ? O_WRONLY : O_RDONLY) != fd)
            exit(LS_INTERNAL);
}

static int run_verb(const command_line *line) {
    for (size_t i = 0; i < sizeof verbs / sizeof *verbs; i++) {
        if (strcmp(line->word[0], verbs[i].name) != 0) continue;
        const char *misplaced = misplaced_option(line, verbs[i].takes);
        return misplaced ? (int)refuse("%s: takes no %s (lockstep --help)", verbs[i].name, misplaced) : verbs[i].run(line);
    }
    return refuse("unknown verb %s; expected train, eval, attack, inspect, diff, export, import, bench or gradcheck "
                  "(lockstep --help)", line->word[0]);
}

int main(int argc, char **argv) {
    const struct argp parser = {options, parse_option, usage, about, NULL, NULL, NULL};
    command_line line = {0};
    open_standard_streams();
    error_t error = argp_parse(&parser, argc, argv, ARGP_NO_ERRS | ARGP_NO_HELP | ARGP_NO_EXIT, NULL, &line);
    if (line.unknown) return refuse("command line: %s is no option of lockstep (lockstep --help)", line.unknown);
    if (error == EINVAL) return refuse("command line: more than %d words", MOST_WORDS);
    if (error) return refuse("command line: %s", strerror(error));
    if (line.count == 0)
        return refuse("no verb given; expected train, eval, attack, inspect, diff, export, import, bench or gradcheck "
                      "(lockstep --help)");
    if (line.verbose) ls_log_set_level(LS_LOG_INFO);
    return run_verb(&line);
}

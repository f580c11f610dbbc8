/* The command line: one binary, one verb. What it says of itself comes from the tables of options and verbs.
 */
#include <argp.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <unistd.h>

#include "bench/bench.h"
#include "cli/verbs.h"
#include "core/log.h"
#include "core/team.h"
#include "layers/layer.h"
#include "train/eval.h"
#include "train/facts.h"
#include "train/options.h"

enum { VERB_NAMES = 128 };

/* --- options --------------------------------------------------------------------------------------- */

static void exit_after_output(ls_status status) {
    ls_comm *none = NULL;
    exit(ls_end(&none, status == LS_OK ? ls_flush_output() : status));
}

static const struct argp_option options[] = {
    {"dry-run", LS_OPTION_DRY_RUN, NULL, 0, "print the resolved configuration and stop", 0},
    {"json", LS_OPTION_JSON, NULL, 0, "print one JSON object", 0},
    {"output", LS_OPTION_OUTPUT, "FILE", 0, "write what was found into an HDF5 file", 0},
    {"format", LS_OPTION_FORMAT, "FORMAT", 0, "safetensors, the only one and the default", 0},
    {"trace", LS_OPTION_TRACE, "FILE", 0,
     "write a timeline of the first steps (Chrome trace format); of the benches only step does", 0},
    {"reseal", LS_OPTION_RESEAL, NULL, 0,
     "check a file that another program has changed, and seal it again if all in it is sound", 0},
    {"force", LS_OPTION_FORCE, NULL, 0, "replace the file to write where one is there", 0},
    {"segments", LS_OPTION_SEGMENTS, "N", 0,
     "replay N segments between checkpoints, drawn at random; default: all", 0},
    {"apart", LS_OPTION_APART, NULL, 0, "each rank replays segments of its own, by itself", 0},
    {"keys", LS_OPTION_KEYS, NULL, 0, "print every key of a configuration and of each layer", 0},
    {"verbose", 'v', NULL, 0, "say more on standard error", 0},
    {"version", 'V', NULL, 0, "print versions: git commit, MPI, HDF5, instruction set", 0},
    {"help", '?', NULL, 0, "print this help", -1},
    {0},
};

static const char about[] =
    "Trains neural networks on any number of MPI ranks, to the same bits."
    "\vCONFIG is a YAML file such as experiments/table1/row6-published.yaml; a KEY=VALUE overrides what it "
    "says:\n"
    "  mpirun -n 4 lockstep train experiments/table1/row6-published.yaml epochs=2 output=runs/try\n"
    "  lockstep eval runs/try/checkpoint-392.h5 --output runs/try/eval.h5\n"
    "  lockstep attack runs/try/checkpoint-392.h5 epsilon=0,0.1,0.2 --output runs/try/attack.h5\n"
    "  lockstep inspect runs/try\n"
    "  lockstep diff runs/try runs/again\n"
    "  lockstep audit runs/try --segments 2\n"
    "  lockstep export runs/try/checkpoint-392.h5 model.safetensors\n"
    "  lockstep import experiments/table1/row6-published.yaml state_dict.h5 runs/start.h5\n"
    "  mpirun -n 2 lockstep bench step experiments/table2/row1-stated.yaml threads=1 bench_steps=20\n"
    "  lockstep --keys lists the keys.\n"
    "eval and attack take the keys that say how to run, and eval_batch; bench takes all but those of train "
    "alone; "
    "inspect CONFIG and import take the same words as train. "
    "inspect and diff take run folders, metrics.h5 files and checkpoints, inspect also what eval and attack "
    "wrote. diff exits "
    "with 0 if all numbers are equal, with 1 if not, and so does audit, which trains segments of a run once "
    "more. export writes the model for PyTorch; import makes a "
    "checkpoint of step 0 of a PyTorch state_dict that "
    "was saved as HDF5, a dataset a tensor.";

/* Do only some verbs take it? */
static bool has_verbs(int option) {
    return option >= LS_OPTION_DRY_RUN && option < LS_OPTION_KEYS;
}

/* The verbs that take an option (0: all), as in "train, eval or attack", with `last` before the last of them.
 */
static void list_verbs(unsigned option, const char *last, char *text, size_t size) {
    const ls_verb *before = NULL;
    *text = '\0';
    for (const ls_verb *v = ls_verbs; v->name; v++) {
        size_t at = strlen(text);
        if (option && !(v->takes & option)) continue;
        if (before) snprintf(text + at, size - at, "%s%s", *text ? ", " : "", before->name);
        before = v;
    }
    size_t at = strlen(text);
    if (before) snprintf(text + at, size - at, "%s%s", *text ? last : "", before->name);
}

/* What to call, a line for each way. */
static void list_usage(char *text, size_t size) {
    *text = '\0';
    for (const ls_verb *v = ls_verbs; v->name; v++) {
        size_t at = strlen(text);
        snprintf(text + at, size - at, "%s%s%s%s", *text ? "\n" : "", v->name, *v->arguments ? " " : "",
                 v->arguments);
    }
}

/* argp's hook: of an option that only some verbs take, first these. What is not `text` it frees. */
static char *help_of(int key, const char *text, void *input) {
    (void)input;
    char names[VERB_NAMES], *all = NULL;
    if (!has_verbs(key)) return (char *)text;
    list_verbs(LS_TAKES(key), ", ", names, sizeof names);
    size_t size = strlen(names) + strlen(text) + 3;
    if (ls_calloc(&all, size, 1, "the help") == LS_OK) snprintf(all, size, "%s: %s", names, text);
    return all;
}

static ls_status print_keys(void) {
    const struct {
        const char *of;
        const ls_key_table *keys;
    } others[] = {{"a repeat, which stands for its layers written out", &ls_config_repeat_keys},
                  {"attack", &ls_attack_keys},
                  {"bench", &ls_bench_keys}};
    printf(
        "Keys of a run; one with a condition or with verbs in front is refused where that does not hold:\n");
    LS_TRY(ls_keys_print_help(&ls_option_keys, stdout));
    for (int i = 0; i < ls_layer_class_count; i++) {
        printf("\nKeys of the layer %s:\n", ls_layer_classes[i]->name);
        LS_TRY(ls_keys_print_help(&ls_layer_classes[i]->keys, stdout));
    }
    for (size_t i = 0; i < sizeof others / sizeof *others; i++) {
        printf("\nKeys of %s:\n", others[i].of);
        LS_TRY(ls_keys_print_help(others[i].keys, stdout));
    }
    printf("\nExit codes:\n");
#define X(name, code, text) printf("  %3d  %s\n", code, text);
    LS_STATUS_LIST(X)
#undef X
    return LS_OK;
}

/* An option that was given and that the verb does not take, or NULL. */
static const char *misplaced_option(const ls_command_line *line) {
    const unsigned misplaced = line->given & ~line->verb->takes;
    for (const struct argp_option *o = options; o->name; o++)
        if (has_verbs(o->key) && misplaced & LS_TAKES(o->key)) return o->name;
    return NULL;
}

static void print_help(const struct argp_state *state) {
    argp_help(state->root_argp, stdout, ARGP_HELP_SHORT_USAGE | ARGP_HELP_LONG | ARGP_HELP_DOC, state->name);
}

static error_t parse_option(int key, char *argument, struct argp_state *state) {
    ls_command_line *line = state->input;
    if (has_verbs(key)) line->given |= LS_TAKES(key);
    switch (key) {
    case LS_OPTION_DRY_RUN: line->dry_run = true; return 0;
    case LS_OPTION_JSON: line->json = true; return 0;
    case LS_OPTION_OUTPUT: line->output = argument; return 0;
    case LS_OPTION_FORMAT: line->format = argument; return 0;
    case LS_OPTION_FORCE: line->force = true; return 0;
    case LS_OPTION_TRACE: line->trace = argument; return 0;
    case LS_OPTION_SEGMENTS: line->segments = argument; return 0;
    case LS_OPTION_APART: line->apart = true; return 0;
    case LS_OPTION_RESEAL: line->reseal = true; return 0;
    case LS_OPTION_KEYS: exit_after_output(print_keys()); return 0;
    case 'v': line->verbose = true; return 0;
    case 'V':
        ls_version_print(stdout);
        exit_after_output(LS_OK);
        return 0;
    case '?':
        print_help(state);
        exit_after_output(LS_OK);
        return 0;
    case ARGP_KEY_ARG:
        if (line->count == LS_MOST_WORDS) return EINVAL;
        line->word[line->count++] = argument;
        return 0;
    case ARGP_KEY_ERROR: /* the parser stands behind the word, or on it where several short options are one
                            word */
        if (line->count == LS_MOST_WORDS) return 0;
        line->unknown = state->argv[state->argv[state->next - 1][0] == '-' ? state->next - 1 : state->next];
        return 0;
    default: return ARGP_ERR_UNKNOWN;
    }
}

/* A standard stream that is closed would be the number of the next file or socket that opens, and text for
 * people would go there. */
static void open_standard_streams(void) {
    for (int fd = STDIN_FILENO; fd <= STDERR_FILENO; fd++)
        if (fcntl(fd, F_GETFD) < 0 && open("/dev/null", fd == STDIN_FILENO ? O_WRONLY : O_RDONLY) != fd)
            exit(LS_INTERNAL);
}

/* A file that reaches its limit is a failed write, which is told with its path, and not a signal that ends
 * the process. The stack may grow as far as it is let: threads have their own (core/team.c). */
static ls_status prepare_limits(void) {
    struct rlimit stack;
    signal(SIGXFSZ, SIG_IGN);
    if (getrlimit(RLIMIT_STACK, &stack) != 0)
        return ls_fail(LS_INTERNAL, "the limit of the stack: %s", strerror(errno));
    if (stack.rlim_cur != RLIM_INFINITY && stack.rlim_cur < LS_LEAST_STACK) {
        stack.rlim_cur = stack.rlim_max < LS_LEAST_STACK ? stack.rlim_max : LS_LEAST_STACK;
        if (stack.rlim_cur < LS_LEAST_STACK || setrlimit(RLIMIT_STACK, &stack) != 0)
            return ls_fail(LS_INTERNAL, "the stack may have %llu KiB at most here; %d are needed (ulimit -s)",
                           (unsigned long long)stack.rlim_cur / 1024, LS_LEAST_STACK / 1024);
    }
    return ls_watch_start();
}

static int run_verb(ls_command_line *line) {
    char names[VERB_NAMES];
    for (const ls_verb *v = ls_verbs; v->name && line->count > 0; v++)
        if (strcmp(line->word[0], v->name) == 0) line->verb = v;
    if (!line->verb) {
        list_verbs(0, " or ", names, sizeof names);
        return line->count == 0
                   ? ls_refuse("no verb given; expected %s (lockstep --help)", names)
                   : ls_refuse("unknown verb %s; expected %s (lockstep --help)", line->word[0], names);
    }
    const char *misplaced = misplaced_option(line);
    if (misplaced) return ls_refuse("%s: takes no --%s (lockstep --help)", line->verb->name, misplaced);
    if (line->count - 1 < line->verb->least || line->count - 1 > line->verb->most)
        return ls_refuse_count(line);
    return line->verb->run(line);
}

int main(int argc, char **argv) {
    char usage[1024];
    const struct argp parser = {options, parse_option, usage, about, NULL, help_of, NULL};
    ls_command_line line = {0};
    ls_comm *none = NULL;
    open_standard_streams();
    if (prepare_limits() != LS_OK) return ls_end(&none, LS_INTERNAL);
    list_usage(usage, sizeof usage);
    error_t error = argp_parse(&parser, argc, argv, ARGP_NO_ERRS | ARGP_NO_HELP | ARGP_NO_EXIT, NULL, &line);
    if (line.unknown)
        return ls_refuse("command line: %s is no option of lockstep (lockstep --help)", line.unknown);
    if (error == EINVAL) return ls_refuse("command line: more than %d words", LS_MOST_WORDS);
    if (error) return ls_refuse("command line: %s", strerror(error));
    if (line.verbose) ls_log_set_level(LS_LOG_INFO);
    return run_verb(&line);
}

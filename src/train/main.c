/* The command line: one binary, one verb, and the one place that exits. */
#include <argp.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "check/gradcheck.h"
#include "core/log.h"
#include "layers/layer.h"
#include "model/network.h"
#include "train/facts.h"
#include "train/options.h"
#include "train/train.h"

enum { MOST_WORDS = 256 };

typedef struct command_line {
    const char *word[MOST_WORDS]; /* the verb and what follows it */
    int count;
    bool dry_run, verbose;
} command_line;

/* --- options -------------------------------------------------------------------------------------------------------- */

enum { KEY_DRY_RUN = 256, KEY_KEYS };

static const struct argp_option options[] = {
    {"dry-run", KEY_DRY_RUN, NULL, 0, "train: print the resolved configuration and stop", 0},
    {"keys", KEY_KEYS, NULL, 0, "print every key of a configuration and of each layer", 0},
    {"verbose", 'v', NULL, 0, "say more on standard error", 0},
    {"version", 'V', NULL, 0, "print versions: git commit, MPI, HDF5, instruction set", 0},
    {0},
};

static const char usage[] = "train CONFIG [KEY=VALUE ...]\neval CHECKPOINT [KEY=VALUE ...]\ngradcheck";

static const char about[] =
    "Trains neural networks on any number of MPI ranks, to the same bits."
    "\vCONFIG is a YAML file such as experiments/table1/row6-published.yaml; a KEY=VALUE overrides what it says:\n"
    "  mpirun -n 4 lockstep train experiments/table1/row6-published.yaml epochs=2 output=runs/try\n"
    "  lockstep eval runs/try/checkpoint-392.h5\n"
    "  lockstep --keys lists the keys.";

static void print_keys(void) {
    printf("Keys of a run:\n");
    ls_keys_print_help(&ls_option_keys, stdout);
    for (int i = 0; i < ls_layer_class_count; i++) {
        printf("\nKeys of a %s layer:\n", ls_layer_classes[i]->name);
        ls_keys_print_help(&ls_layer_classes[i]->keys, stdout);
    }
    printf("\nExit codes:\n");
#define X(name, code, text) printf("  %3d  %s\n", code, text);
    LS_STATUS_LIST(X)
#undef X
}

static error_t parse_option(int key, char *argument, struct argp_state *state) {
    command_line *line = state->input;
    switch (key) {
    case KEY_DRY_RUN: line->dry_run = true; return 0;
    case KEY_KEYS: print_keys(); exit(LS_OK);
    case 'v': line->verbose = true; return 0;
    case 'V': fputs(ls_version_text(), stdout); exit(LS_OK);
    case ARGP_KEY_ARG:
        if (line->count == MOST_WORDS) argp_error(state, "more than %d arguments", MOST_WORDS);
        line->word[line->count++] = argument;
        return 0;
    case ARGP_KEY_END:
        if (line->count == 0) argp_usage(state);
        return 0;
    default: return ARGP_ERR_UNKNOWN;
    }
}

/* --- verbs ---------------------------------------------------------------------------------------------------------- */

/* Prints a failure once: rank 0 speaks where all ranks know, else the rank itself, which then takes the others down. */
static int report(ls_comm **comm, ls_status status) {
    bool agreed = !*comm || (*comm)->agreed || (*comm)->size == 1;
    if (status != LS_OK && (!agreed || !*comm || (*comm)->rank == 0)) ls_log(LS_LOG_ERROR, "%s", ls_error_message());
    if (status != LS_OK && !agreed) (*comm)->class->abort(*comm, (int)status);
    ls_comm_destroy(comm);
    return (int)status;
}

/* The communicator that the configuration asks for; one that cannot be read is agreed on the default one. */
static ls_status create_comm(const ls_config *config, ls_comm **comm) {
    static const char *const names[] = {"auto", "self", "mpi"}; /* ls_comm_kind */
    ls_options o = {0};
    if (!config) return ls_comm_create("auto", comm);
    ls_status status = ls_config_settings(config, &o);
    if (status == LS_OK) status = ls_comm_create(names[o.comm], comm);
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
    return LS_OK;
}

static int train(const command_line *line) {
    ls_layer_keys layers[LS_LAYER_CLASSES_MAX];
    ls_config *config = NULL;
    ls_comm *comm = NULL;
    if (line->count < 2) {
        ls_log(LS_LOG_ERROR, "train: no configuration given; expected lockstep train CONFIG [KEY=VALUE ...]");
        return LS_USAGE;
    }
    ls_network_layer_keys(layers);
    ls_status status = ls_config_load(line->word[1], line->word + 2, line->count - 2, &ls_option_keys, layers,
                                      ls_layer_class_count, &config);
    if (line->dry_run) {
        if (status == LS_OK) status = print_resolved(config);
    } else {
        status = start(config, status, &comm);
        if (status == LS_OK) status = ls_train(comm, config, line->word[1]);
    }
    ls_config_destroy(&config);
    return report(&comm, status);
}

static int eval(const command_line *line) {
    ls_comm *comm = NULL;
    if (line->count < 2) {
        ls_log(LS_LOG_ERROR, "eval: no checkpoint given; expected lockstep eval CHECKPOINT [KEY=VALUE ...]");
        return LS_USAGE;
    }
    ls_status status = ls_comm_create("auto", &comm);
    if (status == LS_OK) status = ls_eval(comm, line->word[1], line->word + 2, line->count - 2);
    return report(&comm, status);
}

static int gradcheck(const command_line *line) {
    ls_comm *none = NULL;
    double worst;
    if (line->count > 1) {
        ls_log(LS_LOG_ERROR, "gradcheck: takes no arguments; found %s", line->word[1]);
        return LS_USAGE;
    }
    return report(&none, ls_gradcheck(stdout, &worst));
}

static const struct {
    const char *name;
    int (*run)(const command_line *line);
} verbs[] = {{"train", train}, {"eval", eval}, {"gradcheck", gradcheck}};

int main(int argc, char **argv) {
    const struct argp parser = {options, parse_option, usage, about, NULL, NULL, NULL};
    command_line line = {0};
    argp_err_exit_status = LS_USAGE;
    error_t error = argp_parse(&parser, argc, argv, 0, NULL, &line);
    if (error) {
        ls_log(LS_LOG_ERROR, "command line: %s", strerror(error));
        return LS_USAGE;
    }
    if (line.verbose) ls_log_set_level(LS_LOG_INFO);
    for (size_t i = 0; i < sizeof verbs / sizeof *verbs; i++)
        if (strcmp(line.word[0], verbs[i].name) == 0) return verbs[i].run(&line);
    ls_log(LS_LOG_ERROR, "unknown verb %s; expected train, eval or gradcheck (lockstep --help)", line.word[0]);
    return LS_USAGE;
}

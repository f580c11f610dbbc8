/* What stands on the command line, and the verbs that it may call. */
#ifndef LOCKSTEP_CLI_VERBS_H
#define LOCKSTEP_CLI_VERBS_H

#include <stdbool.h>

#include "dist/comm.h"
#include "io/config.h"
#include "layers/layer.h"
#include "train/options.h"

enum { LS_MOST_WORDS = 256 };

/* Options: first those that only some verbs take. */
enum {
    LS_OPTION_DRY_RUN = 256,
    LS_OPTION_JSON,
    LS_OPTION_OUTPUT,
    LS_OPTION_FORMAT,
    LS_OPTION_TRACE,
    LS_OPTION_RESEAL,
    LS_OPTION_FORCE,
    LS_OPTION_SEGMENTS,
    LS_OPTION_APART,
    LS_OPTION_KEYS
};
#define LS_TAKES(option) (1u << ((option)-LS_OPTION_DRY_RUN))

typedef struct ls_command_line {
    const struct ls_verb *verb;
    const char *word[LS_MOST_WORDS]; /* the verb and its arguments */
    int count;
    bool dry_run, json, verbose, reseal, force, apart;
    unsigned given;       /* LS_TAKES() of the options that only some verbs take */
    const char *output;   /* file */
    const char *format;   /* export: of the file */
    const char *trace;    /* train, bench: file */
    const char *segments; /* audit: how many */
    const char *unknown;  /* an option that the parser does not know */
} ls_command_line;

typedef struct ls_verb {
    const char *name;
    const char *arguments;                   /* for people; each way to call it on a line of its own */
    int least, most;                         /* arguments */
    int (*run)(const ls_command_line *line); /* returns the exit code */
    unsigned takes;                          /* LS_TAKES() */
} ls_verb;

/* Ended by one without a name. */
extern const ls_verb ls_verbs[];

/* The end of every run: prints a failure once, by rank 0 where all ranks know, else by the rank itself, which
 * then takes the others down. Destroys the communicator (NULL: there is none) and returns the exit code. */
int ls_end(ls_comm **comm, ls_status status);
/* From here on the process ends with a line of its own and LS_INTERNAL where MPI cannot start. Once. */
ls_status ls_watch_start(void);
/* A mistake on the command line, which every rank sees: told once. Returns the exit code. */
int ls_refuse(const char *format, ...) __attribute__((format(printf, 1, 2)));
/* The same of too few words behind the verb, or too many. */
int ls_refuse_count(const ls_command_line *line);
/* LS_OUTPUT: what was printed has not arrived. A full disk behind `lockstep --keys > FILE` is a failure.
 * Local. */
ls_status ls_flush_output(void);

/* The communicator that the options ask for. Collective. */
ls_status ls_create_comm(const ls_options *options, ls_comm **comm);

/* A configuration as the command line names it. */
typedef struct ls_start {
    const char *path;
    const char *const *overrides;
    int count;
    const ls_layer_keys *layers; /* [ls_layer_class_count] */
} ls_start;

/* Reads the configuration, creates the communicator that it asks for, and agrees. Each rank reads files for
 * itself; what can be read only once (a pipe, `<(..)` of a shell) rank 0 reads for all. `before`: a failure of this
 * rank that is to be agreed. *comm and *config are the caller's, also after a failure. Collective. */
ls_status ls_start_verb(ls_status before, const ls_start *from, ls_comm **comm, ls_config **config);

#endif

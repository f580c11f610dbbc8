#include "bench/bench.h"

#include <stddef.h>
#include <string.h>

#include "bench/kinds.h"

#define INT(member_, initial_, min_, max_, help_)                                                            \
    {                                                                                                        \
        .name = #member_, .type = LS_KEY_INT, .effect = LS_KEY_RUN,                                          \
        .offset = offsetof(ls_bench_options, member_), .initial = (initial_), .min = (min_), .max = (max_),  \
        .help = (help_)                                                                                      \
    }

static const ls_key rows[] = {
    INT(bench_steps, "30", 1, 1e6, "steps that are timed, or repetitions of what is timed by itself"),
    INT(bench_warmup, "5", 0, 1e6, "steps before them"),
    INT(bench_copy, "0", 0, 1 << 20,
        "MiB of a host whose copying is timed; 0: four times the last cache, from 64 to 512"),
    {.name = "bench_data",
     LS_KEY_CHOICE,
     LS_KEY_RUN,
     offsetof(ls_bench_options, bench_data),
     "auto",
     0,
     0,
     "auto|real|made",
     "train on what the configuration names, on images of MNIST's kind made here, or on these where there is "
     "no data"},
    {.name = "bench_sizes",
     LS_KEY_INT_LIST,
     LS_KEY_RUN,
     offsetof(ls_bench_options, bench_sizes),
     "[4096, 16384, 65536, 262144, 700000, 1048576, 2100000, 4194304, 8388608]",
     8,
     1 << 28,
     NULL,
     "comm: bytes of the gradients that are summed, beside that of the configuration"},
};

const ls_key_table ls_bench_keys = {rows, sizeof rows / sizeof *rows};

static const struct {
    const char *name;
    ls_status (*run)(const ls_bench *bench);
} kinds[] = {{"step", ls_bench_step},
             {"layers", ls_bench_layers},
             {"comm", ls_bench_comm},
             {"scaling", ls_bench_scaling}};

enum { KINDS = sizeof kinds / sizeof *kinds };

const char *const ls_bench_kinds[] = {"step", "layers", "comm", "scaling", NULL};

ls_status ls_bench_run(const ls_bench *bench, const char *kind) {
    for (int i = 0; i < KINDS; i++)
        if (strcmp(kinds[i].name, kind) == 0) return kinds[i].run(bench);
    return ls_comm_everywhere(bench->comm, ls_fail(LS_USAGE, "bench: unknown kind %s", kind));
}

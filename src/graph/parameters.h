/* The state of a model: parameters in one flat arena, gradients and moments in others of the same layout, and
 * one table of named slices. All-reduce, optimizer, checkpoint, fingerprint and inspection are loops over
 * that table.
 *
 * Arenas hold kernel layout; names, shapes and order are PyTorch's (state_dict), and ls_parameter_export and
 * _import convert. The order of the table is the order of checkpoints. */
#ifndef LOCKSTEP_GRAPH_PARAMETERS_H
#define LOCKSTEP_GRAPH_PARAMETERS_H

#include <stdbool.h>
#include <stdint.h>

#include "core/backend.h"
#include "core/status.h"

enum { LS_NAME_MAX = 64 };

typedef enum ls_parameter_layout {
    LS_LAYOUT_VECTOR, /* [n] here and there */
    LS_LAYOUT_DENSE,  /* [inputs][outputs] here, [outputs][inputs] there */
    LS_LAYOUT_CONV2D  /* [kh][kw][inputs][outputs] here, [outputs][inputs][kh][kw] there */
} ls_parameter_layout;

typedef struct ls_parameter {
    char name[LS_NAME_MAX]; /* "1.weight" */
    ls_parameter_layout layout;
    int dims;
    int64_t shape[4];      /* PyTorch's */
    int64_t offset, count; /* elements in the arenas */
    bool summed; /* the gradient is a sum over nodes, added over ranks at the end of the step; otherwise it
                    comes out of sums that already are global (scale and shift of a BatchNorm) */
    bool
        all_shards; /* the plan computes the gradient over all shards at once, into `reduced`: of one rank, or of
                    all (ls_graph_share()) */
    bool host_shards; /* the same over the shards of this host's ranks alone: what remains is to be added over
                         hosts */
} ls_parameter;

/* Running statistics of one BatchNorm, in double (layers/batchnorm/statistics.h says what the accumulators
 * hold). */
typedef struct ls_statistics {
    char name[LS_NAME_MAX]; /* of the layer: "0" */
    int kind;               /* ls_statistics_kind */
    double momentum;
    int64_t channels;
    double *values; /* [1 + 3 channels]: count, then three accumulators; in the arena below */
} ls_statistics;

typedef struct ls_parameters {
    const ls_backend *backend;
    ls_parameter *list;
    int count, capacity;
    ls_statistics *statistics;
    int statistics_count, statistics_capacity;
    double *statistics_values; /* of all of them, one after the other; always this rank's own */
    int64_t elements;          /* of all parameters: what "the number of parameters" means */
    int64_t summed;          /* arena elements [0, summed) are those whose gradients are summed over nodes */
    int64_t total;           /* arena elements, padding included */
    void *value;             /* [total] */
    void *moment1, *moment2; /* [total], if the optimizer has them, else NULL */
    void *gradient;          /* [nodes][summed], then [total - summed]: what backward passes write */
    void *reduced; /* [total] the sum over all nodes of all ranks, which the optimizer reads; where one node
                      is all that there is, that is `gradient` itself */
    int nodes;
    bool lent;  /* no arena is this rank's own memory; ranks share all but `gradient` .. */
    bool keeps; /* .. and another of them sets values and moments when they are initialised or imported */
} ls_parameters;

/* Memory for arenas in a window of the ranks of a host (dist/window.h), zeroed and aligned to 64. */
typedef struct ls_lent_arenas {
    void *gradient;                            /* this rank's */
    void *value, *reduced, *moment1, *moment2; /* shared; moments NULL where the optimizer has none */
    bool keep;                                 /* of the ranks that share them, one sets them: not this one */
} ls_lent_arenas;

/* Declares a parameter; later calls may move the list, so keep its index (*index), not its address. */
ls_status ls_parameters_add(ls_parameters *parameters, const char *layer, const char *what,
                            ls_parameter_layout layout, int dims, const int64_t *shape, bool summed,
                            int *index);
ls_status ls_parameters_add_statistics(ls_parameters *parameters, const char *layer, int kind,
                                       double momentum, int64_t channels, int *index);

/* Lays out the arenas: sets summed and total, after all parameters are declared. */
void ls_parameters_lay_out(ls_parameters *parameters);

/* Lays out and allocates the arenas, zeroed, after all parameters are declared; `moments`: 0, 1 or 2. */
ls_status ls_parameters_allocate(ls_parameters *parameters, const ls_backend *backend, int moments,
                                 int nodes);
/* The same with arenas that must outlive the parameters. Local. */
ls_status ls_parameters_borrow(ls_parameters *parameters, const ls_backend *backend,
                               const ls_lent_arenas *lent, int nodes);
/* Frees everything and zeroes the struct; safe twice. */
void ls_parameters_destroy(ls_parameters *parameters);

/* Products that a layer of this weight adds up for one sample, with an output of so many pixels (zeros of a
 * padding among them); 0 of a vector. As many again make the gradient of the weight, and as many that of the
 * input. */
static inline int64_t ls_parameter_products(const ls_parameter *parameter, int64_t pixels) {
    return parameter->layout == LS_LAYOUT_VECTOR ? 0 : parameter->count * pixels;
}

/* Elements of the gradient that are added over nodes: all summed ones, but those that a plan computes as a
 * whole. */
int64_t ls_parameters_added(const ls_parameters *parameters);

/* Address of element `offset` of an arena. */
void *ls_arena_at(const ls_parameters *parameters, void *arena, int64_t offset);

/* Where a parameter's gradient goes: the base for node 0; further nodes are ls_parameters_node_stride()
 * elements on. */
void *ls_parameter_gradient(const ls_parameters *parameters, const ls_parameter *parameter);

/* The state for the host to read and write (core/backend.h): arenas, NULL where the parameters have none. */
typedef struct ls_arenas {
    void *value, *moment1, *moment2; /* [total] */
    double *statistics;              /* as statistics_values */
} ls_arenas;
/* Opens the state, calls `use`, and closes the state. `changes`: what it leaves there is kept if it returns LS_OK.
 * Its failure is passed on, else that of opening or closing. */
typedef ls_status ls_arenas_use(const ls_parameters *parameters, const ls_arenas *host, void *client);
ls_status ls_parameters_use(const ls_parameters *parameters, bool changes, ls_arenas_use *use, void *client);
/* The i-th statistics with their values there. */
ls_statistics ls_arenas_statistics(const ls_parameters *parameters, const ls_arenas *host, int i);
/* Doubles that all statistics have. */
size_t ls_parameters_statistics(const ls_parameters *parameters);

/* One slice of an arena, open to the host, in PyTorch's layout, [count] elements. */
void ls_parameter_export(const ls_parameters *parameters, const ls_parameter *parameter, const void *arena,
                         void *out);
void ls_parameter_import(const ls_parameters *parameters, const ls_parameter *parameter, void *arena,
                         const void *in);

/* Sets a parameter from doubles in PyTorch's layout, rounded once; where another rank does (keeps), nothing.
 */
ls_status ls_parameter_set(ls_parameters *parameters, const ls_parameter *parameter, const double *values);

#endif

/* A layer as the configuration knows it: a name, its keys, what it declares and what it puts on a graph. One
 * class per folder; the list of all is in layers.c, and ls_layer_register() adds others to it. */
#ifndef LOCKSTEP_LAYERS_LAYER_H
#define LOCKSTEP_LAYERS_LAYER_H

#include "core/keys.h"
#include "graph/op.h"

typedef struct ls_layer ls_layer;

typedef struct ls_layer_class {
    const char *name;
    ls_key_table keys;
    size_t settings_size;
    /* Checks the input's shape, sets the output's and declares parameters and statistics; the layers in it
     * are declared already. LS_USAGE: the message says what is wrong and names shapes; the caller puts the
     * layer's position in front. */
    ls_status (*declare)(ls_layer *layer, ls_parameters *parameters);
    /* Sets the initial parameters, but not those of the layers in it; NULL: none, or zeros do. */
    ls_status (*initialise)(const ls_layer *layer, ls_parameters *parameters, uint64_t seed);
    /* Puts the layer's ops on the graph. */
    ls_tensor *(*apply)(const ls_layer *layer, ls_graph *graph, ls_tensor *x);
    /* Can a training batch of so few samples teach it anything? LS_USAGE: the message says why not. NULL:
     * yes. */
    ls_status (*check_batch)(const ls_layer *layer, int64_t samples);
} ls_layer_class;

enum { LS_LAYER_PARAMETERS = 2, LS_LAYER_BRANCHES = 2 };

/* Layers one after the other: a network, or one of the lists in a layer. */
typedef struct ls_layer_list {
    ls_layer *layers;
    int count, capacity;
    int out_dims; /* of the last layer, or of the input where there is none */
    int64_t out[LS_MAX_DIMS];
} ls_layer_list;

struct ls_layer {
    const ls_layer_class *class;
    void *settings;         /* the class's own struct, filled from the configuration */
    char *position;         /* "FILE:LINE:COLUMN", NULL for one that was made in C; owned */
    char name[LS_NAME_MAX]; /* "1", "3.body.0", or with what `name` says: the prefix of its parameters */
    int in_dims, out_dims;
    int64_t in[LS_MAX_DIMS], out[LS_MAX_DIMS];
    int parameter[LS_LAYER_PARAMETERS]; /* indices of what it declared */
    int statistics;
    ls_layer_list branch[LS_LAYER_BRANCHES]; /* for each key of LS_KEY_LAYERS, in the order of the table */
};

enum { LS_LAYER_CLASSES_MAX = 64 };

/* Every layer type, at most LS_LAYER_CLASSES_MAX, in the order of --help; those of this library first. */
extern const ls_layer_class *const *const ls_layer_classes;
extern int ls_layer_class_count; /* set by ls_layer_register() alone */

/* Adds a layer type from outside: from then on configurations and ls_build() know it. The class, which is not
 * copied, must live as long as the process; call it at the start, before any other thread. LS_USAGE: there is
 * a type of that name, no room, or the class lacks something. */
ls_status ls_layer_register(const ls_layer_class *class);

/* The keys of a class that hold layers: LS_LAYER_BRANCHES at most. */
int ls_layer_branches(const ls_layer_class *class);
/* The branch-th of them. */
const ls_key *ls_layer_branch_key(const ls_layer_class *class, int branch);

/* Puts the layers on a graph; returns the last one's output, x if there are none. */
ls_tensor *ls_layers_apply(const ls_layer_list *list, ls_graph *graph, ls_tensor *x);

/* For layers whose output has the shape of their input. */
void ls_layer_same_shape(ls_layer *layer);
/* declare() of those of them that have no parameters. */
ls_status ls_layer_declare_same_shape(ls_layer *layer, ls_parameters *parameters);

/* A row of a layer's table: the key of that member of its settings, an LS_KEY_INT and so on. */
#define LS_LAYER_KEY(settings, type_, member, initial_, min_, max_, choices_, help_)                         \
    {                                                                                                        \
        .name = #member, .type = LS_KEY_##type_, .effect = LS_KEY_RESULT,                                    \
        .offset = offsetof(settings, member), .initial = (initial_), .min = (min_), .max = (max_),           \
        .choices = (choices_), .help = (help_)                                                               \
    }
/* The key `name`, which most layers have. */
#define LS_LAYER_NAME_KEY(settings) LS_LAYER_KEY(settings, STRING, name, "", 0, 0, NULL, "name of the layer")

/* For layers whose only key that is: their settings and their table, as members of the class. */
typedef struct ls_layer_name_settings {
    char *name;
} ls_layer_name_settings;
extern const ls_key ls_layer_name_keys[1];
#define LS_LAYER_NAME_ALONE .keys = {ls_layer_name_keys, 1}, .settings_size = sizeof(ls_layer_name_settings)

#endif

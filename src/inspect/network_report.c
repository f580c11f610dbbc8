#include "inspect/network_report.h"

#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#include "train/memory.h"
#include "train/preview.h"

enum { NAME_WIDTH = 34, TYPE_WIDTH = 20, SHAPE_WIDTH = 12 };

bool ls_is_config_name(const char *path) {
    const char *dot = strrchr(path, '.');
    return dot && (strcmp(dot, ".yaml") == 0 || strcmp(dot, ".yml") == 0);
}

/* --- layers ---------------------------------------------------------------------------------------- */

/* Parameters, and operations for one sample. */
typedef struct cost {
    int64_t parameters, forward, backward;
} cost;

static void add_cost(cost *to, const cost *more) {
    to->parameters += more->parameters;
    to->forward += more->forward;
    to->backward += more->backward;
}

/* Is this a parameter of the layer itself: its name and one word more? */
static bool belongs(const ls_parameter *parameter, const ls_layer *layer) {
    size_t length = strlen(layer->name);
    return strncmp(parameter->name, layer->name, length) == 0 && parameter->name[length] == '.' &&
           !strchr(parameter->name + length + 1, '.');
}

/* What the layer costs without those in it; `gradient`: its input needs one. */
static cost own_cost(const ls_network *network, const ls_layer *layer, bool gradient) {
    cost own = {0};
    for (int i = 0; i < network->parameters.count; i++) {
        const ls_parameter *p = &network->parameters.list[i];
        if (!belongs(p, layer)) continue;
        own.parameters += p->count;
        int64_t products =
            ls_parameter_products(p, p->layout == LS_LAYOUT_CONV2D ? layer->out[0] * layer->out[1] : 1);
        own.forward += 2 * products;
        own.backward += (gradient ? 4 : 2) * products;
    }
    return own;
}

static cost report_layers(const ls_network *network, const ls_layer_list *list, int indent, bool *gradient,
                          FILE *out);

static cost report_layer(const ls_network *network, const ls_layer *layer, int indent, bool *gradient,
                         FILE *out) {
    char shape[64];
    cost sum = own_cost(network, layer, *gradient);
    bool before = *gradient;
    fprintf(out, "%*s%-*s %-*s ", indent, "", NAME_WIDTH - indent, layer->name, TYPE_WIDTH,
            layer->class->name);
    ls_shape_text(layer->out_dims, layer->out, shape, sizeof shape);
    if (sum.parameters == 0)
        fprintf(out, "%s\n", shape);
    else if (sum.forward == 0)
        fprintf(out, "%-*s %12" PRId64 "\n", SHAPE_WIDTH, shape, sum.parameters);
    else
        fprintf(out, "%-*s %12" PRId64 " %14" PRId64 " %14" PRId64 "\n", SHAPE_WIDTH, shape, sum.parameters,
                sum.forward, sum.forward + sum.backward);
    if (sum.parameters > 0) *gradient = true;
    for (int b = 0; b < ls_layer_branches(layer->class); b++) {
        bool branch = before;
        if (ls_layer_branches(layer->class) > 1 && layer->branch[b].count > 0)
            fprintf(out, "%*s%s:\n", indent + 1, "", ls_layer_branch_key(layer->class, b)->name);
        cost inner = report_layers(network, &layer->branch[b], indent + 2, &branch, out);
        add_cost(&sum, &inner);
        *gradient = *gradient || branch;
    }
    return sum;
}

static cost report_layers(const ls_network *network, const ls_layer_list *list, int indent, bool *gradient,
                          FILE *out) {
    cost sum = {0};
    for (int i = 0; i < list->count; i++) {
        cost one = report_layer(network, &list->layers[i], indent, gradient, out);
        add_cost(&sum, &one);
    }
    return sum;
}

/* --- memory ---------------------------------------------------------------------------------------- */

static double mib(size_t bytes) {
    return (double)bytes / (1 << 20);
}

static ls_status report_memory(const ls_config *config, int ranks, FILE *out) {
    ls_memory m;
    LS_TRY(ls_memory_estimate(config, ranks, &m));
    fprintf(out, "%6d %12.1f %12.1f %12.1f %12.1f %12.1f\n", ranks, mib(m.state), mib(m.gradients),
            mib(m.training), mib(m.evaluating), mib(ls_memory_sum(&m)));
    return LS_OK;
}

/* --- all ------------------------------------------------------------------------------------------- */

static void introduce(const char *path, const ls_preview *p, FILE *out) {
    fprintf(out, "%s: images of %dx%dx1 in %d classes, ", path, p->sizes.height, p->sizes.width,
            p->sizes.classes);
    if (p->folder)
        fprintf(out, "those of %s\n", p->folder);
    else
        fprintf(out, "assumed, since no data is found\n");
    fprintf(out, "\n%-*s %-*s %-*s %12s %14s %14s\n", NAME_WIDTH, "layer", TYPE_WIDTH, "type", SHAPE_WIDTH,
            "output", "parameters", "forward FLOP", "training FLOP");
}

static ls_status report(const char *path, const ls_config *config, FILE *out) {
    ls_preview p;
    bool gradient = false;
    LS_TRY(ls_preview_create(config, &p));
    introduce(path, &p, out);
    cost sum = report_layers(p.network, &p.network->list, 0, &gradient, out);
    int64_t shards = p.options.shards, batch = p.options.batch;
    fprintf(out, "%-*s %12" PRId64 " %14" PRId64 " %14" PRId64 "\n\n",
            NAME_WIDTH + TYPE_WIDTH + SHAPE_WIDTH + 2, "all, FLOP of one sample", sum.parameters, sum.forward,
            sum.forward + sum.backward);
    fprintf(out, "a training step of %" PRId64 " samples: %.3g GFLOP\n", batch,
            1e-9 * (double)batch * (double)(sum.forward + sum.backward));
    fprintf(out, "the training images on every rank: %.1f MiB\n\n",
            mib((size_t)p.sizes.count * (size_t)p.sizes.height * (size_t)p.sizes.width));
    fprintf(out,
            "MiB on rank 0 of so many; ranks of one node share the state and gradients of dense layers:\n"
            "%6s %12s %12s %12s %12s %12s\n",
            "ranks", "state", "gradients", "training", "evaluation", "sum");
    ls_preview_destroy(&p);
    for (int ranks = 1; ranks <= shards && ranks <= 16; ranks *= 2) LS_TRY(report_memory(config, ranks, out));
    return LS_OK;
}

ls_status ls_report_network(const char *path, const char *const *overrides, int override_count, FILE *out) {
    ls_layer_keys tables[LS_LAYER_CLASSES_MAX];
    ls_config *config;
    ls_network_layer_keys(tables);
    LS_TRY(ls_config_load(path, overrides, override_count, &ls_option_keys, tables, ls_layer_class_count,
                          &config));
    ls_status status = report(path, config, out);
    ls_config_destroy(&config);
    return status;
}

#include "inspect/network_report.h"

#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#include "core/backend_cuda.h"
#include "io/json.h"
#include "train/device.h"
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

/* To a stream, or as JSON. */
typedef struct writer {
    FILE *out;
    ls_json *json; /* NULL: text */
} writer;

static void print_layer(const ls_layer *layer, int indent, const cost *own, FILE *out) {
    char shape[64];
    fprintf(out, "%*s%-*s %-*s ", indent, "", NAME_WIDTH - indent, layer->name, TYPE_WIDTH,
            layer->class->name);
    ls_shape_text(layer->out_dims, layer->out, shape, sizeof shape);
    if (own->parameters == 0)
        fprintf(out, "%s\n", shape);
    else if (own->forward == 0)
        fprintf(out, "%-*s %12" PRId64 "\n", SHAPE_WIDTH, shape, own->parameters);
    else
        fprintf(out, "%-*s %12" PRId64 " %14" PRId64 " %14" PRId64 "\n", SHAPE_WIDTH, shape, own->parameters,
                own->forward, own->forward + own->backward);
}

static void write_cost(ls_json *json, const cost *c) {
    ls_json_count(json, "parameters", (uint64_t)c->parameters);
    ls_json_count(json, "forward_flop", (uint64_t)c->forward);
    ls_json_count(json, "training_flop", (uint64_t)(c->forward + c->backward));
}

static void write_layer(const ls_layer *layer, const cost *own, ls_json *json) {
    ls_json_text(json, "name", layer->name);
    ls_json_text(json, "type", layer->class->name);
    ls_json_begin(json, "output", '[');
    for (int i = 0; i < layer->out_dims; i++) ls_json_count(json, NULL, (uint64_t)layer->out[i]);
    ls_json_end(json, ']');
    write_cost(json, own);
}

static cost report_layers(const ls_network *network, const ls_layer_list *list, int indent, bool *gradient,
                          const writer *to);

/* A layer's branch, under the name of its key. */
static cost report_branch(const ls_network *network, const ls_layer *layer, int branch, int indent,
                          bool *gradient, const writer *to) {
    const char *key = ls_layer_branch_key(layer->class, branch)->name;
    const ls_layer_list *list = &layer->branch[branch];
    if (to->json)
        ls_json_begin(to->json, key, '[');
    else if (ls_layer_branches(layer->class) > 1 && list->count > 0)
        fprintf(to->out, "%*s%s:\n", indent + 1, "", key);
    cost sum = report_layers(network, list, indent + 2, gradient, to);
    if (to->json) ls_json_end(to->json, ']');
    return sum;
}

static cost report_layer(const ls_network *network, const ls_layer *layer, int indent, bool *gradient,
                         const writer *to) {
    cost sum = own_cost(network, layer, *gradient);
    bool before = *gradient;
    if (to->json) {
        ls_json_begin(to->json, NULL, '{');
        write_layer(layer, &sum, to->json);
    } else {
        print_layer(layer, indent, &sum, to->out);
    }
    if (sum.parameters > 0) *gradient = true;
    for (int b = 0; b < ls_layer_branches(layer->class); b++) {
        bool branch = before;
        cost inner = report_branch(network, layer, b, indent, &branch, to);
        add_cost(&sum, &inner);
        *gradient = *gradient || branch;
    }
    if (to->json) ls_json_end(to->json, '}');
    return sum;
}

static cost report_layers(const ls_network *network, const ls_layer_list *list, int indent, bool *gradient,
                          const writer *to) {
    cost sum = {0};
    for (int i = 0; i < list->count; i++) {
        cost one = report_layer(network, &list->layers[i], indent, gradient, to);
        add_cost(&sum, &one);
    }
    return sum;
}

/* --- memory ---------------------------------------------------------------------------------------- */

static double mib(size_t bytes) {
    return (double)bytes / (1 << 20);
}

static void write_memory(int ranks, const ls_memory *m, bool on_device, ls_json *json) {
    ls_json_begin(json, NULL, '{');
    ls_json_count(json, "ranks", (uint64_t)ranks);
    ls_json_count(json, "state", m->state);
    ls_json_count(json, "gradients", m->gradients);
    ls_json_count(json, "training", m->training);
    ls_json_count(json, "evaluation", m->evaluating);
    if (on_device) ls_json_count(json, "images", m->images);
    ls_json_count(json, "sum", ls_memory_sum(m));
    ls_json_count(json, "moved", m->moved);
    ls_json_end(json, '}');
}

static ls_status report_memory(const ls_config *config, int ranks, bool on_device, const writer *to) {
    ls_memory m;
    LS_TRY(ls_memory_estimate(config, on_device, ranks, &m));
    if (to->json) {
        write_memory(ranks, &m, on_device, to->json);
        return LS_OK;
    }
    fprintf(to->out, "%6d %12.1f %12.1f %12.1f %12.1f", ranks, mib(m.state), mib(m.gradients),
            mib(m.training), mib(m.evaluating));
    if (on_device) fprintf(to->out, " %12.1f", mib(m.images));
    fprintf(to->out, " %12.1f\n", mib(ls_memory_sum(&m)));
    return LS_OK;
}

static void introduce_memory(bool on_device, const writer *to) {
    static const char columns[] = "%6s %12s %12s %12s %12s";
    if (to->json) {
        ls_json_bool(to->json, "memory_of_gpu", on_device);
        ls_json_begin(to->json, "memory", '[');
        return;
    }
    fputs(
        on_device
            ? "MiB on the GPU for rank 0 of so many:\n"
            : "MiB on rank 0 of so many; ranks of one host share the state and gradients of dense layers:\n",
        to->out);
    fprintf(to->out, columns, "ranks", "state", "gradients", "training", "evaluation");
    if (on_device) fprintf(to->out, " %12s", "images");
    fprintf(to->out, " %12s\n", "sum");
}

/* On 1, 2, 4, .. ranks. */
static ls_status report_memories(const ls_config *config, int64_t shards, bool on_device, const writer *to) {
    introduce_memory(on_device, to);
    for (int ranks = 1; ranks <= shards && ranks <= 16; ranks *= 2)
        LS_TRY(report_memory(config, ranks, on_device, to));
    if (to->json) ls_json_end(to->json, ']');
    return LS_OK;
}

/* The GPU that device=cuda would take, or why there is none, which is no failure here. */
static void report_device(const writer *to) {
    ls_device_facts f;
    const bool found = ls_device_look(&f) == LS_OK;
    if (to->json) {
        ls_json_text(to->json, "device", found ? f.name : NULL);
        if (found) ls_json_count(to->json, "device_memory", f.memory);
        if (found) ls_json_count(to->json, "device_free", f.free);
    } else if (found) {
        fprintf(to->out, "\n%s, %s: %.0f of %.0f MiB are free\n", f.name, f.bus, mib(f.free), mib(f.memory));
    } else {
        fprintf(to->out, "\nno device was found: %s%s\n", ls_error_message(),
                ls_backend_cuda_exists() ? "" : "; the table is that of device=cpu");
    }
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

static size_t image_bytes(const ls_preview *p) {
    return (size_t)p->sizes.count * (size_t)p->sizes.height * (size_t)p->sizes.width;
}

static void print_network(const char *path, const ls_preview *p, const writer *to) {
    bool gradient = false;
    introduce(path, p, to->out);
    cost sum = report_layers(p->network, &p->network->list, 0, &gradient, to);
    fprintf(to->out, "%-*s %12" PRId64 " %14" PRId64 " %14" PRId64 "\n\n",
            NAME_WIDTH + TYPE_WIDTH + SHAPE_WIDTH + 2, "all, FLOP of one sample", sum.parameters, sum.forward,
            sum.forward + sum.backward);
    fprintf(to->out, "a training step of %" PRId64 " samples: %.3g GFLOP\n", p->options.batch,
            1e-9 * (double)p->options.batch * (double)(sum.forward + sum.backward));
    fprintf(to->out, "the training images on every rank: %.1f MiB\n\n", mib(image_bytes(p)));
}

static void write_network(const char *path, const ls_preview *p, const writer *to) {
    ls_json *json = to->json;
    bool gradient = false;
    ls_json_text(json, "kind", "network");
    ls_json_text(json, "path", path);
    ls_json_text(json, "data", p->folder); /* null: sizes are assumed */
    ls_json_count(json, "height", (uint64_t)p->sizes.height);
    ls_json_count(json, "width", (uint64_t)p->sizes.width);
    ls_json_count(json, "classes", (uint64_t)p->sizes.classes);
    ls_json_begin(json, "layers", '[');
    cost sum = report_layers(p->network, &p->network->list, 0, &gradient, to);
    ls_json_end(json, ']');
    ls_json_begin(json, "all", '{');
    write_cost(json, &sum);
    ls_json_end(json, '}');
    ls_json_count(json, "batch", (uint64_t)p->options.batch);
    ls_json_count(json, "image_bytes", image_bytes(p));
}

static ls_status report(const char *path, const ls_config *config, const writer *to) {
    ls_preview p;
    LS_TRY(ls_preview_create(config, true, &p));
    const int64_t shards = p.options.shards;
    const bool wants_device = p.options.device == LS_DEVICE_CUDA;
    if (to->json) ls_json_begin(to->json, NULL, '{');
    (to->json ? write_network : print_network)(path, &p, to);
    ls_preview_destroy(&p);
    LS_TRY(report_memories(config, shards, wants_device && ls_backend_cuda_exists(), to));
    if (wants_device) report_device(to);
    if (to->json) ls_json_end(to->json, '}');
    return LS_OK;
}

ls_status ls_report_network(const char *path, const char *const *overrides, int override_count, bool as_json,
                            FILE *out) {
    ls_json json = {.out = out};
    const writer to = {out, as_json ? &json : NULL};
    ls_layer_keys tables[LS_LAYER_CLASSES_MAX];
    ls_config *config;
    ls_network_layer_keys(tables);
    LS_TRY(ls_config_load(path, overrides, override_count, &ls_option_keys, tables, ls_layer_class_count,
                          &config));
    ls_status status = report(path, config, &to);
    ls_config_destroy(&config);
    return status;
}

#include "graph/parameters.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* Slices start on cache lines in both precisions. */
enum { SLICE_ALIGNMENT = 16 };

static int64_t align(int64_t n) {
    return (n + SLICE_ALIGNMENT - 1) / SLICE_ALIGNMENT * SLICE_ALIGNMENT;
}

static ls_status grow(void *array, int count, int *capacity, size_t size, const char *what) {
    void *old, *bigger;
    if (count < *capacity) return LS_OK;
    memcpy(&old, array, sizeof old);
    int wanted = *capacity ? 2 * *capacity : 16;
    LS_TRY(ls_calloc(&bigger, (size_t)wanted, size, what));
    if (old) memcpy(bigger, old, (size_t)count * size);
    free(old);
    memcpy(array, &bigger, sizeof bigger);
    *capacity = wanted;
    return LS_OK;
}

ls_status ls_parameters_add(ls_parameters *parameters, const char *layer, const char *what,
                            ls_parameter_layout layout, int dims, const int64_t *shape, bool summed,
                            int *index) {
    LS_TRY(grow(&parameters->list, parameters->count, &parameters->capacity, sizeof *parameters->list,
                "parameters"));
    ls_parameter *p = &parameters->list[parameters->count];
    int length = snprintf(p->name, sizeof p->name, "%s.%s", layer, what);
    if (length < 0 || length >= (int)sizeof p->name)
        return ls_fail(LS_USAGE, "layer name %.80s: expected fewer than %d characters", layer,
                       LS_NAME_MAX - 16);
    p->layout = layout;
    p->dims = dims;
    p->count = 1;
    for (int i = 0; i < dims; i++) {
        p->shape[i] = shape[i];
        p->count *= shape[i];
    }
    p->summed = summed;
    parameters->elements += p->count;
    *index = parameters->count++;
    return LS_OK;
}

ls_status ls_parameters_add_statistics(ls_parameters *parameters, const char *layer, int kind,
                                       double momentum, int64_t channels, int *index) {
    LS_TRY(grow(&parameters->statistics, parameters->statistics_count, &parameters->statistics_capacity,
                sizeof *parameters->statistics, "statistics"));
    ls_statistics *s = &parameters->statistics[parameters->statistics_count];
    int length = snprintf(s->name, sizeof s->name, "%s", layer);
    if (length < 0 || length >= (int)sizeof s->name - 16)
        return ls_fail(LS_USAGE, "layer name %.80s: expected fewer than %d characters", layer,
                       LS_NAME_MAX - 16);
    s->kind = kind;
    s->momentum = momentum;
    s->channels = channels;
    *index = parameters->statistics_count++;
    s->values = NULL;
    return LS_OK;
}

/* Two regions: the gradients that are summed over ranks come first, so that the sum is over one contiguous
 * run. */
void ls_parameters_lay_out(ls_parameters *parameters) {
    int64_t at = 0;
    for (int summed = 1; summed >= 0; summed--) {
        for (int i = 0; i < parameters->count; i++) {
            ls_parameter *p = &parameters->list[i];
            if (p->summed != (summed == 1)) continue;
            p->offset = at;
            at += align(p->count);
        }
        if (summed) parameters->summed = at;
    }
    parameters->total = at;
}

size_t ls_parameters_statistics(const ls_parameters *parameters) {
    size_t doubles = 0;
    for (int i = 0; i < parameters->statistics_count; i++)
        doubles += (size_t)(1 + 3 * parameters->statistics[i].channels);
    return doubles;
}

static ls_status allocate_statistics(ls_parameters *p) {
    LS_TRY(p->backend->allocate(p->backend, &p->statistics_values,
                                ls_parameters_statistics(p) * sizeof(double), "BatchNorm statistics"));
    double *values = p->statistics_values;
    for (int i = 0; i < p->statistics_count; values += 1 + 3 * p->statistics[i++].channels)
        p->statistics[i].values = values;
    return LS_OK;
}

ls_status ls_parameters_allocate(ls_parameters *parameters, const ls_backend *backend, int moments,
                                 int nodes) {
    ls_parameters_lay_out(parameters);
    parameters->backend = backend;
    parameters->nodes = nodes;
    size_t size = (size_t)parameters->total * ls_dtype_size(backend->dtype);
    size_t gradient = (size_t)(parameters->summed * nodes + parameters->total - parameters->summed);
    LS_TRY(allocate_statistics(parameters));
    LS_TRY(backend->allocate(backend, &parameters->value, size, "the parameters"));
    if (moments > 0)
        LS_TRY(backend->allocate(backend, &parameters->moment1, size, "the optimizer's first moments"));
    if (moments > 1)
        LS_TRY(backend->allocate(backend, &parameters->moment2, size, "the optimizer's second moments"));
    LS_TRY(backend->allocate(backend, &parameters->gradient, gradient * ls_dtype_size(backend->dtype),
                             "the gradients"));
    if (nodes > 1) return backend->allocate(backend, &parameters->reduced, size, "the sum of the gradients");
    parameters->reduced = parameters->gradient;
    return LS_OK;
}

ls_status ls_parameters_borrow(ls_parameters *parameters, const ls_backend *backend,
                               const ls_lent_arenas *lent, int nodes) {
    ls_parameters_lay_out(parameters);
    parameters->backend = backend;
    parameters->nodes = nodes;
    parameters->lent = true;
    parameters->keeps = lent->keep;
    parameters->gradient = lent->gradient;
    parameters->value = lent->value;
    parameters->reduced = lent->reduced;
    parameters->moment1 = lent->moment1;
    parameters->moment2 = lent->moment2;
    return allocate_statistics(parameters);
}

static void release_arenas(const ls_parameters *p) {
    if (!p->backend) return;
    p->backend->release(p->backend, p->statistics_values);
    if (p->lent) return;
    if (p->reduced != p->gradient) p->backend->release(p->backend, p->reduced);
    p->backend->release(p->backend, p->gradient);
    p->backend->release(p->backend, p->moment2);
    p->backend->release(p->backend, p->moment1);
    p->backend->release(p->backend, p->value);
}

void ls_parameters_destroy(ls_parameters *parameters) {
    release_arenas(parameters);
    free(parameters->statistics);
    free(parameters->list);
    *parameters = (ls_parameters){0};
}

int64_t ls_parameters_added(const ls_parameters *parameters) {
    int64_t added = parameters->summed;
    for (int i = 0; i < parameters->count; i++)
        if (parameters->list[i].all_shards) added -= parameters->list[i].count;
    return added;
}

void *ls_arena_at(const ls_parameters *parameters, void *arena, int64_t offset) {
    return (char *)arena + (size_t)offset * ls_dtype_size(parameters->backend->dtype);
}

void *ls_parameter_gradient(const ls_parameters *parameters, const ls_parameter *parameter) {
    int64_t at = parameter->offset;
    if (!parameter->summed) at += (parameters->nodes - 1) * parameters->summed;
    return ls_arena_at(parameters, parameters->gradient, at);
}

/* Copies between kernel layout [taps][inputs][outputs] and PyTorch's [outputs][inputs][taps]; one element is
 * `size` bytes. Dense weights have one tap. */
static void transpose(const ls_parameter *p, size_t size, const char *from, char *to, bool to_pytorch) {
    int64_t outputs = p->shape[0], inputs = p->shape[1];
    int64_t taps = p->layout == LS_LAYOUT_CONV2D ? p->shape[2] * p->shape[3] : 1;
    for (int64_t k = 0; k < outputs; k++)
        for (int64_t c = 0; c < inputs; c++)
            for (int64_t t = 0; t < taps; t++) {
                size_t theirs = (size_t)((k * inputs + c) * taps + t) * size;
                size_t ours = (size_t)((t * inputs + c) * outputs + k) * size;
                memcpy(to + (to_pytorch ? theirs : ours), from + (to_pytorch ? ours : theirs), size);
            }
}

/* The same for fp32 in blocks, which the fingerprint of every step runs over. */
static void transpose_fp32(int64_t inputs, int64_t outputs, const float *ours, float *theirs) {
    enum { BLOCK = 16 };
    for (int64_t k0 = 0; k0 < outputs; k0 += BLOCK)
        for (int64_t c0 = 0; c0 < inputs; c0 += BLOCK) {
            int64_t k1 = k0 + BLOCK < outputs ? k0 + BLOCK : outputs;
            int64_t c1 = c0 + BLOCK < inputs ? c0 + BLOCK : inputs;
            for (int64_t k = k0; k < k1; k++)
                for (int64_t c = c0; c < c1; c++) theirs[k * inputs + c] = ours[c * outputs + k];
        }
}

void ls_parameter_export(const ls_parameters *parameters, const ls_parameter *parameter, const void *arena,
                         void *out) {
    size_t size = ls_dtype_size(parameters->backend->dtype);
    const char *from = (const char *)arena + (size_t)parameter->offset * size;
    if (parameter->layout == LS_LAYOUT_VECTOR) {
        memcpy(out, from, (size_t)parameter->count * size);
    } else if (parameter->layout == LS_LAYOUT_DENSE && size == sizeof(float)) {
        transpose_fp32(parameter->shape[1], parameter->shape[0], (const float *)(const void *)from, out);
    } else {
        transpose(parameter, size, from, out, true);
    }
}

static void from_pytorch(const ls_parameter *parameter, size_t size, const void *in, void *to) {
    if (parameter->layout == LS_LAYOUT_VECTOR)
        memcpy(to, in, (size_t)parameter->count * size);
    else
        transpose(parameter, size, in, to, false);
}

void ls_parameter_import(const ls_parameters *parameters, const ls_parameter *parameter, void *arena,
                         const void *in) {
    from_pytorch(parameter, ls_dtype_size(parameters->backend->dtype), in,
                 ls_arena_at(parameters, arena, parameter->offset));
}

static ls_status set_values(const ls_parameters *p, const ls_parameter *parameter, const void *values) {
    const size_t size = ls_dtype_size(p->backend->dtype), bytes = (size_t)parameter->count * size;
    void *slice = ls_arena_at(p, p->value, parameter->offset), *host;
    ls_status status = ls_backend_open(p->backend, slice, bytes, &host);
    if (status == LS_OK) from_pytorch(parameter, size, values, host);
    ls_status closed = ls_backend_close(p->backend, slice, bytes, host, status == LS_OK);
    return status != LS_OK ? status : closed;
}

ls_status ls_parameter_set(ls_parameters *parameters, const ls_parameter *parameter, const double *values) {
    if (parameters->keeps) return LS_OK;
    if (parameters->backend->dtype == LS_FP64) return set_values(parameters, parameter, values);
    float *rounded;
    LS_TRY(ls_calloc(&rounded, (size_t)parameter->count, sizeof *rounded, parameter->name));
    for (int64_t i = 0; i < parameter->count; i++) rounded[i] = (float)values[i];
    ls_status status = set_values(parameters, parameter, rounded);
    free(rounded);
    return status;
}

/* --- open to the host ---------------------------------------------------------------------------------- */

static ls_status open_one(const ls_backend *backend, const void *memory, size_t size, void *host) {
    return memory ? ls_backend_open(backend, memory, size, host) : LS_OK;
}

static ls_status open_arenas(const ls_parameters *p, ls_arenas *host) {
    const size_t size = (size_t)p->total * ls_dtype_size(p->backend->dtype);
    *host = (ls_arenas){0};
    LS_TRY(open_one(p->backend, p->value, size, &host->value));
    LS_TRY(open_one(p->backend, p->moment1, size, &host->moment1));
    LS_TRY(open_one(p->backend, p->moment2, size, &host->moment2));
    return open_one(p->backend, p->statistics_values, ls_parameters_statistics(p) * sizeof(double),
                    &host->statistics);
}

static ls_status close_arenas(const ls_parameters *p, ls_arenas *host, bool changed) {
    const size_t size = (size_t)p->total * ls_dtype_size(p->backend->dtype);
    const ls_status closed[] = {
        ls_backend_close(p->backend, p->value, size, host->value, changed),
        ls_backend_close(p->backend, p->moment1, size, host->moment1, changed),
        ls_backend_close(p->backend, p->moment2, size, host->moment2, changed),
        ls_backend_close(p->backend, p->statistics_values, ls_parameters_statistics(p) * sizeof(double),
                         host->statistics, changed),
    };
    *host = (ls_arenas){0};
    for (size_t i = 0; i < sizeof closed / sizeof *closed; i++) LS_TRY(closed[i]);
    return LS_OK;
}

ls_status ls_parameters_use(const ls_parameters *p, bool changes, ls_arenas_use *use, void *client) {
    ls_arenas host;
    ls_status status = open_arenas(p, &host);
    if (status == LS_OK) status = use(p, &host, client);
    ls_status closed = close_arenas(p, &host, changes && status == LS_OK);
    return status != LS_OK ? status : closed;
}

ls_statistics ls_arenas_statistics(const ls_parameters *p, const ls_arenas *host, int i) {
    ls_statistics s = p->statistics[i];
    s.values = host->statistics + (s.values - p->statistics_values);
    return s;
}

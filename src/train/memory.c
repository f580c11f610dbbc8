#define _DEFAULT_SOURCE /* MAP_ANONYMOUS, MAP_NORESERVE */
#include "train/memory.h"

#include <stddef.h>
#include <stdint.h>
#include <string.h>
#include <sys/mman.h>

#include "core/memory_limit.h"
#include "core/device_cuda.h"
#include "graph/plan.h"
#include "layers/batchnorm/statistics.h"
#include "layers/input/input.h"
#include "layers/softmax_cross_entropy/softmax_cross_entropy.h"

/* --- memory that is only counted ------------------------------------------------------------------- */

/* Plans and arenas are laid out as for a run, on a back end whose memory is addresses alone: pages that nobody
 * touches are none. Its size stands before each piece. */
enum { HEAD = 64 };

typedef struct counter {
    ls_backend backend; /* the first member: what is called with it finds the count */
    size_t *held;       /* bytes given out and not released */
} counter;

static size_t *held_by(const ls_backend *backend) {
    return ((const counter *)backend)->held;
}

static ls_status reserve(const ls_backend *backend, void *out, size_t size, const char *what) {
    char *memory = NULL;
    if (size > 0) {
        if (size > SIZE_MAX - HEAD)
            return ls_fail(LS_INTERNAL, "out of memory: %zu bytes for %s", size, what);
        memory = mmap(NULL, size + HEAD, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE,
                      -1, 0);
        if (memory == MAP_FAILED) return ls_fail(LS_INTERNAL, "out of memory: %zu bytes for %s", size, what);
        memcpy(memory, &size, sizeof size);
        memory += HEAD;
        *held_by(backend) += size;
    }
    memcpy(out, &memory, sizeof memory);
    return LS_OK;
}

static void release(const ls_backend *backend, void *memory) {
    size_t size;
    if (!memory) return;
    memcpy(&size, (char *)memory - HEAD, sizeof size);
    *held_by(backend) -= size;
    munmap((char *)memory - HEAD, size + HEAD);
}

/* --- the estimate ---------------------------------------------------------------------------------- */

/* A GPU that need not be there: its kernels are asked for the sizes of what they use, but not run. */
static struct ls_device *no_device(void) {
    static max_align_t place;
    return (struct ls_device *)&place;
}

/* Bytes of the plan for one purpose; on a device with all that its graph takes there. */
static ls_status plan_bytes(const ls_preview *p, const ls_backend *backend, ls_purpose purpose, int ranks,
                            int64_t batch, size_t *bytes, size_t *moved) {
    const ls_options *o = &p->options;
    ls_shards shards;
    ls_graph *graph;
    ls_plan *plan = NULL;
    size_t unshared;
    const size_t before = *held_by(backend);
    LS_TRY(ls_shards_create(&shards, (int)o->shards, 0, ranks, batch));
    LS_TRY(ls_graph_create(LS_RECORD, purpose, backend, &p->network->parameters, &shards, NULL,
                           &ls_reducer_local, &graph));
    ls_tensor *x = ls_input(graph, p->sizes.height, p->sizes.width, o->pixels == LS_PIXELS_UNIT, NULL);
    ls_softmax_cross_entropy(graph, ls_network_apply(p->network, graph, x), o->loss_clip, false);
    ls_status status = ls_graph_status(graph);
    if (status == LS_OK)
        status = ls_plan_create(graph, o->fuse, backend->device ? 1 : (int)o->threads, &plan);
    if (status == LS_OK) ls_plan_memory(plan, bytes, &unshared);
    for (int i = 0; plan && moved && i < ls_plan_piece_count(plan); i++)
        *moved += ls_plan_piece(plan, i).bytes;
    if (status == LS_OK && backend->device) *bytes = *held_by(backend) - before;
    ls_plan_destroy(&plan);
    ls_graph_destroy(&graph);
    return status;
}

/* As the trainer, which has a plan of its own to collect the statistics of the whole set where some layer
 * wants them. */
static ls_status plans_bytes(const ls_preview *p, const ls_backend *backend, int ranks, ls_memory *m) {
    const ls_parameters *q = &p->network->parameters;
    size_t collecting;
    LS_TRY(plan_bytes(p, backend, LS_TRAINING, ranks, p->options.batch, &m->training, &m->moved));
    LS_TRY(plan_bytes(p, backend, LS_EVALUATING, ranks, p->options.eval_batch, &m->evaluating, NULL));
    for (int i = 0; i < q->statistics_count; i++) {
        if (q->statistics[i].kind != LS_STATISTICS_DATASET) continue;
        LS_TRY(plan_bytes(p, backend, LS_COLLECTING, ranks, p->options.batch, &collecting, NULL));
        m->evaluating += collecting;
        break;
    }
    return LS_OK;
}

/* The back end that counts, as a run's on the host or on a device would be. */
static ls_status create_counter(const ls_preview *p, bool on_device, size_t *held, counter *c) {
    const ls_backend *cpu;
    const ls_precision precision = (ls_precision)p->options.precision;
    if (on_device && precision == LS_PRECISION_FP64)
        return ls_fail(LS_USAGE, "device=cuda computes in precision fp32, bf16 and tf32");
    if (!on_device && precision == LS_PRECISION_TF32)
        return ls_backend_find_for(precision, LS_PORTABLE, &cpu); /* which refuses it */
    LS_TRY(ls_backend_find(ls_precision_dtype(precision), &cpu));
    *c = (counter){*cpu, held};
    c->backend.allocate = reserve;
    c->backend.release = release;
    if (!on_device) return LS_OK;
    c->backend.precision = precision;
    c->backend.device = no_device();
    c->backend.tensor_cores = precision != LS_PRECISION_FP32;
    c->backend.host_memory = false;
    return LS_OK;
}

static ls_status estimate(ls_preview *p, bool on_device, int ranks, ls_memory *m) {
    const ls_options *o = &p->options;
    counter c;
    size_t held = 0;
    ls_shards shards;
    ls_parameters *q = &p->network->parameters;
    int moments = ls_optimizer_moments(o->optimizer);
    LS_TRY(create_counter(p, on_device, &held, &c));
    LS_TRY(ls_shards_create(&shards, (int)o->shards, 0, ranks, o->batch));
    ls_status status = ls_parameters_allocate(q, &c.backend, moments, shards.node_count);
    const size_t arenas = held;
    if (status == LS_OK) status = plans_bytes(p, &c.backend, ranks, m);
    const size_t scalar = ls_dtype_size(c.backend.dtype);
    m->state = (size_t)q->total * (size_t)(1 + moments) * scalar;
    m->gradients =
        on_device ? arenas - m->state : (size_t)(q->total - q->summed + q->nodes * q->summed) * scalar;
    if (on_device)
        m->images = (size_t)p->sizes.count * ((size_t)p->sizes.height * (size_t)p->sizes.width + 1);
    ls_network_destroy(&p->network); /* while its back end is there */
    return status;
}

ls_status ls_memory_estimate(const ls_config *config, bool on_device, int ranks, ls_memory *memory) {
    ls_preview p;
    *memory = (ls_memory){0};
    LS_TRY(
        ls_preview_create(config, true, &p)); /* made anew, since its arenas depend on the number of ranks */
    ls_status status = estimate(&p, on_device, ranks, memory);
    ls_preview_destroy(&p);
    return status;
}

/* --- the check ------------------------------------------------------------------------------------- */

static const double mib = 1 << 20;

/* What rank 0, which sees the data, finds; `known`: something was found at all. */
typedef struct finding {
    ls_memory memory;
    bool known;
} finding;

static ls_status find(const ls_config *config, bool on_device, int ranks, finding *f) {
    ls_preview p;
    LS_TRY(ls_preview_create(config, false, &p));
    f->known = p.folder != NULL && p.options.shards >= ranks; /* the latter is refused elsewhere */
    ls_preview_destroy(&p);
    return f->known ? ls_memory_estimate(config, on_device, ranks, &f->memory) : LS_OK;
}

/* Nothing is known where nobody wants to know. Collective. */
static ls_status find_for_all(ls_comm *comm, const ls_config *config, bool on_device, bool *window,
                              finding *f) {
    ls_options o = {0};
    *f = (finding){.known = false};
    ls_status status = ls_config_settings(config, &o);
    const bool ignored =
        status == LS_OK && (o.memory == LS_MEMORY_IGNORE || (!on_device && o.device == LS_DEVICE_CUDA));
    *window = o.window;
    if (status == LS_OK) ls_keys_free(&ls_option_keys, &o);
    LS_TRY(ls_comm_agree(comm, status));
    if (ignored) return LS_OK;
    LS_TRY(ls_comm_agree(comm, comm->rank == 0 ? find(config, on_device, comm->size, f) : LS_OK));
    return ls_comm_broadcast(comm, f, sizeof *f, 0);
}

/* All ranks of this host together: what they share counts once. What crosses from host to host is there as
 * nodes of each host. */
static double needed_here(const ls_comm *comm, const ls_memory *m, bool window) {
    const bool shares = window && comm->size > 1;
    const size_t own = m->training + m->evaluating + (shares ? 0 : m->state + m->gradients);
    const size_t crossing = shares && comm->hosts > 1 ? (size_t)comm->hosts * m->gradients : 0;
    return (double)ls_memory_sum(m) + (comm->ranks_on_host - 1) * (double)own + (double)crossing;
}

ls_status ls_memory_check(ls_comm *comm, const ls_config *config) {
    finding f;
    bool window;
    LS_TRY(find_for_all(comm, config, false, &window, &f));
    if (!f.known) return LS_OK;
    const ls_memory_limit limit = ls_memory_limit_find();
    const double needed = needed_here(comm, &f.memory, window);
    ls_status status = LS_OK;
    if (needed > (double)limit.bytes)
        status = ls_fail(
            LS_INTERNAL,
            "the network needs %.0f MiB here (%d rank%s; lockstep inspect CONFIG says what for), and %s "
            "has %.0f MiB: a smaller network, batch or eval_batch takes less; memory=ignore tries it "
            "all the same",
            needed / mib, comm->ranks_on_host, comm->ranks_on_host == 1 ? "" : "s", limit.who,
            (double)limit.bytes / mib);
    return ls_comm_agree(comm, status);
}

ls_status ls_memory_check_device(ls_comm *comm, const ls_config *config, const ls_backend *gpu) {
    finding f;
    bool window;
    LS_TRY(find_for_all(comm, config, true, &window, &f));
    if (!f.known) return LS_OK;
    const ls_device_facts *facts = ls_device_facts_of(gpu->device);
    const int ranks = (comm->ranks_on_host - facts->index + facts->count - 1) / facts->count; /* on it */
    const double needed = ranks * (double)ls_memory_sum(&f.memory);
    ls_status status = LS_OK;
    if (needed > (double)facts->free)
        status = ls_fail(
            LS_INTERNAL,
            "the network needs %.0f MiB on %s, %s (%d rank%s; lockstep inspect CONFIG device=cuda says what "
            "for), which has %.0f MiB free: a smaller network, batch or eval_batch takes less, device=cpu "
            "needs none; memory=ignore tries it all the same",
            needed / mib, facts->name, facts->bus, ranks, ranks == 1 ? "" : "s", (double)facts->free / mib);
    return ls_comm_agree(comm, status);
}

#define _DEFAULT_SOURCE /* MAP_ANONYMOUS, MAP_NORESERVE */
#include "train/memory.h"

#include <stdint.h>
#include <string.h>
#include <sys/mman.h>

#include "core/memory_limit.h"
#include "graph/plan.h"
#include "layers/batchnorm/statistics.h"
#include "layers/input/input.h"
#include "layers/softmax_cross_entropy/softmax_cross_entropy.h"

/* --- memory that is only counted ------------------------------------------------------------------- */

/* Plans and arenas are laid out as for a run, on a back end whose memory is addresses alone: pages that nobody
 * touches are none. Its size stands before each piece. */
enum { HEAD = 64 };

static ls_status reserve(const ls_backend *backend, void *out, size_t size, const char *what) {
    char *memory = NULL;
    (void)backend;
    if (size > 0) {
        if (size > SIZE_MAX - HEAD)
            return ls_fail(LS_INTERNAL, "out of memory: %zu bytes for %s", size, what);
        memory = mmap(NULL, size + HEAD, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE,
                      -1, 0);
        if (memory == MAP_FAILED) return ls_fail(LS_INTERNAL, "out of memory: %zu bytes for %s", size, what);
        memcpy(memory, &size, sizeof size);
        memory += HEAD;
    }
    memcpy(out, &memory, sizeof memory);
    return LS_OK;
}

static void release(const ls_backend *backend, void *memory) {
    size_t size;
    (void)backend;
    if (!memory) return;
    memcpy(&size, (char *)memory - HEAD, sizeof size);
    munmap((char *)memory - HEAD, size + HEAD);
}

/* --- the estimate ---------------------------------------------------------------------------------- */

/* Bytes of the plan for one purpose. */
static ls_status plan_bytes(const ls_preview *p, const ls_backend *backend, ls_purpose purpose, int ranks,
                            int64_t batch, size_t *bytes) {
    const ls_options *o = &p->options;
    ls_shards shards;
    ls_graph *graph;
    ls_plan *plan = NULL;
    size_t unshared;
    LS_TRY(ls_shards_create(&shards, (int)o->shards, 0, ranks, batch));
    LS_TRY(ls_graph_create(LS_RECORD, purpose, backend, &p->network->parameters, &shards, NULL,
                           &ls_reducer_local, &graph));
    ls_tensor *x = ls_input(graph, p->sizes.height, p->sizes.width, o->pixels == LS_PIXELS_UNIT, NULL);
    ls_softmax_cross_entropy(graph, ls_network_apply(p->network, graph, x), o->loss_clip, false);
    ls_status status = ls_plan_create(graph, o->fuse, (int)o->threads, &plan);
    if (status == LS_OK) ls_plan_memory(plan, bytes, &unshared);
    ls_plan_destroy(&plan);
    ls_graph_destroy(&graph);
    return status;
}

/* As the trainer, which has a plan of its own to collect the statistics of the whole set where some layer
 * wants them. */
static ls_status plans_bytes(const ls_preview *p, const ls_backend *backend, int ranks, ls_memory *m) {
    const ls_parameters *q = &p->network->parameters;
    size_t collecting;
    LS_TRY(plan_bytes(p, backend, LS_TRAINING, ranks, p->options.batch, &m->training));
    LS_TRY(plan_bytes(p, backend, LS_EVALUATING, ranks, p->options.eval_batch, &m->evaluating));
    for (int i = 0; i < q->statistics_count; i++) {
        if (q->statistics[i].kind != LS_STATISTICS_DATASET) continue;
        LS_TRY(plan_bytes(p, backend, LS_COLLECTING, ranks, p->options.batch, &collecting));
        m->evaluating += collecting;
        break;
    }
    return LS_OK;
}

static ls_status estimate(ls_preview *p, int ranks, ls_memory *m) {
    const ls_options *o = &p->options;
    const ls_backend *cpu;
    ls_shards shards;
    ls_parameters *q = &p->network->parameters;
    int moments = ls_optimizer_moments(o->optimizer);
    LS_TRY(ls_backend_find(ls_precision_dtype((ls_precision)o->precision), &cpu));
    ls_backend counting = *cpu;
    counting.allocate = reserve;
    counting.release = release;
    LS_TRY(ls_shards_create(&shards, (int)o->shards, 0, ranks, o->batch));
    ls_status status = ls_parameters_allocate(q, &counting, moments, shards.node_count);
    if (status == LS_OK) status = plans_bytes(p, &counting, ranks, m);
    const size_t scalar = ls_dtype_size(cpu->dtype);
    m->state = (size_t)q->total * (size_t)(1 + moments) * scalar;
    m->gradients = (size_t)(q->total - q->summed + q->nodes * q->summed) * scalar;
    ls_network_destroy(&p->network); /* while its back end is there */
    return status;
}

ls_status ls_memory_estimate(const ls_config *config, int ranks, ls_memory *memory) {
    ls_preview p;
    *memory = (ls_memory){0};
    LS_TRY(
        ls_preview_create(config, true, &p)); /* made anew, since its arenas depend on the number of ranks */
    ls_status status = estimate(&p, ranks, memory);
    ls_preview_destroy(&p);
    return status;
}

/* --- the check ------------------------------------------------------------------------------------- */

/* What rank 0, which sees the data, finds; `known`: something was found at all. */
typedef struct finding {
    ls_memory memory;
    bool known;
} finding;

static ls_status find(const ls_config *config, int ranks, finding *f) {
    ls_preview p;
    *f = (finding){.known = false};
    LS_TRY(ls_preview_create(config, false, &p));
    f->known = p.folder != NULL && p.options.shards >= ranks; /* the latter is refused elsewhere */
    ls_preview_destroy(&p);
    return f->known ? ls_memory_estimate(config, ranks, &f->memory) : LS_OK;
}

/* All ranks of this node together: what they share counts once. */
static double needed_here(const ls_comm *comm, const ls_memory *m, bool window) {
    const bool shares = window && comm->size > 1 && comm->ranks_on_node == comm->size;
    const size_t own = m->training + m->evaluating + (shares ? 0 : m->state + m->gradients);
    return (double)ls_memory_sum(m) + (comm->ranks_on_node - 1) * (double)own;
}

ls_status ls_memory_check(ls_comm *comm, const ls_config *config) {
    static const double mib = 1 << 20;
    ls_options o = {0};
    finding f = {.known = false};
    ls_status status = ls_config_settings(config, &o);
    const bool ignored = status == LS_OK && o.memory == LS_MEMORY_IGNORE, window = o.window;
    if (status == LS_OK) ls_keys_free(&ls_option_keys, &o);
    LS_TRY(ls_comm_agree(comm, status));
    if (ignored) return LS_OK;
    LS_TRY(ls_comm_agree(comm, comm->rank == 0 ? find(config, comm->size, &f) : LS_OK));
    LS_TRY(ls_comm_broadcast(comm, &f, sizeof f, 0));
    if (!f.known) return LS_OK;
    const ls_memory_limit limit = ls_memory_limit_find();
    const double needed = needed_here(comm, &f.memory, window);
    if (needed > (double)limit.bytes)
        status = ls_fail(
            LS_INTERNAL,
            "the network needs %.0f MiB here (%d rank%s; lockstep inspect CONFIG says what for), and %s "
            "has %.0f MiB: a smaller network, batch or eval_batch takes less; memory=ignore tries it "
            "all the same",
            needed / mib, comm->ranks_on_node, comm->ranks_on_node == 1 ? "" : "s", limit.who,
            (double)limit.bytes / mib);
    return ls_comm_agree(comm, status);
}

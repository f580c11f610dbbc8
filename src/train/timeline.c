#include "train/timeline.h"

#include <stdlib.h>
#include <string.h>

#include "core/clock.h"
#include "io/atomic_file.h"
#include "io/json.h"

/* Of one thread, which alone appends to it. */
typedef struct row {
    ls_span *spans;
    int64_t count, capacity;
    bool lost; /* there was no memory for a span */
} row;

struct ls_timeline {
    ls_trainer *trainer;
    ls_observer observer;
    int threads;
    row rows[];
};

static ls_span *append(row *r) {
    if (r->count == r->capacity) {
        int64_t capacity = r->capacity ? 2 * r->capacity : 1024;
        ls_span *more = realloc(r->spans, (size_t)capacity * sizeof *more);
        if (!more) return NULL;
        r->spans = more;
        r->capacity = capacity;
    }
    return &r->spans[r->count++];
}

static void see(void *self, int member, ls_work work, const ls_op *op, bool begin) {
    ls_timeline *timeline = self;
    row *r = &timeline->rows[member];
    if (begin) {
        ls_span *span = append(r);
        r->lost = !span;
        if (span)
            *span = (ls_span){.step = timeline->trainer->step + 1,
                              .work = (int32_t)work,
                              .op = op ? op->index : -1,
                              .begin = ls_clock()};
    } else if (!r->lost) {
        r->spans[r->count - 1].end = ls_clock();
    }
}

ls_status ls_timeline_create(ls_trainer *trainer, ls_timeline **out) {
    ls_timeline *timeline;
    const int threads = ls_team_size(trainer->team);
    *out = NULL;
    LS_TRY(ls_calloc(&timeline, 1, sizeof *timeline + (size_t)threads * sizeof(row), "the timeline"));
    timeline->trainer = trainer;
    timeline->threads = threads;
    timeline->observer = (ls_observer){see, timeline};
    ls_trainer_observe(trainer, &timeline->observer);
    *out = timeline;
    return LS_OK;
}

void ls_timeline_destroy(ls_timeline **out) {
    ls_timeline *timeline = *out;
    if (!timeline) return;
    ls_trainer_observe(timeline->trainer, NULL);
    for (int m = 0; m < timeline->threads; m++) free(timeline->rows[m].spans);
    free(timeline);
    *out = NULL;
}

void ls_timeline_begin_step(ls_timeline *timeline, bool keep) {
    for (int m = 0; !keep && m < timeline->threads; m++) timeline->rows[m].count = 0;
}

const ls_span *ls_timeline_spans(const ls_timeline *timeline, int member, int64_t *count) {
    *count = timeline->rows[member].count;
    return timeline->rows[member].spans;
}

/* --- the file -------------------------------------------------------------------------------------- */

const char *const ls_work_names[LS_WORK_COUNT] = {[LS_WORK_SUMS] = "sums",
                                                  [LS_WORK_FORWARD] = "forward",
                                                  [LS_WORK_GRAD_SUMS] = "gradient sums",
                                                  [LS_WORK_BACKWARD] = "backward",
                                                  [LS_WORK_WEIGHT_GRAD] = "weight gradient",
                                                  [LS_WORK_EXCHANGE] = "sum of a cut",
                                                  [LS_WORK_CUT] = "cut",
                                                  [LS_WORK_GRAD_CUT] = "gradient cut",
                                                  [LS_WORK_SELECT] = "batch",
                                                  [LS_WORK_GRADIENT_SUM] = "sum of the gradient",
                                                  [LS_WORK_UPDATE] = "update",
                                                  [LS_WORK_UPDATE_EXCHANGE] = "exchange of the update"};

static void write_name(ls_json *json, const char *what, int rank, int member, const char *name) {
    ls_json_begin(json, NULL, '{');
    ls_json_text(json, "name", what);
    ls_json_text(json, "ph", "M");
    ls_json_count(json, "pid", (uint64_t)rank);
    ls_json_count(json, "tid", (uint64_t)member);
    ls_json_begin(json, "args", '{');
    ls_json_text(json, "name", name);
    ls_json_end(json, '}');
    ls_json_end(json, '}');
}

static void write_span(ls_json *json, const ls_graph *graph, int rank, int member, const ls_span *span,
                       double zero) {
    char name[LS_NAME_MAX + 64];
    const ls_op *op = span->op >= 0 ? ls_graph_op(graph, span->op) : NULL;
    snprintf(name, sizeof name, "%s%s%s%s%s", ls_work_names[span->work], op ? " " : "",
             op ? op->class->name : "", op && op->layer ? " " : "", op && op->layer ? op->layer : "");
    ls_json_begin(json, NULL, '{');
    ls_json_text(json, "name", name);
    ls_json_text(json, "cat", ls_work_names[span->work]);
    ls_json_text(json, "ph", "X");
    ls_json_real(json, "ts", 1e6 * (span->begin - zero));
    ls_json_real(json, "dur", 1e6 * (span->end - span->begin));
    ls_json_count(json, "pid", (uint64_t)rank);
    ls_json_count(json, "tid", (uint64_t)member);
    ls_json_begin(json, "args", '{');
    ls_json_count(json, "step", (uint64_t)span->step);
    ls_json_end(json, '}');
    ls_json_end(json, '}');
}

/* All spans, thread by thread, of rank after rank: counts[rank][thread]. */
typedef struct gathered {
    int64_t *counts;
    int *bytes, *displacements; /* of each rank */
    ls_span *own, *all;
} gathered;

static double earliest(const ls_timeline *timeline) {
    double first = HUGE_VAL;
    for (int m = 0; m < timeline->threads; m++)
        if (timeline->rows[m].count > 0 && timeline->rows[m].spans[0].begin < first)
            first = timeline->rows[m].spans[0].begin;
    return first;
}

static ls_status count_spans(ls_timeline *timeline, gathered *g) {
    ls_comm *comm = timeline->trainer->comm;
    const int threads = timeline->threads;
    int64_t own[256], total = 0; /* threads: at most 256 (train/options.c) */
    for (int m = 0; m < threads; m++) own[m] = timeline->rows[m].count;
    LS_TRY(ls_comm_allgather_equal(comm, own, (size_t)threads * sizeof *own, g->counts));
    for (int r = 0; r < comm->size; r++) {
        int64_t spans = 0;
        for (int m = 0; m < threads; m++) spans += g->counts[r * threads + m];
        if ((total + spans) * (int64_t)sizeof(ls_span) > INT32_MAX)
            return ls_comm_everywhere(
                comm, ls_fail(LS_USAGE, "the trace is larger than a message; expected fewer steps"));
        g->displacements[r] = (int)(total * (int64_t)sizeof(ls_span));
        g->bytes[r] = (int)(spans * (int64_t)sizeof(ls_span));
        total += spans;
    }
    ls_status status = ls_calloc(&g->all, (size_t)total + 1, sizeof *g->all, "the trace");
    if (status == LS_OK)
        status = ls_calloc(&g->own, (size_t)g->bytes[comm->rank] / sizeof *g->own + 1, sizeof *g->own,
                           "the trace");
    return ls_comm_agree(comm, status);
}

static ls_status gather(ls_timeline *timeline, gathered *g) {
    ls_comm *comm = timeline->trainer->comm;
    const size_t ranks = (size_t)comm->size;
    ls_status status =
        ls_calloc(&g->counts, ranks * (size_t)timeline->threads, sizeof *g->counts, "the trace");
    if (status == LS_OK) status = ls_calloc(&g->bytes, 2 * ranks, sizeof *g->bytes, "the trace");
    LS_TRY(ls_comm_agree(comm, status));
    g->displacements = g->bytes + ranks;
    LS_TRY(count_spans(timeline, g));
    ls_span *to = g->own;
    for (int m = 0; m < timeline->threads; m++) {
        const row *r = &timeline->rows[m];
        if (r->count > 0) memcpy(to, r->spans, (size_t)r->count * sizeof *to);
        to += r->count;
    }
    return comm->class->allgather(comm, g->own, g->all, g->bytes, g->displacements);
}

static ls_status write_file(const ls_timeline *timeline, const gathered *g, const double *zero,
                            const char *path) {
    const ls_comm *comm = timeline->trainer->comm;
    char *text = NULL;
    size_t size = 0;
    ls_json json = {.out = open_memstream(&text, &size)};
    if (!json.out) return ls_fail(LS_INTERNAL, "out of memory: the trace");
    const ls_span *span = g->all;
    ls_json_begin(&json, NULL, '[');
    for (int r = 0; r < comm->size; r++) {
        char name[32];
        snprintf(name, sizeof name, "rank %d", r);
        write_name(&json, "process_name", r, 0, name);
        for (int m = 0; m < timeline->threads; m++) {
            snprintf(name, sizeof name, "thread %d", m);
            write_name(&json, "thread_name", r, m, name);
            for (int64_t i = g->counts[r * timeline->threads + m]; i > 0; i--, span++)
                write_span(&json, timeline->trainer->training.graph, r, m, span, zero[r]);
        }
    }
    ls_json_end(&json, ']');
    bool failed = ferror(json.out) != 0;
    failed = fclose(json.out) != 0 || failed;
    ls_status status =
        failed ? ls_fail(LS_INTERNAL, "out of memory: the trace") : ls_atomic_write(path, text, size, LS_EDITABLE);
    free(text);
    return status;
}

/* Where each rank's time begins. */
static ls_status find_zeros(const ls_timeline *timeline, double *zero) {
    ls_comm *comm = timeline->trainer->comm;
    double own = earliest(timeline);
    LS_TRY(ls_comm_allgather_equal(comm, &own, sizeof own, zero));
    for (int h = 0; h < comm->hosts; h++) { /* whose ranks have one clock */
        double least = HUGE_VAL;
        for (int r = comm->host_first[h]; r < comm->host_first[h + 1]; r++)
            if (zero[r] < least) least = zero[r];
        for (int r = comm->host_first[h]; r < comm->host_first[h + 1]; r++) zero[r] = least;
    }
    return LS_OK;
}

ls_status ls_timeline_write(ls_timeline *timeline, const char *path) {
    ls_comm *comm = timeline->trainer->comm;
    double zero[LS_MAX_SHARDS]; /* of ranks there are no more than shards */
    gathered g = {0};
    comm->phase = "writing the trace";
    ls_status status = gather(timeline, &g);
    if (status == LS_OK) status = find_zeros(timeline, zero);
    if (status == LS_OK)
        status = ls_comm_agree(comm, comm->rank == 0 ? write_file(timeline, &g, zero, path) : LS_OK);
    free(g.counts);
    free(g.bytes);
    free(g.own);
    free(g.all);
    return status;
}

/* `bench scaling`: what this number of ranks measures, and what a model of it predicts for others.
 *
 *     t(B, P) = c B ceil(V/P)/V + cuts o (P-1) + g (P-1) + 2 (P-1)/P n b
 *
 * B images on P ranks that hold V shards between them: c seconds an image, whoever computes it; at a cut
 * every rank sends a message to every other, o seconds each; the n bytes of gradient are a reduce-scatter and
 * an all-gather, so that each rank moves 2 (P-1)/P n bytes at b seconds each, with g seconds for the messages
 * to each other rank. o, g and b come from sums by themselves (bench comm), c from the steps without
 * communication. Where ranks share memory, n leaves out what they compute over all shards at once. What else
 * they share (memory bandwidth, a network's switches) is not in it. */
#include <inttypes.h>
#include <stdio.h>

#include "bench/comm_times.h"
#include "bench/step_run.h"

enum { POINTS = 4, CUT_LENGTH = 64 };
static const int64_t point_bytes[POINTS] = {4096, 65536, 524288, 4194304};

typedef struct model {
    double image, cut, gradient, byte; /* c, o, g, b */
    double added_bytes;
    int cuts, shards;
} model;

static double predict(const model *m, double batch, int ranks) {
    const int most = (m->shards + ranks - 1) / ranks, others = ranks - 1;
    return m->image * batch * most / m->shards + (m->cuts * m->cut + m->gradient) * others +
           2.0 * others / ranks * m->added_bytes * m->byte;
}

/* The global batch above which so many ranks are faster than half as many. */
static double least_batch(const model *m, int ranks) {
    const double longer = predict(m, 0, ranks) - predict(m, 0, ranks / 2);
    const double shorter =
        predict(m, 1, ranks / 2) - predict(m, 0, ranks / 2) - (predict(m, 1, ranks) - predict(m, 0, ranks));
    return longer / shorter;
}

static ls_status run_steps(const ls_bench *bench, ls_step_run *run) {
    for (int64_t i = 0; i < bench->options.bench_warmup; i++) LS_TRY(ls_step_run_one(run, false, false));
    for (int64_t i = 0; i < bench->options.bench_steps; i++) LS_TRY(ls_step_run_one(run, true, false));
    return ls_step_run_combine(run);
}

static ls_status measure_sums(const ls_bench *bench, const ls_trainer *t, model *m) {
    const double others = t->comm->size - 1, ranks = t->comm->size;
    ls_comm_times cut, sizes[POINTS];
    LS_TRY(ls_time_cut_sum(t->comm, t->options.window, t->team, m->shards, CUT_LENGTH,
                           bench->options.bench_steps, &cut));
    for (int i = 0; i < POINTS; i++)
        LS_TRY(ls_time_gradient_sum(t->comm, t->options.window, t->team, m->shards,
                                    point_bytes[i] / (int64_t)ls_dtype_size(t->backend->dtype), t->backend,
                                    bench->options.bench_steps, &sizes[i]));
    const ls_comm_fit fit = ls_comm_fit_of(sizes, POINTS);
    m->cut = cut.tree.median / others;
    m->gradient = fit.latency / others;
    m->byte = fit.seconds_per_byte / (2 * others / ranks);
    return LS_OK;
}

static ls_status measure(const ls_bench *bench, ls_step_run *run, model *m) {
    LS_TRY(ls_step_run_create(bench, run));
    LS_TRY(run_steps(bench, run));
    const ls_trainer *t = run->trainer;
    *m = (model){.shards = (int)t->options.shards, .cuts = run->times.exchanges};
    m->added_bytes =
        (double)ls_parameters_added(&t->network->parameters) * (double)ls_dtype_size(t->backend->dtype);
    double seconds = 0; /* of a rank that computes */
    for (int p = 0; p < LS_STEP_PHASES; p++)
        if (p != LS_PHASE_COMMUNICATION) seconds += run->times.phase[p].median;
    const int most = (m->shards + t->comm->size - 1) / t->comm->size;
    m->image = seconds * m->shards / most / (double)run->full_batch;
    return measure_sums(bench, t, m);
}

/* --- what is said ---------------------------------------------------------------------------------- */

/* One number of ranks: the batch as it is (strong), and as large on each rank as it is on each of these
 * (weak). */
typedef struct prediction {
    int ranks;
    double seconds, strong, weak, least_batch; /* step; efficiencies; images */
} prediction;

static prediction predict_all(const model *m, double batch, int here, int ranks) {
    const double own = batch / here, one = predict(m, batch, 1);
    prediction p = {.ranks = ranks, .seconds = predict(m, batch, ranks)};
    p.strong = one / (ranks * p.seconds);
    p.weak = predict(m, own, 1) / predict(m, own * ranks, ranks);
    p.least_batch = ranks > 1 ? least_batch(m, ranks) : 0;
    return p;
}

static void print(const ls_bench *bench, ls_step_run *run, const model *m) {
    const int here = run->trainer->comm->size;
    const double batch = (double)run->full_batch;
    const ls_spread ms = ls_spread_scaled(ls_spread_of(run->times.seconds, run->times.counted), 1e3);
    ls_bench_print_setting(bench, run->trainer);
    printf(
        "\nmeasured on %d ranks: step %.3f ms (quartiles %.3f .. %.3f), of it communication %.3f ms;\n"
        "%.3f us of computing an image, %d cuts of %.2f us, %.0f bytes of gradient to add %.2f us + bytes at "
        "%.2f GB/s\n\n",
        here, ms.median, ms.q1, ms.q3, 1e3 * run->times.phase[LS_PHASE_COMMUNICATION].median, 1e6 * m->image,
        m->cuts, 1e6 * m->cut * (here - 1), m->added_bytes, 1e6 * m->gradient * (here - 1), 1e-9 / m->byte);
    printf("%6s %12s %10s %10s %14s   predicted for batches of %.0f; weak: %.0f a rank\n", "ranks", "step ms",
           "strong", "weak", "pays above", batch, batch / here);
    for (int ranks = 1; ranks <= m->shards; ranks *= 2) {
        const prediction p = predict_all(m, batch, here, ranks);
        printf("%6d %12.3f %9.1f%% %9.1f%% %14.0f   %s\n", ranks, 1e3 * p.seconds, 100 * p.strong,
               100 * p.weak, p.least_batch,
               ranks == here  ? "measured above"
               : ranks > here ? "extrapolated"
                              : "");
    }
    printf("\nstrong: the time of one rank over ranks times theirs; pays above: the batch from which so many "
           "ranks are faster than\n"
           "half as many. A core for each thread, and the same between all ranks as between these, are taken "
           "for granted.\n");
}

static void write_json(const ls_bench *bench, ls_step_run *run, const model *m) {
    const int here = run->trainer->comm->size;
    ls_json json = {.out = stdout};
    ls_json_begin(&json, NULL, '{');
    ls_json_text(&json, "bench", "scaling");
    ls_bench_write_setting(bench, run->trainer, &json);
    ls_spread_write(&json, "step_ms",
                    ls_spread_scaled(ls_spread_of(run->times.seconds, run->times.counted), 1e3));
    ls_json_real(&json, "communication_ms", 1e3 * run->times.phase[LS_PHASE_COMMUNICATION].median);
    ls_json_real(&json, "image_us", 1e6 * m->image);
    ls_json_count(&json, "cuts", (uint64_t)m->cuts);
    ls_json_real(&json, "cut_us_per_rank", 1e6 * m->cut);
    ls_json_real(&json, "gradient_us_per_rank", 1e6 * m->gradient);
    ls_json_real(&json, "ns_per_byte_moved", 1e9 * m->byte);
    ls_json_real(&json, "added_bytes", m->added_bytes);
    ls_json_begin(&json, "predictions", '[');
    for (int ranks = 1; ranks <= m->shards; ranks *= 2) {
        const prediction p = predict_all(m, (double)run->full_batch, here, ranks);
        ls_json_begin(&json, NULL, '{');
        ls_json_count(&json, "ranks", (uint64_t)ranks);
        ls_json_bool(&json, "extrapolated", ranks > here);
        ls_json_real(&json, "step_ms", 1e3 * p.seconds);
        ls_json_real(&json, "strong_efficiency", p.strong);
        ls_json_real(&json, "weak_efficiency", p.weak);
        ls_json_real(&json, "pays_above_batch", p.least_batch);
        ls_json_end(&json, '}');
    }
    ls_json_end(&json, ']');
    ls_json_end(&json, '}');
}

ls_status ls_bench_scaling(const ls_bench *bench) {
    ls_step_run run = {0};
    model m;
    if (bench->comm->size == 1)
        return ls_comm_everywhere(bench->comm,
                                  ls_fail(LS_USAGE, "bench scaling: one rank has nobody to talk to; expected "
                                                    "mpirun -n 2 or more"));
    const ls_status status = measure(bench, &run, &m);
    if (status == LS_OK && bench->comm->rank == 0) (bench->json ? write_json : print)(bench, &run, &m);
    ls_step_run_destroy(&run);
    return status;
}

/* `bench layers`: each piece of the training plan by itself, over and over, beside what the machine allows.
 */
#include <stdlib.h>

#include "bench/kinds.h"
#include "bench/machine.h"
#include "core/clock.h"
#include "train/timeline.h"

/* A piece is repeated so often that one measurement takes about so long. */
static const double least_seconds = 0.002;

typedef struct piece {
    ls_piece_info info;
    double flop, bytes;  /* on all ranks */
    ls_spread seconds;   /* of the slowest rank */
    ls_spread processor; /* of all ranks and threads */
} piece;

typedef struct layers_run {
    ls_trainer *trainer;
    ls_ceilings *ceilings;
    piece *pieces;
    int count;
    double *slowest, *processor; /* [bench_steps] of one piece */
} layers_run;

static double flop_of(const ls_trainer *t, const ls_piece_info *info) {
    const ls_work_count work = ls_op_work(t, info->op);
    const double images = (double)t->training.shards.batch;
    switch (info->work) {
    case LS_WORK_FORWARD: return work.forward * images;
    case LS_WORK_BACKWARD: return work.backward * images;
    case LS_WORK_WEIGHT_GRAD: return work.weight_grad * images;
    default: return 0;
    }
}

/* What this rank must move: the buffers, and a weight that is read or whose gradient is written once for each
 * node. Of a gradient over all shards that is all rows of the factors, and a part of the gradient. */
static double bytes_of(const ls_trainer *t, const ls_piece_info *info) {
    double elements = 0;
    for (int k = 1; k < LS_MAX_INPUTS && info->op->in[k]; k++)
        if (info->op->in[k]->parameter >= 0)
            elements += (double)t->network->parameters.list[info->op->in[k]->parameter].count;
    double times = info->work == LS_WORK_WEIGHT_GRAD ? t->training.shards.node_count : 1, rows = 1;
    if (info->work == LS_WORK_WEIGHT_GRAD && info->op->all_shards) {
        times = 1.0 / t->comm->size;
        rows = (double)t->training.shards.batch / (double)ls_graph_rows(t->training.graph);
    }
    return rows * (double)info->bytes + times * elements * (double)ls_dtype_size(t->backend->dtype);
}

typedef struct taken {
    double seconds, processor;
} taken;

/* For one repetition. */
static taken time_piece(ls_trainer *t, int i, int64_t repeats, const ls_run *run) {
    const double begin = ls_clock(), processor = ls_processor_seconds();
    for (int64_t n = 0; n < repeats; n++) ls_plan_run_piece(t->training.plan, i, run, t->team);
    (void)t->backend->finish(t->backend); /* a failure stays, and comes out at the end */
    return (taken){(ls_clock() - begin) / (double)repeats,
                   (ls_processor_seconds() - processor) / (double)repeats};
}

/* How often a piece is to be repeated: the same on all ranks. */
static ls_status find_repeats(ls_trainer *t, int i, const ls_run *run, int64_t *repeats) {
    *repeats = 1;
    while (time_piece(t, i, *repeats, run).processor * (double)*repeats < least_seconds) *repeats *= 2;
    return ls_comm_broadcast(t->comm, repeats, sizeof *repeats, 0);
}

static ls_status add_ranks(ls_comm *comm, double own, double *sum) {
    double all[LS_MAX_SHARDS]; /* of ranks there are no more than shards */
    LS_TRY(ls_comm_allgather_equal(comm, &own, sizeof own, all));
    *sum = 0;
    for (int r = 0; r < comm->size; r++) *sum += all[r];
    return LS_OK;
}

/* All ranks at once, since they share memory and caches in training too. */
static ls_status measure_piece(const ls_bench *bench, layers_run *r, int i, const ls_run *run) {
    ls_trainer *t = r->trainer;
    double all[LS_MAX_SHARDS]; /* of ranks there are no more than shards */
    int64_t repeats;
    piece *p = &r->pieces[i];
    p->info = ls_plan_piece(t->training.plan, i);
    p->flop = flop_of(t, &p->info);
    LS_TRY(add_ranks(t->comm, bytes_of(t, &p->info), &p->bytes));
    LS_TRY(find_repeats(t, i, run, &repeats));
    for (int64_t n = 0; n < bench->options.bench_steps; n++) {
        LS_TRY(ls_comm_agree(t->comm, LS_OK));
        const taken own = time_piece(t, i, repeats, run);
        LS_TRY(add_ranks(t->comm, own.processor, &r->processor[n]));
        LS_TRY(ls_comm_allgather_equal(t->comm, &own.seconds, sizeof own.seconds, all));
        r->slowest[n] = ls_spread_of(all, t->comm->size).max;
    }
    p->seconds = ls_spread_of(r->slowest, bench->options.bench_steps);
    p->processor = ls_spread_of(r->processor, bench->options.bench_steps);
    return LS_OK;
}

static ls_status allocate(const ls_bench *bench, layers_run *r) {
    r->count = ls_plan_piece_count(r->trainer->training.plan);
    LS_TRY(ls_calloc(&r->pieces, (size_t)r->count, sizeof *r->pieces, "the pieces"));
    LS_TRY(ls_calloc(&r->slowest, (size_t)bench->options.bench_steps, sizeof *r->slowest, "the times"));
    return ls_calloc(&r->processor, (size_t)bench->options.bench_steps, sizeof *r->processor, "the times");
}

/* The first step of a run, which has a whole batch, leaves the buffers as the pieces want them. */
static ls_status measure(const ls_bench *bench, layers_run *r) {
    LS_TRY(ls_bench_trainer(bench, &r->trainer));
    ls_trainer *t = r->trainer;
    LS_TRY(ls_comm_agree(bench->comm, allocate(bench, r)));
    LS_TRY(ls_train_step(t));
    const ls_run run = {.shards = &t->training.shards,
                        .all = &t->training.all,
                        .data = &t->train,
                        .sample = t->training.sample,
                        .seed = (uint64_t)t->options.seed};
    LS_TRY(ls_ceilings_measure_registers(r->ceilings));
    LS_TRY(ls_ceilings_measure_copy(r->ceilings));
    t->comm->phase = "timing layers";
    for (int i = 0; i < r->count; i++) LS_TRY(measure_piece(bench, r, i, &run));
    LS_TRY(ls_ceilings_measure_registers(r->ceilings));
    LS_TRY(ls_comm_agree(t->comm, t->backend->finish(t->backend)));
    return ls_ceilings_measure_copy(r->ceilings);
}

/* --- what is said ---------------------------------------------------------------------------------- */

/* A row with operations has a rate, its share of the multiply-add loop, and that share by processor time. */
static void print_piece(const piece *p, double fma, double core_fma) {
    const ls_op *op = p->info.op;
    const ls_spread ms = ls_spread_scaled(p->seconds, 1e3);
    printf("%-23s %-22s %-15s %9.4f %8.4f %8.4f %9.4f", op->layer ? op->layer : "", op->class->name,
           ls_work_names[p->info.work], ms.median, ms.q1, ms.q3, 1e3 * p->processor.median);
    if (p->flop > 0)
        printf(" %8.1f %5.0f%% %5.0f%%", 1e-6 * p->flop / ms.median, 100 * p->flop / p->seconds.median / fma,
               100 * p->flop / p->processor.median / core_fma);
    else
        printf(" %8s %6s %6s", "", "", "");
    printf(" %9.3f %7.1f\n", 1e-6 * p->bytes, 1e-6 * p->bytes / ms.median);
}

static void print(const ls_bench *bench, const layers_run *r) {
    const double fma = ls_ceiling_spread(&r->ceilings->fma_flops).median;
    const double core_fma = ls_ceiling_spread(&r->ceilings->fma_core).median;
    ls_bench_print_setting(bench, r->trainer);
    printf("\nEach piece by itself on all ranks at once, its data where the last repetition left them; "
           "multiply-add loop\n"
           "%.1f GFLOP/s, %.1f by processor time; copy %.1f GB/s\n\n",
           1e-9 * fma, 1e-9 * core_fma, 1e-9 * ls_ceiling_spread(&r->ceilings->copy).median);
    printf("%-23s %-22s %-15s %9s %17s %9s %8s %6s %6s %9s %7s\n", "layer", "operation", "piece", "ms",
           "quartiles", "cpu ms", "GFLOP/s", "share", "by cpu", "MB", "GB/s");
    for (int i = 0; i < r->count; i++) print_piece(&r->pieces[i], fma, core_fma);
}

static void write_json(const ls_bench *bench, const layers_run *r) {
    const double fma = ls_ceiling_spread(&r->ceilings->fma_flops).median;
    const double core_fma = ls_ceiling_spread(&r->ceilings->fma_core).median;
    ls_json json = {.out = stdout};
    ls_json_begin(&json, NULL, '{');
    ls_json_text(&json, "bench", "layers");
    ls_bench_write_setting(bench, r->trainer, &json);
    ls_json_count(&json, "timed_steps", (uint64_t)bench->options.bench_steps);
    ls_ceilings_write(r->ceilings, &json);
    ls_json_begin(&json, "pieces", '[');
    for (int i = 0; i < r->count; i++) {
        const piece *p = &r->pieces[i];
        ls_json_begin(&json, NULL, '{');
        ls_json_text(&json, "layer", p->info.op->layer);
        ls_json_text(&json, "operation", p->info.op->class->name);
        ls_json_text(&json, "piece", ls_work_names[p->info.work]);
        ls_spread_write(&json, "ms", ls_spread_scaled(p->seconds, 1e3));
        ls_spread_write(&json, "processor_ms", ls_spread_scaled(p->processor, 1e3));
        if (p->flop > 0) {
            ls_json_real(&json, "gflops", 1e-9 * p->flop / p->seconds.median);
            ls_json_real(&json, "fma_share", p->flop / p->seconds.median / fma);
            ls_json_real(&json, "fma_share_per_core", p->flop / p->processor.median / core_fma);
        }
        ls_json_real(&json, "bytes", p->bytes);
        ls_json_real(&json, "gb_per_s", 1e-9 * p->bytes / p->seconds.median);
        ls_json_end(&json, '}');
    }
    ls_json_end(&json, ']');
    ls_json_end(&json, '}');
}

ls_status ls_bench_layers(const ls_bench *bench) {
    ls_ceilings ceilings;
    layers_run r = {.ceilings = &ceilings};
    ls_status status = ls_bench_ceilings(bench, &ceilings);
    if (status == LS_OK) status = measure(bench, &r);
    if (status == LS_OK && bench->comm->rank == 0) (bench->json ? write_json : print)(bench, &r);
    free(r.pieces);
    free(r.slowest);
    free(r.processor);
    ls_trainer_destroy(&r.trainer);
    ls_ceilings_destroy(&ceilings);
    return status;
}

#include "bench/step_report.h"

#include <inttypes.h>
#include <stdio.h>

#include "train/device_step.h"

/* Of the timed steps; copies, since spreads put their numbers in order. */
typedef struct summary {
    ls_spread seconds, processor;
    double images, gflops, fma;   /* a second, at the median */
    double core_gflops, core_fma; /* a second of processor time: whoever else wants the cores */
} summary;

static summary summarise(const ls_step_found *found) {
    const ls_step_run *run = &found->run;
    summary s;
    s.seconds = ls_spread_of(run->times.seconds, run->times.counted);
    s.processor = ls_spread_of(run->times.processor, run->times.counted);
    s.images = (double)run->full_batch / s.seconds.median;
    s.gflops = 1e-9 * ls_trainer_work(run->trainer) * s.images;
    s.fma = 1e-9 * ls_ceiling_spread(&found->ceilings.fma_flops).median;
    s.core_gflops = 1e-9 * ls_trainer_work(run->trainer) * (double)run->full_batch / s.processor.median;
    s.core_fma = 1e-9 * ls_ceiling_spread(&found->ceilings.fma_core).median;
    return s;
}

/* Bytes that the rank has planned: what training holds, and what evaluation adds to that in a run. */
typedef struct planned {
    double training, evaluating, state, gradients, data;
} planned;

static planned plan_memory(const ls_trainer *t) {
    const ls_parameters *p = &t->network->parameters;
    const size_t scalar = ls_dtype_size(p->backend->dtype);
    size_t training, evaluating, collecting = 0, unshared;
    ls_plan_memory(t->training.plan, &training, &unshared);
    ls_plan_memory(t->evaluating.plan, &evaluating, &unshared);
    if (t->collecting.plan) ls_plan_memory(t->collecting.plan, &collecting, &unshared);
    const int64_t pixels = (int64_t)t->data.train.height * t->data.train.width;
    return (planned){.training = (double)training,
                     .evaluating = (double)(evaluating + collecting),
                     .state = (double)((size_t)p->total *
                                       (size_t)(1 + (p->moment1 != NULL) + (p->moment2 != NULL)) * scalar),
                     .gradients = (double)((size_t)(p->total - p->summed + p->nodes * p->summed) * scalar),
                     .data = (double)((t->data.train.count + t->data.test.count) * (pixels + 1))};
}

static double mib(double bytes) {
    return bytes / (1 << 20);
}

/* The time that one op has taken in one pass, and its operations in one step on all ranks. */
typedef struct op_pass {
    double seconds, flop;
} op_pass;

static op_pass look_at(const ls_step_run *run, const ls_op *op, ls_pass pass) {
    const ls_work_count work = ls_op_work(run->trainer, op);
    const double flop = pass == LS_PASS_FORWARD    ? work.forward
                        : pass == LS_PASS_BACKWARD ? work.backward
                                                   : work.weight_grad;
    return (op_pass){run->times.pass[op->index * LS_PASSES + pass], flop * (double)run->full_batch};
}

static bool takes_time(const ls_step_run *run, const ls_op *op) {
    for (int p = 0; p < LS_PASSES; p++)
        if (run->times.pass[op->index * LS_PASSES + p] > 0) return true;
    return false;
}

/* --- for people ------------------------------------------------------------------------------------ */

static void print_ceiling(const char *name, const ls_ceiling *c, const char *unit) {
    const ls_spread all = ls_spread_scaled(ls_ceiling_spread(c), 1e-9);
    printf("  %-22s %9.1f %s (%.1f before, %.1f after, quartiles %.1f .. %.1f)\n", name, all.median, unit,
           1e-9 * c->median[0], 1e-9 * c->median[c->series - 1], all.q1, all.q3);
}

/* Two lines of a loop of bf16, and how far the run in that precision is from it. */
static void print_bf16_ceiling(const ls_step_found *found, const summary *s, const char *name,
                               const ls_ceiling *flops, const ls_ceiling *core) {
    if (flops->series == 0) {
        printf("  %-22s %9s\n", name, "none");
        return;
    }
    print_ceiling(name, flops, "GFLOP/s");
    print_ceiling("by processor time", core, "GFLOP/s");
    if (found->run.trainer->backend->precision == LS_PRECISION_BF16)
        printf("  %-22s %9.1f %% of it, %.1f %% by processor time\n", "arithmetic",
               1e11 * s->gflops / ls_ceiling_spread(flops).median,
               1e11 * s->core_gflops / ls_ceiling_spread(core).median);
}

static void print_rates(const ls_step_found *found, const summary *s) {
    const ls_step_run *run = &found->run;
    const ls_ceilings *c = &found->ceilings;
    const ls_spread ms = ls_spread_scaled(s->seconds, 1e3);
    printf("\n%" PRId64 " timed steps of %" PRId64 " images:\n", run->times.counted, run->full_batch);
    printf("  %-22s %9.3f ms (quartiles %.3f .. %.3f, least %.3f)\n", "step", ms.median, ms.q1, ms.q3,
           ms.min);
    printf("  %-22s %9.3f ms, of all ranks and threads\n", "processor time", 1e3 * s->processor.median);
    printf("  %-22s %9.0f\n", "images/s", s->images);
    printf("  %-22s %9.1f GFLOP/s, %.1f %% of the multiply-add loop\n", "arithmetic", s->gflops,
           100 * s->gflops / s->fma);
    printf("  %-22s %9.1f GFLOP/s, %.1f %%\n", "by processor time", s->core_gflops,
           100 * s->core_gflops / s->core_fma);
    printf("\nThe machine on all threads of all ranks, in the same run (%s):\n",
           ls_instruction_set_name(c->fma_set));
    print_ceiling("multiply-add loop", &c->fma_flops, "GFLOP/s");
    print_ceiling("by processor time", &c->fma_core, "GFLOP/s");
    print_bf16_ceiling(found, s, "dot product of bf16", &c->bf16_flops, &c->bf16_core);
    print_bf16_ceiling(found, s, "AMX loop, bf16", &c->amx_flops, &c->amx_core);
    print_ceiling("copy, read + written", &c->copy, "GB/s");
}

/* Launches of a step that a GPU takes by itself. */
static uint64_t launches(const ls_step_run *run) {
    return ls_device_step_launches(run->trainer->device_step);
}

static void print_launches(const ls_step_run *run) {
    printf("\n%" PRIu64
           " launches a step on the GPU, begun %s; phases and layers are not timed there (--trace begins "
           "them one by one)\n",
           launches(run), run->trainer->options.record == LS_RECORD_AUTO ? "as one recording" : "one by one");
}

static void print_phases(const ls_step_run *run, const summary *s) {
    printf("\n%-22s %9s %9s %9s %9s   ms of a rank\n", "phase", "median", "least", "most", "share");
    for (int p = 0; p < LS_STEP_PHASES; p++) {
        const ls_spread ms = ls_spread_scaled(run->times.phase[p], 1e3);
        printf("  %-20s %9.3f %9.3f %9.3f %8.1f%%\n", ls_step_phase_names[p], ms.median, ms.min, ms.max,
               0.1 * ms.median / s->seconds.median);
    }
}

static void print_layers(const ls_step_run *run) {
    const ls_graph *graph = run->trainer->training.graph;
    printf("\n%-22s %-20s %9s %9s %9s   ms; %s\n", "layer", "operation", "forward", "backward", "weights",
           "GFLOP/s of each, on all ranks");
    for (int i = 0; i < ls_graph_op_count(graph); i++) {
        const ls_op *op = ls_graph_op(graph, i);
        if (!takes_time(run, op)) continue;
        op_pass pass[LS_PASSES];
        for (int p = 0; p < LS_PASSES; p++) pass[p] = look_at(run, op, (ls_pass)p);
        printf("  %-20s %-20s %9.3f %9.3f %9.3f", op->layer ? op->layer : "", op->class->name,
               1e3 * pass[0].seconds, 1e3 * pass[1].seconds, 1e3 * pass[2].seconds);
        for (int p = 0; p < LS_PASSES; p++)
            if (pass[p].flop > 0 && pass[p].seconds > 0)
                printf(" %9.1f", 1e-9 * pass[p].flop / pass[p].seconds);
        printf("\n");
    }
}

static void print_memory(const ls_step_found *found) {
    const planned plan = plan_memory(found->run.trainer);
    printf("\nMiB of a rank: %.1f at its most (least %.1f, most %.1f over ranks);\n",
           mib(found->peak_memory.median), mib(found->peak_memory.min), mib(found->peak_memory.max));
    printf("  on rank 0 %.1f for the training plan, %.1f for that of evaluation, %.1f for parameters and "
           "moments,\n"
           "  %.1f for gradients, %.1f for the data\n",
           mib(plan.training), mib(plan.evaluating), mib(plan.state), mib(plan.gradients), mib(plan.data));
}

void ls_step_print(const ls_bench *bench, const ls_step_found *found) {
    const ls_step_run *run = &found->run;
    const summary s = summarise(found);
    ls_bench_print_setting(bench, run->trainer);
    print_rates(found, &s);
    if (run->timeline) {
        print_phases(run, &s);
        print_layers(run);
    } else {
        print_launches(run);
    }
    print_memory(found);
    printf("\nloss %.6f in step 1, %.6f in step %" PRId64 "\n", run->losses[0],
           run->losses[run->loss_count - 1], run->loss_count);
}

/* --- JSON ------------------------------------------------------------------------------------------ */

static void write_phases(const ls_step_run *run, ls_json *json) {
    ls_json_begin(json, "phases_ms", '{');
    for (int p = 0; p < LS_STEP_PHASES; p++)
        ls_spread_write(json, ls_step_phase_names[p], ls_spread_scaled(run->times.phase[p], 1e3));
    ls_json_end(json, '}');
}

static void write_layers(const ls_step_run *run, ls_json *json) {
    static const char *const passes[LS_PASSES] = {"forward", "backward", "weight_gradient"};
    const ls_graph *graph = run->trainer->training.graph;
    ls_json_begin(json, "layers", '[');
    for (int i = 0; i < ls_graph_op_count(graph); i++) {
        const ls_op *op = ls_graph_op(graph, i);
        if (!takes_time(run, op)) continue;
        ls_json_begin(json, NULL, '{');
        ls_json_text(json, "layer", op->layer);
        ls_json_text(json, "operation", op->class->name);
        for (int p = 0; p < LS_PASSES; p++) {
            const op_pass pass = look_at(run, op, (ls_pass)p);
            if (pass.seconds <= 0) continue;
            ls_json_begin(json, passes[p], '{');
            ls_json_real(json, "ms", 1e3 * pass.seconds);
            if (pass.flop > 0) ls_json_real(json, "gflops", 1e-9 * pass.flop / pass.seconds);
            ls_json_end(json, '}');
        }
        ls_json_end(json, '}');
    }
    ls_json_end(json, ']');
}

static void write_memory(const ls_step_found *found, ls_json *json) {
    const planned plan = plan_memory(found->run.trainer);
    ls_json_begin(json, "memory_mib", '{');
    ls_spread_write(json, "peak", ls_spread_scaled(found->peak_memory, 1.0 / (1 << 20)));
    ls_json_real(json, "training_plan", mib(plan.training));
    ls_json_real(json, "evaluation_plan", mib(plan.evaluating));
    ls_json_real(json, "state", mib(plan.state));
    ls_json_real(json, "gradients", mib(plan.gradients));
    ls_json_real(json, "data", mib(plan.data));
    ls_json_end(json, '}');
}

void ls_step_write_json(const ls_bench *bench, const ls_step_found *found) {
    const ls_step_run *run = &found->run;
    const summary s = summarise(found);
    ls_json json = {.out = stdout};
    ls_json_begin(&json, NULL, '{');
    ls_json_text(&json, "bench", "step");
    ls_bench_write_setting(bench, run->trainer, &json);
    ls_json_count(&json, "warmup_steps", (uint64_t)bench->options.bench_warmup);
    ls_json_count(&json, "timed_steps", (uint64_t)run->times.counted);
    ls_json_count(&json, "images_per_step", (uint64_t)run->full_batch);
    ls_json_real(&json, "images_per_s", s.images);
    ls_json_real(&json, "step_ms", 1e3 * s.seconds.median);
    ls_spread_write(&json, "step_ms_spread", ls_spread_scaled(s.seconds, 1e3));
    ls_spread_write(&json, "processor_ms", ls_spread_scaled(s.processor, 1e3));
    ls_json_real(&json, "gflops", s.gflops);
    ls_json_real(&json, "fma_gflops", s.fma);
    ls_json_real(&json, "fma_share", s.gflops / s.fma);
    ls_json_real(&json, "gflops_per_core", s.core_gflops);
    ls_json_real(&json, "fma_gflops_per_core", s.core_fma);
    ls_json_real(&json, "fma_share_per_core", s.core_gflops / s.core_fma);
    ls_ceilings_write(&found->ceilings, &json);
    ls_json_count(&json, "cuts", (uint64_t)run->times.exchanges);
    const ls_parameters *parameters = &run->trainer->network->parameters;
    const uint64_t element = ls_dtype_size(run->trainer->backend->dtype);
    ls_json_count(&json, "gradient_bytes", (uint64_t)parameters->summed * element);
    ls_json_count(&json, "added_bytes", (uint64_t)ls_parameters_added(parameters) * element);
    if (run->timeline) {
        write_phases(run, &json);
        write_layers(run, &json);
    } else {
        ls_json_count(&json, "launches", launches(run));
    }
    write_memory(found, &json);
    ls_json_begin(&json, "losses", '[');
    for (int64_t i = 0; i < run->loss_count; i++) ls_json_real(&json, NULL, run->losses[i]);
    ls_json_end(&json, ']');
    ls_json_end(&json, '}');
}

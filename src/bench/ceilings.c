#include "bench/ceilings.h"

#include <stdlib.h>
#include <string.h>

#include "bench/machine.h"
#include "core/clock.h"
#include "core/shards.h"

enum { MOST_THREADS = 256 };
static const double burst_seconds = 0.01;

typedef struct register_job {
    ls_register_loop loop;
    int64_t rounds;
    double operations[MOST_THREADS], processor[MOST_THREADS]; /* seconds */
} register_job;

static void run_loop(void *argument, int member) {
    register_job *job = argument;
    const double begin = ls_thread_seconds();
    job->operations[member] = job->loop(job->rounds);
    job->processor[member] = ls_thread_seconds() - begin;
}

typedef struct rates {
    double wall, core; /* operations a second, and a second of processor time */
} rates;

/* All threads at once. */
static rates time_loop(ls_team *team, ls_register_loop loop, int64_t rounds) {
    register_job job = {.loop = loop, .rounds = rounds};
    const double begin = ls_clock();
    double sum = 0, used = 0;
    ls_team_run(team, run_loop, &job);
    const double seconds = ls_clock() - begin;
    for (int m = 0; m < ls_team_size(team); m++) {
        sum += job.operations[m];
        used += job.processor[m];
    }
    return (rates){sum / seconds, sum / used};
}

/* How many rounds take about one burst of processor time: on a busy machine a few may take long by the clock.
 */
static int64_t find_rounds(ls_register_loop loop) {
    int64_t rounds = 1000;
    for (;;) {
        const double begin = ls_thread_seconds();
        loop(rounds);
        if (ls_thread_seconds() - begin >= burst_seconds / 2) return rounds;
        rounds *= 2;
    }
}

/* Loops that some rank does not have are measured by none, since they begin together. */
static ls_status keep_common(ls_ceilings *c) {
    const int32_t own[2] = {c->bf16 != NULL, c->amx != NULL};
    int32_t all[LS_MAX_SHARDS][2];
    LS_TRY(ls_comm_allgather_equal(c->comm, own, sizeof own, all));
    for (int r = 0; r < c->comm->size; r++) {
        if (!all[r][0]) c->bf16 = NULL;
        if (!all[r][1]) c->amx = NULL;
    }
    return LS_OK;
}

ls_status ls_ceilings_create(ls_comm *comm, int threads, ls_dtype dtype, int64_t copy_mib, ls_ceilings *c) {
    *c = (ls_ceilings){.comm = comm, .copy_mib = copy_mib};
    c->fma = ls_fma_loop(dtype, &c->fma_set);
    c->bf16 = ls_bf16_loop();
    c->amx = ls_amx_loop();
    LS_TRY(ls_comm_agree(comm, ls_team_create(threads, &c->team)));
    LS_TRY(keep_common(c));
    c->fma_rounds = find_rounds(c->fma);
    if (c->bf16) c->bf16_rounds = find_rounds(c->bf16);
    if (c->amx) c->amx_rounds = find_rounds(c->amx);
    return LS_OK;
}

void ls_ceilings_destroy(ls_ceilings *c) {
    ls_team_destroy(&c->team);
}

/* Notes the sum of the ranks' rates in a burst. */
static ls_status note(ls_ceilings *c, ls_ceiling *ceiling, int burst, double rate) {
    double all[LS_MAX_SHARDS], sum = 0; /* of ranks there are no more than shards */
    LS_TRY(ls_comm_allgather_equal(c->comm, &rate, sizeof rate, all));
    for (int r = 0; r < c->comm->size; r++) sum += all[r];
    ceiling->bursts[ceiling->series * LS_CEILING_BURSTS + burst] = sum;
    return LS_OK;
}

static void close_series(ls_ceiling *ceiling) {
    double series[LS_CEILING_BURSTS];
    memcpy(series, &ceiling->bursts[ceiling->series * LS_CEILING_BURSTS], sizeof series);
    ceiling->median[ceiling->series++] = ls_spread_of(series, LS_CEILING_BURSTS).median;
}

/* Bursts that all ranks begin together. */
static ls_status measure_loop(ls_ceilings *c, ls_register_loop loop, int64_t rounds, ls_ceiling *wall,
                              ls_ceiling *core) {
    for (int i = 0; i < LS_CEILING_BURSTS; i++) {
        LS_TRY(ls_comm_agree(c->comm, LS_OK));
        const rates found = time_loop(c->team, loop, rounds);
        LS_TRY(note(c, wall, i, found.wall));
        LS_TRY(note(c, core, i, found.core / c->comm->size));
    }
    close_series(wall);
    close_series(core);
    return LS_OK;
}

ls_status ls_ceilings_measure_registers(ls_ceilings *c) {
    c->comm->phase = "measuring the machine";
    if (c->fma_flops.series == LS_CEILING_SERIES) return LS_OK;
    LS_TRY(measure_loop(c, c->fma, c->fma_rounds, &c->fma_flops, &c->fma_core));
    if (c->bf16) LS_TRY(measure_loop(c, c->bf16, c->bf16_rounds, &c->bf16_flops, &c->bf16_core));
    return c->amx ? measure_loop(c, c->amx, c->amx_rounds, &c->amx_flops, &c->amx_core) : LS_OK;
}

typedef struct copy_job {
    char *to;
    const char *from;
    int64_t size;
    int threads;
} copy_job;

static void copy_part(void *argument, int member) {
    const copy_job *job = argument;
    int64_t first, last;
    ls_team_split(job->size, member, job->threads, &first, &last);
    memcpy(job->to + first, job->from + first, (size_t)(last - first));
}

ls_status ls_ceilings_measure_copy(ls_ceilings *c) {
    const size_t least = (size_t)64 << 20, most = (size_t)512 << 20; /* of all ranks of a host together */
    size_t size = 4 * ls_machine_last_cache();
    size = size < least ? least : size > most ? most : size;
    if (c->copy_mib > 0) size = (size_t)c->copy_mib << 20;
    size /= (size_t)c->comm->ranks_on_host;
    char *arrays;
    if (c->copy.series == LS_CEILING_SERIES) return LS_OK;
    LS_TRY(ls_comm_agree(c->comm, ls_aligned_alloc(&arrays, 2 * size, "arrays to copy")));
    copy_job job = {arrays + size, arrays, (int64_t)size, ls_team_size(c->team)};
    ls_status status = LS_OK;
    for (int i = 0; i < LS_CEILING_BURSTS && status == LS_OK; i++) {
        status = ls_comm_agree(c->comm, LS_OK);
        double begin = ls_clock();
        ls_team_run(c->team, copy_part, &job);
        if (status == LS_OK) status = note(c, &c->copy, i, 2 * (double)size / (ls_clock() - begin));
    }
    free(arrays);
    if (status == LS_OK) close_series(&c->copy);
    return status;
}

ls_spread ls_ceiling_spread(const ls_ceiling *ceiling) {
    double bursts[LS_CEILING_SERIES * LS_CEILING_BURSTS];
    memcpy(bursts, ceiling->bursts, sizeof bursts);
    return ls_spread_of(bursts, ceiling->series * LS_CEILING_BURSTS);
}

static void write_one(ls_json *json, const char *key, const ls_ceiling *ceiling) {
    if (ceiling->series == 0) {
        ls_json_null(json, key);
        return;
    }
    ls_json_begin(json, key, '{');
    ls_json_real(json, "before", 1e-9 * ceiling->median[0]);
    ls_json_real(json, "after", 1e-9 * ceiling->median[ceiling->series - 1]);
    ls_spread_write(json, "all", ls_spread_scaled(ls_ceiling_spread(ceiling), 1e-9));
    ls_json_end(json, '}');
}

void ls_ceilings_write(const ls_ceilings *c, ls_json *json) {
    ls_json_begin(json, "ceilings", '{');
    ls_json_text(json, "fma_instruction_set", ls_instruction_set_name(c->fma_set));
    write_one(json, "fma_gflops", &c->fma_flops);
    write_one(json, "fma_gflops_per_core", &c->fma_core);
    write_one(json, "bf16_gflops", &c->bf16_flops);
    write_one(json, "bf16_gflops_per_core", &c->bf16_core);
    write_one(json, "amx_gflops", &c->amx_flops);
    write_one(json, "amx_gflops_per_core", &c->amx_core);
    write_one(json, "copy_gb_per_s", &c->copy);
    ls_json_end(json, '}');
}

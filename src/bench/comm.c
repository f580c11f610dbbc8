/* `bench comm`: sums over the ranks by themselves, against MPI's. */
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "bench/comm_times.h"
#include "bench/kinds.h"
#include "bench/pairs.h"
#include "train/preview.h"

enum { CUTS = 4, SIZES = LS_INT_LIST_MAX + 1 };
static const int64_t cut_lengths[CUTS] = {1, 8, 64, 512}; /* doubles: 8 bytes to 4 KB */

typedef struct comm_run {
    ls_comm *comm;
    ls_team *team;
    int shards, threads;
    bool window;
    const ls_backend *backend;
    int64_t gradient; /* elements that a step of the configuration sums */
    int size_count;
    ls_comm_times sizes[SIZES], cuts[CUTS]; /* the configuration's own gradient first */
    ls_pair *pairs;                         /* of hosts */
    int pair_count;
} comm_run;

/* The configuration's; images are MNIST's where there is no data. */
static ls_status read_configuration(const ls_bench *bench, comm_run *r) {
    ls_preview p;
    ls_shards shards; /* refuses more ranks than there are shards */
    LS_TRY(ls_preview_create(bench->config, true, &p));
    r->shards = (int)p.options.shards;
    r->threads = (int)p.options.threads;
    r->window = p.options.window;
    for (int i = 0; i < p.network->parameters.count; i++)
        if (p.network->parameters.list[i].summed) r->gradient += p.network->parameters.list[i].count;
    ls_status status =
        ls_shards_create(&shards, r->shards, bench->comm->rank, bench->comm->size, p.options.batch);
    const ls_dtype dtype = p.options.precision == LS_PRECISION_FP64 ? LS_FP64 : LS_FP32;
    if (status == LS_OK) status = ls_backend_find(dtype, &r->backend);
    ls_preview_destroy(&p);
    return status;
}

static ls_status measure(const ls_bench *bench, comm_run *r) {
    const int64_t repeats = bench->options.bench_steps;
    const ls_int_list *list = &bench->options.bench_sizes;
    LS_TRY(ls_time_pairs(r->comm, repeats, &r->pairs, &r->pair_count));
    for (int i = 0; i < CUTS; i++)
        LS_TRY(ls_time_cut_sum(r->comm, r->window, r->team, r->shards, cut_lengths[i], repeats, &r->cuts[i]));
    for (r->size_count = 0; r->size_count <= list->count; r->size_count++) {
        const int64_t elements =
            r->size_count == 0 ? r->gradient
                               : list->value[r->size_count - 1] / (int64_t)ls_dtype_size(r->backend->dtype);
        LS_TRY(ls_time_gradient_sum(r->comm, r->window, r->team, r->shards, elements, r->backend, repeats,
                                    &r->sizes[r->size_count]));
    }
    return LS_OK;
}

/* --- what is said ---------------------------------------------------------------------------------- */

static void print_spread(ls_spread s) {
    printf(" %9.1f %8.1f %8.1f %8.1f", 1e6 * s.median, 1e6 * s.min, 1e6 * s.q1, 1e6 * s.q3);
}

static void print_times(const char *what, const ls_comm_times *t) {
    printf("%-15s %8" PRId64, what, t->bytes);
    print_spread(t->tree);
    print_spread(t->allreduce);
    printf(" %8.2f %6.2f\n", t->allreduce.median / t->tree.median, t->allreduce.min / t->tree.min);
}

static void print_pairs(const comm_run *r) {
    if (r->pair_count == 0) return;
    printf("messages between hosts, one way; by how much the second clock is ahead\n");
    for (int i = 0; i < r->pair_count; i++) {
        const ls_pair *p = &r->pairs[i];
        printf("%s - %s: %.1f us (least %.1f), %.2f GB/s (at most %.2f), clock %+.3f ms\n",
               r->comm->host_name[p->host], r->comm->host_name[p->other], 1e6 * p->latency.median,
               1e6 * p->latency.min, 1e-9 * LS_PAIR_BYTES / p->seconds.median,
               1e-9 * LS_PAIR_BYTES / p->seconds.min, 1e3 * p->clock);
    }
    printf("\n");
}

static void print(const ls_bench *bench, const comm_run *r) {
    const ls_comm_fit fit = ls_comm_fit_of(r->sizes, r->size_count);
    print_pairs(r);
    printf("%s: %d ranks (%d on this host), %d thread%s each, %d shards; microseconds of the slowest rank, "
           "each buffer written\n"
           "anew before each of %" PRId64 " calls, turn by turn with MPI_Allreduce of as many bytes\n\n",
           bench->config_path, r->comm->size, r->comm->ranks_on_host, r->threads, r->threads == 1 ? "" : "s",
           r->shards, bench->options.bench_steps);
    printf("%-15s %8s %9s %8s %17s %9s %8s %17s %8s %6s\n", "sum of", "bytes", "ours", "least", "quartiles",
           "MPI", "least", "quartiles", "MPI/ours", "least");
    for (int i = 0; i < CUTS; i++) print_times("a cut's vector", &r->cuts[i]);
    for (int i = 0; i < r->size_count; i++) print_times(i == 0 ? "the gradient" : "a gradient", &r->sizes[i]);
    printf("\nfitted to our sums of gradients: %.1f us + bytes / (%.2f GB/s)\n", 1e6 * fit.latency,
           1e-9 / fit.seconds_per_byte);
}

static void write_times(ls_json *json, const ls_comm_times *t) {
    ls_json_begin(json, NULL, '{');
    ls_json_count(json, "bytes", (uint64_t)t->bytes);
    ls_spread_write(json, "tree_us", ls_spread_scaled(t->tree, 1e6));
    ls_spread_write(json, "allreduce_us", ls_spread_scaled(t->allreduce, 1e6));
    ls_json_real(json, "allreduce_over_tree", t->allreduce.median / t->tree.median);
    ls_json_real(json, "least_allreduce_over_tree", t->allreduce.min / t->tree.min);
    ls_json_end(json, '}');
}

static void write_pairs(ls_json *json, const comm_run *r) {
    ls_json_begin(json, "pairs", '[');
    for (int i = 0; i < r->pair_count; i++) {
        const ls_pair *p = &r->pairs[i];
        ls_json_begin(json, NULL, '{');
        ls_json_text(json, "host", r->comm->host_name[p->host]);
        ls_json_text(json, "other", r->comm->host_name[p->other]);
        ls_spread_write(json, "latency_us", ls_spread_scaled(p->latency, 1e6));
        ls_json_count(json, "bytes", LS_PAIR_BYTES);
        ls_spread_write(json, "bytes_us", ls_spread_scaled(p->seconds, 1e6));
        ls_json_real(json, "clock_ms", 1e3 * p->clock);
        ls_json_end(json, '}');
    }
    ls_json_end(json, ']');
}

static void write_json(const ls_bench *bench, const comm_run *r) {
    const ls_comm_fit fit = ls_comm_fit_of(r->sizes, r->size_count);
    ls_json json = {.out = stdout};
    ls_json_begin(&json, NULL, '{');
    ls_json_text(&json, "bench", "comm");
    ls_json_text(&json, "config", bench->config_path);
    ls_json_count(&json, "ranks", (uint64_t)r->comm->size);
    ls_json_count(&json, "ranks_on_node", (uint64_t)r->comm->ranks_on_host);
    ls_json_count(&json, "threads", (uint64_t)r->threads);
    ls_json_count(&json, "shards", (uint64_t)r->shards);
    ls_json_text(&json, "comm", r->comm->class->name);
    ls_json_bool(&json, "window", r->window);
    ls_json_count(&json, "repeats", (uint64_t)bench->options.bench_steps);
    ls_json_count(&json, "hosts", (uint64_t)r->comm->hosts);
    write_pairs(&json, r);
    ls_json_begin(&json, "cuts", '[');
    for (int i = 0; i < CUTS; i++) write_times(&json, &r->cuts[i]);
    ls_json_end(&json, ']');
    ls_json_begin(&json, "gradients", '[');
    for (int i = 0; i < r->size_count; i++) write_times(&json, &r->sizes[i]);
    ls_json_end(&json, ']');
    ls_json_real(&json, "latency_us", 1e6 * fit.latency);
    ls_json_real(&json, "ns_per_byte", 1e9 * fit.seconds_per_byte);
    ls_json_end(&json, '}');
}

ls_status ls_bench_comm(const ls_bench *bench) {
    comm_run r = {.comm = bench->comm};
    LS_TRY(ls_comm_agree(bench->comm, read_configuration(bench, &r)));
    if (bench->comm->size == 1)
        return ls_comm_everywhere(bench->comm,
                                  ls_fail(LS_USAGE, "bench comm: one rank has nothing to add up; expected "
                                                    "mpirun -n 2 or more"));
    ls_status status = ls_comm_agree(bench->comm, ls_team_create(r.threads, &r.team));
    if (status == LS_OK) status = measure(bench, &r);
    if (status == LS_OK && bench->comm->rank == 0) (bench->json ? write_json : print)(bench, &r);
    ls_team_destroy(&r.team);
    free(r.pairs);
    return status;
}

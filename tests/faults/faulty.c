/* The real program with faults put between its parts by the linker (-Wl,--wrap); the program itself has no
 * hooks. FAULTY says which rank does what, and when, "WHAT:RANK:STEP[:ARENA:BIT]", where STEP counts this
 * process's steps from 1:
 *   die        SIGKILL to itself before the step
 *   signal     SIGUSR1 to itself before the step
 *   batch      SIGUSR1 to itself in the STEP-th batch that is not one of training: of an evaluation, of
 *              collecting statistics, of an attack
 *   load, end  SIGSTOP to itself before the data are read, or before MPI is left (STEP 0)
 *   skip       leaves out the comparison of the replicas after the step, a collective
 *   memory     the first allocation after the begin of the step fails
 *   spill      a checkpoint of this step holds a value that is not finite, and nobody has looked, as in earlier builds
 *   flip       turns a bit of the model's state before it is checked after the step; ARENA: value, moment1,
 *              moment2, statistics. What ranks share is turned in the slice that this rank updates
 *   spoil      the same before the step, whether or not anything is checked
 *   sum        turns a bit of the gradient's sum in the slice that this rank updates, before it does so
 * With FAULTY_ONCE=FILE only the process that makes this file does it. With FAULTY_COUNT=FILE rank 0 writes there
 * how many batches that are not of training it has begun. */
#include <fcntl.h>
#include <math.h>
#include <signal.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "dist/replica.h"
#include "train/checkpoints.h"
#include "train/trainer.h"

static int own_rank = -1;
static ls_slice own_slice; /* of the parameters that this rank updates */
static ls_parameters *parameters;
static long steps, batches;
static bool in_step, allocation_fails, spilling;

static bool once(void) {
    const char *path = getenv("FAULTY_ONCE");
    if (!path) return true;
    int fd = open(path, O_CREAT | O_EXCL | O_WRONLY, 0666);
    if (fd >= 0) close(fd);
    return fd >= 0;
}

/* Is it this rank's turn to do WHAT? */
static bool turn(const char *what, long now, char arena[16], unsigned long *bit) {
    const char *text = getenv("FAULTY");
    char asked[16];
    int rank;
    long step;
    if (!text) return false;
    if (sscanf(text, "%15[a-z]:%d:%ld:%15[a-z0-9]:%lu", asked, &rank, &step, arena, bit) < 3) abort();
    return strcmp(what, asked) == 0 && rank == own_rank && step == now && once();
}

static bool simple_turn(const char *what, long now) {
    char arena[16];
    unsigned long bit;
    return turn(what, now, arena, &bit);
}

ls_status __real_ls_data_load(ls_comm *comm, const char *folder, int64_t split, uint64_t seed, ls_data *data);
ls_status __wrap_ls_data_load(ls_comm *comm, const char *folder, int64_t split, uint64_t seed, ls_data *data);
ls_status __wrap_ls_data_load(ls_comm *comm, const char *folder, int64_t split, uint64_t seed,
                              ls_data *data) {
    own_rank = comm->rank;
    if (simple_turn("load", 0)) raise(SIGSTOP);
    return __real_ls_data_load(comm, folder, split, seed, data);
}

void __real_ls_comm_destroy(ls_comm **comm);
void __wrap_ls_comm_destroy(ls_comm **comm);
void __wrap_ls_comm_destroy(ls_comm **comm) {
    const char *path = getenv("FAULTY_COUNT");
    FILE *file = path && own_rank == 0 ? fopen(path, "w") : NULL;
    if (file && (fprintf(file, "%ld\n", batches) < 0 || fclose(file) != 0)) abort();
    if (simple_turn("end", 0)) raise(SIGSTOP);
    __real_ls_comm_destroy(comm);
}

ls_status __real_ls_plan_run(ls_plan *plan, const ls_run *run, ls_team *team);
ls_status __wrap_ls_plan_run(ls_plan *plan, const ls_run *run, ls_team *team);
ls_status __wrap_ls_plan_run(ls_plan *plan, const ls_run *run, ls_team *team) {
    if (!in_step && simple_turn("batch", ++batches)) raise(SIGUSR1);
    return __real_ls_plan_run(plan, run, team);
}

ls_status __real_ls_replica_check(ls_comm *comm, uint64_t hash);
ls_status __wrap_ls_replica_check(ls_comm *comm, uint64_t hash);
ls_status __wrap_ls_replica_check(ls_comm *comm, uint64_t hash) {
    return simple_turn("skip", steps) ? LS_OK : __real_ls_replica_check(comm, hash);
}

typedef struct place {
    const char *arena;
    unsigned long bit;
} place;

/* Bits are counted through the parameters' values, without the arena's padding, through the own slice of shared
 * ones, or through all statistics. */
static ls_status flip_in(const ls_parameters *p, const ls_arenas *host, void *client) {
    const char *arena = ((const place *)client)->arena;
    unsigned long bit = ((const place *)client)->bit;
    size_t size = p->backend->dtype == LS_FP64 ? 8 : 4;
    if (strcmp(arena, "statistics") == 0) {
        const ls_statistics s =
            ls_arenas_statistics(p, host, (int)(bit % (unsigned long)p->statistics_count));
        bit /= (unsigned long)p->statistics_count;
        bit %= 64 * (unsigned long)(1 + 3 * s.channels);
        ((unsigned char *)s.values)[bit / 8] ^= (unsigned char)(1u << bit % 8);
        return LS_OK;
    }
    void *base = strcmp(arena, "value") == 0     ? host->value
                 : strcmp(arena, "moment1") == 0 ? host->moment1
                                                 : host->moment2;
    if (!base) abort();
    if (p->lent) {
        bit %= 8 * size * (unsigned long)(own_slice.last - own_slice.first);
        ((unsigned char *)base)[(size_t)own_slice.first * size + bit / 8] ^= (unsigned char)(1u << bit % 8);
        return LS_OK;
    }
    bit %= 8 * size * (unsigned long)p->elements;
    for (int i = 0; i < p->count; i++) {
        unsigned long bits = 8 * size * (unsigned long)p->list[i].count;
        if (bit < bits) {
            ((unsigned char *)base)[(size_t)p->list[i].offset * size + bit / 8] ^=
                (unsigned char)(1u << bit % 8);
            return LS_OK;
        }
        bit -= bits;
    }
    return LS_OK;
}

static void flip(const ls_parameters *p, const char *arena, unsigned long bit) {
    place at = {arena, bit};
    if (ls_parameters_use(p, true, flip_in, &at) != LS_OK) abort();
}

ls_status __real_ls_tree_sum_create(ls_comm *comm, ls_window *window, const ls_shards *shards, ls_team *team,
                                    const ls_tree_sum_sizes *sizes, ls_tree_sum **sum);
ls_status __wrap_ls_tree_sum_create(ls_comm *comm, ls_window *window, const ls_shards *shards, ls_team *team,
                                    const ls_tree_sum_sizes *sizes, ls_tree_sum **sum);
ls_status __wrap_ls_tree_sum_create(ls_comm *comm, ls_window *window, const ls_shards *shards, ls_team *team,
                                    const ls_tree_sum_sizes *sizes, ls_tree_sum **sum) {
    LS_TRY(__real_ls_tree_sum_create(comm, window, shards, team, sizes, sum));
    own_slice = ls_tree_sum_slice(*sum);
    return LS_OK;
}

ls_status __real_ls_train_step(ls_trainer *t);
ls_status __wrap_ls_train_step(ls_trainer *t);
ls_status __wrap_ls_train_step(ls_trainer *t) {
    char arena[16] = "";
    unsigned long bit = 0;
    steps++;
    parameters = &t->network->parameters;
    if (turn("spoil", steps, arena, &bit)) flip(&t->network->parameters, arena, bit);
    if (simple_turn("die", steps)) raise(SIGKILL);
    if (simple_turn("signal", steps)) raise(SIGUSR1);
    if (simple_turn("memory", steps)) allocation_fails = true;
    in_step = true;
    ls_status status = __real_ls_train_step(t);
    in_step = false;
    return status;
}

/* In fp32, of a number that is not 0, by less than it is itself. */
static void turn_bit_of_sum(void) {
    uint32_t *sum = parameters->reduced;
    int64_t i = own_slice.first;
    while (i < own_slice.last && (sum[i] << 1) == 0) i++;
    if (i == own_slice.last) abort();
    sum[i] ^= 1u << 16;
}

ls_status __real_ls_updater_run(ls_updater *u, const ls_update *update, const ls_observer *observer);
ls_status __wrap_ls_updater_run(ls_updater *u, const ls_update *update, const ls_observer *observer);
ls_status __wrap_ls_updater_run(ls_updater *u, const ls_update *update, const ls_observer *observer) {
    if (simple_turn("sum", steps)) turn_bit_of_sum();
    return __real_ls_updater_run(u, update, observer);
}

uint64_t __real_ls_replica_hash(const ls_parameters *p, uint64_t step);
uint64_t __wrap_ls_replica_hash(const ls_parameters *p, uint64_t step);
uint64_t __wrap_ls_replica_hash(const ls_parameters *p, uint64_t step) {
    char arena[16] = "";
    unsigned long bit = 0;
    if (turn("flip", steps, arena, &bit)) flip(p, arena, bit);
    return __real_ls_replica_hash(p, step);
}

ls_status __real_ls_calloc(void *out, size_t count, size_t size, const char *what);
ls_status __wrap_ls_calloc(void *out, size_t count, size_t size, const char *what);
ls_status __wrap_ls_calloc(void *out, size_t count, size_t size, const char *what) {
    if (!allocation_fails) return __real_ls_calloc(out, count, size, what);
    allocation_fails = false;
    memset(out, 0, sizeof(void *));
    return ls_fail(LS_INTERNAL, "out of memory: %zu x %zu bytes for %s", count, size, what);
}

ls_status __real_ls_checkpoints_save(const char *folder, ls_trainer *t, const char *config_yaml,
                                     ls_metrics *metrics, const ls_best *best, bool finished);
ls_status __wrap_ls_checkpoints_save(const char *folder, ls_trainer *t, const char *config_yaml,
                                     ls_metrics *metrics, const ls_best *best, bool finished);
ls_status __wrap_ls_checkpoints_save(const char *folder, ls_trainer *t, const char *config_yaml,
                                     ls_metrics *metrics, const ls_best *best, bool finished) {
    spilling = simple_turn("spill", steps);
    ls_status status = __real_ls_checkpoints_save(folder, t, config_yaml, metrics, best, finished);
    spilling = false;
    return status;
}

/* The last value of the first tensor. */
ls_status __real_ls_state_export(const ls_parameters *p, ls_state *state);
ls_status __wrap_ls_state_export(const ls_parameters *p, ls_state *state);
ls_status __wrap_ls_state_export(const ls_parameters *p, ls_state *state) {
    ls_status status = __real_ls_state_export(p, state);
    const ls_record *r = &state->records[0];
    if (spilling) ((float *)r->data)[ls_record_bytes(r) / sizeof(float) - 1] = (float)NAN;
    return status;
}

const char *__real_ls_state_not_finite(const ls_state *state);
const char *__wrap_ls_state_not_finite(const ls_state *state);
const char *__wrap_ls_state_not_finite(const ls_state *state) {
    return spilling ? NULL : __real_ls_state_not_finite(state);
}

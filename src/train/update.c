#include "train/update.h"

#include <stdatomic.h>
#include <stdlib.h>

#include "core/vector.h"

struct ls_updater {
    int rank;
    ls_parameters *parameters;
    ls_gradient *gradient;
    ls_team *team;
    ls_slice slice;      /* of the parameters that this rank updates: all where ranks share no memory */
    uint64_t *left;      /* [threads] sum of the bits that a thread has left; NULL: nothing is guarded */
    atomic_bool flipped; /* it has found others */
    ls_lane lane;
    const ls_update *update; /* the one at hand */
    atomic_bool not_finite;  /* a gradient, here */
};

ls_status ls_updater_create(int rank, ls_parameters *parameters, ls_gradient *gradient, ls_team *team,
                            bool guarded, ls_updater **out) {
    ls_updater *u;
    *out = NULL;
    LS_TRY(ls_calloc(&u, 1, sizeof *u, "the updater"));
    u->rank = rank;
    u->parameters = parameters;
    u->gradient = gradient;
    u->team = team;
    u->slice = ls_gradient_slice(gradient);
    u->lane.device = parameters->backend->device;
    ls_status status = LS_OK;
    if (guarded)
        status =
            ls_calloc(&u->left, (size_t)ls_team_size(team), sizeof *u->left, "the guard of the parameters");
    if (status == LS_OK)
        *out = u;
    else
        free(u);
    return status;
}

void ls_updater_destroy(ls_updater **updater) {
    if (!*updater) return;
    free((*updater)->left);
    free(*updater);
    *updater = NULL;
}

/* One thread's share of the slice, always the same one. */
static ls_slice share_of(const ls_updater *u, int member) {
    ls_slice s;
    ls_team_split(u->slice.last - u->slice.first, member, ls_team_size(u->team), &s.first, &s.last);
    return (ls_slice){u->slice.first + s.first, u->slice.first + s.last};
}

/* --- the gradient ----------------------------------------------------------------------------------------- */

/* Of the parameter's gradient what lies in the slice. */
static bool is_finite(const ls_updater *u, const ls_parameter *parameter, ls_slice slice) {
    const ls_parameters *p = u->parameters;
    const int64_t first = parameter->offset, last = first + parameter->count;
    if (slice.first < first) slice.first = first;
    if (slice.last > last) slice.last = last;
    return slice.first >= slice.last ||
           LS_KERNELS_OF(p->backend, ls_vector_ref)
               ->finite(slice.last - slice.first, ls_arena_at(p, p->reduced, slice.first), &u->lane);
}

/* What has been added over nodes here; the plan has looked at what it computed over all shards. */
static void check_part(void *argument, int member) {
    ls_updater *u = argument;
    const ls_parameters *p = u->parameters;
    if (u->lane.device) { /* all of the arena at once: what lies between parameters is 0 */
        const ls_vector_kernels *vectors = LS_KERNELS_OF(p->backend, ls_vector_ref);
        if (!vectors->finite(p->total, p->reduced, &u->lane)) atomic_store(&u->not_finite, true);
        return;
    }
    for (int i = 0; i < p->count; i++)
        if (!p->list[i].all_shards && !is_finite(u, &p->list[i], share_of(u, member)))
            atomic_store(&u->not_finite, true);
}

static int first_not_finite(const ls_updater *u) {
    const ls_parameters *p = u->parameters;
    int i = 0;
    while (i + 1 < p->count && is_finite(u, &p->list[i], (ls_slice){0, p->total})) i++;
    return i;
}

ls_status ls_updater_check(ls_updater *u, bool finite, const ls_observer *observer, int *parameter) {
    bool everywhere;
    atomic_store(&u->not_finite, !finite);
    ls_observe(observer, 0, LS_WORK_UPDATE, NULL, true);
    ls_team_run(u->team, check_part, u);
    ls_observe(observer, 0, LS_WORK_UPDATE, NULL, false);
    LS_TRY(u->parameters->backend->finish(u->parameters->backend));
    ls_observe(observer, 0, LS_WORK_UPDATE_EXCHANGE, NULL, true);
    LS_TRY(ls_gradient_agree(u->gradient, !atomic_load(&u->not_finite), &everywhere));
    ls_observe(observer, 0, LS_WORK_UPDATE_EXCHANGE, NULL, false);
    *parameter = everywhere ? -1 : first_not_finite(u);
    return LS_OK;
}

/* --- the update ------------------------------------------------------------------------------------------- */

static void compare(ls_updater *u, int member, uint64_t found) {
    if (found != u->left[member]) atomic_store(&u->flipped, true);
}

static void update_part(void *argument, int member) {
    ls_updater *u = argument;
    const ls_slice s = share_of(u, member);
    const ls_bit_sums sums = ls_optimizer_apply(u->update, u->parameters, s.first, s.last);
    if (!u->left) return;
    compare(u, member, sums.before);
    u->left[member] = sums.after;
}

ls_status ls_updater_run(ls_updater *u, const ls_update *update, const ls_observer *observer) {
    u->update = update;
    ls_observe(observer, 0, LS_WORK_UPDATE, NULL, true);
    ls_team_run(u->team, update_part, u);
    ls_observe(observer, 0, LS_WORK_UPDATE, NULL, false);
    ls_observe(observer, 0, LS_WORK_UPDATE_EXCHANGE, NULL, true);
    LS_TRY(ls_gradient_published(u->gradient));
    ls_observe(observer, 0, LS_WORK_UPDATE_EXCHANGE, NULL, false);
    return LS_OK;
}

/* --- flipped bits ----------------------------------------------------------------------------------------- */

static void remember_part(void *argument, int member) {
    ls_updater *u = argument;
    const ls_slice s = share_of(u, member);
    u->left[member] = ls_optimizer_sum(u->parameters, s.first, s.last);
}

void ls_updater_watch(ls_updater *u) {
    if (u->left) ls_team_run(u->team, remember_part, u);
}

bool ls_updater_guard(const ls_updater *u, uint64_t *sum) {
    *sum = u->left ? u->left[0] : 0;
    return u->left != NULL;
}

void ls_updater_left(ls_updater *u, uint64_t sum, bool flipped) {
    if (!u->left) return;
    if (flipped) atomic_store(&u->flipped, true);
    u->left[0] = sum;
}

static void look_part(void *argument, int member) {
    ls_updater *u = argument;
    const ls_slice s = share_of(u, member);
    compare(u, member, ls_optimizer_sum(u->parameters, s.first, s.last));
}

void ls_updater_look(ls_updater *u) {
    if (u->left) ls_team_run(u->team, look_part, u);
}

ls_status ls_updater_unchanged(const ls_updater *u, int64_t step) {
    if (!atomic_load(&u->flipped)) return LS_OK;
    return ls_fail(LS_REPLICAS_DIFFER,
                   "step %lld: the parameters or moments that rank %d updates have changed since it did so: "
                   "a bit of its memory has flipped",
                   (long long)step, u->rank);
}

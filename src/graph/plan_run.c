/* The replay of a plan: stage by stage, on the threads of a rank. */
#include <limits.h>

#include "core/team.h"
#include "graph/planner.h"

_Static_assert((int)LS_WORK_SUMS == LS_PIECE_SUMS && (int)LS_WORK_WEIGHT_GRAD == LS_PIECE_WEIGHT_GRAD,
               "pieces are the first kinds of work");

typedef struct replay {
    ls_plan *plan;
    const ls_stage *stage;
    const ls_run *run;
    const ls_piece *piece; /* a weight gradient by itself */
} replay;

static ls_shard_piece shard_function(const ls_piece *piece) {
    const ls_op_class *class = piece->op->class;
    switch (piece->kind) {
    case LS_PIECE_SUMS: return class->sums;
    case LS_PIECE_FORWARD: return class->forward;
    case LS_PIECE_GRAD_SUMS: return class->grad_sums;
    case LS_PIECE_BACKWARD: return class->backward;
    case LS_PIECE_WEIGHT_GRAD: break;
    }
    return NULL;
}

/* Notes an op that is through with its forward piece and has not read its input through what is folded into its
 * load. */
static void check_load(ls_plan *plan, const ls_op *op) {
    if (op->fusion.loaded && !__atomic_load_n(op->fusion.loaded, __ATOMIC_RELAXED))
        atomic_store(&plan->not_loaded, op);
}

static ls_status check_loads(const ls_plan *plan) {
    const ls_op *op = atomic_load(&plan->not_loaded);
    if (!op) return LS_OK;
    return ls_fail(LS_INTERNAL,
                   "operation %d (%s): its class declares loads_prologue and reads in[0] itself; read it "
                   "through ls_op_prologue(), or do not declare that",
                   op->index, op->class->name);
}

/* One member's share of a stage: its shards through all the pieces, then its parts of the weight gradients.
 */
static void run_stage(void *argument, int member) {
    const replay *r = argument;
    const ls_plan *plan = r->plan;
    const ls_stage *stage = r->stage;
    int64_t first, last;
    ls_team_split(r->run->shards->count, member, plan->threads, &first, &last);
    for (int i = 0; i < stage->shard_count; i++) {
        const ls_piece *piece = &plan->shard_pieces[stage->shard_first + i];
        ls_observe(plan->observer, member, (ls_work)piece->kind, piece->op, true);
        shard_function(piece)(piece->op, r->run, (int)first, (int)last, &plan->lanes[member]);
        if (piece->kind == LS_PIECE_FORWARD) check_load(r->plan, piece->op);
        ls_observe(plan->observer, member, (ls_work)piece->kind, piece->op, false);
    }
}

/* Parts [first, last) of a weight gradient. One that is not finite for some shards is not so for all. */
static void run_weight_grad(const replay *r, int member, const ls_piece *piece, int64_t first, int64_t last) {
    ls_plan *plan = r->plan;
    ls_observe(plan->observer, member, LS_WORK_WEIGHT_GRAD, piece->op, true);
    if (!piece->op->class->weight_grad(piece->op, r->run, first, last, &plan->lanes[member]))
        atomic_store(&plan->not_finite, true);
    ls_observe(plan->observer, member, LS_WORK_WEIGHT_GRAD, piece->op, false);
}

/* One member's share of the stage's weight gradients, over the rank's own shards. */
static void run_parts(void *argument, int member) {
    const replay *r = argument;
    const ls_plan *plan = r->plan;
    int64_t first, last;
    for (int i = 0; i < r->stage->part_count; i++) {
        const ls_piece *piece = &plan->part_pieces[r->stage->part_first + i];
        ls_team_split(piece->op->class->parts(piece->op), member, plan->threads, &first, &last);
        run_weight_grad(r, member, piece, first, last);
    }
}

/* One member's parts of those over all shards: more of them where others are slower. */
static void run_all_shards(void *argument, int member) {
    const replay *r = argument;
    const ls_plan *plan = r->plan;
    int64_t first, last;
    while (ls_plan_take_parts(plan, &first, &last))
        for (int i = 0; i < plan->all_shards_count; i++) {
            const ls_piece *piece = &plan->all_shards_pieces[i];
            const int64_t parts = piece->op->class->parts(piece->op);
            const int64_t begin = first > piece->first ? first - piece->first : 0;
            const int64_t end = last - piece->first < parts ? last - piece->first : parts;
            if (begin < end) run_weight_grad(r, member, piece, begin, end);
        }
}

void ls_plan_listen(ls_plan *plan, ls_plan_listener listener) {
    plan->listener = listener;
}

int ls_plan_stage_of(const ls_plan *plan, int parameter) {
    int last = INT_MAX;
    for (int s = 0; s < plan->stage_count; s++)
        for (int i = 0; i < plan->stages[s].part_count; i++) {
            const ls_op *op = plan->part_pieces[plan->stages[s].part_first + i].op;
            for (int k = 0; k < LS_MAX_INPUTS && op->in[k]; k++)
                if (op->in[k]->parameter == parameter) last = s;
        }
    return last;
}

/* One sum over all shards for all the cuts of the stage, in one message. */
static ls_status run_cuts(ls_plan *plan, const ls_stage *stage, const ls_run *run) {
    enum { BATCH = 64 };
    ls_partial partials[BATCH];
    const ls_cut *cuts = &plan->cuts[stage->cut_first];
    int pending = 0, added = 0;
    for (int i = 0; i < stage->cut_count; i++) {
        const ls_partial partial = ls_op_partial(cuts[i].op, run, cuts[i].grad);
        const bool by_store = ls_op_cut_by_store(cuts[i].op, run, cuts[i].grad);
        if (partial.length > 0 && !by_store) partials[pending++] = partial;
        if (pending == BATCH || (i + 1 == stage->cut_count && pending > 0)) {
            ls_observe(plan->observer, 0, LS_WORK_EXCHANGE, NULL, true);
            LS_TRY(plan->graph->reducer.sum(plan->graph->reducer.self, partials, pending, &plan->lanes[0]));
            ls_observe(plan->observer, 0, LS_WORK_EXCHANGE, NULL, false);
            added += pending;
            pending = 0;
        }
    }
    const int number = (int)(stage - plan->stages);
    if (added > 0 && plan->listener.wants && plan->listener.wants(plan->listener.self, number)) {
        ls_observe(plan->observer, 0, LS_WORK_GRADIENT_SUM, NULL, true);
        LS_TRY(plan->listener.passed(plan->listener.self, number));
        ls_observe(plan->observer, 0, LS_WORK_GRADIENT_SUM, NULL, false);
    }
    for (int i = 0; i < stage->cut_count; i++) {
        ls_op *op = cuts[i].op;
        if (ls_op_cut_by_store(op, run, cuts[i].grad)) continue;
        const ls_work work = cuts[i].grad ? LS_WORK_GRAD_CUT : LS_WORK_CUT;
        ls_observe(plan->observer, 0, work, op, true);
        (cuts[i].grad ? op->class->grad_cut : op->class->cut)(op, run, &plan->lanes[0]);
        ls_observe(plan->observer, 0, work, op, false);
    }
    return LS_OK;
}

/* The weight gradients that are left, of each class at once. */
static void run_together(const ls_plan *plan, const ls_run *run) {
    for (int first = 0, last; first < plan->together_count; first = last) {
        const ls_op_class *class = plan->together[first]->class;
        for (last = first; last < plan->together_count && plan->together[last]->class == class;) last++;
        ls_observe(plan->observer, 0, LS_WORK_WEIGHT_GRAD, plan->together[first], true);
        class->weight_grads(plan->together + first, last - first, run, &plan->lanes[0]);
        ls_observe(plan->observer, 0, LS_WORK_WEIGHT_GRAD, plan->together[first], false);
    }
}

void ls_plan_observe(ls_plan *plan, const ls_observer *observer) {
    plan->observer = observer;
}

static bool takes_part(const void *plan, const ls_op *op) {
    return ((const ls_plan *)plan)->ops[op->index].needed;
}

ls_status ls_plan_run(ls_plan *plan, const ls_run *run, struct ls_team *team) {
    const ls_graph *graph = plan->graph;
    if (plan->all_shards_count > 0 && ls_plan_move_shared(plan, ls_rows_before(run))) ls_plan_set_views(plan);
    ls_plan_give_parts(plan);
    atomic_store(&plan->not_finite, false);
    for (int s = 0; s < plan->stage_count; s++) {
        const ls_stage *stage = &plan->stages[s];
        replay r = {.plan = plan, .stage = stage, .run = run};
        if (stage->shard_count > 0) ls_team_run(team, run_stage, &r);
        LS_TRY(check_loads(plan));
        if (stage->part_count > 0) ls_team_run(team, run_parts, &r);
        LS_TRY(run_cuts(plan, stage, run));
    }
    run_together(plan, run);
    for (int i = 0; i < graph->op_count; i++) {
        const ls_op *op = graph->ops[i];
        if (op->sum_length > 0 && !op->class->cut) ls_op_sum_nodes(op, run, &plan->lanes[0]);
    }
    if (ls_purpose_goes_back(graph->purpose))
        ls_shared_parameters_add(plan->graph, takes_part, plan, &plan->lanes[0]);
    return LS_OK;
}

bool ls_plan_run_all_shards(ls_plan *plan, const ls_run *run, struct ls_team *team) {
    replay r = {.plan = plan, .run = run};
    if (plan->all_shards_count > 0) ls_team_run(team, run_all_shards, &r);
    return !atomic_load(&plan->not_finite);
}

int ls_plan_piece_count(const ls_plan *plan) {
    return plan->shard_count + plan->part_count + plan->all_shards_count;
}

static const ls_piece *piece_at(const ls_plan *plan, int i) {
    const int part = i - plan->shard_count;
    if (part < 0) return &plan->shard_pieces[i];
    return part < plan->part_count ? &plan->part_pieces[part]
                                   : &plan->all_shards_pieces[part - plan->part_count];
}

ls_piece_info ls_plan_piece(const ls_plan *plan, int i) {
    const ls_piece *piece = piece_at(plan, i);
    return (ls_piece_info){piece->op, (ls_work)piece->kind, piece->bytes};
}

/* A weight gradient by itself; one over all shards in equal shares, without the work queue of a replay. */
static void run_alone(void *argument, int member) {
    const replay *r = argument;
    const ls_plan *plan = r->plan;
    const ls_sharing *sharing = &plan->graph->sharing;
    const int ranks = r->piece->op->all_shards ? sharing->ranks : 1,
              rank = r->piece->op->all_shards ? sharing->rank : 0;
    int64_t first, last;
    ls_team_split(r->piece->op->class->parts(r->piece->op), rank * plan->threads + member,
                  ranks * plan->threads, &first, &last);
    run_weight_grad(r, member, r->piece, first, last);
}

void ls_plan_run_piece(ls_plan *plan, int i, const ls_run *run, struct ls_team *team) {
    const bool over_shards = i < plan->shard_count;
    const ls_stage stage = {.shard_first = i, .shard_count = 1};
    replay r = {.plan = plan, .stage = &stage, .run = run, .piece = piece_at(plan, i)};
    ls_team_run(team, over_shards ? run_stage : run_alone, &r);
}

#include "dist/crossing.h"

#include <limits.h>
#include <stdlib.h>
#include <string.h>

/* Slices of the gradient begin on cache lines in both precisions. */

/* Elements that belong to this rank here, and on each other host to one rank. */
typedef struct piece {
    ls_slice range;
    int bucket;
    int adder;  /* the host that adds it; -1: every one does */
    int64_t at; /* where the nodes that come from other hosts lie, in `arrived`: node by node */
} piece;

struct ls_crossing {
    ls_comm *comm;
    ls_window *window;
    ls_team *team;
    ls_crossing_sizes sizes;
    ls_slice *added; /* sizes.added, owned */
    ls_bucket *buckets;
    int started;     /* buckets that have set out in this step .. */
    bool open;       /* .. which has begun to receive */
    bool leads;      /* the first rank of its host */
    int *node_first; /* [hosts + 1] of the nodes of all hosts, in the order of shards, the first of each */
    ls_merges merges;
    /* this host's nodes, of those of its ranks: */
    ls_merges *own;       /* [own nodes] how each is added .. */
    int *own_first;       /* [own nodes + 1] .. and of which, the first one */
    int *rank_of, *place; /* [nodes of this host's ranks] whose node it is, and its place among that rank's */
    const void **operands;
    double *vectors;  /* [nodes of all hosts][doubles], on the first rank of a host */
    piece *pieces;    /* bucket by bucket */
    int *piece_first; /* [buckets + 1] */
    int piece_count;
    char *arrived; /* what other hosts send, piece by piece */
};

/* --- which nodes ---------------------------------------------------------------------------------------- */

static int shards_before(const ls_comm *comm, int shards, int rank) {
    return (int)((int64_t)rank * shards / comm->size);
}

int ls_crossing_nodes(const ls_comm *comm, int host, int shards, ls_node nodes[LS_MAX_NODES]) {
    const int first = shards_before(comm, shards, comm->host_first[host]),
              end = shards_before(comm, shards, comm->host_first[host + 1]);
    return ls_shards_nodes(shards, first, end - first, nodes);
}

static ls_status find_world(ls_crossing *c, int shards) {
    ls_node all[LS_MAX_SHARDS];
    LS_TRY(
        ls_calloc(&c->node_first, (size_t)c->comm->hosts + 1, sizeof *c->node_first, "the sum over hosts"));
    for (int h = 0; h < c->comm->hosts; h++) {
        ls_node nodes[LS_MAX_NODES];
        const int count = ls_crossing_nodes(c->comm, h, shards, nodes);
        memcpy(all + c->node_first[h], nodes, (size_t)count * sizeof *nodes);
        c->node_first[h + 1] = c->node_first[h] + count;
    }
    ls_merges_find(&c->merges, all, c->node_first[c->comm->hosts]);
    return LS_OK;
}

static int own_nodes(const ls_crossing *c) {
    return c->node_first[c->comm->host + 1] - c->node_first[c->comm->host];
}

/* The nodes of this host's ranks, and how they make up the host's. */
static ls_status find_own(ls_crossing *c, int shards) {
    const ls_comm *comm = c->comm;
    ls_node host[LS_MAX_NODES], all[LS_MAX_SHARDS];
    const int own = ls_crossing_nodes(comm, comm->host, shards, host);
    int count = 0, at = 0;
    LS_TRY(ls_calloc(&c->own, (size_t)own, sizeof *c->own, "the sum over hosts"));
    LS_TRY(ls_calloc(&c->own_first, (size_t)own + 1, sizeof *c->own_first, "the sum over hosts"));
    LS_TRY(ls_calloc(&c->rank_of, 2 * (size_t)shards, sizeof *c->rank_of, "the sum over hosts"));
    c->place = c->rank_of + shards;
    for (int r = comm->host_first[comm->host]; r < comm->host_first[comm->host + 1]; r++) {
        const int first = shards_before(comm, shards, r), end = shards_before(comm, shards, r + 1);
        ls_node nodes[LS_MAX_NODES];
        const int of_rank = ls_shards_nodes(shards, first, end - first, nodes);
        for (int n = 0; n < of_rank; n++, count++) {
            c->rank_of[count] = r;
            c->place[count] = n;
            all[count] = nodes[n];
        }
    }
    for (int k = 0; k < own; k++) {
        c->own_first[k] = at;
        while (at < count && all[at].first < host[k].first + host[k].count) at++;
        ls_merges_find(&c->own[k], all + c->own_first[k], at - c->own_first[k]);
    }
    c->own_first[own] = at;
    return ls_calloc(&c->operands, (size_t)count, sizeof *c->operands, "the sum over hosts");
}

/* --- whose elements ------------------------------------------------------------------------------------- */

ls_slice ls_slice_of(int64_t elements, int m, int count) {
    const int64_t lines = (elements + LS_SLICE_ALIGNMENT - 1) / LS_SLICE_ALIGNMENT;
    int64_t first, last;
    ls_team_split(lines, m, count, &first, &last);
    last *= LS_SLICE_ALIGNMENT;
    return (ls_slice){first * LS_SLICE_ALIGNMENT < elements ? first * LS_SLICE_ALIGNMENT : elements,
                      last < elements ? last : elements};
}

static int ranks_of(const ls_comm *comm, int host) {
    return comm->host_first[host + 1] - comm->host_first[host];
}

/* What belongs to member m of `count` in a bucket. */
static ls_slice part_of(const ls_bucket *bucket, int m, int count) {
    const ls_slice part = ls_slice_of(bucket->range.last - bucket->range.first, m, count);
    return (ls_slice){bucket->range.first + part.first, bucket->range.first + part.last};
}

/* The member of a host to which an element of that bucket belongs. */
static int member_with(const ls_bucket *bucket, int64_t element, int count) {
    int m = 0;
    while (part_of(bucket, m, count).last <= element) m++;
    return m;
}

/* The rank of a host to which a piece belongs. */
static int owner_of(const ls_crossing *c, int host, const piece *p) {
    return c->comm->host_first[host] +
           member_with(&c->buckets[p->bucket], p->range.first, ranks_of(c->comm, host));
}

/* Where the next part of any host ends, behind `at`. */
static int64_t next_end(const ls_crossing *c, const ls_bucket *bucket, int64_t at) {
    int64_t end = bucket->range.last;
    for (int h = 0; h < c->comm->hosts; h++) {
        const int count = ranks_of(c->comm, h);
        const int64_t last = part_of(bucket, member_with(bucket, at, count), count).last;
        if (last < end) end = last;
    }
    return end;
}

static int64_t length_of(const piece *p) {
    return p->range.last - p->range.first;
}

static bool adds(const ls_crossing *c, const piece *p) {
    return p->adder < 0 || p->adder == c->comm->host;
}

/* Elements that other hosts send this rank of a piece before it is added. */
static int64_t arriving(const ls_crossing *c, const piece *p) {
    const int others = c->node_first[c->comm->hosts] - own_nodes(c);
    return adds(c, p) ? others * length_of(p) : 0;
}

/* Cuts this rank's elements of a bucket so that each piece belongs to one rank on every host, and has one
 * adder; *arrived: elements that are sent to this rank, so far. */
static void find_pieces_of(ls_crossing *c, int b, int64_t *arrived) {
    const ls_comm *comm = c->comm;
    const ls_slice own = part_of(&c->buckets[b], comm->host_rank, comm->ranks_on_host);
    const int adders = comm->hosts > 2 ? comm->hosts : 1;
    for (int64_t at = own.first; at < own.last;) {
        const int64_t end = next_end(c, &c->buckets[b], at);
        for (int a = 0; a < adders; a++) {
            const ls_slice part = ls_slice_of(end - at, a, adders);
            piece *p = &c->pieces[c->piece_count];
            *p = (piece){{at + part.first, at + part.last}, b, adders > 1 ? a : -1, *arrived};
            if (length_of(p) == 0) continue;
            *arrived += arriving(c, p);
            c->piece_count++;
        }
        at = end;
    }
}

static ls_status find_pieces(ls_crossing *c) {
    const size_t ranks = (size_t)c->comm->size, hosts = (size_t)c->comm->hosts,
                 buckets = (size_t)c->sizes.bucket_count;
    int64_t arrived = 0;
    /* one place more: a piece is made before it is found to be empty */
    LS_TRY(ls_calloc(&c->pieces, buckets * ranks * hosts + 1, sizeof *c->pieces, "the sum over hosts"));
    LS_TRY(ls_calloc(&c->piece_first, buckets + 1, sizeof *c->piece_first, "the sum over hosts"));
    for (int b = 0; b < c->sizes.bucket_count; b++) {
        find_pieces_of(c, b, &arrived);
        c->piece_first[b + 1] = c->piece_count;
    }
    return ls_aligned_alloc(&c->arrived, (size_t)arrived * ls_dtype_size(c->sizes.dtype),
                            "the sum over hosts");
}

/* --- making it ------------------------------------------------------------------------------------------ */

/* As wanted, or all elements in one that sets out at the end. */
static ls_status copy_buckets(ls_crossing *c) {
    const ls_bucket all = {{0, c->sizes.summed}, INT_MAX};
    const ls_bucket *wanted = c->sizes.buckets ? c->sizes.buckets : &all;
    if (!c->sizes.buckets) c->sizes.bucket_count = 1;
    const size_t count = (size_t)c->sizes.bucket_count;
    LS_TRY(ls_calloc(&c->buckets, count, sizeof *c->buckets, "the sum over hosts"));
    for (size_t b = 0; b < count; b++) c->buckets[b] = wanted[b];
    c->sizes.buckets = c->buckets;
    return LS_OK;
}

static ls_status allocate(ls_crossing *c, int shards) {
    const size_t added = (size_t)c->sizes.added_count;
    LS_TRY(copy_buckets(c));
    LS_TRY(find_world(c, shards));
    LS_TRY(find_own(c, shards));
    LS_TRY(ls_calloc(&c->added, added, sizeof *c->added, "the sum over hosts"));
    if (added > 0) memcpy(c->added, c->sizes.added, added * sizeof *c->added);
    c->sizes.added = c->added;
    if (c->leads)
        LS_TRY(ls_aligned_alloc(
            &c->vectors, (size_t)c->node_first[c->comm->hosts] * (size_t)c->sizes.doubles * sizeof(double),
            "the sum over hosts"));
    if ((uint64_t)c->sizes.summed * ls_dtype_size(c->sizes.dtype) > INT_MAX)
        return ls_fail(LS_USAGE, "the model is too large for one message: %lld gradients",
                       (long long)c->sizes.summed);
    return find_pieces(c);
}

ls_status ls_crossing_create(ls_comm *comm, ls_window *window, int shards, ls_team *team,
                             const ls_crossing_sizes *sizes, ls_crossing **out) {
    ls_crossing *c;
    *out = NULL;
    LS_TRY(ls_calloc(&c, 1, sizeof *c, "the sum over hosts"));
    *c = (ls_crossing){
        .comm = comm, .window = window, .team = team, .sizes = *sizes, .leads = comm->host_rank == 0};
    ls_status status = allocate(c, shards);
    if (status != LS_OK)
        ls_crossing_destroy(&c);
    else
        *out = c;
    return status;
}

void ls_crossing_destroy(ls_crossing **out) {
    ls_crossing *c = *out;
    if (!c) return;
    free(c->node_first);
    free(c->own);
    free(c->own_first);
    free(c->rank_of);
    free(c->operands);
    free(c->added);
    free(c->vectors);
    free(c->buckets);
    free(c->pieces);
    free(c->piece_first);
    free(c->arrived);
    free(c);
    *out = NULL;
}

/* --- small vectors -------------------------------------------------------------------------------------- */

static double *vectors_of(const ls_crossing *c, int host, int64_t length) {
    return c->vectors + c->node_first[host] * length;
}

static size_t vector_bytes(const ls_crossing *c, int host, int64_t length) {
    return (size_t)((c->node_first[host + 1] - c->node_first[host]) * length) * sizeof(double);
}

/* This host's nodes, of what its ranks have written. */
static void add_own_vectors(const ls_crossing *c, int64_t length) {
    for (int k = 0; k < own_nodes(c); k++) {
        const int first = c->own_first[k];
        for (int n = first; n < c->own_first[k + 1]; n++)
            c->operands[n - first] =
                (const double *)ls_window_incoming(c->window, c->rank_of[n]) + c->place[n] * length;
        ls_merges_add(&c->own[k], LS_FP64, LS_PORTABLE, c->operands, length,
                      vectors_of(c, c->comm->host, length) + k * length);
    }
}

static ls_status exchange_vectors(ls_crossing *c, int64_t length) {
    ls_comm *comm = c->comm;
    const void *nodes[LS_MAX_SHARDS];
    add_own_vectors(c, length);
    for (int i = 1; i < comm->hosts; i++)
        LS_TRY(comm->class->send(comm, LS_AT_HAND, vectors_of(c, comm->host, length),
                                 vector_bytes(c, comm->host, length),
                                 comm->host_first[(comm->host + i) % comm->hosts]));
    LS_TRY(comm->class->complete(comm, LS_AT_HAND));
    for (int n = 0; n < c->node_first[comm->hosts]; n++) nodes[n] = c->vectors + n * length;
    /* over the message, which nobody else reads */
    ls_merges_add(&c->merges, LS_FP64, LS_PORTABLE, nodes, length,
                  (void *)(uintptr_t)ls_window_incoming(c->window, comm->rank));
    return LS_OK;
}

ls_status ls_crossing_add_vectors(ls_crossing *c, int64_t length, double *result) {
    ls_comm *comm = c->comm;
    LS_TRY(comm->class->begin(comm, LS_AT_HAND));
    for (int h = 0; c->leads && h < comm->hosts; h++)
        if (h != comm->host)
            LS_TRY(comm->class->receive(comm, LS_AT_HAND, vectors_of(c, h, length),
                                        vector_bytes(c, h, length), comm->host_first[h]));
    LS_TRY(ls_window_gather(c->window));
    if (c->leads) LS_TRY(exchange_vectors(c, length));
    LS_TRY(ls_window_release(c->window));
    memcpy(result, ls_window_incoming(c->window, comm->host_first[comm->host]),
           (size_t)length * sizeof(double));
    return LS_OK;
}

/* --- the gradient --------------------------------------------------------------------------------------- */

static char *element_of(const ls_crossing *c, const void *base, int64_t i) {
    return (char *)(uintptr_t)base + (size_t)i * ls_dtype_size(c->sizes.dtype);
}

static size_t bytes_of(const ls_crossing *c, const piece *p) {
    return (size_t)length_of(p) * ls_dtype_size(c->sizes.dtype);
}

/* Node n of all hosts', of this piece: where this rank has it. */
static void *node_at(const ls_crossing *c, const piece *p, int n) {
    const int own = n - c->node_first[c->comm->host], count = own_nodes(c);
    if (own >= 0 && own < count) return element_of(c, c->sizes.nodes, own * c->sizes.summed + p->range.first);
    return element_of(c, c->arrived, p->at + (own < 0 ? n : n - count) * length_of(p));
}

/* What the threads of a rank add together. */
typedef struct addition {
    const ls_crossing *crossing;
    ls_slice range;
    const piece *piece;
    void *reduced;
} addition;

static ls_slice share_of(const ls_crossing *c, ls_slice range, int member) {
    ls_slice share;
    ls_team_split(range.last - range.first, member, ls_team_size(c->team), &share.first, &share.last);
    return (ls_slice){range.first + share.first, range.first + share.last};
}

static void add_range(void *argument, int member) {
    const addition *a = argument;
    const ls_crossing *c = a->crossing;
    const ls_slice share = share_of(c, a->range, member);
    for (int k = 0; k < own_nodes(c); k++) {
        const void *operands[LS_MAX_SHARDS];
        const int first = c->own_first[k];
        for (int n = first; n < c->own_first[k + 1]; n++)
            operands[n - first] = element_of(c, ls_window_segment(c->window, c->rank_of[n]),
                                             c->place[n] * c->sizes.summed + share.first);
        ls_merges_add(&c->own[k], c->sizes.dtype, c->sizes.instruction_set, operands,
                      share.last - share.first,
                      element_of(c, c->sizes.nodes, k * c->sizes.summed + share.first));
    }
}

/* This rank's elements of a bucket of the host's nodes: what lies between those that are added already. On a
 * host of one rank its own nodes are the host's. */
static void add_over_ranks(const ls_crossing *c, int bucket) {
    const ls_comm *comm = c->comm;
    const ls_slice own = part_of(&c->buckets[bucket], comm->host_rank, comm->ranks_on_host);
    if (comm->ranks_on_host == 1) return;
    for (int i = 0; i <= c->sizes.added_count; i++) {
        const int64_t after = i > 0 ? c->added[i - 1].last : 0,
                      before = i < c->sizes.added_count ? c->added[i].first : c->sizes.summed;
        addition a = {
            .crossing = c,
            .range = {own.first > after ? own.first : after, own.last < before ? own.last : before}};
        if (a.range.first < a.range.last) ls_team_run(c->team, add_range, &a);
    }
}

static void add_piece(void *argument, int member) {
    const addition *a = argument;
    const ls_crossing *c = a->crossing;
    const ls_slice share = share_of(c, a->piece->range, member);
    const void *operands[LS_MAX_SHARDS];
    for (int n = 0; n < c->node_first[c->comm->hosts]; n++)
        operands[n] = element_of(c, node_at(c, a->piece, n), share.first - a->piece->range.first);
    ls_merges_add(&c->merges, c->sizes.dtype, c->sizes.instruction_set, operands, share.last - share.first,
                  element_of(c, a->reduced, share.first));
}

/* The nodes that other hosts send of this rank's elements. */
static ls_status receive_nodes(const ls_crossing *c) {
    ls_comm *comm = c->comm;
    for (int i = 0; i < c->piece_count; i++) {
        const piece *p = &c->pieces[i];
        if (!adds(c, p)) continue;
        for (int h = 0; h < comm->hosts; h++)
            for (int n = c->node_first[h]; h != comm->host && n < c->node_first[h + 1]; n++)
                LS_TRY(comm->class->receive(comm, LS_MEANWHILE, node_at(c, p, n), bytes_of(c, p),
                                            owner_of(c, h, p)));
    }
    return LS_OK;
}

/* This host's of a bucket, to those who add them. */
static ls_status send_nodes(const ls_crossing *c, int bucket) {
    ls_comm *comm = c->comm;
    for (int i = c->piece_first[bucket]; i < c->piece_first[bucket + 1]; i++) {
        const piece *p = &c->pieces[i];
        for (int k = 1; k < comm->hosts; k++) {
            const int h = (comm->host + k) % comm->hosts;
            for (int n = 0; (p->adder < 0 || p->adder == h) && n < own_nodes(c); n++)
                LS_TRY(comm->class->send(comm, LS_MEANWHILE, node_at(c, p, c->node_first[comm->host] + n),
                                         bytes_of(c, p), owner_of(c, h, p)));
        }
    }
    return LS_OK;
}

static void add_pieces(const ls_crossing *c, void *reduced) {
    for (int i = 0; i < c->piece_count; i++) {
        addition a = {.crossing = c, .piece = &c->pieces[i], .reduced = reduced};
        if (adds(c, a.piece)) ls_team_run(c->team, add_piece, &a);
    }
}

/* Sums that one host has added, to the others. */
static ls_status exchange_sums(const ls_crossing *c, void *reduced) {
    ls_comm *comm = c->comm;
    LS_TRY(comm->class->begin(comm, LS_MEANWHILE));
    for (int i = 0; i < c->piece_count; i++) {
        const piece *p = &c->pieces[i];
        if (!adds(c, p))
            LS_TRY(comm->class->receive(comm, LS_MEANWHILE, element_of(c, reduced, p->range.first),
                                        bytes_of(c, p), owner_of(c, p->adder, p)));
    }
    for (int i = 0; i < c->piece_count; i++) {
        const piece *p = &c->pieces[i];
        for (int k = 1; adds(c, p) && k < comm->hosts; k++)
            LS_TRY(comm->class->send(comm, LS_MEANWHILE, element_of(c, reduced, p->range.first),
                                     bytes_of(c, p), owner_of(c, (comm->host + k) % comm->hosts, p)));
    }
    return comm->class->complete(comm, LS_MEANWHILE);
}

/* Receives are posted before this rank sends anything. */
static ls_status open_step(ls_crossing *c) {
    if (c->open) return LS_OK;
    LS_TRY(c->comm->class->begin(c->comm, LS_MEANWHILE));
    c->open = true;
    return receive_nodes(c);
}

bool ls_crossing_is_ready(const ls_crossing *c, int stage) {
    return c->started < c->sizes.bucket_count && c->buckets[c->started].stage <= stage;
}

ls_status ls_crossing_passed(ls_crossing *c, int stage) {
    LS_TRY(open_step(c));
    for (; ls_crossing_is_ready(c, stage); c->started++) {
        add_over_ranks(c, c->started);
        LS_TRY(send_nodes(c, c->started));
    }
    return LS_OK;
}

/* All buckets have set out, and all messages have come. */
static ls_status bring_home(ls_crossing *c) {
    LS_TRY(open_step(c));
    for (int b = c->started; b < c->sizes.bucket_count; b++) add_over_ranks(c, b);
    LS_TRY(ls_window_exchange(c->window)); /* also what the plan has added, whoever did it */
    for (; c->started < c->sizes.bucket_count; c->started++) LS_TRY(send_nodes(c, c->started));
    LS_TRY(c->comm->class->complete(c->comm, LS_MEANWHILE));
    c->open = false;
    c->started = 0;
    return LS_OK;
}

ls_status ls_crossing_drop(ls_crossing *c) {
    return bring_home(c); /* another host may have begun */
}

ls_status ls_crossing_add_gradient(ls_crossing *c, void *reduced) {
    LS_TRY(bring_home(c));
    add_pieces(c, reduced);
    if (c->comm->hosts > 2) LS_TRY(exchange_sums(c, reduced));
    return ls_window_exchange(c->window);
}

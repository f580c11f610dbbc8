/* Sums over hosts: what the ranks of a host have added in their window, and what goes from host to host.
 *
 * The shards of a host's ranks follow one another, so as of one rank that had them all: the *host's nodes* are
 * the largest aligned subtrees whose leaves they own together, one where the shards are dealt out evenly to
 * a power of two of hosts, and at most 2 log2(shards) - 2. They alone cross, and every host adds those of all
 * hosts, or its part of them, in the order of the tree.
 *
 * Small vectors: the first rank of each host sends its host's nodes to that of every other host, one message a
 * pair, and each host adds them for itself.
 *
 * The gradient: an element belongs to one rank of each host, which adds it over the nodes of its host's ranks
 * (or finds it added), and exchanges it with the ranks to which it belongs elsewhere. Between two hosts both
 * are sent the other's nodes, and both add them: one way, and no more bytes than any other. Among more, the
 * elements are dealt out to the hosts: one of them is sent the nodes, adds them, and sends the sum: a
 * reduce-scatter and an all-gather. The sum comes out in the windows of all hosts. */
#ifndef LOCKSTEP_DIST_CROSSING_H
#define LOCKSTEP_DIST_CROSSING_H

#include "core/shards.h"
#include "core/team.h"
#include "dist/comm.h"
#include "dist/merge.h"
#include "dist/window.h"

typedef struct ls_crossing ls_crossing;

/* Elements [first, last) of an arena. */
typedef struct ls_slice {
    int64_t first, last;
} ls_slice;

/* The slice of member m of `count`, of so many elements: multiples of LS_SLICE_ALIGNMENT but for the
 * last; first == last where there are not enough. */
enum { LS_SLICE_ALIGNMENT = 16 }; /* cache lines in both precisions */
ls_slice ls_slice_of(int64_t elements, int m, int count);

/* Elements that set out together, as soon as the stage of the plan (graph/plan.h) is over in which the last of
 * them is written. */
typedef struct ls_bucket {
    ls_slice range;
    int stage;
} ls_bucket;

typedef struct ls_crossing_sizes {
    int64_t doubles; /* of a small vector, at most */
    int64_t summed;  /* elements of a node of the gradient */
    ls_dtype dtype;
    ls_instruction_set instruction_set;
    const ls_slice
        *added; /* [added_count] of the summed ones, in order: those that the plan has added over the
                              ranks of a host already. Copied */
    int added_count;
    const ls_bucket
        *buckets; /* [bucket_count] cover all summed ones once, in the order in which they set out,
                                 the same on all hosts but for the stages. Copied. NULL: all together */
    int bucket_count;
    void *nodes; /* [nodes of this host][summed] in its window; of a host of one rank the rank's gradient */
} ls_crossing_sizes;

/* The nodes that the ranks of that host own together; their number. Local. */
int ls_crossing_nodes(const ls_comm *comm, int host, int shards, ls_node nodes[LS_MAX_NODES]);

/* comm, window and team must outlive it. Local. */
ls_status ls_crossing_create(ls_comm *comm, ls_window *window, int shards, ls_team *team,
                             const ls_crossing_sizes *sizes, ls_crossing **crossing);
void ls_crossing_destroy(ls_crossing **crossing);

/* Adds vectors of so many doubles, which each rank has written for its nodes, one after the other, into its
 * outgoing message; the sum goes to result [length]. Collective. */
ls_status ls_crossing_add_vectors(ls_crossing *crossing, int64_t length, double *result);

/* Is the next bucket written when that stage is over? Local. */
bool ls_crossing_is_ready(const ls_crossing *crossing, int stage);
/* All ranks of the host have come through that stage of the plan, and an exchange after it: buckets that are
 * written set out, up to the first that is not. Returns at once. */
ls_status ls_crossing_passed(ls_crossing *crossing, int stage);
/* Lets the messages of a step's gradient that is not wanted come to their end. Collective. */
ls_status ls_crossing_drop(ls_crossing *crossing);
/* Adds the gradients that lie in the segments of the windows, [nodes of the rank][summed], into reduced
 * [summed], which the ranks of each host share. Collective. */
ls_status ls_crossing_add_gradient(ls_crossing *crossing, void *reduced);

#endif

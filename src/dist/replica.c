#include "dist/replica.h"

#include <stdio.h>
#include <stdlib.h>

/* The hash that most ranks have; of two equally common ones that of the lower rank. */
static uint64_t majority(const uint64_t *hashes, int size) {
    int best = 0, best_votes = 0;
    for (int r = 0; r < size; r++) {
        int votes = 0;
        for (int other = 0; other < size; other++) votes += hashes[other] == hashes[r];
        if (votes > best_votes) {
            best = r;
            best_votes = votes;
        }
    }
    return hashes[best];
}

static ls_status compare(ls_comm *comm, const uint64_t *hashes) {
    uint64_t common = majority(hashes, comm->size);
    char odd[256] = "";
    int used = 0, count = 0;
    for (int r = 0; r < comm->size; r++) {
        if (hashes[r] == common) continue;
        const int host = ls_comm_host_of(comm, r);
        const bool last =
            r + 1 == comm->host_first[host + 1] || hashes[r + 1] == common; /* named of its host */
        int n = snprintf(odd + used, sizeof odd - (size_t)used, "%s%d%s%s", count ? ", " : "", r,
                         last && comm->host_name ? " of host " : "",
                         last && comm->host_name ? comm->host_name[host] : "");
        if (n > 0 && n < (int)sizeof odd - used) used += n;
        count++;
    }
    if (count == 0) return LS_OK;
    return ls_fail(
        LS_REPLICAS_DIFFER,
        "step %llu: the replicas differ: rank %s does not hold what the other %d hold (hash %016llx)%s",
        (unsigned long long)comm->step, odd, comm->size - count, (unsigned long long)common,
        2 * count < comm->size ? "" : "; with as many on either side, either may be at fault");
}

ls_status ls_replica_check(ls_comm *comm, uint64_t hash) {
    uint64_t *hashes;
    if (comm->size == 1) return LS_OK;
    LS_TRY(ls_calloc(&hashes, (size_t)comm->size, sizeof *hashes, "a message"));
    comm->phase = "comparing replicas";
    ls_status status = ls_comm_allgather_equal(comm, &hash, sizeof hash, hashes);
    if (status == LS_OK) status = ls_comm_everywhere(comm, compare(comm, hashes));
    free(hashes);
    return status;
}

ls_status ls_replica_check_hosts(ls_comm *comm, uint64_t part) {
    uint64_t *sums;
    if (comm->hosts == 1) return LS_OK;
    LS_TRY(ls_calloc(&sums, (size_t)comm->size, sizeof *sums, "a message"));
    comm->phase = "comparing hosts";
    ls_status status = ls_comm_allgather_equal(comm, &part, sizeof part, sums);
    for (int h = 0; status == LS_OK && h < comm->hosts; h++) {
        uint64_t sum = 0;
        for (int r = comm->host_first[h]; r < comm->host_first[h + 1]; r++) sum += sums[r];
        for (int r = comm->host_first[h]; r < comm->host_first[h + 1]; r++) sums[r] = sum;
    }
    if (status == LS_OK) status = ls_comm_everywhere(comm, compare(comm, sums));
    free(sums);
    return status;
}

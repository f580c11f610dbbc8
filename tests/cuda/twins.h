/* Arrays on the host, each with a twin on the emulated GPU: a kernel of the CPU works on the one, a kernel of the
 * GPU on the other, and both must then hold the same bits, also where neither has written. All live until
 * free_twins(), which finds what a kernel has written beside them. Functions end the test on a failure. */
#ifndef LOCKSTEP_TESTS_CUDA_TWINS_H
#define LOCKSTEP_TESTS_CUDA_TWINS_H

#include <stddef.h>
#include <stdint.h>

#include "core/shards.h"

enum { HOST, DEVICE, SIDES };

typedef struct twin {
    void *on[SIDES];
    size_t bytes;
} twin;

twin twin_of(const void *host, size_t bytes);
/* Numbers of (-scale, scale), the same for the same order of calls since begin_twins(). About one in eight is
 * exactly 0. */
twin random_twin(int64_t count, double scale);
/* Whole numbers 0 .. below - 1, of so many bytes each (1 or 4). */
twin integer_twin(int64_t count, uint32_t below, size_t size);
/* Memory in which every float and double is NaN. */
twin room_twin(int64_t count, size_t size);

/* The device's array is the host's. `what` is for the message. */
void check_twin(const twin *t, const char *what);

void begin_twins(uint32_t seed);
void free_twins(void);

/* Batches and cuts that tests go through: ragged and empty shards, ranks of several, one sample, none. */
typedef struct cut {
    int total, rank, size;
    int64_t batch;
} cut;
enum { CUTS = 12 };
extern const cut cuts[CUTS];
ls_shards shards_of(const cut *c);

#endif

/* One GPU, as one rank uses it: a stream on which everything runs in the order of the calls, memory, copies,
 * and the first failure. Kernels are launched by LS_LAUNCH (core/kernel_cuda.h), which cannot fail at the
 * place of the call: it notes the failure here, and whoever waits or copies next returns it.
 *
 * All of this is local. Functions for C and for .cu files. */
#ifndef LOCKSTEP_CORE_DEVICE_CUDA_H
#define LOCKSTEP_CORE_DEVICE_CUDA_H

#include <stddef.h>
#include <stdint.h>

#ifdef __cplusplus
extern "C" {
#endif

struct ls_device;

/* For LS_LAUNCH: the stream (cudaStream_t), and what became of the launch of that kernel (cudaError_t). */
void *ls_device_stream(const struct ls_device *device);
void ls_device_launched(struct ls_device *device, const char *kernel, int error);

/* For launchers, in stream order; failures are noted. Both memories are the device's. */
void ls_device_copy(struct ls_device *device, void *to, const void *from, size_t size);
void ls_device_clear(struct ls_device *device, void *memory, size_t size);

/* LS_DEVICE_WORDS words of device memory for what a kernel leaves to the host, zeroed by ls_device_words() in
 * stream order; ls_device_read() waits and returns what they hold, until it is called again. After a failure,
 * which is noted, they are 0. */
enum { LS_DEVICE_WORDS = 8 };
uint64_t *ls_device_words(struct ls_device *device);
const uint64_t *ls_device_read(struct ls_device *device);

/* LS_DEVICE_COUNTERS counters in device memory, all 0 between launches (core/last_block_cuda.h). */
enum { LS_DEVICE_COUNTERS = 4096 };
unsigned *ls_device_counters(const struct ls_device *device);

#ifdef __cplusplus
}
#else
#include "core/backend.h"

/* What a program says of a GPU. */
typedef struct ls_device_facts {
    char name[256], bus[16]; /* "NVIDIA H200", "0000:1b:00.0" */
    size_t memory, free;     /* bytes */
    int driver, runtime;     /* 12040 is 12.4 */
    int architecture;        /* compute capability: 90 is 9.0 */
    int index, count;        /* which of how many that this process sees */
} ls_device_facts;

/* The GPU of that number modulo how many this process sees, so that ranks of a host share them out.
 * LS_INTERNAL: no driver, or one too old, no GPU, or it cannot be used; the message says what to do. */
ls_status ls_device_create(int number, struct ls_device **device) LS_CUDA_IF_THERE;
void ls_device_destroy(struct ls_device **device) LS_CUDA_IF_THERE;
const ls_device_facts *ls_device_facts_of(const struct ls_device *device) LS_CUDA_IF_THERE;

/* Memory, zeroed, aligned to 256 bytes. LS_INTERNAL: out of memory, with how much there is. */
ls_status ls_device_allocate(struct ls_device *device, void *out, size_t size, const char *what);
void ls_device_release(struct ls_device *device, void *memory);

/* Copies in stream order. The host's side is free, or filled, on return. */
ls_status ls_device_upload(struct ls_device *device, void *memory, const void *host, size_t size);
ls_status ls_device_download(struct ls_device *device, void *host, const void *memory, size_t size);

/* Host memory that copies reach fast (page-locked). */
ls_status ls_device_allocate_host(struct ls_device *device, void *out, size_t size, const char *what);
void ls_device_release_host(struct ls_device *device, void *memory);

/* Copies that nobody waits for; `host` is such memory, and left alone until a mark behind them has been
 * waited for. */
ls_status ls_device_send(struct ls_device *device, void *memory, const void *host,
                         size_t size) LS_CUDA_IF_THERE;
ls_status ls_device_fetch(struct ls_device *device, void *host, const void *memory,
                          size_t size) LS_CUDA_IF_THERE;

/* Mark i of LS_DEVICE_MARKS is set behind all that was begun; waits until what lies before it is done. */
enum { LS_DEVICE_MARKS = 8 };
ls_status ls_device_mark(struct ls_device *device, int i) LS_CUDA_IF_THERE;
ls_status ls_device_wait(struct ls_device *device, int i) LS_CUDA_IF_THERE;

/* Kernels that have been launched, or recorded, so far. */
uint64_t ls_device_launches(const struct ls_device *device) LS_CUDA_IF_THERE;

/* What `body` begins is recorded (a CUDA graph) instead of run, to be replayed with the same arguments, as
 * often as one likes. In it nothing is allocated, waited for, or copied from or to the host: such a call
 * fails, and the recording with it. A failure of `body` is passed on. */
typedef struct ls_replay ls_replay;
ls_status ls_device_record(struct ls_device *device, ls_status (*body)(void *argument), void *argument,
                           ls_replay **replay) LS_CUDA_IF_THERE;
ls_status ls_device_replay(struct ls_device *device, const ls_replay *replay) LS_CUDA_IF_THERE;
void ls_device_forget(struct ls_device *device, ls_replay **replay) LS_CUDA_IF_THERE;

/* Waits for all that was begun. The first failure since the device was created: it stays. */
ls_status ls_device_finish(struct ls_device *device);
/* In stream order: f(argument) on the calling thread, once all before is done. Its status, or a failure. */
ls_status ls_device_host(struct ls_device *device, ls_status (*f)(void *argument), void *argument);
#endif

#endif

#include "core/device_cuda.h"

#include <cuda_runtime_api.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

struct ls_replay {
    cudaGraphExec_t exec;
};

struct ls_device {
    ls_device_facts facts;
    cudaStream_t stream;
    uint64_t *words; /* in its memory */
    uint64_t *read;  /* page-locked, of the host */
    unsigned *counters;
    cudaEvent_t marks[LS_DEVICE_MARKS];
    uint64_t launches;
    bool failed; /* the first failure, as a status and a message */
    char message[512];
};

/* --- failures --------------------------------------------------------------------------------------------- */

static ls_status report(const struct ls_device *device) {
    return device->failed ? ls_fail(LS_INTERNAL, "%s", device->message) : LS_OK;
}

/* The first one stays: what comes later follows from it. */
static bool note(struct ls_device *device, const char *what, cudaError_t error) {
    if (error == cudaSuccess) return true;
    if (!device->failed)
        snprintf(device->message, sizeof device->message, "CUDA: %s on %s (%s): %s", what, device->facts.name,
                 device->facts.bus, cudaGetErrorString(error));
    device->failed = true;
    return false;
}

void ls_device_launched(struct ls_device *device, const char *kernel, int error) {
    device->launches++;
    (void)note(device, kernel, (cudaError_t)error);
}

/* --- creation --------------------------------------------------------------------------------------------- */

static ls_status no_device(cudaError_t error) {
    switch (error) {
    case cudaErrorInsufficientDriver:
        return ls_fail(LS_INTERNAL,
                       "no usable NVIDIA driver: it is not installed, or older than CUDA %d.%d, which this "
                       "program is built with; install a newer driver, or train with device=cpu",
                       CUDART_VERSION / 1000, CUDART_VERSION % 1000 / 10);
    case cudaErrorNoDevice:
        return ls_fail(LS_INTERNAL, "no NVIDIA GPU is visible to this process (nvidia-smi lists those of the "
                                    "machine, CUDA_VISIBLE_DEVICES restricts them); train with device=cpu");
    default:
        return ls_fail(LS_INTERNAL, "CUDA cannot start: %s; train with device=cpu",
                       cudaGetErrorString(error));
    }
}

static ls_status find_facts(int number, ls_device_facts *facts) {
    struct cudaDeviceProp properties;
    cudaError_t error = cudaGetDeviceCount(&facts->count);
    if (error == cudaSuccess && facts->count < 1) error = cudaErrorNoDevice;
    if (error != cudaSuccess) return no_device(error);
    facts->index = number % facts->count;
    error = cudaSetDevice(facts->index);
    if (error == cudaSuccess) error = cudaDriverGetVersion(&facts->driver);
    if (error == cudaSuccess) error = cudaRuntimeGetVersion(&facts->runtime);
    if (error == cudaSuccess) error = cudaGetDeviceProperties(&properties, facts->index);
    if (error == cudaSuccess) error = cudaDeviceGetPCIBusId(facts->bus, (int)sizeof facts->bus, facts->index);
    if (error == cudaSuccess) error = cudaMemGetInfo(&facts->free, &facts->memory);
    if (error != cudaSuccess) return no_device(error);
    snprintf(facts->name, sizeof facts->name, "%s", properties.name);
    facts->architecture = 10 * properties.major + properties.minor;
    return LS_OK;
}

static ls_status create_parts(struct ls_device *device) {
    if (!note(device, "cudaStreamCreate", cudaStreamCreateWithFlags(&device->stream, cudaStreamNonBlocking)))
        return report(device);
    LS_TRY(ls_device_allocate(device, &device->words, LS_DEVICE_WORDS * sizeof *device->words,
                              "words for the host"));
    LS_TRY(ls_device_allocate(device, &device->counters, LS_DEVICE_COUNTERS * sizeof *device->counters,
                              "counters of blocks"));
    for (int i = 0; i < LS_DEVICE_MARKS; i++)
        if (!note(device, "cudaEventCreate",
                  cudaEventCreateWithFlags(&device->marks[i], cudaEventDisableTiming)))
            return report(device);
    return ls_device_allocate_host(device, &device->read, LS_DEVICE_WORDS * sizeof *device->read,
                                   "words for the host");
}

ls_status ls_device_create(int number, struct ls_device **out) {
    struct ls_device *device;
    *out = NULL;
    LS_TRY(ls_calloc(&device, 1, sizeof *device, "a device"));
    ls_status status = find_facts(number, &device->facts);
    if (status == LS_OK) status = create_parts(device);
    if (status != LS_OK)
        ls_device_destroy(&device);
    else
        *out = device;
    return status;
}

void ls_device_destroy(struct ls_device **out) {
    struct ls_device *device = *out;
    if (!device) return;
    ls_device_release(device, device->words);
    ls_device_release(device, device->counters);
    ls_device_release_host(device, device->read);
    for (int i = 0; i < LS_DEVICE_MARKS; i++)
        if (device->marks[i]) (void)note(device, "cudaEventDestroy", cudaEventDestroy(device->marks[i]));
    if (device->stream) (void)note(device, "cudaStreamDestroy", cudaStreamDestroy(device->stream));
    free(device);
    *out = NULL;
}

const ls_device_facts *ls_device_facts_of(const struct ls_device *device) {
    return &device->facts;
}

void *ls_device_stream(const struct ls_device *device) {
    return device->stream;
}

/* --- memory ----------------------------------------------------------------------------------------------- */

static ls_status out_of_memory(const struct ls_device *device, size_t size, const char *what,
                               cudaError_t error) {
    size_t free_bytes = 0, all = 0;
    (void)cudaGetLastError(); /* not one that stays */
    if (cudaMemGetInfo(&free_bytes, &all) != cudaSuccess) free_bytes = 0;
    return ls_fail(
        LS_INTERNAL,
        "CUDA: no %zu bytes for %s on %s (%s), which has %.0f MiB free: %s; a smaller network, batch "
        "or eval_batch takes less",
        size, what, device->facts.name, device->facts.bus, (double)free_bytes / (1 << 20),
        cudaGetErrorString(error));
}

ls_status ls_device_allocate(struct ls_device *device, void *out, size_t size, const char *what) {
    void *memory = NULL;
    LS_TRY(report(device));
    if (size > 0) {
        const cudaError_t error = cudaMalloc(&memory, size);
        if (error != cudaSuccess) return out_of_memory(device, size, what, error);
    }
    memcpy(out, &memory, sizeof memory);
    if (memory) ls_device_clear(device, memory, size);
    return report(device);
}

void ls_device_release(struct ls_device *device, void *memory) {
    if (memory) (void)note(device, "cudaFree", cudaFree(memory));
}

ls_status ls_device_allocate_host(struct ls_device *device, void *out, size_t size, const char *what) {
    void *memory = NULL;
    LS_TRY(report(device));
    if (size > 0) {
        const cudaError_t error = cudaHostAlloc(&memory, size, cudaHostAllocDefault);
        if (error != cudaSuccess)
            return ls_fail(LS_INTERNAL, "CUDA: no %zu bytes of page-locked memory for %s: %s", size, what,
                           cudaGetErrorString(error));
        memset(memory, 0, size);
    }
    memcpy(out, &memory, sizeof memory);
    return LS_OK;
}

void ls_device_release_host(struct ls_device *device, void *memory) {
    if (memory) (void)note(device, "cudaFreeHost", cudaFreeHost(memory));
}

/* --- copies ----------------------------------------------------------------------------------------------- */

void ls_device_copy(struct ls_device *device, void *to, const void *from, size_t size) {
    if (size == 0 || device->failed) return;
    (void)note(device, "a copy", cudaMemcpyAsync(to, from, size, cudaMemcpyDeviceToDevice, device->stream));
}

void ls_device_clear(struct ls_device *device, void *memory, size_t size) {
    if (size == 0 || device->failed) return;
    (void)note(device, "cudaMemset", cudaMemsetAsync(memory, 0, size, device->stream));
}

ls_status ls_device_send(struct ls_device *device, void *memory, const void *host, size_t size) {
    if (size > 0 && !device->failed)
        (void)note(device, "a copy from the host",
                   cudaMemcpyAsync(memory, host, size, cudaMemcpyHostToDevice, device->stream));
    return report(device);
}

ls_status ls_device_fetch(struct ls_device *device, void *host, const void *memory, size_t size) {
    if (size > 0 && !device->failed)
        (void)note(device, "a copy to the host",
                   cudaMemcpyAsync(host, memory, size, cudaMemcpyDeviceToHost, device->stream));
    return report(device);
}

ls_status ls_device_upload(struct ls_device *device, void *memory, const void *host, size_t size) {
    LS_TRY(ls_device_send(device, memory, host, size));
    return size > 0 ? ls_device_finish(device) : LS_OK;
}

ls_status ls_device_download(struct ls_device *device, void *host, const void *memory, size_t size) {
    LS_TRY(ls_device_fetch(device, host, memory, size));
    return size > 0 ? ls_device_finish(device) : LS_OK;
}

uint64_t *ls_device_words(struct ls_device *device) {
    ls_device_clear(device, device->words, LS_DEVICE_WORDS * sizeof *device->words);
    return device->words;
}

const uint64_t *ls_device_read(struct ls_device *device) {
    const size_t size = LS_DEVICE_WORDS * sizeof *device->words;
    if (ls_device_download(device, device->read, device->words, size) != LS_OK) memset(device->read, 0, size);
    return device->read;
}

unsigned *ls_device_counters(const struct ls_device *device) {
    return device->counters;
}

ls_status ls_device_finish(struct ls_device *device) {
    if (!device->failed) (void)note(device, "the device", cudaStreamSynchronize(device->stream));
    return report(device);
}

ls_status ls_device_host(struct ls_device *device, ls_status (*f)(void *argument), void *argument) {
    LS_TRY(ls_device_finish(device));
    return f(argument);
}

/* --- marks and recordings --------------------------------------------------------------------------------- */

uint64_t ls_device_launches(const struct ls_device *device) {
    return device->launches;
}

ls_status ls_device_mark(struct ls_device *device, int i) {
    if (!device->failed)
        (void)note(device, "cudaEventRecord", cudaEventRecord(device->marks[i], device->stream));
    return report(device);
}

ls_status ls_device_wait(struct ls_device *device, int i) {
    if (!device->failed) (void)note(device, "the device", cudaEventSynchronize(device->marks[i]));
    return report(device);
}

/* Ends the recording whatever `body` has come to, since the stream runs nothing before. */
static ls_status capture(struct ls_device *device, ls_status (*body)(void *argument), void *argument,
                         cudaGraph_t *graph) {
    if (!note(device, "the begin of a recording",
              cudaStreamBeginCapture(device->stream, cudaStreamCaptureModeThreadLocal)))
        return report(device);
    const ls_status status = body(argument);
    const cudaError_t ended = cudaStreamEndCapture(device->stream, graph);
    if (status != LS_OK) return status;
    (void)note(device, "the end of a recording", ended);
    return report(device);
}

ls_status ls_device_record(struct ls_device *device, ls_status (*body)(void *argument), void *argument,
                           ls_replay **out) {
    ls_replay *replay;
    cudaGraph_t graph = NULL;
    *out = NULL;
    LS_TRY(report(device));
    LS_TRY(ls_calloc(&replay, 1, sizeof *replay, "a recorded step"));
    ls_status status = capture(device, body, argument, &graph);
    if (status == LS_OK &&
        !note(device, "a recording", cudaGraphInstantiateWithFlags(&replay->exec, graph, 0)))
        status = report(device);
    if (graph) (void)note(device, "cudaGraphDestroy", cudaGraphDestroy(graph));
    if (status == LS_OK)
        *out = replay;
    else
        free(replay);
    return status;
}

ls_status ls_device_replay(struct ls_device *device, const ls_replay *replay) {
    if (!device->failed) (void)note(device, "a recorded step", cudaGraphLaunch(replay->exec, device->stream));
    return report(device);
}

void ls_device_forget(struct ls_device *device, ls_replay **replay) {
    if (!*replay) return;
    (void)note(device, "cudaGraphExecDestroy", cudaGraphExecDestroy((*replay)->exec));
    free(*replay);
    *replay = NULL;
}

/* CUDA C++ kernels on the CPU: the words of the language, and what kernels call, for g++ and clang++.
 *
 * A kernel runs when the host waits for its stream: block after block, the threads of a block one after another. A
 * thread that stops at a barrier is left, on a stack of its own, until the others have come. What is not written
 * reads as NaN. emulated_runtime.cpp has the engine, and reports what a GPU would let pass or hang on. */
#ifndef LS_EMULATED_CUDA_RUNTIME_H
#define LS_EMULATED_CUDA_RUNTIME_H

#include <cmath>
#include <cstdint>
#include <cstdlib>
#include <cstring>
#include <new>
#include <tuple>

#include "cuda_runtime_api.h"

#define __global__ static
#define __device__
#define __host__
#define __constant__    static const
#define __forceinline__ inline __attribute__((always_inline))
#define __launch_bounds__(...)
#define __align__(n) __attribute__((aligned(n)))
#define UNROLL

/* Shared memory: the block's own, the same for all its threads, by the address of a word of the kernel. */
#define LS_SHARED(type, name, dims)                                                                          \
    typedef type name##_array dims;                                                                          \
    static char name##_key;                                                                                  \
    name##_array &name = *(name##_array *)ls_emulated_shared(&name##_key, sizeof(name##_array))
#define DYN_SHARED(type, name) type *name = (type *)ls_emulated_dynamic()
#define LS_LAUNCH(device, kernel, grid, block, shared, ...)                                                  \
    do {                                                                                                     \
        const auto ls_body = [](const auto &...v) { kernel(v...); };                                         \
        ls_device_launched((device), #kernel,                                                                \
                           (int)ls_emulated::launch(#kernel, (grid), (block), (shared),                      \
                                                    (cudaStream_t)ls_device_stream(device), ls_body,         \
                                                    std::make_tuple(__VA_ARGS__)));                          \
    } while (0)

struct uint3 {
    unsigned x, y, z;
};
struct dim3 {
    unsigned x, y, z;
    constexpr dim3(unsigned a = 1, unsigned b = 1, unsigned c = 1) : x(a), y(b), z(c) {}
};

/* What a GPU reads and writes at once, by copies of the whole: at an address that is a multiple of its size. */
extern "C" void ls_emulated_misaligned(uintptr_t address, int size);
namespace ls_emulated {
template <int SIZE> struct whole {
    whole() = default;
    whole(const whole &from) { check(&from); }
    whole &operator=(const whole &from) {
        check(&from);
        check(this);
        return *this;
    }
    static void check(const void *at) {
        uintptr_t address = (uintptr_t)at;
        __asm__("" : "+r"(address)); /* compilers take for granted what is asked here */
        if (address % SIZE) ls_emulated_misaligned(address, SIZE);
    }
};
} // namespace ls_emulated
#define LS_TWO(type, scalar)                                                                                 \
    struct alignas(2 * sizeof(scalar)) type : ls_emulated::whole<2 * sizeof(scalar)> {                       \
        scalar x, y;                                                                                         \
        type() = default;                                                                                    \
        type(scalar a, scalar b) : x(a), y(b) {}                                                             \
    }
#define LS_FOUR(type, scalar)                                                                                \
    struct alignas(4 * sizeof(scalar)) type : ls_emulated::whole<4 * sizeof(scalar)> {                       \
        scalar x, y, z, w;                                                                                   \
        type() = default;                                                                                    \
        type(scalar a, scalar b, scalar c, scalar d) : x(a), y(b), z(c), w(d) {}                             \
    }
LS_TWO(int2, int);
LS_FOUR(int4, int);
LS_TWO(uint2, unsigned);
LS_FOUR(uint4, unsigned);
LS_TWO(float2, float);
LS_FOUR(float4, float);
LS_TWO(double2, double);

static inline float2 make_float2(float x, float y) {
    return {x, y};
}
static inline float4 make_float4(float x, float y, float z, float w) {
    return {x, y, z, w};
}
static inline double2 make_double2(double x, double y) {
    return {x, y};
}
static inline int2 make_int2(int x, int y) {
    return {x, y};
}
static inline int4 make_int4(int x, int y, int z, int w) {
    return {x, y, z, w};
}
static inline uint4 make_uint4(unsigned x, unsigned y, unsigned z, unsigned w) {
    return {x, y, z, w};
}

extern uint3 threadIdx, blockIdx;
extern dim3 blockDim, gridDim;
constexpr int warpSize = 32;

/* --- the engine ------------------------------------------------------------------------------------------- */

extern "C" {
void *ls_emulated_shared(const void *key, size_t size);
void *ls_emulated_dynamic(void);
/* The barrier of the block; the results of its votes: any, all, how many. */
struct ls_emulated_vote {
    int any, all, count;
};
ls_emulated_vote ls_emulated_barrier(int predicate);
enum ls_emulated_operation { LS_EMULATED_SYNC, LS_EMULATED_SHUFFLE, LS_EMULATED_BALLOT, LS_EMULATED_TOGETHER };
uint64_t ls_emulated_warp(int operation, unsigned mask, uint64_t value, int source, int predicate);
int ls_emulated_lane(void);
cudaError_t ls_emulated_enqueue(const char *kernel, dim3 grid, dim3 block, size_t shared, cudaStream_t stream,
                                void (*call)(void *body), void *body, size_t size, size_t at);
}
/* Can the compiler set to 0 what lies between the members of a struct? */
#if defined __has_builtin
#if __has_builtin(__builtin_clear_padding)
#define LS_EMULATED_CLEARS_PADDING 1
#endif
#endif
#ifndef LS_EMULATED_CLEARS_PADDING
#define LS_EMULATED_CLEARS_PADDING 0
#endif

namespace ls_emulated {
template <class T> void clear_padding(T &v) {
    (void)v;
#if LS_EMULATED_CLEARS_PADDING
    __builtin_clear_padding(&v);
#endif
}
/* What a launch is of: a kernel, and the arguments as they are when it is launched. */
template <class F, class A> struct body {
    F f;
    A arguments;
};
/* Copies it into the stream. Bytes that hold nothing are 0, so that equal launches have equal bytes. */
template <class F, class A>
cudaError_t launch(const char *kernel, dim3 grid, dim3 block, size_t shared, cudaStream_t stream, const F &f,
                   const A &arguments) {
    typedef body<F, A> B;
    void *copy = std::calloc(1, sizeof(B));
    if (!copy) return cudaErrorMemoryAllocation;
    B *b = new (copy) B{f, arguments};
    char clean[sizeof(A)] = {}; /* also between the arguments */
    const auto keep = [&](auto &v) {
        clear_padding(v);
        std::memcpy(clean + ((const char *)&v - (const char *)&b->arguments), (const void *)&v, sizeof v);
    };
    std::apply([&](auto &...v) { (keep(v), ...); }, b->arguments);
    std::memcpy((void *)&b->arguments, clean, sizeof clean);
    return ls_emulated_enqueue(
        kernel, grid, block, shared, stream, [](void *p) { std::apply(((B *)p)->f, ((B *)p)->arguments); },
        copy, sizeof(A), (const char *)&b->arguments - (const char *)b);
}
template <class T> uint64_t to_bits(T v) {
    static_assert(sizeof(T) <= 8, "at most 8 bytes are shuffled");
    uint64_t bits = 0;
    std::memcpy(&bits, &v, sizeof v);
    return bits;
}
template <class T> T from_bits(uint64_t bits) {
    T v;
    std::memcpy(&v, &bits, sizeof v);
    return v;
}
template <class T> T shuffle(unsigned mask, T v, int source) {
    return from_bits<T>(ls_emulated_warp(LS_EMULATED_SHUFFLE, mask, to_bits(v), source, 0));
}
template <class T, class F> T update(T *at, F f) {
    T old, next;
    __atomic_load(at, &old, __ATOMIC_RELAXED);
    do next = f(old);
    while (!__atomic_compare_exchange(at, &old, &next, true, __ATOMIC_RELAXED, __ATOMIC_RELAXED));
    return old;
}
} // namespace ls_emulated

/* --- what kernels call ------------------------------------------------------------------------------------ */

#define __syncthreads() ((void)ls_emulated_barrier(0))
static inline int __syncthreads_or(int p) {
    return ls_emulated_barrier(p).any;
}
static inline int __syncthreads_and(int p) {
    return ls_emulated_barrier(p).all;
}
static inline int __syncthreads_count(int p) {
    return ls_emulated_barrier(p).count;
}
static inline void __syncwarp(unsigned mask = 0xffffffffu) {
    ls_emulated_warp(LS_EMULATED_SYNC, mask, 0, 0, 0);
}
static inline void __threadfence() {}
static inline void __threadfence_block() {}

template <class T> T __shfl_sync(unsigned mask, T v, int source, int width = 32) {
    const int lane = ls_emulated_lane();
    return ls_emulated::shuffle(mask, v, (lane & ~(width - 1)) | (source & (width - 1)));
}
template <class T> T __shfl_xor_sync(unsigned mask, T v, int bits, int width = 32) {
    const int lane = ls_emulated_lane(), source = lane ^ bits;
    return ls_emulated::shuffle(mask, v, (source & ~(width - 1)) > (lane & ~(width - 1)) ? lane : source);
}
template <class T> T __shfl_down_sync(unsigned mask, T v, unsigned delta, int width = 32) {
    const int lane = ls_emulated_lane(), source = lane + (int)delta;
    return ls_emulated::shuffle(mask, v, (source ^ lane) & ~(width - 1) ? lane : source);
}
template <class T> T __shfl_up_sync(unsigned mask, T v, unsigned delta, int width = 32) {
    const int lane = ls_emulated_lane(), source = lane - (int)delta;
    return ls_emulated::shuffle(mask, v, source < (lane & ~(width - 1)) ? lane : source);
}
static inline unsigned __ballot_sync(unsigned mask, int p) {
    return (unsigned)ls_emulated_warp(LS_EMULATED_BALLOT, mask, 0, 0, p);
}
static inline int __any_sync(unsigned mask, int p) {
    return __ballot_sync(mask, p) != 0;
}
static inline int __all_sync(unsigned mask, int p) {
    return __ballot_sync(mask, !p) == 0;
}

template <class T> T __ldg(const T *p) {
    return *p;
}
template <class T> T __ldcs(const T *p) {
    return *p;
}
template <class T> T __ldcg(const T *p) {
    return *p;
}
template <class T> void __stcs(T *p, T v) {
    *p = v;
}
template <class T> void __stcg(T *p, T v) {
    *p = v;
}

static inline int __popc(unsigned x) {
    return __builtin_popcount(x);
}
static inline int __ffs(int x) {
    return __builtin_ffs(x);
}
static inline int __clz(int x) {
    return x ? __builtin_clz((unsigned)x) : 32;
}
static inline unsigned __umulhi(unsigned a, unsigned b) {
    return (unsigned)(((uint64_t)a * b) >> 32);
}
static inline unsigned __float_as_uint(float x) {
    return ls_emulated::from_bits<unsigned>(ls_emulated::to_bits(x));
}
static inline int __float_as_int(float x) {
    return ls_emulated::from_bits<int>(ls_emulated::to_bits(x));
}
static inline float __uint_as_float(unsigned x) {
    return ls_emulated::from_bits<float>(x);
}
static inline float __int_as_float(int x) {
    return ls_emulated::from_bits<float>((unsigned)x);
}
static inline long long __double_as_longlong(double x) {
    return ls_emulated::from_bits<long long>(ls_emulated::to_bits(x));
}
static inline double __longlong_as_double(long long x) {
    return ls_emulated::from_bits<double>((uint64_t)x);
}
template <class T> T min(T a, T b) {
    return b < a ? b : a;
}
template <class T> T max(T a, T b) {
    return a < b ? b : a;
}

/* Atomic also here, so that the thread sanitizer knows them for what they are. */
template <class T> T atomicAdd(T *p, T v) {
    return ls_emulated::update(p, [=](T old) { return (T)(old + v); });
}
template <class T> T atomicMax(T *p, T v) {
    return ls_emulated::update(p, [=](T old) { return old < v ? v : old; });
}
template <class T> T atomicMin(T *p, T v) {
    return ls_emulated::update(p, [=](T old) { return v < old ? v : old; });
}
template <class T> T atomicOr(T *p, T v) {
    return ls_emulated::update(p, [=](T old) { return (T)(old | v); });
}
template <class T> T atomicExch(T *p, T v) {
    return ls_emulated::update(p, [=](T) { return v; });
}
template <class T> T atomicCAS(T *p, T expected, T v) {
    return ls_emulated::update(p, [=](T old) { return old == expected ? v : old; });
}

#endif

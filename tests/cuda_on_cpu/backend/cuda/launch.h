/* In place of backend/cuda/launch.h, where kernels are compiled by the C++
 * compiler and run on the CPU (tests alone): what those files need of CUDA's
 * C++, and LAUNCH. Static __shared__ arrays share a section of the program, so
 * that each block finds garbage there (g++ ignores that within templates). */
#ifndef CG_TESTS_LAUNCH_H
#define CG_TESTS_LAUNCH_H

#include <math.h>
#include <string.h>

#include <type_traits>

#include "backend/cuda/cuda.h"
#include "tests/cuda_on_cpu/standin.h"

#define __global__
#define __device__
#define __host__
#define __forceinline__ inline
#define __launch_bounds__(...)
#define __align__(n) alignas(n)
#define __shared__ static __attribute__((section("cuda_shared")))

struct dim3 {
    unsigned x, y, z;
    dim3(unsigned x_ = 1, unsigned y_ = 1, unsigned z_ = 1)
        : x(x_), y(y_), z(z_)
    {
    }
};

struct alignas(16) float4 { float x, y, z, w; };
struct alignas(8) float2 { float x, y; };

static inline float4 make_float4(float x, float y, float z, float w)
{
    return float4{ x, y, z, w };
}

static inline float2 make_float2(float x, float y) { return float2{ x, y }; }

static inline float rsqrtf(float x) { return 1 / sqrtf(x); }

/* Blocks run one after another, threads take turns. */
static inline void __threadfence(void) {}

static inline unsigned atomicAdd(unsigned *x, unsigned by)
{
    unsigned before = *x;
    *x = before + by;
    return before;
}

/* As CUDA's C++ has it beside the function of C. */
template <class... P>
static cudaError_t cudaFuncGetAttributes(cudaFuncAttributes *a,
                                         void (*f)(P...))
{
    return cudaFuncGetAttributes(a, reinterpret_cast<const void *>(f));
}

/* -- threads that meet ----------------------------------------------------- */

#define ON_CPU_TEXT_(x) #x
#define ON_CPU_TEXT(x) ON_CPU_TEXT_(x)
#define ON_CPU_PLACE __FILE__ ":" ON_CPU_TEXT(__LINE__)

#define __syncthreads() on_cpu_barrier(ON_CPU_PLACE)
#define __syncwarp(...) on_cpu_syncwarp(ON_CPU_PLACE, ##__VA_ARGS__)
#define __shfl_sync(...) on_cpu_shfl(ON_CPU_PLACE, __VA_ARGS__)
#define __shfl_xor_sync(...) on_cpu_shfl_xor(ON_CPU_PLACE, __VA_ARGS__)
#define __shfl_down_sync(...) on_cpu_shfl_down(ON_CPU_PLACE, __VA_ARGS__)

static inline void on_cpu_syncwarp(const char *place, unsigned mask = ~0u)
{
    on_cpu_shuffle(place, mask, on_cpu_lane(), 0);
}

template <class T>
static T on_cpu_take(const char *place, unsigned mask, T x, unsigned from)
{
    static_assert(std::is_arithmetic<T>::value, "a number");
    uint64_t bits = 0;
    memcpy(&bits, &x, sizeof x);
    bits = on_cpu_shuffle(place, mask, from, bits);
    memcpy(&x, &bits, sizeof x);
    return x;
}

/* The lanes of a part of `width` go from first to last; who reaches beyond the
 * last reads itself (PTX ISA, shfl.sync). */
static inline unsigned on_cpu_first(int width)
{
    if (width < 1 || width > 32 || width & (width - 1))
        on_cpu_bug("a shuffle of width %d", width);
    return on_cpu_lane() & (unsigned)(32 - width);
}

template <class T>
static T on_cpu_shfl(const char *place, unsigned mask, T x, int from,
                     int width = 32)
{
    return on_cpu_take(place, mask, x, on_cpu_first(width)
                       | ((unsigned)from & (unsigned)(width - 1)));
}

template <class T>
static T on_cpu_shfl_xor(const char *place, unsigned mask, T x, int by,
                         int width = 32)
{
    unsigned last = on_cpu_first(width) + (unsigned)width - 1;
    unsigned from = on_cpu_lane() ^ (unsigned)by;
    return on_cpu_take(place, mask, x, from <= last ? from : on_cpu_lane());
}

template <class T>
static T on_cpu_shfl_down(const char *place, unsigned mask, T x, unsigned by,
                          int width = 32)
{
    unsigned last = on_cpu_first(width) + (unsigned)width - 1;
    unsigned from = on_cpu_lane() + by;
    return on_cpu_take(place, mask, x, from <= last ? from : on_cpu_lane());
}

/* -- a launch -------------------------------------------------------------- */

/* A pointer to the host's memory would be read here, and not on a device. Of
 * structures only those without gaps can be looked through. */
template <class T>
static void on_cpu_check(const char *name, const T &x)
{
    if constexpr (std::is_pointer<T>::value) {
        if (x)
            on_cpu_need(name, "a pointer", (const void *)x, 0);
    } else if constexpr (std::is_class<T>::value && sizeof(T) % 8 == 0
                         && std::has_unique_object_representations_v<T>) {
        on_cpu_need_no_host(name, &x, sizeof x);
    }
}

/* Keeps a parameter's type from being deduced of the argument. */
template <class T> struct on_cpu_same { typedef T type; };

/* Copies the arguments as they are at the launch, as CUDA does. */
template <class... P>
static void on_cpu_launch(cudaStream_t s, const char *name,
                          void (*kernel)(P...), dim3 grid, dim3 block,
                          size_t shared, typename on_cpu_same<P>::type... p)
{
    auto call = [=] { kernel(p...); };
    struct launch {
        on_cpu_grid grid;
        decltype(call) args;
    };
    static_assert(std::is_trivially_copyable<launch>::value,
                  "kernels take plain data");
    launch l = { { { grid.x, grid.y, grid.z }, { block.x, block.y, block.z },
                   shared, name, [](const void *args) {
                       (*static_cast<const decltype(call) *>(args))();
                   }, NULL }, call };
    if (on_cpu_launchable(&l.grid, (const void *)kernel) != cudaSuccess)
        return;
    (on_cpu_check(name, p), ...);
    on_cpu_queue(s, name, [](const void *args, cudaStream_t on) {
        const launch *job = static_cast<const launch *>(args);
        on_cpu_grid g = job->grid;
        g.args = &job->args;
        on_cpu_run_grid(&g, on_cpu_order(on));
    }, &l, sizeof l);
}

#define LAUNCH(d, kernel, grid, block, shared, ...)                           \
    do {                                                                      \
        cg_dev *launch_d_ = (d);                                              \
        dim3 launch_g_(grid);                                                 \
        if (!launch_d_->failed && launch_g_.x && launch_g_.y && launch_g_.z) { \
            on_cpu_launch(cuda_of(launch_d_)->stream,                         \
                          ON_CPU_PLACE " " #kernel, kernel, launch_g_,        \
                          dim3(block), (shared), __VA_ARGS__);                \
            cuda_failed(launch_d_, cudaGetLastError(), #kernel);              \
        }                                                                     \
    } while (0)

#define SHARED(type, name) type *name = static_cast<type *>(on_cpu_shared())

static inline unsigned cuda_blocks(size_t n, size_t per)
{
    return (unsigned)((n + per - 1) / per);
}

#endif

/* What our kernels share: four floats at a time where memory allows it, sums
 * over warps and blocks in an order that is always the same. */
#ifndef CG_BACKEND_CUDA_THREADS_CUH
#define CG_BACKEND_CUDA_THREADS_CUH

#include "backend/cuda/launch.h"

#include <math.h>

#define CG_DEVICE __device__
#include "backend/dropout.h"

enum { WARP = 32, BLOCK = 256 }; /* threads */

/* -- memory ---------------------------------------------------------------- */

/* Whether p can be read as float4. */
static inline bool by_four(const float *p)
{
    return (uintptr_t)p % sizeof(float4) == 0;
}

/* v = p[0 .. V), and back; V is 1 or 4. */
template <int V>
static __device__ inline void load(const float *p, float *v)
{
    if constexpr (V == 1) {
        v[0] = *p;
    } else {
        float4 q = *reinterpret_cast<const float4 *>(p);
        v[0] = q.x, v[1] = q.y, v[2] = q.z, v[3] = q.w;
    }
}

template <int V>
static __device__ inline void store(float *p, const float *v)
{
    if constexpr (V == 1)
        *p = v[0];
    else
        *reinterpret_cast<float4 *>(p)
            = make_float4(v[0], v[1], v[2], v[3]);
}

/* One long vector: `fours` float4 where its arrays are aligned, then floats. */
struct span {
    size_t fours, n;
};

static inline struct span span_of(size_t n, bool aligned)
{
    struct span s = { aligned ? n / 4 : 0, n };
    return s;
}

/* Blocks that have a turn or two at a span. */
static inline unsigned span_blocks(struct span s)
{
    size_t ones = s.n - 4 * s.fours, most = s.fours > ones ? s.fours : ones;
    unsigned blocks = cuda_blocks(most, BLOCK);
    return blocks < 2048 ? blocks : 2048;
}

/* f.at<V>(first) for each piece of the span, shared out to the whole grid. */
template <class F>
static __device__ inline void each_piece(struct span s, F &f)
{
    size_t step = (size_t)gridDim.x * blockDim.x;
    size_t i = (size_t)blockIdx.x * blockDim.x + threadIdx.x;
    for (size_t k = i; k < s.fours; k += step)
        f.template at<4>(4 * k);
    for (size_t k = 4 * s.fours + i; k < s.n; k += step)
        f.template at<1>(k);
}

/* -- sums ------------------------------------------------------------------ */

/* Of `width` neighbours (a power of two); each of them gets the same bits. */
static __device__ inline float near_sum(float x, int width)
{
    for (int by = width / 2; by > 0; by /= 2)
        x += __shfl_xor_sync(0xffffffffu, x, by);
    return x;
}

static __device__ inline float near_max(float x, int width)
{
    for (int by = width / 2; by > 0; by /= 2)
        x = fmaxf(x, __shfl_xor_sync(0xffffffffu, x, by));
    return x;
}

/* Of a block of one dimension, whole warps; every thread gets it. */
static __device__ inline float block_sum(float x)
{
    __shared__ float part[WARP];
    x = near_sum(x, WARP);
    __syncthreads(); /* the last call's sums have been read */
    if (threadIdx.x % WARP == 0)
        part[threadIdx.x / WARP] = x;
    __syncthreads();
    x = part[0];
    for (unsigned w = 1; w < blockDim.x / WARP; w++)
        x += part[w];
    return x;
}

/* *out += scale * the sum of x (n); of one block. */
static __device__ inline void add_total(int n, const float *x, float scale,
                                        float *out)
{
    float sum = 0;
    for (int i = threadIdx.x; i < n; i += blockDim.x)
        sum += x[i];
    sum = block_sum(sum);
    if (threadIdx.x == 0)
        *out += scale * sum;
}

static __device__ inline float block_max(float x)
{
    __shared__ float part[WARP];
    x = near_max(x, WARP);
    __syncthreads();
    if (threadIdx.x % WARP == 0)
        part[threadIdx.x / WARP] = x;
    __syncthreads();
    x = part[0];
    for (unsigned w = 1; w < blockDim.x / WARP; w++)
        x = fmaxf(x, part[w]);
    return x;
}

/* -- a vector that several threads hold ------------------------------------ */

/* f(i, c) for the elements c < n of thread `own` of `all`, i its register; N
 * registers, or 0: any number of elements, i is 0. */
template <int N, class F>
static __device__ inline void each(unsigned n, unsigned own, unsigned all,
                                   F f)
{
    if constexpr (N == 0) {
        for (unsigned c = own; c < n; c += all)
            f(0, c);
    } else {
#pragma unroll
        for (int i = 0; i < N; i++)
            if (own + i * all < n)
                f(i, own + i * all);
    }
}

/* -- sums over blocks ------------------------------------------------------ */

/* Whether this block is the last of n that come here: it sees what the others
 * have written. *arrived is 0 before the first and after the last. For all
 * threads of the block. */
static __device__ inline bool is_last(unsigned n, unsigned *arrived)
{
    __shared__ bool last;
    __threadfence();
    __syncthreads();
    if (threadIdx.x + threadIdx.y == 0) {
        last = atomicAdd(arrived, 1) == n - 1;
        if (last)
            *arrived = 0;
    }
    __syncthreads();
    if (last)
        __threadfence();
    return last;
}

/* A lane's s of all the block's warps, added in their order: whole in warp 0.
 * For all threads of the block. */
static __device__ inline float warps_sum(float s, unsigned warp,
                                         unsigned warps)
{
    __shared__ float part[BLOCK / WARP][WARP];
    __syncthreads(); /* the last call's have been read */
    part[warp][threadIdx.x % WARP] = s;
    __syncthreads();
    for (unsigned w = 1; w < warps && warp == 0; w++)
        s += part[w][threadIdx.x % WARP];
    return s;
}

/* The sum of a column x over rows first .. last, a lane's own, of which the
 * warps take turns; as warps_sum. Not `inside`: there is no such column. */
static __device__ inline float column_sum(const float *x, size_t ld,
                                          size_t first, size_t last,
                                          bool inside, unsigned warp,
                                          unsigned warps)
{
    float s = 0;
    if (inside)
#pragma unroll 8
        for (size_t r = first + warp; r < last; r += warps)
            s += x[r * ld];
    return warps_sum(s, warp, warps);
}

/* Sums of `n` blocks, part (n, cols), and what becomes of them: y (cols) = all
 * + beta y, columns from `half` on belong to `rest`. `arrived` counts for each
 * 32 columns. */
struct sums {
    unsigned n;
    size_t cols, half;
    float *part;
    unsigned *arrived;
    float beta, *y, beta_rest, *rest;
};

/* Of n blocks' rows; n 1 needs no memory for parts. */
static inline struct sums sums_of(cg_dev *d, unsigned n, int groups, int cols,
                                  float beta, float *y)
{
    size_t wide = (size_t)cols, each = cuda_blocks(wide, WARP);
    struct sums s = { n, wide, wide, NULL, NULL, beta, y, 0, NULL };
    if (n > 1) {
        s.part = (float *)cuda_scratch(d, groups * n * wide * sizeof *s.part);
        s.arrived = cuda_zeros(d, groups * each);
    }
    return s;
}

static __device__ inline void write_sum(const struct sums &j, size_t c,
                                        float s)
{
    float *y = c < j.half ? j.y + c : j.rest + (c - j.half);
    float beta = c < j.half ? j.beta : j.beta_rest;
    *y = beta != 0 ? beta * *y + s : s;
}

/* Block `block`'s sum of column c, in warp 0, goes its way. For all threads of
 * the block; the order of blocks is not that of the sum. */
static __device__ inline void add_up(const struct sums &j, unsigned block,
                                     size_t c, float s, unsigned warp,
                                     unsigned warps)
{
    bool inside = c < j.cols;
    if (j.n > 1) {
        if (warp == 0 && inside)
            j.part[block * j.cols + c] = s;
        if (!is_last(j.n, j.arrived + c / WARP))
            return;
        s = column_sum(j.part + c, j.cols, 0, j.n, inside, warp, warps);
    }
    if (warp == 0 && inside)
        write_sum(j, c, s);
}

#endif

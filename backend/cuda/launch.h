/* How a kernel of ours is launched, for .cu files alone. The kernels use
 * nothing of CUDA beside this, the built-in indices, __shared__,
 * __syncthreads, __syncwarp, __shfl_sync, __shfl_xor_sync, __shfl_down_sync,
 * __threadfence, atomicAdd of unsigned numbers and float4: tests/cuda_on_cpu
 * has the same header for machines without a device. */
#ifndef CG_BACKEND_CUDA_LAUNCH_H
#define CG_BACKEND_CUDA_LAUNCH_H

#include "backend/cuda/cuda.h"

/* kernel<<<grid, block, shared bytes>>>(arguments) on the device's stream.
 * `grid` and `block` are numbers or dim3; nothing is launched on a grid of no
 * blocks, nor by a device that has failed. A kernel that is a template of
 * several arguments stands in parentheses. A grid is at most 2^31 - 1 blocks
 * wide, 65535 high and deep. */
#define LAUNCH(d, kernel, grid, block, shared, ...)                           \
    do {                                                                      \
        cg_dev *launch_d_ = (d);                                              \
        dim3 launch_g_(grid);                                                 \
        if (!launch_d_->failed && launch_g_.x && launch_g_.y && launch_g_.z) { \
            kernel<<<launch_g_, (block), (shared),                            \
                     cuda_of(launch_d_)->stream>>>(__VA_ARGS__);              \
            cuda_failed(launch_d_, cudaGetLastError(), #kernel);              \
        }                                                                     \
    } while (0)

/* `name`, the block's dynamic shared memory as an array of `type`. */
#define SHARED(type, name)                                                    \
    extern __shared__ __align__(16) unsigned char cuda_shared_[];             \
    type *name = reinterpret_cast<type *>(cuda_shared_)

/* Blocks of `per` items that cover n of them. */
static inline unsigned cuda_blocks(size_t n, size_t per)
{
    return (unsigned)((n + per - 1) / per);
}

#endif

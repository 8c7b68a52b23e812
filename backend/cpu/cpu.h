/* The CPU device: kernels in plain C, vectorised by the compiler, products by
 * OpenBLAS.
 *
 * Any number of threads gives the same bits: a kernel cuts its work into
 * blocks whose size depends on the operands' sizes alone, each block is
 * computed by one thread in one order, and what is summed over blocks goes to
 * scratch memory and is added in the order of the blocks. Another processor
 * (other vector units, other OpenBLAS kernels) may give other bits. */
#ifndef CG_BACKEND_CPU_CPU_H
#define CG_BACKEND_CPU_CPU_H

#include "backend/backend.h"
#include "backend/cpu/blas.h"
#include "backend/cpu/pool.h"

typedef struct cg_cpu {
    cg_dev dev;
    cg_pool *pool;
    const cg_blas *blas;
    struct cg_cpu_block *work; /* the newest first */
    float *scratch;            /* of the kernel that runs */
    size_t scratch_size;
    bool told;                 /* sync has reported the failure */
    char why[120];
} cg_cpu;

static inline cg_cpu *cg_cpu_of(cg_dev *d) { return (cg_cpu *)d; }

/* The kernels. */
#define CG_KERNEL(name, params, args) void cpu_##name params;
#include "backend/kernels.def"
#undef CG_KERNEL

/* Items first .. last (not included); `thread` as in pool.h. */
typedef void (*cg_span_fn)(const void *job, size_t first, size_t last,
                           int thread);

/* fn over 0 .. n in spans that start at multiples of `grain` and end at the
 * next. One thread may take several. */
void cg_cpu_spans(cg_dev *d, size_t n, size_t grain, cg_span_fn fn,
                  const void *job);

/* How many items of `cost` make a span that is worth a hand-off; cost 1 is an
 * element read, changed and written. */
static inline size_t cg_cpu_grain(size_t cost)
{
    return cost >= 32768 ? 1 : 32768 / (cost ? cost : 1);
}

/* `n` floats until the next call, aligned to 64 bytes; NULL: no memory, and
 * the device has failed. */
float *cg_cpu_scratch(cg_dev *d, size_t n);

/* y = beta y + the sum of `parts` vectors of n, in their order; beta 0 does
 * not read y. Rows of `cols`, ldy floats apart; n is rows * cols. */
void cg_cpu_add_parts(cg_dev *d, size_t parts, const float *part, size_t rows,
                      size_t cols, float beta, float *y, size_t ldy);

#endif

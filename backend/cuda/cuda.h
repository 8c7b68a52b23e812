/* The CUDA device, for the C files and the .cu files of this folder.
 *
 * One stream runs everything in the order of the calls. A step that is like an
 * earlier one allocates nothing and waits for nothing. Kernels are `cuda_NAME`
 * for every row of kernels.def; no sum depends on the order in which threads
 * arrive (no atomic operations on floats), so that the same call gives the
 * same bits.
 *
 * This folder but for load.c and stub.c is a library of its own that load.c
 * opens with a device; it knows nothing of the program but what cuda_open is
 * handed. */
#ifndef CG_BACKEND_CUDA_CUDA_H
#define CG_BACKEND_CUDA_CUDA_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include <cuda_runtime.h>

#ifdef __cplusplus
extern "C" {
#endif

#include "backend/cuda/host.h"

/* Blocks that grow and are kept: what they hold is valid until the next call
 * that asks for the same one. */
typedef enum cuda_buffer_id {
    CUDA_SCRATCH, /* of the kernel that runs */
    CUDA_SPARSE,  /* what cuSPARSE works in */
    CUDA_DENSE,   /* a matrix before or behind a sparse product */
    CUDA_BLAS,    /* what cuBLAS works in */
    CUDA_ONES,
    CUDA_ZEROS,
    CUDA_BUFFERS
} cuda_buffer_id;

enum {
    CUDA_WORK_MAX = 64,         /* blocks of a step, each a quarter of those
                                   before: never reached */
    CUDA_STAGE_PARTS = 4,
    CUDA_STAGE_PART = 4 << 20   /* bytes */
};

typedef struct cuda_dev {
    cg_dev base;
    cudaStream_t stream;
    int capability;         /* of the device: 90 for 9.0 */
    cg_precision precision; /* of products */
    struct cublasContext *blas;
    struct cusparseContext *sparse;
    struct {
        void *p;
        size_t size;
    } buffer[CUDA_BUFFERS];
    size_t n_ones;          /* of CUDA_ONES that are ones */
    size_t n_zeros;         /* bytes of CUDA_ZEROS that are zeros */
    int n_work;             /* memory of the step: the last block is filled */
    struct {
        char *p;
        size_t size, used;
    } work[CUDA_WORK_MAX];
    /* Pinned memory that copies to the device are made from: parts are filled
     * one after the other, `left` is when the copies from one are done. */
    char *stage;
    int stage_part;
    size_t stage_used;      /* of that part */
    cudaEvent_t left[CUDA_STAGE_PARTS];
    unsigned long moved;    /* how often memory of steps or a buffer has: from
                               1 on */
    bool records;           /* fn of cuda_repeat is being captured */
    bool cannot_record;     /* it was tried */
    struct cg_pool *pool;
    cg_err (*fail)(cg_err code, const char *fmt, ...); /* the program's */
    cg_err code;            /* of the first failure */
    bool told;              /* sync has reported it */
    char why[200];
} cuda_dev;

static inline cuda_dev *cuda_of(cg_dev *d) { return (cuda_dev *)d; }

/* Keeps what failed, if it is the first: "cuda: WHAT: ...". CG_ELIMIT where
 * memory was refused, CG_EIO for the rest. cudaSuccess: nothing. */
void cuda_failed(cg_dev *d, cudaError_t e, const char *what);
/* The same with the whole sentence: "cuda: WHAT WHY". */
void cuda_failed_why(cg_dev *d, cg_err code, const char *what,
                     const char *why);

/* Device memory for a kernel and what it launches, until the next call on the
 * device: later calls get the same, the stream keeps their work apart. Aligned
 * to 256 bytes, not zeroed. NULL: none, and the device has failed; what is
 * launched then does nothing. */
void *cuda_scratch(cg_dev *d, size_t bytes);
/* The same of another buffer. */
void *cuda_buffer(cg_dev *d, cuda_buffer_id which, size_t bytes);
/* n ones, as cuda_buffer. */
const float *cuda_ones(cg_dev *d, size_t n);

/* n zeros, as cuda_buffer: a kernel leaves them as it found them. */
unsigned *cuda_zeros(cg_dev *d, size_t n);

/* Memory and copies (memory.c), as cg_dev_ops has them. */
void *cuda_mem_alloc(cg_dev *d, size_t bytes);
void cuda_mem_free(cg_dev *d, void *p);
void *cuda_mem_work(cg_dev *d, size_t bytes);
void cuda_mem_reset(cg_dev *d);
void cuda_mem_upload(cg_dev *d, void *dst, const void *src, size_t bytes);
void cuda_mem_download(cg_dev *d, void *dst, const void *src, size_t bytes);
/* Series of kernels (repeat.c), likewise. */
void cuda_repeat(cg_dev *d, cg_recording **r, void (*fn)(void *user),
                 void *user);
void cuda_forget(cg_dev *d, cg_recording *r);
/* The stage. */
cudaError_t cuda_mem_open(cuda_dev *c);
void cuda_mem_close(cuda_dev *c); /* all of it, opened or not */

/* y (rows, cols) = act(x + bias) + beta y; x NULL: zeros, and so bias. With
 * beta 0 y is not read. y may be x. */
void cuda_spmm_finish(cg_dev *d, int rows, int cols, const float *x, int ldx,
                      const float *bias, cg_act act, float beta, float *y,
                      int ldy);

/* dz (rows, cols) = dy act'(y), unless dz is NULL, and dbias (cols) = its
 * column sums + bb dbias, unless dbias is NULL. y is not read without an
 * activation. */
void cuda_spmm_start(cg_dev *d, int rows, int cols, const float *y, int ldy,
                     cg_act act, const float *dy, int lddy, float *dz,
                     int lddz, float bb, float *dbias);

/* y (s.n_rows, cols) = s x + beta y, of any addresses. */
void cuda_spmm_rows(cg_dev *d, const cg_csr *s, int cols, const float *x,
                    int ldx, float beta, float *y, int ldy);

/* Whether the kernels were compiled for the device. */
cudaError_t cuda_probe(void);

/* The kernels. */
#define CG_KERNEL(name, params, args) void cuda_##name params;
#include "backend/kernels.def"
#undef CG_KERNEL

#ifdef __cplusplus
}
#endif

#endif

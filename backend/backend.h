/* Arithmetic on a device: memory, and kernels behind one table.
 *
 * A device runs its kernels in the order of their calls. Matrices are float32,
 * row-major, with a leading dimension `ld` (floats from row to row). Pointers
 * are the device's own; on the CPU they are plain memory. The same call gives
 * the same bits whatever the number of threads.
 *
 * What goes wrong on a device (memory, a launch) is kept: from then on its
 * kernels and copies do nothing, and cg_dev_sync says the first thing that
 * failed. The cg_dev_reset after that makes the device usable again. */
#ifndef CG_BACKEND_BACKEND_H
#define CG_BACKEND_BACKEND_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/err.h"

typedef struct cg_dev cg_dev;

typedef enum cg_trans { CG_PLAIN, CG_TRANSPOSED } cg_trans;
typedef enum cg_act { CG_ACT_NONE, CG_ACT_RELU } cg_act;
/* In what the factors of a product are multiplied; sums are float32 always. */
typedef enum cg_precision {
    CG_PRECISION_FLOAT32,
    CG_PRECISION_TF32, /* 10 bits behind the point */
    CG_PRECISION_BF16  /* 7 */
} cg_precision;

/* A sparse matrix by rows, in device memory. */
typedef struct cg_csr {
    int n_rows, n_cols, n_entries;
    const int32_t *start; /* (n_rows + 1) */
    const int32_t *col;   /* (n_entries) */
    const float *val;     /* (n_entries); NULL: all 1 */
    /* Its transpose, for spmm_bwd's dx on a device that wants it; or NULL */
    const int32_t *back_start; /* (n_cols + 1) */
    const int32_t *back_col;   /* (n_entries) ascending in each row */
    const float *back_val;     /* (n_entries); NULL where `val` is */
} cg_csr;

/* Writes the transpose of s, all of it in the host's memory. */
void cg_csr_transpose(const cg_csr *s, int32_t *back_start, int32_t *back_col,
                      float *back_val);

typedef struct cg_kernels {
#define CG_KERNEL(name, params, args) void (*name) params;
#include "backend/kernels.def"
#undef CG_KERNEL
} cg_kernels;

struct cg_dev {
    const cg_kernels *k;
    const struct cg_dev_ops *ops;
    const char *name; /* "cpu", "cuda" */
    bool shares_memory; /* its kernels read the host's */
    bool wants_back;    /* its spmm_bwd multiplies by cg_csr's transpose */
    bool failed;      /* see cg_dev_sync */
    bool skips;       /* kernels are left out: cg_dev_repeat */
};

/* "cpu", "cuda", or "auto": cuda where there is one. `threads` are the host's;
 * 0: as many as it has. */
cg_err cg_dev_open(cg_dev **d, const char *name, int threads);
void cg_dev_close(cg_dev *d); /* NULL is fine */

/* Blocks that live until freed, zeroed. */
cg_err cg_dev_alloc(cg_dev *d, size_t bytes, void **out);
void cg_dev_free(cg_dev *d, void *p);

/* Memory of a step: valid until the next cg_dev_reset, not zeroed, aligned to
 * 64 bytes. Never NULL; when there is none left the device has failed. */
void *cg_dev_work(cg_dev *d, size_t bytes);
void cg_dev_reset(cg_dev *d);

/* Host memory to the device and back. `upload` may return before the device has
 * the copy; `src` is the caller's again at once. What `download` writes is
 * there after the next sync. */
void cg_dev_upload(cg_dev *d, void *dst, const void *src, size_t bytes);
void cg_dev_download(cg_dev *d, void *dst, const void *src, size_t bytes);

/* The precision of products from now on: "float32" (at the start), "tf32" or
 * "bf16" where the device has them. */
cg_err cg_dev_precision(cg_dev *d, const char *name);

/* Threads of the host that belong to the device, and n jobs run on them, in any
 * order; returns when all are done. */
int cg_dev_threads(cg_dev *d);
void cg_dev_share(cg_dev *d, uint32_t n, void (*fn)(void *user, uint32_t i),
                  void *user);

/* Runs fn, which calls kernels, uploads what they read, and takes memory of the
 * step: nothing else of the device. For one r (NULL to start) it makes the same
 * calls with the same arguments each time, as long as the same memory of the
 * step is taken before; what is uploaded may change. A device that can, starts
 * all kernels at one go: fn is then run for its uploads alone, at first twice.
 */
typedef struct cg_recording cg_recording;
void cg_dev_repeat(cg_dev *d, cg_recording **r, void (*fn)(void *user),
                   void *user);
void cg_dev_forget(cg_dev *d, cg_recording *r); /* NULL is fine */

/* Waits for all that was called; the first failure since the last reset. */
cg_err cg_dev_sync(cg_dev *d);

/* What a backend fills in beside its kernels. */
typedef struct cg_dev_ops {
    void (*close)(cg_dev *d);
    void *(*alloc)(cg_dev *d, size_t bytes); /* NULL: none left */
    void (*free)(cg_dev *d, void *p);
    void *(*work)(cg_dev *d, size_t bytes);
    void (*reset)(cg_dev *d);
    void (*upload)(cg_dev *d, void *dst, const void *src, size_t bytes);
    void (*download)(cg_dev *d, void *dst, const void *src, size_t bytes);
    cg_err (*sync)(cg_dev *d);
    int (*threads)(cg_dev *d);
    void (*share)(cg_dev *d, uint32_t n, void (*fn)(void *user, uint32_t i),
                  void *user);
    cg_err (*precision)(cg_dev *d, cg_precision p); /* NULL: float32 alone */
    void (*repeat)(cg_dev *d, cg_recording **r, void (*fn)(void *user),
                   void *user); /* NULL: fn is run, there is no r */
    void (*forget)(cg_dev *d, cg_recording *r);
} cg_dev_ops;

cg_err cg_cpu_open(cg_dev **d, int threads);
/* An error where CUDA is not built in, and where there is no device. */
cg_err cg_cuda_open(cg_dev **d, int threads);

/* The kernels, by name: cg_k_gemm(d, ...). */
#define CG_KERNEL(name, params, args) \
    static inline void cg_k_##name params \
    { \
        if (!d->failed && !d->skips) \
            d->k->name args; \
    }
#include "backend/kernels.def"
#undef CG_KERNEL

#endif

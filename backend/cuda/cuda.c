/* The CUDA device: how it is opened and closed, and what becomes of its
 * failures. */
#include "backend/cuda/cuda.h"

#include <cublas_v2.h>
#include <cusparse.h>
#include <sched.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "backend/cpu/pool.h"

enum { MAX_THREADS = 256, BLAS_WORK = 32 << 20 };

typedef cg_err fail_fn(cg_err code, const char *fmt, ...);

/* -- failures -------------------------------------------------------------- */

void cuda_failed_why(cg_dev *d, cg_err code, const char *what,
                     const char *why)
{
    cuda_dev *c = cuda_of(d);
    if (d->failed)
        return;
    snprintf(c->why, sizeof c->why, "cuda: %s %s", what, why);
    c->code = code;
    d->failed = true;
}

void cuda_failed(cg_dev *d, cudaError_t e, const char *what)
{
    char where[80];
    if (e == cudaSuccess)
        return;
    snprintf(where, sizeof where, "%s:", what);
    cuda_failed_why(d, e == cudaErrorMemoryAllocation ? CG_ELIMIT : CG_EIO,
                    where, cudaGetErrorString(e));
}

static cg_err device_sync(cg_dev *d)
{
    cuda_dev *c = cuda_of(d);
    cuda_failed(d, cudaStreamSynchronize(c->stream), "a kernel failed");
    if (!d->failed)
        return CG_OK;
    c->told = true;
    return c->fail(c->code, "%s", c->why);
}

/* -- what it is asked for -------------------------------------------------- */

static int device_threads(cg_dev *d)
{
    return cg_pool_threads(cuda_of(d)->pool);
}

static void device_share(cg_dev *d, uint32_t n,
                         void (*fn)(void *user, uint32_t i), void *user)
{
    cg_pool_share(cuda_of(d)->pool, n, fn, user);
}

static cg_err device_precision(cg_dev *d, cg_precision p)
{
    cuda_dev *c = cuda_of(d);
    if (p != CG_PRECISION_FLOAT32 && c->capability < 80)
        return c->fail(CG_EUNSUPPORTED, "cuda: products in tf32 and bf16 need "
                       "compute capability 8.0, the device has %d.%d",
                       c->capability / 10, c->capability % 10);
    c->precision = p;
    return CG_OK;
}

/* -- closing --------------------------------------------------------------- */

static void device_close(cg_dev *d)
{
    cuda_dev *c = cuda_of(d);
    cg_pool_free(c->pool);
    if (c->stream)
        cudaStreamSynchronize(c->stream);
    if (c->sparse)
        cusparseDestroy(c->sparse);
    if (c->blas)
        cublasDestroy(c->blas);
    cuda_mem_close(c);
    if (c->stream)
        cudaStreamDestroy(c->stream);
    free(c);
}

/* -- opening --------------------------------------------------------------- */

/* Why there is no device. */
static cg_err no_device(cudaError_t e, fail_fn *fail)
{
    int driver = 0, needed = 0;
    if (e == cudaErrorInsufficientDriver) {
        cudaDriverGetVersion(&driver);
        cudaRuntimeGetVersion(&needed);
        return driver == 0
            ? fail(CG_EUNSUPPORTED, "cuda: this machine has no NVIDIA driver")
            : fail(CG_EUNSUPPORTED, "cuda: the driver is for CUDA %d.%d, the "
                   "program needs %d.%d", driver / 1000, driver % 1000 / 10,
                   needed / 1000, needed % 1000 / 10);
    }
    if (e == cudaSuccess || e == cudaErrorNoDevice)
        return fail(CG_EUNSUPPORTED, "cuda: the driver knows no device (or "
                    "CUDA_VISIBLE_DEVICES hides it)");
    return fail(CG_EIO, "cuda: %s", cudaGetErrorString(e));
}

/* The first device, made the one in use; its compute capability. */
static cg_err find_device(int *capability, fail_fn *fail)
{
    int n = 0, major = 0, minor = 0;
    cudaError_t e = cudaGetDeviceCount(&n);
    if (e != cudaSuccess || n == 0)
        return no_device(e, fail);
    e = cudaSetDevice(0);
    if (e == cudaSuccess)
        e = cudaDeviceGetAttribute(&major, cudaDevAttrComputeCapabilityMajor,
                                   0);
    if (e == cudaSuccess)
        e = cudaDeviceGetAttribute(&minor, cudaDevAttrComputeCapabilityMinor,
                                   0);
    if (e != cudaSuccess)
        return fail(CG_EIO, "cuda: %s", cudaGetErrorString(e));
    *capability = 10 * major + minor;
    e = cuda_probe();
    if (e == cudaErrorNoKernelImageForDevice
        || e == cudaErrorInvalidDeviceFunction
        || e == cudaErrorUnsupportedPtxVersion)
        return fail(CG_EUNSUPPORTED, "cuda: the program was not compiled for "
                    "compute capability %d.%d (meson option cuda-arch)",
                    major, minor);
    return e == cudaSuccess ? CG_OK
        : fail(CG_EIO, "cuda: %s", cudaGetErrorString(e));
}

static void open_blas(cuda_dev *c)
{
    cg_dev *d = &c->base;
    cublasStatus_t e = cublasCreate(&c->blas);
    if (e == CUBLAS_STATUS_SUCCESS)
        e = cublasSetStream(c->blas, c->stream);
    /* Its own would be taken per stream, while a step runs. */
    void *work = cuda_buffer(d, CUDA_BLAS, BLAS_WORK);
    if (e == CUBLAS_STATUS_SUCCESS && work)
        e = cublasSetWorkspace(c->blas, work, BLAS_WORK);
    if (e != CUBLAS_STATUS_SUCCESS)
        cuda_failed_why(d, e == CUBLAS_STATUS_ALLOC_FAILED ? CG_ELIMIT
                        : CG_EIO, "cuBLAS:", cublasGetStatusString(e));
}

static void open_sparse(cuda_dev *c)
{
    cusparseStatus_t e = cusparseCreate(&c->sparse);
    if (e == CUSPARSE_STATUS_SUCCESS)
        e = cusparseSetStream(c->sparse, c->stream);
    if (e != CUSPARSE_STATUS_SUCCESS)
        cuda_failed_why(&c->base, e == CUSPARSE_STATUS_ALLOC_FAILED ? CG_ELIMIT
                        : CG_EIO, "cuSPARSE:", cusparseGetErrorString(e));
}

static int count_cores(void)
{
    cpu_set_t set;
    return sched_getaffinity(0, sizeof set, &set) ? 1 : CPU_COUNT(&set);
}

/* What of it fails is kept. */
static void open_parts(cuda_dev *c, int threads)
{
    cg_dev *d = &c->base;
    cuda_failed(d, cudaStreamCreateWithFlags(&c->stream,
                                             cudaStreamNonBlocking), "stream");
    if (!d->failed)
        cuda_failed(d, cuda_mem_open(c), "pinned memory");
    if (!d->failed)
        open_blas(c);
    if (!d->failed)
        open_sparse(c);
    threads = threads ? threads : count_cores();
    c->pool = cg_pool_new(threads < MAX_THREADS ? threads : MAX_THREADS);
    if (!c->pool)
        cuda_failed_why(d, CG_ELIMIT, "no memory", "for threads");
}

cg_err cuda_open(cg_dev **d, const cuda_host *host)
{
    static const cg_kernels kernels = {
#define CG_KERNEL(name, params, args) .name = cuda_##name,
#include "backend/kernels.def"
#undef CG_KERNEL
    };
    static const cg_dev_ops ops = {
        device_close, cuda_mem_alloc, cuda_mem_free, cuda_mem_work,
        cuda_mem_reset, cuda_mem_upload, cuda_mem_download, device_sync,
        device_threads, device_share, device_precision, cuda_repeat,
        cuda_forget };
    int capability = 0;
    *d = NULL;
    if (strcmp(host->version, CG_CUDA_VERSION))
        return host->fail(CG_EUNSUPPORTED, "cuda: the program and its library "
                          "libgennape_cuda.so are of different versions");
    CG_TRY(find_device(&capability, host->fail));
    cuda_dev *c = calloc(1, sizeof *c);
    if (!c)
        return host->fail(CG_ELIMIT, "cuda: no memory");
    c->base = (cg_dev){ &kernels, &ops, "cuda", false, true, false, false };
    c->moved = 1;
    c->capability = capability;
    c->fail = host->fail;
    open_parts(c, host->threads);
    if (c->base.failed) {
        cg_err err = c->fail(c->code, "%s", c->why);
        device_close(&c->base);
        return err;
    }
    *d = &c->base;
    return CG_OK;
}

/* cuBLAS' products: plain loops in double over factors that were rounded as the
 * compute type says. */
#include <cublas_v2.h>

#include "tests/cuda_on_cpu/standin.h"

#include <stdlib.h>
#include <string.h>

struct cublasContext {
    cudaStream_t stream;
    void *work;
    size_t work_size;
};

cublasStatus_t cublasCreate(cublasHandle_t *h)
{
    *h = NULL;
    if (on_cpu_fails("cublas", NULL) || on_cpu_broken())
        return CUBLAS_STATUS_NOT_INITIALIZED;
    *h = calloc(1, sizeof **h);
    return *h ? CUBLAS_STATUS_SUCCESS : CUBLAS_STATUS_ALLOC_FAILED;
}

cublasStatus_t cublasDestroy(cublasHandle_t h)
{
    on_cpu_run();
    free(h);
    return CUBLAS_STATUS_SUCCESS;
}

/* Its memory is the library's own again. */
cublasStatus_t cublasSetStream(cublasHandle_t h, cudaStream_t s)
{
    *h = (struct cublasContext){ s, NULL, 0 };
    return CUBLAS_STATUS_SUCCESS;
}

cublasStatus_t cublasSetWorkspace(cublasHandle_t h, void *p, size_t bytes)
{
    if ((uintptr_t)p % 256)
        return CUBLAS_STATUS_INVALID_VALUE;
    on_cpu_need("cublasSetWorkspace", "work", p, bytes);
    h->work = p;
    h->work_size = bytes;
    return CUBLAS_STATUS_SUCCESS;
}

const char *cublasGetStatusString(cublasStatus_t status)
{
    switch (status) {
    case CUBLAS_STATUS_SUCCESS: return "success";
    case CUBLAS_STATUS_NOT_INITIALIZED:
        return "the library was not initialized";
    case CUBLAS_STATUS_ALLOC_FAILED: return "the resource allocation failed";
    case CUBLAS_STATUS_INVALID_VALUE:
        return "an unsupported value or parameter was passed to the function";
    case CUBLAS_STATUS_EXECUTION_FAILED:
        return "the GPU program failed to execute";
    }
    return "unknown";
}

/* -- a product ------------------------------------------------------------- */

struct product {
    bool ta, tb;
    int m, n, k, lda, ldb, ldc, batch, bits; /* of a factor's mantissa */
    const float *a, *b;
    float *c, alpha, beta;
    long long sa, sb, sc;
    void *work;
    size_t work_size;
};

/* To the nearest float with so many bits behind the point. */
static float rounded(float x, int bits)
{
    uint32_t u, half, odd;
    if (bits >= 23)
        return x;
    memcpy(&u, &x, sizeof u);
    half = 1u << (22 - bits);
    odd = u >> (23 - bits) & 1;
    u = (u + half - 1 + odd) & ~(2 * half - 1);
    memcpy(&x, &u, sizeof x);
    return x;
}

/* op(x), its `rows` one after another, without gaps. */
static double *packed(const float *x, int rows, int cols, ptrdiff_t by_row,
                      ptrdiff_t by_col, int bits)
{
    double *p = malloc(((size_t)rows * (size_t)cols + 1) * sizeof *p);
    if (!p)
        on_cpu_bug("no memory for the stand-in itself");
    for (int r = 0; r < rows; r++)
        for (int c = 0; c < cols; c++)
            p[(size_t)r * (size_t)cols + (size_t)c]
                = (double)rounded(x[r * by_row + c * by_col], bits);
    return p;
}

static double dot(const double *a, const double *b, int k)
{
    double sum[4] = { 0 };
    int l = 0;
    for (; l + 4 <= k; l += 4)
        for (int i = 0; i < 4; i++)
            sum[i] += a[l + i] * b[l + i];
    for (; l < k; l++)
        sum[0] += a[l] * b[l];
    return sum[0] + sum[1] + (sum[2] + sum[3]);
}

static void multiply(const struct product *p, const float *a, const float *b,
                     float *c)
{
    double *rows = packed(a, p->m, p->k, p->ta ? p->lda : 1,
                          p->ta ? 1 : p->lda, p->bits);
    double *cols = packed(b, p->n, p->k, p->tb ? 1 : p->ldb,
                          p->tb ? p->ldb : 1, p->bits);
    for (ptrdiff_t x = 0; x < p->n; x++)
        for (ptrdiff_t r = 0; r < p->m; r++) {
            float *at = c + r + x * p->ldc;
            double y = (double)p->alpha * dot(rows + r * p->k,
                                              cols + x * p->k, p->k);
            *at = (float)(p->beta == 0 ? y
                          : y + (double)p->beta * (double)*at);
        }
    free(rows);
    free(cols);
}

static void run(const void *args, cudaStream_t s)
{
    const struct product *p = args;
    (void)s;
    if (p->work) /* who else keeps something there is wrong */
        memset(p->work, 0xff, p->work_size < 4096 ? p->work_size : 4096);
    for (int i = 0; i < p->batch; i++)
        multiply(p, p->a + i * p->sa, p->b + i * p->sb, p->c + i * p->sc);
}

static void need(const char *what, const void *x, int rows, int cols, int ld,
                 long long stride, int batch)
{
    if (rows && cols && batch)
        on_cpu_need("a product", what, x, sizeof(float)
                    * ((size_t)(batch - 1) * (size_t)stride
                       + (size_t)(cols - 1) * (size_t)ld + (size_t)rows));
}

cublasStatus_t cublasGemmStridedBatchedEx(
    cublasHandle_t h, cublasOperation_t ta, cublasOperation_t tb, int m, int n,
    int k, const void *alpha, const void *a, cudaDataType at, int lda,
    long long sa, const void *b, cudaDataType bt, int ldb, long long sb,
    const void *beta, void *c, cudaDataType ct, int ldc, long long sc,
    int batch, cublasComputeType_t compute, cublasGemmAlgo_t algo)
{
    struct product p = { ta == CUBLAS_OP_T, tb == CUBLAS_OP_T, m, n, k, lda,
        ldb, ldc, batch, compute == CUBLAS_COMPUTE_32F ? 23
        : compute == CUBLAS_COMPUTE_32F_FAST_TF32 ? 10 : 7, a, b, c,
        *(const float *)alpha, *(const float *)beta, sa, sb, sc, h->work,
        h->work_size };
    int am = p.ta ? k : m, an = p.ta ? m : k, bm = p.tb ? n : k;
    if (m < 0 || n < 0 || k < 0 || batch < 0 || at != CUDA_R_32F || bt != at
        || ct != at || algo != CUBLAS_GEMM_DEFAULT || lda < 1 || lda < am
        || ldb < 1 || ldb < bm || ldc < 1 || ldc < m)
        return CUBLAS_STATUS_INVALID_VALUE;
    need("a", a, am, an, lda, sa, batch);
    need("b", b, bm, p.tb ? k : n, ldb, sb, batch);
    need("c", c, m, n, ldc, sc, batch);
    if (batch > 1 && sc < (long long)(n - 1) * ldc + m)
        on_cpu_bug("a product: results overlap");
    on_cpu_counts.products++;
    return on_cpu_queue(h->stream, "a product of cuBLAS", run, &p, sizeof p)
        ? CUBLAS_STATUS_EXECUTION_FAILED : CUBLAS_STATUS_SUCCESS;
}

cublasStatus_t cublasGemmEx(cublasHandle_t h, cublasOperation_t ta,
                            cublasOperation_t tb, int m, int n, int k,
                            const void *alpha, const void *a, cudaDataType at,
                            int lda, const void *b, cudaDataType bt, int ldb,
                            const void *beta, void *c, cudaDataType ct,
                            int ldc, cublasComputeType_t compute,
                            cublasGemmAlgo_t algo)
{
    return cublasGemmStridedBatchedEx(h, ta, tb, m, n, k, alpha, a, at, lda, 0,
                                      b, bt, ldb, 0, beta, c, ct, ldc, 0, 1,
                                      compute, algo);
}

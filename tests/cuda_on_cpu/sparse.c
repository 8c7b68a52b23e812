/* cuSPARSE' products with matrices by rows. */
#include <cusparse.h>

#include "tests/cuda_on_cpu/standin.h"

#include <stdlib.h>
#include <string.h>

struct cusparseContext {
    cudaStream_t stream;
};

struct cusparseSpMatDescr {
    int64_t rows, cols, nnz;
    const int *start, *col;
    const float *val;
};

struct cusparseDnMatDescr {
    int64_t rows, cols, ld;
    float *x;
};

cusparseStatus_t cusparseCreate(cusparseHandle_t *h)
{
    *h = NULL;
    if (on_cpu_fails("cusparse", NULL) || on_cpu_broken())
        return CUSPARSE_STATUS_NOT_INITIALIZED;
    *h = calloc(1, sizeof **h);
    return *h ? CUSPARSE_STATUS_SUCCESS : CUSPARSE_STATUS_ALLOC_FAILED;
}

cusparseStatus_t cusparseDestroy(cusparseHandle_t h)
{
    on_cpu_run();
    free(h);
    return CUSPARSE_STATUS_SUCCESS;
}

cusparseStatus_t cusparseSetStream(cusparseHandle_t h, cudaStream_t s)
{
    h->stream = s;
    return CUSPARSE_STATUS_SUCCESS;
}

const char *cusparseGetErrorString(cusparseStatus_t status)
{
    switch (status) {
    case CUSPARSE_STATUS_SUCCESS: return "success";
    case CUSPARSE_STATUS_NOT_INITIALIZED: return "initialization error";
    case CUSPARSE_STATUS_ALLOC_FAILED: return "out of memory";
    case CUSPARSE_STATUS_INVALID_VALUE: return "invalid value";
    case CUSPARSE_STATUS_EXECUTION_FAILED: return "kernel launch failure";
    case CUSPARSE_STATUS_NOT_SUPPORTED: return "operation not supported";
    case CUSPARSE_STATUS_INSUFFICIENT_RESOURCES:
        return "insufficient resources";
    }
    return "unknown";
}

/* -- descriptions ---------------------------------------------------------- */

/* Empty ones are refused: what the library does with them it does not say. */
cusparseStatus_t cusparseCreateConstCsr(
    cusparseConstSpMatDescr_t *m, int64_t rows, int64_t cols, int64_t nnz,
    const void *start, const void *col, const void *val,
    cusparseIndexType_t start_type, cusparseIndexType_t col_type,
    cusparseIndexBase_t base, cudaDataType type)
{
    struct cusparseSpMatDescr *d = malloc(sizeof *d);
    if (!d)
        return CUSPARSE_STATUS_ALLOC_FAILED;
    *m = d;
    *d = (struct cusparseSpMatDescr){ rows, cols, nnz, start, col, val };
    if (rows < 1 || cols < 1 || nnz < 1 || start_type != CUSPARSE_INDEX_32I
        || col_type != start_type || base != CUSPARSE_INDEX_BASE_ZERO
        || type != CUDA_R_32F)
        return CUSPARSE_STATUS_INVALID_VALUE;
    return CUSPARSE_STATUS_SUCCESS;
}

cusparseStatus_t cusparseDestroySpMat(cusparseConstSpMatDescr_t m)
{
    free((void *)m);
    return CUSPARSE_STATUS_SUCCESS;
}

cusparseStatus_t cusparseCreateDnMat(cusparseDnMatDescr_t *m, int64_t rows,
                                     int64_t cols, int64_t ld, void *x,
                                     cudaDataType type, cusparseOrder_t order)
{
    struct cusparseDnMatDescr *d = malloc(sizeof *d);
    if (!d)
        return CUSPARSE_STATUS_ALLOC_FAILED;
    *m = d;
    *d = (struct cusparseDnMatDescr){ rows, cols, ld, x };
    return rows < 1 || cols < 1 || ld < cols || type != CUDA_R_32F
        || order != CUSPARSE_ORDER_ROW
        ? CUSPARSE_STATUS_INVALID_VALUE : CUSPARSE_STATUS_SUCCESS;
}

cusparseStatus_t cusparseCreateConstDnMat(cusparseConstDnMatDescr_t *m,
                                          int64_t rows, int64_t cols,
                                          int64_t ld, const void *x,
                                          cudaDataType type,
                                          cusparseOrder_t order)
{
    return cusparseCreateDnMat((cusparseDnMatDescr_t *)m, rows, cols, ld,
                               (void *)x, type, order);
}

cusparseStatus_t cusparseDestroyDnMat(cusparseConstDnMatDescr_t m)
{
    free((void *)m);
    return CUSPARSE_STATUS_SUCCESS;
}

/* Versions of the library take four elements at a time without a look at the
 * address. */
static void need_aligned(const char *who, const void *p)
{
    if ((uintptr_t)p % 16)
        on_cpu_bug("%s: %p is no multiple of 16", who, p);
}

/* -- products -------------------------------------------------------------- */

struct product {
    struct cusparseSpMatDescr a;
    struct cusparseDnMatDescr b, c;
    bool turned, vague;
    float alpha, beta;
    void *buffer;
    size_t buffer_size;
};

static void add(double *sum, const float *x, int64_t n, double by)
{
    for (int64_t i = 0; i < n; i++)
        sum[i] += by * (double)x[i];
}

/* A row's sum in float32, entries from any one on: which, changes with each
 * call where the library does not promise the same bits. */
static void run(const void *args, cudaStream_t s)
{
    static unsigned calls;
    const struct product *p = args;
    int64_t n = p->c.cols, rows = p->c.rows;
    double *sum = calloc((size_t)(rows * n), sizeof *sum);
    (void)s;
    if (!sum)
        on_cpu_bug("no memory for the stand-in itself");
    memset(p->buffer, 0xff, p->buffer_size);
    for (int64_t r = 0; r < p->a.rows; r++)
        for (int e = p->a.start[r]; e < p->a.start[r + 1]; e++) {
            int64_t to = p->turned ? p->a.col[e] : r;
            int64_t from = p->turned ? r : p->a.col[e];
            if (p->a.col[e] < 0 || p->a.col[e] >= p->a.cols)
                on_cpu_bug("a sparse product: column %d", p->a.col[e]);
            add(sum + to * n, p->b.x + from * p->b.ld, n,
                (double)p->a.val[e]);
        }
    calls += p->vague;
    for (int64_t i = 0; i < rows * n; i++) {
        float *at = p->c.x + i / n * p->c.ld + i % n;
        double y = (double)p->alpha * sum[i];
        y *= p->vague ? 1 + 1e-7 * (calls % 3) : 1;
        *at = (float)(p->beta == 0 ? y : y + (double)p->beta * (double)*at);
    }
    free(sum);
}

static size_t buffer_size(const struct cusparseSpMatDescr *a)
{
    return 64 + 8 * (size_t)a->rows;
}

cusparseStatus_t cusparseSpMM_bufferSize(
    cusparseHandle_t h, cusparseOperation_t ta, cusparseOperation_t tb,
    const void *alpha, cusparseConstSpMatDescr_t a,
    cusparseConstDnMatDescr_t b, const void *beta, cusparseDnMatDescr_t c,
    cudaDataType type, cusparseSpMMAlg_t alg, size_t *bytes)
{
    (void)h, (void)ta, (void)tb, (void)alpha, (void)b, (void)beta, (void)c;
    (void)type, (void)alg;
    *bytes = buffer_size(a);
    return CUSPARSE_STATUS_SUCCESS;
}

static void need_dense(const char *what, const struct cusparseDnMatDescr *m)
{
    on_cpu_need("a sparse product", what, m->x, sizeof(float)
                * (size_t)((m->rows - 1) * m->ld + m->cols));
    need_aligned("a sparse product", m->x);
    need_aligned("a sparse product", m->x + m->ld); /* and so every row */
}

static void need_sparse(const char *who, int64_t rows, int64_t nnz,
                        const int *start, const int *col)
{
    on_cpu_need(who, "starts", start, sizeof(int) * (size_t)(rows + 1));
    on_cpu_need(who, "columns", col, sizeof(int) * (size_t)nnz);
    need_aligned(who, start);
    need_aligned(who, col);
}

cusparseStatus_t cusparseSpMM(
    cusparseHandle_t h, cusparseOperation_t ta, cusparseOperation_t tb,
    const void *alpha, cusparseConstSpMatDescr_t a,
    cusparseConstDnMatDescr_t b, const void *beta, cusparseDnMatDescr_t c,
    cudaDataType type, cusparseSpMMAlg_t alg, void *buffer)
{
    bool turned = ta == CUSPARSE_OPERATION_TRANSPOSE;
    struct product p = { *a, *b, *c, turned,
        turned || alg != CUSPARSE_SPMM_CSR_ALG3, *(const float *)alpha,
        *(const float *)beta, buffer, buffer_size(a) };
    int64_t m = turned ? a->cols : a->rows, k = turned ? a->rows : a->cols;
    if (b->rows != k || c->rows != m || b->cols != c->cols
        || type != CUDA_R_32F)
        return CUSPARSE_STATUS_INVALID_VALUE;
    if (tb != CUSPARSE_OPERATION_NON_TRANSPOSE
        || (turned && alg == CUSPARSE_SPMM_CSR_ALG3))
        return CUSPARSE_STATUS_NOT_SUPPORTED;
    need_sparse("a sparse product", a->rows, a->nnz, a->start, a->col);
    on_cpu_need("a sparse product", "values", a->val,
                sizeof(float) * (size_t)a->nnz);
    need_aligned("a sparse product", a->val);
    if (c->cols == 1) /* becomes another function, of other promises */
        on_cpu_bug("a sparse product: of one column");
    need_dense("b", b);
    need_dense("c", c);
    on_cpu_need("a sparse product", "buffer", buffer, p.buffer_size);
    on_cpu_counts.products++;
    return on_cpu_queue(h->stream, "a product of cuSPARSE", run, &p, sizeof p)
        ? CUSPARSE_STATUS_EXECUTION_FAILED : CUSPARSE_STATUS_SUCCESS;
}

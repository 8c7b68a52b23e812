/* Sparse products by cuSPARSE: message passing, gathering, pooling.
 *
 * Of its algorithms for CSR only CSR_ALG3 promises the same bits at each call,
 * and only with the matrix as it is, not transposed: the other product adds to
 * floats in whatever order threads come. The way back therefore multiplies by
 * the transpose, which comes with the matrix (cg_csr): the host makes it with
 * the batch, ahead of the step.
 *
 * Versions since CUDA 12.0, some of 13 too, take four elements at a time
 * without a look at the address (RAFT, Kokkos Kernels, Kaldi and PyTorch met
 * it), and hand single columns to SpMV, which promises something else. Both
 * are left to a kernel of ours. */
#include "backend/cuda/cuda.h"

#include <assert.h>
#include <cusparse.h>

static void keep(cg_dev *d, cusparseStatus_t e)
{
    if (e != CUSPARSE_STATUS_SUCCESS)
        cuda_failed_why(d, e == CUSPARSE_STATUS_ALLOC_FAILED
                        || e == CUSPARSE_STATUS_INSUFFICIENT_RESOURCES
                        ? CG_ELIMIT : CG_EIO,
                        "cuSPARSE:", cusparseGetErrorString(e));
}

static bool is_aligned(const void *p) { return (uintptr_t)p % 16 == 0; }

/* -- y = s x + beta y ------------------------------------------------------ */

/* What cuSPARSE calls the three: small objects of the host. */
struct operands {
    cusparseConstSpMatDescr_t s;
    cusparseConstDnMatDescr_t x;
    cusparseDnMatDescr_t y;
};

static cusparseStatus_t describe(struct operands *o, const cg_csr *s,
                                 const float *val, int cols, const float *x,
                                 int ldx, float *y, int ldy)
{
    cusparseStatus_t e = cusparseCreateConstCsr(
        &o->s, s->n_rows, s->n_cols, s->n_entries, s->start, s->col, val,
        CUSPARSE_INDEX_32I, CUSPARSE_INDEX_32I, CUSPARSE_INDEX_BASE_ZERO,
        CUDA_R_32F);
    if (e == CUSPARSE_STATUS_SUCCESS)
        e = cusparseCreateConstDnMat(&o->x, s->n_cols, cols, ldx, x,
                                     CUDA_R_32F, CUSPARSE_ORDER_ROW);
    if (e == CUSPARSE_STATUS_SUCCESS)
        e = cusparseCreateDnMat(&o->y, s->n_rows, cols, ldy, y, CUDA_R_32F,
                                CUSPARSE_ORDER_ROW);
    return e;
}

static void forget(struct operands *o)
{
    if (o->s)
        cusparseDestroySpMat(o->s);
    if (o->x)
        cusparseDestroyDnMat(o->x);
    if (o->y)
        cusparseDestroyDnMat(o->y);
}

/* Every row of x and y has to begin at such an address. */
static bool suits(const cg_csr *s, int cols, const float *x, int ldx,
                  const float *y, int ldy)
{
    return cols > 1 && is_aligned(s->start) && is_aligned(s->col)
        && is_aligned(s->val) && is_aligned(x) && ldx % 4 == 0
        && is_aligned(y) && ldy % 4 == 0;
}

/* s has entries, x and y columns. */
static void multiply_by_library(cg_dev *d, const cg_csr *s, int cols,
                                const float *x, int ldx, float beta, float *y,
                                int ldy)
{
    static const cusparseOperation_t plain = CUSPARSE_OPERATION_NON_TRANSPOSE;
    static const float one = 1;
    cusparseHandle_t sparse = cuda_of(d)->sparse;
    struct operands o = { NULL, NULL, NULL };
    const float *val = s->val ? s->val : cuda_ones(d, (size_t)s->n_entries);
    void *buffer = NULL;
    size_t bytes = 0;
    if (d->failed)
        return;
    cusparseStatus_t e = describe(&o, s, val, cols, x, ldx, y, ldy);
    if (e == CUSPARSE_STATUS_SUCCESS)
        e = cusparseSpMM_bufferSize(sparse, plain, plain, &one, o.s, o.x,
                                    &beta, o.y, CUDA_R_32F,
                                    CUSPARSE_SPMM_CSR_ALG3, &bytes);
    if (e == CUSPARSE_STATUS_SUCCESS)
        buffer = cuda_buffer(d, CUDA_SPARSE, bytes);
    if (buffer)
        e = cusparseSpMM(sparse, plain, plain, &one, o.s, o.x, &beta, o.y,
                         CUDA_R_32F, CUSPARSE_SPMM_CSR_ALG3, buffer);
    forget(&o);
    keep(d, e);
}

static void multiply(cg_dev *d, const cg_csr *s, int cols, const float *x,
                     int ldx, float beta, float *y, int ldy)
{
    if (suits(s, cols, x, ldx, y, ldy))
        multiply_by_library(d, s, cols, x, ldx, beta, y, ldy);
    else
        cuda_spmm_rows(d, s, cols, x, ldx, beta, y, ldy);
}

static float *dense(cg_dev *d, int rows, int cols)
{
    return cuda_buffer(d, CUDA_DENSE,
                       (size_t)rows * (size_t)cols * sizeof(float));
}

void cuda_spmm(cg_dev *d, const cg_csr *s, int cols, const float *x, int ldx,
               const float *bias, cg_act act, float beta, float *y, int ldy)
{
    bool plain = !bias && act == CG_ACT_NONE;
    if (s->n_rows == 0 || cols == 0)
        return;
    if (s->n_entries == 0) {
        cuda_spmm_finish(d, s->n_rows, cols, NULL, 0, bias, act, beta, y, ldy);
    } else if (plain || beta == 0) {
        multiply(d, s, cols, x, ldx, beta, y, ldy);
        if (!plain)
            cuda_spmm_finish(d, s->n_rows, cols, y, ldy, bias, act, 0, y, ldy);
    } else { /* the old y is added behind the activation */
        float *sum = dense(d, s->n_rows, cols);
        multiply(d, s, cols, x, ldx, 0, sum, cols);
        cuda_spmm_finish(d, s->n_rows, cols, sum, cols, bias, act, beta, y,
                         ldy);
    }
}

/* -- the way back ---------------------------------------------------------- */

void cuda_spmm_bwd(cg_dev *d, const cg_csr *s, int cols, const float *y,
                   int ldy, cg_act act, const float *dy, int lddy,
                   float bb, float *dbias, float bx, float *dx, int lddx)
{
    const float *dz = dy;
    int lddz = lddy;
    if (cols == 0)
        return;
    if (s->n_entries == 0 && dx)
        cuda_spmm_finish(d, s->n_cols, cols, NULL, 0, NULL, CG_ACT_NONE, bx, dx,
                         lddx);
    dx = s->n_entries ? dx : NULL;
    if (act != CG_ACT_NONE && dx) {
        float *made = dense(d, s->n_rows, cols);
        cuda_spmm_start(d, s->n_rows, cols, y, ldy, act, dy, lddy, made, cols,
                        bb, dbias);
        dz = made;
        lddz = cols;
    } else {
        cuda_spmm_start(d, s->n_rows, cols, y, ldy, act, dy, lddy, NULL, 0,
                        bb, dbias);
    }
    if (dx) {
        cg_csr t = { s->n_cols, s->n_rows, s->n_entries, s->back_start,
                     s->back_col, s->back_val, NULL, NULL, NULL };
        assert(s->back_start);
        multiply(d, &t, cols, dz, lddz, bx, dx, lddx);
    }
}

/* Sparse products by cuSPARSE: message passing, gathering, pooling.
 *
 * Of its algorithms for CSR only CSR_ALG3 promises the same bits at each call,
 * and only with the matrix as it is, not transposed. The way back therefore
 * multiplies by a transpose that is made first (csr2csc, whose order of
 * entries is always the same), once for each matrix of a step: a transpose
 * costs about what one product does, and the product that it spares adds to
 * floats in whatever order threads come.
 *
 * Versions since CUDA 12.0, some of 13 too, take four elements at a time
 * without a look at the address (RAFT, Kokkos Kernels, Kaldi and PyTorch met
 * it), and hand single columns to SpMV, which promises something else. Both
 * are left to a kernel of ours. */
#include "backend/cuda/cuda.h"

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

static bool same(const cg_csr *a, const cg_csr *b)
{
    return a->start == b->start && a->col == b->col && a->val == b->val
        && a->n_rows == b->n_rows && a->n_cols == b->n_cols
        && a->n_entries == b->n_entries;
}

/* p, or a copy of it in the step's memory. */
static const void *aligned(cg_dev *d, const void *p, size_t bytes)
{
    if (is_aligned(p))
        return p;
    void *copy = cuda_mem_work(d, bytes);
    if (!d->failed)
        cuda_failed(d, cudaMemcpyAsync(copy, p, bytes,
                                       cudaMemcpyDeviceToDevice,
                                       cuda_of(d)->stream), "copy");
    return copy;
}

/* s^T in the step's memory. Without values neither has any: what is then
 * handed over for them is neither read nor written. */
static cg_csr transpose(cg_dev *d, const cg_csr *s)
{
    size_t entries = (size_t)s->n_entries * sizeof(int32_t), bytes = 0;
    int32_t *start = cuda_mem_work(d, ((size_t)s->n_cols + 1)
                                      * sizeof *start);
    int32_t *col = cuda_mem_work(d, entries);
    float *val = s->val ? cuda_mem_work(d, entries) : NULL;
    const int32_t *s_start = aligned(d, s->start, ((size_t)s->n_rows + 1)
                                                  * sizeof *s_start);
    const int32_t *s_col = aligned(d, s->col, entries);
    const float *from = s->val ? aligned(d, s->val, entries)
        : cuda_ones(d, (size_t)s->n_entries);
    float *to = s->val ? val : (float *)from;
    cg_csr turned = { s->n_cols, s->n_rows, s->n_entries, start, col, val };
    cusparseHandle_t sparse = cuda_of(d)->sparse;
    cusparseAction_t action = s->val ? CUSPARSE_ACTION_NUMERIC
        : CUSPARSE_ACTION_SYMBOLIC;
    if (d->failed)
        return turned;
    cusparseStatus_t e = cusparseCsr2cscEx2_bufferSize(
        sparse, s->n_rows, s->n_cols, s->n_entries, from, s_start, s_col,
        to, start, col, CUDA_R_32F, action, CUSPARSE_INDEX_BASE_ZERO,
        CUSPARSE_CSR2CSC_ALG1, &bytes);
    void *buffer = e == CUSPARSE_STATUS_SUCCESS
        ? cuda_buffer(d, CUDA_SPARSE, bytes) : NULL;
    if (buffer)
        e = cusparseCsr2cscEx2(
            sparse, s->n_rows, s->n_cols, s->n_entries, from, s_start,
            s_col, to, start, col, CUDA_R_32F, action,
            CUSPARSE_INDEX_BASE_ZERO, CUSPARSE_CSR2CSC_ALG1, buffer);
    keep(d, e);
    return turned;
}

/* The transpose of s, made when it is first asked for. */
static cg_csr turned(cg_dev *d, const cg_csr *s)
{
    cuda_dev *c = cuda_of(d);
    for (unsigned i = 0; i < c->n_turned && i < CUDA_TURNED_MAX; i++)
        if (same(s, &c->turned[i].of))
            return c->turned[i].turned;
    cg_csr t = transpose(d, s);
    unsigned at = c->n_turned++ % CUDA_TURNED_MAX;
    c->turned[at].of = *s;
    c->turned[at].turned = t;
    return t;
}

void cuda_spmm_bwd(cg_dev *d, const cg_csr *s, int cols, const float *y,
                   int ldy, cg_act act, const float *dy, int lddy,
                   float *dbias, float beta, float *dx, int lddx)
{
    const float *dz = dy;
    int lddz = lddy;
    if (cols == 0)
        return;
    if (s->n_entries == 0 && dx)
        cuda_spmm_finish(d, s->n_cols, cols, NULL, 0, NULL, CG_ACT_NONE, beta,
                         dx, lddx);
    dx = s->n_entries ? dx : NULL;
    if (act != CG_ACT_NONE && dx) {
        float *made = dense(d, s->n_rows, cols);
        cuda_spmm_start(d, s->n_rows, cols, y, ldy, act, dy, lddy, made, cols,
                        dbias);
        dz = made;
        lddz = cols;
    } else {
        cuda_spmm_start(d, s->n_rows, cols, y, ldy, act, dy, lddy, NULL, 0,
                        dbias);
    }
    if (dx) {
        cg_csr t = turned(d, s);
        multiply(d, &t, cols, dz, lddz, beta, dx, lddx);
    }
}

/* Products by cuBLAS. Its matrices are by columns: c by rows is c^T to it, and
 * c^T = op(b)^T op(a)^T, so that a and b change places and nothing is turned
 * around. */
#include "backend/cuda/cuda.h"

#include <cublas_v2.h>

static cublasComputeType_t compute_type(const cuda_dev *c)
{
    static const cublasComputeType_t types[] = {
        [CG_PRECISION_FLOAT32] = CUBLAS_COMPUTE_32F,
        [CG_PRECISION_TF32] = CUBLAS_COMPUTE_32F_FAST_TF32,
        [CG_PRECISION_BF16] = CUBLAS_COMPUTE_32F_FAST_16BF,
    };
    return types[c->precision];
}

static cublasOperation_t operation(cg_trans t)
{
    return t == CG_TRANSPOSED ? CUBLAS_OP_T : CUBLAS_OP_N;
}

void cuda_gemm_batched(cg_dev *d, int batch, cg_trans ta, cg_trans tb, int m,
                       int n, int k, float alpha, const float *a, int lda,
                       ptrdiff_t sa, const float *b, int ldb, ptrdiff_t sb,
                       float beta, float *c, int ldc, ptrdiff_t sc)
{
    cuda_dev *dev = cuda_of(d);
    if (batch == 0 || m == 0 || n == 0)
        return;
    for (int i = 0; i < batch && k == 0; i++) /* a sum of nothing */
        cuda_spmm_finish(d, m, n, NULL, 0, NULL, CG_ACT_NONE, beta,
                         c + i * sc, ldc);
    if (k == 0)
        return;
    cublasStatus_t e = cublasGemmStridedBatchedEx(
        dev->blas, operation(tb), operation(ta), n, m, k, &alpha,
        b, CUDA_R_32F, ldb, sb, a, CUDA_R_32F, lda, sa, &beta,
        c, CUDA_R_32F, ldc, sc, batch, compute_type(dev), CUBLAS_GEMM_DEFAULT);
    if (e != CUBLAS_STATUS_SUCCESS)
        cuda_failed_why(d, e == CUBLAS_STATUS_ALLOC_FAILED ? CG_ELIMIT
                        : CG_EIO, "cuBLAS:", cublasGetStatusString(e));
}

void cuda_gemm(cg_dev *d, cg_trans ta, cg_trans tb, int m, int n, int k,
               float alpha, const float *a, int lda, const float *b, int ldb,
               float beta, float *c, int ldc)
{
    cuda_dev *dev = cuda_of(d);
    if (m == 0 || n == 0 || k == 0) {
        cuda_gemm_batched(d, 1, ta, tb, m, n, k, alpha, a, lda, 0, b, ldb, 0,
                          beta, c, ldc, 0);
        return;
    }
    cublasStatus_t e = cublasGemmEx(
        dev->blas, operation(tb), operation(ta), n, m, k, &alpha,
        b, CUDA_R_32F, ldb, a, CUDA_R_32F, lda, &beta, c, CUDA_R_32F, ldc,
        compute_type(dev), CUBLAS_GEMM_DEFAULT);
    if (e != CUBLAS_STATUS_SUCCESS)
        cuda_failed_why(d, e == CUBLAS_STATUS_ALLOC_FAILED ? CG_ELIMIT
                        : CG_EIO, "cuBLAS:", cublasGetStatusString(e));
}

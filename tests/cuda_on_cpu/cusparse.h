/* Stands in for NVIDIA's header of this name: see cuda_runtime.h. */
#ifndef CG_TESTS_CUSPARSE_H
#define CG_TESTS_CUSPARSE_H

#include <cuda_runtime.h>

typedef enum {
    CUSPARSE_STATUS_SUCCESS = 0,
    CUSPARSE_STATUS_NOT_INITIALIZED = 1,
    CUSPARSE_STATUS_ALLOC_FAILED = 2,
    CUSPARSE_STATUS_INVALID_VALUE = 3,
    CUSPARSE_STATUS_EXECUTION_FAILED = 6,
    CUSPARSE_STATUS_NOT_SUPPORTED = 10,
    CUSPARSE_STATUS_INSUFFICIENT_RESOURCES = 11,
} cusparseStatus_t;

typedef enum {
    CUSPARSE_OPERATION_NON_TRANSPOSE = 0,
    CUSPARSE_OPERATION_TRANSPOSE = 1,
} cusparseOperation_t;
typedef enum { CUSPARSE_INDEX_32I = 2 } cusparseIndexType_t;
typedef enum { CUSPARSE_INDEX_BASE_ZERO = 0 } cusparseIndexBase_t;
typedef enum { CUSPARSE_ORDER_ROW = 2 } cusparseOrder_t;
typedef enum {
    CUSPARSE_SPMM_ALG_DEFAULT = 0,
    CUSPARSE_SPMM_CSR_ALG1 = 4,
    CUSPARSE_SPMM_CSR_ALG2 = 6,
    CUSPARSE_SPMM_CSR_ALG3 = 12,
} cusparseSpMMAlg_t;

typedef struct cusparseContext *cusparseHandle_t;
typedef struct cusparseSpMatDescr const *cusparseConstSpMatDescr_t;
typedef struct cusparseDnMatDescr *cusparseDnMatDescr_t;
typedef struct cusparseDnMatDescr const *cusparseConstDnMatDescr_t;

cusparseStatus_t cusparseCreate(cusparseHandle_t *h);
cusparseStatus_t cusparseDestroy(cusparseHandle_t h);
cusparseStatus_t cusparseSetStream(cusparseHandle_t h, cudaStream_t s);
const char *cusparseGetErrorString(cusparseStatus_t status);

cusparseStatus_t cusparseCreateConstCsr(
    cusparseConstSpMatDescr_t *m, int64_t rows, int64_t cols, int64_t nnz,
    const void *start, const void *col, const void *val,
    cusparseIndexType_t start_type, cusparseIndexType_t col_type,
    cusparseIndexBase_t base, cudaDataType type);
cusparseStatus_t cusparseDestroySpMat(cusparseConstSpMatDescr_t m);
cusparseStatus_t cusparseCreateDnMat(cusparseDnMatDescr_t *m, int64_t rows,
                                     int64_t cols, int64_t ld, void *x,
                                     cudaDataType type, cusparseOrder_t order);
cusparseStatus_t cusparseCreateConstDnMat(cusparseConstDnMatDescr_t *m,
                                          int64_t rows, int64_t cols,
                                          int64_t ld, const void *x,
                                          cudaDataType type,
                                          cusparseOrder_t order);
cusparseStatus_t cusparseDestroyDnMat(cusparseConstDnMatDescr_t m);

/* c = alpha op(a) op(b) + beta c, c is not read where beta is 0. The same bits
 * at each call only with CSR_ALG3, and with a as it is. */
cusparseStatus_t cusparseSpMM_bufferSize(
    cusparseHandle_t h, cusparseOperation_t ta, cusparseOperation_t tb,
    const void *alpha, cusparseConstSpMatDescr_t a,
    cusparseConstDnMatDescr_t b, const void *beta, cusparseDnMatDescr_t c,
    cudaDataType type, cusparseSpMMAlg_t alg, size_t *bytes);
cusparseStatus_t cusparseSpMM(
    cusparseHandle_t h, cusparseOperation_t ta, cusparseOperation_t tb,
    const void *alpha, cusparseConstSpMatDescr_t a,
    cusparseConstDnMatDescr_t b, const void *beta, cusparseDnMatDescr_t c,
    cudaDataType type, cusparseSpMMAlg_t alg, void *buffer);

#endif

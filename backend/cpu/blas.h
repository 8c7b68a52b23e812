/* OpenBLAS, loaded when the first device is opened. */
#ifndef CG_BACKEND_CPU_BLAS_H
#define CG_BACKEND_CPU_BLAS_H

#include <cblas.h>
#include <stdbool.h>

#include "base/err.h"

typedef struct cg_blas {
    __typeof__(cblas_sgemm) *sgemm;
    __typeof__(openblas_get_corename) *corename;
    bool packs; /* it copies the operands of every product, small ones too */
} cg_blas;

/* One thread per call (the threads are ours). The same library for the whole
 * process; CG_EIO where there is none. */
cg_err cg_blas_open(const cg_blas **out);

#endif

/* Principal components, by the eigenvectors of the covariance matrix.
 *
 * Rows are observations. A component's sign makes its largest entry (in
 * absolute value, the first of equals) positive, so that a fit is a function
 * of its data. */
#ifndef CG_RUNTIME_PCA_H
#define CG_RUNTIME_PCA_H

#include <stdbool.h>
#include <stddef.h>

#include "base/err.h"

typedef struct cg_pca {
    size_t d, k;
    double *mean;      /* (d) */
    double *component; /* (k, d), orthonormal rows, largest variance first */
    double *variance;  /* (k), of the projections; divisor n - 1 */
    double total;      /* variance of all d components together */
} cg_pca; /* everything on the heap; cg_pca_free */

/* Data (n, d) in either precision; sums are double. CG_EFORMAT: n < 2, k > d,
 * or a value that is not finite; CG_EIO: no BLAS to load (also below); p then
 * holds nothing. */
cg_err cg_pca_fit(cg_pca *p, const double *x, size_t n, size_t d, size_t k);
cg_err cg_pca_fit_float(cg_pca *p, const float *x, size_t n, size_t d,
                        size_t k);
void cg_pca_free(cg_pca *p); /* a zeroed one is fine */

/* z (n, k) = (x - mean) component^T; whiten: each column divided by the square
 * root of its variance, or 0 where the variance is below 1e-12 of the largest:
 * such a column is rounding, not data. */
cg_err cg_pca_apply(const cg_pca *p, const double *x, size_t n, bool whiten,
                    double *z);
cg_err cg_pca_apply_float(const cg_pca *p, const float *x, size_t n,
                          bool whiten, double *z);

#endif

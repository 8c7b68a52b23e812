/* Dense linear algebra in double precision for the parts of the learner that
 * are solved, not trained: BLAS and LAPACK behind a few calls.
 *
 * Matrices are row-major without gaps: (r, c) is r * c doubles. All buffers
 * are the caller's. One thread, so that sums keep their order. Sizes below
 * 2^31. */
#ifndef CG_BACKEND_LINALG_H
#define CG_BACKEND_LINALG_H

#include <stdbool.h>
#include <stddef.h>

#include "base/err.h"

/* Loads OpenBLAS, once; enough for cg_dgemm. CG_EIO: not there. */
cg_err cg_products_open(void);
/* Loads LAPACK as well, which takes a millisecond or two; before any other
 * call below. */
cg_err cg_linalg_open(void);

/* C = A B + beta C, with A or B transposed on request: op(A) is (m, k), op(B)
 * (k, n), C (m, n). lda, ldb, ldc: doubles from one stored row to the next. */
typedef struct cg_product {
    size_t m, n, k;
    bool ta, tb;
    const double *a, *b;
    size_t lda, ldb, ldc;
    double beta; /* 0: C is written without being read */
    double *c;
} cg_product;

void cg_dgemm(const cg_product *p);

/* G += A^T A: A (n, d), G (d, d) symmetric, both triangles. */
void cg_gram_add(size_t n, size_t d, const double *a, double *g);

/* The k largest eigenpairs of the symmetric A (n, n), largest first: w (k),
 * v (k, n) with orthonormal rows. Only the lower triangle of A is read; A is
 * destroyed. CG_EFORMAT: A holds NaN or LAPACK finds no end. */
cg_err cg_sym_eigen(size_t n, size_t k, double *a, double *w, double *v);

/* A = L L^T in place: the lower triangle of A (n, n) becomes L, the upper one
 * keeps what it had. CG_EFORMAT: A is not positive definite; A is destroyed. */
cg_err cg_cholesky(size_t n, double *a);
/* X of L L^T X = B, in place of B (n, m). */
void cg_cholesky_solve(size_t n, const double *l, size_t m, double *b);
/* Z of L Z = B, in place of B (n, m): half of the way. */
void cg_cholesky_half(size_t n, const double *l, size_t m, double *b);
/* The logarithm of det(L L^T). */
double cg_cholesky_logdet(size_t n, const double *l);
/* L becomes the inverse of L L^T, both triangles. */
void cg_cholesky_inverse(size_t n, double *l);

/* X of A X = B for a symmetric A (n, n), definite or not, in place of
 * B (n, m); the lower triangle of A is read, A is destroyed. CG_EFORMAT: A is
 * singular. */
cg_err cg_sym_solve(size_t n, double *a, size_t m, double *b);

/* out = x^e for n entries, n a multiple of 8, to some 1e-15 of out where it is
 * not tiny: 0 <= x <= 1 with e > 0, or x >= 1 with e < 0. What is below
 * 2^-1000 is 0, and so is the power of a subnormal x. out may be x. */
void cg_powers(size_t n, const double *x, double e, double *out);

#endif

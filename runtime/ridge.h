/* Ridge regression in closed form, its penalty chosen by leaving one out.
 *
 *     min over w, b of  sum_i (y_i - b - w.x_i)^2 + lambda |w|^2
 *
 * The intercept b bears no penalty. With `standardise` the penalty is on the
 * weights of columns brought to mean 0 and deviation 1 (divisor n; a constant
 * column gets weight 0); weights are given back in the units of x. */
#ifndef CG_RUNTIME_RIDGE_H
#define CG_RUNTIME_RIDGE_H

#include <stdbool.h>
#include <stddef.h>

#include "base/err.h"

typedef struct cg_ridge {
    size_t d;
    double *weight;   /* (d), on the heap; cg_ridge_free */
    double intercept;
    double lambda;    /* the chosen one */
    double press;     /* its mean squared error with one left out */
} cg_ridge;

/* x (n, d), y (n), lambda (n_lambda) not negative; the lambda with the least
 * PRESS, the first of equals. A row is left out exactly,
 * e_i / (1 - H_ii) with H the hat matrix (Allen, Technometrics 16, 1974), at
 * the scale of the full data. A lambda with which some row is fitted whatever
 * its y (H_ii = 1) has infinite PRESS; if all have, the first is taken.
 * lambda = 0 with dependent columns: the smallest w.
 * CG_EFORMAT: n < 2, no lambda or a negative one, a value not finite;
 * CG_EIO: no BLAS to load; r then holds nothing. */
cg_err cg_ridge_fit(cg_ridge *r, const double *x, const double *y, size_t n,
                    size_t d, bool standardise, const double *lambda,
                    size_t n_lambda);
void cg_ridge_free(cg_ridge *r); /* a zeroed one is fine */

/* p (n) = b + w.x of x (n, d). */
void cg_ridge_predict(const cg_ridge *r, const double *x, size_t n, double *p);

#endif

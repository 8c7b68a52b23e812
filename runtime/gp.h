/* Gaussian process regression (Rasmussen & Williams, 2006, algorithm 2.1) for
 * some ten to a thousand points, whose features come in groups:
 *
 *     y = mean + f(x) + noise,
 *     cov(f(a), f(b)) = sum_k signal[k] m(r_k) + signal[groups] m(r)
 *     r_k^2 = |a_k - b_k|^2 / length[k]^2,  r^2 = sum_k r_k^2
 *     m(r) = (1 + sqrt(5) r + 5/3 r^2) exp(-sqrt(5) r)        (Matern, 5/2)
 *
 * with a_k the features of group k, white noise of variance `noise` and the
 * mean that of the given y: what each group says alone, and what they say
 * together. Of a single group there is no signal of all of them. */
#ifndef CG_RUNTIME_GP_H
#define CG_RUNTIME_GP_H

#include <stddef.h>

#include "base/err.h"

/* What is thought of the parameters before any data: normal distributions of
 * the logarithms of each signal and of the noise over y's variance (divisor n),
 * and of each length over the typical distance of its group, the root of the
 * median squared distance of two rows (where that is 0 of the mean one, and 1
 * where all rows are the same). With few rows likelihood alone takes chance
 * for a pattern. */
typedef struct cg_gp_belief {
    double mean, sd; /* sd > 0 */
} cg_gp_belief;
typedef struct cg_gp_prior {
    cg_gp_belief noise, signal, length;
} cg_gp_prior;

typedef struct cg_gp_options {
    /* Columns of each group, in their order: (n_groups) numbers > 0, of which
     * d is the sum. */
    const size_t *columns;
    size_t n_groups;
    /* (cg_gp_parameters) noise, signals (variances, in y^2) and lengths
     * (in x), all > 0. NULL: those with the largest sum of log likelihood and
     * logarithm of the prior's density, looked for by quasi-Newton ascent from
     * the prior's centre. The search knows no chance. It stays within 1e-6 ..
     * 10 (noise) and 1e-6 .. 1e3 (signals) of y's variance and 1e-2 .. 1e3 of
     * a group's typical distance. */
    const double *fixed;
    const cg_gp_prior *prior; /* not read where they are fixed */
} cg_gp_options;

/* 1 + signals + lengths. */
size_t cg_gp_parameters(size_t n_groups);

typedef struct cg_gp {
    size_t n, d, n_groups;
    size_t *columns;   /* (n_groups) */
    double *theta;     /* (cg_gp_parameters) noise, signals, lengths */
    double mean;
    double likelihood; /* log p(y | x): the log marginal likelihood */
    double *x;         /* (n, d) divided by its lengths */
    double *l;         /* (n, n) Cholesky factor of the covariance of y */
    double *alpha;     /* (n) = covariance^-1 (y - mean) */
} cg_gp; /* everything on the heap; cg_gp_free */

/* x (n, d), y (n). Time n^2 (n + 10 groups) for each of some 50 tries.
 * CG_EFORMAT: n < 2, d = 0, a value not finite, a fixed value or a deviation of
 * a prior not > 0, or a covariance that is not positive definite (noise too
 * small); CG_EIO: no BLAS to load (also below); g then holds nothing. */
cg_err cg_gp_fit(cg_gp *g, const double *x, const double *y, size_t n,
                 size_t d, const cg_gp_options *o);
void cg_gp_free(cg_gp *g); /* a zeroed one is fine */

/* mean (m) and, unless NULL, variance (m) of an observation (noise included)
 * at each row of x (m, d). */
cg_err cg_gp_predict(const cg_gp *g, const double *x, size_t m, double *mean,
                     double *variance);

#endif

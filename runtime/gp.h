/* Gaussian process regression (Rasmussen & Williams, 2006, algorithm 2.1) for
 * some ten to a thousand points:
 *
 *     y = mean + f(x) + noise,   cov(f(a), f(b)) =
 *         signal exp(-1/2 sum_j (a_j - b_j)^2 / length[group[j]]^2)
 *
 * with white noise of variance `noise` and the mean that of the given y. */
#ifndef CG_RUNTIME_GP_H
#define CG_RUNTIME_GP_H

#include <stddef.h>

#include "base/err.h"

/* What is thought of the parameters before any data: normal distributions of
 * the logarithms of signal and noise over y's variance (divisor n), and of each
 * length over the typical distance of its group, the root of the median squared
 * distance of two rows (where that is 0 of the mean one, and 1 where all rows
 * are the same). With few rows likelihood alone takes chance for a pattern. */
typedef struct cg_gp_belief {
    double mean, sd; /* sd > 0 */
} cg_gp_belief;
typedef struct cg_gp_prior {
    cg_gp_belief signal, noise, length;
} cg_gp_prior;

typedef struct cg_gp_options {
    /* Which length scale each feature has: (d) numbers below n_groups, each
     * used; NULL: one for every feature, n_groups is then not read. */
    const size_t *group;
    size_t n_groups;
    /* (2 + groups) signal, noise (variances, in y^2) and lengths (in x), all
     * > 0; NULL: those with the largest likelihood, looked for by quasi-Newton
     * ascent from the best points of a grid. The search knows no chance. It
     * stays within 1e-3 .. 1e3 (signal) and 1e-6 .. 10 (noise) of y's variance
     * and 1e-2 .. 1e3 of a group's typical distance. */
    const double *fixed;
    /* The search climbs the sum of log likelihood and the logarithm of these
     * densities instead (but for its constants); NULL: the likelihood. */
    const cg_gp_prior *prior;
} cg_gp_options;

typedef struct cg_gp {
    size_t n, d, n_groups;
    size_t *group;     /* (d) */
    double *length;    /* (n_groups) */
    double signal, noise, mean;
    double likelihood; /* log p(y | x): the log marginal likelihood */
    double *x;         /* (n, d) divided by its lengths */
    double *l;         /* (n, n) Cholesky factor of the covariance of y */
    double *alpha;     /* (n) = covariance^-1 (y - mean) */
} cg_gp; /* everything on the heap; cg_gp_free */

/* x (n, d), y (n). Time n^3 for each of some 100 tries.
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

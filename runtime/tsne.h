/* t-SNE: points of many dimensions put into a plane, so that near ones stay
 * near (van der Maaten & Hinton, JMLR 9, 2008), exactly: O(n^2) a step.
 *
 * The layout starts from the two largest principal components (Kobak & Berens,
 * Nature Communications 10, 2019) and a little noise of the seed; step size
 * and early exaggeration are those of Belkina et al. (the same volume). One
 * thread: a layout is a function of its points and options. */
#ifndef CG_RUNTIME_TSNE_H
#define CG_RUNTIME_TSNE_H

#include <stddef.h>
#include <stdint.h>

#include "base/err.h"

#define CG_TSNE_MAX 2000 /* points */

typedef struct cg_tsne_opts {
    double perplexity; /* 30 is usual; no more than (n - 1) / 3 is taken */
    size_t dims;       /* principal components that are looked at: 30 */
    int steps;         /* 1000 */
    uint64_t seed;
} cg_tsne_opts;

/* y (n, 2), of mean 0, of the rows of x (n, d), n <= CG_TSNE_MAX. Equal points
 * come to lie together. CG_EFORMAT: a value that is not finite; CG_EIO: no
 * BLAS. */
cg_err cg_tsne(const float *x, size_t n, size_t d, const cg_tsne_opts *o,
               double *y);

/* -- its parts ------------------------------------------------------------- */

/* What is taken for a wished perplexity. */
double cg_tsne_perplexity(size_t n, double wished);

/* p (n): the conditional probabilities p_{j|self} of a Gaussian that has this
 * perplexity, from squared distances (n). Where more points than that are the
 * nearest ones, they share it alike. */
void cg_tsne_row(const double *distance, size_t n, size_t self,
                 double perplexity, double *p);

/* p (n, n): (p_{j|i} + p_{i|j}) / 2n of the rows of x (n, d). */
void cg_tsne_joint(const double *x, size_t n, size_t d, double perplexity,
                   double *p);

/* grad (n, 2) of the Kullback-Leibler divergence of q(y) from p, for p times
 * `exaggeration`. */
void cg_tsne_gradient(const double *p, const double *y, size_t n,
                      double exaggeration, double *grad);

#endif

/* Fuzzy c-means: soft clusters of points (Bezdek, 1981; GENNAPE, AAAI-23).
 *
 *     U_ik = 1 / sum_j (d_ik^2 / d_ij^2)^(1 / (m - 1))                   (2)
 *     v_k  = sum_i U_ik^m x_i / sum_i U_ik^m                             (3)
 *
 * with d_ik the Euclidean distance of point i to centroid k. A point at
 * distance 0 of a centroid belongs to it alone; several such centroids share.
 * A centroid that no point belongs to (sum of U^m is 0) stays where it is. */
#ifndef CG_RUNTIME_FCM_H
#define CG_RUNTIME_FCM_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/err.h"

typedef struct cg_fcm_options {
    size_t c;         /* clusters, 1 .. n */
    double m;         /* fuzziness, 1 < m <= 100 */
    double tolerance; /* stop at max |dU| <= this; 1e-9 */
    size_t max_iter;  /* centroid updates at most; 10,000 */
    uint64_t seed;
    const double *start; /* (c, d) first centroids; NULL: points drawn as
                          * k-means++ does, from `seed` */
} cg_fcm_options;

typedef struct cg_fcm {
    size_t c, d;
    double m;
    double *centroid;  /* (c, d), on the heap; cg_fcm_free */
    size_t iterations; /* centroid updates made */
    double change;     /* the last max |dU|; > tolerance: not converged */
} cg_fcm;

/* x (n, d). u (n, c) if not NULL receives the memberships in the final
 * centroids. The same bits for the same data and options.
 * CG_EFORMAT: c or m out of range, or a value that is not finite; CG_EIO: no
 * BLAS to load (also below); f then holds nothing. */
cg_err cg_fcm_fit(cg_fcm *f, const double *x, size_t n, size_t d,
                  const cg_fcm_options *o, double *u);
void cg_fcm_free(cg_fcm *f); /* a zeroed one is fine */

/* u (n, c): memberships of x (n, d), which must be finite, by (2). On the
 * points of the fit these are the bits that cg_fcm_fit gave. */
cg_err cg_fcm_memberships(const cg_fcm *f, const double *x, size_t n,
                          double *u);

/* Mean over rows of the entropy of u (n, c), relative to log c: 0 for crisp
 * clusters (and c = 1), 1 for no clusters at all. NAN for n = 0. */
double cg_fcm_entropy(const double *u, size_t n, size_t c);

/* How many centroids are farther than `apart` from all counted before. */
size_t cg_fcm_distinct(const cg_fcm *f, double apart);

#endif

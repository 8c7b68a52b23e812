/* The spectrum of a graph's bare topology, from its edges alone: for pass
 * spectrum, and for tools that keep one spectrum for many graphs.
 *
 * Eigenvalues of the normalised Laplacian I - D^-1/2 A D^-1/2 of the
 * underlying undirected simple graph, smallest first. */
#ifndef CG_PASSES_SPECTRUM_H
#define CG_PASSES_SPECTRUM_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/err.h"
#include "ir/graph.h"

/* Components up to this size are solved densely: no faster way is safer. */
#define CG_SPECTRUM_DENSE 256

/* The CG_SPECTRUM_LEN smallest eigenvalues of the graph of n nodes; edges may
 * repeat, in either direction, and loops do not count. Isolated nodes give 0;
 * with fewer nodes than values the rest is 2, the upper bound. */
cg_err cg_spectrum(uint32_t n, const uint32_t (*edge)[2], size_t n_edges,
                   double out[CG_SPECTRUM_LEN]);

/* The same; components of up to `dense_max` nodes are solved densely. */
cg_err cg_spectrum_limit(uint32_t n, const uint32_t (*edge)[2],
                         size_t n_edges, uint32_t dense_max,
                         double out[CG_SPECTRUM_LEN]);

/* -- between the files of this pass ---------------------------------------- */

/* One connected component with at least one edge, as neighbour lists. */
typedef struct cg_component {
    uint32_t n;
    uint32_t *start; /* (n + 1) */
    uint32_t *adj;   /* (start[n]), both directions, sorted, no loops */
} cg_component;

/* The k <= c->n smallest eigenvalues, ascending; the first is exactly 0. */
cg_err cg_spectrum_dense(const cg_component *c, int k, double *out);
cg_err cg_spectrum_sparse(const cg_component *c, int k, double *out);

/* All eigenvalues w (n), ascending, of the symmetric a (n, n); a becomes the
 * eigenvectors, one a column, or garbage. */
cg_err cg_eigen(int n, double *a, bool vectors, double *w);

/* A symmetric operator and the pairs wanted of it: those of its largest
 * eigenvalues, orthogonal to the columns locked so far. `value` and `vector`
 * grow by locking; vector has room for `cap` columns. */
typedef struct cg_krylov {
    uint32_t n;
    int cap;
    int locked;
    double *vector; /* (cap columns of n), the first `locked` orthonormal */
    uint64_t seed;
    void *op;
    void (*apply)(void *op, const double *x, double *y);
    /* Norm of the residual of the unit vector x; sets its eigenvalue. */
    double (*residual)(void *op, const double *x, double *value);
    double tolerance; /* of the residual */
} cg_krylov;

/* Finds between 1 and `want` further pairs, at least `need` of them, writes
 * their eigenvalues as `residual` tells them, locks their vectors, and sets
 * *found. */
cg_err cg_krylov_run(cg_krylov *s, int need, int want, double *value,
                     int *found);
/* Column `at` becomes a unit vector orthogonal to those before it. */
void cg_krylov_random(cg_krylov *s, int at);

#endif

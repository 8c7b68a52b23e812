/* Krylov-Schur iteration for the largest eigenvalues of a symmetric operator,
 * with locking.
 *
 * ARPACK does the same, but keeps its state in static variables: it cannot be
 * called from two threads, and its random restarts make a result depend on
 * what was computed before. Here every basis vector is orthogonalised against
 * all others (n is large, the basis small), the projected matrix is taken from
 * the very coefficients of that, and random vectors come from a counter.
 * See G. W. Stewart, A Krylov-Schur algorithm for large eigenproblems, 2001. */
#include <assert.h>
#include <math.h>
#include <string.h>

#include "base/arena.h"
#include "base/map.h"
#include "passes/spectrum.h"

#define MAX_CYCLES 200

static double norm(uint32_t n, const double *x)
{
    double s = 0;
    for (uint32_t i = 0; i < n; i++)
        s += x[i] * x[i];
    return sqrt(s);
}

static void scale(uint32_t n, double *x, double by)
{
    for (uint32_t i = 0; i < n; i++)
        x[i] *= by;
}

/* w -= V (V' w) for columns from..to, coefficients added to h. Four columns a
 * sweep: w is read a quarter as often, and four sums hide the latency. */
static void project4(uint32_t n, const double *v, double *w, double *h)
{
    const double *a = v, *b = a + n, *c = b + n, *d = c + n;
    double s = 0, t = 0, x = 0, y = 0;
    for (uint32_t i = 0; i < n; i++) {
        s += a[i] * w[i];
        t += b[i] * w[i];
        x += c[i] * w[i];
        y += d[i] * w[i];
    }
    for (uint32_t i = 0; i < n; i++)
        w[i] -= s * a[i] + t * b[i] + x * c[i] + y * d[i];
    h[0] += s, h[1] += t, h[2] += x, h[3] += y;
}

static void project1(uint32_t n, const double *v, double *w, double *h)
{
    double s = 0;
    for (uint32_t i = 0; i < n; i++)
        s += v[i] * w[i];
    for (uint32_t i = 0; i < n; i++)
        w[i] -= s * v[i];
    h[0] += s;
}

static void project(const cg_krylov *s, int from, int to, double *w, double *h)
{
    size_t n = s->n;
    int k = from;
    for (; k + 4 <= to; k += 4)
        project4(s->n, s->vector + (size_t)k * n, w, h + k);
    for (; k < to; k++)
        project1(s->n, s->vector + (size_t)k * n, w, h + k);
}

/* Makes column `at` orthogonal to all before it; h (at) takes what was
 * removed. Repeated until nothing to speak of is removed. Returns its norm. */
static double orthogonalise(const cg_krylov *s, int at, double *h)
{
    double *w = s->vector + (size_t)at * s->n;
    double before = norm(s->n, w), after = before;
    for (int round = 0; round < 4; round++) {
        project(s, 0, at, w, h);
        after = norm(s->n, w);
        if (after > 0.7 * before)
            break;
        before = after;
    }
    return after;
}

void cg_krylov_random(cg_krylov *s, int at)
{
    double *w = s->vector + (size_t)at * s->n, size = 0;
    double *h = cg_xcalloc((size_t)at + 1, sizeof *h);
    while (size == 0) {
        for (uint32_t i = 0; i < s->n; i++)
            w[i] = (double)(int64_t)cg_mix64(++s->seed) * 0x1p-63;
        scale(s->n, w, 1 / norm(s->n, w));
        size = orthogonalise(s, at, h);
        /* too little left of it: what is left is rounding, try another */
        size = size < 1e-8 ? 0 : size;
    }
    scale(s->n, w, 1 / size);
    cg_xfree(h);
}

/* Column j + 1 from column j; t is the projected matrix of the active part,
 * (m, m), of which column j - locked is set. Returns the coupling to j + 1. */
static double expand(cg_krylov *s, int j, double *t, int m, double *h)
{
    size_t n = s->n;
    double *v = s->vector + (size_t)j * n, *w = v + n;
    int first = s->locked, col = j - first;
    memset(h, 0, ((size_t)s->cap + 1) * sizeof *h);
    s->apply(s->op, v, w);
    double size = norm(s->n, w);
    /* nearly all of w lies along the last two columns: take that out first,
     * and one full round is mostly enough */
    project(s, j > 0 ? j - 1 : j, j + 1, w, h);
    double beta = orthogonalise(s, j + 1, h);
    for (int i = 0; i <= col; i++)
        t[(size_t)col * m + i] = t[(size_t)i * m + col] = h[first + i];
    if (beta <= 1e-14 * size) { /* an invariant subspace: go on elsewhere */
        cg_krylov_random(s, j + 1);
        return 0;
    }
    scale(s->n, w, 1 / beta);
    return beta;
}

/* The active columns times z (m, p), in place, a block of rows at a time. */
static void rotate(cg_krylov *s, int m, const double *z, int p)
{
    enum { ROWS = 64 };
    size_t n = s->n;
    double *v = s->vector + (size_t)s->locked * n;
    double *in = cg_xcalloc((size_t)m * ROWS, sizeof *in);
    for (size_t row = 0; row < n; row += ROWS) {
        size_t len = n - row < ROWS ? n - row : ROWS;
        for (int k = 0; k < m; k++)
            memcpy(in + (size_t)k * ROWS, v + (size_t)k * n + row,
                   len * sizeof *in);
        for (int c = 0; c < p; c++) {
            double sum[ROWS] = { 0 };
            for (int k = 0; k < m; k++) {
                double f = z[(size_t)c * m + k];
                const double *x = in + (size_t)k * ROWS;
                for (size_t i = 0; i < ROWS; i++)
                    sum[i] += f * x[i];
            }
            memcpy(v + (size_t)c * n + row, sum, len * sizeof *sum);
        }
    }
    cg_xfree(in);
}

/* How many of the first `want` active columns have converged, in order. */
static int converged(const cg_krylov *s, int want, double *value)
{
    int k = 0;
    for (; k < want; k++) {
        const double *x = s->vector + (size_t)(s->locked + k) * s->n;
        if (s->residual(s->op, x, &value[k]) > s->tolerance)
            break;
    }
    return k;
}

/* The p largest eigenpairs of t, largest first, z (m, p). t is destroyed. */
static cg_err ritz(double *t, int m, int p, double *theta, double *z)
{
    double *w = cg_xcalloc((size_t)m, sizeof *w);
    cg_err err = cg_eigen(m, t, true, w);
    for (int k = 0; k < p; k++) {
        theta[k] = w[m - 1 - k];
        memcpy(z + (size_t)k * m, t + (size_t)(m - 1 - k) * m,
               (size_t)m * sizeof *z);
    }
    cg_xfree(w);
    return err;
}

/* One cycle: grow the basis from `have` active columns to m, rotate it to its
 * p best Ritz vectors, and put the next basis vector behind them. */
static cg_err cycle(cg_krylov *s, int have, int m, int p, double *t, double *z)
{
    double *h = cg_xcalloc((size_t)s->cap + 1, sizeof *h);
    double *theta = cg_xcalloc((size_t)p, sizeof *theta);
    for (int j = have; j < m; j++) {
        double beta = expand(s, s->locked + j, t, m, h);
        if (j + 1 < m)
            t[(size_t)j * m + j + 1] = t[(size_t)(j + 1) * m + j] = beta;
    }
    cg_err err = ritz(t, m, p, theta, z);
    if (err == CG_OK) {
        double *v = s->vector + (size_t)s->locked * s->n;
        rotate(s, m, z, p);
        memmove(v + (size_t)p * s->n, v + (size_t)m * s->n,
                s->n * sizeof *v);
        memset(t, 0, (size_t)m * m * sizeof *t);
        for (int k = 0; k < p; k++)
            t[(size_t)k * m + k] = theta[k];
    }
    cg_xfree(theta);
    cg_xfree(h);
    return err;
}

cg_err cg_krylov_run(cg_krylov *s, int need, int want, double *value,
                     int *found)
{
    int m = s->cap - s->locked - 1; /* one column for the next vector */
    int room = (int)s->n - s->locked - 1;
    m = m < room ? m : room;
    assert(m >= want && want >= need);
    int p = want + 8 < m * 2 / 3 ? want + 8 : m * 2 / 3;
    p = p < want ? want : p;
    double *t = cg_xcalloc((size_t)m * m, sizeof *t);
    double *z = cg_xcalloc((size_t)m * p, sizeof *z);
    cg_krylov_random(s, s->locked);
    cg_err err = CG_OK;
    int have = 0;
    *found = 0;
    for (int round = 0; *found < need && err == CG_OK; round++) {
        if (round == MAX_CYCLES)
            err = cg_fail(CG_ELIMIT, "spectrum: the eigenvalues of a component "
                          "of %u nodes did not converge", s->n);
        else
            err = cycle(s, have, m, p, t, z);
        if (err == CG_OK)
            *found = converged(s, want, value);
        have = p;
    }
    s->locked += err == CG_OK ? *found : 0;
    cg_xfree(z);
    cg_xfree(t);
    return err;
}

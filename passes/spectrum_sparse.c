/* The smallest eigenvalues of one large component: shift-invert Lanczos, and
 * a proof that none is missing.
 *
 * The matrix L + s I is factorised once (AMD ordering, LDL'; both of
 * SuiteSparse), and Lanczos on its inverse finds the smallest eigenvalues
 * first. A Lanczos run sees one vector of each eigenspace and may pass over a
 * copy, so the result is checked: by Sylvester's law the number of negative
 * pivots of L - m I is the number of eigenvalues below m. If copies are
 * missing, or a tiny pivot makes the count unsure, Lanczos runs again
 * orthogonally to all that was found, until it finds nothing smaller.
 * CHOLMOD would do for the factorisation, but cannot be linked without BLAS.
 * See Grimes, Lewis, Simon, A shifted block Lanczos algorithm, 1994. */
#include <assert.h>
#include <math.h>
#include <stdbool.h>
#include <string.h>
#include <suitesparse/amd.h>
#include <suitesparse/ldl.h>

#include "base/arena.h"
#include "passes/spectrum.h"

/* Shift: far below what 1e-8 must tell apart, far above rounding. */
#define SHIFT 1e-10
#define RESIDUAL 5e-11 /* an eigenvalue lies within this of each we give */
#define WINDOW 3e-10   /* values closer than this are one cluster */
#define BASIS 80       /* columns of the Krylov basis, locked ones included */
#define AT_ONCE 8      /* pairs taken from a run after the first */
#define FILL_MAX 6e7   /* entries of the factor, 12 bytes each */
#define WORK_MAX 1e9   /* multiply-adds of factorising once */
#define GROWTH_MAX 1e6 /* pivot growth up to which a count is believed */

/* L of a component in elimination order, and its factor. */
typedef struct laplacian {
    int n;
    int *start, *row; /* full matrix by columns, diagonal first in each */
    double *x;
    bool factored;    /* else Lanczos on 2 I - L instead of the inverse */
    int *lp, *li, *parent, *count, *flag, *pattern;
    double *lx, *d, *y;
    double *work;     /* (n) */
} laplacian;

static double degree(const cg_component *c, uint32_t v)
{
    return c->start[v + 1] - c->start[v];
}

/* Order that keeps the factor small. *worth: it is small enough. Graphs where
 * it is not are tangled like random ones, whose eigenvalues lie far from 0,
 * and for these Lanczos on the matrix itself does well. */
static cg_err elimination_order(const cg_component *c, int *order,
                                bool *worth)
{
    double info[AMD_INFO];
    int status = amd_order((int)c->n, (const int *)c->start,
                           (const int *)c->adj, order, NULL, info);
    if (status != AMD_OK && status != AMD_OK_BUT_JUMBLED)
        return cg_fail(CG_ELIMIT, "spectrum: ordering a component of %u nodes "
                       "failed", c->n);
    *worth = info[AMD_LNZ] <= FILL_MAX && info[AMD_NMULTSUBS_LDL] <= WORK_MAX;
    return CG_OK;
}

static void permute(laplacian *l, const cg_component *c, const int *order)
{
    int *at = cg_xcalloc((size_t)l->n, sizeof *at), k = 0;
    for (int j = 0; j < l->n; j++)
        at[order[j]] = j;
    for (int j = 0; j < l->n; j++) {
        uint32_t v = (uint32_t)order[j];
        l->row[k] = j;
        l->x[k++] = 1;
        for (uint32_t e = c->start[v]; e < c->start[v + 1]; e++) {
            l->row[k] = at[c->adj[e]];
            l->x[k++] = -1 / sqrt(degree(c, v) * degree(c, c->adj[e]));
        }
        l->start[j + 1] = k;
    }
    cg_xfree(at);
}

static cg_err laplacian_init(laplacian *l, const cg_component *c, int *order)
{
    bool worth = false;
    CG_TRY(elimination_order(c, order, &worth));
    size_t n = c->n, nnz = n + c->start[n];
    *l = (laplacian){ .n = (int)n, .factored = worth };
    l->start = cg_xcalloc(n + 1, sizeof *l->start);
    l->row = cg_xcalloc(nnz, sizeof *l->row);
    l->x = cg_xcalloc(nnz, sizeof *l->x);
    l->work = cg_xcalloc(n, sizeof *l->work);
    permute(l, c, order);
    if (!l->factored)
        return CG_OK;
    l->lp = cg_xcalloc(n + 1, sizeof *l->lp);
    l->parent = cg_xcalloc(n, sizeof *l->parent);
    l->count = cg_xcalloc(n, sizeof *l->count);
    l->flag = cg_xcalloc(n, sizeof *l->flag);
    l->pattern = cg_xcalloc(n, sizeof *l->pattern);
    l->d = cg_xcalloc(n, sizeof *l->d);
    l->y = cg_xcalloc(n, sizeof *l->y);
    ldl_symbolic(l->n, l->start, l->row, l->lp, l->parent, l->count, l->flag,
                 NULL, NULL);
    l->li = cg_xcalloc((size_t)l->lp[n] + 1, sizeof *l->li);
    l->lx = cg_xcalloc((size_t)l->lp[n] + 1, sizeof *l->lx);
    return CG_OK;
}

static void laplacian_free(laplacian *l)
{
    void *parts[] = { l->start, l->row, l->x, l->lp, l->li, l->parent,
                      l->count, l->flag, l->pattern, l->lx, l->d, l->y,
                      l->work };
    for (size_t i = 0; i < sizeof parts / sizeof *parts; i++)
        cg_xfree(parts[i]);
}

/* Factorises L + shift I; false when a pivot is zero. */
static bool factorise(laplacian *l, double shift)
{
    for (int j = 0; j < l->n; j++)
        l->x[l->start[j]] = 1 + shift;
    int done = ldl_numeric(l->n, l->start, l->row, l->x, l->lp, l->parent,
                           l->count, l->li, l->lx, l->d, l->y, l->pattern,
                           l->flag, NULL, NULL);
    for (int j = 0; j < l->n; j++)
        l->x[l->start[j]] = 1;
    return done == l->n;
}

static void multiply(const laplacian *l, const double *x, double *y)
{
    for (int j = 0; j < l->n; j++) {
        double s = 0;
        for (int k = l->start[j]; k < l->start[j + 1]; k++)
            s += l->x[k] * x[l->row[k]];
        y[j] = s;
    }
}

static void apply(void *op, const double *x, double *y)
{
    laplacian *l = op;
    if (!l->factored) {
        multiply(l, x, y);
        for (int j = 0; j < l->n; j++)
            y[j] = 2 * x[j] - y[j];
        return;
    }
    memcpy(y, x, (size_t)l->n * sizeof *y);
    ldl_lsolve(l->n, y, l->lp, l->li, l->lx);
    ldl_dsolve(l->n, y, l->d);
    ldl_ltsolve(l->n, y, l->lp, l->li, l->lx);
}

/* The residual bounds the distance to an eigenvalue; both are those of L, not
 * of its inverse, where 1e-10 would say little. */
static double residual(void *op, const double *x, double *value)
{
    laplacian *l = op;
    double *y = l->work, rho = 0, size = 0, sum = 0;
    multiply(l, x, y);
    for (int j = 0; j < l->n; j++) {
        rho += x[j] * y[j];
        size += x[j] * x[j];
    }
    rho /= size;
    for (int j = 0; j < l->n; j++)
        sum += (y[j] - rho * x[j]) * (y[j] - rho * x[j]);
    *value = rho < 0 ? 0 : rho;
    return sqrt(sum / size);
}

/* Number of eigenvalues of L below `bound`; -1 when it cannot be told. LDL'
 * does not pivot, but its result is exact for a matrix within rounding times
 * the growth of the pivots. */
static int count_below(laplacian *l, double bound)
{
    if (!l->factored || !factorise(l, -bound))
        return -1;
    int count = 0;
    for (int j = 0; j < l->n; j++) {
        count += l->d[j] < 0;
        for (int k = l->lp[j]; k < l->lp[j + 1]; k++)
            if (l->lx[k] * l->lx[k] * fabs(l->d[j]) > GROWTH_MAX)
                return -1;
    }
    return count;
}

/* Is nothing missing among the k ascending values? The bound is set in a gap
 * below the last cluster: inside one a count means nothing. */
static bool complete(laplacian *l, const double *value, int k)
{
    double bound = value[k - 1] - WINDOW;
    int below = k - 1;
    while (below > 0 && value[below - 1] > bound - WINDOW / 2) {
        below--;
        if (value[below] - WINDOW < bound)
            bound = value[below] - WINDOW;
    }
    return bound <= 0 || count_below(l, bound) == below;
}

/* Puts a value and its vector, column `from`, in their place among the first
 * k, which are ascending; the last of them gives way. */
static void insert(cg_krylov *s, double *value, int k, double found, int from)
{
    size_t n = s->n, bytes = n * sizeof(double);
    double *keep = cg_xcalloc(n, sizeof *keep);
    memcpy(keep, s->vector + (size_t)from * n, bytes);
    int at = k - 1;
    for (; at > 0 && value[at - 1] > found; at--) {
        value[at] = value[at - 1];
        memcpy(s->vector + (size_t)at * n, s->vector + (size_t)(at - 1) * n,
               bytes);
    }
    value[at] = found;
    memcpy(s->vector + (size_t)at * n, keep, bytes);
    cg_xfree(keep);
}

static void sort_pairs(cg_krylov *s, double *value, int k)
{
    for (int i = 1; i < k; i++)
        insert(s, value, i + 1, value[i], i);
}

/* Runs orthogonally to what is locked until no smaller value turns up, twice:
 * each starts from another random vector. Every other run replaces at least
 * one value by a smaller one. */
static cg_err fill_in(cg_krylov *s, double *value, int k)
{
    double more[AT_ONCE];
    int room = (int)s->n - k - 1, empty = 0;
    while (room > 0 && empty < 2) {
        int found = 0, better = 0;
        /* counting has overwritten the factor */
        if (((laplacian *)s->op)->factored)
            factorise(s->op, SHIFT);
        CG_TRY(cg_krylov_run(s, 1, room < 2 * AT_ONCE ? 1 : AT_ONCE, more,
                             &found));
        for (int i = 0; i < found; i++)
            if (more[i] < value[k - 1] - WINDOW) {
                insert(s, value, k, more[i], k + i);
                better++;
            }
        s->locked = k;
        empty = better ? 0 : empty + 1;
        if (better && complete(s->op, value, k))
            break;
    }
    return CG_OK;
}

static cg_err solve(laplacian *l, const cg_component *c, const int *order,
                    int k, double *value)
{
    cg_krylov s = {
        .n = c->n, .cap = BASIS + 1, .op = l, .apply = apply,
        .residual = residual, .tolerance = RESIDUAL,
    };
    s.vector = cg_xcalloc((size_t)s.cap * s.n, sizeof *s.vector);
    double total = c->start[c->n];
    for (uint32_t j = 0; j < c->n; j++) /* the eigenvector of 0 */
        s.vector[j] = sqrt(degree(c, (uint32_t)order[j]) / total);
    value[0] = 0;
    s.locked = 1;
    int found = 0;
    cg_err err = CG_OK;
    if (l->factored)
        factorise(l, SHIFT); /* positive definite: no pivot is zero */
    if (k > 1)
        err = cg_krylov_run(&s, k - 1, k - 1, value + 1, &found);
    if (err == CG_OK) {
        sort_pairs(&s, value, k);
        if (!complete(l, value, k))
            err = fill_in(&s, value, k);
    }
    cg_xfree(s.vector);
    return err;
}

cg_err cg_spectrum_sparse(const cg_component *c, int k, double *out)
{
    assert(k >= 1 && (uint32_t)k < c->n);
    laplacian l = { 0 };
    int *order = cg_xcalloc(c->n, sizeof *order);
    cg_err err = laplacian_init(&l, c, order);
    if (err == CG_OK)
        err = solve(&l, c, order, k, out);
    laplacian_free(&l);
    cg_xfree(order);
    return err;
}

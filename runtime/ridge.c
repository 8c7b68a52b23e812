#include "runtime/ridge.h"

#include <math.h>

#include "backend/linalg.h"
#include "base/arena.h"
#include "runtime/metrics.h"

#define NO_RANK 1e-13 /* eigenvalues below this share of the largest are 0 */
#define FITTED 1e-10  /* 1 - H_ii below this: the row decides for itself */

/* The problem turned to the eigenvectors of X^T X, where every lambda costs
 * no more than one pass over the data. */
typedef struct turned {
    size_t n, d;
    double *x;              /* (n, d) centred and scaled, then times Q^T */
    double *q;              /* (d, d), eigenvectors in rows */
    double *eigen;          /* (d), largest first */
    double *c;              /* (d) = turned x^T (y - mean y) */
    double *y;              /* (n) centred */
    double *mean, *scale;   /* (d), of x */
    double y_mean;
} turned;

static cg_err check(const double *x, const double *y, size_t n, size_t d,
                    const double *lambda, size_t n_lambda)
{
    if (n < 2 || n_lambda == 0)
        return cg_fail(CG_EFORMAT, "ridge regression needs two rows and a "
                       "penalty, not %zu and %zu", n, n_lambda);
    for (size_t i = 0; i < n_lambda; i++)
        if (!(lambda[i] >= 0 && isfinite(lambda[i])))
            return cg_fail(CG_EFORMAT, "ridge regression: the penalty %g is "
                           "not a number >= 0", lambda[i]);
    for (size_t i = 0; i < n; i++) {
        if (!isfinite(y[i]))
            return cg_fail(CG_EFORMAT, "ridge regression: the target of row "
                           "%zu is %g", i, y[i]);
        for (size_t j = 0; j < d; j++)
            if (!isfinite(x[i * d + j]))
                return cg_fail(CG_EFORMAT, "ridge regression: row %zu, column "
                               "%zu is %g", i, j, x[i * d + j]);
    }
    return CG_OK;
}

static void centre(turned *t, const double *x, const double *y,
                   bool standardise)
{
    double *column = cg_xcalloc(t->n, sizeof *column), sd;
    for (size_t j = 0; j < t->d; j++) {
        bool flat = true;
        for (size_t i = 0; i < t->n; i++) {
            column[i] = x[i * t->d + j];
            flat = flat && column[i] == column[0];
        }
        cg_moments(column, t->n, &t->mean[j], &sd);
        t->scale[j] = flat ? 0 : standardise ? 1 / sd : 1;
        for (size_t i = 0; i < t->n; i++)
            t->x[i * t->d + j] = (column[i] - t->mean[j]) * t->scale[j];
    }
    cg_moments(y, t->n, &t->y_mean, &sd);
    for (size_t i = 0; i < t->n; i++)
        t->y[i] = y[i] - t->y_mean;
    cg_xfree(column);
}

static cg_err turn(turned *t)
{
    size_t n = t->n, d = t->d;
    double *gram = cg_xcalloc(d * d, sizeof *gram);
    double *z = cg_xcalloc(n * d, sizeof *z);
    cg_gram_add(n, d, t->x, gram);
    cg_err err = cg_sym_eigen(d, d, gram, t->eigen, t->q);
    cg_dgemm(&(cg_product){.m = n, .n = d, .k = d, .tb = true, .a = t->x,
                           .lda = d, .b = t->q, .ldb = d, .c = z, .ldc = d});
    cg_dgemm(&(cg_product){.m = d, .n = 1, .k = n, .ta = true, .a = z,
                           .lda = d, .b = t->y, .ldb = 1, .c = t->c,
                           .ldc = 1});
    cg_xfree(gram);
    cg_xfree(t->x);
    t->x = z;
    return err;
}

/* 1 / (eigenvalue + lambda) of direction j, or 0 where there is none. */
static double shrunk(const turned *t, size_t j, double lambda)
{
    double by = fmax(t->eigen[j], 0) + lambda;
    return by > NO_RANK * t->eigen[0] ? 1 / by : 0;
}

static double press(const turned *t, double lambda)
{
    double sum = 0;
    for (size_t i = 0; i < t->n; i++) {
        double left = 1 - 1 / (double)t->n, e = t->y[i];
        for (size_t j = 0; j < t->d; j++) {
            double z = t->x[i * t->d + j], by = shrunk(t, j, lambda);
            left -= z * z * by;
            e -= z * by * t->c[j];
        }
        if (left <= FITTED)
            return INFINITY;
        sum += e * e / (left * left);
    }
    return sum / (double)t->n;
}

static void weights(cg_ridge *r, const turned *t)
{
    for (size_t j = 0; j < t->d; j++) {
        double w = t->c[j] * shrunk(t, j, r->lambda);
        for (size_t k = 0; k < t->d; k++)
            r->weight[k] += w * t->q[j * t->d + k];
    }
    r->intercept = t->y_mean;
    for (size_t k = 0; k < t->d; k++) {
        r->weight[k] *= t->scale[k];
        r->intercept -= r->weight[k] * t->mean[k];
    }
}

static cg_err fit(cg_ridge *r, turned *t, const double *lambda,
                  size_t n_lambda)
{
    CG_TRY(turn(t));
    r->press = INFINITY;
    r->lambda = lambda[0];
    for (size_t i = 0; i < n_lambda; i++) {
        double score = press(t, lambda[i]);
        if (score < r->press) {
            r->press = score;
            r->lambda = lambda[i];
        }
    }
    weights(r, t);
    return CG_OK;
}

cg_err cg_ridge_fit(cg_ridge *r, const double *x, const double *y, size_t n,
                    size_t d, bool standardise, const double *lambda,
                    size_t n_lambda)
{
    *r = (cg_ridge){0};
    CG_TRY(check(x, y, n, d, lambda, n_lambda));
    CG_TRY(cg_linalg_open());
    *r = (cg_ridge){.d = d, .weight = cg_xcalloc(d, sizeof(double))};
    /* one block: c, eigen, mean, scale, q, y */
    double *work = cg_xcalloc(4 * d + d * d + n, sizeof *work);
    turned t = {.n = n, .d = d, .x = cg_xcalloc(n * d, sizeof(double)),
                .c = work, .eigen = work + d, .mean = work + 2 * d,
                .scale = work + 3 * d, .q = work + 4 * d,
                .y = work + 4 * d + d * d};
    centre(&t, x, y, standardise);
    cg_err err = fit(r, &t, lambda, n_lambda);
    cg_xfree(t.x);
    cg_xfree(work);
    if (err != CG_OK)
        cg_ridge_free(r);
    return err;
}

void cg_ridge_free(cg_ridge *r)
{
    cg_xfree(r->weight);
    *r = (cg_ridge){0};
}

void cg_ridge_predict(const cg_ridge *r, const double *x, size_t n, double *p)
{
    for (size_t i = 0; i < n; i++) {
        p[i] = r->intercept;
        for (size_t j = 0; j < r->d; j++)
            p[i] += r->weight[j] * x[i * r->d + j];
    }
}

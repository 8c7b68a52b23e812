#include "runtime/pca.h"

#include <math.h>
#include <string.h>

#include "backend/linalg.h"
#include "base/arena.h"

#define BLOCK 512 /* rows centred at a time, in cache */
#define NO_VARIANCE 1e-12

/* Rows in either precision: one pointer is NULL. */
typedef struct rows {
    const double *x;
    const float *f;
    size_t n, d;
} rows;

static double value(const rows *r, size_t i)
{
    return r->x ? r->x[i] : (double)r->f[i];
}

static cg_err mean_of(const rows *r, double *mean)
{
    for (size_t i = 0; i < r->n; i++)
        for (size_t j = 0; j < r->d; j++) {
            double v = value(r, i * r->d + j);
            if (!isfinite(v))
                return cg_fail(CG_EFORMAT, "principal components: row %zu, "
                               "column %zu is %g", i, j, v);
            mean[j] += v;
        }
    for (size_t j = 0; j < r->d; j++)
        mean[j] /= (double)r->n;
    return CG_OK;
}

/* Up to BLOCK rows from `first` on, less the mean; returns how many. */
static size_t centred(const rows *r, const double *mean, size_t first,
                      double *out)
{
    size_t len = r->n - first < BLOCK ? r->n - first : BLOCK;
    for (size_t i = 0; i < len; i++)
        for (size_t j = 0; j < r->d; j++)
            out[i * r->d + j] = value(r, (first + i) * r->d + j) - mean[j];
    return len;
}

static void covariance(const rows *r, const double *mean, double *cov)
{
    double *block = cg_xcalloc(BLOCK * r->d, sizeof *block);
    for (size_t first = 0; first < r->n; first += BLOCK)
        cg_gram_add(centred(r, mean, first, block), r->d, block, cov);
    for (size_t i = 0; i < r->d * r->d; i++)
        cov[i] /= (double)(r->n - 1);
    cg_xfree(block);
}

static void fix_sign(double *v, size_t d)
{
    size_t at = 0;
    for (size_t j = 1; j < d; j++)
        if (fabs(v[j]) > fabs(v[at]))
            at = j;
    for (size_t j = 0; j < d && v[at] < 0; j++)
        if (j != at)
            v[j] = -v[j];
    v[at] = fabs(v[at]);
}

static cg_err components(cg_pca *p, const rows *r)
{
    CG_TRY(mean_of(r, p->mean));
    double *cov = cg_xcalloc(p->d * p->d, sizeof *cov);
    covariance(r, p->mean, cov);
    for (size_t j = 0; j < p->d; j++)
        p->total += cov[j * p->d + j];
    cg_err err = cg_sym_eigen(p->d, p->k, cov, p->variance, p->component);
    for (size_t j = 0; j < p->k && err == CG_OK; j++) {
        p->variance[j] = fmax(p->variance[j], 0);
        fix_sign(p->component + j * p->d, p->d);
    }
    cg_xfree(cov);
    return err;
}

static cg_err fit(cg_pca *p, const rows *r, size_t k)
{
    *p = (cg_pca){0};
    if (r->n < 2 || k > r->d)
        return cg_fail(CG_EFORMAT, "%zu principal components of %zu rows with "
                       "%zu columns: rows must be 2 or more, components no "
                       "more than columns", k, r->n, r->d);
    CG_TRY(cg_linalg_open());
    *p = (cg_pca){.d = r->d, .k = k,
                  .mean = cg_xcalloc(r->d, sizeof(double)),
                  .component = cg_xcalloc(k * r->d, sizeof(double)),
                  .variance = cg_xcalloc(k, sizeof(double))};
    cg_err err = components(p, r);
    if (err != CG_OK)
        cg_pca_free(p);
    return err;
}

cg_err cg_pca_fit(cg_pca *p, const double *x, size_t n, size_t d, size_t k)
{
    return fit(p, &(rows){.x = x, .n = n, .d = d}, k);
}

cg_err cg_pca_fit_float(cg_pca *p, const float *x, size_t n, size_t d,
                        size_t k)
{
    return fit(p, &(rows){.f = x, .n = n, .d = d}, k);
}

void cg_pca_free(cg_pca *p)
{
    cg_xfree(p->mean);
    cg_xfree(p->component);
    cg_xfree(p->variance);
    *p = (cg_pca){0};
}

static void scale_columns(const cg_pca *p, size_t n, double *z)
{
    for (size_t j = 0; j < p->k; j++) {
        bool flat = p->variance[j] <= NO_VARIANCE * p->variance[0];
        double by = flat ? 0 : 1 / sqrt(p->variance[j]);
        for (size_t i = 0; i < n; i++)
            z[i * p->k + j] *= by;
    }
}

static cg_err apply(const cg_pca *p, const rows *r, bool whiten, double *z)
{
    CG_TRY(cg_products_open());
    double *block = cg_xcalloc(BLOCK * r->d, sizeof *block);
    for (size_t first = 0; first < r->n; first += BLOCK) {
        size_t len = centred(r, p->mean, first, block);
        cg_dgemm(&(cg_product){.m = len, .n = p->k, .k = p->d, .tb = true,
                               .a = block, .lda = p->d, .b = p->component,
                               .ldb = p->d, .c = z + first * p->k,
                               .ldc = p->k});
    }
    if (whiten)
        scale_columns(p, r->n, z);
    cg_xfree(block);
    return CG_OK;
}

cg_err cg_pca_apply(const cg_pca *p, const double *x, size_t n, bool whiten,
                    double *z)
{
    return apply(p, &(rows){.x = x, .n = n, .d = p->d}, whiten, z);
}

cg_err cg_pca_apply_float(const cg_pca *p, const float *x, size_t n,
                          bool whiten, double *z)
{
    return apply(p, &(rows){.f = x, .n = n, .d = p->d}, whiten, z);
}

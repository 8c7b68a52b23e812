/* LAPACK knows columns. A row-major symmetric matrix is its own transpose, so
 * its lower triangle is LAPACK's upper one, and no copy is needed; right-hand
 * sides go through cblas, which knows rows. Both are loaded, as in blas.c and
 * after it: how OpenBLAS is loaded decides how fast it is. */
#include "backend/linalg.h"

#include <assert.h>
#include <dlfcn.h>
#include <float.h>
#include <lapacke.h>
#include <limits.h>
#include <math.h>
#include <pthread.h>
#include <stdint.h>
#include <string.h>

#include "backend/cpu/blas.h"
#include "backend/cpu/simd.h"
#include "base/arena.h"

static struct {
    __typeof__(cblas_dgemm) *dgemm;
    __typeof__(cblas_dsyrk) *dsyrk;
    __typeof__(cblas_dtrsm) *dtrsm;
    __typeof__(LAPACKE_dsyevd) *dsyevd;
    __typeof__(LAPACKE_dpotrf) *dpotrf;
    __typeof__(LAPACKE_dpotri) *dpotri;
    __typeof__(LAPACKE_dsysv) *dsysv;
} lib;

static const struct {
    const char *name;
    void *slot;
} blas_names[] = {{"cblas_dgemm", &lib.dgemm},
                  {"cblas_dsyrk", &lib.dsyrk},
                  {"cblas_dtrsm", &lib.dtrsm}},
  lapack_names[] = {{"LAPACKE_dsyevd", &lib.dsyevd},
                    {"LAPACKE_dpotrf", &lib.dpotrf},
                    {"LAPACKE_dpotri", &lib.dpotri},
                    {"LAPACKE_dsysv", &lib.dsysv}};

static struct library {
    pthread_once_t once;
    bool loaded;
} blas = {.once = PTHREAD_ONCE_INIT}, lapack = {.once = PTHREAD_ONCE_INIT};

static void *open_either(const char *name, const char *other)
{
    void *l = dlopen(name, RTLD_NOW | RTLD_LOCAL);
    return l ? l : dlopen(other, RTLD_NOW | RTLD_LOCAL);
}

static bool find(void *from, const char *name, void *slot)
{
    void *f = from ? dlsym(from, name) : NULL;
    memcpy(slot, &f, sizeof f); /* no cast makes an object a function */
    return f != NULL;
}

static void load_blas(void)
{
    void *from = open_either("libopenblas.so.0", "libopenblas.so");
    blas.loaded = true;
    for (size_t i = 0; i < sizeof blas_names / sizeof *blas_names; i++)
        blas.loaded &= find(from, blas_names[i].name, blas_names[i].slot);
}

static void load_lapack(void)
{
    void *from = open_either("liblapacke.so.3", "liblapacke.so");
    lapack.loaded = true;
    for (size_t i = 0; i < sizeof lapack_names / sizeof *lapack_names; i++)
        lapack.loaded &= find(from, lapack_names[i].name,
                              lapack_names[i].slot);
}

cg_err cg_products_open(void)
{
    const cg_blas *first;
    CG_TRY(cg_blas_open(&first));
    pthread_once(&blas.once, load_blas);
    if (!blas.loaded)
        return cg_fail(CG_EIO, "OpenBLAS lacks cblas_dgemm, cblas_dsyrk or "
                       "cblas_dtrsm");
    return CG_OK;
}

cg_err cg_linalg_open(void)
{
    CG_TRY(cg_products_open());
    pthread_once(&lapack.once, load_lapack);
    if (!lapack.loaded)
        return cg_fail(CG_EIO, "cannot load LAPACK (liblapacke.so.3, Debian "
                       "package liblapacke)");
    return CG_OK;
}

static int size(size_t n)
{
    assert(n <= INT_MAX);
    return (int)n;
}

void cg_dgemm(const cg_product *p)
{
    if (p->m == 0 || p->n == 0)
        return;
    lib.dgemm(CblasRowMajor, p->ta ? CblasTrans : CblasNoTrans,
                p->tb ? CblasTrans : CblasNoTrans, size(p->m), size(p->n),
                size(p->k), 1, p->a, size(p->lda), p->b, size(p->ldb),
                p->beta, p->c, size(p->ldc));
}

void cg_gram_add(size_t n, size_t d, const double *a, double *g)
{
    if (n == 0 || d == 0)
        return;
    lib.dsyrk(CblasRowMajor, CblasLower, CblasTrans, size(d), size(n), 1, a,
                size(d), 1, g, size(d));
    for (size_t i = 0; i < d; i++)
        for (size_t j = 0; j < i; j++)
            g[j * d + i] = g[i * d + j];
}

/* All pairs, then the wanted ones: dsyevr can look for a few, but its
 * bisection loses some among equal eigenvalues (see the spectrum), and for a
 * few hundred dimensions it gains nothing. */
cg_err cg_sym_eigen(size_t n, size_t k, double *a, double *w, double *v)
{
    assert(k <= n);
    if (n == 0)
        return CG_OK;
    double *all = cg_xcalloc(n, sizeof *all);
    int info = lib.dsyevd(LAPACK_COL_MAJOR, 'V', 'U', size(n), a, size(n),
                              all);
    for (size_t i = 0; i < k && info == 0; i++) {
        w[i] = all[n - 1 - i];
        memcpy(v + i * n, a + (n - 1 - i) * n, n * sizeof *v);
    }
    cg_xfree(all);
    if (info)
        return cg_fail(CG_EFORMAT, "no eigenvalues of a %zu x %zu matrix: %s",
                       n, n, info < 0 ? "not every entry is a number"
                                      : "the iteration does not converge");
    return CG_OK;
}

cg_err cg_cholesky(size_t n, double *a)
{
    if (n == 0)
        return CG_OK;
    int info = lib.dpotrf(LAPACK_COL_MAJOR, 'U', size(n), a, size(n));
    if (info < 0)
        return cg_fail(CG_EFORMAT, "Cholesky: not every entry of a %zu x %zu "
                       "matrix is a number", n, n);
    if (info > 0)
        return cg_fail(CG_EFORMAT, "Cholesky: a %zu x %zu matrix is not "
                       "positive definite (row %d)", n, n, info);
    return CG_OK;
}

static void triangle(size_t n, const double *l, CBLAS_TRANSPOSE t, size_t m,
                     double *b)
{
    if (n == 0 || m == 0)
        return;
    lib.dtrsm(CblasRowMajor, CblasLeft, CblasLower, t, CblasNonUnit,
                size(n), size(m), 1, l, size(n), b, size(m));
}

void cg_cholesky_half(size_t n, const double *l, size_t m, double *b)
{
    triangle(n, l, CblasNoTrans, m, b);
}

void cg_cholesky_solve(size_t n, const double *l, size_t m, double *b)
{
    triangle(n, l, CblasNoTrans, m, b);
    triangle(n, l, CblasTrans, m, b);
}

double cg_cholesky_logdet(size_t n, const double *l)
{
    double sum = 0;
    for (size_t i = 0; i < n; i++)
        sum += log(l[i * n + i]);
    return 2 * sum;
}

void cg_cholesky_inverse(size_t n, double *l)
{
    if (n == 0)
        return;
    int info = lib.dpotri(LAPACK_COL_MAJOR, 'U', size(n), l, size(n));
    assert(info == 0);
    (void)info;
    for (size_t i = 0; i < n; i++)
        for (size_t j = 0; j < i; j++)
            l[j * n + i] = l[i * n + j];
}

/* B by rows is LAPACK's B transposed, hence the two turns. */
static void transpose(size_t rows, size_t columns, const double *a, double *t)
{
    for (size_t i = 0; i < rows; i++)
        for (size_t j = 0; j < columns; j++)
            t[j * rows + i] = a[i * columns + j];
}

cg_err cg_sym_solve(size_t n, double *a, size_t m, double *b)
{
    if (n == 0 || m == 0)
        return CG_OK;
    double *t = cg_xcalloc(n * m, sizeof *t);
    lapack_int *pivot = cg_xcalloc(n, sizeof *pivot);
    transpose(n, m, b, t);
    int info = lib.dsysv(LAPACK_COL_MAJOR, 'U', size(n), size(m), a,
                             size(n), pivot, t, size(n));
    transpose(m, n, t, b);
    cg_xfree(pivot);
    cg_xfree(t);
    if (info)
        return cg_fail(CG_EFORMAT, "a symmetric %zu x %zu system %s", n, n,
                       info < 0 ? "holds what is no number" : "is singular");
    return CG_OK;
}

/* Four doubles; the compiler takes what vector registers there are. */
typedef double lanes __attribute__((vector_size(32)));
typedef uint64_t bits __attribute__((vector_size(32)));
enum { LANES = 4 };

/* x becomes e log2 x for normal x > 0: the exponent, and
 * 2 atanh((f - 1) / (f + 1)) of a fraction f in [1/sqrt 2, sqrt 2). */
CG_SIMD static void scaled_log2(size_t n, double *x, double e)
{
    const uint64_t half = 0x3fe6a09e667f3bcd; /* 1/sqrt 2 */
    for (size_t i = 0; i < n; i += LANES) {
        bits b;
        memcpy(&b, x + i, sizeof b);
        b += 0x3ff0000000000000 - half;
        lanes exponent = (lanes)(b >> 52 | 0x4330000000000000);
        lanes f = (lanes)((b & 0x000fffffffffffff) + half);
        lanes s = (f - 1) / (f + 1), z = s * s;
        lanes p = 1. / 19 + z * (1. / 21);
        p = 1. / 15 + z * (1. / 17 + z * p);
        p = 1. / 11 + z * (1. / 13 + z * p);
        p = 1. / 7 + z * (1. / 9 + z * p);
        p = 1. / 3 + z * (1. / 5 + z * p);
        p = (s + s * z * p) * 2.8853900817779268; /* 2 / ln 2 */
        p = e * (exponent - 0x1p52 - 1023 + p);
        memcpy(x + i, &p, sizeof p);
    }
}

/* y becomes 2^y for y <= 0, and 0 below -1000: Taylor's series of what lies
 * between y and the nearest integer. */
CG_SIMD static void exp2_down(size_t n, double *y)
{
    for (size_t i = 0; i < n; i += LANES) {
        lanes v;
        memcpy(&v, y + i, sizeof v);
        lanes shifted = v + 0x1.8p52; /* the integer in its low bits */
        lanes t = (v - (shifted - 0x1.8p52)) * 0.69314718055994531;
        lanes p = 1. / 479001600 + t * (1. / 6227020800);
        p = 1. / 3628800 + t * (1. / 39916800 + t * p);
        p = 1. / 40320 + t * (1. / 362880 + t * p);
        p = 1. / 720 + t * (1. / 5040 + t * p);
        p = 1. / 24 + t * (1. / 120 + t * p);
        p = 1. / 2 + t * (1. / 6 + t * p);
        p = 1 + t * (1 + t * p);
        bits b = (bits)p + ((bits)shifted << 52);
        b &= (bits)(v > -1000);
        memcpy(y + i, &b, sizeof b);
    }
}

void cg_powers(size_t n, const double *x, double e, double *out)
{
    enum { BLOCK = 256 };
    double t[BLOCK];
    assert(n % 8 == 0);
    for (size_t i = 0; i < n; i += BLOCK) {
        size_t len = n - i < BLOCK ? n - i : BLOCK;
        memcpy(t, x + i, len * sizeof *t);
        scaled_log2(len, t, e);
        exp2_down(len, t);
        for (size_t j = 0; j < len; j++)
            out[i + j] = x[i + j] < DBL_MIN ? 0 : t[j];
    }
}

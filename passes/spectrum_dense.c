/* Dense symmetric eigenvalues by LAPACK.
 *
 * dsyevd finds all of them, by QL or divide and conquer. dsyevr can be asked
 * for the smallest alone, but its bisection loses some where a matrix falls
 * into blocks with equal eigenvalues, as those of regular graphs do, and for
 * the sizes solved here it is no faster.
 *
 * LAPACK is opened at first use instead of being linked: on Debian it brings
 * OpenBLAS, whose loading (35 MB to map and relocate, a pool of threads) takes
 * 3 ms, more than all else onnx2cg does for a usual network; most runs never
 * ask for a spectrum. One thread is used: the matrices are too small to share,
 * and the order of summation then never changes. */
#include <dlfcn.h>
#include <lapacke.h>
#include <math.h>
#include <pthread.h>
#include <string.h>

#include "base/arena.h"
#include "passes/spectrum.h"

static struct {
    pthread_once_t once;
    __typeof__(LAPACKE_dsyevd) *dsyevd;
} lapack = { .once = PTHREAD_ONCE_INIT };

static void open_lapack(void)
{
    void *lib = dlopen("liblapacke.so.3", RTLD_NOW | RTLD_LOCAL);
    if (!lib)
        lib = dlopen("liblapacke.so", RTLD_NOW | RTLD_LOCAL);
    if (!lib)
        return;
    /* POSIX's way to turn dlsym's result into a function pointer */
    *(void **)&lapack.dsyevd = dlsym(lib, "LAPACKE_dsyevd");
    void (*threads)(int);
    *(void **)&threads = dlsym(lib, "openblas_set_num_threads");
    if (threads)
        threads(1);
}

cg_err cg_eigen(int n, double *a, bool vectors, double *w)
{
    pthread_once(&lapack.once, open_lapack);
    if (!lapack.dsyevd)
        return cg_fail(CG_EIO, "spectrum: cannot load LAPACK "
                       "(liblapacke.so.3, Debian package liblapacke)");
    int info = lapack.dsyevd(LAPACK_COL_MAJOR, vectors ? 'V' : 'N', 'L', n, a,
                             n, w);
    if (info)
        return cg_fail(CG_EIO, "spectrum: LAPACK's dsyevd failed (info %d)",
                       info);
    return CG_OK;
}

cg_err cg_spectrum_dense(const cg_component *c, int k, double *out)
{
    size_t n = c->n;
    double *a = cg_xcalloc(n * n, sizeof *a);
    for (size_t v = 0; v < n; v++) {
        double degree = c->start[v + 1] - c->start[v];
        a[v * n + v] = 1;
        for (uint32_t e = c->start[v]; e < c->start[v + 1]; e++) {
            uint32_t u = c->adj[e];
            double other = c->start[u + 1] - c->start[u];
            a[v * n + u] = -1 / sqrt(degree * other);
        }
    }
    double *w = cg_xcalloc(n, sizeof *w);
    cg_err err = cg_eigen((int)n, a, false, w);
    if (err == CG_OK) {
        memcpy(out, w, (size_t)k * sizeof *w);
        out[0] = 0; /* connected: exactly one zero */
    }
    cg_xfree(w);
    cg_xfree(a);
    return err;
}

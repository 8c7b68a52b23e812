/* OpenBLAS is loaded, not linked, as LAPACK is: programs that only read
 * networks do without it, and while it is loaded it can be told to start no
 * threads. OPENBLAS_CORETYPE in the environment chooses its kernels. */
#include "backend/cpu/blas.h"

#include <dlfcn.h>
#include <pthread.h>
#include <stdlib.h>
#include <strings.h>

static struct {
    pthread_once_t once;
    cg_blas blas;
} openblas = { .once = PTHREAD_ONCE_INIT };

/* Cores for which OpenBLAS has products that copy nothing. */
static bool packs(const char *core)
{
    static const char *const not[] = {"SkylakeX", "Cooperlake",
                                      "SapphireRapids"};
    for (size_t i = 0; i < sizeof not / sizeof *not; i++)
        if (strcasecmp(core, not[i]) == 0)
            return false;
    return true;
}

static void load(void)
{
    static const char threads[] = "OPENBLAS_NUM_THREADS";
    bool ours = !getenv(threads) && !setenv(threads, "1", 0);
    void *lib = dlopen("libopenblas.so.0", RTLD_NOW | RTLD_LOCAL);
    if (!lib)
        lib = dlopen("libopenblas.so", RTLD_NOW | RTLD_LOCAL);
    if (ours)
        unsetenv(threads);
    if (!lib)
        return;
    /* POSIX's way to turn dlsym's result into a function pointer */
    *(void **)&openblas.blas.sgemm = dlsym(lib, "cblas_sgemm");
    *(void **)&openblas.blas.corename = dlsym(lib, "openblas_get_corename");
    void (*set_threads)(int);
    *(void **)&set_threads = dlsym(lib, "openblas_set_num_threads");
    if (set_threads)
        set_threads(1);
    if (openblas.blas.corename)
        openblas.blas.packs = packs(openblas.blas.corename());
}

cg_err cg_blas_open(const cg_blas **out)
{
    pthread_once(&openblas.once, load);
    *out = &openblas.blas;
    if (!openblas.blas.sgemm || !openblas.blas.corename)
        return cg_fail(CG_EIO, "cpu: cannot load OpenBLAS (libopenblas.so.0, "
                       "Debian package libopenblas0)");
    return CG_OK;
}

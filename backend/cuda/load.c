/* Opens the library of the CUDA backend, next to the program or where it was
 * installed. Programs that use no CUDA device neither load it nor need it. */
#include "backend/cuda/host.h"

#include <dlfcn.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#define LIBRARY "libgennape_cuda.so"
#define INSTALLED CG_CUDA_PREFIX "/" CG_CUDA_LIBDIR
#define MOVED "/../" CG_CUDA_LIBDIR

enum { PATH_SIZE = 4096 };

/* Of the running program, without its name; "." where the system does not
 * tell. */
static void program_dir(char *dir, size_t size)
{
    ssize_t n = readlink("/proc/self/exe", dir, size - 1);
    char *slash;
    dir[n > 0 ? n : 0] = '\0';
    slash = strrchr(dir, '/');
    if (slash)
        *slash = '\0';
    else
        snprintf(dir, size, ".");
}

/* Where the library is: in the build tree, where the program was moved to
 * together with it, where it was installed. False: nowhere. */
static bool find_library(char *path, size_t size)
{
    static const char *const beside[] = { "", "/..", MOVED };
    char dir[PATH_SIZE - 256];
    program_dir(dir, sizeof dir);
    for (size_t i = 0; i < sizeof beside / sizeof *beside; i++) {
        snprintf(path, size, "%s%s/" LIBRARY, dir, beside[i]);
        if (access(path, F_OK) == 0)
            return true;
    }
    snprintf(path, size, INSTALLED "/" LIBRARY);
    return access(path, F_OK) == 0;
}

cg_err cg_cuda_open(cg_dev **d, int threads)
{
    cuda_host host = { CG_CUDA_VERSION, threads, cg_fail };
    cg_err (*enter)(cg_dev **d, const cuda_host *host);
    char path[PATH_SIZE];
    *d = NULL;
    /* Told by a file: the library would say so only after it is loaded. */
    if (!dlopen("libcuda.so.1", RTLD_LAZY | RTLD_LOCAL))
        return cg_fail(CG_EUNSUPPORTED, "cuda: this machine has no NVIDIA "
                       "driver (libcuda.so.1)");
    if (!find_library(path, sizeof path))
        return cg_fail(CG_EIO, "cuda: " LIBRARY " is neither beside the "
                       "program nor in " INSTALLED);
    void *lib = dlopen(path, RTLD_NOW | RTLD_LOCAL);
    if (!lib)
        return cg_fail(CG_EIO, "cuda: %s", dlerror());
    *(void **)&enter = dlsym(lib, "cuda_open");
    if (!enter)
        return cg_fail(CG_EIO, "cuda: %s is no library of gennape", path);
    return enter(d, &host);
}

/* Between a program and the library of the CUDA backend, which it opens only
 * for a CUDA device: cuBLAS and cuSPARSE take a tenth of a second to load. */
#ifndef CG_BACKEND_CUDA_HOST_H
#define CG_BACKEND_CUDA_HOST_H

#include "backend/backend.h"

typedef struct cuda_host {
    const char *kernels; /* cuda_host_kernels() of the program */
    int threads;         /* as cg_dev_open has them */
    cg_err (*fail)(cg_err code, const char *fmt, ...); /* cg_fail: its
                            sentence is the program's, not the library's */
} cuda_host;

/* All kernels and what they are called with: the same text in the program and
 * in the library, or they do not fit together. */
static inline const char *cuda_host_kernels(void)
{
    return
#define CG_KERNEL(name, params, args) #name #params ";"
#include "backend/kernels.def"
#undef CG_KERNEL
        "";
}

/* Opens the first CUDA device that is visible. CG_EUNSUPPORTED: there is none,
 * or it is not one that this build can use. */
cg_err cuda_open(cg_dev **d, const cuda_host *host)
    __attribute__((visibility("default")));

#endif

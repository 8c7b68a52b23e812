/* Between a program and the library of the CUDA backend, which it opens only
 * for a CUDA device: cuBLAS and cuSPARSE take a tenth of a second to load. */
#ifndef CG_BACKEND_CUDA_HOST_H
#define CG_BACKEND_CUDA_HOST_H

#include "backend/backend.h"

typedef struct cuda_host {
    const char *version; /* CG_CUDA_VERSION of the program; stays the first,
                            so that other versions find it */
    int threads;         /* as cg_dev_open has them */
    cg_err (*fail)(cg_err code, const char *fmt, ...); /* cg_fail: its
                            sentence is the program's, not the library's */
} cuda_host;

/* Opens the first CUDA device that is visible. CG_EUNSUPPORTED: there is none,
 * or it is not one that this build can use; or CG_CUDA_VERSION, which meson
 * makes of the headers that both sides read, is another one here: tables and
 * structures may differ. */
cg_err cuda_open(cg_dev **d, const cuda_host *host)
    __attribute__((visibility("default")));

#endif

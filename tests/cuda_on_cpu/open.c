/* In place of backend/cuda/load.c: the backend is in the program. */
#include "backend/cuda/host.h"

cg_err cg_cuda_open(cg_dev **d, int threads)
{
    cuda_host host = { CG_CUDA_VERSION, threads, cg_fail };
    return cuda_open(d, &host);
}

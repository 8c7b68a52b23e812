/* In place of the CUDA backend where it is not built in. */
#include "backend/backend.h"

cg_err cg_cuda_open(cg_dev **d, int threads)
{
    (void)threads;
    *d = NULL;
    return cg_fail(CG_EUNSUPPORTED, "cuda: this program was built without "
                   "CUDA");
}

/* Kernels that are called again and again, as a CUDA graph: started at one go,
 * where each would be a call of the driver.
 *
 * The first time they are called as ever, which takes the memory and loads the
 * kernels that they need; the second time they are captured. A graph holds the
 * addresses of its operands: when blocks of the step's memory or buffers have
 * moved it is of no use, and all begins anew. */
#include "backend/cuda/cuda.h"

#include <stdlib.h>

struct cg_recording {
    cudaGraphExec_t graph; /* NULL: none yet */
    /* The device as it was: how often memory had moved, and what of the last
     * block was taken. */
    unsigned long moved;
    size_t used;
};

static size_t used(const cuda_dev *c)
{
    return c->n_work ? c->work[c->n_work - 1].used : 0;
}

static void rewind_work(cuda_dev *c, const cg_recording *r)
{
    if (c->n_work && c->moved == r->moved)
        c->work[c->n_work - 1].used = r->used;
}

static void drop_graph(cg_recording *r)
{
    if (r->graph)
        cudaGraphExecDestroy(r->graph);
    r->graph = NULL;
}

void cuda_forget(cg_dev *d, cg_recording *r)
{
    (void)d;
    drop_graph(r);
    free(r);
}

/* What fn calls, captured, while the uploads that it makes are left out. False:
 * it cannot be, for a reason that is none when kernels run one by one, or shows
 * itself there. */
static bool record(cuda_dev *c, cg_recording *r, void (*fn)(void *user),
                   void *user)
{
    cudaGraph_t graph = NULL;
    cudaError_t e = cudaStreamBeginCapture(c->stream,
                                           cudaStreamCaptureModeThreadLocal);
    if (e == cudaSuccess) {
        c->records = true;
        fn(user);
        c->records = false;
        e = cudaStreamEndCapture(c->stream, &graph);
    }
    if (e == cudaSuccess && !c->base.failed)
        e = cudaGraphInstantiate(&r->graph, graph, 0);
    if (graph)
        cudaGraphDestroy(graph);
    if (e != cudaSuccess || c->base.failed) {
        cudaGetLastError(); /* or the next launch would find it */
        drop_graph(r);
        c->base.failed = false;
    }
    return r->graph;
}

/* The copies that fn asks for, without its kernels: whether they were made, and
 * the memory of the step is what the graph was made for. */
static bool upload_alone(cuda_dev *c, const cg_recording *r,
                         void (*fn)(void *user), void *user)
{
    c->base.skips = true;
    fn(user);
    c->base.skips = false;
    rewind_work(c, r);
    return c->moved == r->moved && !c->base.failed;
}

void cuda_repeat(cg_dev *d, cg_recording **at, void (*fn)(void *user),
                 void *user)
{
    cuda_dev *c = cuda_of(d);
    cg_recording *r = *at ? *at : calloc(1, sizeof *r);
    *at = r;
    if (!r || d->failed || c->cannot_record) {
        fn(user);
    } else if (r->moved != c->moved || r->used != used(c)) {
        drop_graph(r);
        r->used = used(c);
        fn(user);
        r->moved = c->moved;
    } else if (!upload_alone(c, r, fn, user)) {
        fn(user);
    } else if (r->graph || record(c, r, fn, user)) {
        cuda_failed(d, cudaGraphLaunch(r->graph, c->stream), "a graph");
    } else {
        c->cannot_record = true;
        rewind_work(c, r);
        fn(user);
    }
}

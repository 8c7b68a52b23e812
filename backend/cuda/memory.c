/* Memory of the CUDA device, and copies to and from it. Asking CUDA for memory
 * may wait for all that runs: once a step has shown what it needs, a step like
 * it asks for nothing. */
#include "backend/cuda/cuda.h"

#include <stdio.h>
#include <string.h>

enum { ALIGN = 256, FIRST_BLOCK = 32 << 20, LINE = 64 };
/* Nobody has that much; sums of two do not wrap. */
static const size_t MAX_BLOCK = (size_t)1 << 40;

static void fail_memory(cg_dev *d, size_t bytes)
{
    char what[64];
    snprintf(what, sizeof what, "a block of %zu bytes", bytes);
    cuda_failed_why(d, CG_ELIMIT, "no memory for", what);
}

/* NULL: refused, or something worse, which is kept. */
static void *device_malloc(cg_dev *d, size_t bytes)
{
    void *p = NULL;
    if (bytes > MAX_BLOCK)
        return NULL;
    cudaError_t e = cudaMalloc(&p, bytes ? bytes : 1);
    if (e == cudaSuccess)
        return p;
    cudaGetLastError(); /* or the next launch would find it */
    if (e != cudaErrorMemoryAllocation)
        cuda_failed(d, e, "memory");
    return NULL;
}

static void device_free(cg_dev *d, void *p)
{
    if (p)
        cuda_failed(d, cudaFree(p), "memory"); /* after what uses it */
}

void *cuda_mem_alloc(cg_dev *d, size_t bytes)
{
    void *p = device_malloc(d, bytes);
    if (p && bytes)
        cuda_failed(d, cudaMemsetAsync(p, 0, bytes, cuda_of(d)->stream),
                    "memory");
    return p;
}

void cuda_mem_free(cg_dev *d, void *p) { device_free(d, p); }

/* -- memory of a step ------------------------------------------------------ */

static size_t work_size(const cuda_dev *c)
{
    size_t size = 0;
    for (int i = 0; i < c->n_work; i++)
        size += c->work[i].size;
    return size;
}

static void free_work(cuda_dev *c)
{
    c->moved++;
    while (c->n_work > 0)
        device_free(&c->base, c->work[--c->n_work].p);
}

static bool push_block(cuda_dev *c, size_t size)
{
    char *p = c->n_work < CUDA_WORK_MAX ? device_malloc(&c->base, size) : NULL;
    if (p) {
        c->moved++;
        c->work[c->n_work].p = p;
        c->work[c->n_work].size = size;
        c->work[c->n_work++].used = 0;
    }
    return p;
}

/* Whether the last block has `room`, or another that does. */
static bool make_room(cuda_dev *c, size_t room)
{
    size_t size = work_size(c) / 4;
    if (c->n_work && c->work[c->n_work - 1].size
                         - c->work[c->n_work - 1].used >= room)
        return true;
    size = size < FIRST_BLOCK ? FIRST_BLOCK : size / ALIGN * ALIGN;
    return (size > room && push_block(c, size)) || push_block(c, room);
}

void *cuda_mem_work(cg_dev *d, size_t bytes)
{
    static char none[LINE] __attribute__((aligned(LINE)));
    cuda_dev *c = cuda_of(d);
    size_t room = bytes > MAX_BLOCK ? MAX_BLOCK
        : (bytes + ALIGN - 1) / ALIGN * ALIGN;
    if (d->failed)
        return none;
    if (!make_room(c, room)) {
        fail_memory(d, bytes);
        return none;
    }
    void *p = c->work[c->n_work - 1].p + c->work[c->n_work - 1].used;
    c->work[c->n_work - 1].used += room;
    return p;
}

void cuda_mem_reset(cg_dev *d)
{
    cuda_dev *c = cuda_of(d);
    if (d->failed && c->told) {
        d->failed = c->told = false;
        cudaGetLastError(); /* or the next launch would find it */
    }
    if (c->n_work > 1) {
        size_t size = work_size(c);
        free_work(c);
        push_block(c, size); /* when refused, blocks are added again */
    }
    if (c->n_work)
        c->work[0].used = 0;
}

/* -- buffers --------------------------------------------------------------- */

void *cuda_buffer(cg_dev *d, cuda_buffer_id which, size_t bytes)
{
    cuda_dev *c = cuda_of(d);
    void *p = c->buffer[which].p;
    if (d->failed)
        return NULL;
    if (p && bytes <= c->buffer[which].size)
        return p;
    c->moved++;
    device_free(d, p);
    size_t size = p ? bytes + bytes / 4 : bytes;
    p = device_malloc(d, size);
    if (!p)
        fail_memory(d, bytes);
    c->buffer[which].p = p;
    c->buffer[which].size = p ? size : 0;
    return p;
}

void *cuda_scratch(cg_dev *d, size_t bytes)
{
    return cuda_buffer(d, CUDA_SCRATCH, bytes);
}

const float *cuda_ones(cg_dev *d, size_t n)
{
    cuda_dev *c = cuda_of(d);
    float *one = cuda_buffer(d, CUDA_ONES, n * sizeof *one);
    size_t room = c->buffer[CUDA_ONES].size / sizeof *one;
    if (one && c->n_ones != room)
        cuda_fill(d, room, 1, one);
    c->n_ones = one && !d->failed ? room : 0;
    return one;
}

unsigned *cuda_zeros(cg_dev *d, size_t n)
{
    cuda_dev *c = cuda_of(d);
    unsigned *zero = cuda_buffer(d, CUDA_ZEROS, n * sizeof *zero);
    size_t room = c->buffer[CUDA_ZEROS].size;
    if (zero && c->n_zeros != room)
        cuda_failed(d, cudaMemsetAsync(zero, 0, room, c->stream), "memory");
    c->n_zeros = zero && !d->failed ? room : 0;
    return zero;
}

/* -- copies ---------------------------------------------------------------- */

/* The next part of the stage, once what was copied from it has arrived. A host
 * that is far ahead of the device waits here. */
static void next_part(cuda_dev *c)
{
    cg_dev *d = &c->base;
    cuda_failed(d, cudaEventRecord(c->left[c->stage_part], c->stream),
                "upload");
    c->stage_part = (c->stage_part + 1) % CUDA_STAGE_PARTS;
    c->stage_used = 0;
    cuda_failed(d, cudaEventSynchronize(c->left[c->stage_part]), "upload");
}

/* Through pinned memory: from any other CUDA copies only after the stream is
 * done. */
void cuda_mem_upload(cg_dev *d, void *dst, const void *src, size_t bytes)
{
    cuda_dev *c = cuda_of(d);
    for (size_t done = 0, n; done < bytes && !d->failed && !c->records;
         done += n) {
        if (c->stage_used == CUDA_STAGE_PART)
            next_part(c);
        char *at = c->stage + (size_t)c->stage_part * CUDA_STAGE_PART
            + c->stage_used;
        n = CUDA_STAGE_PART - c->stage_used;
        n = n < bytes - done ? n : bytes - done;
        memcpy(at, (const char *)src + done, n);
        cuda_failed(d, cudaMemcpyAsync((char *)dst + done, at, n,
                                       cudaMemcpyHostToDevice, c->stream),
                    "upload");
        c->stage_used += (n + LINE - 1) / LINE * LINE;
    }
}

void cuda_mem_download(cg_dev *d, void *dst, const void *src, size_t bytes)
{
    cudaStream_t stream = cuda_of(d)->stream;
    cuda_failed(d, cudaMemcpyAsync(dst, src, bytes, cudaMemcpyDeviceToHost,
                                   stream), "download");
    cuda_failed(d, cudaStreamSynchronize(stream), "download");
}

/* -- all of it ------------------------------------------------------------- */

cudaError_t cuda_mem_open(cuda_dev *c)
{
    size_t bytes = (size_t)CUDA_STAGE_PARTS * CUDA_STAGE_PART;
    cudaError_t e = cudaHostAlloc((void **)&c->stage, bytes,
                                  cudaHostAllocDefault);
    for (int i = 0; i < CUDA_STAGE_PARTS && e == cudaSuccess; i++)
        e = cudaEventCreateWithFlags(&c->left[i], cudaEventDisableTiming);
    return e;
}

void cuda_mem_close(cuda_dev *c)
{
    free_work(c);
    for (int i = 0; i < CUDA_BUFFERS; i++)
        device_free(&c->base, c->buffer[i].p);
    for (int i = 0; i < CUDA_STAGE_PARTS; i++)
        if (c->left[i])
            cudaEventDestroy(c->left[i]);
    if (c->stage)
        cudaFreeHost(c->stage);
}

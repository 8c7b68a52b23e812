/* Streams: what is put on one is done when the host waits for it and not
 * before, so that a host that reads too early, or writes into what is still to
 * be copied, is seen. CUDA promises no more: even a copy from memory that is
 * not pinned may be made late on devices that reach the host's pages. */
#include "tests/cuda_on_cpu/standin.h"

#include <stdlib.h>
#include <string.h>

struct CUstream_st {
    int order;
};

struct CUevent_st {
    unsigned long waited; /* records that are still queued */
};

typedef struct task {
    cudaStream_t s;
    const char *what;
    on_cpu_fn *fn;
    void *args;
} task;

static struct {
    task *task;
    size_t len, cap;
    bool running;
} queue;

struct on_cpu_counts on_cpu_counts;

int on_cpu_order(cudaStream_t s)
{
    return (int)on_cpu_setting("CUDA_ON_CPU_ORDER",
                               s ? (unsigned long)s->order : 0);
}

/* -- the queue ------------------------------------------------------------- */

static void run_first(size_t n)
{
    if (queue.running)
        on_cpu_bug("a kernel calls the runtime");
    if (n == 0)
        return;
    queue.running = true;
    on_cpu_open_memory(true);
    for (size_t i = 0; i < n; i++) {
        task *t = &queue.task[i];
        if (!on_cpu_broken()) {
            t->fn(t->args, t->s);
            on_cpu_check_guards(t->what);
        }
        free(t->args);
    }
    on_cpu_open_memory(false);
    queue.running = false;
    queue.len -= n;
    memmove(queue.task, queue.task + n, queue.len * sizeof *queue.task);
    if (queue.len == 0) {
        free(queue.task);
        queue.task = NULL;
        queue.cap = 0;
    }
}

void on_cpu_run(void)
{
    run_first(queue.len);
}

cudaError_t on_cpu_queue(cudaStream_t s, const char *what, on_cpu_fn *fn,
                         const void *args, size_t bytes)
{
    if (on_cpu_broken())
        return on_cpu_broken();
    if (queue.len == queue.cap) {
        queue.cap = queue.cap ? 2 * queue.cap : 64;
        queue.task = realloc(queue.task, queue.cap * sizeof *queue.task);
    }
    void *copy = malloc(bytes ? bytes : 1);
    if (!queue.task || !copy)
        on_cpu_bug("no memory for the stand-in itself");
    memcpy(copy, args, bytes);
    queue.task[queue.len++] = (task){ s, what, fn, copy };
    if (on_cpu_setting("CUDA_LAUNCH_BLOCKING", 0))
        on_cpu_run();
    return cudaSuccess;
}

/* -- copies ---------------------------------------------------------------- */

struct copy {
    void *dst;
    const void *src;
    size_t bytes;
    int value;
};

static void run_copy(const void *args, cudaStream_t s)
{
    const struct copy *c = args;
    (void)s;
    memcpy(c->dst, c->src, c->bytes);
}

static void run_set(const void *args, cudaStream_t s)
{
    const struct copy *c = args;
    (void)s;
    memset(c->dst, c->value, c->bytes);
}

static void check_side(const void *p, size_t bytes, bool device)
{
    if (device)
        on_cpu_need("a copy", "its device side", p, bytes);
    else if (on_cpu_on_device(p, 0))
        on_cpu_bug("a copy: its host side is device memory");
}

cudaError_t cudaMemcpyAsync(void *dst, const void *src, size_t bytes,
                            enum cudaMemcpyKind kind, cudaStream_t s)
{
    struct copy c = { dst, src, bytes, 0 };
    if (bytes == 0)
        return on_cpu_broken();
    check_side(dst, bytes, kind != cudaMemcpyDeviceToHost);
    check_side(src, bytes, kind != cudaMemcpyHostToDevice);
    on_cpu_counts.copies++;
    return on_cpu_queue(s, "a copy", run_copy, &c, sizeof c);
}

cudaError_t cudaMemsetAsync(void *dst, int value, size_t bytes,
                            cudaStream_t s)
{
    struct copy c = { dst, NULL, bytes, value };
    if (bytes == 0)
        return on_cpu_broken();
    on_cpu_need("cudaMemsetAsync", "dst", dst, bytes);
    return on_cpu_queue(s, "cudaMemsetAsync", run_set, &c, sizeof c);
}

/* -- streams --------------------------------------------------------------- */

cudaError_t cudaStreamCreateWithFlags(cudaStream_t *s, unsigned flags)
{
    static int n;
    cudaError_t e = cudaSetDevice(0);
    (void)flags;
    *s = NULL;
    if (e != cudaSuccess)
        return e;
    *s = malloc(sizeof **s);
    if (!*s)
        on_cpu_bug("no memory for the stand-in itself");
    **s = (struct CUstream_st){ n++ % 3 };
    return cudaSuccess;
}

cudaError_t cudaStreamDestroy(cudaStream_t s)
{
    on_cpu_run();
    free(s);
    return on_cpu_broken();
}

cudaError_t cudaStreamSynchronize(cudaStream_t s)
{
    (void)s;
    on_cpu_counts.waits++;
    on_cpu_run();
    return on_cpu_broken();
}

/* -- events ---------------------------------------------------------------- */

static void run_record(const void *args, cudaStream_t s)
{
    cudaEvent_t e = *(cudaEvent_t const *)args;
    (void)s;
    e->waited--;
}

cudaError_t cudaEventCreateWithFlags(cudaEvent_t *e, unsigned flags)
{
    cudaError_t err = cudaSetDevice(0);
    (void)flags;
    *e = NULL;
    if (err != cudaSuccess)
        return err;
    *e = calloc(1, sizeof **e);
    if (!*e)
        on_cpu_bug("no memory for the stand-in itself");
    return cudaSuccess;
}

cudaError_t cudaEventDestroy(cudaEvent_t e)
{
    if (e && e->waited)
        on_cpu_run();
    free(e);
    return on_cpu_broken();
}

cudaError_t cudaEventRecord(cudaEvent_t e, cudaStream_t s)
{
    cudaError_t err = on_cpu_broken();
    if (err != cudaSuccess)
        return err;
    e->waited++;
    return on_cpu_queue(s, "an event", run_record, &e, sizeof e);
}

cudaError_t cudaEventSynchronize(cudaEvent_t e)
{
    size_t n = 0;
    on_cpu_counts.waits++;
    /* up to the event and no further */
    for (size_t left = e->waited; left && n < queue.len; n++)
        left -= queue.task[n].fn == run_record
            && *(cudaEvent_t *)queue.task[n].args == e;
    if (e->waited)
        run_first(n);
    return on_cpu_broken();
}

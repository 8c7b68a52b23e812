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
    size_t bytes;
} task;

/* In the order of the calls. */
typedef struct list {
    task *task;
    size_t len, cap;
} list;

static list queue;
static bool running;

/* Being captured; what may not be was called. */
static struct CUgraph_st {
    list list;
    bool spoilt;
} *capture;

struct CUgraphExec_st {
    list list;
};

struct on_cpu_counts on_cpu_counts;

int on_cpu_order(cudaStream_t s)
{
    return (int)on_cpu_setting("CUDA_ON_CPU_ORDER",
                               s ? (unsigned long)s->order : 0);
}

static on_cpu_fn run_copy, run_set, run_record;

/* -- the queue ------------------------------------------------------------- */

static void run_task(const task *t)
{
    if (on_cpu_setting("CUDA_ON_CPU_IDLE", 0) && t->fn != run_copy
        && t->fn != run_set && t->fn != run_record)
        return;
    t->fn(t->args, t->s);
    on_cpu_check_guards(t->what);
}

static void run_first(size_t n)
{
    if (running)
        on_cpu_bug("a kernel calls the runtime");
    if (n == 0)
        return;
    running = true;
    on_cpu_open_memory(true);
    for (size_t i = 0; i < n; i++) {
        task *t = &queue.task[i];
        if (!on_cpu_broken())
            run_task(t);
        free(t->args);
    }
    on_cpu_open_memory(false);
    running = false;
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

/* t with a copy of its arguments. */
static void push(list *l, task t)
{
    if (l->len == l->cap) {
        l->cap = l->cap ? 2 * l->cap : 64;
        l->task = realloc(l->task, l->cap * sizeof *l->task);
    }
    void *copy = malloc(t.bytes ? t.bytes : 1);
    if (!l->task || !copy)
        on_cpu_bug("no memory for the stand-in itself");
    memcpy(copy, t.args, t.bytes);
    t.args = copy;
    l->task[l->len++] = t;
}

cudaError_t on_cpu_queue(cudaStream_t s, const char *what, on_cpu_fn *fn,
                         const void *args, size_t bytes)
{
    if (on_cpu_broken())
        return on_cpu_broken();
    push(capture ? &capture->list : &queue,
         (task){ s, what, fn, (void *)args, bytes });
    if (on_cpu_setting("CUDA_LAUNCH_BLOCKING", 0) && !capture)
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
    if (capture && kind != cudaMemcpyDeviceToDevice)
        on_cpu_bug("a graph would copy what is in the host's memory later");
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
    cudaError_t e = on_cpu_uncaptured();
    (void)s;
    if (e != cudaSuccess)
        return e;
    on_cpu_counts.waits++;
    on_cpu_run();
    return on_cpu_broken();
}

/* -- graphs ---------------------------------------------------------------- */

cudaError_t on_cpu_uncaptured(void)
{
    if (!capture)
        return on_cpu_broken();
    capture->spoilt = true;
    return on_cpu_error(cudaErrorStreamCaptureUnsupported);
}

static void free_list(list *l)
{
    for (size_t i = 0; i < l->len; i++)
        free(l->task[i].args);
    free(l->task);
}

static void *object(size_t bytes)
{
    void *p = calloc(1, bytes);
    if (!p)
        on_cpu_bug("no memory for the stand-in itself");
    return p;
}

cudaError_t cudaStreamBeginCapture(cudaStream_t s,
                                   enum cudaStreamCaptureMode mode)
{
    cudaError_t e = on_cpu_uncaptured();
    (void)s, (void)mode;
    if (e == cudaSuccess && on_cpu_fails("capture", NULL))
        e = on_cpu_error(cudaErrorStreamCaptureUnsupported);
    if (e == cudaSuccess)
        capture = object(sizeof *capture);
    return e;
}

cudaError_t cudaStreamEndCapture(cudaStream_t s, cudaGraph_t *g)
{
    (void)s;
    *g = NULL;
    if (!capture)
        return on_cpu_error(cudaErrorInvalidValue);
    cudaGraph_t made = capture;
    capture = NULL;
    if (made->spoilt) {
        cudaGraphDestroy(made);
        return on_cpu_error(cudaErrorStreamCaptureInvalidated);
    }
    *g = made;
    return on_cpu_broken();
}

cudaError_t cudaGraphInstantiate(cudaGraphExec_t *e, cudaGraph_t g,
                                 unsigned long long flags)
{
    (void)flags;
    *e = object(sizeof **e);
    for (size_t i = 0; i < g->list.len; i++)
        push(&(*e)->list, g->list.task[i]);
    return on_cpu_broken();
}

cudaError_t cudaGraphLaunch(cudaGraphExec_t e, cudaStream_t s)
{
    cudaError_t err = on_cpu_uncaptured();
    (void)s;
    on_cpu_counts.graphs++;
    for (size_t i = 0; i < e->list.len && err == cudaSuccess; i++)
        push(&queue, e->list.task[i]);
    if (on_cpu_setting("CUDA_LAUNCH_BLOCKING", 0))
        on_cpu_run();
    return err;
}

cudaError_t cudaGraphDestroy(cudaGraph_t g)
{
    free_list(&g->list);
    free(g);
    return on_cpu_broken();
}

cudaError_t cudaGraphExecDestroy(cudaGraphExec_t e)
{
    free_list(&e->list);
    free(e);
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
    cudaError_t err = on_cpu_uncaptured();
    if (err != cudaSuccess)
        return err;
    e->waited++;
    return on_cpu_queue(s, "an event", run_record, &e, sizeof e);
}

cudaError_t cudaEventSynchronize(cudaEvent_t e)
{
    size_t n = 0;
    cudaError_t err = on_cpu_uncaptured();
    if (err != cudaSuccess)
        return err;
    on_cpu_counts.waits++;
    /* up to the event and no further */
    for (size_t left = e->waited; left && n < queue.len; n++)
        left -= queue.task[n].fn == run_record
            && *(cudaEvent_t *)queue.task[n].args == e;
    if (e->waited)
        run_first(n);
    return on_cpu_broken();
}

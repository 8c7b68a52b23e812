/* A kernel on one thread of the CPU: blocks one after another, the threads of a
 * block as fibers that take turns. A fiber runs one thread after another to
 * its end; where a thread has to wait for others, the fiber is put aside with
 * it and the next one goes on. Kernels that never wait so cost a call each
 * thread. Fibers are left by _longjmp, not by swapcontext, which asks the
 * system to change signal masks each time. */
#include "tests/cuda_on_cpu/standin.h"

#include <setjmp.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <ucontext.h>

/* What all devices that are built for have (sm_75 has least memory). */
enum { THREADS = 1024, LANES = 32, SHARED_DEFAULT = 48 << 10,
       SHARED_MOST = 64 << 10, STACK = 64 << 10, PAGE = 4096,
       GARBAGE = 0xff };

struct on_cpu_size threadIdx, blockIdx, blockDim, gridDim;

typedef struct fiber {
    jmp_buf at;
    char *stack;
    size_t stack_size;
    void *fake; /* the address sanitizer's */
    unsigned thread;
    struct on_cpu_size index; /* its threadIdx */
} fiber;

/* Lanes that wait for each other. */
typedef struct meeting {
    unsigned mask, here;
    const char *place;
} meeting;

typedef struct warp {
    unsigned gone; /* lanes that have ended, or never were */
    int n;
    meeting meeting[LANES];
    uint64_t value[LANES], result[LANES];
    unsigned from[LANES];
} warp;

static struct {
    const struct on_cpu_grid *grid;
    unsigned n, next, done, waiting; /* threads; `waiting` at the barrier */
    unsigned order[THREADS];         /* in which threads begin */
    const char *barrier;             /* its place */
    const char *place[THREADS];      /* where a thread waits, or NULL */
    bool at_barrier[THREADS];
    fiber *of[THREADS];              /* whose fiber waits */
    unsigned ready[THREADS], ready_at, n_ready;
    warp warp[THREADS / LANES];
} now;

static fiber host, *current, *idle[THREADS + 1];
static unsigned n_idle, n_fibers;
static char *shared_end;

/* -- fibers ---------------------------------------------------------------- */

void __sanitizer_start_switch_fiber(void **fake, const void *stack, size_t n)
    __attribute__((weak));
void __sanitizer_finish_switch_fiber(void *fake, const void **stack,
                                     size_t *n) __attribute__((weak));

static void arrived(fiber *f, fiber *from)
{
    const void *stack;
    size_t size;
    if (!__sanitizer_finish_switch_fiber)
        return;
    __sanitizer_finish_switch_fiber(f->fake, &stack, &size);
    if (from == &host) { /* its bounds are known only now */
        host.stack = (char *)stack;
        host.stack_size = size;
    }
}

static void switch_to(fiber *to)
{
    fiber *from = current;
    if (!_setjmp(from->at)) {
        if (__sanitizer_start_switch_fiber)
            __sanitizer_start_switch_fiber(&from->fake, to->stack,
                                           to->stack_size);
        current = to;
        _longjmp(to->at, 1);
    }
    arrived(from, NULL);
}

static void run_threads(void);

static fiber *made;
static ucontext_t maker;

/* A new fiber comes here twice: when it is made, and when it first runs. */
static void begin_fiber(void)
{
    fiber *f = made;
    arrived(f, &host);
    if (!_setjmp(f->at)) {
        if (__sanitizer_start_switch_fiber)
            __sanitizer_start_switch_fiber(&f->fake, host.stack,
                                           host.stack_size);
        setcontext(&maker);
    }
    arrived(f, NULL);
    for (;;)
        run_threads();
}

/* Stacks that begin at the same place of a page would share few sets of the
 * processor's cache. */
static fiber *new_fiber(unsigned i)
{
    fiber *f = calloc(1, sizeof *f);
    char *p = mmap(NULL, STACK + PAGE, PROT_READ | PROT_WRITE,
                   MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
    static ucontext_t c;
    volatile bool back = false;
    if (!f || p == MAP_FAILED || mprotect(p, PAGE, PROT_NONE))
        on_cpu_bug("no memory for the stand-in itself");
    f->stack = p + PAGE;
    f->stack_size = STACK - i % 59 * 320;
    getcontext(&c);
    c.uc_stack.ss_sp = f->stack;
    c.uc_stack.ss_size = f->stack_size;
    makecontext(&c, begin_fiber, 0);
    made = f;
    if (__sanitizer_start_switch_fiber)
        __sanitizer_start_switch_fiber(&host.fake, f->stack,
                                       f->stack_size);
    getcontext(&maker);
    if (!back) {
        back = true;
        setcontext(&c);
    }
    arrived(&host, NULL);
    return f;
}

/* -- waiting --------------------------------------------------------------- */

static void make_ready(unsigned thread)
{
    now.ready[(now.ready_at + now.n_ready++) % THREADS] = thread;
    now.place[thread] = NULL;
}

static unsigned take_ready(void)
{
    unsigned thread = now.ready[now.ready_at];
    now.ready_at = (now.ready_at + 1) % THREADS;
    now.n_ready--;
    return thread;
}

static void stuck(void)
{
    for (unsigned t = 0; t < now.n; t++)
        if (now.place[t])
            fprintf(stderr, "cuda on cpu: %s: block %u, thread %u waits at "
                    "%s\n", now.grid->name, blockIdx.x, t, now.place[t]);
    on_cpu_bug("%s: these wait for threads that wait elsewhere",
               now.grid->name);
}

static struct on_cpu_size index_of(unsigned thread)
{
    struct on_cpu_size b = now.grid->block;
    if (b.x == now.n)
        return (struct on_cpu_size){ thread, 0, 0 };
    return (struct on_cpu_size){ thread % b.x, thread / b.x % b.y,
                                 thread / b.x / b.y };
}

/* The current thread waits at `place` until it is made ready. */
static void wait_at(const char *place)
{
    fiber *self = current;
    unsigned thread = self->thread;
    now.place[thread] = place;
    now.of[thread] = self;
    if (now.n_ready)
        switch_to(now.of[take_ready()]);
    else if (now.next < now.n)
        switch_to(idle[--n_idle]);
    else
        stuck();
    threadIdx = self->index;
}

/* -- the block's barrier --------------------------------------------------- */

/* Everybody who has not ended is there. */
static void open_barrier(unsigned but)
{
    now.waiting = 0;
    for (unsigned i = 0; i < now.n; i++) {
        unsigned t = now.order[i];
        if (now.at_barrier[t]) {
            now.at_barrier[t] = false;
            if (t != but)
                make_ready(t);
        }
    }
}

void on_cpu_barrier(const char *place)
{
    unsigned t = current->thread;
    if (now.waiting == 0)
        now.barrier = place;
    else if (now.barrier != place)
        on_cpu_bug("%s: thread %u is at the barrier of %s, others at that of "
                   "%s", now.grid->name, t, place, now.barrier);
    now.waiting++;
    now.at_barrier[t] = true;
    if (now.waiting + now.done == now.n)
        open_barrier(t);
    else
        wait_at(place);
}

/* -- warps ----------------------------------------------------------------- */

unsigned on_cpu_lane(void)
{
    return current->thread % LANES;
}

static bool all_here(const warp *w, const meeting *m)
{
    return !(m->mask & ~(m->here | w->gone));
}

/* Values are handed over; who waited goes on. */
static void close_meeting(warp *w, unsigned i, unsigned but)
{
    meeting m = w->meeting[i];
    unsigned first = (unsigned)(w - now.warp) * LANES;
    w->meeting[i] = w->meeting[--w->n];
    for (unsigned lane = 0; lane < LANES; lane++)
        if (m.here >> lane & 1)
            w->result[lane] = m.here >> w->from[lane] & 1
                ? w->value[w->from[lane]] : ~(uint64_t)0;
    for (unsigned k = 0; k < LANES; k++) {
        /* in the order in which the block's threads began */
        unsigned lane = now.order[0] ? LANES - 1 - k : k;
        if (m.here >> lane & 1 && first + lane != but)
            make_ready(first + lane);
    }
}

static unsigned find_meeting(warp *w, unsigned mask, const char *place)
{
    unsigned found = (unsigned)w->n;
    for (unsigned i = 0; i < (unsigned)w->n; i++) {
        const meeting *m = &w->meeting[i];
        if (!(m->mask & mask))
            continue;
        if (m->mask != mask || m->place != place)
            on_cpu_bug("%s: lanes %08x of a warp meet at %s, lanes %08x at %s",
                       now.grid->name, mask, place, m->mask, m->place);
        found = i;
    }
    if (found == (unsigned)w->n)
        w->meeting[w->n++] = (meeting){ mask, 0, place };
    return found;
}

uint64_t on_cpu_shuffle(const char *place, unsigned mask, unsigned from,
                        uint64_t value)
{
    unsigned t = current->thread, lane = t % LANES;
    warp *w = &now.warp[t / LANES];
    if (!(mask >> lane & 1))
        on_cpu_bug("%s: %s: lane %u is not in its own mask %08x",
                   now.grid->name, place, lane, mask);
    unsigned i = find_meeting(w, mask, place);
    w->value[lane] = value;
    w->from[lane] = from;
    w->meeting[i].here |= 1u << lane;
    if (all_here(w, &w->meeting[i]))
        close_meeting(w, i, t);
    else
        wait_at(place);
    return w->result[lane];
}

/* -- a block --------------------------------------------------------------- */

/* Nobody waits for a thread that has ended. */
static void end_thread(unsigned t)
{
    warp *w = &now.warp[t / LANES];
    now.done++;
    w->gone |= 1u << t % LANES;
    if (now.waiting && now.waiting + now.done == now.n)
        open_barrier(THREADS);
    for (unsigned i = (unsigned)w->n; i-- > 0;)
        if (all_here(w, &w->meeting[i]))
            close_meeting(w, i, THREADS);
}

/* Threads one after another, until there is none or a fiber that waited can go
 * on. */
static void run_threads(void)
{
    fiber *self = current;
    while (now.next < now.n && now.n_ready == 0) {
        unsigned t = now.order[now.next++];
        self->thread = t;
        threadIdx = self->index = index_of(t);
        now.grid->thread(now.grid->args);
        end_thread(self->thread);
    }
    idle[n_idle++] = self;
    if (now.n_ready)
        switch_to(now.of[take_ready()]);
    else if (now.done == now.n)
        switch_to(&host);
    else
        stuck();
}

static unsigned gcd(unsigned a, unsigned b)
{
    return b ? gcd(b, a % b) : a;
}

/* The ith of n in an order; `jump` has no divisor in common with n. */
static unsigned ith(unsigned i, unsigned n, int order, unsigned jump)
{
    return order == 0 ? i : order == 1 ? n - 1 - i
        : (unsigned)(((uint64_t)i * jump + n / 2) % n);
}

static unsigned jump_of(unsigned n)
{
    unsigned jump = n / 3 + 1;
    while (gcd(jump, n) != 1)
        jump++;
    return jump;
}

/* What static __shared__ arrays are in (the header says so). */
extern char __start_cuda_shared[] __attribute__((weak));
extern char __stop_cuda_shared[] __attribute__((weak));

static void spoil_shared(size_t bytes)
{
    memset(shared_end - bytes, GARBAGE, bytes);
    if (__start_cuda_shared)
        memset(__start_cuda_shared, GARBAGE,
               (size_t)(__stop_cuda_shared - __start_cuda_shared));
}

void *on_cpu_shared(void)
{
    return shared_end - (now.grid->shared + 15) / 16 * 16;
}

static void run_block(void)
{
    now.next = now.done = now.waiting = now.n_ready = 0;
    for (unsigned i = 0; i * LANES < now.n; i++) {
        unsigned left = now.n - i * LANES;
        now.warp[i].n = 0;
        now.warp[i].gone = left < LANES ? ~0u << left : 0;
    }
    spoil_shared((now.grid->shared + 15) / 16 * 16);
    switch_to(idle[--n_idle]);
}

static void prepare(void)
{
    if (!shared_end) {
        char *p = mmap(NULL, SHARED_MOST + PAGE, PROT_READ | PROT_WRITE,
                       MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
        if (p == MAP_FAILED || mprotect(p + SHARED_MOST, PAGE, PROT_NONE))
            on_cpu_bug("no memory for the stand-in itself");
        shared_end = p + SHARED_MOST;
    }
    current = &host;
    for (; n_fibers <= now.n; n_fibers++)
        idle[n_idle++] = new_fiber(n_fibers);
}

void on_cpu_run_grid(const struct on_cpu_grid *g, int order)
{
    static unsigned long ran;
    unsigned n = g->grid.x * g->grid.y * g->grid.z, jump = jump_of(n);
    unsigned long nth = 0;
    if (on_cpu_fails("launch", &nth) && ++ran == nth)
        on_cpu_break(cudaErrorIllegalAddress);
    if (on_cpu_broken())
        return;
    now.grid = g;
    now.n = g->block.x * g->block.y * g->block.z;
    gridDim = g->grid;
    blockDim = g->block;
    for (unsigned i = 0, step = jump_of(now.n); i < now.n; i++)
        now.order[i] = ith(i, now.n, order, step);
    prepare();
    for (unsigned i = 0; i < n; i++) {
        unsigned b = ith(i, n, order, jump);
        blockIdx.x = b % g->grid.x;
        blockIdx.y = b / g->grid.x % g->grid.y;
        blockIdx.z = b / g->grid.x / g->grid.y;
        run_block();
    }
}

/* -- what CUDA takes ------------------------------------------------------- */

static struct {
    const void *f;
    int bytes;
} allowed[64]; /* more than 48 KB of shared memory */
static int n_allowed;

cudaError_t cudaFuncSetAttribute(const void *f, enum cudaFuncAttribute attr,
                                 int value)
{
    if (attr != cudaFuncAttributeMaxDynamicSharedMemorySize || value < 0
        || value > SHARED_MOST)
        return on_cpu_error(cudaErrorInvalidValue);
    if (n_allowed == 64)
        on_cpu_bug("too many kernels with much shared memory");
    allowed[n_allowed].f = f;
    allowed[n_allowed++].bytes = value;
    return on_cpu_broken();
}

cudaError_t cudaFuncGetAttributes(struct cudaFuncAttributes *a, const void *f)
{
    (void)f;
    *a = (struct cudaFuncAttributes){ .maxThreadsPerBlock = THREADS };
    return on_cpu_error(on_cpu_fails("image", NULL)
                        ? cudaErrorNoKernelImageForDevice
                        : on_cpu_broken());
}

cudaError_t on_cpu_launchable(const struct on_cpu_grid *g, const void *f)
{
    size_t most = SHARED_DEFAULT;
    uint64_t n = (uint64_t)g->block.x * g->block.y * g->block.z;
    for (int i = 0; i < n_allowed; i++)
        if (allowed[i].f == f)
            most = (size_t)allowed[i].bytes;
    if (on_cpu_broken())
        return on_cpu_broken();
    if (on_cpu_fails("image", NULL))
        return on_cpu_error(cudaErrorNoKernelImageForDevice);
    if (!g->grid.x || !g->grid.y || !g->grid.z || g->grid.x > INT32_MAX
        || g->grid.y > 65535 || g->grid.z > 65535 || n == 0 || n > THREADS
        || g->block.x > THREADS || g->block.y > THREADS || g->block.z > 64)
        return on_cpu_error(cudaErrorInvalidConfiguration);
    on_cpu_counts.kernels++;
    return g->shared > most ? on_cpu_error(cudaErrorInvalidValue)
                            : cudaSuccess;
}

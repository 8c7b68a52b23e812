/* The CPU device: memory, and work cut into spans. */
#include "backend/cpu/cpu.h"

#include <sched.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>

/* A step's memory comes from one block once a step has shown how much it
 * needs; until then blocks are added, each at least a quarter of the ones
 * before. */
struct cg_cpu_block {
    struct cg_cpu_block *next;
    size_t size, used;
    _Alignas(64) char data[];
};

enum { ALIGN = 64, LARGE_PAGE = 1 << 21, FIRST_BLOCK = 1 << 20,
       MAX_THREADS = 256 };
/* Nobody has that much; sums of two do not wrap. */
static const size_t MAX_BLOCK = (size_t)1 << 40;

static void fail_memory(cg_cpu *c, size_t bytes)
{
    if (!c->dev.failed)
        snprintf(c->why, sizeof c->why,
                 "cpu: no memory for a block of %zu bytes", bytes);
    c->dev.failed = true;
}

/* Large blocks in large pages, where the system has some: a model's first use
 * of its memory otherwise takes longer than reading its file. */
static void *alloc_aligned(size_t bytes)
{
    if (bytes > MAX_BLOCK)
        return NULL;
    size_t align = bytes < LARGE_PAGE ? ALIGN : LARGE_PAGE;
    void *p = aligned_alloc(align, (bytes + align - 1) / align * align);
    if (p && bytes >= LARGE_PAGE)
        madvise(p, bytes / LARGE_PAGE * LARGE_PAGE, MADV_HUGEPAGE);
    return p;
}

static void *cpu_alloc(cg_dev *d, size_t bytes)
{
    (void)d;
    void *p = alloc_aligned(bytes ? bytes : 1);
    return p ? memset(p, 0, bytes) : NULL;
}

static void cpu_free(cg_dev *d, void *p)
{
    (void)d;
    free(p);
}

static size_t work_size(const cg_cpu *c)
{
    size_t size = 0;
    for (struct cg_cpu_block *b = c->work; b; b = b->next)
        size += b->size;
    return size;
}

static void free_work(cg_cpu *c)
{
    for (struct cg_cpu_block *b = c->work, *next; b; b = next) {
        next = b->next;
        free(b);
    }
    c->work = NULL;
}

/* A block of `size` in front of the others; NULL: no memory. */
static struct cg_cpu_block *push_block(cg_cpu *c, size_t size)
{
    struct cg_cpu_block *b = alloc_aligned(sizeof *b + size);
    if (b) {
        *b = (struct cg_cpu_block){ c->work, size, 0 };
        c->work = b;
    }
    return b;
}

static void *cpu_work(cg_dev *d, size_t bytes)
{
    static char none[ALIGN] __attribute__((aligned(ALIGN)));
    cg_cpu *c = cg_cpu_of(d);
    struct cg_cpu_block *b = c->work;
    size_t room = bytes > MAX_BLOCK ? MAX_BLOCK
        : (bytes + ALIGN - 1) / ALIGN * ALIGN;
    if (d->failed)
        return none;
    if (!b || b->size - b->used < room) {
        size_t size = work_size(c) / 4;
        size = size < FIRST_BLOCK ? FIRST_BLOCK : size;
        b = push_block(c, size < room ? room : size);
    }
    if (!b) {
        fail_memory(c, bytes);
        return none;
    }
    void *p = b->data + b->used;
    b->used += room;
    return p;
}

static void cpu_reset(cg_dev *d)
{
    cg_cpu *c = cg_cpu_of(d);
    if (d->failed && c->told)
        d->failed = c->told = false;
    if (c->work && c->work->next) {
        size_t size = work_size(c);
        free_work(c);
        push_block(c, size); /* when refused, blocks are added again */
    }
    if (c->work)
        c->work->used = 0;
}

static void cpu_copy(cg_dev *d, void *dst, const void *src, size_t bytes)
{
    (void)d;
    memcpy(dst, src, bytes);
}

static cg_err cpu_sync(cg_dev *d)
{
    cg_cpu *c = cg_cpu_of(d);
    if (!d->failed)
        return CG_OK;
    c->told = true;
    return cg_fail(CG_ELIMIT, "%s", c->why);
}

static int cpu_threads(cg_dev *d)
{
    return cg_pool_threads(cg_cpu_of(d)->pool);
}

static void cpu_share(cg_dev *d, uint32_t n,
                      void (*fn)(void *user, uint32_t i), void *user)
{
    cg_pool_share(cg_cpu_of(d)->pool, n, fn, user);
}

static void cpu_close(cg_dev *d)
{
    cg_cpu *c = cg_cpu_of(d);
    cg_pool_free(c->pool);
    free_work(c);
    free(c->scratch);
    free(c);
}

static int count_cores(void)
{
    cpu_set_t set;
    return sched_getaffinity(0, sizeof set, &set) ? 1 : CPU_COUNT(&set);
}

cg_err cg_cpu_open(cg_dev **d, int threads)
{
    static const cg_kernels kernels = {
#define CG_KERNEL(name, params, args) .name = cpu_##name,
#include "backend/kernels.def"
#undef CG_KERNEL
    };
    static const cg_dev_ops ops = {
        cpu_close, cpu_alloc, cpu_free, cpu_work, cpu_reset, cpu_copy,
        cpu_copy, cpu_sync, cpu_threads, cpu_share };
    const cg_blas *blas;
    *d = NULL;
    CG_TRY(cg_blas_open(&blas));
    threads = threads ? threads : count_cores();
    threads = threads > MAX_THREADS ? MAX_THREADS : threads;
    cg_cpu *c = calloc(1, sizeof *c);
    cg_pool *pool = cg_pool_new(threads);
    if (!c || !pool) {
        cg_pool_free(pool);
        free(c);
        return cg_fail(CG_ELIMIT, "cpu: no memory");
    }
    *c = (cg_cpu){ .dev = { &kernels, &ops, "cpu", true, false },
                   .pool = pool, .blas = blas };
    *d = &c->dev;
    return CG_OK;
}

float *cg_cpu_scratch(cg_dev *d, size_t n)
{
    cg_cpu *c = cg_cpu_of(d);
    size_t bytes = (n ? n : 1) * sizeof(float);
    if (bytes > c->scratch_size) {
        free(c->scratch);
        bytes += bytes / 4;
        c->scratch = alloc_aligned(bytes);
        c->scratch_size = c->scratch ? bytes : 0;
    }
    if (!c->scratch)
        fail_memory(c, bytes);
    return c->scratch;
}

struct spans {
    size_t n, grain;
    cg_span_fn fn;
    const void *job;
};

static void run_span(const void *job, uint32_t block, int thread)
{
    const struct spans *s = job;
    size_t first = block * s->grain, last = first + s->grain;
    s->fn(s->job, first, last < s->n ? last : s->n, thread);
}

void cg_cpu_spans(cg_dev *d, size_t n, size_t grain, cg_span_fn fn,
                  const void *job)
{
    struct spans s = { n, grain, fn, job };
    size_t blocks = (n + grain - 1) / grain;
    cg_pool_run(cg_cpu_of(d)->pool, (uint32_t)blocks, run_span, &s);
}

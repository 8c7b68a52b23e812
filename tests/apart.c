#include "tests/apart.h"

#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>

enum { HALF = 64 << 20, PAGE = 4096, ALIGN = 64 };

static apart the;

/* -- what the host may touch ----------------------------------------------- */

static void allow(int what)
{
    size_t pages = (the.work + PAGE - 1) / PAGE * PAGE;
    if (mprotect(the.memory, (the.blocks + PAGE - 1) / PAGE * PAGE, what) ||
        mprotect(the.memory + HALF, pages, what))
        abort();
}

#define CG_KERNEL(name, params, args)                                         \
    static void apart_##name params                                           \
    {                                                                         \
        d = the.cpu;                                                          \
        allow(PROT_READ | PROT_WRITE);                                        \
        d->k->name args;                                                      \
        allow(PROT_NONE);                                                     \
    }
#include "backend/kernels.def"
#undef CG_KERNEL

/* -- memory ---------------------------------------------------------------- */

static size_t rounded(size_t bytes)
{
    return (bytes + ALIGN - 1) / ALIGN * ALIGN;
}

static void *block(cg_dev *d, size_t bytes)
{
    (void)d;
    size_t at = the.blocks;
    if (rounded(bytes) > HALF - at)
        return NULL;
    the.blocks += rounded(bytes ? bytes : 1);
    the.allocs++;
    allow(PROT_READ | PROT_WRITE);
    memset(the.memory + at, 0, bytes);
    allow(PROT_NONE);
    return the.memory + at;
}

static void forget(cg_dev *d, void *p)
{
    (void)d, (void)p; /* blocks are few */
}

static void *work(cg_dev *d, size_t bytes)
{
    size_t at = the.work;
    if (d->failed || rounded(bytes) > the.limit - at ||
        the.steps == the.fail[0] || the.steps == the.fail[1]) {
        d->failed = true;
        return the.memory + HALF;
    }
    the.work += rounded(bytes);
    allow(PROT_READ | PROT_WRITE);
    memset(the.memory + HALF + at, 0xff, bytes);
    allow(PROT_NONE);
    return the.memory + HALF + at;
}

static void reset(cg_dev *d)
{
    if (d->failed && the.told)
        d->failed = the.told = false;
    the.work = 0;
    the.steps++;
}

static void copy(void *dst, const void *src, size_t bytes)
{
    allow(PROT_READ | PROT_WRITE);
    memcpy(dst, src, bytes);
    allow(PROT_NONE);
}

static void upload(cg_dev *d, void *dst, const void *src, size_t bytes)
{
    (void)d;
    the.uploads++;
    copy(dst, src, bytes);
}

static void download(cg_dev *d, void *dst, const void *src, size_t bytes)
{
    (void)d;
    the.downloads++;
    apart_copy c = {dst, cg_xcalloc(bytes, 1), bytes};
    copy(c.data, src, bytes);
    memset(dst, 0xff, bytes);
    cg_array_push(&the.coming, c);
}

static cg_err wait(cg_dev *d)
{
    the.syncs++;
    for (size_t i = 0; i < the.coming.len; i++) {
        apart_copy *c = &the.coming.data[i];
        memcpy(c->dst, c->data, c->bytes);
        cg_xfree(c->data);
    }
    the.coming.len = 0;
    the.told = d->failed;
    return d->failed ? cg_fail(CG_ELIMIT, "apart: no memory") : CG_OK;
}

/* -- the host's threads ---------------------------------------------------- */

static int threads(cg_dev *d)
{
    (void)d;
    return cg_dev_threads(the.cpu);
}

static void share(cg_dev *d, uint32_t n, void (*fn)(void *user, uint32_t i),
                  void *user)
{
    (void)d;
    cg_dev_share(the.cpu, n, fn, user);
}

static void close_both(cg_dev *d)
{
    (void)d;
    cg_dev_close(the.cpu);
    cg_array_free(&the.coming);
    munmap(the.memory, 2 * (size_t)HALF);
}

cg_err apart_open(apart **a)
{
    static const cg_kernels kernels = {
#define CG_KERNEL(name, params, args) .name = apart_##name,
#include "backend/kernels.def"
#undef CG_KERNEL
    };
    static const cg_dev_ops ops = {
        .close = close_both, .alloc = block, .free = forget, .work = work,
        .reset = reset, .upload = upload, .download = download, .sync = wait,
        .threads = threads, .share = share};
    the = (apart){.dev = {.k = &kernels, .ops = &ops, .name = "apart"},
                  .limit = HALF};
    the.memory = mmap(NULL, 2 * (size_t)HALF, PROT_NONE,
                      MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
    *a = &the;
    if (the.memory == MAP_FAILED)
        return cg_fail(CG_EIO, "no address space");
    return cg_dev_open(&the.cpu, "cpu", 2);
}

void apart_close(apart *a)
{
    cg_dev_close(&a->dev);
}

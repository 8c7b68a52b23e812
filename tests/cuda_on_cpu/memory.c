/* Device memory: pages of its own for each block, between pages nobody may
 * touch, filled with NaN, and closed while the host runs. Whoever writes
 * beside a block, or forgets one, is told so. */
#include "tests/cuda_on_cpu/standin.h"

#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

enum { PAGE = 4096, LARGE = 2 << 20, ALIGN = 256, GUARD = 0xa5,
       GARBAGE = 0xff };

/* `pages` hold the block, and what surrounds them nobody may touch. */
typedef struct block {
    struct block *next;
    char *map, *pages, *data;
    size_t map_size, pages_size, size;
    bool pinned; /* of the host */
} block;

static block *blocks;
static size_t used;

/* There under the address sanitizer, which then sees the guards too. */
void __asan_poison_memory_region(const void *p, size_t n)
    __attribute__((weak));
void __asan_unpoison_memory_region(const void *p, size_t n)
    __attribute__((weak));

static void protect(const block *b, bool opened)
{
    if (!b->pinned && mprotect(b->pages, b->pages_size,
                               opened ? PROT_READ | PROT_WRITE : PROT_NONE))
        on_cpu_bug("mprotect fails");
}

void on_cpu_open_memory(bool opened)
{
    for (const block *b = blocks; b; b = b->next)
        protect(b, opened);
}

static block *find(const void *p, size_t bytes)
{
    uintptr_t at = (uintptr_t)p;
    for (block *b = blocks; b; b = b->next)
        if (at >= (uintptr_t)b->data
            && at - (uintptr_t)b->data <= b->size
            && bytes <= b->size - (at - (uintptr_t)b->data))
            return b;
    return NULL;
}

bool on_cpu_on_device(const void *p, size_t bytes)
{
    const block *b = find(p, bytes);
    return b && !b->pinned;
}

void on_cpu_need(const char *who, const char *what, const void *p,
                 size_t bytes)
{
    if (!on_cpu_on_device(p, bytes))
        on_cpu_bug("%s: %s: %zu bytes at %p are not in device memory", who,
                   what, bytes, p);
}

/* Where programs, stacks and heaps of 64-bit systems are, and hardly a number
 * (two of int hit a page that is there once in a very long time). */
void on_cpu_need_no_host(const char *who, const void *words, size_t bytes)
{
    unsigned char there;
    for (size_t i = 0; i < bytes / sizeof(uintptr_t); i++) {
        uintptr_t x;
        memcpy(&x, (const char *)words + i * sizeof x, sizeof x);
        if (x >> 44 && !mincore((void *)(x / PAGE * PAGE), 1, &there))
            on_cpu_need(who, "in a structure", (void *)x, 0);
    }
}

__attribute__((no_sanitize("address")))
static bool guarded(const char *from, const char *to)
{
    for (; from < to; from++)
        if ((unsigned char)*from != GUARD)
            return false;
    return true;
}

static void check_guards(const block *b, const char *who)
{
    size_t before = (size_t)(b->data - b->pages);
    if (!guarded(b->data - (before < ALIGN ? before : ALIGN), b->data)
        || !guarded(b->data + b->size, b->pages + b->pages_size))
        on_cpu_bug("%s, or what ran before it, wrote beside a block of %zu "
                   "bytes", who, b->size);
}

void on_cpu_check_guards(const char *who)
{
    for (const block *b = blocks; b; b = b->next)
        if (!b->pinned)
            check_guards(b, who);
}

/* -- wrong addresses ------------------------------------------------------- */

static void segv(int sig, siginfo_t *info, void *context)
{
    const char *at = info->si_addr;
    static char text[200];
    const char *what = "no memory";
    (void)context;
    for (const block *b = blocks; b; b = b->next)
        if (at >= b->pages - PAGE && at < b->pages + b->pages_size + PAGE)
            what = at < b->pages || at >= b->pages + b->pages_size
                ? "beside a block of device memory"
                : "device memory that is closed to the host";
    int n = snprintf(text, sizeof text, "cuda on cpu: address %p: %s\n",
                     info->si_addr, what);
    if (n < 0 || write(2, text, (size_t)n) != n)
        _exit(1);
    signal(sig, SIG_DFL); /* and again */
}

static void say_leaks(void)
{
    size_t n = 0;
    for (const block *b = blocks; b; b = b->next)
        n++;
    if (on_cpu_setting("CUDA_ON_CPU_REPORT", 0))
        fprintf(stderr, "cuda on cpu: %lu kernels, %lu products, %lu copies, "
                "%lu graphs, %lu allocations, %lu waits, %zu blocks left\n",
                on_cpu_counts.kernels, on_cpu_counts.products,
                on_cpu_counts.copies, on_cpu_counts.graphs,
                on_cpu_counts.allocations, on_cpu_counts.waits, n);
    if (n) {
        fprintf(stderr, "cuda on cpu: %zu blocks were never freed\n", n);
        fflush(NULL);
        _exit(1);
    }
}

static void begin(void)
{
    static char stack[1 << 16];
    static bool begun;
    if (begun)
        return;
    begun = true;
    atexit(say_leaks);
    if (__asan_poison_memory_region) /* it tells more */
        return;
    stack_t s = { .ss_sp = stack, .ss_size = sizeof stack };
    struct sigaction a = { .sa_sigaction = segv,
                           .sa_flags = SA_SIGINFO | SA_ONSTACK };
    sigaltstack(&s, NULL);
    sigaction(SIGSEGV, &a, NULL);
    sigaction(SIGBUS, &a, NULL);
}

/* -- blocks ---------------------------------------------------------------- */

static void poison(const char *from, const char *to)
{
    if (__asan_poison_memory_region && from < to)
        __asan_poison_memory_region(from, (size_t)(to - from));
}

/* The block ends where its pages end, as far as its alignment lets it. Large
 * ones are in large pages, where the system has some: they are opened and
 * closed at once. */
static block *map(size_t size, bool pinned)
{
    size_t page = size < LARGE ? PAGE : LARGE;
    size_t room = (size + ALIGN - 1) / ALIGN * ALIGN;
    size_t pages = (room + page - 1) / page * page, all = pages + 3 * page;
    char *p = mmap(NULL, all, PROT_NONE,
                   MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
    block *b = malloc(sizeof *b);
    if (p == MAP_FAILED || !b)
        on_cpu_bug("no memory for the stand-in itself");
    char *first = p + page + (page - (uintptr_t)p % page) % page;
    *b = (block){ blocks, p, first, first + pages - room, all, pages, size,
                  pinned };
    if (page == LARGE)
        madvise(b->pages, pages, MADV_HUGEPAGE);
    protect(b, true);
    if (pinned && mprotect(b->pages, pages, PROT_READ | PROT_WRITE))
        on_cpu_bug("mprotect fails");
    memset(b->pages, GUARD, (size_t)(b->data - b->pages));
    memset(b->data, GARBAGE, size);
    memset(b->data + size, GUARD, room - size);
    poison(b->pages, b->data);
    poison(b->data + size, b->pages + pages);
    protect(b, false);
    blocks = b;
    return b;
}

/* Waits as cudaFree does: what was queued may still use the block. */
static cudaError_t unmap(void *p, bool pinned)
{
    cudaError_t e = on_cpu_uncaptured();
    if (e == cudaErrorStreamCaptureUnsupported)
        return e;
    on_cpu_run();
    for (block **at = &blocks; *at; at = &(*at)->next) {
        block *b = *at;
        if (b->data != p || b->pinned != pinned)
            continue;
        protect(b, true);
        check_guards(b, "something");
        *at = b->next;
        if (__asan_unpoison_memory_region)
            __asan_unpoison_memory_region(b->pages, b->pages_size);
        munmap(b->map, b->map_size);
        used -= pinned ? 0 : b->size;
        free(b);
        return on_cpu_broken();
    }
    return on_cpu_error(cudaErrorInvalidValue);
}

static size_t limit(void)
{
    return on_cpu_setting("CUDA_ON_CPU_MEMORY", (size_t)1 << 31);
}

static cudaError_t usable(void)
{
    cudaError_t e = cudaSetDevice(0);
    return e == cudaSuccess ? on_cpu_uncaptured() : e;
}

cudaError_t cudaMalloc(void **p, size_t bytes)
{
    cudaError_t e = usable();
    *p = NULL;
    if (e != cudaSuccess || bytes == 0)
        return e;
    if (bytes > limit() || used > limit() - bytes)
        return on_cpu_error(cudaErrorMemoryAllocation);
    begin();
    on_cpu_counts.allocations++;
    used += bytes;
    *p = map(bytes, false)->data;
    return cudaSuccess;
}

cudaError_t cudaFree(void *p)
{
    return p ? unmap(p, false) : on_cpu_broken();
}

cudaError_t cudaHostAlloc(void **p, size_t bytes, unsigned flags)
{
    cudaError_t e = usable();
    (void)flags;
    *p = NULL;
    if (e != cudaSuccess || bytes == 0)
        return e;
    if (on_cpu_fails("pinned", NULL) || bytes > (size_t)1 << 40)
        return on_cpu_error(cudaErrorMemoryAllocation);
    begin();
    on_cpu_counts.allocations++;
    *p = map(bytes, true)->data;
    return cudaSuccess;
}

cudaError_t cudaFreeHost(void *p)
{
    return p ? unmap(p, true) : on_cpu_broken();
}

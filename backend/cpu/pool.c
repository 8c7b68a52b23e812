/* A pool whose hand-off costs less than a microsecond while calls follow each
 * other, and nothing when they do not.
 *
 * The blocks left of a call are one atomic word: the call's number above, how
 * many are left below. Who lowers it owns a block, and the call cannot end
 * before that block is done; so a thread that wakes late finds nothing left
 * and never looks at the job of a call that is over. Waiting threads poll for
 * a short time, giving way to whoever else wants the core, then sleep. */
#include "backend/cpu/pool.h"

#include <pthread.h>
#include <sched.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdlib.h>
#include <time.h>

enum { SPIN_NS = 50000, POLLS = 64 };

struct cg_pool {
    _Alignas(64) atomic_uint_least64_t left; /* call << 32 | blocks left */
    _Alignas(64) atomic_uint_least32_t pending; /* blocks not done */
    _Alignas(64) atomic_int sleepers;
    atomic_bool caller_sleeps, stop;
    cg_block_fn fn;
    const void *job;
    uint32_t blocks;
    pthread_mutex_t lock;
    pthread_cond_t wake, done;
    int n_threads;
    struct worker {
        cg_pool *pool;
        int thread;
        pthread_t id;
    } workers[];
};

static uint64_t now_ns(void)
{
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (uint64_t)t.tv_sec * 1000000000u + (uint64_t)t.tv_nsec;
}

/* Takes blocks until none is left. */
static void work(cg_pool *p, int thread)
{
    uint64_t left = atomic_load(&p->left);
    while ((uint32_t)left) {
        if (!atomic_compare_exchange_weak(&p->left, &left, left - 1))
            continue;
        p->fn(p->job, p->blocks - (uint32_t)left, thread);
        if (atomic_fetch_sub(&p->pending, 1) == 1
            && atomic_load(&p->caller_sleeps)) {
            pthread_mutex_lock(&p->lock);
            pthread_cond_signal(&p->done);
            pthread_mutex_unlock(&p->lock);
        }
        left = atomic_load(&p->left);
    }
}

static bool has_work(cg_pool *p)
{
    return (uint32_t)atomic_load(&p->left) || atomic_load(&p->stop);
}

static bool is_done(cg_pool *p) { return !atomic_load(&p->pending); }

/* Polls for a while; whether the condition came true. */
static bool spin(cg_pool *p, bool (*ready)(cg_pool *))
{
    uint64_t end = now_ns() + SPIN_NS;
    do {
        for (int i = 0; i < POLLS; i++)
            if (ready(p))
                return true;
        sched_yield();
    } while (now_ns() < end);
    return false;
}

static void *worker_main(void *arg)
{
    struct worker *w = arg;
    cg_pool *p = w->pool;
    while (!atomic_load(&p->stop)) {
        work(p, w->thread);
        if (spin(p, has_work))
            continue;
        pthread_mutex_lock(&p->lock);
        atomic_fetch_add(&p->sleepers, 1);
        while (!has_work(p))
            pthread_cond_wait(&p->wake, &p->lock);
        atomic_fetch_sub(&p->sleepers, 1);
        pthread_mutex_unlock(&p->lock);
    }
    return NULL;
}

cg_pool *cg_pool_new(int threads)
{
    size_t n = threads > 1 ? (size_t)threads - 1 : 0;
    size_t size = sizeof(cg_pool) + n * sizeof(struct worker);
    cg_pool *p = aligned_alloc(64, (size + 63) / 64 * 64);
    if (!p)
        return NULL;
    *p = (cg_pool){ .n_threads = 1 };
    pthread_mutex_init(&p->lock, NULL);
    pthread_cond_init(&p->wake, NULL);
    pthread_cond_init(&p->done, NULL);
    for (; p->n_threads < threads; p->n_threads++) {
        struct worker *w = &p->workers[p->n_threads - 1];
        *w = (struct worker){ p, p->n_threads, 0 };
        if (pthread_create(&w->id, NULL, worker_main, w))
            break;
    }
    return p;
}

void cg_pool_free(cg_pool *p)
{
    if (!p)
        return;
    pthread_mutex_lock(&p->lock);
    atomic_store(&p->stop, true);
    pthread_cond_broadcast(&p->wake);
    pthread_mutex_unlock(&p->lock);
    for (int i = 0; i + 1 < p->n_threads; i++)
        pthread_join(p->workers[i].id, NULL);
    pthread_cond_destroy(&p->done);
    pthread_cond_destroy(&p->wake);
    pthread_mutex_destroy(&p->lock);
    free(p);
}

int cg_pool_threads(const cg_pool *p) { return p->n_threads; }

static void await_done(cg_pool *p)
{
    if (is_done(p) || spin(p, is_done))
        return;
    pthread_mutex_lock(&p->lock);
    atomic_store(&p->caller_sleeps, true);
    while (!is_done(p))
        pthread_cond_wait(&p->done, &p->lock);
    atomic_store(&p->caller_sleeps, false);
    pthread_mutex_unlock(&p->lock);
}

static void wake(cg_pool *p, uint32_t most)
{
    if (!atomic_load(&p->sleepers))
        return;
    pthread_mutex_lock(&p->lock);
    uint32_t n = (uint32_t)atomic_load(&p->sleepers);
    for (uint32_t i = 0; i < n && i < most; i++)
        pthread_cond_signal(&p->wake);
    pthread_mutex_unlock(&p->lock);
}

void cg_pool_run(cg_pool *p, uint32_t blocks, cg_block_fn fn, const void *job)
{
    if (p->n_threads == 1 || blocks < 2) {
        for (uint32_t i = 0; i < blocks; i++)
            fn(job, i, 0);
        return;
    }
    p->fn = fn;
    p->job = job;
    p->blocks = blocks;
    atomic_store(&p->pending, blocks);
    uint64_t call = (atomic_load(&p->left) >> 32) + 1;
    atomic_store(&p->left, call << 32 | blocks);
    wake(p, blocks - 1);
    work(p, 0);
    await_done(p);
}

struct jobs {
    void (*fn)(void *user, uint32_t i);
    void *user;
};

static void run_job(const void *job, uint32_t i, int thread)
{
    const struct jobs *j = job;
    (void)thread;
    j->fn(j->user, i);
}

void cg_pool_share(cg_pool *p, uint32_t n, void (*fn)(void *user, uint32_t i),
                   void *user)
{
    struct jobs j = { fn, user };
    cg_pool_run(p, n, run_job, &j);
}

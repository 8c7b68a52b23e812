/* Threads that share the blocks of one call at a time. */
#ifndef CG_BACKEND_CPU_POOL_H
#define CG_BACKEND_CPU_POOL_H

#include <stddef.h>
#include <stdint.h>

typedef struct cg_pool cg_pool;

/* Block `block` of a call; `thread` counts from 0, the caller's. */
typedef void (*cg_block_fn)(const void *job, uint32_t block, int thread);

/* `threads` with the caller. Where the system refuses some, there are fewer.
 * NULL: no memory. */
cg_pool *cg_pool_new(int threads);
void cg_pool_free(cg_pool *p); /* NULL is fine */
int cg_pool_threads(const cg_pool *p);

/* Every block once, on any thread, in any order; returns when all are done.
 * One call at a time. */
void cg_pool_run(cg_pool *p, uint32_t blocks, cg_block_fn fn,
                 const void *job);
/* The same for jobs that change what is `user`'s: cg_dev_share. */
void cg_pool_share(cg_pool *p, uint32_t n, void (*fn)(void *user, uint32_t i),
                   void *user);

#endif

/* Memory: an arena for everything that dies together, and heap calls that do
 * not return NULL. When the system refuses memory the process ends with one
 * sentence on stderr and exit status 1: sizes taken from input are bounded by
 * the caller before they get here. */
#ifndef CG_BASE_ARENA_H
#define CG_BASE_ARENA_H

#include <stddef.h>
#include <stdint.h>

typedef struct cg_arena_block cg_arena_block;

typedef struct cg_arena {
    cg_arena_block *head;
    char *next, *end;
    size_t used; /* bytes handed out */
} cg_arena;

void cg_arena_init(cg_arena *a);
void cg_arena_free(cg_arena *a); /* all blocks; the arena can be used again */

void *cg_arena_more(cg_arena *a, size_t size); /* where no block has room */

/* Memory of any content, 16-byte aligned; size 0 gives a valid pointer. */
static inline void *cg_arena_raw(cg_arena *a, size_t size)
{
    size = (size + 15) & ~(size_t)15;
    if (size >= (size_t)(a->end - a->next))
        return cg_arena_more(a, size);
    void *p = a->next;
    a->next += size;
    a->used += size;
    return p;
}

void *cg_arena_alloc(cg_arena *a, size_t size); /* the same, zeroed */
void *cg_arena_dup(cg_arena *a, const void *p, size_t size);
char *cg_arena_strdup(cg_arena *a, const char *s);
char *cg_arena_strndup(cg_arena *a, const char *s, size_t n);
char *cg_arena_printf(cg_arena *a, const char *fmt, ...)
    __attribute__((format(printf, 2, 3)));

/* prefix, sep and n in decimal: made-up names, where printf is too slow. */
char *cg_arena_number(cg_arena *a, const char *prefix, const char *sep,
                      uint64_t n);

#define cg_arena_new(a, T) ((T *)cg_arena_alloc((a), sizeof(T)))
#define cg_arena_array(a, T, n)                                               \
    ((T *)cg_arena_alloc((a), sizeof(T) * (size_t)(n)))

void *cg_xcalloc(size_t n, size_t size);
void *cg_xrealloc(void *p, size_t size);
void cg_xfree(void *p);

#endif

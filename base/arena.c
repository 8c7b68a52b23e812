#include "base/arena.h"

#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/array.h"

struct cg_arena_block {
    cg_arena_block *next;
    size_t size;
    _Alignas(16) char data[];
};

#define FIRST_BLOCK ((size_t)16 << 10)
#define LARGEST_BLOCK ((size_t)1 << 20)

static void *or_die(void *p, size_t size)
{
    if (!p) {
        fprintf(stderr, "gennape: out of memory (%zu bytes)\n", size);
        exit(1);
    }
    return p;
}

void *cg_xcalloc(size_t n, size_t size)
{
    return or_die(calloc(n ? n : 1, size ? size : 1), n * size);
}

void *cg_xrealloc(void *p, size_t size)
{
    return or_die(realloc(p, size ? size : 1), size);
}

void cg_xfree(void *p) { free(p); }

void *cg_array_grow(void *data, size_t *cap, size_t want, size_t size)
{
    size_t next = *cap * 2 > 8 ? *cap * 2 : 8;
    if (next < want)
        next = want;
    *cap = next;
    return cg_xrealloc(data, next * size);
}

void cg_arena_init(cg_arena *a) { *a = (cg_arena){0}; }

void cg_arena_free(cg_arena *a)
{
    for (cg_arena_block *b = a->head, *next; b; b = next) {
        next = b->next;
        free(b);
    }
    cg_arena_init(a);
}

/* Blocks double up to a limit, so small graphs stay small and large ones do
 * not visit malloc often. */
void *cg_arena_more(cg_arena *a, size_t size)
{
    size_t grow = a->head ? a->head->size * 2 : FIRST_BLOCK;
    if (grow > LARGEST_BLOCK)
        grow = LARGEST_BLOCK;
    if (grow < size)
        grow = size;
    cg_arena_block *b = cg_xrealloc(NULL, sizeof *b + grow);
    b->size = grow;
    b->next = a->head;
    a->head = b;
    a->next = b->data + size;
    a->end = b->data + grow;
    a->used += size;
    return b->data;
}

/* Not inline: for a size it knows gcc writes `rep stos`, which costs more than
 * the call. */
void *cg_arena_alloc(cg_arena *a, size_t size)
{
    return memset(cg_arena_raw(a, size), 0, size);
}

void *cg_arena_dup(cg_arena *a, const void *p, size_t size)
{
    void *q = cg_arena_raw(a, size);
    if (size)
        memcpy(q, p, size);
    return q;
}

char *cg_arena_strndup(cg_arena *a, const char *s, size_t n)
{
    char *q = cg_arena_raw(a, n + 1);
    if (n)
        memcpy(q, s, n);
    q[n] = 0;
    return q;
}

char *cg_arena_strdup(cg_arena *a, const char *s)
{
    return cg_arena_strndup(a, s, strlen(s));
}

char *cg_arena_printf(cg_arena *a, const char *fmt, ...)
{
    va_list ap, again;
    va_start(ap, fmt);
    va_copy(again, ap);
    int n = vsnprintf(NULL, 0, fmt, ap);
    va_end(ap);
    char *s = cg_arena_alloc(a, (size_t)n + 1);
    vsnprintf(s, (size_t)n + 1, fmt, again);
    va_end(again);
    return s;
}

char *cg_arena_number(cg_arena *a, const char *prefix, const char *sep,
                      uint64_t n)
{
    size_t p = strlen(prefix), q = strlen(sep), digits = 1;
    for (uint64_t rest = n; rest >= 10; rest /= 10)
        digits++;
    char *s = cg_arena_raw(a, p + q + digits + 1), *end = s + p + q + digits;
    memcpy(s, prefix, p);
    memcpy(s + p, sep, q);
    *end = 0;
    for (; digits--; n /= 10)
        *--end = (char)('0' + n % 10);
    return s;
}

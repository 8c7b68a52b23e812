#include "base/index.h"

#include <string.h>

#include "base/arena.h"

enum { LEAST_CAP = 64 };

uint32_t cg_index_get(const cg_index *x, uint64_t key)
{
    const cg_index_slot *s = x->cap ? cg_index_slot_of(x, key) : NULL;
    return s && s->stamp == x->stamp ? s->value : CG_INDEX_NONE;
}

/* `cap` empty slots, a power of two. */
static void reset(cg_index *x, size_t cap)
{
    if (cap > x->room) {
        cg_xfree(x->slots);
        x->slots = cg_xcalloc(cap, sizeof *x->slots);
        x->room = cap;
        x->stamp = 0;
    } else if (x->stamp == UINT32_MAX) {
        memset(x->slots, 0, x->room * sizeof *x->slots);
        x->stamp = 0;
    }
    x->stamp++; /* an empty slot has stamp 0, or an older one */
    x->cap = cap;
    x->len = 0;
    x->shift = 64;
    while (cap >>= 1)
        x->shift--;
}

void cg_index_grow(cg_index *x)
{
    cg_index old = *x;
    *x = (cg_index){0};
    reset(x, old.cap ? old.cap * 2 : LEAST_CAP);
    for (size_t i = 0; i < old.cap; i++)
        if (old.slots[i].stamp == old.stamp)
            *cg_index_at(x, old.slots[i].key) = old.slots[i].value;
    cg_xfree(old.slots);
}

void cg_index_add(cg_index *x, uint64_t key, uint32_t value)
{
    *cg_index_at(x, key) = value;
}

void cg_index_clear(cg_index *x, size_t expected)
{
    size_t cap = LEAST_CAP;
    while (cap <= 2 * expected)
        cap *= 2;
    reset(x, cap);
}

void cg_index_free(cg_index *x)
{
    cg_xfree(x->slots);
    *x = (cg_index){0};
}

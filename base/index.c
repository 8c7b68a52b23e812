#include "base/index.h"

#include "base/arena.h"
#include "base/map.h"

static cg_index_slot *find(const cg_index *x, uint64_t key)
{
    for (size_t i = cg_mix64(key) & (x->cap - 1);; i = (i + 1) & (x->cap - 1)) {
        cg_index_slot *s = &x->slots[i];
        if (s->value == CG_INDEX_NONE || s->key == key)
            return s;
    }
}

uint32_t cg_index_get(const cg_index *x, uint64_t key)
{
    return x->cap ? find(x, key)->value : CG_INDEX_NONE;
}

static void grow(cg_index *x)
{
    cg_index next = {.cap = x->cap ? x->cap * 2 : 64, .len = x->len};
    next.slots = cg_xcalloc(next.cap, sizeof *next.slots);
    for (size_t i = 0; i < next.cap; i++)
        next.slots[i].value = CG_INDEX_NONE;
    for (size_t i = 0; i < x->cap; i++)
        if (x->slots[i].value != CG_INDEX_NONE)
            *find(&next, x->slots[i].key) = x->slots[i];
    cg_xfree(x->slots);
    *x = next;
}

void cg_index_add(cg_index *x, uint64_t key, uint32_t value)
{
    if (x->len * 2 >= x->cap)
        grow(x);
    *find(x, key) = (cg_index_slot){key, value};
    x->len++;
}

void cg_index_free(cg_index *x)
{
    cg_xfree(x->slots);
    *x = (cg_index){0};
}

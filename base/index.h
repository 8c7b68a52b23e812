/* Numbers by 64-bit key (open addressing), for things kept in an array. */
#ifndef CG_BASE_INDEX_H
#define CG_BASE_INDEX_H

#include <stddef.h>
#include <stdint.h>

#define CG_INDEX_NONE UINT32_MAX

typedef struct cg_index_slot {
    uint64_t key;
    uint32_t value;
    uint32_t stamp; /* another one than the index has: empty */
} cg_index_slot;

typedef struct cg_index {
    cg_index_slot *slots;
    size_t len, cap, room; /* keys; slots in use, and allocated */
    unsigned shift;        /* 64 - log2 cap */
    uint32_t stamp;
} cg_index; /* zero it to start */

/* Where a key is, or else the empty slot that waits for it. cap > 0 */
static inline cg_index_slot *cg_index_slot_of(const cg_index *x, uint64_t key)
{
    size_t i = key * 0x9e3779b97f4a7c15u >> x->shift; /* Fibonacci hashing */
    while (x->slots[i].stamp == x->stamp && x->slots[i].key != key)
        i = (i + 1) & (x->cap - 1);
    return &x->slots[i];
}
void cg_index_grow(cg_index *x);

/* CG_INDEX_NONE: absent. */
uint32_t cg_index_get(const cg_index *x, uint64_t key);
/* Adds a key that is absent; value < CG_INDEX_NONE. */
void cg_index_add(cg_index *x, uint64_t key, uint32_t value);
/* The value of a key, for the caller to set where it is new and so
 * CG_INDEX_NONE; valid until the next key is added. */
static inline uint32_t *cg_index_at(cg_index *x, uint64_t key)
{
    if (x->len * 2 >= x->cap)
        cg_index_grow(x);
    cg_index_slot *s = cg_index_slot_of(x, key);
    if (s->stamp != x->stamp) {
        *s = (cg_index_slot){key, CG_INDEX_NONE, x->stamp};
        x->len++;
    }
    return &s->value;
}
/* Sends for the memory of a key that will be asked for soon. */
static inline void cg_index_expect(const cg_index *x, uint64_t key)
{
    if (x->cap)
        __builtin_prefetch(&x->slots[key * 0x9e3779b97f4a7c15u >> x->shift]);
}

/* Empties it for about `expected` keys: the slots in use are as many as these
 * want, so that few keys stay in the cache after many. */
void cg_index_clear(cg_index *x, size_t expected);
void cg_index_free(cg_index *x);

#endif

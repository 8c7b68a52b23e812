#include "base/map.h"

#include <string.h>

#include "base/arena.h"

uint64_t cg_hash64(const void *p, size_t n, uint64_t seed)
{
    const unsigned char *s = p;
    uint64_t h = seed ^ (n * 0x9e3779b97f4a7c15u);
    for (; n >= 8; n -= 8, s += 8) {
        uint64_t w;
        memcpy(&w, s, 8);
        h = cg_mix64(h ^ w) + 0x9e3779b97f4a7c15u;
    }
    uint64_t tail = 0;
    memcpy(&tail, s, n);
    return cg_mix64(h ^ tail);
}

static cg_map_slot *find(const cg_map *m, const char *key, uint64_t hash)
{
    for (size_t i = hash & (m->cap - 1);; i = (i + 1) & (m->cap - 1)) {
        cg_map_slot *s = &m->slots[i];
        if (!s->key || (s->hash == hash && strcmp(s->key, key) == 0))
            return s;
    }
}

static void grow(cg_map *m)
{
    cg_map next = {.cap = m->cap ? m->cap * 2 : 16, .len = m->len};
    next.slots = cg_xcalloc(next.cap, sizeof *next.slots);
    for (size_t i = 0; i < m->cap; i++)
        if (m->slots[i].key)
            *find(&next, m->slots[i].key, m->slots[i].hash) = m->slots[i];
    cg_xfree(m->slots);
    *m = next;
}

void *cg_map_get(const cg_map *m, const char *key)
{
    if (!m->cap)
        return NULL;
    return find(m, key, cg_hash64(key, strlen(key), 0))->value;
}

void cg_map_put(cg_map *m, const char *key, void *value)
{
    if (m->len * 4 >= m->cap * 3)
        grow(m);
    uint64_t hash = cg_hash64(key, strlen(key), 0);
    cg_map_slot *s = find(m, key, hash);
    if (!s->key)
        m->len++;
    *s = (cg_map_slot){key, value, hash};
}

void cg_map_free(cg_map *m)
{
    cg_xfree(m->slots);
    *m = (cg_map){0};
}

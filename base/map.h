/* String to pointer map (open addressing, xxh-like hash). Keys are borrowed:
 * they must outlive the map. */
#ifndef CG_BASE_MAP_H
#define CG_BASE_MAP_H

#include <stddef.h>
#include <stdint.h>

typedef struct cg_map_slot {
    const char *key;
    void *value;
    uint64_t hash;
} cg_map_slot;

typedef struct cg_map {
    cg_map_slot *slots;
    size_t len, cap;
} cg_map; /* zero it to start */

void *cg_map_get(const cg_map *m, const char *key); /* NULL: absent */
void cg_map_put(cg_map *m, const char *key, void *value); /* replaces */
void cg_map_free(cg_map *m);

uint64_t cg_hash64(const void *p, size_t n, uint64_t seed);

/* A bijection that scatters bits. */
static inline uint64_t cg_mix64(uint64_t x)
{
    x ^= x >> 30;
    x *= 0xbf58476d1ce4e5b9u;
    x ^= x >> 27;
    x *= 0x94d049bb133111ebu;
    return x ^ (x >> 31);
}

#endif

/* Numbers by 64-bit key (open addressing), for things kept in an array. */
#ifndef CG_BASE_INDEX_H
#define CG_BASE_INDEX_H

#include <stddef.h>
#include <stdint.h>

#define CG_INDEX_NONE UINT32_MAX

typedef struct cg_index_slot {
    uint64_t key;
    uint32_t value; /* CG_INDEX_NONE: empty */
} cg_index_slot;

typedef struct cg_index {
    cg_index_slot *slots;
    size_t len, cap;
} cg_index; /* zero it to start */

/* CG_INDEX_NONE: absent. */
uint32_t cg_index_get(const cg_index *x, uint64_t key);
/* Adds a key that is absent; value < CG_INDEX_NONE. */
void cg_index_add(cg_index *x, uint64_t key, uint32_t value);
void cg_index_free(cg_index *x);

#endif

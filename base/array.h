/* Growable arrays: CG_ARRAY(T) is a struct {T *data; len; cap} on the heap.
 * cg_array_push grows by doubling; cg_array_free releases. Zero it to start. */
#ifndef CG_BASE_ARRAY_H
#define CG_BASE_ARRAY_H

#include <stddef.h>

#include "base/arena.h"

#define CG_ARRAY(T)                                                           \
    struct {                                                                  \
        T *data;                                                              \
        size_t len, cap;                                                      \
    }

#define cg_array_reserve(a, n)                                                \
    ((a)->cap < (size_t)(n)                                                   \
         ? (void)((a)->data = cg_array_grow((a)->data, &(a)->cap, (n),        \
                                            sizeof *(a)->data))               \
         : (void)0)

#define cg_array_push(a, x)                                                   \
    do {                                                                      \
        cg_array_reserve(a, (a)->len + 1);                                    \
        (a)->data[(a)->len++] = (x);                                          \
    } while (0)

#define cg_array_free(a)                                                      \
    (cg_xfree((a)->data), (a)->data = NULL, (a)->len = (a)->cap = 0)

/* Grows a block of *cap items of `size` bytes to hold at least `want`. */
void *cg_array_grow(void *data, size_t *cap, size_t want, size_t size);

#endif

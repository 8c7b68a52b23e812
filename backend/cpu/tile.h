/* Products of matrices of a few dozen rows, where a call of OpenBLAS costs as
 * much as its work. */
#ifndef CG_BACKEND_CPU_TILE_H
#define CG_BACKEND_CPU_TILE_H

#include <stdbool.h>

#include "backend/cpu/simd.h"

typedef struct cg_tile {
    size_t m, n, k;     /* n: a multiple of 16 */
    const float *a;     /* element (i, l) at a[i * ra + l * ca] */
    size_t ra, ca;
    const float *b;     /* (k, n) */
    size_t ldb;
    float *c;           /* (m, n) */
    size_t ldc;
    bool add;           /* c += a b instead of c = a b */
} cg_tile;

/* `rows` x 16 `width` elements of c, from (i, j). */
CG_INLINE void cg_tile_part(const cg_tile *t, size_t i, size_t j, int rows,
                            int width)
{
    cg_v16 sum[4][2];
    const float *a = t->a + i * t->ra, *b = t->b + j;
    float *c = t->c + i * t->ldc + j;
    size_t ra = t->ra;
    for (int r = 0; r < rows; r++)
        for (int v = 0; v < width; v++)
            sum[r][v] = (cg_v16){ 0 };
    for (size_t l = 0; l < t->k; l++, a += t->ca, b += t->ldb)
        for (int v = 0; v < width; v++) {
            cg_v16 bv = *(const cg_v16 *)(b + v * CG_LANES);
            for (int r = 0; r < rows; r++)
                sum[r][v] += a[(size_t)r * ra] * bv;
        }
    for (int r = 0; r < rows; r++)
        for (int v = 0; v < width; v++) {
            cg_v16 *out = (cg_v16 *)(c + (size_t)r * t->ldc + v * CG_LANES);
            if (t->add)
                sum[r][v] += *out;
            *out = sum[r][v];
        }
}

CG_INLINE void cg_tile_rows(const cg_tile *t, size_t i, int rows)
{
    size_t j = 0;
    for (; j + 2 * CG_LANES <= t->n; j += 2 * CG_LANES)
        cg_tile_part(t, i, j, rows, 2);
    if (j < t->n)
        cg_tile_part(t, i, j, rows, 1);
}

CG_INLINE void cg_tile_product(const cg_tile *t)
{
    size_t i = 0;
    for (; i + 4 <= t->m; i += 4)
        cg_tile_rows(t, i, 4);
    for (; i < t->m; i++)
        cg_tile_rows(t, i, 1);
}

#endif

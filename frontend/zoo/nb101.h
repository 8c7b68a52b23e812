/* NAS-Bench-101 cells: what the family, its hash and its table of all cells
 * share. Ying et al., "NAS-Bench-101: Towards Reproducible Neural Architecture
 * Search", ICML 2019, arXiv:1902.09635. */
#ifndef CG_FRONTEND_ZOO_NB101_H
#define CG_FRONTEND_ZOO_NB101_H

#include <stdbool.h>
#include <stdint.h>

#include "base/err.h"

#define CG_NB101_VERTICES 7 /* at most */
#define CG_NB101_EDGES 9    /* at most */
#define CG_NB101_OPS 3
#define CG_NB101_CELLS 423624 /* distinct ones */
#define CG_NB101_KEY 33       /* 32 hexadecimal digits and a NUL */

/* Vertex 0 is the cell's input, n - 1 its output; edges go upwards. A valid
 * cell has every vertex on a path between them. */
typedef struct cg_nb101_cell {
    uint8_t n;
    uint8_t op[CG_NB101_VERTICES]; /* of interior vertices: 0 conv3x3,
                                      1 conv1x1, 2 maxpool3x3; others 0 */
    uint8_t out[CG_NB101_VERTICES]; /* bit w: edge to vertex w */
} cg_nb101_cell;

static inline bool cg_nb101_edge(const cg_nb101_cell *c, int from, int to)
{
    return c->out[from] >> to & 1;
}

/* ops;edges. Everything but a valid cell is an error with its position. */
cg_err cg_nb101_parse(const char *code, cg_nb101_cell *out);
void cg_nb101_print(const cg_nb101_cell *c, char *code); /* CG_ZOO_CODE_MAX */

/* The module hash that the benchmark's files are indexed by: the same for
 * isomorphic cells, different for all others. */
void cg_nb101_hash(const cg_nb101_cell *c, uint8_t digest[16]);
void cg_nb101_key(const cg_nb101_cell *c, char key[CG_NB101_KEY]);

/* Calls `each` with every distinct cell once, as the benchmark's authors
 * found them, until it returns false. */
void cg_nb101_each(bool (*each)(void *user, const cg_nb101_cell *c),
                   void *user);

/* cg_zoo_family.enumerate */
cg_err cg_nb101_enumerate(bool (*each)(void *user, const char *key,
                                       const char *code), void *user);

#endif

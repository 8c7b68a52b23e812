/* What a random walk through a network meets, as columns for a regression.
 *
 * The walk starts at any of the outputs and goes against the edges, to each of
 * a node's inputs with the same chance, until there is none. How often it is
 * expected at nodes of one kind says how much of that stands in the way of the
 * data, parallel branches by their share; how often it takes a link, from a
 * node of one kind to one of another, says how they are wired. A kind is what
 * a node does (operator, activation, kernel, stride, dilation, grouped or not)
 * and how many halvings below the network's largest size; channels do not
 * matter. */
#ifndef CG_RUNTIME_WALK_H
#define CG_RUNTIME_WALK_H

#include "runtime/examples.h"

/* Of each sort, kinds and links, so many columns at most. */
enum { CG_WALK_MOST = 400 };

/* Kinds and links of which the networks of a family have different numbers. */
typedef struct cg_walk_columns {
    size_t visits, links;
    double *column; /* (visits + links, 3), kinds first, each sort by its keys:
                       the key, a whole number below 2^53, odd for a link,
                       that depends on names alone; mean and 1 / deviation of
                       the number over the family. Heap, cg_xfree. */
} cg_walk_columns;

/* What every fiftieth of the networks has, or more of them; the commonest
 * where that is too much. Only for picks of sets that stay open. */
cg_walk_columns cg_walk_columns_of(const cg_examples *family);

/* Walks through one network after the other. It grows to some 60 bytes for
 * each node and edge of the largest; the sets have to stay open. */
typedef struct cg_walk cg_walk;
cg_walk *cg_walk_new(void);
void cg_walk_free(cg_walk *w);

/* x (visits + links), standardised by the family. */
void cg_walk_fill(cg_walk *w, const cg_walk_columns *c, cg_pick network,
                  double *x);

#endif

/* What a graph does not know, one entry per cause. */
#ifndef CG_IR_GAPS_H
#define CG_IR_GAPS_H

#include "ir/graph.h"

typedef struct cg_gap {
    const char *node;    /* the first node that is affected */
    const char *what;    /* "dims of 3 tensors, macs of 1 node" */
    const char *because; /* the node that is the cause; NULL: a symbol */
    const char *why;     /* "number of non-zero elements" */
} cg_gap;

/* The main region's gaps, in the order of the nodes, in the graph's arena.
 * None: the graph is complete. Needs pass flops. */
const cg_gap *cg_graph_gaps(cg_graph *g, size_t *n);

#endif

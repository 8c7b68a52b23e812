/* What FLOPs rules are written with (private to cost*.c). */
#ifndef CG_PASSES_COST_UTIL_H
#define CG_PASSES_COST_UTIL_H

#include "passes/cost.h"

/* Elements of operand k, of the first output, or of a type; an unknown of
 * node n where the rank is not known. 0 for an operand left out. */
cg_dim cg_cost_in(cg_graph *g, const cg_node *n, size_t k);
cg_dim cg_cost_out(cg_graph *g, const cg_node *n);
cg_dim cg_cost_type(cg_graph *g, const cg_node *n, const cg_type *t);
/* Product of dims [from, rank). */
cg_dim cg_cost_tail(cg_graph *g, const cg_type *t, int from);
cg_dim cg_cost_unknown(cg_graph *g, const cg_node *n);

/* flops = 2 macs + rest. */
cg_err cg_cost_set(cg_graph *g, cg_node *n, cg_dim macs, cg_dim rest);

#endif

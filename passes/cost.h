/* FLOPs rules (private to passes/): the column of ops.def.
 *
 * A rule sets n->macs and n->flops (2 macs + the rest) from the types of its
 * operands and outputs; params are counted by the pass itself (params.h).
 * docs/cg.md lists every formula. */
#ifndef CG_PASSES_COST_H
#define CG_PASSES_COST_H

#include "ir/graph.h"

typedef cg_err cg_flops_rule(cg_graph *g, cg_node *n);

#define CG_OP(id, name, min, max, shape, fold, flops, class)                  \
    cg_flops_rule cg_flops_##flops;
#include "ir/ops.def"
#undef CG_OP

#endif

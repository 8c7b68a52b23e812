/* Which operands of an operator hold parameters (private to passes/). */
#ifndef CG_PASSES_PARAMS_H
#define CG_PASSES_PARAMS_H

#include "ir/graph.h"

typedef enum cg_slot {
    CG_SLOT_DATA,    /* a tensor; a constant here may be a parameter */
    CG_SLOT_WEIGHT,  /* a constant here is a parameter, whatever its size */
    CG_SLOT_SETTING, /* shapes, axes, scales, bounds, running statistics,
                        initial states */
} cg_slot;

cg_slot cg_param_slot(cg_op op, size_t k);

/* Sets n->params of every live node and g->params: elements of the constants
 * read, each once. Constants computed from others count their sources. */
void cg_count_params(cg_graph *g);

#endif

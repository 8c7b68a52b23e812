/* Hashes of a CG that do not depend on names or on the order of nodes. */
#ifndef CG_IR_HASH_H
#define CG_IR_HASH_H

#include "ir/graph.h"

/* 128 bit over node facts (op, in and out HWC, geometry) and edges: forward
 * and backward refinement along the DAG, then neighbourhoods. */
void cg_graph_hash(cg_graph *g, uint64_t hash[2]);

#endif

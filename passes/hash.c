/* Pass hash: the 128-bit hash that says two exports are one network. What goes
 * into it is in ir/hash.c; here it is only stored. */
#include "ir/hash.h"
#include "passes/passes.h"

cg_err cg_pass_hash(cg_graph *g)
{
    cg_graph_hash(g, g->hash);
    return CG_OK;
}

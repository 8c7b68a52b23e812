/* FLOPs rule of If, Loop, Scan: the sum over their bodies, each once. Both
 * branches of an If count; a body counts once per iteration, or one iteration
 * where their number is not known. */
#include "passes/cost_util.h"

cg_err cg_flops_control(cg_graph *g, cg_node *n)
{
    n->macs = n->flops = 0;
    for (int a = 0; a < n->n_attr; a++) {
        if (n->attr[a].kind != CG_ATTR_REGION)
            continue;
        const cg_region *r = n->attr[a].region;
        for (size_t i = 0; i < r->nodes.len; i++) {
            n->macs = cg_dim_add(g, n->macs, r->nodes.data[i]->macs);
            n->flops = cg_dim_add(g, n->flops, r->nodes.data[i]->flops);
        }
    }
    if (!cg_attr_region(n, "body"))
        return CG_OK;
    int64_t trips = cg_attr_int(n, "trip_count", -1);
    if (trips < 0)
        cg_warn(g, n, "counted per iteration");
    else {
        n->macs = cg_dim_mul(g, n->macs, trips);
        n->flops = cg_dim_mul(g, n->flops, trips);
    }
    return CG_OK;
}

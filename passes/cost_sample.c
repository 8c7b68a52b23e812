/* FLOPs rule of operators that interpolate: source points per output
 * element. */
#include <string.h>

#include "passes/cost_util.h"

/* Axes that change, as far as shapes tell. */
static int scaled_axes(const cg_node *n)
{
    cg_type in = cg_in_type(n, 0);
    const cg_value *out = n->out[0];
    int axes = 0;
    for (int i = 0; out && out->type.rank == in.rank && i < in.rank; i++)
        axes += in.dims[i] != out->type.dims[i];
    return axes;
}

static cg_dim power(cg_graph *g, cg_dim base, int exponent)
{
    cg_dim p = 1;
    while (exponent-- > 0)
        p = cg_dim_mul(g, p, base);
    return p;
}

/* nearest 1, linear 2, cubic 4 points per axis that is interpolated. */
cg_err cg_flops_resize(cg_graph *g, cg_node *n)
{
    const char *mode = cg_attr_string(n, "mode", "nearest");
    cg_type x = cg_in_type(n, 0);
    int axes = n->op == CG_OP_RESIZE ? scaled_axes(n)
               : x.rank > 2          ? x.rank - 2
                                     : 0;
    cg_dim points = 1, samples = 1;
    if (strstr(mode, "cubic"))
        points = 4;
    else if (strcmp(mode, "nearest") != 0 || n->op != CG_OP_RESIZE)
        points = 2;
    if (n->op == CG_OP_ROI_ALIGN) { /* samples^2 bilinear points per bin */
        int64_t ratio = cg_attr_int(n, "sampling_ratio", 0);
        samples = cg_dim_mul(g, ratio > 0 ? ratio : 1, ratio > 0 ? ratio : 1);
    } else if (n->op == CG_OP_GRID_SAMPLE && strcmp(mode, "nearest") == 0) {
        points = 1;
    }
    cg_dim work = cg_dim_mul(g, samples, power(g, points, axes));
    return cg_cost_set(g, n, 0, cg_dim_mul(g, work, cg_cost_out(g, n)));
}
